"""What must not reach a disk, taken out before it does: headers by allow-list, known secrets exactly.

Each secret has a stand-in that depends on its place in the list only, so that two recordings of the same calls are the
same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from antiphon.cassettes.format import Chunk, Headers, Interaction, ToolCall
from antiphon.cassettes.matching import CREDENTIALS

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

# Shorter ones would be found inside ordinary words.
_MIN_SECRET_CHARS = 6
_CREDENTIAL = re.compile(rf"(?<=[?&])((?:{'|'.join(map(re.escape, sorted(CREDENTIALS)))})=)[^&#]+", re.IGNORECASE)


class Scrubber:
    """Takes an interaction, gives it without secrets.

    ``secrets`` are exact values, such as the upstream's key; they are found in URLs, header values, bodies, tags and
    error messages, also where a chunk boundary cuts them.
    """

    def __init__(self, secrets: Sequence[str] = (), *, kept_headers: Sequence[str] = KEPT_HEADERS) -> None:
        self._names = frozenset(name for name in kept_headers if not name.endswith("*"))
        self._prefixes = tuple(name[:-1] for name in kept_headers if name.endswith("*"))
        found = [secret for secret in dict.fromkeys(secrets) if len(secret) >= _MIN_SECRET_CHARS]
        self._stand_ins: dict[bytes, bytes] = {}
        for number, secret in enumerate(found, start=1):
            for written in (secret, quote(secret, safe=""), _json_text(secret)):
                self._stand_ins[written.encode()] = b"[scrubbed:%d]" % number
        longest_first = sorted(self._stand_ins, key=len, reverse=True)
        self._secret = re.compile(b"|".join(map(re.escape, longest_first)) or rb"(?!)")

    def __call__(self, interaction: Interaction) -> Interaction:
        """The interaction as it may be written down."""
        request, response, tool = interaction.request, interaction.response, interaction.tool
        replace = msgspec.structs.replace
        if request is not None:
            request = replace(
                request,
                url=_CREDENTIAL.sub(r"\1[scrubbed]", self._text(request.url)),
                headers=self._headers(request.headers),
                body=self._bytes(request.body),
            )
        if response is not None:
            error = response.error
            response = replace(
                response,
                headers=self._headers(response.headers),
                chunks=self._chunks(response.chunks),
                error=None if error is None else replace(error, message=self._text(error.message)),
            )
        if tool is not None:
            tool = msgspec.json.decode(self._bytes(msgspec.json.encode(tool)), type=ToolCall)
        tags = {name: self._text(value) for name, value in interaction.tags.items()}
        return replace(interaction, request=request, response=response, tool=tool, tags=tags)

    def _headers(self, headers: Headers) -> Headers:
        return tuple(
            (name, self._text(value))
            for name, value in headers
            if name in self._names or name.startswith(self._prefixes)
        )

    def _text(self, text: str) -> str:
        return self._bytes(text.encode()).decode()

    def _bytes(self, data: bytes) -> bytes:
        return self._secret.sub(lambda match: self._stand_ins[match[0]], data)

    def _chunks(self, chunks: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
        """The chunks with stand-ins; one that replaces a cut secret stands where the secret begins."""
        matches = list(self._secret.finditer(b"".join([chunk.data for chunk in chunks])))
        if not matches:
            return chunks
        scrubbed, start = [], 0
        for chunk in chunks:
            end = start + len(chunk.data)
            scrubbed.append(Chunk(chunk.delay_ms, self._part(chunk.data, start, end, matches)))
            start = end
        return tuple(scrubbed)

    def _part(self, data: bytes, start: int, end: int, matches: list[re.Match[bytes]]) -> bytes:
        """The bytes ``start`` to ``end`` of a body, without the secrets that reach into them."""
        parts, at = [], start
        for match in matches:
            if match.end() <= start or match.start() >= end:
                continue
            parts.append(data[at - start : max(match.start(), start) - start])
            if match.start() >= start:
                parts.append(self._stand_ins[match[0]])
            at = min(match.end(), end)
        parts.append(data[at - start :])
        return b"".join(parts)


def _json_text(secret: str) -> str:
    return msgspec.json.encode(secret).decode()[1:-1]
