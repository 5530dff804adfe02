"""Whatever happens to the process, an index opens, and holds what was added: whole files, each once."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.retrieval.index import Index
from retrieval.corpora import cut, direction, directions

# Adds, replaces and removes files, and says so after each.
WRITER = """
import sys
from pathlib import Path
from antiphon.retrieval.index import Index
from retrieval.corpora import cut, directions

index = Index.open(Path(sys.argv[1]))
for n in range(10_000):
    name = f"file-{n % 40}"
    index.add(name, cut(f"bread version{n} ", "and salt ", "and more."), directions([n, n + 1, n + 2]), {"n": n})
    print("added", name, n, flush=True)
    if n % 7 == 3:
        index.remove(f"file-{(n - 1) % 40}")
        print("removed", f"file-{(n - 1) % 40}", n, flush=True)
    if n % 5 == 0:
        index.by_words("bread", count=3)
"""


@pytest.mark.parametrize("lines", [1, 23, 60])
def test_a_process_that_is_killed_leaves_whole_files_each_once(tmp_path: Path, lines: int) -> None:
    directory = tmp_path / "index"
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
    )
    assert child.stdout is not None
    known: dict[str, int | None] = {}
    for _ in range(lines):
        what, name, n = child.stdout.readline().split()
        known[name] = int(n) if what == "added" else None
    child.kill()
    for line in child.stdout:  # what was said between the last look and the end
        what, name, n = line.split()
        known[name] = int(n) if what == "added" else None
    child.wait()
    child.stdout.close()
    index = Index.open(directory)
    found = index.by_words("bread", count=200)
    passages = index.passages([each.chunk_id for each in found])
    by_file = {passage.file_id: passage.attributes["n"] for passage in passages.values()}
    assert len(by_file) == len(found) == index.stats().files
    # One write may have been done, and not said.
    unsaid = by_file.items() ^ {(name, n) for name, n in known.items() if n is not None}
    assert len({name for name, _ in unsaid}) <= 1
    for name, n in by_file.items():
        assert index.text_of(name) == f"bread version{n} and salt and more."
        assert len(index.by_vector(directions([int(n)]), count=500)) == index.stats().chunks
    index.close()


names = st.sampled_from(["a", "b", "c"])
operations = st.lists(
    st.one_of(
        st.tuples(st.just("add"), names, st.integers(0, 9), st.booleans()),
        st.tuples(st.just("remove"), names),
        st.tuples(st.just("attributes"), names, st.integers(0, 9)),
        st.tuples(st.just("search")),
        st.tuples(st.just("crash")),
        st.tuples(st.just("close")),
    ),
    max_size=12,
)


@settings(max_examples=8, deadline=None)
@given(operations)
def test_an_index_holds_what_was_done_to_it_through_crashes_and_restarts(done: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory) / "0"
        index = Index.open(place)
        model: dict[str, tuple[int, bool, int]] = {}
        for step, operation in enumerate(done):
            match operation:
                case ("add", str(name), int(n), bool(embedded)):
                    index.add(name, cut(f"word{n} all"), direction(n) if embedded else None, {"n": n})
                    model[name] = (n, embedded, n)
                case ("remove", str(name)):
                    assert index.remove(name) == (model.pop(name, None) is not None)
                case ("attributes", str(name), int(n)) if name in model:
                    index.set_attributes(name, {"n": n})
                    model[name] = (*model[name][:2], n)
                case ("search",):
                    index.by_words("all", count=1)
                case ("crash",):  # the disk as it is at this moment, without the process
                    other = Path(directory) / str(step + 1)
                    shutil.copytree(place, other)
                    index.close()
                    place, index = other, Index.open(other)
                case ("close",):
                    index.close()
                    index = Index.open(place)
            check(index, model)
        index.close()


def check(index: Index, model: dict[str, tuple[int, bool, int]]) -> None:
    words = index.passages([each.chunk_id for each in index.by_words("all", count=9)]).values()
    assert {each.file_id: (each.text, each.attributes["n"]) for each in words} == {
        name: (f"word{n} all", attribute) for name, (n, _, attribute) in model.items()
    }
    near = index.passages([each.chunk_id for each in index.by_vector(direction(1), count=9)]).values()
    assert {each.file_id for each in near} == {name for name, (_, embedded, _) in model.items() if embedded}
    assert index.stats().files == len(model)
