"""What is searched in the benchmark of retrieval: a generated collection, and a real one. Needs numpy alone.

The same seed makes the same bytes. A collection is a directory: ``vectors.npy`` and ``queries.npy`` (float32, unit
length), ``texts.json``, ``query_texts.json`` and ``expected.json``, the chunks that each query must find.
"""

from __future__ import annotations

import json
import math
import re
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

INTRINSIC = 96  # dimensions that embeddings of text really use, about
NEIGHBOURS = 10  # planted around each generated query
WORDS_PER_CHUNK = 100
VOCABULARY = 50_000
QUERY_WORDS = 6

Floats = np.ndarray[Any, np.dtype[np.float32]]
_WORD = re.compile(r"[a-z][a-z0-9]{2,}")


def generated(directory: Path, *, chunks: int, dimensions: int, queries: int, seed: int = 7) -> None:
    """A collection with planted neighbours.

    Vectors lie in a space of fewer dimensions, in clusters, with noise, as embeddings do. Ten chunks stand around each
    query, ever farther away, with fewer and fewer of its words.
    """
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((INTRINSIC, dimensions), dtype=np.float32) / math.sqrt(dimensions)
    centres = rng.standard_normal((200, INTRINSIC), dtype=np.float32)

    def points(count: int) -> Floats:
        near = centres[rng.integers(len(centres), size=count)]
        return near + 0.9 * rng.standard_normal((count, INTRINSIC), dtype=np.float32)

    def embedded(latent: Floats) -> Floats:
        noise = rng.standard_normal((len(latent), dimensions), dtype=np.float32) * 0.25
        return unit(latent @ basis + noise)

    latent = points(chunks)
    asked = points(queries)
    planted = rng.permutation(chunks)[: queries * NEIGHBOURS].reshape(queries, NEIGHBOURS)
    for distance, rows in enumerate(planted.T):
        latent[rows] = asked + (0.1 + 0.05 * distance) * rng.standard_normal((queries, INTRINSIC), dtype=np.float32)
    texts = list(_texts(rng, chunks))
    asking = [[f"query{n}word{m}" for m in range(QUERY_WORDS)] for n in range(queries)]
    for words, rows in zip(asking, planted, strict=True):
        for distance, row in enumerate(rows):
            texts[row] += " " + " ".join(words[: QUERY_WORDS - distance // 2])
    common = [" ".join(f"w{min(int(rng.pareto(0.7)), 500)}" for _ in range(3)) for _ in range(queries)]
    _write(
        directory,
        vectors=np.concatenate([embedded(part) for part in np.array_split(latent, 20)]),
        queries=embedded(asked),
        texts=texts,
        query_texts=[" ".join(words) + " " + more for words, more in zip(asking, common, strict=True)],
        expected=[[int(row) for row in rows] for rows in planted],
    )


def real(
    directory: Path, cut: Callable[[Path], list[str]], *, chunks: int, dimensions: int, queries: int, seed: int = 7
) -> None:
    """Docs and sources of the packages that are installed here, and queries of which the answer is known.

    A query is some words of one chunk, those that are rare elsewhere first, in another order. There is no embedding
    model, so a vector is the sum of its words' random directions, weighted by rarity: real texts, real word counts.
    """
    rng = np.random.default_rng(seed)
    texts: list[str] = []
    for path in _documents():
        texts += cut(path)
        if len(texts) >= chunks:
            break
    texts = texts[:chunks]
    counts = [Counter(_WORD.findall(text.lower())) for text in texts]
    rarity = _rarity(counts)
    rich = [n for n, count in enumerate(counts) if len(count) >= 25]
    chosen = [int(n) for n in rng.choice(rich, size=queries, replace=False)]
    query_texts = []
    for n in chosen:
        words = sorted(counts[n], key=lambda word: -rarity[word])[2:14]  # the two rarest would be too easy
        query_texts.append(" ".join(str(word) for word in rng.permutation(words)[:QUERY_WORDS]))
    _write(
        directory,
        vectors=_bags(counts, rarity, dimensions),
        queries=_bags([Counter(text.split()) for text in query_texts], rarity, dimensions),
        texts=texts,
        query_texts=query_texts,
        expected=[[n] for n in chosen],
    )


def exact(vectors: Floats, queries: Floats, count: int) -> list[list[int]]:
    """The true nearest rows of each query, by float32; more than ``count`` where some are as near as the last of them.

    Real collections hold the same text many times: which copy is found does not matter.
    """
    nearest = []
    for query in queries:
        similarities = vectors @ query
        least = np.partition(similarities, -count)[-count] - 1e-5
        nearest.append([int(row) for row in np.flatnonzero(similarities >= least)])
    return nearest


def unit(vectors: Floats) -> Floats:
    """The vectors with length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def load(directory: Path, name: str) -> Any:
    """A part of a collection."""
    if (directory / f"{name}.npy").exists():
        return np.load(directory / f"{name}.npy")
    return json.loads((directory / f"{name}.json").read_text(encoding="utf-8"))


def rows(directory: Path, start: int, stop: int) -> Floats:
    """Some of the vectors, read and not mapped: mapped ones would be counted as memory of whoever reads them."""
    with (directory / "vectors.npy").open("rb") as file:
        np.lib.format.read_magic(file)
        (count, dimensions), _, _ = np.lib.format.read_array_header_1_0(file)
        file.seek(start * dimensions * 4, 1)
        values = np.fromfile(file, dtype=np.float32, count=(min(stop, count) - start) * dimensions)
    return values.reshape(-1, dimensions)


def _write(directory: Path, **parts: Any) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        if isinstance(part, np.ndarray):
            np.save(directory / f"{name}.npy", part.astype(np.float32))
        else:
            (directory / f"{name}.json").write_text(json.dumps(part), encoding="utf-8")


def _texts(rng: np.random.Generator, count: int) -> Iterator[str]:
    """Texts whose words are as unevenly frequent as those of a language."""
    for _ in range(count):
        ranks = np.minimum(rng.pareto(0.7, WORDS_PER_CHUNK), VOCABULARY).astype(int)
        yield " ".join(f"w{rank}" for rank in ranks)


def _documents() -> Iterator[Path]:
    """Texts of the installed packages, in an order that is the same each time."""
    root = Path(sysconfig.get_paths()["purelib"])
    for path in sorted(root.rglob("*")):
        if path.suffix in {".py", ".md", ".rst", ".txt", ".pyi"} and path.is_file() and path.stat().st_size > 1_000:
            yield path


def _rarity(counts: list[Counter[str]]) -> dict[str, float]:
    found_in = Counter(word for count in counts for word in count)
    return {word: math.log(len(counts) / found) for word, found in found_in.items()}


def _bags(counts: list[Counter[str]], rarity: dict[str, float], dimensions: int) -> Floats:
    rng = np.random.default_rng(1)
    row_of = {word: n for n, word in enumerate(rarity)}
    directions = rng.standard_normal((len(row_of), dimensions), dtype=np.float32)
    vectors = np.zeros((len(counts), dimensions), dtype=np.float32)
    for vector, count in zip(vectors, counts, strict=True):
        words = [word for word in count if word in row_of]
        weights = np.array([rarity[word] * (1 + math.log(count[word])) for word in words], dtype=np.float32)
        if words:
            vector += weights @ directions[[row_of[word] for word in words]]
    return unit(vectors + 1e-6)
