"""What the streams of the Responses API come to, as OpenAI sends them and as others do."""

from typing import Any

import msgspec
import pytest
from assembly_streams import call_ids, failed, finished, quirks, reasoning, text, told_calls, types
from response_streams import (
    CALL,
    CREATED,
    IN_PROGRESS,
    MESSAGE,
    added,
    called,
    delta,
    done,
    end,
    event,
    feed,
    sse,
    stream,
    told,
)

from antiphon.dialects import AnswerRules, Dialect
from antiphon.events import (
    AnnotationAdded,
    ItemReceived,
    ReasoningFinished,
    RefusalDelta,
    TextDelta,
    TextStarted,
    ToolCallFinished,
    ToolCallStarted,
)

THOUGHT: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": []}


def test_a_message_is_one_text_and_its_response_ends_the_turn() -> None:
    events = stream(*told("Hel", "lo"), end())
    assert types(events) == ["text.started", "text.delta", "text.delta", "text.finished", "turn.finished"]
    turn = finished(events)
    assert (text(events), turn.finish_reason, turn.upstream_id, turn.upstream_model) == (
        "Hello",
        "stop",
        "resp_1",
        "m-1",
    )
    assert turn.usage is not None
    assert (turn.usage.input_tokens, turn.usage.cached_tokens, turn.usage.reasoning_tokens) == (5, 2, 1)
    assert quirks(events) == set()


def test_parallel_calls_stay_apart_and_each_is_finished_with_its_item() -> None:
    one, two = called('{"a"', ":1}"), called("{}", index=1, id="fc_2", call_id="c2", name="other")
    events = stream(one[0], two[0], one[1], two[1], one[2], *one[3:], *two[2:], end())
    assert told_calls(events) == [("get_time", '{"a":1}', "completed"), ("other", "{}", "completed")]
    assert finished(events).finish_reason == "tool_calls"


def test_narration_beside_a_call_is_kept_in_its_order() -> None:
    events = stream(*told("I look."), *called("{}", index=1), end())
    assert types(events)[:3] == ["text.started", "text.delta", "text.finished"]
    assert told_calls(events) == [("get_time", "{}", "completed")]


@pytest.mark.parametrize(
    "late",
    [
        [added(MESSAGE), event("output_text.done", output_index=0, content_index=0, text="whole"), end()],
        [added(MESSAGE), done({**MESSAGE, "content": [{"type": "output_text", "text": "whole"}]}), end()],
        [done({**MESSAGE, "content": [{"type": "output_text", "text": "whole"}]}), end()],
        [end(output=[{**MESSAGE, "content": [{"type": "output_text", "text": "whole"}]}])],
        [added(MESSAGE), delta("output_text", "wh"), end(), delta("output_text", "not looked at")],
    ],
    ids=["with the end of the text", "with the item", "with the item alone", "with the response", "cut short"],
)
def test_a_text_that_comes_late_is_a_text_all_the_same(late: list[dict[str, Any]]) -> None:
    assert text(stream(*late)) in ("whole", "wh")
    assert finished(stream(*late)).finish_reason == "stop"


@pytest.mark.parametrize(
    "late",
    [
        [*called("{}")[:1], *called("{}")[2:], end()],  # LM Studio: no deltas
        [added({**CALL, "arguments": "{}"}), done({**CALL, "arguments": "{}"}), end()],
        [delta("function_call_arguments", "{}"), done({**CALL, "arguments": "{}"}), end()],
        [end(output=[{**CALL, "arguments": "{}"}])],
        [added(CALL), delta("function_call_arguments", "{}"), end(output=[{**CALL, "arguments": "{}"}])],
        [added(CALL), done({**CALL, "arguments": {}}), end()],
    ],
    ids=["without deltas", "with the item", "before its name", "with the response", "never done", "as an object"],
)
def test_a_call_whose_arguments_come_late_is_whole(late: list[dict[str, Any]]) -> None:
    events = stream(*late)
    assert told_calls(events) == [("get_time", "{}", "completed")]
    assert finished(events).finish_reason == "tool_calls"


def test_a_stream_that_repeats_everything_at_its_end_says_it_once() -> None:
    message = {**MESSAGE, "content": [{"type": "output_text", "text": "hi"}]}
    events = stream(*told("hi"), *called("{}", index=1), end(output=[message, {**CALL, "arguments": "{}"}]))
    assert text(events) == "hi"
    assert len(told_calls(events)) == 1


def test_ids_that_change_on_the_way_split_nothing() -> None:
    events = stream(
        added(MESSAGE),
        {**delta("output_text", "a"), "item_id": "other"},
        {**delta("output_text", "b"), "item_id": "another"},
        done({**MESSAGE, "id": "third", "content": [{"type": "output_text", "text": "ab"}]}),
        end(output=[{**MESSAGE, "id": "fourth", "content": [{"type": "output_text", "text": "ab"}]}]),
    )
    assert types(events).count("text.started") == 1
    assert text(events) == "ab"


