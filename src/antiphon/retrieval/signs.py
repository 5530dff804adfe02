"""The signs of vectors: which rows are worth comparing, found in a fifth of the time that comparing them all takes.

Of each component one bit is kept, whether it is above zero. The fewer bits differ, the nearer two vectors are, about:
near enough that the true neighbours are among the few percent of rows with the fewest, and far from enough to order
them, so what is found here is compared exactly by `antiphon.retrieval.vectors` (bench/README.md has the recall).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Bits = np.ndarray[tuple[int, int], np.dtype[np.uint64]]
    Bytes = np.ndarray[tuple[int, int], np.dtype[np.int8]]
    Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]
    Numbers = np.ndarray[tuple[int], np.dtype[Any]]

_WORD_BYTES = 8


def signs_of(matrix: Bytes) -> Bits:
    """The signs of rows, a column for each row: so the same word of all rows lies together, and is compared at once."""
    import numpy as np

    packed = np.packbits(matrix > 0, axis=1)
    padding = -packed.shape[1] % _WORD_BYTES
    words = np.pad(packed, ((0, 0), (0, padding))).view(np.uint64)
    return np.ascontiguousarray(words.T)


def worth_comparing(signs: Bits, vector: Bytes, count: int, wanted: Mask | None) -> Numbers:
    """The wanted rows whose signs differ least from those of the vector, in their order.

    They are ``count``, and those that differ as little as the last of these.
    """
    import numpy as np

    differing = np.zeros(signs.shape[1], dtype=np.uint16)
    for of_rows, of_vector in zip(signs, signs_of(vector)[:, 0], strict=True):
        differing += np.bitwise_count(of_rows ^ of_vector)
    rows_by_difference = np.bincount(differing if wanted is None else differing[wanted])
    farthest = np.searchsorted(np.cumsum(rows_by_difference), count)
    is_near = differing <= farthest
    return np.flatnonzero(is_near if wanted is None else is_near & wanted)
