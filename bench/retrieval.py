"""What search costs and finds: Antiphon's index beside sqlite-vec with FTS5, and chroma; see bench/README.md.

    scripts/bench retrieval [--peers PYTHON] [--chunks N] [--queries N] [--check] [--json FILE]

`--peers` is a Python that has numpy, apsw, sqlite-vec and chromadb; without it they are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import retrieval_data as data
from antiphon.retrieval.chunking import Chunk, ChunkingStrategy, chunks
from antiphon.retrieval.extraction import extract
from antiphon.retrieval.filters import compile_filter
from antiphon.retrieval.index import Embedded, Index
from antiphon.retrieval.search import Source, search
from retrieval_measuring import COUNT, DEEP, Searches, main

HERE = Path(__file__)
PEERS_SCRIPT = HERE.with_name("retrieval_peers.py")
PEERS = ("sqlite-vec + FTS5", "sqlite-vec int8 + FTS5", "chroma")
CHUNKS_PER_FILE = 20
STRATEGY = ChunkingStrategy(type="static", max_tokens=200, overlap_tokens=0)

# What is aimed at, and whether the figures keep it; of the generated collection, if it was measured.
AIMS = {
    "hybrid p99 under 15 ms": lambda own: own["hybrid"]["p99_ms"] < 15,
    "recall@10 of exact search at least 0.99": lambda own: own["vector"]["recall"] >= 0.99,
    "memory under 500 MB": lambda own: own["memory_mb"] < 500,
    "an edit is found within 1 s": lambda own: own["edit_ms"] is not None and own["edit_ms"] < 1000,
    "a filter leaves 10 results": lambda own: own["hybrid, filter 1%"]["full"] == 1,
}


class Precomputed:
    """An embedder that knows the one vector it will be asked for."""

    model = "bench"

    def __init__(self) -> None:
        self.vector = np.zeros((1, 1), dtype=np.float32)

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        """The vector that was put there."""
        return self.vector


class Antiphon:
    """The whole way of a search: threads, fusion, look-up of the passages."""

    def __init__(self, directory: Path) -> None:
        self._index = Index.open(directory / "index")
        self._embedder = Precomputed()
        self._source = Source(store_id="vs_bench", index=self._index, embedder=self._embedder)
        self._loop = asyncio.new_event_loop()

    def build(self, collection: Path) -> None:
        """Index the collection, file by file."""
        texts = data.load(collection, "texts")
        for start in range(0, len(texts), CHUNKS_PER_FILE):
            rows = range(start, min(start + CHUNKS_PER_FILE, len(texts)))
            cut = [Chunk(text=texts[n], start=n - start, end=n - start + 1) for n in rows]
            attributes = {"percent": start // CHUNKS_PER_FILE % 100}
            self._index.add(
                f"{start}", cut, Embedded("bench", data.rows(collection, rows.start, rows.stop)), attributes
            )
        self._index.flush()

    def add(self, row: int, text: str, vector: np.ndarray) -> None:
        """Index one more chunk, as a file of its own."""
        self._index.add(f"{row}", [Chunk(text=text, start=0, end=len(text))], Embedded("bench", vector.reshape(1, -1)))

    def vector(self, query: np.ndarray, count: int) -> list[int]:
        """By vectors alone."""
        return self._ask("-", query, count, mode="vector")

    def words(self, query: str, count: int) -> list[int]:
        """By words alone."""
        return self._ask(query, None, count, mode="lexical")

    def hybrid(self, query: str, vector: np.ndarray, count: int) -> list[int]:
        """By both."""
        return self._ask(query, vector, count, mode="hybrid")

    def filtered(self, query: str, vector: np.ndarray, count: int, part: float) -> list[int]:
        """By both, in a part of the files."""
        wanted = compile_filter({"type": "lt", "key": "percent", "value": round(100 * part)})
        return self._ask(query, vector, count, mode="hybrid", filters=wanted)

    def close(self) -> None:
        """Let go of the directory."""
        self._loop.close()
        self._index.close()

    def _ask(self, query: str, vector: np.ndarray | None, count: int, **options: Any) -> list[int]:
        if vector is not None:
            self._embedder.vector = vector.reshape(1, -1)
        asked = search(query, [self._source], max_num_results=count, **options)
        return [int(hit.file_id) + hit.chunk_no for hit in self._loop.run_until_complete(asked).hits]


TARGETS: dict[str, Callable[[Path], Searches]] = {"Antiphon": Antiphon}


def cut_file(path: Path) -> list[str]:
    """The chunks of a real file."""
    extracted = extract(path, filename=path.name)
    return [chunk.text for chunk in chunks(extracted.text, kind=extracted.kind, strategy=STRATEGY)]


def measured(python: str, script: Path, name: str, place: Path, collection: Path, queries: int) -> dict[str, Any]:
    """A target's figures: built in one process, asked in another."""
    figures: dict[str, Any] = {}
    for what in ("build", "ask"):
        command = [python, str(script), what, name, str(place), str(collection), str(queries)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return {"failed": done.stderr.strip().splitlines()[-1:] or ["it ended without a word"]}
        figures |= json.loads(done.stdout.splitlines()[-1])
    return figures


def show(name: str, figures: dict[str, Any]) -> None:
    """A target's figures."""
    if "failed" in figures:
        print(f"{name}: failed: {figures['failed'][0]}", flush=True)
        return
    edit = "never" if figures["edit_ms"] is None else f"{figures['edit_ms']:.0f} ms"
    print(
        f"{name}: built in {figures['build_s']:.1f} s (peak {figures['build_peak_mb']:.0f} MB), opened in"
        f" {figures['open_s']:.2f} s, {figures['memory_mb']:.0f} MB, an edit is found after {edit}"
    )
    for way, of in figures.items():
        if isinstance(of, dict):
            recall = f"{of['recall']:.3f}" if "recall" in of else ""
            deep = f"{of['recall_deep']:.3f}" if "recall_deep" in of else ""
            known = "" if "filter" in way else f"{of['known']:.3f}"
            times = f"{of['p50_ms']:9.2f}{of['p99_ms']:9.2f}{of['cpu_ms']:9.2f}"
            print(f"  {way:22}{times}{recall:>11}{deep:>11}{known:>8}", flush=True)


def bench(arguments: argparse.Namespace, work: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """All targets over both collections."""
    makers: dict[str, Callable[[Path], None]] = {
        "generated": lambda place: data.generated(
            place, chunks=arguments.chunks, dimensions=arguments.dimensions, queries=arguments.queries
        ),
        "real": lambda place: data.real(
            place, cut_file, chunks=arguments.chunks, dimensions=arguments.dimensions, queries=arguments.queries
        ),
    }
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for name, make in makers.items():
        if arguments.only not in (None, name):
            continue
        collection = work / name
        make(collection)
        vectors = data.load(collection, "vectors")
        for count in (COUNT, DEEP):
            nearest = data.exact(vectors, data.load(collection, "queries"), count)
            (collection / f"nearest_{count}.json").write_text(json.dumps(nearest), encoding="utf-8")
        print(f"\n{name}: {len(vectors):,} chunks x {vectors.shape[1]}")
        print(f"{'':24}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms':>9}{'recall@10':>11}{'recall@50':>11}{'known':>8}")
        del vectors
        targets = [("Antiphon", sys.executable, HERE, arguments.queries)]
        fewer = min(arguments.queries, arguments.peer_queries)
        targets += [(peer, arguments.peers, PEERS_SCRIPT, fewer) for peer in PEERS if arguments.peers]
        results[name] = {}
        for n, (target, python, script, queries) in enumerate(targets):
            results[name][target] = measured(python, script, target, work / f"{name}-{n}", collection, queries)
            show(target, results[name][target])
    return results


def run() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=768)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--peer-queries", type=int, default=20, help="slower ones are asked less often")
    parser.add_argument("--only", choices=("generated", "real"), help="one collection only")
    parser.add_argument("--peers", help="a Python with numpy, apsw, sqlite-vec and chromadb")
    parser.add_argument("--check", action="store_true", help="exit with 1 if an aim is missed")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not arguments.peers:
        print("Without --peers PYTHON, sqlite-vec and chroma are left out (bench/README.md says how to get them).")
    with tempfile.TemporaryDirectory() as work:
        results = bench(arguments, Path(work))
    own = next(iter(results.values()))["Antiphon"]
    if "failed" in own:
        return 2
    print()
    kept = {aim: bool(holds(own)) for aim, holds in AIMS.items()}
    for aim, holds in kept.items():
        print(f"{'kept  ' if holds else 'MISSED'}  {aim}")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=2), encoding="utf-8")
    return int(arguments.check and not all(kept.values()))


if __name__ == "__main__":
    sys.exit(main(TARGETS) if sys.argv[1:2] in (["build"], ["ask"]) else run())