def test_a_text_that_is_another_at_its_end_stays_as_it_was_shown_and_that_is_told() -> None:
    events = stream(
        added(MESSAGE), delta("output_text", "a"), event("output_text.done", output_index=0, text="b"), end()
    )
    assert text(events) == "a"
    assert quirks(events) == {"text_changed"}


def test_two_parts_of_a_message_are_two_texts() -> None:
    events = stream(added(MESSAGE), delta("output_text", "a", part=0), delta("output_text", "b", part=1), end())
    assert len([one for one in events if isinstance(one, TextStarted)]) == 2


def test_log_probabilities_and_annotations_go_with_their_text() -> None:
    logprobs = [{"token": "a", "logprob": -0.1, "top_logprobs": []}]
    cited = {"type": "url_citation", "url": "https://a.test", "start_index": 0, "end_index": 1, "title": "A"}
    later = {**cited, "url": "https://b.test"}
    part = {"type": "output_text", "text": "a", "annotations": [cited, later]}
    events = stream(
        added(MESSAGE),
        delta("output_text", "a", logprobs=logprobs),
        event("output_text.annotation.added", output_index=0, content_index=0, annotation=cited),
        event("content_part.done", output_index=0, content_index=0, part=part),
        done({**MESSAGE, "content": [part]}),
        end(),
    )
    assert [one.logprobs for one in events if isinstance(one, TextDelta)] == [logprobs]
    assert [one.annotation for one in events if isinstance(one, AnnotationAdded)] == [cited, later]


def test_a_refusal_is_a_refusal() -> None:
    events = stream(added(MESSAGE), delta("refusal", "No."), end())
    assert [one.text for one in events if isinstance(one, RefusalDelta)] == ["No."]
    assert finished(events).finish_reason == "stop"


@pytest.mark.parametrize("kind", ["reasoning_summary_text", "reasoning_text", "reasoning"])
def test_reasoning_is_streamed_under_any_of_its_names(kind: str) -> None:
    events = stream(added(THOUGHT), delta(kind, "Hm"), delta(kind, "m"), done(THOUGHT), *told("a", index=1), end())
    assert reasoning(events) == "Hmm"
    assert types(events)[:4] == ["reasoning.started", "reasoning.delta", "reasoning.delta", "reasoning.finished"]


def test_the_parts_of_one_thought_are_paragraphs_of_one_reasoning() -> None:
    first, second = delta("reasoning_summary_text", "One.", part=0), delta("reasoning_summary_text", "Two.", part=1)
    events = stream(added(THOUGHT), first, second, done(THOUGHT), *told("a", index=1), end())
    assert reasoning(events) == "One.\n\nTwo."
    assert types(events).count("reasoning.started") == 1


def test_sealed_reasoning_is_kept_whole_for_the_upstream_that_sealed_it() -> None:
    sealed = {**THOUGHT, "encrypted_content": "opaque"}
    for before in ([], [delta("reasoning_summary_text", "Hm")]):
        events = stream(added(THOUGHT), *before, done(sealed), *told("a", index=1), end())
        (thought,) = [one for one in events if isinstance(one, ReasoningFinished)]
        assert thought.details == [sealed]


def test_a_thought_in_two_forms_is_shown_in_the_first_and_kept_in_both() -> None:
    whole = {**THOUGHT, "content": [{"type": "reasoning_text", "text": "raw"}]}
    whole["summary"] = [{"type": "summary_text", "text": "short"}]
    events = stream(
        added(THOUGHT), delta("reasoning_text", "raw"), delta("reasoning_summary_text", "short"), done(whole), end()
    )
    assert reasoning(events) == "raw"
    (thought,) = [one for one in events if isinstance(one, ReasoningFinished)]
    assert thought.details == [whole]


def test_an_empty_thought_is_no_block() -> None:
    assert types(stream(added(THOUGHT), done(THOUGHT), *told("a", index=1), end()))[0] == "text.started"


def test_a_freeform_call_keeps_its_input_as_it_is() -> None:
    item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c1", "name": "patch", "input": ""}
    events = stream(
        added(item), delta("custom_tool_call_input", "*** Be"), delta("custom_tool_call_input", "gin"),
        done({**item, "input": "*** Begin"}), end(),
    )  # fmt: skip
    (started,) = [one for one in events if isinstance(one, ToolCallStarted)]
    assert (started.kind, told_calls(events)) == ("custom", [("patch", "*** Begin", "completed")])


def test_a_call_in_a_namespace_keeps_it() -> None:
    (started,) = [one for one in stream(*called("{}", namespace="ns"), end()) if isinstance(one, ToolCallStarted)]
    assert started.namespace == "ns"


def test_a_call_id_that_was_used_before_is_replaced() -> None:
    events = stream(*called("{}"), end(), used_call_ids=["c1"])
    assert call_ids(events) != ["c1"]
    assert quirks(events) == {"Q33"}


def test_a_call_without_a_name_is_never_announced() -> None:
    events = stream(
        added({**CALL, "name": ""}), delta("function_call_arguments", "{}"), done({**CALL, "name": ""}), end()
    )
    assert told_calls(events) == []
    assert quirks(events) == {"Q14", "Q46"}


