"""When two requests are the same, and where they differ if they are not.

A request's key is its method, its operation and its canonical body: JSON with sorted keys, the same for any host. What
changes from run to run without meaning anything (`VOLATILE_FIELDS`, ids, dates) is normalised in the `loose_key`; the
`exact_key` keeps it. Two requests that differ in what is volatile only are the same, unless both were recorded. A call
of a tool is matched as a request is: see `request_of`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec

from antiphon.cassettes.endpoints import operation
from antiphon.cassettes.format import Interaction, RecordedRequest, ToolCall
from antiphon.cassettes.volatile import NOTHING, Volatile
from antiphon.transport import HttpRequest

Request = RecordedRequest | HttpRequest

# Fields of a request body that say nothing about the answer: left out, wherever the client sets them or not.
VOLATILE_FIELDS = ("stream_options", "user", "safety_identifier", "prompt_cache_key")

# Fields that name a thing by an id drawn at random: replaced by the order in which the id first appears.
ID_FIELDS = frozenset({"id", "call_id", "tool_call_id", "tool_use_id", "item_id", "previous_response_id"})

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_DATE = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
_VOLATILE_TEXT = re.compile(rf"(?P<uuid>\b{_UUID}\b)|(?P<date>\b{_DATE})", re.IGNORECASE)

# Query parameters that carry a key: what somebody recorded with theirs is replayed without.
CREDENTIALS = frozenset({"key", "api_key", "api-key", "apikey", "access_token", "token"})

# A digest: keys are kept for whole cassettes, and bodies are long.
Key = bytes


def exact_key(request: Request) -> Key:
    """Method, operation and body, the body's JSON with sorted keys; in 16 bytes."""
    return _digest(_where(request.method, request.url), _body(request))


def loose_key(request: Request, volatile: Volatile = NOTHING) -> Key:
    """The `exact_key` with everything volatile normalised."""
    where = _where(request.method, request.url, volatile.parameters)
    return _digest(where, normalise(volatile.without(_body(request))))


@lru_cache(maxsize=1024)
def _family(method: str, url: str) -> tuple[str, str]:
    return method.upper(), operation(url)


def family(request: Request) -> tuple[str, str]:
    """Method and operation: requests that could be compared at all."""
    return _family(request.method, request.url)


# The method of a request that stands for a tool call; no HTTP method is spelled so.
TOOL = "TOOL"


def tool_request(tool: ToolCall) -> RecordedRequest:
    """A tool call as a request: the tool's name is the URL, its arguments are the body."""
    url = "tool:" + quote(tool.name, safe="")
    return RecordedRequest(method=TOOL, url=url, body=msgspec.json.encode(tool.arguments))


def request_of(interaction: Interaction) -> RecordedRequest | None:
    """What was asked: the request, or the tool call as one; None where a log does not tell."""
    return interaction.request if interaction.tool is None else tool_request(interaction.tool)


# Gemini and Bedrock name the model in the path, not in the body.
_MODEL_PATH = re.compile(r"/models?/.+")


@lru_cache(maxsize=1024)
def _where(method: str, url: str, left_out: frozenset[str] = frozenset()) -> tuple[str, str]:
    """Method and operation with its query; the same few come in every request."""
    method, name = _family(method, url)
    parts = urlsplit(url)
    if model := _MODEL_PATH.search(parts.path):
        name = unquote(model[0])
    query = sorted(
        (name, value)
        for name, value in parse_qsl(parts.query)
        if name.lower() not in CREDENTIALS and name not in left_out
    )
    return method, f"{name}?{urlencode(query)}" if query else name


def _number(text: str) -> int | float:
    """``1.0`` is ``1``: which of the two is written depends on the client's language."""
    number = float(text)
    return int(number) if number.is_integer() else number


_BOUNDARY = re.compile(r'(?i)multipart/.*?boundary="?([^";,]+)')
_decode = msgspec.json.Decoder(float_hook=_number).decode


def _body(request: Request) -> Any:
    """The body as a JSON value; as text with LF line ends, or bytes, where it is not JSON."""
    try:
        return _decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    body = request.body
    if boundary := _BOUNDARY.search(request.header("content-type") or ""):
        body = body.replace(boundary[1].encode(), b"boundary")  # drawn at random by each client
    try:
        return body.decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        return body


_encode = msgspec.json.Encoder(order="sorted").encode


def _digest(where: tuple[str, str], body: Any) -> bytes:
    return blake2b(_encode((*where, body)), digest_size=16).digest()


