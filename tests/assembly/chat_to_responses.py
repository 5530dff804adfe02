"""From what a chat upstream sends to what a client of the Responses API sees, without a server between."""

import json
from typing import Any

from assembly_streams import stream

from antiphon.agent.effects import Finish
from antiphon.agent.machine import Machine
from antiphon.events import ModelEvent, RunEvent, RunFinished, RunStarted, TurnStarted
from antiphon.rendering.responses import ResponsesRenderer

TERMINAL = {"response.completed", "response.incomplete", "response.failed"}


def run_of(events: list[ModelEvent], **request: Any) -> list[RunEvent]:
    """The run of one model call, ended as the machine ends it."""
    started = RunStarted(run="resp_" + "0" * 32, created_at_s=1, model="m", request={"model": "m", **request})
    turn = TurnStarted(turn=0, interaction="int_0", upstream="local", model="m")
    machine = Machine()
    machine.feed(started)
    finish = machine.feed_all([turn, *events])
    if not isinstance(finish, Finish):
        finish = Finish("failed")  # another attempt would be made: what a client sees if that fails too
    ended = RunFinished(status=finish.status, reason=finish.reason, error=finish.error, finished_at_s=2)
    return [started, turn, *events, ended]


def rendered(events: list[ModelEvent], **request: Any) -> list[dict[str, Any]]:
    """The events that a client is sent."""
    return [json.loads(frame.data) for frame in ResponsesRenderer().render(run_of(events, **request))]


def responses(*chunks: Any, done: bool = True, **options: Any) -> list[dict[str, Any]]:
    """The events that a client is sent for a chat stream of these chunks."""
    return rendered(stream(*chunks, done=done, **options))


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """The types of the events, without ``response.``."""
    return [event["type"].removeprefix("response.") for event in events]


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The events of one type."""
    return [event for event in events if event["type"] == f"response.{kind}"]


def check_stream(events: list[dict[str, Any]]) -> None:
    """What every stream keeps to: numbers without a gap, one terminal event, items announced once and closed once."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] in TERMINAL for event in events] == [False] * (len(events) - 1) + [True]
    output = events[-1]["response"]["output"]
    added = [event["item"]["id"] for event in of(events, "output_item.added")]
    done = {event["output_index"]: event["item"] for event in of(events, "output_item.done")}
    assert added == [item["id"] for item in output]
    assert [done[index] for index in range(len(output))] == output
    assert len(of(events, "output_item.done")) == len(output)
