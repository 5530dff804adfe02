"""What breaks in other translators from Chat Completions to Responses (R01-R19, R31, R32, R34): here it does not."""

from typing import Any

import msgspec
import pytest
from assembly_streams import STOP, call, calls, chunk, feed, sse, stream
from chat_to_responses import check_stream, kinds, of, rendered, responses, run_of

from antiphon.assembly.chat import ChatAssembler
from antiphon.rendering.responses import ResponsesRenderer, response_object
from antiphon.sealing import Keyring
from antiphon.wire.reasoning import Reasoning

TEXT = [chunk({"role": "assistant", "content": "he"}), chunk({"content": "llo"}), STOP]
ADD = [calls(call(0, "c1", "add", "")), *(calls(call(0, args=piece)) for piece in ('{"a"', ":1", "}"))]
THOUGHT = [chunk({"reasoning_content": "Hm"}), chunk({"reasoning_content": "m"})]
BOTH = [*THOUGHT, *TEXT[:2], *ADD, chunk(finish="tool_calls")]


def test_r01_every_piece_of_the_arguments_is_a_delta_when_it_comes() -> None:
    assembler, renderer = ChatAssembler(offered={"add": {}}), ResponsesRenderer()
    renderer.render(run_of([])[:-1])
    seen = [[frame.type for frame in renderer.render(assembler.feed(sse(piece, done=False)))] for piece in ADD]
    assert seen == [["response.output_item.added"], *[["response.function_call_arguments.delta"]] * 3]


def test_r02_a_whole_answer_where_a_stream_was_asked_for_still_has_all_events() -> None:
    message = {"content": "hello", "tool_calls": [call(0, "c1", "add", '{"a":1}')]}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    events = rendered(feed(msgspec.json.encode(body)))
    check_stream(events)
    assert {"output_text.delta", "output_text.done", "function_call_arguments.delta"} < set(kinds(events))
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["message", "function_call"]


def test_r03_a_tool_call_has_its_events() -> None:
    assert kinds(responses(*ADD, chunk(finish="tool_calls"))) == [
        *("created", "in_progress", "output_item.added"),
        *["function_call_arguments.delta"] * 3,
        *("function_call_arguments.done", "output_item.done", "completed"),
    ]


def test_r04_the_sequence_numbers_of_a_stream_have_no_gap_and_begin_at_0() -> None:
    numbers = [event["sequence_number"] for event in responses(*BOTH)]
    assert numbers == list(range(len(numbers)))


def test_r05_each_item_is_announced_has_an_index_of_its_own_and_keeps_its_id() -> None:
    events = responses(*BOTH)
    check_stream(events)
    ids = {event["output_index"]: set() for event in of(events, "output_item.added")}
    for event in events:
        if "output_index" in event:
            ids[event["output_index"]].add(event.get("item_id") or event["item"]["id"])
    assert sorted(ids) == [0, 1, 2]
    assert all(len(names) == 1 for names in ids.values())


def test_r06_no_two_items_share_an_id_and_none_is_made_up_of_nothing() -> None:
    ids = [item["id"] for item in responses(*BOTH)[-1]["response"]["output"]]
    assert [id_.partition("_")[0] for id_ in ids] == ["rs", "msg", "fc"]
    assert len(set(ids)) == 3


def test_r07_reasoning_has_parts_of_its_own() -> None:
    assert kinds(responses(*THOUGHT, *TEXT))[2:10] == [
        *("output_item.added", "reasoning_summary_part.added"),
        *["reasoning_summary_text.delta"] * 2,
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done", "output_item.added"),
    ]


