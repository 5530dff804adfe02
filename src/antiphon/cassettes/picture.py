"""A recording for people: each interaction as the conversation it is, for a terminal of 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from antiphon.cassettes import wires
from antiphon.cassettes.format import Interaction, RecordedResponse, SocketSession, ToolCall
from antiphon.cassettes.reading import read
from antiphon.cassettes.view import describe, model_of, request_object

_MAX_LINES = 12
_MAX_CHARS = 800
_MAX_MESSAGES = 6
_MAX_FRAMES = 40
_LABEL_COLUMNS = 10

# A label, and the text that stands beside it.
Row = tuple[str, str]

# A recording is foreign text: its escape sequences must not reach the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_STYLES = {
    "system": "magenta",
    "developer": "magenta",
    "user": "green",
    "client": "green",
    "server": "blue",
    "tool": "cyan",
    "assistant": "blue",
    "reasoning": "dim",
    "calls": "yellow",
    "error": "red",
    "mended": "yellow",
    "usage": "dim",
}
# Of these the text is coloured too, not the label alone.
_TINTED = frozenset({"reasoning", "error", "usage", ""})


def picture(path: str | Path, number: int | None = None) -> Iterator[RenderableType]:
    """One renderable for each interaction of a recording, or for that one, to be printed one after the other.

    Raises:
        CassetteError: the recording cannot be read; what was read before is given first.
    """
    for index, interaction in enumerate(read(path)):
        if number not in (None, index):
            continue
        said = describe(interaction)
        title = Rule(Text(_title(index, interaction, said), style="bold"), align="left", style="dim")
        yield Group(title, table(rows(interaction, said)), Text())


def rows(interaction: Interaction, said: dict[str, Any]) -> Iterator[Row]:
    """What was said, each text with its label; ``said`` is what `view.describe` gives."""
    if interaction.tool:
        return _tool(interaction.tool)
    return _socket(interaction.websocket) if interaction.websocket else _exchange(interaction, said)


def style_of(label: str) -> str:
    """How a label is coloured."""
    return _STYLES.get(label.partition(" ")[0], "")


def table(lines: Iterable[Row]) -> Table:
    """Labels in a column of their own, texts beside them, cut where they are long."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=_LABEL_COLUMNS, justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in lines:
        style = style_of(label)
        table.add_row(
            Text(clean(label), style=f"bold {style}"), Text(cut(text), style=style if label in _TINTED else "")
        )
    return table


def cut(text: str) -> str:
    """As much of a foreign text as fits a screen, and how much more there is."""
    text = clean(text).strip()
    lines = text[:_MAX_CHARS].split("\n")[:_MAX_LINES]
    left = len(text) - len("\n".join(lines))
    return "\n".join(lines) + (f" … ({left:,} more characters)" if left else "")


def _exchange(interaction: Interaction, said: dict[str, Any]) -> Iterator[Row]:
    response = interaction.response
    yield from _request(request_object(interaction))
    for choice in said["choices"]:
        label = "assistant" if choice["index"] == 0 else f"choice {choice['index']}"
        yield from _choice(label, choice)
    if said["response"] is not None:
        yield from _items(said["response"].get("output"))
    elif response is not None and not said["choices"]:
        yield from _other_answer(said["endpoint"], response)
    if response is not None and response.error is not None:
        yield "error", f"{response.error.code}: {response.error.message}"
    for each in said["diagnostics"]:
        yield "mended", f"{each['quirk']}: {each['seen']} → {each['done']}"
    if isinstance(said["usage"], dict):
        yield "usage", _usage(said["usage"])


def _title(index: int, interaction: Interaction, said: dict[str, Any]) -> str:
    response, request = interaction.response, interaction.request
    parts = [
        f"{index}",
        f"{request.method} {said['endpoint']}" if request else said["endpoint"] or interaction.kind,
        model_of(interaction),
        "" if said["status"] is None else str(said["status"]),
        f"{len(response.chunks)} chunks" if response and interaction.fidelity == "wire" else interaction.fidelity,
        "" if interaction.duration_ms is None else f"{interaction.duration_ms / 1000:.2f} s",
    ]
    return clean(" · ".join(part for part in parts if part))


def _tool(tool: ToolCall) -> Iterator[Row]:
    yield "calls", f"{tool.name}({_json(tool.arguments)})"
    if tool.error is not None:
        yield "error", f"{tool.error.code}: {tool.error.message}"
    yield "tool", tool.result if isinstance(tool.result, str) else _json(tool.result)


