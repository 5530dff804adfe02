"""What two recordings say differently: requests as matching sees them, answers by what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, Literal, NamedTuple

import msgspec

from antiphon.cassettes import wires
from antiphon.cassettes.endpoints import is_stream
from antiphon.cassettes.format import Interaction, RecordedResponse
from antiphon.cassettes.matching import Difference, compare, family, loose_key, normalise, relevant_differences
from antiphon.cassettes.view import describe
from antiphon.sse import SSEDecoder

# What is new in each answer and says nothing about it.
VOLATILE_ANSWER_FIELDS = frozenset(
    {
        *(
            "id",
            "call_id",
            "tool_call_id",
            "item_id",
            "response_id",
            "responseId",
            "request_id",
            "previous_response_id",
        ),
        *("created", "created_at", "completed_at", "expires_at", "createTime", "timings", "system_fingerprint"),
        *(
            "usage",
            "usageMetadata",
            "service_tier",
            "obfuscation",
            "encrypted_content",
            "signature",
            "thoughtSignature",
        ),
        *("sequence_number", "total_duration", "load_duration", "prompt_eval_duration", "eval_duration"),
    }
)

# How far an answer is from the recorded one, the least first: the same; other words in the same form; another form
# (fields, events, tools called); another status.
Drift = Literal["same", "words", "shape", "status"]


class Pair(NamedTuple):
    """Two interactions that stand for each other, by index and value; a side is None where the other has more."""

    a: tuple[int, Interaction] | None
    b: tuple[int, Interaction] | None


class Divergence(NamedTuple):
    """In what a pair differs; ``requests`` are the cause where there are any, ``answers`` the effect."""

    requests: list[Difference]
    answers: list[Difference]


def pairs(a: Sequence[Interaction], b: Sequence[Interaction]) -> Iterator[Pair]:
    """Which interaction of ``b`` is which of ``a``: equal requests in order, and between them those of one kind."""
    first, second = list(enumerate(a)), list(enumerate(b))
    equal = SequenceMatcher(None, [_key(each) for each in a], [_key(each) for each in b], autojunk=False)
    for _, a_start, a_end, b_start, b_end in equal.get_opcodes():
        yield from _paired(first[a_start:a_end], second[b_start:b_end])


def _paired(a: list[tuple[int, Interaction]], b: list[tuple[int, Interaction]]) -> Iterator[Pair]:
    kinds = SequenceMatcher(None, [_kind(each) for _, each in a], [_kind(each) for _, each in b], autojunk=False)
    for tag, a_start, a_end, b_start, b_end in kinds.get_opcodes():
        if tag == "equal":
            yield from (Pair(x, y) for x, y in zip(a[a_start:a_end], b[b_start:b_end], strict=True))
        else:
            yield from (Pair(x, None) for x in a[a_start:a_end])
            yield from (Pair(None, y) for y in b[b_start:b_end])


def _key(interaction: Interaction) -> Any:
    if interaction.request is not None and interaction.kind == "http":
        return loose_key(interaction.request)
    return _kind(interaction)


def _kind(interaction: Interaction) -> tuple[str, ...]:
    if interaction.request is not None:
        return (interaction.kind, *family(interaction.request))
    return (interaction.kind, describe(interaction)["endpoint"])


def divergence(a: Interaction, b: Interaction) -> Divergence:
    """In what two interactions differ, volatile parts left out."""
    requests: list[Difference] = []
    if a.request is not None and b.request is not None:
        requests = relevant_differences(a.request, b.request)
    elif a.tool is not None and b.tool is not None:
        requests = compare(normalise(a.tool.arguments), normalise(b.tool.arguments))
    return Divergence(requests, compare(meaning(a), meaning(b)))


def drift(recorded: Interaction, fresh: Interaction) -> tuple[Drift, list[Difference]]:
    """How far a fresh answer is from the recorded one, and where they differ."""
    old, new = recorded.response, fresh.response
    found = compare(meaning(recorded), meaning(fresh))
    if old is not None and new is not None:
        if old.status != new.status:
            return "status", [Difference("status", old.status, new.status), *found]
        shapes = _shape_differences(old, new) + [each for each in found if each.path.endswith((".name", "_reason"))]
        if shapes:
            return "shape", shapes
    return ("words", found) if found else ("same", [])


def meaning(interaction: Interaction) -> Any:
    """What an answer says, without what is new in each: an answer streamed and one given whole may mean the same."""
    if interaction.tool is not None:
        tool = interaction.tool
        return {"result": tool.result, "error": None if tool.error is None else tool.error.code}
    if interaction.websocket is not None:
        frames = interaction.websocket.frames
        return [[each.sender, _without_volatile(_value(each.data))] for each in frames]
    response = interaction.response
    if response is None:
        return None
    said = describe(interaction)
    other = wires.said(said["endpoint"], response)
    value = said["choices"] or said["response"] or (msgspec.to_builtins(other) if other else _body(response))
    error = None if response.error is None else response.error.code
    return {"status": response.status, "error": error, "answer": _without_volatile(value)}


def _body(response: RecordedResponse) -> Any:
    if not is_stream(response):
        return _value(response.body)
    return [_value(data) for data in _events(response)]


def _events(response: RecordedResponse) -> list[bytes]:
    """The payloads of a stream: of events, or of lines."""
    body = response.body
    if body.lstrip()[:1] == b"{":
        return [line for line in body.split(b"\n") if line.strip()]
    decoder = SSEDecoder()
    return [event.data for event in [*decoder.feed(body), *decoder.flush()]]


def _value(data: bytes | str) -> Any:
    """JSON, or text, or the size of what is neither."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    if isinstance(data, str):
        return data
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"{len(data)} bytes"


def _without_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_volatile(each) for name, each in value.items() if name not in VOLATILE_ANSWER_FIELDS}
    return [_without_volatile(each) for each in value] if isinstance(value, list) else value


# --- shapes ----------------------------------------------------------------------------------


def _shape_differences(old: RecordedResponse, new: RecordedResponse) -> list[Difference]:
    recorded, sent = _shape(old), _shape(new)
    return [
        Difference(path, recorded.get(path, msgspec.UNSET), sent.get(path, msgspec.UNSET))
        for path in dict.fromkeys((*recorded, *sent))
        if recorded.get(path) != sent.get(path)
    ]


def _shape(response: RecordedResponse) -> dict[str, str]:
    """Which fields there are, and of which type, over all events of a stream; how many there are does not count."""
    found: dict[str, set[str]] = {}
    values = [_value(data) for data in (_events(response) if is_stream(response) else [response.body])]
    for value in values:
        prefix = f"{value['type']}:" if isinstance(value, dict) and isinstance(value.get("type"), str) else ""
        _walk(f"{prefix}$", value, found)
    return {path: "|".join(sorted(kinds - {"null"})) or "null" for path, kinds in found.items()}


def _walk(path: str, value: Any, found: dict[str, set[str]]) -> None:
    found.setdefault(path, set()).add(_type(value))
    if isinstance(value, dict):
        for name, each in value.items():
            _walk(f"{path}.{name}", each, found)
    elif isinstance(value, list):
        for each in value:
            _walk(f"{path}[]", each, found)


def _type(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "null" if value is None else "boolean"
    return {str: "string", int: "number", float: "number", dict: "object", list: "array"}.get(type(value), "other")
