"""An index is used from many threads: a search sees whole files, and never something else."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from antiphon.retrieval.filters import compile_filter
from antiphon.retrieval.index import Index
from retrieval.corpora import cut, direction, directions

FILES = 8
ROUNDS = 15


def test_searches_beside_writes_see_whole_files(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "index")
    done = threading.Event()
    wanted = compile_filter({"type": "gte", "key": "n", "value": 0})

    def write(first: int) -> None:
        for n in range(ROUNDS):
            name = f"file-{first + n % (FILES // 2)}"
            index.add(name, cut(f"bread {name} a", f"bread {name} b"), directions([n, n + 1]), {"n": n})
            if n % 5 == 4:
                index.remove(name)
                index.add(name, cut(f"bread {name} c"), direction(n), {"n": n})

    def search() -> int:
        seen = 0
        while not done.is_set() or not seen:
            for found in (
                index.by_words("bread", count=50, wanted=wanted),
                index.by_vector(direction(3), count=50, wanted=wanted),
            ):
                passages = index.passages([each.chunk_id for each in found])
                assert all(passage.file_id in passage.text for passage in passages.values())
                assert len({each.chunk_id for each in found}) == len(found) <= 2 * FILES
                seen += len(found)
        return seen

    with ThreadPoolExecutor(5) as threads:
        searches = [threads.submit(search) for _ in range(3)]
        writes = [threads.submit(write, first) for first in (0, FILES // 2)]
        try:
            for each in writes:
                each.result()
        finally:
            done.set()
        assert all(each.result() for each in searches)
    assert index.stats().files == FILES
    assert (
        len(index.by_words("bread", count=50)) == len(index.by_vector(direction(3), count=50)) == index.stats().chunks
    )
    index.close()
