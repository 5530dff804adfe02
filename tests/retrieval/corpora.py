"""Small things to index, and vectors whose neighbours are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from antiphon.retrieval.chunking import Chunk
from antiphon.retrieval.index import Embedded

DIMENSIONS = 16


def cut(*texts: str) -> list[Chunk]:
    """Chunks that lie side by side in one text."""
    starts = [sum(map(len, texts[:n])) for n in range(len(texts))]
    return [Chunk(text=text, start=at, end=at + len(text)) for at, text in zip(starts, texts, strict=True)]


def direction(seed: int, model: str = "m", dimensions: int = DIMENSIONS) -> Embedded:
    """One vector, the same for a seed."""
    return directions([seed], model, dimensions)


def directions(seeds: Sequence[int], model: str = "m", dimensions: int = DIMENSIONS) -> Embedded:
    """A vector for each seed."""
    rows = [np.random.default_rng(seed).standard_normal(dimensions) for seed in seeds]
    return Embedded(model, np.array(rows, dtype=np.float32).reshape(len(seeds), dimensions))
