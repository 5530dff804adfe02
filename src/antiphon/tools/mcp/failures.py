"""What went wrong with a server, in its own words and without a secret of ours."""

from __future__ import annotations

import asyncio
import http
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec

MAX_WORDS = 500
# Shorter values are words of the language rather than keys, and covering them would spoil every message.
MIN_SECRET_LENGTH = 6
# A segment of a path as long as this may well be a key: some servers are known by a URL that nobody else knows.
MIN_SECRET_SEGMENT_LENGTH = 20

_SCHEMES = frozenset({"bearer", "basic", "token"})

# Where JSON bodies of refusals keep their words: JSON-RPC, OAuth, OpenAI's shape, web frameworks.
_WORDS = ("message", "error_description", "detail", "title", "error")


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """How an exchange over HTTP failed. ``was_sent`` says whether the server may have acted on the request."""

    words: str
    status: int | None = None
    was_sent: bool = True


class Exchange:
    """What became of one request to a server: the part of it that the protocol's package does not tell."""

    def __init__(self) -> None:
        self.refusal: Refusal | None = None
        self._refused = asyncio.Event()

    def refuse(self, refusal: Refusal) -> None:
        """Note how it failed; the first time counts."""
        if self.refusal is None:
            self.refusal = refusal
            self._refused.set()

    async def refused(self) -> None:
        """Wait until it has failed."""
        await self._refused.wait()


class Answered(Exception):
    """The server answered that it will not; its words."""


class Unanswered(Exception):
    """There was no answer to a question.

    ``outcome`` is what became of it: ``none`` (it was not even looked at), ``refused``, or ``unknown``. ``is_lost``
    says whether the session is of no more use.
    """

    def __init__(self, words: str, refusal: Refusal | None, *, is_lost: bool) -> None:
        super().__init__(words)
        self.refusal = refusal
        self.outcome = _outcome(refusal)
        self.is_lost = is_lost or is_expired(refusal)


def is_expired(refusal: Refusal | None) -> bool:
    """Whether a server says that it does not know the session: with 404 (the protocol), or 400 and a word about it."""
    if refusal is None:
        return False
    return refusal.status == 404 or (refusal.status == 400 and "session" in refusal.words.lower())


def _outcome(refusal: Refusal | None) -> Literal["none", "refused", "unknown"]:
    if refusal is None:
        return "unknown"
    if not refusal.was_sent or is_expired(refusal):
        return "none"
    return "refused" if 400 <= (refusal.status or 0) < 500 and refusal.status != 408 else "unknown"


class Secrets:
    """Covers in a text whatever may be secret of how a server is reached."""

    def __init__(self, *, url: str | None, headers: Mapping[str, str], env: Mapping[str, str]) -> None:
        values = set(env.values())
        for value in headers.values():
            scheme, _, credentials = value.partition(" ")
            values.add(credentials if scheme.lower() in _SCHEMES else value)
        values |= set(_secrets_of(url)) if url else set()
        found = sorted((value for value in values if len(value) >= MIN_SECRET_LENGTH), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, found))) if found else None

    def cover(self, text: str) -> str:
        """The text with ``***`` for each of them, on one line, not longer than `MAX_WORDS`."""
        text = self._pattern.sub("***", text) if self._pattern else text
        text = " ".join(text.split())
        return text if len(text) <= MAX_WORDS else f"{text[:MAX_WORDS]}…"


def _secrets_of(url: str) -> Iterable[str]:
    with suppress(ValueError):
        parts = urlsplit(url)
        yield from (part for part in (parts.username, parts.password, parts.query) if part)
        for pair in parts.query.split("&"):
            yield pair.partition("=")[2]  # as it is written
        yield from (value for _, value in parse_qsl(parts.query))
        yield from (part for part in parts.path.split("/") if len(part) >= MIN_SECRET_SEGMENT_LENGTH)


def origin_of(url: str) -> str:
    """Scheme, host and port: what may be shown of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def words_of_body(body: bytes, content_type: str) -> str:
    """What a server says in the body of a refusal; empty if it says it in a page for people."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind.endswith("json"):
        with suppress(msgspec.DecodeError, RecursionError):
            return _words(msgspec.json.decode(body))
    return body.decode("utf-8", "replace").strip() if kind == "text/plain" else ""


def _words(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        for key in ("error", *_WORDS):
            if isinstance(value.get(key), str | dict) and (found := _words(value[key])):
                return found if key != "error" or "error_description" not in value else value["error_description"]
    return ""


def in_words(error: BaseException, refusal: Refusal | None) -> str:
    """What went wrong, as the end of a sentence that begins with the server: the refusal if there is one."""
    if refusal is None:
        return f"cannot be used: {readable(error).rstrip('.')}."
    if (refusal.status or 0) < 400:
        return f"cannot be used: {refusal.words.rstrip('.')}."
    phrase = _PHRASES.get(refusal.status or 0, "")
    said = "" if refusal.words in ("", phrase) else f": {refusal.words.rstrip('.')}"
    hint = " Check its authorization." if refusal.status in (401, 403) else ""
    return f"answered {refusal.status} {phrase}".rstrip() + f"{said}.{hint}"


def readable(error: BaseException) -> str:
    """An exception in words, also where it is several or has none."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"there is no command {str(error.filename)!r}"
    words = str(error).partition("\n")[0] or type(error).__name__
    return "its answer is not MCP" if words.startswith("Failed to parse") else words


_PHRASES = {status.value: status.phrase for status in http.HTTPStatus}
