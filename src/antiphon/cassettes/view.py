"""What a recording says: messages, usage and repairs, computed from its bytes each time it is looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from antiphon.assembly.chat import ChatAssembler
from antiphon.cassettes import wires
from antiphon.cassettes.endpoints import endpoint, is_stream
from antiphon.cassettes.format import Interaction, RecordedResponse
from antiphon.cassettes.reading import read
from antiphon.events import Diagnostic, ModelEvent, TurnFailed, TurnFinished
from antiphon.rendering.chat import chat_choices
from antiphon.rendering.fold import fold
from antiphon.sse import SSEDecoder


def inspect(path: str | Path) -> Iterator[dict[str, Any]]:
    """One JSON object for each interaction of a recording, in order.

    ``choices`` are there for chat completions, ``response`` for the Responses API: the object that the stream folds to.
    ``usage`` is the upstream's own object as it came; ``status`` is None where the recording does not tell it.

    Raises:
        CassetteError: the recording cannot be read; what was read before is given first.
    """
    for index, interaction in enumerate(read(path)):
        yield {"file": str(path), "interaction": index, **describe(interaction)}


def describe(interaction: Interaction) -> dict[str, Any]:
    """What one interaction says; the keys are those of `inspect` without ``file`` and ``interaction``."""
    name, response = endpoint(interaction), interaction.response
    choices: list[dict[str, Any]] = []
    folded: dict[str, Any] | None = None
    usage: Any = None
    diagnostics: list[dict[str, str]] = []
    if response is not None and name == "/chat/completions":
        events = chat_events(interaction)
        choices = chat_choices(events)
        usage = _usage(events)
        diagnostics = [
            {"quirk": event.quirk, "seen": event.seen, "done": event.done}
            for event in events
            if isinstance(event, Diagnostic)
        ]
    elif response is not None:
        value = responses_object(response) if name == "/responses" else _json_object(response.body)
        folded = value if name == "/responses" and value else None
        other = wires.said(name, response)
        usage = value.get("usage") or (other.usage or None if other else None)
    return {
        "kind": interaction.kind,
        "endpoint": name,
        "stream": response is not None and is_stream(response),
        "status": None if response is None else response.status,
        "choices": choices,
        "response": folded,
        "usage": usage,
        "diagnostics": diagnostics,
    }


def chat_events(interaction: Interaction) -> list[ModelEvent]:
    """The events that a recorded chat answer amounts to; a recording that was cut ends with `TurnFailed`."""
    response = interaction.response
    if response is None:
        return []
    request = request_object(interaction)
    count = request.get("n")
    assembler = ChatAssembler(offered=_offered(request), n=count if isinstance(count, int) else None)
    events: list[ModelEvent] = []
    for chunk in response.chunks:
        events += assembler.feed(chunk.data)
    if response.error is not None:
        events += assembler.fail(response.error, retryable=True)
    else:
        events += assembler.finish()
    return events


def responses_object(response: RecordedResponse) -> dict[str, Any]:
    """The Response object of a recorded answer, streamed or whole; empty where there is none."""
    if not is_stream(response):
        return _json_object(response.body)
    decoder = SSEDecoder()
    events = [*decoder.feed(response.body), *decoder.flush()]
    return fold(value for event in events if (value := _json_object(event.data)))


# Gemini and Bedrock name the model in the path, not in the body.
_MODEL_PATH = re.compile(r"/models?/([^/:?]+)")


def model_of(interaction: Interaction) -> str:
    """The model that a request asks for, or ``""``."""
    model = request_object(interaction).get("model")
    if isinstance(model, str):
        return model
    found = _MODEL_PATH.search(interaction.request.url) if interaction.request else None
    return unquote(found[1]) if found else ""


def request_object(interaction: Interaction) -> dict[str, Any]:
    """The request's JSON body, empty where it has none."""
    return {} if interaction.request is None else _json_object(interaction.request.body)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _usage(events: list[ModelEvent]) -> dict[str, Any] | None:
    usage = next((event.usage for event in events if isinstance(event, TurnFinished | TurnFailed)), None)
    return usage.raw or None if usage else None


def _offered(request: dict[str, Any]) -> dict[str, Any]:
    """The tools of a chat request: their JSON schemas by name."""
    tools = request.get("tools")
    functions = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    return {
        function["name"]: function.get("parameters") or {}
        for function in functions
        if isinstance(function, dict) and isinstance(function.get("name"), str)
    }
