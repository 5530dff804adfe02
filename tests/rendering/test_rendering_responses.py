"""Events in, a Responses stream out: order, numbers, lifecycle, and the object that the stream amounts to."""

import itertools
import json
from typing import Any, get_args

import msgspec
import pytest
from event_sequences import RUN, call, few, refuse, run, run_started, runs, say, think, turn
from hypothesis import given
from hypothesis import strategies as st

from antiphon.events import (
    AnnotationAdded,
    Diagnostic,
    ErrorInfo,
    Event,
    RunEvent,
    RunFinished,
    TextDelta,
    TextFinished,
    TextStarted,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    TurnFailed,
    Usage,
)
from antiphon.rendering.fold import fold
from antiphon.rendering.frames import FrameWriter
from antiphon.rendering.items import ItemBuilder, output_items, public
from antiphon.rendering.responses import DONE, Frame, ResponsesRenderer, response_object, sse
from antiphon.sse import SSEDecoder

TERMINAL = {"response.completed", "response.incomplete", "response.failed"}


def stream(events: list[Event], **settings: Any) -> list[dict[str, Any]]:
    return [json.loads(frame.data) for frame in ResponsesRenderer(**settings).render(events)]


def types(events: list[Event], **settings: Any) -> list[str]:
    """Event types without ``response.``, runs of equal ones shown once."""
    return [
        kind.removeprefix("response.") for kind, _ in itertools.groupby(e["type"] for e in stream(events, **settings))
    ]


@few
@given(runs())
def test_numbers_have_no_gap_and_exactly_one_terminal_event_comes_last(events: list[Event]) -> None:
    shown = stream(events)
    assert [event["sequence_number"] for event in shown] == list(range(len(shown)))
    assert [event["type"] for event in shown[:2]] == ["response.created", "response.in_progress"]
    assert [event["type"] in TERMINAL for event in shown] == [False] * (len(shown) - 1) + [True]


@few
@given(runs())
def test_the_stream_amounts_to_the_response_object(events: list[Event]) -> None:
    shown = stream(events)
    whole = response_object(events)
    assert fold(shown) == whole
    assert fold(shown[:-1])["output"] == whole["output"]
    assert [public(item) for item in output_items(events, RUN)] == whole["output"]


@few
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
    assert all(item.get("status", "completed") in ("completed", "incomplete", "failed") for item in output)


@few
@given(runs(), st.data())
def test_the_bytes_do_not_depend_on_how_the_events_were_portioned(events: list[Event], data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(events))))
    renderer = ResponsesRenderer()
    frames: list[Frame] = []
    for a, b in itertools.pairwise([0, *sorted(cuts), len(events)]):
        frames += renderer.render(events[a:b])
        assert renderer.response.get("id") == (RUN if b else None)  # looking at it changes nothing
    assert frames == ResponsesRenderer().render(events)


@few
@given(runs())
def test_a_journal_that_was_stored_renders_to_the_same_bytes(events: list[Event]) -> None:
    stored = msgspec.json.decode(msgspec.json.encode(events), type=list[RunEvent])
    assert sse(ResponsesRenderer().render(stored)) == sse(ResponsesRenderer().render(events))
    assert output_items(stored, RUN) == output_items(events, RUN)


# --- order -----------------------------------------------------------------------------------


def test_reasoning_text_and_parallel_calls_come_in_the_reference_order() -> None:
    events = run(*think("0.0", "Hm", "."), *say("0.1", "Let ", "me."), *call("0.2", "{", "}"), *call("0.3", "{}"))
    message = ["output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done"]
    function = ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done"]
    assert types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        *message,
        "output_item.done",
        *function,
        "output_item.done",
        *function,
        "output_item.done",
        "completed",
    ]


@pytest.mark.parametrize(
    ("settings", "profile", "names"),
    [
        ({}, "openai", ("reasoning_summary_part.added", "reasoning_summary_text.delta")),
        ({"raw_reasoning": True}, "openai", ("content_part.added", "reasoning_text.delta")),
        ({}, "open-responses", ("reasoning_summary_part.added", "reasoning_summary_text.delta")),
        ({"raw_reasoning": True}, "open-responses", ("content_part.added", "reasoning.delta")),
    ],
    ids=["summary", "raw", "strict summary", "strict raw"],
)
def test_reasoning_has_the_event_names_of_its_profile(
    settings: dict[str, Any], profile: str, names: tuple[str, str]
) -> None:
    part, delta = names
    shown = types(run(*think("0.0", "Hm", "."), profile=profile, **settings))
    assert shown[2:-1] == [
        "output_item.added",
        part,
        delta,
        delta.replace("delta", "done"),
        part.replace("added", "done"),
        "output_item.done",
    ]


