"""An upstream's way of saying no, in any of its shapes, as one failure.

`read_error` takes what there is (an HTTP status, headers, a body; inside a stream only an object) and finds three
things: the words (`SHAPES`), the kind of failure (`PHRASES`, `CODES`, the status) and how long to wait
(`antiphon.assembly.retry`). The words decide before the status, because gateways answer 400 and 500 to everything;
a number in a body is never taken for an HTTP status of ours (Q89: MiniMax's 1008 is not a server error).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from antiphon.assembly.retry import retry_after_s
from antiphon.errors import (
    AuthenticationFailed,
    ContextTooLong,
    ProviderError,
    RateLimited,
    RequestRejected,
    Unavailable,
)
from antiphon.events import ErrorInfo

MAX_MESSAGE_CHARS = 500
_MAX_PAGE_BYTES = 8 * 1024  # of a page: its words stand near its beginning
NO_WORDS = "The upstream sent an error without words."

Headers = Iterable[tuple[str, str]] | Mapping[str, str]


class UpstreamFailure(NamedTuple):
    """A failure as data, and whether asking again may help."""

    error: ErrorInfo
    retryable: bool


class Words(NamedTuple):
    """What an error body says: its message, and every code or type it gives, most telling first."""

    message: str
    codes: tuple[str, ...] = ()


class Kind(NamedTuple):
    """One kind of failure: the class whose code it gets, and whether asking again may help."""

    error: type[ProviderError]
    retryable: bool


_AUTH = Kind(AuthenticationFailed, False)
_RATE = Kind(RateLimited, True)
_QUOTA = Kind(RateLimited, False)  # out of money: waiting does not help
_CONTEXT = Kind(ContextTooLong, False)
_REJECTED = Kind(RequestRejected, False)
_UNAVAILABLE = Kind(Unavailable, True)
_UNKNOWN = Kind(ProviderError, True)

# --- the kind --------------------------------------------------------------------------------

# What is told in words alone, in order: the first phrase that is found decides. A limit of tokens per minute speaks
# as an overflow does, and nobody must compact a conversation for it: what is to be waited for stands first (Q91).
PHRASES: tuple[tuple[re.Pattern[str], Kind], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (r"exceeded your current quota", _QUOTA),  # OpenAI, Gemini
        (r"insufficient (balance|credit|quota|funds)", _QUOTA),  # DeepSeek, MiniMax
        (r"too many (requests|tokens, please wait)", _RATE),  # Bedrock
        (r"rate.?limit", _RATE),
        (r"tokens per (minute|min|day|hour)", _RATE),  # OpenAI, Groq
        (r"throttl", _RATE),  # AWS, Azure
        (r"maximum context length", _CONTEXT),  # OpenAI, vLLM, Mistral
        (r"exceed.{0,40}context (window|size|length|limit)", _CONTEXT),  # llama.cpp, Anthropic
        (r"context (window|size|length).{0,40}exceed", _CONTEXT),  # OpenAI Responses, LM Studio
        (r"prompt is too long", _CONTEXT),  # Anthropic
        (r"input is too long", _CONTEXT),  # Bedrock
        (r"range of input length should be", _CONTEXT),  # DashScope
        (r"exceeds the maximum allowed input length", _CONTEXT),  # Poolside
        (r"input token count.{0,40}exceeds the maximum", _CONTEXT),  # Gemini
        (r"(reduce|shorten) the length of the (messages|prompt|input)", _CONTEXT),  # OpenAI, Groq
        (r"maximum prompt length is \d+", _CONTEXT),  # xAI
        (r"longer than the maximum model length", _CONTEXT),  # vLLM
    )
)

# An upstream's own word, in lower case -> what it is.
CODES: dict[str, Kind] = {
    "context_length_exceeded": _CONTEXT,
    "exceed_context_size_error": _CONTEXT,
    "model_max_prompt_tokens_exceeded": _CONTEXT,
    "invalid_api_key": _AUTH,
    "incorrect_api_key": _AUTH,
    "authentication_error": _AUTH,
    "invalid_authentication_error": _AUTH,
    "unauthorized": _AUTH,
    "unauthenticated": _AUTH,
    "permission_error": _AUTH,
    "permission_denied": _AUTH,
    "insufficient_quota": _QUOTA,
    "billing_hard_limit_reached": _QUOTA,
    "insufficient_balance": _QUOTA,
    "insufficient_credits": _QUOTA,
    "payment_required": _QUOTA,
    "exceeded_current_quota_error": _QUOTA,
    "rate_limit_exceeded": _RATE,
    "rate_limit_error": _RATE,
    "rate_limited": _RATE,
    "rate_limit_reached_error": _RATE,
    "too_many_requests": _RATE,
    "resource_exhausted": _RATE,
    "throttling": _RATE,
    "throttlingexception": _RATE,
    "tokens": _RATE,  # OpenAI's type of a limit of tokens per minute
    "requests": _RATE,
    "overloaded_error": _UNAVAILABLE,
    "overloaded": _UNAVAILABLE,
    "server_error": _UNAVAILABLE,
    "internal_error": _UNAVAILABLE,
    "internal_server_error": _UNAVAILABLE,
    "internalservererror": _UNAVAILABLE,
    "api_error": _UNAVAILABLE,
    "service_unavailable": _UNAVAILABLE,
    "unavailable": _UNAVAILABLE,
    "engine_overloaded_error": _UNAVAILABLE,
    "timeout": _UNAVAILABLE,
    "bad_gateway": _UNAVAILABLE,
    "invalid_request_error": _REJECTED,
    "invalid_request": _REJECTED,
    "invalid_argument": _REJECTED,
    "badrequesterror": _REJECTED,
    "bad_request": _REJECTED,
    "model_not_found": _REJECTED,
    "not_found_error": _REJECTED,
    "tool_use_failed": _REJECTED,
    "content_policy_violation": _REJECTED,
    "content_filter": _REJECTED,
}

STATUSES: dict[int, Kind] = {
    401: _AUTH,
    402: _QUOTA,
    403: _AUTH,
    408: _UNAVAILABLE,
    409: Kind(RequestRejected, True),
    425: _UNAVAILABLE,
    429: _RATE,
    498: _RATE,  # Groq: flex tier at capacity
}


def _kind(status: int | None, words: Words) -> Kind:
    named = [CODES[code.lower()] for code in words.codes if code.lower() in CODES]
    if _QUOTA in named:
        return _QUOTA
    for pattern, kind in PHRASES:
        if pattern.search(words.message[:_MAX_PAGE_BYTES]):
            return kind
    if _CONTEXT in named:
        return _CONTEXT
    # Inside a stream the HTTP status is 200 for everybody; a code that looks like one says what it would have been.
    for number in (status, *(int(code) for code in words.codes if re.fullmatch(r"[45]\d\d", code))):
        if number is None or number < 400:
            continue
        by_status = STATUSES.get(number) or (_UNAVAILABLE if number >= 500 else _REJECTED)
        return named[0] if named and by_status is _REJECTED else by_status
    return named[0] if named else _UNKNOWN


# --- the words -------------------------------------------------------------------------------


def _from_error_object(body: dict[str, Any]) -> Words | None:
    error = body.get("error")
    if not isinstance(error, dict) or not error:
        return None
    nested = error.get("error")
    if isinstance(nested, dict) and nested:
        return _from_error_object(error)
    return _plain(error)


def _from_error_text(body: dict[str, Any]) -> Words | None:
    error = body.get("error")
    if not isinstance(error, str) or not error:
        return None
    more = _plain(body)
    return Words(error if not more.message or more.message == error else f"{error}: {more.message}", more.codes)


def _from_detail(body: dict[str, Any]) -> Words | None:
    detail = body.get("detail")
    if isinstance(detail, list):
        parts = [_validation(part) for part in detail if isinstance(part, dict)]
        return Words("; ".join(part for part in parts if part) or "invalid request", ("invalid_request",))
    if isinstance(detail, dict) and detail:
        return _from_error_object(detail) or _plain(detail)
    return Words(detail, _codes(body)) if isinstance(detail, str) and detail else None


def _from_base_resp(body: dict[str, Any]) -> Words | None:
    base = body.get("base_resp")
    if not isinstance(base, dict) or not base.get("status_code"):
        return None
    return Words(_string(base.get("status_msg")) or "error", (str(base["status_code"]),))


def _from_errors(body: dict[str, Any]) -> Words | None:
    listed = body.get("errors")
    first = listed[0] if isinstance(listed, list) and listed else None
    if isinstance(first, dict):
        return _plain(first)
    return Words(first) if isinstance(first, str) and first else None


def _from_top_level(body: dict[str, Any]) -> Words | None:
    words = _plain(body)
    return words if words.message or words.codes else None


# The first shape that finds words wins (Q83-Q89).
SHAPES: tuple[Callable[[dict[str, Any]], Words | None], ...] = (
    _from_error_object,  # OpenAI, OpenRouter, Groq, Anthropic
    _from_error_text,  # Ollama, Hugging Face
    _from_detail,  # FastAPI, vLLM proxies
    _from_base_resp,  # MiniMax
    _from_errors,  # Cloudflare
    _from_top_level,  # Mistral: {"object": "error", "message": …, "code": …}
)


def _plain(error: dict[str, Any]) -> Words:
    names = ("message", "msg", "error_message", "error_msg", "detail", "title")
    message = next((text for name in names if (text := _string(error.get(name)))), "")
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if isinstance(raw, str) and raw and raw not in message:
        message = f"{message}: {raw}" if message else raw  # OpenRouter: what the provider behind it said
    return Words(message, _codes(error))


def _codes(error: dict[str, Any]) -> tuple[str, ...]:
    fields = (error.get(name) for name in ("code", "type", "status", "status_code"))
    return tuple(str(code) for code in fields if isinstance(code, str | int) and code not in ("", "error", True, False))


def _validation(part: dict[str, Any]) -> str:
    place = part.get("loc")
    where = ".".join(str(step) for step in place) if isinstance(place, list) else ""
    return ": ".join(text for text in (where, _string(part.get("msg"))) if text)


def _string(seen: object) -> str:
    return seen if isinstance(seen, str) else ""


def _words(body: object) -> Words:
    if isinstance(body, list):
        body = next((entry for entry in body if isinstance(entry, dict)), "")  # Gemini: [{"error": {…}}] (Q88)
    if isinstance(body, dict):
        return next((words for shape in SHAPES if (words := shape(body)) is not None), Words(""))
    return Words(_readable(body) if isinstance(body, str) else "")


def _parsed(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return body[:_MAX_PAGE_BYTES].decode("utf-8", "replace")


# --- what may be shown -----------------------------------------------------------------------

_HTML = re.compile(r"<(!doctype|html|head|body|title|h1|p|div|center)\b", re.IGNORECASE)
_TITLE = re.compile(r"<(title|h1)\b[^>]*>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_NOT_TEXT = re.compile(r"<(script|style)\b.*?(</\1>|\Z)|<!--.*?(-->|\Z)|<[^>]*(>|\Z)", re.IGNORECASE | re.DOTALL)

# Error pages show the client's address, error messages the key that was refused (Q86).
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b"), "[address]"),
    (re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{1,4}:){3,7}:?[0-9a-fA-F]{0,4}(?![\w:])"), "[address]"),
    (re.compile(r"\b(?:[0-9a-fA-F]{1,4}:){1,6}:(?:[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4}){0,5})?"), "[address]"),
    (re.compile(r"\b(sk|pk|gsk|xai|key|hf)[-_][A-Za-z0-9_*.-]{8,}"), "[key]"),
    (re.compile(r"\b(Bearer)\s+\S+", re.IGNORECASE), "Bearer [key]"),
)


def _readable(text: str) -> str:
    """The words of a text or HTML body."""
    if _HTML.search(text[:2048]):
        title = _TITLE.search(text)
        text = _NOT_TEXT.sub(" ", title.group(2) if title else text)
    return text


def _presentable(message: str) -> str:
    """A message that may go into a log: one line, no addresses, no keys, not long."""
    message = " ".join(message[: 8 * MAX_MESSAGE_CHARS].split())
    for pattern, instead in _SECRETS:
        message = pattern.sub(instead, message)
    return message if len(message) <= MAX_MESSAGE_CHARS else message[: MAX_MESSAGE_CHARS - 1] + "…"


# --- together --------------------------------------------------------------------------------


def read_error(status: int | None, headers: Headers, body: bytes | object) -> UpstreamFailure:
    """What an upstream's error means, from all that there is of it.

    ``status`` is None inside a stream. Header names may be in any case. ``body`` is bytes, or decoded JSON.
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    fields = {name.lower(): value for name, value in pairs}
    if isinstance(body, bytes | bytearray | memoryview):
        body = _parsed(bytes(body))
    words = _words(body)
    kind = _kind(status, words)
    message = _presentable(words.message) or _default_message(status)
    wait_s = retry_after_s(fields, body, words.message)
    code = next((code for code in words.codes if not code.isdecimal()), next(iter(words.codes), None))
    return UpstreamFailure(
        ErrorInfo(
            code=kind.error.code,
            message=message,
            status=status,
            upstream_code=code[:100] if code else None,
            retry_after_s=wait_s,
        ),
        # Gemini calls a limit per minute a quota too, and says when it is over.
        kind.retryable or (kind is _QUOTA and wait_s is not None),
    )


def find_error(chunk: dict[str, Any]) -> UpstreamFailure | None:
    """The error a chunk carries, if it carries one: openly, or instead of choices (Q52, Q83, Q84, Q89)."""
    if chunk.get("error"):
        return read_error(None, (), chunk)
    vendor = chunk.get("x_groq")
    if isinstance(vendor, dict) and vendor.get("error"):
        return read_error(None, (), vendor)
    if isinstance(chunk.get("choices"), list):
        return None
    base = chunk.get("base_resp")
    is_error = (
        (isinstance(base, dict) and base.get("status_code"))
        or "error" in (chunk.get("object"), chunk.get("type"))
        or chunk.get("detail")
        or (chunk.get("message") and (chunk.get("code") or chunk.get("status")))
    )
    return read_error(None, (), chunk) if is_error else None


def _default_message(status: int | None) -> str:
    return NO_WORDS if status is None else f"The upstream answered {status}."