# --- how it ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("max_output_tokens", "length"),
        ("content_filter", "content_filter"),
        ("something_new", "length"),
        (None, "length"),
    ],
)
def test_an_incomplete_response_says_why(reason: str | None, expected: str) -> None:
    events = stream(*told("a"), end("incomplete", incomplete_details={"reason": reason}))
    assert finished(events).finish_reason == expected


def test_a_call_that_the_limit_cut_is_not_to_be_run() -> None:
    events = stream(added(CALL), delta("function_call_arguments", '{"a'), end("incomplete"))
    assert told_calls(events) == [("get_time", '{"a', "incomplete")]


@pytest.mark.parametrize("last", [b"", b"data: [DONE]\n\n", sse(event("in_progress", response=IN_PROGRESS))])
def test_a_stream_without_a_terminal_event_has_failed(last: bytes) -> None:
    events = feed(sse(CREATED, *told("a")) + last)
    assert (failed(events).error.code, failed(events).retryable) == ("truncated_stream", True)


def test_what_was_open_when_a_stream_broke_off_is_incomplete() -> None:
    events = stream(added(CALL), delta("function_call_arguments", "{"), delta("output_text", "a", index=1))
    assert [one.status for one in events if isinstance(one, ToolCallFinished)] == ["incomplete"]
    assert types(events)[-3:] == ["text.finished", "tool_call.finished", "turn.failed"]


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        ({"code": "server_error", "message": "m"}, "upstream_unavailable", True),
        ({"code": "rate_limit_exceeded", "message": "Please try again in 7s."}, "rate_limit_exceeded", True),
        ({"code": "invalid_prompt", "message": "m"}, "upstream_error", False),
        ({"code": "image_too_large", "message": "m"}, "upstream_error", False),
        ({"code": "context_length_exceeded", "message": "m"}, "context_length_exceeded", False),
        (None, "upstream_error", True),
    ],
)
def test_a_failed_response_is_a_failed_turn(error: Any, code: str, retryable: bool) -> None:
    turn = failed(stream(*told("a"), end("failed", error=error)))
    assert (turn.error.code, turn.retryable) == (code, retryable)
    assert turn.usage is not None
    assert turn.usage.total_tokens == 8


@pytest.mark.parametrize(
    "body",
    [
        sse({"type": "error", "code": "rate_limit_exceeded", "message": "slow down"}),
        b'data: {"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}\n\n',
        b'{"error":{"code":"rate_limit_exceeded","message":"slow down"}}',
    ],
    ids=["flat", "nested", "as the whole body"],
)
def test_an_error_in_a_stream_is_a_failed_turn(body: bytes) -> None:
    turn = failed(feed(body))
    assert (turn.error.code, turn.error.message, turn.retryable) == ("rate_limit_exceeded", "slow down", True)


def test_a_whole_response_where_a_stream_was_asked_for_is_an_answer() -> None:
    message = {**MESSAGE, "content": [{"type": "output_text", "text": "hi"}]}
    whole = {**IN_PROGRESS, "status": "completed", "output": [message, {**CALL, "arguments": "{}"}]}
    events = feed(msgspec.json.encode(whole))
    assert (text(events), told_calls(events)) == ("hi", [("get_time", "{}", "completed")])


def test_an_empty_answer_is_told_and_a_dialect_may_make_it_a_failure() -> None:
    assert quirks(stream(end())) == {"Q46"}
    strict = Dialect(answers=AnswerRules(empty_answer_fails=True))
    assert failed(stream(end(), dialect=strict)).retryable


# --- what is not ours to run ----------------------------------------------------------------------


def test_an_item_of_a_tool_that_the_upstream_ran_is_given_as_it_came() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "in_progress"}
    whole = {**search, "status": "completed", "action": {"type": "search", "query": "x"}}
    events = stream(
        added(search),
        *(event(f"web_search_call.{state}", output_index=0, item_id="ws_1") for state in ("searching", "completed")),
        done(whole),
        *told("found", index=1),
        end(output=[whole, {**MESSAGE, "content": [{"type": "output_text", "text": "found"}]}]),
    )
    assert [each.item for each in events if isinstance(each, ItemReceived)] == [whole]
    assert (text(events), quirks(events)) == ("found", set())


def test_an_item_that_only_the_upstream_could_act_on_does_no_harm_and_is_told() -> None:
    unknown = {"type": "computer_call", "id": "cu_1", "status": "completed"}
    events = stream(added(unknown), done(unknown), *told("a", index=1), end())
    assert (text(events), quirks(events)) == ("a", {"hosted_item"})


def test_an_event_that_nobody_knows_is_told_and_one_that_says_nothing_is_not() -> None:
    quiet = stream({"type": "keepalive", "sequence_number": 1}, *told("a"), end())
    odd = stream({"type": "response.something.new"}, *told("a"), end())
    assert (text(quiet), quirks(quiet)) == ("a", set())
    assert (text(odd), quirks(odd)) == ("a", {"unknown_event"})
