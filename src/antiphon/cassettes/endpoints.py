"""Which operation of which API an interaction is about, whatever the host and the path before it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from antiphon.cassettes.format import Interaction, RecordedResponse

# What a path ends with -> the operation. The longer ending stands first: "/chat/completions" also ends "/completions".
_ENDINGS = (
    ("/chat/completions", "/chat/completions"),
    ("/completions", "/completions"),
    ("/responses", "/responses"),
    ("/messages", "/messages"),
    ("/embeddings", "/embeddings"),
    ("/models", "/models"),
    (":generateContent", "generateContent"),
    (":streamGenerateContent", "streamGenerateContent"),
    ("/generate_content", "generateContent"),  # OGX's own names for Gemini calls
    ("/generate_content_stream", "streamGenerateContent"),
    ("/converse", "/converse"),
    ("/converse-stream", "/converse-stream"),
    ("/invoke", "/invoke"),
    ("/invoke-with-response-stream", "/invoke-with-response-stream"),
)

# Where the request is not known, the answer tells: what its first object says of itself.
_BY_OBJECT = {
    "chat.completion": "/chat/completions",
    "chat.completion.chunk": "/chat/completions",
    "text_completion": "/completions",
    "response": "/responses",
}
_BY_TYPE = {"message": "/messages", "message_start": "/messages", "error": ""}
_BY_KEY = (
    ("choices", "/chat/completions"),
    ("candidates", "generateContent"),
    ("embeddings", "/embeddings"),
)
_FIRST_OBJECT = re.compile(rb"\s*(?:data:\s*)?(\{.*)", re.DOTALL)


def endpoint(interaction: Interaction) -> str:
    """The operation: ``/chat/completions``, ``/responses``, ``/messages``, ``generateContent`` … or else the path.

    A tool call's is its name; a log without a request is known by what it holds, or is ``""``.
    """
    if interaction.tool is not None:
        return interaction.tool.name
    if interaction.request is not None:
        return operation(interaction.request.url)
    return _by_content(interaction.response.body if interaction.response else b"")


def operation(url: str) -> str:
    """The operation that a URL names, or its path."""
    path = urlsplit(url).path.rstrip("/")
    return next((name for ending, name in _ENDINGS if path.endswith(ending)), path)


def base_url(url: str) -> str:
    """What stands before the operation: ``https://api.openai.com/v1``."""
    bare = url.partition("?")[0].rstrip("/")
    return next((bare.removesuffix(ending) for ending, _ in _ENDINGS if bare.endswith(ending)), bare)


# --- streams ---------------------------------------------------------------------------------

EVENT_STREAM = "text/event-stream"
JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/stream+json")
AWS_EVENT_STREAM = "application/vnd.amazon.eventstream"

_EVENT_STREAM_START = re.compile(rb"\s*(?:data|event|id|retry)?:")


def media_type(response: RecordedResponse) -> str:
    """The content-type without parameters; where a recording has no headers, what the body looks like, or ``""``."""
    named = (response.header("content-type") or "").partition(";")[0].strip().lower()
    if named:
        return named
    start = response.chunks[0].data[:100] if response.chunks else b""
    if _EVENT_STREAM_START.match(start):
        return EVENT_STREAM
    return "application/json" if start.lstrip()[:1] in (b"{", b"[") and start else ""


def is_stream(response: RecordedResponse) -> bool:
    """Whether the answer came as a stream of events."""
    return media_type(response) in (EVENT_STREAM, AWS_EVENT_STREAM, *JSON_LINES)


# --- logs without a request ------------------------------------------------------------------


def _by_content(body: bytes) -> str:
    first = _first_object(body)
    for name, table in (("object", _BY_OBJECT), ("type", _BY_TYPE)):
        found = table.get(str(first.get(name)))
        if found is not None:
            return found
    if str(first.get("type")).startswith("response."):
        return "/responses"
    if first.get("object") == "list" and b'"embedding"' in body[:1000]:
        return "/embeddings"
    return next((name for key, name in _BY_KEY if key in first), "")


def _first_object(body: bytes) -> dict[str, Any]:
    """The first JSON object of a body or of an event stream; empty where there is none."""
    texts = [body] if body.lstrip()[:1] == b"{" else [line for line in body.split(b"\n") if line.startswith(b"data:")]
    for text in texts:
        match = _FIRST_OBJECT.match(text)
        if match is None:
            continue
        try:
            value = msgspec.json.decode(match[1])
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if isinstance(value, dict):
            return value
    return {}
