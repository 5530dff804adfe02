"""What a recording holds, and the native file format: JSON Lines, one header line, then one line an interaction.

The bytes are what is kept; everything that can be computed from them (messages, events, usage) is computed when it is
looked at. ``docs/cassettes.md`` is the contract of the file; this module is its Python side, and knows no file: lines
in, lines out. A minor version only adds fields, and a reader passes over fields it does not know; a newer major
version is refused.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from antiphon.errors import CassetteCorrupt, CassetteVersion
from antiphon.events import ErrorInfo
from antiphon.transport import WebSocketClose

VERSION = "1.1"
TOOL = "antiphon/0.1.0"

# A file is native if it begins so; the header's other fields may stand in any order after it.
MAGIC = b'{"antiphon_cassette"'

Headers = tuple[tuple[str, str], ...]
Kind = Literal["http", "tool", "websocket"]
Side = Literal["client", "server"]

# What is known of the response: ``wire`` its bytes in the chunks they came in; ``body`` its bytes, but not how they
# were cut; ``parsed`` only the objects a tool made of them, written out again.
Fidelity = Literal["wire", "body", "parsed"]


# The code of an error that is the client's doing: it read no further.
CLOSED_EARLY = "closed_early"

# The tag that says by which upstream of a proxy a call went, as it is written on the command line.
UPSTREAM_TAG = "upstream"


class RecordedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it was sent, after scrubbing. Header names are lower case.

    ``content_encoding`` is the encoding that was undone in ``body``, if there was one.
    """

    method: str
    url: str
    headers: Headers = ()
    body: bytes = b""
    content_encoding: str = ""

    def header(self, name: str) -> str | None:
        """The first value of a header, or None."""
        return next((value for key, value in self.headers if key == name), None)


class Chunk(msgspec.Struct, frozen=True):
    """One read's worth of a body. ``delay_ms`` is counted from the chunk before it, or from the headers."""

    delay_ms: float
    data: bytes


class RecordedResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response as it came, content-encoding undone; ``content_encoding`` says which. Header names are lower case.

    ``status`` is None where no response came, or where a log does not tell it; ``error`` is what ended the response
    early. ``delay_ms`` is the time from the request to the response's headers.
    """

    status: int | None
    headers: Headers = ()
    chunks: tuple[Chunk, ...] = ()
    delay_ms: float = 0.0
    error: ErrorInfo | None = None
    content_encoding: str = ""

    @property
    def body(self) -> bytes:
        """All chunks joined."""
        return b"".join([chunk.data for chunk in self.chunks])

    def header(self, name: str) -> str | None:
        """The first value of a header, or None."""
        return next((value for key, value in self.headers if key == name), None)


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a tool and what it gave. ``arguments`` and ``result`` are any JSON values."""

    name: str
    arguments: Any = None
    result: Any = None
    error: ErrorInfo | None = None


class Frame(msgspec.Struct, frozen=True):
    """One WebSocket message; text is ``str``. ``delay_ms`` counts from the frame before it, or from the handshake."""

    delay_ms: float
    sender: Side
    data: str | bytes


class SocketSession(msgspec.Struct, frozen=True, kw_only=True):
    """What passed over a WebSocket, in the order in which the recorder saw it.

    ``closed_by`` is None where the connection broke, or the recording ended first.
    """

    frames: tuple[Frame, ...] = ()
    close: WebSocketClose | None = None
    closed_by: Side | None = None


