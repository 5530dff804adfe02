"""Events in, a Responses stream out: order, numbers, lifecycle, and the object that the stream amounts to."""

import itertools
import json
from typing import Any

from event_sequences import RUN, runs
from hypothesis import given
from hypothesis import strategies as st

from antiphon.events import (
    Event,
)
from antiphon.rendering.fold import fold
from antiphon.rendering.items import output_items, public
from antiphon.rendering.responses import ResponsesRenderer, response_object

TERMINAL = {"response.completed", "response.incomplete", "response.failed"}


def stream(events: list[Event], **settings: Any) -> list[dict[str, Any]]:
    return [json.loads(frame.data) for frame in ResponsesRenderer(**settings).render(events)]


def types(events: list[Event], **settings: Any) -> list[str]:
    """Event types without ``response.``, runs of equal ones shown once."""
    return [
        kind.removeprefix("response.") for kind, _ in itertools.groupby(e["type"] for e in stream(events, **settings))
    ]


@given(runs())
def test_numbers_have_no_gap_and_exactly_one_terminal_event_comes_last(events: list[Event]) -> None:
    shown = stream(events)
    assert [event["sequence_number"] for event in shown] == list(range(len(shown)))
    assert [event["type"] for event in shown[:2]] == ["response.created", "response.in_progress"]
    assert [event["type"] in TERMINAL for event in shown] == [False] * (len(shown) - 1) + [True]


@given(runs())
def test_the_stream_amounts_to_the_response_object(events: list[Event]) -> None:
    shown = stream(events)
    whole = response_object(events)
    assert fold(shown) == whole
    assert fold(shown[:-1])["output"] == whole["output"]
    assert [public(item) for item in output_items(events, RUN)] == whole["output"]


@given(runs())
def test_every_item_is_announced_once_and_closed_once_in_the_order_of_the_output(events: list[Event]) -> None:
    shown = stream(events)
    added = [event for event in shown if event["type"] == "response.output_item.added"]
    done = {event["output_index"]: event for event in shown if event["type"] == "response.output_item.done"}
    output = shown[-1]["response"]["output"]
    assert [event["output_index"] for event in added] == list(range(len(output)))
    assert [event["item"]["id"] for event in added] == [item["id"] for item in output]
    assert len({item["id"] for item in output}) == len(output)
    assert sum(event["type"] == "response.output_item.done" for event in shown) == len(output)
    assert [done[index]["item"] for index in range(len(output))] == output
    assert all(item["status"] in ("completed", "incomplete") for item in output)


@given(runs(), st.data())
def test_the_bytes_do_not_depend_on_how_the_events_were_portioned(events: list[Event], data: st.DataObject) -> None:
    whole = ResponsesRenderer().render(events)
    cuts = data.draw(st.lists(st.integers(0, len(events))))
    edges = [0, *sorted(cuts), len(events)]
    renderer = ResponsesRenderer()
    assert [frame for a, b in itertools.pairwise(edges) for frame in renderer.render(events[a:b])] == whole
    assert ResponsesRenderer().render(events) == whole