def _socket(session: SocketSession) -> Iterator[Row]:
    for frame in session.frames[:_MAX_FRAMES]:
        yield frame.sender, frame.data if isinstance(frame.data, str) else f"{len(frame.data):,} bytes"
    if len(session.frames) > _MAX_FRAMES:
        yield "", f"… {len(session.frames) - _MAX_FRAMES} more messages"
    if session.close is not None:
        yield "closed", f"by the {session.closed_by}: {session.close.code} {session.close.reason}"


# --- the request -----------------------------------------------------------------------------


def _request(request: dict[str, Any]) -> Iterator[Row]:
    """What is new in it: the messages after the last answer, of a conversation that begins all of them."""
    given = request.get("messages", request.get("input", request.get("contents")))
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    messages: list[Any] = given if isinstance(given, list) else []
    instructions = request.get("instructions", request.get("system", request.get("systemInstruction")))
    if text := _content(instructions):
        messages = [{"role": "system", "content": text}, *messages]
    start = max((i + 1 for i, each in enumerate(messages) if _is_answer(each)), default=0)
    start = max(start, len(messages) - _MAX_MESSAGES)
    if start:
        yield "", f"… {start} earlier messages"
    for message in messages[start:]:
        if isinstance(message, dict):
            yield _message(message)


def _is_answer(message: Any) -> bool:
    return isinstance(message, dict) and (
        message.get("role") in ("assistant", "model")
        or message.get("type") in ("function_call", "custom_tool_call", "reasoning")
    )


def _message(message: dict[str, Any]) -> Row:
    if "output" in message:
        return "tool", _content(message["output"])
    content = message["parts"] if "parts" in message else message.get("content")
    return str(message.get("role") or message.get("type") or ""), _content(content)


def _content(content: Any) -> str:
    """The text of a message; of other parts, their type."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict) and isinstance(content.get("parts"), list):  # Gemini's
        content = content["parts"]
    if not isinstance(content, list):
        return "" if content is None else _json(content)
    return "\n".join(map(_part, content))


def _part(part: Any) -> str:
    """The text of a part: what is said, what a tool gave, or else what the part is."""
    if not isinstance(part, dict):
        return part if isinstance(part, str) else f"[{part}]"
    if isinstance(part.get("text"), str):
        return str(part["text"])
    if part.get("type") == "tool_result":
        return _content(part.get("content"))
    if isinstance(result := part.get("functionResponse"), dict):
        return _json(result.get("response"))
    return f"[{part.get('type') or next(iter(part), '')}]"


# --- the answer ------------------------------------------------------------------------------


def _choice(label: str, choice: dict[str, Any]) -> Iterator[Row]:
    if choice["reasoning"]:
        yield "reasoning", choice["reasoning"]
    if choice["content"]:
        yield label, choice["content"]
    if choice.get("refusal"):
        yield "refusal", choice["refusal"]
    for call in choice["tool_calls"]:
        yield "calls", f"{call['name']}({call['arguments']})"
    if choice["finish_reason"] not in ("stop", "tool_calls"):
        yield "error", f"finish reason: {choice['finish_reason'] or 'none'}"


def _other_answer(operation: str, response: RecordedResponse) -> Iterator[Row]:
    """An answer of another wire, or else the body as it is."""
    found = wires.said(operation, response)
    if found is None:
        yield "answer", _body(response.body)
        return
    if found.reasoning:
        yield "reasoning", found.reasoning
    if found.text:
        yield "assistant", found.text
    for name, arguments in found.calls:
        yield "calls", f"{name}({arguments})"
    if (found.finish_reason or "").lower() not in _FINISHED:
        yield "error", f"finish reason: {found.finish_reason or 'none'}"


_FINISHED = frozenset({"stop", "end_turn", "tool_use", "stop_sequence"})


def _items(output: Any) -> Iterator[Row]:
    items = output if isinstance(output, list) else []
    for item in [each for each in items if isinstance(each, dict)]:
        kind = item.get("type")
        if kind == "reasoning":
            if text := _content(item.get("summary")) or _content(item.get("content")):
                yield "reasoning", text
        elif kind == "message":
            yield "assistant", _content(item.get("content"))
        else:
            given = item.get("arguments") or item.get("input") or item.get("action") or ""
            yield "calls", f"{item.get('name') or kind}({given if isinstance(given, str) else _json(given)})"


def _usage(usage: dict[str, Any]) -> str:
    """The totals; the details stand in ``--json``."""
    return ", ".join(f"{name} {value}" for name, value in usage.items() if isinstance(value, int | float))


# --- text ------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """A foreign text without what a terminal would obey."""
    return _CONTROL.sub("�", text.replace("\r\n", "\n"))


def _body(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return f"{len(body):,} bytes that are not text"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
