"""Chat Completions as it comes over the wire: typed views of decoded JSON.

The views are ``TypedDict``s: at run time they are the decoded dict itself, so no unknown field is lost and nothing is
copied. Their types say what upstreams really send (`None` and absent mean the same; ``content`` may be a list), not
what the standard promises: whoever reads a field checks it.
"""

from __future__ import annotations

from typing import Any, TypedDict


class FunctionDelta(TypedDict, total=False):
    """The function part of a tool call; ``arguments`` is an object where an upstream forgot to encode it (Q18)."""

    name: str | None
    arguments: str | dict[str, Any] | None


class ToolCallDelta(TypedDict, total=False):
    """A piece of a tool call; any of its fields may be missing, null or empty (Q01, Q09, Q10)."""

    index: int | None
    id: str | None
    type: str | None
    function: FunctionDelta | None
    custom: dict[str, Any] | None


class Delta(TypedDict, total=False):
    """What a chunk adds to one choice. ``content`` may be a list of parts (Q48)."""

    role: str | None
    content: str | list[dict[str, Any]] | None
    refusal: str | None
    reasoning_content: str | None
    reasoning: str | None
    reasoning_details: list[dict[str, Any]] | None
    tool_calls: list[ToolCallDelta] | None
    function_call: FunctionDelta | None
    annotations: list[dict[str, Any]] | None


class Choice(TypedDict, total=False):
    """One choice of a chunk (``delta``) or of a whole completion (``message``)."""

    index: int | None
    delta: Delta | None
    message: Delta | None
    finish_reason: str | None  # an open set of words (Q45)
    logprobs: dict[str, Any] | None


class ChatChunk(TypedDict, total=False):
    """One ``chat.completion.chunk``, or a whole ``chat.completion``."""

    id: str | None
    object: str | None
    created: int | None
    model: str | None
    choices: list[Choice] | None
    usage: dict[str, Any] | None
    error: dict[str, Any] | str | None
