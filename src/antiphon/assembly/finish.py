"""Why an answer ended: the upstream's word for it, and ours.

A finish reason is provisional until the stream ends (Q44), and what it says about tool calls is never trusted: calls
that are whole are calls, whatever the word (Q37). The words themselves are an open set (Q45): what the table does not
know is kept as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

# The upstream's word in lower case -> ours. ``error`` becomes a failed turn.
FINISH_REASONS: dict[str, str] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "guardrail_intervened": "content_filter",
    "error": "error",
    "network_error": "error",
    "malformed_function_call": "error",
}

# The model was stopped before it was done: what was still open is cut.
CUT = frozenset({"length", "content_filter", "error"})


def normalise(word: str | None, extra: Mapping[str, str]) -> str | None:
    """Our word for the upstream's; its own if there is none; None if it gave none."""
    if word is None:
        return None
    return extra.get(word) or FINISH_REASONS.get(word.lower(), word)


def decide(word: str | None, *, whole_calls: int, any_calls: bool) -> str:
    """The finish reason of a choice that ended: ``word`` is already ours, or None if the upstream gave none."""
    if whole_calls and word in (None, "stop"):
        return "tool_calls"
    if word == "tool_calls" and not any_calls:
        return "stop"
    return word or "stop"
