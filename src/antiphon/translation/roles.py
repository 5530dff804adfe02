"""Which roles may stand where: templates of open models raise on what they did not foresee (Q102)."""

from __future__ import annotations

from typing import Any

from antiphon.dialects.requests import ChatRules
from antiphon.translation.content import ChatPart, collapsed
from antiphon.translation.notes import Notes

ChatMessage = dict[str, Any]

_SYSTEM_ROLES = ("system", "developer")


def arrange_roles(messages: list[ChatMessage], rules: ChatRules, notes: Notes) -> list[ChatMessage]:
    """The messages with those of the system, and neighbours of the user, as the upstream wants them."""
    if rules.system_messages != "keep":
        messages = _place_system(messages, rules, notes)
    if rules.merge_users:
        messages = _merge_users(messages)
    return messages


def _place_system(messages: list[ChatMessage], rules: ChatRules, notes: Notes) -> list[ChatMessage]:
    head = next((n for n, message in enumerate(messages) if not _is_system(message)), len(messages))
    leading, rest = messages[:head], messages[head:]
    later = [message for message in rest if _is_system(message)]
    if later and rules.system_messages == "hoist":
        notes.add("Q102", seen="a system message in mid-conversation", done="moved to the head")
        leading = leading + later
        rest = [message for message in rest if not _is_system(message)]
    elif later and rules.system_messages == "demote":
        notes.add("Q102", seen="a system message in mid-conversation", done="sent as a user message")
        rest = [{**message, "role": "user"} if _is_system(message) else message for message in rest]
    return [*_merged(leading), *rest]


def _merge_users(messages: list[ChatMessage]) -> list[ChatMessage]:
    merged: list[ChatMessage] = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"] == "user":
            merged[-1:] = _merged([merged[-1], message])
        else:
            merged.append(message)
    return merged


def _merged(messages: list[ChatMessage]) -> list[ChatMessage]:
    if len(messages) < 2:
        return messages
    parts = [part for message in messages for part in _parts(message["content"])]
    return [{"role": messages[0]["role"], "content": collapsed(parts, joint="\n\n")}]


def _parts(content: str | list[ChatPart]) -> list[ChatPart]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _is_system(message: ChatMessage) -> bool:
    return message["role"] in _SYSTEM_ROLES
