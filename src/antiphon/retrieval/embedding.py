"""Text as vectors: what an embedder is, and the one that asks an upstream."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from antiphon.providers.base import Provider

if TYPE_CHECKING:
    import numpy as np

    Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]


class Embedder(Protocol):
    """Something that makes vectors of texts."""

    @property
    def model(self) -> str:
        """Names the space: vectors of one model are never compared with those of another."""
        ...

    def embed(self, texts: Sequence[str]) -> Awaitable[Vectors]:
        """One row for each text, in order.

        Raises:
            EmbeddingError, TransportError, ProviderError: there are none; never a part of them.
        """
        ...


class UpstreamEmbedder:
    """An `Embedder` over a provider's ``/v1/embeddings``; what was embedded once is kept in ``cache``.

    ``model`` is the upstream's name; ``dimensions`` asks for shorter vectors than the model's own.
    """

    def __init__(
        self, provider: Provider, model: str, *, dimensions: int | None = None, cache: Path | None = None
    ) -> None:
        raise NotImplementedError

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One row for each text, in order; see `Embedder.embed`."""
        raise NotImplementedError