def test_reasoning_stands_in_the_summary_or_raw_in_the_content() -> None:
    events = run(*think("0.0", "Hm", "."))
    (item,) = response_object(events)["output"]
    assert item["summary"] == [{"type": "summary_text", "text": "Hm."}]
    assert "content" not in item
    (item,) = response_object(run(*think("0.0", "Hm", "."), raw_reasoning=True))["output"]
    assert item["summary"] == []
    assert item["content"] == [{"type": "reasoning_text", "text": "Hm."}]


def test_interleaved_calls_keep_their_own_output_index_and_text() -> None:
    events = run(
        ToolCallStarted(block="0.0", call_id="a", name="f"),
        ToolCallStarted(block="0.1", call_id="b", name="g"),
        ToolCallDelta(block="0.1", arguments="B"),
        ToolCallDelta(block="0.0", arguments="A"),
        ToolCallFinished(block="0.1", arguments="B"),
        ToolCallFinished(block="0.0", arguments="A"),
    )
    deltas = [(e["output_index"], e["delta"]) for e in stream(events) if e["type"].endswith(".delta")]
    assert deltas == [(1, "B"), (0, "A")]
    assert [item["arguments"] for item in response_object(events)["output"]] == ["A", "B"]


def test_a_refusal_after_text_is_a_second_part_of_the_same_message() -> None:
    events = run(*say("0.0", "Well."), *refuse("0.1", "No."))
    (message,) = response_object(events)["output"]
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert types(events).count("output_item.done") == 1