def normalise(body: Any) -> Any:
    """A body with `VOLATILE_FIELDS` left out, and ids and dates replaced by stand-ins."""
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in VOLATILE_FIELDS}
    return _Normaliser().value(body)


class _Normaliser:
    """Stand-ins for ids are numbered as the ids appear, so the same id gets the same stand-in within one body."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: self._id(each) if name in ID_FIELDS and isinstance(each, str) else self.value(each)
                for name, each in value.items()
            }
        if isinstance(value, list):
            return [self.value(each) for each in value]
        return _VOLATILE_TEXT.sub(self._text, value) if isinstance(value, str) else value

    def _text(self, match: re.Match[str]) -> str:
        return self._id(match[0]) if match["uuid"] else "<date>"

    def _id(self, name: str) -> str:
        return self._ids.setdefault(name, f"<id {len(self._ids) + 1}>")


# --- differences -----------------------------------------------------------------------------


class Difference(msgspec.Struct, frozen=True):
    """One place where two requests differ; a side that has nothing there is ``msgspec.UNSET``.

    ``path`` is a JSON path into the body, or ``method`` or ``url``.
    """

    path: str
    recorded: Any
    sent: Any

    def excerpts(self) -> tuple[str, str]:
        """Both values as JSON, shortened to where they begin to differ."""
        return _excerpts(self.recorded, self.sent)

    def __str__(self) -> str:
        recorded, sent = self.excerpts()
        return f"{self.path}: recorded {recorded}, sent {sent}"


def differences(recorded: Request, sent: Request) -> list[Difference]:
    """Everything in which a request differs from a recorded one, volatile parts included; headers are not compared."""
    return _differ(recorded, sent, _body(recorded), _body(sent))


def relevant_differences(recorded: Request, sent: Request, volatile: Volatile = NOTHING) -> list[Difference]:
    """The differences that keep a request from matching: those that `normalise` leaves."""
    ours, theirs = [normalise(volatile.without(_body(each))) for each in (recorded, sent)]
    return _differ(recorded, sent, ours, theirs, volatile.parameters)


def _differ(
    recorded: Request, sent: Request, recorded_body: Any, sent_body: Any, left_out: frozenset[str] = frozenset()
) -> list[Difference]:
    found = []
    recorded_method, recorded_name = _where(recorded.method, recorded.url, left_out)
    method, name = _where(sent.method, sent.url, left_out)
    if recorded_method != method:
        found.append(Difference("method", recorded_method, method))
    if recorded_name != name:
        found.append(Difference("url", recorded_name, name))
    _compare("$", recorded_body, sent_body, found)
    return found


def compare(recorded: Any, sent: Any) -> list[Difference]:
    """Where two JSON values differ."""
    found: list[Difference] = []
    _compare("$", recorded, sent, found)
    return found


_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def _compare(path: str, recorded: Any, sent: Any, found: list[Difference]) -> None:
    if isinstance(recorded, dict) and isinstance(sent, dict):
        for name in [*recorded, *(name for name in sent if name not in recorded)]:
            step = f".{name}" if _PLAIN_NAME.match(name) else f"[{name!r}]"
            _compare(path + step, recorded.get(name, msgspec.UNSET), sent.get(name, msgspec.UNSET), found)
    elif isinstance(recorded, list) and isinstance(sent, list):
        for index in range(max(len(recorded), len(sent))):
            _compare(f"{path}[{index}]", _item(recorded, index), _item(sent, index), found)
    elif recorded != sent or isinstance(recorded, bool) is not isinstance(sent, bool):
        found.append(Difference(path, recorded, sent))


def _item(values: list[Any], index: int) -> Any:
    return values[index] if index < len(values) else msgspec.UNSET


# --- values, shortened to be shown -----------------------------------------------------------

_SHOWN_CHARS = 60
_CONTEXT_CHARS = 15


def _excerpts(recorded: Any, sent: Any) -> tuple[str, str]:
    """Both values as JSON; of long texts, the part where they begin to differ."""
    texts = _shown(recorded), _shown(sent)
    start = 0
    if max(len(text) for text in texts) > _SHOWN_CHARS:
        same = next((i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
        start = max(0, same - _CONTEXT_CHARS)
    return _cut(texts[0], start), _cut(texts[1], start)


def _shown(value: Any) -> str:
    return "nothing" if value is msgspec.UNSET else msgspec.json.encode(value).decode()


def _cut(text: str, start: int) -> str:
    end = start + _SHOWN_CHARS
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")
