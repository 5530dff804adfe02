"""A model call as chat choices, as a completion, and as the chunks that amount to it."""

import json
from typing import Any

import httpx2
import openai
import pytest
from event_sequences import RUN, call, few, interleaved, refuse, run, run_started, runs, say, think, turn, usages
from hypothesis import given
from hypothesis import strategies as st

from antiphon.events import (
    Diagnostic,
    ErrorInfo,
    Event,
    RunFinished,
    RunStarted,
    TextDelta,
    TextStarted,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    TurnFinished,
    Usage,
)
from antiphon.rendering.chat import DONE, ChatRenderer, chat_choices, chat_completion, sse

ENDED = RunFinished(status="completed", finished_at_s=1)
EMPTY = {
    "index": 0,
    "role": "assistant",
    "content": None,
    "reasoning": None,
    "tool_calls": [],
    "finish_reason": "stop",
}


def test_a_choice_has_text_reasoning_and_calls_in_order() -> None:
    events = turn(
        0,
        *think("0.0", "H", "m"),
        *say("0.1", "Hel", "lo"),
        *call("0.2", "{", "}", name="add"),
        *call("0.3", arguments="{}", name="multiply"),
        finish_reason="tool_calls",
    )
    assert chat_choices(events) == [
        {
            "index": 0,
            "role": "assistant",
            "content": "Hello",
            "reasoning": "Hm",
            "tool_calls": [
                {"id": "call_0.2", "name": "add", "arguments": "{}"},
                {"id": "call_0.3", "name": "multiply", "arguments": "{}"},
            ],
            "finish_reason": "tool_calls",
        }
    ]


def test_an_empty_answer_is_one_empty_choice() -> None:
    assert chat_choices(turn(0)) == [EMPTY]


def test_nothing_said_and_no_end_is_no_choice() -> None:
    assert chat_choices([]) == []
    assert chat_choices(turn(0)[:1]) == []


def test_a_cut_call_shows_what_came() -> None:
    events: list[Event] = [
        ToolCallStarted(block="0.0", call_id="c", name="f"),
        ToolCallDelta(block="0.0", arguments='{"a'),
    ]
    (choice,) = chat_choices(events)
    assert choice["tool_calls"] == [{"id": "c", "name": "f", "arguments": '{"a'}]
    assert choice["finish_reason"] is None


def test_a_refusal_is_shown_only_where_there_was_one() -> None:
    (choice,) = chat_choices(turn(0, *refuse("0.0", "No", ".")))
    assert choice == {**EMPTY, "refusal": "No."}


def test_choices_are_kept_apart_and_have_their_own_ends() -> None:
    said = [*say("0.0", "one"), *say("0.1", "two", choice=1)]
    end = TurnFinished(turn=0, finish_reason="stop", other_finish_reasons={1: "length"})
    choices = chat_choices([*said, end])
    assert [(choice["index"], choice["content"], choice["finish_reason"]) for choice in choices] == [
        (0, "one", "stop"),
        (1, "two", "length"),
    ]


def test_the_finish_reason_is_the_wires_own_word() -> None:
    end = TurnFinished(turn=0, finish_reason="tool_calls", provider_data={"finish_reason": "stop"})
    (choice,) = chat_choices([*say("0.0", "x"), end])
    assert choice["finish_reason"] == "stop"


def test_of_several_turns_the_last_is_shown() -> None:
    cut: list[Event] = [*turn(0)[:1], TextStarted(block="0.0"), TextDelta(block="0.0", text="Ha")]
    (choice,) = chat_choices([*cut, *turn(0, *say("0.0", "Hallo"))])
    assert choice["content"] == "Hallo"
    assert chat_choices(run(*say("0.0", "x")))[0]["content"] == "x"


# --- whole and in chunks ---------------------------------------------------------------------


def client(events: list[Event]) -> openai.OpenAI:
    """A client whose server streams these events."""
    body = sse(ChatRenderer().render(events)) + DONE

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    return openai.OpenAI(api_key="none", base_url="http://antiphon.test/v1", http_client=http, max_retries=0)


def accumulated(events: list[Event]) -> dict[str, Any]:
    """What openai-python makes of the chunks."""
    with client(events).chat.completions.stream(model="m", messages=[]) as stream:
        return stream.get_final_completion().to_dict()


def without_custom_calls(events: list[Event]) -> bool:
    """openai-python 3.52 fails on custom calls in chat streams, its own server's too."""
    return not any(isinstance(event, ToolCallStarted) and event.kind == "custom" for event in events)


one_turn = st.builds(
    lambda blocks, usage: [run_started(stream_options={"include_usage": True}), *turn(0, *blocks, usage=usage), ENDED],
    interleaved(0).filter(without_custom_calls),
    usages,
)


