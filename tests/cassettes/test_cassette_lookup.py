"""Looking answers up: files that are read as far as they are used, declared parts, and what is ambiguous."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cassette_fakes import asked, recorded
from hypothesis import given
from hypothesis import strategies as st

from antiphon.cassettes import Interaction, Player, ToolCall, load, read
from antiphon.cassettes.loading import Held, Indexed
from antiphon.cassettes.lookup import Ambiguous, Lookup
from antiphon.cassettes.volatile import Volatile
from antiphon.cassettes.writing import Writer
from antiphon.errors import CassetteCorrupt, CassetteMismatch, CassetteMissing, UsageError

START = datetime(2026, 11, 20, tzinfo=UTC)


def timed(body: object, answer: bytes, start_s: float, seconds: float) -> Interaction:
    return msgspec.structs.replace(
        recorded(body, answer), started_at=START + timedelta(seconds=start_s), duration_ms=seconds * 1000
    )


def file_of(path: Path, *interactions: Interaction) -> Path:
    writer = Writer(path)
    for each in interactions:
        writer.append(each)
    writer.close()
    return path


# --- files ------------------------------------------------------------------------------------


def test_an_indexed_file_holds_what_reading_it_gives(tmp_path: Path) -> None:
    tool = Interaction(id="t", kind="tool", fidelity="parsed", tool=ToolCall(name="f", arguments={"a": 1}, result=2))
    path = file_of(tmp_path / "x.jsonl", recorded("a", b"1"), tool, recorded("b", b"\xff"))
    path.write_bytes(path.read_bytes() * 2)  # as with `cat`: a header stands in the middle
    indexed = Indexed(path)
    assert [indexed[index] for index in range(len(indexed))] == list(read(path))
    held = Held(read(path))
    assert [indexed.asked(index) for index in range(6)] == [held.asked(index) for index in range(6)]
    indexed.close()


def test_only_what_is_used_is_looked_at(tmp_path: Path) -> None:
    looks: list[int] = []

    class Watched(Held):
        def asked(self, index: int) -> Any:
            looks.append(index)
            return super().asked(index)

    lookup = Lookup(Watched(recorded({"n": n}, b"%d" % n) for n in range(1000)))
    for n in range(5):
        index = lookup.by_body(asked({"n": n}))
        assert index == n
        lookup.give(n)
    assert looks == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"antiphon_cassette":"1.0"}\n', "holds no interaction"),
        (b'{"antiphon_cassette":"1.0"}\n{"id":"1","kind":"http","fidelity":"wire"}\n', ":2: .* has no response"),
        (
            b'{"antiphon_cassette":"1.0"}\n\n{"id":"1","kind":"http","response":{"status":1,"chunks":[[0,"\xff"]]}}\n',
            ":3: .*utf-8",
        ),
        (b'{"antiphon_cassette":"9.0"}\n{}\n', ":1: the cassette has format 9.0"),
    ],
)
def test_a_broken_file_is_told_when_it_is_opened(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(Exception, match=says):
        load(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(CassetteMissing):
        load(tmp_path / "x.jsonl")
    (tmp_path / "y").write_bytes(b"")
    with pytest.raises(CassetteCorrupt):
        load(tmp_path / "y")


@given(st.lists(st.integers(0, 5), max_size=12), st.randoms())
def test_each_is_given_once_and_equal_ones_in_order(bodies: list[int], chance: Any) -> None:
    lookup = Lookup(Held(recorded({"n": n}, b"%d" % place) for place, n in enumerate(bodies)))
    sent = list(bodies)
    chance.shuffle(sent)
    given_to: dict[int, list[int]] = {}
    for n in sent:
        index = lookup.by_body(asked({"n": n}))
        assert index is not None
        lookup.give(index)
        given_to.setdefault(n, []).append(index)
    assert given_to == {n: [place for place, m in enumerate(bodies) if m == n] for n in given_to}
    assert list(lookup.waiting()) == []


# --- what is ambiguous ------------------------------------------------------------------------


def test_requests_alike_that_came_one_after_the_other_are_answered_in_order() -> None:
    lookup = Lookup(Held([timed({"user": "a"}, b"1", 0, 1), timed({"user": "b"}, b"2", 2, 1)]))
    assert lookup.by_body(asked({"user": "c"})) == 0


def test_requests_alike_that_were_under_way_together_are_told_apart_by_nothing() -> None:
    lookup = Lookup(Held([timed({"user": "a"}, b"1", 0, 1), timed({"user": "b"}, b"2", 0.5, 1)]))
    with pytest.raises(Ambiguous) as raised:
        lookup.by_body(asked({"user": "c"}))
    assert raised.value.pair == (0, 1)
    assert lookup.by_body(asked({"user": "b"})) == 1
    lookup.give(1)
    assert lookup.by_body(asked({"user": "c"})) == 0  # one is left: no choice


@pytest.mark.parametrize("second", [timed({"user": "b"}, b"1", 0.5, 1), timed({"user": "a"}, b"2", 0.5, 1)])
def test_it_is_not_ambiguous_where_it_does_not_matter(second: Interaction) -> None:
    lookup = Lookup(Held([timed({"user": "a"}, b"1", 0, 1), second]))
    assert lookup.by_body(asked({"user": "c"})) == 0


# --- declared parts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("$.metadata.run", {"metadata": {"x": [{"id": 1, "t": 2}, {"id": 3}]}, "run": 5}),
        ("$.metadata.x[*].id", {"metadata": {"run": 4, "x": [{"t": 2}, {}]}, "run": 5}),
        ("$.metadata.x[0]", {"metadata": {"run": 4, "x": [None, {"id": 3}]}, "run": 5}),
        ("$..run", {"metadata": {"x": [{"id": 1, "t": 2}, {"id": 3}]}}),
        ("$.metadata.*", {"metadata": {}, "run": 5}),
        ("$['metadata']", {"run": 5}),
        ("$.nothing.here", {"metadata": {"run": 4, "x": [{"id": 1, "t": 2}, {"id": 3}]}, "run": 5}),
    ],
)
def test_a_path_takes_out_what_it_names(path: str, left: object) -> None:
    assert Volatile([path]).without({"metadata": {"run": 4, "x": [{"id": 1, "t": 2}, {"id": 3}]}, "run": 5}) == left


@pytest.mark.parametrize("path", ["metadata.run", "$", "$.", "$.a[", "$.a b", ""])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match=r"is no path; write \$\.metadata\.run"):
        Volatile([path])


def test_a_declared_query_parameter_does_not_matter() -> None:
    one = recorded({}, b"1", url="https://h/v1/x?run=1&q=a")
    Player([one], volatile=["?run"]).take(asked({}, url="https://h/v1/x?run=2&q=a"))
    with pytest.raises(CassetteMismatch, match=r"/v1/x\?q=a.*/v1/x\?q=b"):
        Player([one], volatile=["?run"]).take(asked({}, url="https://h/v1/x?run=1&q=b"))


def test_the_boundary_of_a_form_does_not_matter() -> None:
    def form(boundary: str) -> Any:
        body = f'--{boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--{boundary}--\r\n'.encode()
        headers = (("content-type", f"multipart/form-data; boundary={boundary}"),)
        return msgspec.structs.replace(asked(None), headers=headers, body=body)

    one = form("x1y2")
    request = msgspec.structs.replace(recorded({}, b"1").request, headers=one.headers, body=one.body)  # type: ignore[type-var]
    Player([msgspec.structs.replace(recorded({}, b"1"), request=request)]).take(form("z8z9"))
