"""One target over one collection, in a process of its own: built, opened again, asked, edited. Needs numpy alone."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import retrieval_data as data

COUNT = 10
DEEP = 50  # beyond the planted neighbours, where one is hardly nearer than the next
WARM_UP = 5


class Searches(Protocol):
    """What a target can do; one that has no ``words`` or ``hybrid`` is not asked for it."""

    def build(self, collection: Path) -> None:
        """Index the collection."""

    def add(self, row: int, text: str, vector: np.ndarray) -> None:
        """Index one more chunk."""

    def vector(self, query: np.ndarray, count: int) -> list[int]:
        """The nearest rows."""


def main(targets: Mapping[str, Callable[[Path], Searches]]) -> int:
    """``build|ask NAME DIRECTORY COLLECTION QUERIES``; writes its figures as JSON."""
    what, name, directory, collection, queries = sys.argv[1:]
    Path(directory).mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    target = targets[name](Path(directory))
    opened_s = time.perf_counter() - started
    if what == "build":
        started = time.perf_counter()
        target.build(Path(collection))
        figures: dict[str, Any] = {"build_s": time.perf_counter() - started, "build_peak_mb": memory_mb("VmHWM")}
    else:
        figures = {"open_s": opened_s, **asked(target, Path(collection), int(queries))}
    if hasattr(target, "close"):
        target.close()
    print(json.dumps(figures))
    return 0


def asked(target: Any, collection: Path, most: int) -> dict[str, Any]:
    """Times and what was found, of each way that the target has."""
    queries, texts = data.load(collection, "queries")[:most], data.load(collection, "query_texts")[:most]
    expected = data.load(collection, "expected")
    nearest = {count: data.load(collection, f"nearest_{count}") for count in (COUNT, DEEP)}
    ways: dict[str, Callable[[int], list[int]]] = {"vector": lambda n: target.vector(queries[n], COUNT)}
    if hasattr(target, "words"):
        ways["words"] = lambda n: target.words(texts[n], COUNT)
    if hasattr(target, "hybrid"):
        ways["hybrid"] = lambda n: target.hybrid(texts[n], queries[n], COUNT)
    if hasattr(target, "filtered"):
        for part in (0.01, 0.5):
            ways[f"hybrid, filter {part:.0%}"] = lambda n, part=part: target.filtered(texts[n], queries[n], COUNT, part)
    figures: dict[str, Any] = {}
    for way, ask in ways.items():
        for n in range(WARM_UP):
            ask(n)
        times_ms, found = [], []
        cpu_s = time.process_time()
        for n in range(len(queries)):
            started = time.perf_counter()
            found.append(ask(n))
            times_ms.append((time.perf_counter() - started) * 1e3)
        cpu_ms = (time.process_time() - cpu_s) * 1e3 / len(queries)
        figures[way] = {
            "p50_ms": float(np.percentile(times_ms, 50)),
            "p99_ms": float(np.percentile(times_ms, 99)),
            "cpu_ms": cpu_ms,
            "known": share(found, expected),
            "full": float(np.mean([len(rows) == COUNT for rows in found])),
        }
        if way == "vector":
            deep = [target.vector(query, DEEP) for query in queries[:100]]
            figures[way]["recall"] = share(found, nearest[COUNT], COUNT)
            figures[way]["recall_deep"] = share(deep, nearest[DEEP], DEEP)
    figures["memory_mb"] = memory_mb("VmRSS")
    figures["edit_ms"] = edits_ms(target, queries)
    return figures


def share(found: list[list[int]], wanted: list[list[int]], of: int | None = None) -> float:
    """How much of what was wanted was found; ``of`` how many, if more would do."""
    shares = [len(set(rows) & set(want)) / (of or len(want)) for rows, want in zip(found, wanted, strict=False)]
    return float(np.mean(shares))


def edits_ms(target: Any, queries: np.ndarray) -> float | None:
    """The median time from a new chunk to its being found, by words if that is possible and by its vector."""
    times_ms = []
    for n in range(20):
        row, word = 10_000_000 + n, f"novelty{n}"
        vector = np.roll(queries[n % len(queries)], 7 + n)
        started = time.perf_counter()
        target.add(row, f"a {word} of this edit", vector)
        there = target.vector(vector, 1) == [row] and (not hasattr(target, "words") or target.words(word, 1) == [row])
        times_ms.append((time.perf_counter() - started) * 1e3)
        if not there:
            return None
    return float(np.median(times_ms))


def memory_mb(field: str) -> float:
    """Memory of this process as Linux counts it, mapped files included."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(found.group(1)) / 1024 if found else float("nan")
