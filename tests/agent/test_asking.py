"""A turn is asked again where that helps and nobody has seen anything of it."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.agent.asking import Asking
from antiphon.agent.formats import mistake, wanted_format
from antiphon.agent.truncation import shortened
from antiphon.clock import CountingIds
from antiphon.errors import InvalidRequest
from antiphon.events import Diagnostic, ErrorInfo, ModelEvent, TextDelta, TurnFailed, TurnFinished
from antiphon.providers.base import ModelCall
from antiphon.testing import ScriptedProvider, text_turn, tool_turn
from antiphon.wire.responses import CreateResponse, Item, JsonObject, JsonSchema, TextOptions

TOO_LONG: list[list[ModelEvent]] = [
    [TurnFailed(turn=0, error=ErrorInfo(code="context_length_exceeded", message="8192 tokens"))]
]
NUMBER = JsonSchema(name="n", schema={"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}})


def user(text: str) -> Item:
    return {"type": "message", "role": "user", "content": text}


def ask(
    provider: ScriptedProvider, *, items: list[Item] | None = None, retries: int = 1, **request: Any
) -> list[ModelEvent]:
    asked = CreateResponse(model="m", **request)
    call = ModelCall(model="m", request=asked, items=items or [user("hi")])
    ids = CountingIds()
    asking = Asking(provider, call, asked, new_interaction=lambda: ids.new("int"), max_format_retries=retries)

    async def main() -> list[ModelEvent]:
        return [event async for batch in asking.events() for event in batch]

    return asyncio.run(main())


def text(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def told(events: list[ModelEvent]) -> list[str]:
    return [event.done for event in events if isinstance(event, Diagnostic)]


# --- truncation ---------------------------------------------------------------------------------


def test_a_question_that_is_too_long_is_asked_again_without_the_oldest_items() -> None:
    provider = ScriptedProvider(TOO_LONG, TOO_LONG, text_turn("hello"))
    events = ask(provider, items=[user(str(n)) for n in range(5)], truncation="auto")
    assert [[item["content"] for item in call.items] for call in provider.calls] == [
        ["0", "1", "2", "3", "4"],
        ["2", "3", "4"],
        ["3", "4"],
    ]
    assert text(events) == "hello"
    assert len(told(events)) == 2
    assert len({call.interaction for call in provider.calls}) == 3


@pytest.mark.parametrize("request_", [{}, {"truncation": "disabled"}])
def test_without_truncation_a_question_that_is_too_long_fails(request_: dict[str, Any]) -> None:
    provider = ScriptedProvider(TOO_LONG)
    events = ask(provider, items=[user("0"), user("1")], **request_)
    assert isinstance(events[-1], TurnFailed)


def test_a_question_that_stays_too_long_fails_as_one_that_nobody_accepted() -> None:
    provider = ScriptedProvider(TOO_LONG, TOO_LONG)
    asked = CreateResponse(model="m", truncation="auto")
    call = ModelCall(model="m", request=asked, items=[user("0"), user("1")])

    async def main() -> list[list[ModelEvent]]:
        return [batch async for batch in Asking(provider, call, asked, new_interaction=str).events()]

    (batch,) = asyncio.run(main())
    assert [type(event) for event in batch] == [Diagnostic, TurnFailed]


def test_what_cannot_be_shortened_fails() -> None:
    assert isinstance(ask(ScriptedProvider(TOO_LONG), truncation="auto")[-1], TurnFailed)


def test_after_something_was_shown_nothing_is_asked_again() -> None:
    provider = ScriptedProvider([*text_turn("hel")[:-1], *TOO_LONG])
    assert isinstance(ask(provider, items=[user("0"), user("1")], truncation="auto")[-1], TurnFailed)


kinds = st.sampled_from(["user", "assistant", "system", "call", "output", "reasoning"])


@st.composite
def conversations(draw: st.DrawFn) -> list[Item]:
    items: list[Item] = []
    for n, kind in enumerate(draw(st.lists(kinds, max_size=12))):
        if kind == "call":
            items.append({"type": "function_call", "call_id": f"c{n}", "name": "f", "arguments": "{}"})
        elif kind == "output":
            calls = [item["call_id"] for item in items if item["type"] == "function_call"]
            if calls:
                call_id = draw(st.sampled_from(calls))
                items.append({"type": "function_call_output", "call_id": call_id, "output": ""})
        elif kind == "reasoning":
            items.append({"type": "reasoning", "summary": []})
        else:
            items.append({"type": "message", "role": kind, "content": str(n)})
    return items


@given(conversations())
def test_shortening_ends_and_keeps_order_rules_and_the_last_question(items: list[Item]) -> None:
    while (shorter := shortened(items)) is not None:
        assert len(shorter) < len(items)
        rest = iter(items)
        assert all(any(item is other for other in rest) for item in shorter)
        assert [item for item in shorter if item.get("role") == "system"] == [
            item for item in items if item.get("role") == "system"
        ]
        questions = [item for item in items if item.get("role") == "user"]
        assert not questions or questions[-1] in shorter
        calls = {item["call_id"] for item in shorter if item["type"] == "function_call"}
        assert all(item["call_id"] in calls for item in shorter if item["type"] == "function_call_output")
        items = shorter


# --- formats ------------------------------------------------------------------------------------


def formatted(wanted: Any = NUMBER, **request: Any) -> dict[str, Any]:
    return {"text": TextOptions(format=wanted), **request}


def test_an_answer_of_the_wrong_format_is_asked_again_with_what_is_wrong() -> None:
    provider = ScriptedProvider(text_turn('{"n": "one"}'), text_turn('{"n": 1}'))
    events = ask(provider, **formatted())
    assert text(events) == '{"n": 1}'
    asked = provider.calls[1].items
    assert [item["role"] for item in asked] == ["user", "assistant", "user"]
    assert '"one" is not of type "integer"' in asked[2]["content"][0]["text"]
    assert told(events) == ["not shown: asked again"]
    finished = events[-1]
    assert isinstance(finished, TurnFinished)
    assert finished.usage is not None
    assert finished.usage.total_tokens == 22  # of both answers


def test_an_answer_that_stays_wrong_is_shown_and_disclosed() -> None:
    events = ask(ScriptedProvider(text_turn("one"), text_turn("two")), **formatted())
    assert text(events) == "two"
    assert told(events) == ["not shown: asked again", "shown as it is"]
    assert isinstance(events[-1], TurnFinished)


def test_retries_can_be_switched_off() -> None:
    provider = ScriptedProvider(text_turn("one"))
    assert told(ask(provider, retries=0, **formatted())) == ["shown as it is"]


def test_a_streamed_answer_is_not_asked_again_but_disclosed() -> None:
    provider = ScriptedProvider(text_turn("o", "ne"))
    events = ask(provider, **formatted(stream=True))
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["o", "ne"]
    assert told(events) == ["shown as it is"]


@pytest.mark.parametrize("fence", ["```json\n{}\n```", " ```\n{}\n```\n"])
def test_a_code_fence_is_taken_off(fence: str) -> None:
    events = ask(ScriptedProvider(text_turn(*fence.format('{"n": 1}'))), **formatted())
    assert text(events) == '{"n": 1}'
    assert told(events) == ["mended its fence, commas or brackets"]


@pytest.mark.parametrize(
    "turn",
    [text_turn("half of it", finish_reason="length"), tool_turn(("c", "f", "{}"))],
    ids=["cut", "calls"],
)
def test_what_is_no_answer_is_not_checked(turn: list[list[ModelEvent]]) -> None:
    assert told(ask(ScriptedProvider(turn), **formatted())) == []


@pytest.mark.parametrize(
    ("answer", "wanted", "is_right"),
    [
        ('{"n": 1}', NUMBER, True),
        ('{"n": 1.5}', NUMBER, False),
        ("{}", NUMBER, False),
        ("{}", JsonObject(), True),
        ("[]", JsonObject(), False),
        ("", JsonObject(), False),
        ("[" * 100_000, JsonObject(), False),
    ],
)
def test_an_answer_is_held_to_its_format(answer: str, wanted: Any, is_right: bool) -> None:
    assert (mistake(answer, wanted) is None) is is_right


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"$ref": "file:///etc/hostname"},
        {"$ref": "#/$defs/nowhere"},
        {"pattern": "("},
    ],
)
def test_a_schema_that_is_none_or_lies_elsewhere_is_refused(schema: dict[str, Any]) -> None:
    request = CreateResponse(model="m", text=TextOptions(format=JsonSchema(name="n", schema=schema)))
    with pytest.raises(InvalidRequest) as caught:
        wanted_format(request)
    assert (caught.value.param, caught.value.reason) == ("text.format.schema", "invalid_json_schema")