def test_text_after_a_call_is_a_message_of_its_own() -> None:
    events = run(*say("0.0", "Before."), *call("0.1", "{}"), *say("0.2", "After."))
    output = response_object(events)["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "message"]


def test_a_message_is_closed_by_what_follows_it_and_not_later() -> None:
    renderer = ResponsesRenderer()
    renderer.render([run_started(), *turn(0, *say("0.0", "Hi."))[:-1]])
    (done, _) = renderer.render([ToolCallStarted(block="0.1", call_id="c", name="f")])
    assert (done.type, json.loads(done.data)["item"]["status"]) == ("response.output_item.done", "completed")


def test_only_choice_zero_is_rendered() -> None:
    events = run(*say("0.0", "one"), *say("0.1", "two", choice=1), *call("0.2", "{}", choice=1))
    (message,) = response_object(events)["output"]
    assert message["content"][0]["text"] == "one"


def test_items_of_several_turns_go_on_in_order() -> None:
    first = turn(0, *say("0.0", "a"), *call("0.1", "{}"))
    done = ToolCallCompleted(block="0.1", output="42")
    events = [run_started(), *first, done, *turn(1, *say("1.0", "b")), RunFinished(status="completed", finished_at_s=1)]
    output = response_object(events)["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "function_call_output", "message"]
    assert output[2]["output"] == "42"
    assert output[2]["call_id"] == output[1]["call_id"]


def test_a_background_run_is_queued_until_its_first_turn() -> None:
    events = run(*say("0.0", "Hi"), background=True)
    assert types(events)[:4] == ["created", "queued", "in_progress", "output_item.added"]
    assert response_object(events[:1])["status"] == "queued"
    assert response_object(events[:2])["status"] == "in_progress"
    again = [*events[:-1], *turn(1, *say("1.0", "again")), events[-1]]
    assert types(again).count("in_progress") == 1


# --- text, calls -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deltas", "whole", "streamed"),
    [([], "{}", ["{}"]), (["{"], "{}", ["{", "}"]), (["{}"], "{}", ["{}"]), (['"{}"'], "{}", ['"{}"'])],
    ids=["empty", "cut short", "whole", "mended"],
)
def test_the_rest_of_mended_arguments_is_streamed_where_deltas_can_still_say_it(
    deltas: list[str], whole: str, streamed: list[str]
) -> None:
    shown = stream(run(*call("0.0", *deltas, arguments=whole)))
    assert [event["delta"] for event in shown if event["type"].endswith(".delta")] == streamed
    (done,) = [event for event in shown if event["type"] == "response.function_call_arguments.done"]
    assert (done["arguments"], done["name"]) == (whole, "f")
    assert shown[-1]["response"]["output"][0]["arguments"] == whole


def test_a_custom_call_streams_its_input_as_plain_text_and_keeps_its_namespace() -> None:
    events = run(*call("0.0", "*** ", "Begin", name="apply_patch", kind="custom", namespace="ns"))
    assert types(events)[3:5] == ["custom_tool_call_input.delta", "custom_tool_call_input.done"]
    (item,) = response_object(events)["output"]
    assert item["type"] == "custom_tool_call"
    assert (item["name"], item["namespace"], item["input"]) == ("apply_patch", "ns", "*** Begin")
    assert "namespace" not in response_object(run(*call("0.0", "{}")))["output"][0]


def test_annotations_are_announced_and_kept_in_the_part() -> None:
    citation = {"type": "url_citation", "url": "https://a.test", "title": "A", "start_index": 0, "end_index": 2}
    started, delta, finished = say("0.0", "So")
    events = run(started, delta, AnnotationAdded(block="0.0", annotation=citation), finished)
    (added,) = [e for e in stream(events) if e["type"] == "response.output_text.annotation.added"]
    assert (added["annotation_index"], added["annotation"]) == (0, citation)
    assert response_object(events)["output"][0]["content"][0]["annotations"] == [citation]


def test_logprobs_reach_the_delta_the_done_event_and_the_part_without_nulls() -> None:
    logprob = {"token": "So", "logprob": -0.1, "bytes": None, "top_logprobs": None}
    events = run(
        TextStarted(block="0.0"), TextDelta(block="0.0", text="So", logprobs=[logprob]), TextFinished(block="0.0")
    )
    shown = [{"token": "So", "logprob": -0.1, "bytes": [], "top_logprobs": []}]
    assert [event["logprobs"] for event in stream(events) if "logprobs" in event] == [shown, shown]
    assert response_object(events)["output"][0]["content"][0]["logprobs"] == shown


# --- ends ------------------------------------------------------------------------------------


def test_what_is_open_at_the_end_is_closed_as_incomplete_before_the_terminal_event() -> None:
    events = [
        run_started(),
        *turn(0, TextStarted(block="0.0"), TextDelta(block="0.0", text="Ha"))[:-1],
        ToolCallStarted(block="0.1", call_id="c", name="f"),
        ToolCallDelta(block="0.1", arguments='{"a'),
        RunFinished(status="failed", finished_at_s=1, error=ErrorInfo(code="truncated_stream", message="Cut.")),
    ]
    output = response_object(events)["output"]
    assert [item["status"] for item in output] == ["incomplete", "incomplete"]
    assert output[0]["content"][0]["text"] == "Ha"
    assert output[1]["arguments"] == '{"a'
    assert types(events)[-2:] == ["output_item.done", "failed"]


def test_a_turn_asked_again_after_a_crash_makes_new_items() -> None:
    cut = turn(0, TextStarted(block="0.0"), TextDelta(block="0.0", text="Ha"))[:-1]
    events = [run_started(), *cut, *turn(0, *say("0.0", "Hallo")), RunFinished(status="completed", finished_at_s=1)]
    assert [(item["status"], item["content"][0]["text"]) for item in response_object(events)["output"]] == [
        ("incomplete", "Ha"),
        ("completed", "Hallo"),
    ]


@pytest.mark.parametrize(
    ("finished", "last", "shown"),
    [
        ({"status": "completed"}, "completed", {"completed_at": 9}),
        (
            {"status": "incomplete", "reason": "length"},
            "incomplete",
            {"incomplete_details": {"reason": "max_output_tokens"}},
        ),
        (
            {"status": "incomplete", "reason": "content_filter"},
            "incomplete",
            {"incomplete_details": {"reason": "content_filter"}},
        ),
        (
            {"status": "incomplete", "reason": "max_turns"},
            "incomplete",
            {"incomplete_details": {"reason": "max_turns"}},
        ),
        (
            {"status": "failed", "error": ErrorInfo(code="context_length_exceeded", message="Too long.", status=400)},
            "failed",
            {"error": {"code": "context_length_exceeded", "message": "Too long."}},
        ),
        ({"status": "cancelled"}, "incomplete", {"status": "cancelled"}),
    ],
    ids=["completed", "max_output_tokens", "content_filter", "limit", "failed", "cancelled"],
)
def test_each_end_has_its_event_and_says_why(finished: dict[str, Any], last: str, shown: dict[str, Any]) -> None:
    events = [run_started(), *turn(0, *say("0.0", "Hi")), RunFinished(finished_at_s=9, **finished)]
    rendered = stream(events)
    assert rendered[-1]["type"] == f"response.{last}"
    ends = {"completed_at": None, "incomplete_details": None, "error": None, "status": finished["status"], **shown}
    assert {name: rendered[-1]["response"][name] for name in ends} == ends
    assert rendered[-1]["response"]["output"][0]["content"][0]["text"] == "Hi"


def test_usage_is_summed_over_turns_failed_ones_too_and_null_until_known() -> None:
    one = Usage(input_tokens=10, output_tokens=5, total_tokens=15, cached_tokens=2, reasoning_tokens=3)
    events = [
        run_started(),
        *turn(0, usage=one),
        *turn(1, usage=None),
        TurnFailed(turn=2, error=ErrorInfo(code="x", message="m"), usage=Usage(input_tokens=1, output_tokens=1)),
        RunFinished(status="completed", finished_at_s=1),
    ]
    assert response_object(events[:1])["usage"] is None
    assert response_object(events)["usage"] == {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 6,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 17,
    }


# --- contract --------------------------------------------------------------------------------


def test_events_that_are_no_legal_run_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="TextDelta has no place"):
        ResponsesRenderer().render([TextDelta(block="0.0", text="x")])
    with pytest.raises(ValueError, match="TextStarted has no place"):
        ResponsesRenderer().render([*run(), TextStarted(block="0.0")])
    with pytest.raises(ValueError, match=r"block '0\.7', which is not open"):
        ResponsesRenderer().render([run_started(), TextDelta(block="0.7", text="x")])
    with pytest.raises(ValueError, match=r"'0\.7' was started twice"):
        ResponsesRenderer().render([run_started(), TextStarted(block="0.7"), TextStarted(block="0.7")])


