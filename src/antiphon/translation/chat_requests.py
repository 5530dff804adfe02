"""A Chat Completions request becomes one that a stricter upstream takes: same API, same rules as for Responses.

Nothing goes through Responses items, which have no place for several things a chat message may hold (names, parts of
unknown types, fields of calls). Messages join the `Transcript` as they are; tools, choices and formats are brought to
the flat shape of the Responses API, which says the same, so that one set of rules serves both.
"""

from __future__ import annotations

from typing import Any

from antiphon.dialects import Dialect
from antiphon.dialects.requests import EXTRA_PARAMETERS
from antiphon.translation.call import ChatCall
from antiphon.translation.chat import Settings, is_hint, response_format, set_tools, streamed
from antiphon.translation.messages import Transcript
from antiphon.translation.notes import Notes
from antiphon.translation.tools import offer_tools
from antiphon.wire.chat_requests import CreateChatCompletion
from antiphon.wire.items import PlainText
from antiphon.wire.responses import Item, JsonObject, JsonSchema, TextOptions

# Settled by others (server, store, rendering), or by the translation below.
_SETTLED = frozenset(
    {
        *("model", "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format", "n"),
        *("max_tokens", "max_completion_tokens", "stream", "stream_options", "store", "metadata", "modalities"),
    }
)
_KNOWN = frozenset(CreateChatCompletion.__struct_fields__) | EXTRA_PARAMETERS


def chat_to_chat(
    request: CreateChatCompletion,
    items: list[Item],
    *,
    model: str,
    dialect: Dialect,
    upstream: str | None = None,
) -> ChatCall:
    """The chat request that asks ``model`` what ``request`` asks, in the form that this upstream takes.

    ``items`` are what the run itself has added since. See `antiphon.translation.chat.to_chat` for the others.
    """
    rules = dialect.requests
    notes = Notes()
    offer = offer_tools([_flat_tool(tool) for tool in request.tools or []], items, rules=rules, notes=notes)
    transcript = Transcript(offer, rules=rules, notes=notes, upstream=upstream)
    answer_format, told = response_format(_text_options(request), rules, notes)
    if told:
        transcript.add_instructions(told)
    for message in request.messages:
        transcript.add_message(message)
    for item in items:
        transcript.add(item)
    messages = transcript.messages()
    settings = Settings(rules, notes)
    set_tools(settings, request, _flat_choice(request.tool_choice), offer)
    settings.set("response_format", answer_format)
    _set_others(settings, request)
    if request.n is not None and request.n > 1:
        settings.body["n"] = request.n
    return streamed(model, messages, settings, offer)


def _set_others(settings: Settings, request: CreateChatCompletion) -> None:
    """The parameters that are the same in both requests, with their values as they were written."""
    limit = request.max_completion_tokens if request.max_completion_tokens is not None else request.max_tokens
    if limit is not None:
        settings.body[settings.rules.max_tokens_key] = limit
    for name, value in request.raw.items():
        if name in _SETTLED or value is None:
            continue
        if name in _KNOWN or name in settings.rules.parameters:
            settings.set(name, value, matters=not is_hint(name, value) and value is not False)
        else:
            settings.notes.add(
                "unknown_parameter", seen=name, done="not sent: chat upstreams refuse what they do not know"
            )


# --- the flat shapes of the Responses API ----------------------------------------------------


def _flat_tool(tool: dict[str, Any]) -> dict[str, Any]:
    kind = tool["type"]
    flat = {"type": kind, **tool[kind]}
    form = flat.get("format")
    if kind == "custom" and form and form["type"] == "grammar":
        flat["format"] = {"type": "grammar", **form["grammar"]}
    return flat


def _flat_choice(choice: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    if not isinstance(choice, dict):
        return choice
    kind = choice["type"]
    if kind != "allowed_tools":
        return {"type": kind, **choice[kind]}
    allowed = choice[kind]
    return {"type": kind, "mode": allowed["mode"], "tools": [_flat_choice(tool) for tool in allowed["tools"]]}


def _text_options(request: CreateChatCompletion) -> TextOptions | None:
    match request.response_format:
        case None:
            return None
        case {"type": "json_schema", "json_schema": dict(wanted)}:
            return TextOptions(
                format=JsonSchema(
                    name=wanted["name"],
                    schema=wanted.get("schema") or {},
                    description=wanted.get("description"),
                    strict=wanted.get("strict"),
                )
            )
        case {"type": "json_object"}:
            return TextOptions(format=JsonObject())
    return TextOptions(format=PlainText())
