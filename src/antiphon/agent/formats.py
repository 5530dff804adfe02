"""Whether an answer has the format that was asked for, and how to ask again when it has not."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from antiphon.agent.partial import mended
from antiphon.errors import InvalidRequest
from antiphon.events import ModelEvent, RefusalStarted, TextDelta, TextStarted, TurnFinished
from antiphon.tools.schemas import BadSchema, validator
from antiphon.wire.responses import CreateResponse, Item, JsonObject, JsonSchema

_LONGEST_SHOWN = 500

Format = JsonObject | JsonSchema


def wanted_format(request: CreateResponse) -> Format | None:
    """The JSON that the request asks for, if it does.

    Raises:
        InvalidRequest: its schema is not a JSON Schema.
    """
    wanted = request.text.format if request.text is not None else None
    if not isinstance(wanted, Format):
        return None
    if isinstance(wanted, JsonSchema):
        try:
            validator(msgspec.json.encode(wanted.schema))
        except BadSchema as error:
            message = f"Invalid schema for response_format: {_shown(str(error))}"
            raise InvalidRequest(message, param="text.format.schema", code="invalid_json_schema") from None
    return wanted


def answered_text(events: Iterable[ModelEvent]) -> str | None:
    """The text of a turn that is an answer; None for one that refuses, was cut, or says nothing but calls."""
    texts: list[str] = []
    blocks: set[str] = set()
    finished = False
    for event in events:
        if isinstance(event, RefusalStarted):
            return None
        if isinstance(event, TextStarted) and not event.choice:
            blocks.add(event.block)
        elif isinstance(event, TextDelta) and event.block in blocks:
            texts.append(event.text)
        elif isinstance(event, TurnFinished):
            finished = event.finish_reason == "stop"
    return "".join(texts) if finished and texts else None


def mistake(text: str, wanted: Format) -> str | None:
    """What is wrong with an answer, or None."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        return f"it is not JSON ({error})"
    if isinstance(wanted, JsonObject):
        return None if isinstance(value, dict) else "it is not a JSON object"
    wrong = next(iter(validator(msgspec.json.encode(wanted.schema)).iter_errors(value)), None)
    return None if wrong is None else f"it does not fit the schema: {_shown(wrong.message)}"


def nearly_right(text: str, wanted: Format) -> str | None:
    """The right answer, where only little is wrong with its JSON: a code fence, a comma, a bracket."""
    meant = mended(text)
    return meant if meant is not None and mistake(meant, wanted) is None else None


def correction(text: str, wrong: str) -> list[Item]:
    """What the model is shown so that it answers again: its answer, and what is wrong with it."""
    told = f"That answer cannot be used: {wrong}. Answer again, with the JSON and nothing else."
    return [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": told}]},
    ]


def _shown(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
