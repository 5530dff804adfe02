"""Rows whose signs are near are found first: the neighbours are among them, whatever is wanted of the rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.retrieval import vectors
from antiphon.retrieval.signs import signs_of, worth_comparing
from antiphon.retrieval.vectors import Rows, quantised


def embeddings(rows: int, dimensions: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Vectors as models make them: in a space of fewer dimensions, with noise."""
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((24, dimensions), dtype=np.float32)
    latent = rng.standard_normal((rows, 24), dtype=np.float32)
    return latent @ basis + 0.5 * rng.standard_normal((rows, dimensions), dtype=np.float32)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 200), st.integers(0, 99))
def test_the_rows_with_the_fewest_differing_signs_are_found(rows: int, dimensions: int, seed: int) -> None:
    matrix = quantised(embeddings(rows, dimensions, seed))
    differing = ((matrix > 0) != (matrix[:1] > 0)).sum(axis=1)
    count = max(1, rows // 3)
    found = worth_comparing(signs_of(matrix), matrix[:1], count, None)
    assert sorted(differing[found])[:count] == sorted(differing)[:count]
    assert max(differing[found]) == sorted(differing)[count - 1]


@pytest.mark.parametrize("part", [1.0, 0.5, 0.02])
def test_many_rows_give_the_neighbours_that_comparing_all_gives(part: float, monkeypatch: pytest.MonkeyPatch) -> None:
    made = embeddings(6_020, 256, seed=3)
    made, asked = made[:6_000], made[6_000:]
    rows = Rows()
    rows.append(0, 3_000, 0, quantised(made[:3_000]))
    rows.append(3_000, 3_000, 1, quantised(made[3_000:]))
    rows.kill(0, 10)
    wanted = None if part == 1.0 else np.random.default_rng(5).random(6_000) < part
    exact = [rows.view().nearest(each[None], 10, wanted)[0] for each in asked]
    monkeypatch.setattr(vectors, "MANY", 100)
    monkeypatch.setattr(vectors, "COMPARED", 600)
    found = [rows.view().nearest(each[None], 10, wanted)[0] for each in asked]
    same = [len({*one} & {*other}) / len(one) for one, other in zip(exact, found, strict=True)]
    assert np.mean(same) >= 0.99
    assert all(wanted is None or wanted[each].all() for each in found)


def test_signs_follow_the_rows_when_dead_ones_are_reclaimed_and_vectors_come_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vectors, "MANY", 10)
    monkeypatch.setattr(vectors, "COMPARED", 100)
    made = embeddings(5_000, 64, seed=6)
    rows = Rows()
    rows.append(0, 4_000, 0, quantised(made[:4_000]))
    rows.append(4_000, 1_000, 1, None)
    rows.kill(0, 2_000)  # more than a quarter: their place is reclaimed
    rows.put_vectors(4_000, quantised(made[4_000:]))
    view = rows.view()
    for chunk in (2_500, 4_500):
        row, _ = view.nearest(made[chunk][None], 1, None)
        assert view.chunk_ids[row[0]] == chunk
