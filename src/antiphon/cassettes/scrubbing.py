"""What must not reach a disk, taken out before it does: headers by allow-list, known secrets exactly, others by looks.

A stand-in depends on nothing but what it stands for, so that two recordings of the same calls are the same bytes, and a
request that is scrubbed finds the one that was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from antiphon.cassettes.deltas import part, without_split_secrets
from antiphon.cassettes.endpoints import is_stream
from antiphon.cassettes.format import Chunk, Frame, Headers, Interaction, RecordedRequest, RecordedResponse, ToolCall
from antiphon.cassettes.matching import CREDENTIALS
from antiphon.cassettes.secrets import Edit, Secrets, apply

# What explains an exchange and names nobody; a trailing * stands for any ending.
KEPT_HEADERS = (
    "accept",
    "allow",
    "content-encoding",
    "content-type",
    "date",
    "user-agent",
    "anthropic-beta",
    "anthropic-ratelimit-*",
    "anthropic-version",
    "location",
    "mcp-protocol-version",
    "mcp-session-id",
    "openai-beta",
    "openai-model",
    "openai-processing-ms",
    "openai-version",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "sec-websocket-protocol",
    "x-ratelimit-*",
    "x-request-id",
    "x-should-retry",
)

# In no recording that somebody else may see.
SECRET_HEADERS = frozenset(
    {
        *("authorization", "proxy-authorization", "cookie", "set-cookie", "api-key", "x-api-key", "x-goog-api-key"),
        *("x-amz-security-token", "openai-organization-key", "x-auth-token"),
    }
)

# Shorter ones would be found inside ordinary words.
_MIN_SECRET_CHARS = 6
_CREDENTIAL = re.compile(rf"(?<=[?&])((?:{'|'.join(map(re.escape, sorted(CREDENTIALS)))})=)[^&#]+", re.IGNORECASE)


# Where the patterns are named that something was taken out by.
SCRUBBED_TAG = "scrubbed"


class Scrubber:
    """Takes an interaction, gives it without secrets. What was taken out is named in its tag ``scrubbed``.

    ``secrets`` are exact values, such as the upstream's key; those that a request's own headers hold are looked for in
    the rest of it and in its answer. Patterns (see `patterns.PATTERNS`) find what looks like a
    secret; ``patterns``, ``fields`` and ``off`` are those of `Secrets`, and ``keep_headers`` are kept beside the usual
    ones. All are looked for in URLs, header values, bodies, messages, tags and errors; also where chunks cut them,
    where the events of a stream give them in pieces, and inside base64 and gzip. Scrubbing twice changes nothing more.

    Raises:
        UsageError: a pattern is wrong.
    """

    def __init__(
        self,
        secrets: Sequence[str] = (),
        *,
        kept_headers: Sequence[str] = KEPT_HEADERS,
        keep_headers: Iterable[str] = (),
        patterns: Mapping[str, str] | None = None,
        fields: Iterable[str] = (),
        off: Collection[str] = (),
    ) -> None:
        kept_headers = (*kept_headers, *(name.lower() for name in keep_headers))
        self._names = frozenset(name for name in kept_headers if not name.endswith("*"))
        self._prefixes = tuple(name[:-1] for name in kept_headers if name.endswith("*"))
        self._given = tuple(secrets)
        self._secrets_with = lru_cache(maxsize=64)(
            lambda sent: Secrets(_known((*self._given, *sent)), patterns=patterns, fields=fields, off=off)
        )
        self._secrets_with(())  # a wrong pattern is told here

    def __call__(self, interaction: Interaction) -> Interaction:
        """The interaction as it may be written down."""
        return self._scrubbing(interaction).interaction(interaction)

    def find(self, interaction: Interaction) -> list[str]:
        """The names of the patterns that find something in it, and of the headers that it must not have."""
        scrubbing = self._scrubbing(interaction)
        scrubbing.interaction(interaction)
        sides = [side for side in (interaction.request, interaction.response) if side is not None]
        headers = {name for side in sides for name, _ in side.headers if name in SECRET_HEADERS}
        return [*sorted(scrubbing.found), *(f"header {name}" for name in sorted(headers))]

    def _scrubbing(self, interaction: Interaction) -> _Scrubbing:
        sent = () if interaction.request is None else _sent(interaction.request.headers)
        return _Scrubbing(self._secrets_with(sent), self.keeps)

    def keeps(self, header: str) -> bool:
        """Whether a header is written down."""
        return header in self._names or header.startswith(self._prefixes)


# Of `Bearer sk-…` and `a=…; b=…` the values are secret too, without what stands before them.
_SCHEMES = frozenset({"bearer", "basic", "digest", "token", "apikey", "negotiate"})
_PARTS = re.compile(r"[\s;,]+(?:[^\s;,=]+=)?|^[^\s;,=]+=")


def _sent(headers: Headers) -> tuple[str, ...]:
    """The keys that a client sent with a request: what is refused is often quoted in the answer."""
    values = [value for name, value in headers if name in SECRET_HEADERS]
    parts = (part for value in values for part in _PARTS.split(value))
    return (*values, *(part for part in parts if part.lower() not in _SCHEMES))


def _known(secrets: Iterable[str]) -> dict[bytes, bytes]:
    """Each secret as it may be written, with its stand-in."""
    known: dict[bytes, bytes] = {}
    found = [secret for secret in dict.fromkeys(secrets) if len(secret) >= _MIN_SECRET_CHARS]
    for number, secret in enumerate(found, start=1):
        for written in (secret, quote(secret, safe=""), _json_text(secret)):
            known[written.encode()] = b"[scrubbed:%d]" % number
    return known


class _Scrubbing:
    """One interaction being scrubbed, and what was found in it."""

    def __init__(self, secrets: Secrets, keeps: Callable[[str], bool]) -> None:
        self._secrets = secrets
        self._keeps = keeps
        self.found: set[str] = set()

    def interaction(self, interaction: Interaction) -> Interaction:
        request, response, tool, socket = (
            interaction.request,
            interaction.response,
            interaction.tool,
            interaction.websocket,
        )
        request = None if request is None else self._request(request)
        response = None if response is None else self._response(response)
        if tool is not None:
            tool = msgspec.json.decode(self._bytes(msgspec.json.encode(tool)), type=ToolCall)
        if socket is not None:
            socket = replace(socket, frames=self._frames(socket.frames))
        tags = {name: self._text(value) for name, value in interaction.tags.items()}
        if self.found:
            before = filter(None, tags.get(SCRUBBED_TAG, "").split(", "))
            tags[SCRUBBED_TAG] = ", ".join(sorted({*before, *self.found}))
        return replace(interaction, request=request, response=response, tool=tool, websocket=socket, tags=tags)

    def _request(self, request: RecordedRequest) -> RecordedRequest:
        return replace(
            request,
            url=_CREDENTIAL.sub(r"\1[scrubbed]", self._text(request.url)),
            headers=self._headers(request.headers),
            body=self._bytes(request.body),
        )

    def _response(self, response: RecordedResponse) -> RecordedResponse:
        error = response.error
        return replace(
            response,
            headers=self._headers(response.headers),
            chunks=self._chunks(self._joined(response)),
            error=None if error is None else replace(error, message=self._text(error.message)),
        )

    def _headers(self, headers: Headers) -> Headers:
        return tuple((name, self._text(value)) for name, value in headers if self._keeps(name))

    def _text(self, text: str) -> str:
        return self._bytes(text.encode()).decode()

    def _bytes(self, data: bytes) -> bytes:
        return apply(data, self._find(data))

    def _find(self, data: bytes) -> list[Edit]:
        edits = self._secrets.find(data)
        self.found.update(edit.name for edit in edits)
        return edits

    # --- streams -----------------------------------------------------------------------------

    def _joined(self, response: RecordedResponse) -> tuple[Chunk, ...]:
        """The chunks without secrets that several events give together."""
        if not is_stream(response):
            return response.chunks
        body = response.body
        places = [match.span("event") for match in _EVENT.finditer(body)]
        joined = without_split_secrets([body[start:end] for start, end in places], self._secrets)
        self.found |= joined.names
        edits = [Edit(*places[number], event, "") for number, event in sorted(joined.events.items())]
        return _edited(response.chunks, edits)

    def _chunks(self, chunks: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
        return _edited(chunks, self._find(b"".join([chunk.data for chunk in chunks])))

    def _frames(self, frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
        """Messages without secrets, those of each side looked at together."""
        texts = [frame.data.encode() if isinstance(frame.data, str) else frame.data for frame in frames]
        for side in ("client", "server"):
            numbers = [number for number, frame in enumerate(frames) if frame.sender == side]
            joined = without_split_secrets([texts[number] for number in numbers], self._secrets)
            self.found |= joined.names
            for place, event in joined.events.items():
                texts[numbers[place]] = event
        scrubbed = [self._bytes(text) for text in texts]
        return tuple(
            Frame(frame.delay_ms, frame.sender, data.decode() if isinstance(frame.data, str) else data)
            for frame, data in zip(frames, scrubbed, strict=True)
        )


# The JSON of an event, or of a line.
_EVENT = re.compile(rb"^(?:data: ?)?(?P<event>\{[^\r\n]*\})[ \t]*\r?$", re.MULTILINE)


def _edited(chunks: tuple[Chunk, ...], edits: Sequence[Edit]) -> tuple[Chunk, ...]:
    """The chunks with edits of the whole made in them; one that nothing is left of stays, for the time it takes."""
    if not edits:
        return chunks
    edited, start = [], 0
    for chunk in chunks:
        end = start + len(chunk.data)
        edited.append(Chunk(chunk.delay_ms, part(chunk.data, start, end, edits)))
        start = end
    return tuple(edited)


def _json_text(secret: str) -> str:
    return msgspec.json.encode(secret).decode()[1:-1]
