"""The event types are a public promise: journals of any age hold them."""

from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from antiphon import events
from antiphon.events import Event, ModelEvent, RunEvent

# Released names never change and never go; new ones are added here.
NAMES = {
    "run.started",
    "run.finished",
    "turn.started",
    "turn.finished",
    "turn.failed",
    "text.started",
    "text.delta",
    "text.finished",
    "reasoning.started",
    "reasoning.delta",
    "reasoning.finished",
    "refusal.started",
    "refusal.delta",
    "refusal.finished",
    "annotation.added",
    "tool_list.started",
    "tool_list.completed",
    "tool_list.failed",
    "tool_call.started",
    "tool_call.delta",
    "tool_call.finished",
    "tool_call.executing",
    "tool_call.completed",
    "tool_call.failed",
    "approval.requested",
    "approval.decided",
    "item.received",
    "diagnostic",
}
TYPES: list[type[Event]] = sorted(get_args(RunEvent), key=lambda event: event.__name__)

# One value for each type a field may have: what is left out would be equal to its default and prove nothing.
EXAMPLES: dict[str, Any] = {
    "str": "x \u2028",
    "str | None": "x",
    "int": 7,
    "bool": True,
    "dict[str, Any]": {"a": [None, 1.5]},
    "list[dict[str, Any]]": [{"a": 1}],
    "list[str]": ["0.1"],
    "dict[int, str]": {1: "stop"},
    "Fork | None": events.Fork(run="resp_1", turn=2),
    "Usage | None": events.Usage(input_tokens=1, output_tokens=2, total_tokens=3, raw={"cost": 0.1}),
    "ErrorInfo": events.ErrorInfo(code="upstream_timeout", message="m", status=504, retry_after_s=1.5),
    "ErrorInfo | None": events.ErrorInfo(code="upstream_timeout", message="m"),
    "Api": "chat",
    "RunStatus": "failed",
    "BlockStatus": "incomplete",
    "ToolKind": "custom",
}


def example(event: type[Event]) -> Event:
    fields = msgspec.structs.fields(event)
    return event(**{field.name: EXAMPLES[event.__annotations__[field.name]] for field in fields})


def tag(event: type[Event]) -> str:
    name = event.__struct_config__.tag
    assert isinstance(name, str)
    return name


def test_the_list_of_event_types_is_pinned() -> None:
    assert {tag(event) for event in TYPES} == NAMES
    assert len(TYPES) == len(NAMES)


def test_every_event_of_the_module_belongs_to_the_union() -> None:
    defined = {value for value in vars(events).values() if isinstance(value, type) and issubclass(value, Event)}
    assert defined - {Event} == set(TYPES)
    assert set(get_args(ModelEvent)) < set(TYPES)


@pytest.mark.parametrize("event", TYPES, ids=tag)
def test_each_event_says_what_happened(event: type[Event]) -> None:
    assert event.__doc__ is not None
    assert event.__doc__ != Event.__doc__
    assert event.__doc__.split("\n")[0].rstrip().endswith((".", ";"))


@pytest.mark.parametrize("event", TYPES, ids=tag)
def test_each_event_survives_json_with_all_its_fields(event: type[Event]) -> None:
    whole = example(event)
    text = msgspec.json.encode(whole)
    assert msgspec.json.decode(text, type=RunEvent) == whole
    assert set(msgspec.json.decode(text)) == {"type", *get_type_hints(event)}


@pytest.mark.parametrize("event", TYPES, ids=tag)
def test_events_are_values(event: type[Event]) -> None:
    whole = example(event)
    assert whole == example(event)
    with pytest.raises(AttributeError):
        setattr(whole, msgspec.structs.fields(event)[0].name, "other")