def test_r08_what_is_open_at_the_end_is_done_before_the_terminal_event() -> None:
    assert kinds(responses(*TEXT))[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    one_chunk = responses(chunk({"reasoning_content": "Hm", "content": "hello"}, "stop"))
    assert [item["type"] for item in one_chunk[-1]["response"]["output"]] == ["reasoning", "message"]


def test_r09_events_about_a_part_name_its_item_and_its_place() -> None:
    events = responses(chunk({"content": "a"}), chunk({"refusal": "b"}), STOP)
    places = {(event["item_id"], event["content_index"]) for event in events if "content_index" in event}
    [message] = events[-1]["response"]["output"]
    assert places == {(message["id"], 0), (message["id"], 1)}


def test_r10_the_first_item_has_index_0() -> None:
    assert of(responses(*TEXT), "output_item.added")[0]["output_index"] == 0


def test_r11_no_event_about_an_item_lacks_its_index() -> None:
    for event in responses(*BOTH):
        if event["type"].split(".")[1] not in ("created", "in_progress", "completed"):
            assert isinstance(event["output_index"], int)
        if event["type"].startswith(("response.output_text", "response.content_part")):
            assert isinstance(event["content_index"], int)


def test_r12_deltas_share_their_parts_index_and_what_is_added_is_empty() -> None:
    events = responses(*TEXT)
    assert {event["content_index"] for event in of(events, "output_text.delta")} == {0}
    assert of(events, "output_item.added")[0]["item"]["content"] == []
    assert of(events, "content_part.added")[0]["part"]["text"] == ""


def test_r13_a_text_is_done_with_all_of_it() -> None:
    [done] = of(responses(*TEXT), "output_text.done")
    assert done["text"] == "hello"


def test_r14_what_clients_require_of_a_response_is_there_and_not_null() -> None:
    response = response_object(run_of([]))
    required = ["background", "frequency_penalty", "metadata", "parallel_tool_calls", "presence_penalty", "temperature"]
    required += ["text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "service_tier", "store"]
    assert [name for name in required if response.get(name) is None] == []


def test_r15_usage_has_its_details_even_where_the_upstream_gave_none() -> None:
    usage = responses(*TEXT, {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}})[-1]
    assert usage["response"]["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 9,
    }


@pytest.mark.parametrize("before", [[], TEXT[:2]])
def test_r16_an_error_of_the_upstream_is_never_a_completed_response(before: list[Any]) -> None:
    last = responses(*before, {"error": {"message": "quota exceeded", "code": 402}, "choices": []})[-1]
    assert last["type"] == "response.failed"
    assert "quota exceeded" in last["response"]["error"]["message"]
    assert len(last["response"]["output"]) == bool(before)


@pytest.mark.parametrize("sent", [b"", b"data: {", b": ping\n\n", b"<html>", sse(*TEXT[:2], done=False), sse(*TEXT)])
def test_r17_every_stream_ends_with_exactly_one_terminal_event(sent: bytes) -> None:
    check_stream(rendered(feed(sent)))


def test_r18_a_stream_that_was_cut_off_is_no_success_and_its_call_is_incomplete() -> None:
    events = responses(*BOTH[:-1], done=False)
    check_stream(events)
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "truncated_stream"
    assert of(events, "output_item.done")[-1]["item"]["status"] == "incomplete"


def test_r19_a_failure_in_mid_stream_goes_on_counting_and_speaks_the_same_protocol() -> None:
    events = responses(*TEXT[:2], b'{"error":{"message":"boom"}}{"choices":[]}')
    check_stream(events)
    assert (events[-1]["type"], events[-1]["sequence_number"]) == ("response.failed", len(events) - 1)


def test_r31_text_and_a_tool_call_in_one_turn_are_both_shown() -> None:
    events = responses(*TEXT[:2], *ADD, chunk(finish="tool_calls"))
    check_stream(events)
    message, added = events[-1]["response"]["output"]
    assert (message["content"][0]["text"], added["arguments"]) == ("hello", '{"a":1}')


@pytest.mark.parametrize("pieces", [["", "{}"], ["{}"], [""], [None]])
def test_r32_arguments_are_deltas_and_done_whatever_pieces_they_came_in(pieces: list[Any]) -> None:
    events = responses(*(calls(call(0, "c1", "now", piece)) for piece in pieces), chunk(finish="tool_calls"))
    [done] = of(events, "function_call_arguments.done")
    assert done["arguments"] == "{}"
    assert "".join(event["delta"] for event in of(events, "function_call_arguments.delta")) == "{}"


def test_r34_reasoning_is_sealed_into_its_item_for_clients_of_a_server_without_a_store() -> None:
    sealer = Keyring(["a secret for tests"]).sealer("owner")
    run = run_of(stream(*THOUGHT, *TEXT), store=False, include=["reasoning.encrypted_content"])
    sealed = response_object(run, sealer=sealer)["output"][0]["encrypted_content"]
    kept = msgspec.json.decode(sealer.open("reasoning", sealed), type=Reasoning)
    assert (kept.text, kept.field, kept.upstream) == ("Hmm", "reasoning_content", "local")
