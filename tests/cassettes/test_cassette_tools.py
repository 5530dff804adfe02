"""Calls of Python functions: recorded, replayed, or made live and compared."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pydantic
import pytest
from cassette_fakes import SEEDS, need

from antiphon.cassettes import Cassette, Interaction, ToolCall, read
from antiphon.cassettes.writing import Writer
from antiphon.errors import CassetteExhausted, CassetteMismatch, ToolDiverged, ToolFailed, UsageError


@dataclasses.dataclass
class Weather:
    city: str
    degrees: float
    day: date = date(2026, 11, 20)


class Place(pydantic.BaseModel):
    city: str


class OutOfRange(Exception):
    """A tool's own."""


def recorded_calls(path: Path) -> list[ToolCall]:
    return [each.tool for each in read(path) if each.tool]


def test_a_call_is_recorded_and_replayed_without_being_made(tmp_path: Path) -> None:
    made = []

    def weather(city: str, *, unit: str = "C") -> str:
        made.append(city)
        return f"40 {unit}"

    with Cassette(tmp_path / "x.jsonl", "record") as cassette:
        assert cassette.tool(weather)("Rome") == "40 C"
    assert recorded_calls(tmp_path / "x.jsonl") == [
        ToolCall(name="weather", arguments={"city": "Rome", "unit": "C"}, result="40 C")
    ]
    with Cassette(tmp_path / "x.jsonl") as cassette:
        assert cassette.tool(weather)(unit="C", city="Rome") == "40 C"
    assert made == ["Rome"]


def test_an_async_function_stays_one(tmp_path: Path) -> None:
    async def add(a: int, b: int) -> int:
        return a + b

    for mode in ("record", "replay"):
        with Cassette(tmp_path / "x.jsonl", mode) as cassette:  # type: ignore[arg-type]
            tool = cassette.tool(add)
            assert asyncio.iscoroutinefunction(tool)
            assert tool.__name__ == "add"
            assert asyncio.run(tool(2, 3)) == 5


def test_a_result_has_the_type_that_the_function_says(tmp_path: Path) -> None:
    def weather(place: Place) -> Weather:
        return Weather(place.city, 40.5)

    def find(name: str) -> Place:
        return Place(city=name)

    for mode in ("record", "replay"):
        with Cassette(tmp_path / "x.jsonl", mode) as cassette:  # type: ignore[arg-type]
            assert cassette.tool(weather)(Place(city="Rome")) == Weather("Rome", 40.5)
            assert cassette.tool(find)("Rome") == Place(city="Rome")


def test_equal_calls_get_their_results_in_order(tmp_path: Path) -> None:
    results = iter([1, 2, 3])
    with Cassette(tmp_path / "x.jsonl", "record") as cassette:
        poll = cassette.tool(lambda job: next(results), name="poll")
        assert [poll("a") for _ in range(3)] == [1, 2, 3]
    with Cassette(tmp_path / "x.jsonl") as cassette:
        poll = cassette.tool(lambda job: 0, name="poll")
        assert [poll("a") for _ in range(3)] == [1, 2, 3]
        with pytest.raises(CassetteExhausted, match="TOOL poll"):
            poll("a")
        cassette.misses.clear()


def test_a_call_that_was_not_recorded_says_where_it_differs(tmp_path: Path) -> None:
    with Cassette(tmp_path / "x.jsonl", "record") as cassette:
        cassette.tool(lambda city: 1, name="weather")("Rome")
    with Cassette(tmp_path / "x.jsonl", allow_unplayed=True) as cassette:
        with pytest.raises(CassetteMismatch, match=r'differs at \$\.city: recorded "Rome", sent "Oslo"'):
            cassette.tool(lambda city: 1, name="weather")("Oslo")
        cassette.misses.clear()


@pytest.mark.parametrize("error", [ValueError("no such city"), KeyError("x"), TimeoutError("late"), OutOfRange("far")])
def test_an_exception_is_recorded_and_raised_again(tmp_path: Path, error: Exception) -> None:
    def fail() -> None:
        raise error

    for mode in ("record", "replay"):
        with Cassette(tmp_path / "x.jsonl", mode) as cassette:  # type: ignore[arg-type]
            with pytest.raises(type(error)) as raised:
                cassette.tool(fail, errors=[OutOfRange])()
            assert raised.value.args == error.args