class Interaction(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange with the world: an HTTP request with its response, a tool call with its result, or a WebSocket.

    A WebSocket's ``request`` and ``response`` are its handshake.

    ``request`` is None where a log holds only the answer. ``tags`` are for people and tools; matching ignores them.
    """

    id: str
    kind: Kind = "http"
    fidelity: Fidelity = "wire"
    request: RecordedRequest | None = None
    response: RecordedResponse | None = None
    tool: ToolCall | None = None
    websocket: SocketSession | None = None
    started_at: datetime | None = None
    duration_ms: float | None = None
    tags: dict[str, str] = {}


# --- the lines -------------------------------------------------------------------------------


class _Base64(msgspec.Struct, frozen=True):
    base64: str


_Data = str | _Base64


class _RequestLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    method: str
    url: str
    headers: Headers = ()
    body: _Data = ""
    content_encoding: str = ""


class _ResponseLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    status: int | None
    headers: Headers = ()
    delay_ms: float = 0.0
    chunks: list[tuple[float, _Data]] = []
    error: ErrorInfo | None = None
    content_encoding: str = ""


class _SocketLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    frames: list[tuple[float, Side, _Data]] = []
    close: WebSocketClose | None = None
    closed_by: Side | None = None


class _Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    kind: Kind
    fidelity: Fidelity
    started_at: datetime | None = None
    duration_ms: float | None = None
    tags: dict[str, str] = {}
    request: _RequestLine | None = None
    response: _ResponseLine | None = None
    tool: ToolCall | None = None
    websocket: _SocketLine | None = None


class _Header(msgspec.Struct, frozen=True):
    antiphon_cassette: str


class _Kind(msgspec.Struct, frozen=True):
    kind: str


_ENCODER = msgspec.json.Encoder()
_LINES = msgspec.json.Decoder(_Line)
_HEADERS = msgspec.json.Decoder(_Header)


def encode_header(tool: str = TOOL) -> bytes:
    """The first line of a cassette, with its line end."""
    return _ENCODER.encode({"antiphon_cassette": VERSION, "tool": tool}) + b"\n"


def decode_header(line: bytes, where: str) -> str:
    """The format version that a header line states; ``where`` is file and line, for the error.

    Raises:
        CassetteCorrupt: this is no header.
        CassetteVersion: it states a newer major version.
    """
    try:
        version = _HEADERS.decode(line).antiphon_cassette
        major = int(version.partition(".")[0])
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise CassetteCorrupt(f"{where}: the header of the cassette is unreadable: {error}") from error
    if major > int(VERSION.partition(".")[0]):
        raise CassetteVersion(
            f"{where}: the cassette has format {version}, but {TOOL} reads up to {VERSION}. Upgrade to read it."
        )
    return version


def is_newer_minor(version: str) -> bool:
    """Whether a version of this major adds what is not known here."""
    minor = version.partition(".")[2].partition(".")[0]
    return minor.isdecimal() and int(minor) > int(VERSION.partition(".")[2])


def unknown_kind(line: bytes) -> str | None:
    """The kind of an interaction, if it is one that this version does not know."""
    try:
        kind = msgspec.json.decode(line, type=_Kind).kind
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return None if kind in get_args(Kind) else kind


def encode_interaction(interaction: Interaction) -> bytes:
    """One interaction as a line, with its line end."""
    request, response = interaction.request, interaction.response
    line = _Line(
        id=interaction.id,
        kind=interaction.kind,
        fidelity=interaction.fidelity,
        started_at=interaction.started_at,
        duration_ms=interaction.duration_ms,
        tags=interaction.tags,
        request=None if request is None else _request_line(request),
        response=None if response is None else _response_line(response),
        tool=interaction.tool,
        websocket=None if interaction.websocket is None else _socket_line(interaction.websocket),
    )
    return _ENCODER.encode(line) + b"\n"


def decode_interaction(line: bytes) -> Interaction:
    """The interaction of a line.

    Raises:
        ValueError: the line is not UTF-8, not JSON, or not an interaction; the message says where in the line.
    """
    found = _LINES.decode(line)
    _check(found)
    return Interaction(
        id=found.id,
        kind=found.kind,
        fidelity=found.fidelity,
        request=None if found.request is None else _request(found.request),
        response=None if found.response is None else _response(found.response),
        tool=found.tool,
        websocket=None if found.websocket is None else _socket(found.websocket),
        started_at=found.started_at,
        duration_ms=found.duration_ms,
        tags=found.tags,
    )


_ABSENT = msgspec.Raw(b"null")


class _AskedLine(msgspec.Struct, frozen=True, kw_only=True):
    """As much of a line as it takes to find an answer: the decoder passes over the response."""

    kind: Kind
    tags: dict[str, str] = {}
    request: _RequestLine | None = None
    response: msgspec.Raw = _ABSENT
    tool: ToolCall | None = None
    websocket: msgspec.Raw = _ABSENT


_ASKED = msgspec.json.Decoder(_AskedLine)


class Asked(NamedTuple):
    """What a line says of the question, and nothing of the answer."""

    kind: Kind
    request: RecordedRequest | None
    tool: ToolCall | None
    tags: dict[str, str]


def decode_asked(line: bytes) -> Asked:
    """What was asked in a line, in a quarter of the time that the whole of it takes.

    Raises:
        ValueError: the line is not UTF-8, not JSON, or not an interaction; the message says where in the line.
    """
    found = _ASKED.decode(line)
    _check(found)
    return Asked(found.kind, None if found.request is None else _request(found.request), found.tool, found.tags)


class _AnswerLine(msgspec.Struct, frozen=True, kw_only=True):
    """The rest of it."""

    kind: Kind
    fidelity: Fidelity
    request: msgspec.Raw = _ABSENT
    response: _ResponseLine | None = None
    tool: ToolCall | None = None
    websocket: msgspec.Raw = _ABSENT


_ANSWERS = msgspec.json.Decoder(_AnswerLine)


def decode_answer(line: bytes) -> Interaction:
    """The interaction of a line without its request, its times and its tags: as much as it takes to play it.

    Raises:
        ValueError: the line is not UTF-8, not JSON, or not an interaction; the message says where in the line.
    """
    found = _ANSWERS.decode(line)
    return Interaction(
        id="",
        kind=found.kind,
        fidelity=found.fidelity,
        response=None if found.response is None else _response(found.response),
        tool=found.tool,
    )


_NEEDED = {"http": ("response",), "tool": ("tool",), "websocket": ("request", "websocket")}


def _check(line: _Line | _AskedLine) -> None:
    """Whether the line has what its kind needs."""
    for name in _NEEDED[line.kind]:
        value = getattr(line, name)
        if value is None or (isinstance(value, msgspec.Raw) and value == _ABSENT):
            raise ValueError(f"the interaction is of kind {line.kind} and has no {name}")


def _request_line(request: RecordedRequest) -> _RequestLine:
    return _RequestLine(
        method=request.method,
        url=request.url,
        headers=request.headers,
        body=_text(request.body),
        content_encoding=request.content_encoding,
    )


def _request(line: _RequestLine) -> RecordedRequest:
    return RecordedRequest(
        method=line.method,
        url=line.url,
        headers=line.headers,
        body=_bytes(line.body),
        content_encoding=line.content_encoding,
    )


def _response_line(response: RecordedResponse) -> _ResponseLine:
    return _ResponseLine(
        status=response.status,
        headers=response.headers,
        delay_ms=response.delay_ms,
        chunks=[(chunk.delay_ms, _text(chunk.data)) for chunk in response.chunks],
        error=response.error,
        content_encoding=response.content_encoding,
    )


def _response(line: _ResponseLine) -> RecordedResponse:
    return RecordedResponse(
        status=line.status,
        headers=line.headers,
        chunks=tuple(
            [Chunk(delay_ms, data.encode() if type(data) is str else _bytes(data)) for delay_ms, data in line.chunks]
        ),
        delay_ms=line.delay_ms,
        error=line.error,
        content_encoding=line.content_encoding,
    )


def _socket_line(session: SocketSession) -> _SocketLine:
    return _SocketLine(
        frames=[
            (each.delay_ms, each.sender, each.data if isinstance(each.data, str) else _base64(each.data))
            for each in session.frames
        ],
        close=session.close,
        closed_by=session.closed_by,
    )


def _socket(line: _SocketLine) -> SocketSession:
    frames = [
        Frame(delay_ms, sender, data if isinstance(data, str) else _bytes(data))
        for delay_ms, sender, data in line.frames
    ]
    return SocketSession(frames=tuple(frames), close=line.close, closed_by=line.closed_by)


def _text(data: bytes) -> _Data:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _base64(data)


def _base64(data: bytes) -> _Base64:
    return _Base64(b64encode(data).decode())


def _bytes(data: _Data) -> bytes:
    if isinstance(data, str):
        return data.encode()
    try:
        return b64decode(data.base64, validate=True)
    except binascii.Error as error:
        raise ValueError(f"a base64 value is malformed: {error}") from error
