"""Which embedding model the vectors of an index are of, and what happens to vectors of another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from antiphon.errors import EmbeddingMismatch
from antiphon.retrieval.chunk_store import ChunkStore, ModelRow
from antiphon.retrieval.vectors import quantised

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[tuple[int, int], np.dtype[np.float32]]
    Bytes = np.ndarray[tuple[int, int], np.dtype[np.int8]]


class Embedded(msgspec.Struct, frozen=True):
    """The vectors of some texts, a float32 row for each, and the model that made them."""

    model: str
    vectors: Any


def matrix_of(embedded: Embedded, texts: int) -> Bytes:
    """The vectors as an index keeps them.

    Raises:
        EmbeddingMismatch: there is not one for each text.
        EmbeddingError: one of them cannot be a direction.
    """
    vectors = floats_of(embedded)
    if vectors.ndim != 2 or vectors.shape[0] != texts or not vectors.shape[1]:
        raise EmbeddingMismatch(f"{texts} texts need a vector each; there is an array of the shape {vectors.shape}.")
    return quantised(vectors)


def floats_of(embedded: Embedded) -> Floats:
    """The vectors as they came."""
    import numpy as np

    return np.asarray(embedded.vectors, dtype=np.float32)


def model_for(store: ChunkStore, name: str, dimensions: int) -> ModelRow:
    """The model that vectors are filed under, within a transaction; noted if they are the first.

    Raises:
        EmbeddingMismatch: the index has vectors of another model or length, and this one was not prepared.
    """
    current, prepared = store.meta("current_model"), store.meta("next_model")
    if current is None:
        store.set_meta("current_model", name)
    elif name not in (current, prepared):
        kept = store.maybe_model(current)
        check_dimensions(kept or ModelRow(0, current, dimensions), name, dimensions)
    model = store.maybe_model(name) or store.add_model(name, dimensions)
    check_dimensions(model, name, dimensions)
    return model


def check_dimensions(model: ModelRow, name: str, dimensions: int) -> None:
    """Hold vectors to the model of those that are there.

    Raises:
        EmbeddingMismatch: they cannot be compared.
    """
    if (model.name, model.dimensions) != (name, dimensions):
        raise EmbeddingMismatch(
            f"The index has vectors of {model.name} with {model.dimensions} dimensions, these are of {name} with"
            f" {dimensions}. Use the model it was made with, or embed its chunks again with the new one."
        )
