"""Streams to begin with, and ways to damage them: what a fuzzer does to a recording."""

import contextlib
import functools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from assembly_streams import STOP, call, calls, chunk, sse

from antiphon.cassettes import read
from antiphon.cassettes.endpoints import endpoint
from antiphon.errors import CassetteError

RECORDINGS = Path(__file__).parents[2] / "examples" / "recordings"

SMALL = [
    sse(chunk({"role": "assistant", "content": "hi"}), chunk({"content": " there"}), STOP),
    sse(
        chunk({"reasoning_content": "Hm", "content": None}),
        chunk({"reasoning_details": [{"type": "reasoning.text", "text": "m", "index": 0, "signature": "s"}]}),
        calls(call(0, "a", "get_weather", '{"city":'), call(1, "b", "get_time", "")),
        calls(call(0, args='"Paris"}'), call(None, "c", "read_file", {"path": "p"})),
        chunk(finish="tool_calls", usage={"prompt_tokens": 1, "completion_tokens": 2}),
    ),
    sse(
        chunk({"refusal": "No"}), chunk({"annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}]}), STOP
    ),
    sse(
        chunk(
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
                    {"type": "text", "text": "a"},
                ]
            }
        )
    ),
    sse(chunk({"function_call": {"name": "f", "arguments": "{}"}}), chunk(finish="function_call")),
    sse(chunk({"content": "a"}), {"error": {"message": "quota", "code": 429}, "choices": []}, done=False),
    b'event: error\ndata: {"error":{"message":"m","code":"tool_use_failed","failed_generation":"<x>"}}\n\n',
    msgspec.json.encode({"choices": [{"message": {"content": "a", "tool_calls": [call(0, "a", "f", "{}")]}}]}),
    b'[{"error":{"code":503,"message":"overloaded","details":[{"retryDelay":"7s"}]}}]',
    b"<html><body>502 from 10.0.0.1</body></html>",
]


@functools.cache
def recorded(path: Path = RECORDINGS) -> list[bytes]:
    """The bodies of the chat answers in a folder of recordings."""
    bodies = []
    for file in sorted(file for file in path.rglob("*") if file.suffix in {".yaml", ".json"}):
        with contextlib.suppress(CassetteError):  # not every file there is a recording
            for interaction in read(file):
                if interaction.response and endpoint(interaction) == "/chat/completions":
                    bodies.append(interaction.response.body)
    return bodies


Mutation = Callable[[bytes, random.Random], bytes]


def flip_bits(data: bytes, chance: random.Random) -> bytes:
    """Change some bits."""
    damaged = bytearray(data)
    for _ in range(chance.randrange(1, 9) if data else 0):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def cut_off(data: bytes, chance: random.Random) -> bytes:
    """Lose the end."""
    return data[: chance.randrange(len(data) + 1)]


def lose_a_piece(data: bytes, chance: random.Random) -> bytes:
    """Lose something in the middle."""
    first = chance.randrange(len(data) + 1)
    return data[:first] + data[first + chance.randrange(200) :]


def put_in(data: bytes, chance: random.Random) -> bytes:
    """Put in bytes that mean something somewhere, or nothing anywhere."""
    pieces = [
        b"\n\n",
        b"\r",
        b"data: [DONE]\n\n",
        b"event: error\n",
        b"\xff\xfe",
        b"\x00",
        b"\xef\xbb\xbf",
        b": ping\n",
    ]
    pieces += [b"[" * 5000, b'{"a":' * 5000, b"data: null\n\n", b"<html>", chance.randbytes(20)]
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(pieces) + data[at:]


def repeat_a_line(data: bytes, chance: random.Random) -> bytes:
    """Send a line twice."""
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    return b"\n".join([*lines[: at + 1], *lines[at:]])


def swap_events(data: bytes, chance: random.Random) -> bytes:
    """Send an event in the place of another."""
    events = data.split(b"\n\n")
    one, other = chance.randrange(len(events)), chance.randrange(len(events))
    events[one], events[other] = events[other], events[one]
    return b"\n\n".join(events)


def change_a_value(data: bytes, chance: random.Random) -> bytes:
    """Put a value of another type, size or depth somewhere into a chunk."""
    events = data.split(b"\n\n")
    at = chance.randrange(len(events))
    head, brace, body = events[at].partition(b"{")
    try:
        value = msgspec.json.decode(brace + body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data
    holder, key = chance.choice(list(_places(value)) or [([None], 0)])
    marker = "here-comes-another-value"
    if chance.randrange(4) == 0 and isinstance(holder, dict):
        holder[chance.choice(_KEYS)] = marker
    else:
        holder[key] = marker
    changed = msgspec.json.encode(value).replace(f'"{marker}"'.encode(), chance.choice(_VALUES))
    events[at] = head + changed
    return b"\n\n".join(events)


_KEYS = (
    "index",
    "id",
    "name",
    "arguments",
    "function",
    "custom",
    "content",
    "text",
    "error",
    "usage",
    "choices",
    "delta",
)
_VALUES = (
    *(
        b"null",
        b"true",
        b"0",
        b"-1",
        b"1.5",
        b"9223372036854775808",
        b"1" * 400,
        b"1e308",
        b"1e999",
        b'""',
        b"[]",
        b"{}",
    ),
    *(b'"x"', b'"{}"', b'"{\\"a\\":1}{\\"a\\":2}"', b'"\\ud800"', b'"\\u0000"', b"[null]", b'[{"type":1}]', b'{"":{}}'),
    *(
        b"[" * 200 + b"]" * 200,
        b'{"a":' * 127 + b"1" + b"}" * 127,
        b"[" * 2000 + b"]" * 2000,
        b'"' + b"x" * 5000 + b'"',
    ),
)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value, as the object or list that it is in and its key."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in list(inner):
        yield value, key
        yield from _places(below)


MUTATIONS: list[Mutation] = [
    *(flip_bits, cut_off, lose_a_piece, put_in, repeat_a_line, swap_events),
    *[change_a_value] * 4,
]