def test_an_exception_of_an_unknown_class_is_told(tmp_path: Path) -> None:
    def fail() -> None:
        raise OutOfRange("far")

    with Cassette(tmp_path / "x.jsonl", "record") as cassette, pytest.raises(OutOfRange):
        cassette.tool(fail)()
    with Cassette(tmp_path / "x.jsonl") as cassette, pytest.raises(ToolFailed, match="OutOfRange: far"):
        cassette.tool(fail)()


def test_a_live_tool_is_called_and_its_difference_is_reported(tmp_path: Path) -> None:
    with Cassette(tmp_path / "x.jsonl", "record") as cassette:
        cassette.tool(lambda: {"degrees": 40, "at": "2026-11-20T10:00:00Z"}, name="weather")()

    def replayed(degrees: int) -> Any:
        with Cassette(tmp_path / "x.jsonl") as cassette:
            live = {"degrees": degrees, "at": "2026-11-21T11:11:11Z"}
            assert cassette.tool(lambda: live, name="weather", live=True)() == live

    replayed(40)  # that a date differs says nothing
    with pytest.raises(
        ToolDiverged, match=r"weather\(\{\}\) gave something else live .*\$\.degrees: recorded 40, sent 12"
    ):
        replayed(12)


def test_a_live_tool_that_fails_where_it_did_not_diverges(tmp_path: Path) -> None:
    def fail() -> None:
        raise ValueError("broken")

    with Cassette(tmp_path / "x.jsonl", "record") as cassette:
        cassette.tool(lambda: 1, name="fail")()
    cassette = Cassette(tmp_path / "x.jsonl")
    with pytest.raises(ValueError, match="broken"):
        cassette.tool(fail, live=True)()
    with pytest.raises(ToolDiverged, match="broken"):
        cassette.close()


def test_parameters_can_be_left_out(tmp_path: Path) -> None:
    def f(context: object, a: int) -> int:
        return a

    for mode in ("record", "replay"):
        with Cassette(tmp_path / "x.jsonl", mode) as cassette:  # type: ignore[arg-type]
            assert cassette.tool(f, ignore=["context"])(object(), 1) == 1
    with Cassette(tmp_path / "x.jsonl", "auto") as cassette, pytest.raises(UsageError, match=r"ignore=\['context'\]"):
        cassette.tool(f)(object(), 1)


def test_it_is_a_decorator_too(tmp_path: Path) -> None:
    with Cassette(tmp_path / "x.jsonl", "auto") as cassette:

        @cassette.tool
        def one() -> int:
            return 1

        @cassette.tool(name="deux")
        def two() -> int:
            return 2

        assert (one(), two()) == (1, 2)
    assert [call.name for call in recorded_calls(tmp_path / "x.jsonl")] == ["one", "deux"]


def test_a_generator_is_refused(tmp_path: Path) -> None:
    def count() -> Iterator[int]:
        yield 1

    with Cassette(tmp_path / "x.jsonl", "auto") as cassette, pytest.raises(UsageError, match="is a generator"):
        cassette.tool(count)


def test_refreshing_replaces_what_a_tool_gave(tmp_path: Path) -> None:
    for mode, result in (("record", 1), ("refresh", 2)):
        with Cassette(tmp_path / "x.jsonl", mode) as cassette:  # type: ignore[arg-type]
            cassette.tool(lambda result=result: result, name="f", ignore=["result"])()
    assert [call.result for call in recorded_calls(tmp_path / "x.jsonl")] == [2]


def test_tool_recordings_of_ogx_are_played(tmp_path: Path) -> None:
    found = next((each for path in sorted(need(SEEDS.parent / "ogx").rglob("*.json")) for each in tools_in(path)), None)
    if found is None:
        pytest.skip("no recording of a tool is here")
    assert found.tool
    writer = Writer(tmp_path / "x.jsonl")
    writer.append(found)
    writer.close()
    with Cassette(tmp_path / "x.jsonl") as cassette:
        tool = cassette.tool(lambda **arguments: None, name=found.tool.name)
        assert cassette.answer_tool(found.tool.name, found.tool.arguments) == found.tool
        assert callable(tool)


def tools_in(path: Path) -> list[Interaction]:
    return [each for each in read(path) if each.tool] if b'"tool_name"' in path.read_bytes()[:2000] else []
