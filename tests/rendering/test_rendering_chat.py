"""A model call as chat choices: what `inspect` shows."""

from event_sequences import call, refuse, run, say, think, turn

from antiphon.events import Event, TextDelta, TextStarted, ToolCallDelta, ToolCallStarted, TurnFinished
from antiphon.rendering.chat import chat_choices

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