def test_what_belongs_to_a_call_or_to_reasoning_is_shown_so_that_a_client_can_send_it_back() -> None:
    signed, part = (
        {"extra_content": {"google": {"thought_signature": "s"}}},
        {"type": "reasoning.encrypted", "data": "x"},
    )
    made = call("0.1", "{}")
    made[-1] = ToolCallFinished(block="0.1", arguments="{}", provider_data={**signed, "id": "another", "function": {}})
    blocks = [*think("0.0", "Hm", details=[part, part]), *made, *think("0.2", details=[part])]
    events = [run_started(), *turn(0, *blocks, finish_reason="tool_calls"), ENDED]
    for completion, details in (
        (chat_completion(events), [part] * 3),
        (accumulated(events), [{**part, "index": index} for index in range(3)]),
    ):
        message = completion["choices"][0]["message"]
        (shown,) = message["tool_calls"]
        assert (shown["id"], shown["extra_content"]) == ("call_0.1", signed["extra_content"])
        assert message["reasoning_details"] == details


def test_what_was_mended_stands_on_the_completion_and_on_the_last_chunk() -> None:
    mended = Diagnostic(quirk="Q38", seen="x", done="y")
    expected = {"diagnostics": [{"quirk": "Q38", "seen": "x", "done": "y"}]}
    for options in ({}, {"include_usage": True}):
        events = run(mended, *say("0.0", "x"), mended, *say("0.1", "y", choice=1), stream_options=options)
        assert chat_completion(events)["antiphon"] == expected
        *others, last = [json.loads(chunk) for chunk in ChatRenderer().render(events)]
        assert last["antiphon"] == expected
        assert not any("antiphon" in chunk for chunk in others)
    assert "antiphon" not in chat_completion(run(*say("0.0", "x")))


def test_a_chat_run_is_shown_under_its_own_id() -> None:
    started = RunStarted(run="chatcmpl_1", created_at_s=1, model="m", request={}, api="chat")
    assert chat_completion([started, *turn(0), ENDED])["id"] == "chatcmpl_1"


def comparable(completion: dict[str, Any]) -> list[Any]:
    """What the two ways of answering have in common; openai-python's accumulator adds its own members."""
    choices = []
    for choice in completion["choices"]:
        message = choice["message"]
        calls = [
            (call["id"], call["type"], call.get("function", call.get("custom"))["name"])
            for call in message.get("tool_calls") or []
        ]
        said = [message.get(name) or None for name in ("content", "refusal", "reasoning_content")]
        choices.append((choice["index"], choice["finish_reason"], calls, *said))
    return choices


@few
@given(one_turn)
def test_the_accumulated_chunks_are_the_whole_completion(events: list[Event]) -> None:
    whole, streamed = chat_completion(events), accumulated(events)
    assert comparable(streamed) == comparable(whole)
    assert streamed.get("usage") == whole.get("usage")
    assert {name: streamed[name] for name in ("id", "created", "model")} == {
        name: whole[name] for name in ("id", "created", "model")
    }


@few
@given(runs(), st.data())
def test_the_chunks_do_not_depend_on_how_the_events_were_portioned(events: list[Event], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(events)))
    renderer = ChatRenderer()
    assert renderer.render(events[:at]) + renderer.render(events[at:]) == ChatRenderer().render(events)


def test_a_completion_has_its_message_its_calls_and_its_usage() -> None:
    usage = Usage(input_tokens=3, output_tokens=2, total_tokens=5, cached_tokens=1)
    end = turn(0, *say("0.0", "Hi"), *call("0.1", "{}", name="add"), finish_reason="tool_calls", usage=usage)
    completion = chat_completion([run_started(), *end, ENDED])
    (choice,) = completion["choices"]
    assert completion["id"] == "chatcmpl-" + RUN.removeprefix("resp_")
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": "Hi",
        "refusal": None,
        "annotations": [],
        "tool_calls": [{"id": "call_0.1", "type": "function", "function": {"name": "add", "arguments": "{}"}}],
    }
    assert completion["usage"]["prompt_tokens_details"] == {"cached_tokens": 1}


def test_a_completion_without_calls_has_no_empty_list_of_them() -> None:
    (choice,) = chat_completion(run(*say("0.0", "Hi")))["choices"]
    assert "tool_calls" not in choice["message"]


def test_usage_comes_only_if_it_was_asked_for() -> None:
    for options, last in ({}, "choices"), ({"include_usage": True}, "usage"):
        chunks = [json.loads(chunk) for chunk in ChatRenderer().render(run(*say("0.0", "x"), stream_options=options))]
        assert ("usage" in chunks[-1]) is (last == "usage")
        assert all("usage" in chunk for chunk in chunks) is (last == "usage")


def test_a_failed_run_ends_with_the_error_that_openai_python_raises() -> None:
    error = ErrorInfo(code="upstream_connection_lost", message="Cut.")
    events = [
        run_started(),
        *turn(0, *say("0.0", "Ha"))[:-2],
        RunFinished(status="failed", finished_at_s=1, error=error),
    ]
    with pytest.raises(openai.APIError, match="Cut"):
        list(client(events).chat.completions.create(model="m", messages=[], stream=True))


def test_a_completion_needs_the_start_of_its_run() -> None:
    with pytest.raises(ValueError, match="RunStarted"):
        chat_completion(turn(0))