def test_what_was_mended_stands_in_the_response_once_and_only_where_there_is_any() -> None:
    seen = [Diagnostic(quirk="Q13", seen="b", done="kept a"), Diagnostic(quirk="Q38", seen="None", done="inferred")]
    events = run(seen[0], *say("0.0", "Hi"), seen[0], seen[1])
    told = [{"quirk": "Q13", "seen": "b", "done": "kept a"}, {"quirk": "Q38", "seen": "None", "done": "inferred"}]
    assert response_object(events)["antiphon"] == {"diagnostics": told}
    assert [event["response"].get("antiphon") for event in stream(events) if "response" in event] == [
        None,
        None,
        {"diagnostics": told},
    ]
    assert "antiphon" not in response_object(run(*say("0.0", "Hi")))


def test_every_event_type_has_a_handler() -> None:
    assert {*ItemBuilder(FrameWriter()).handlers, Diagnostic} == set(get_args(RunEvent))


def test_frames_are_events_with_line_feeds_and_their_name_twice() -> None:
    frames = ResponsesRenderer().render(run(*say("0.0", "a\r\nb\u2028c")))
    stream = sse(frames) + DONE
    assert b"\r" not in stream
    decoder = SSEDecoder()
    *events, done = decoder.feed(stream)
    assert done.data == b"[DONE]"
    assert [(event.event, event.data) for event in events] == [(frame.type, frame.data) for frame in frames]
    assert [json.loads(event.data)["type"] for event in events] == [event.event for event in events]
    assert sse([]) == b""


def test_the_response_stays_empty_until_the_run_started() -> None:
    assert ResponsesRenderer().response == {}
    assert ResponsesRenderer().render([]) == []


@pytest.mark.parametrize("run_id", ["resp_" + "ab" * 16, "gen-17", "x_y_z"])
def test_item_ids_are_derived_from_the_run_and_the_place(run_id: str) -> None:
    events = [msgspec.structs.replace(run_started(), run=run_id), *turn(0, *think("0.0", "a"), *say("0.1", "b"))]
    ids = [item["id"] for item in response_object(events)["output"]]
    suffix = run_id.partition("_")[2] or run_id
    assert ids == [f"rs_{suffix}0000", f"msg_{suffix}0001"]
