"""A Responses request becomes the body of a Chat Completions request, always a streamed one."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.dialects import Dialect
from antiphon.dialects.requests import EXTRA_PARAMETERS, ChatRules
from antiphon.translation.call import ChatCall
from antiphon.translation.messages import Transcript
from antiphon.translation.notes import Notes
from antiphon.translation.roles import ChatMessage
from antiphon.translation.tools import Offer, choose, offer_tools
from antiphon.wire.chat_requests import CreateChatCompletion
from antiphon.wire.items import Item, PlainText
from antiphon.wire.parameters import PARAMETERS
from antiphon.wire.responses import CreateResponse, JsonObject, JsonSchema, TextOptions

# Same name, same meaning in both APIs.
_SHARED = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_HINTS = ("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier")
# Settled by others (server, loop, store), or by the translation below.
_SETTLED = PARAMETERS.keys()


def to_chat(
    request: CreateResponse,
    items: list[Item],
    *,
    model: str,
    dialect: Dialect,
    upstream: str | None = None,
) -> ChatCall:
    """The chat request that asks ``model`` what ``request`` asks, with ``items`` as all it must see, oldest first.

    ``upstream`` is the configured name of who is asked: opaque reasoning goes back only to who gave it.
    """
    rules = dialect.requests
    notes = Notes()
    offer = offer_tools(request.tools or [], items, rules=rules, notes=notes)
    transcript = Transcript(offer, rules=rules, notes=notes, upstream=upstream)
    if request.instructions:
        transcript.add_instructions(request.instructions)
    answer_format, told = response_format(request.text, rules, notes)
    if told:
        transcript.add_instructions(told)
    for item in items:
        transcript.add(item)
    messages = transcript.messages()
    settings = Settings(rules, notes)
    set_tools(settings, request, request.tool_choice, offer)
    _set_sampling(settings, request)
    settings.set("response_format", answer_format)
    _set_output(settings, request, rules)
    _disclose_unserved(request, rules, notes)
    return streamed(model, messages, settings, offer)


def is_hint(name: str, value: object) -> bool:
    """Whether a parameter only helps an operator or a cache: an answer without it is the same answer."""
    return name in _HINTS and (name != "service_tier" or value in ("auto", "default"))


class Settings:
    """Parameters that the client set and the upstream takes."""

    def __init__(self, rules: ChatRules, notes: Notes) -> None:
        self.rules = rules
        self.notes = notes
        self.body: dict[str, Any] = {}

    def set(self, name: str, value: Any, *, matters: bool = True) -> None:
        """Set it if it has a value; disclose it if it ``matters`` and cannot be set."""
        if value is None or value == []:
            return
        if name in self.rules.parameters:
            self.body[name] = value
        elif matters:
            self.notes.add("Q106", seen=f"{name} {value}", done="left out: this upstream refuses it")


def set_tools(
    settings: Settings,
    request: CreateResponse | CreateChatCompletion,
    tool_choice: str | dict[str, Any] | None,
    offer: Offer,
) -> None:
    """The tools that are offered, and how they may be called; ``tool_choice`` in the shape of the Responses API."""
    choice = choose(tool_choice, offer, rules=settings.rules, notes=settings.notes)
    if offer.functions:
        settings.body["tools"] = list(offer.functions.values())
        settings.set("tool_choice", choice)
        parallel = request.parallel_tool_calls
        settings.set("parallel_tool_calls", parallel, matters=parallel is False)  # true is the default


def streamed(model: str, messages: list[ChatMessage], settings: Settings, offer: Offer) -> ChatCall:
    """The whole request, with what must be undone in its answer."""
    body = {"model": model, "messages": messages, **settings.body, "stream": True}
    if settings.rules.include_usage:
        body["stream_options"] = {"include_usage": True}
    return ChatCall(
        body=body,
        offered={name: offer.schemas[name] for name in offer.functions},
        diagnostics=settings.notes.diagnostics(),
        renamed=offer.renamed(),
    )


def _set_sampling(settings: Settings, request: CreateResponse) -> None:
    for name in _SHARED:
        value, written = getattr(request, name), request.raw.get(name)
        settings.set(name, written if written == value else value)  # a 0 that was written 0 is not sent as 0.0
    for name in _HINTS:
        value = getattr(request, name)
        settings.set(name, value, matters=not is_hint(name, value))
    for name in sorted(EXTRA_PARAMETERS):
        settings.set(name, request.raw.get(name))
    if request.reasoning is not None:
        settings.set("reasoning_effort", request.reasoning.effort)


def _set_output(settings: Settings, request: CreateResponse, rules: ChatRules) -> None:
    if request.max_output_tokens is not None:
        settings.body[rules.max_tokens_key] = request.max_output_tokens
    if request.text is not None:
        settings.set("verbosity", request.text.verbosity)
    if request.top_logprobs or "message.output_text.logprobs" in (request.include or []):
        settings.set("logprobs", True)
        settings.set("top_logprobs", request.top_logprobs)


def response_format(
    text: TextOptions | None, rules: ChatRules, notes: Notes
) -> tuple[dict[str, Any] | None, str | None]:
    """The chat ``response_format``, and what the model must be told because the upstream cannot enforce it."""
    wanted = text.format if text is not None else None
    if wanted is None or isinstance(wanted, PlainText):
        return None, None
    if rules.response_format == "json_schema":
        return _enforced(wanted), None
    if rules.response_format == "json_object" and isinstance(wanted, JsonObject):
        return _enforced(wanted), None
    notes.add("Q106", seen="a format for the answer", done="told to the model: this upstream cannot enforce it")
    return ({"type": "json_object"} if rules.response_format == "json_object" else None), _how_to_answer(wanted)


def _enforced(wanted: JsonObject | JsonSchema) -> dict[str, Any]:
    if isinstance(wanted, JsonObject):
        return {"type": "json_object"}
    named = {"name": wanted.name, "description": wanted.description, "schema": wanted.schema, "strict": wanted.strict}
    return {"type": "json_schema", "json_schema": {key: value for key, value in named.items() if value is not None}}


def _how_to_answer(wanted: JsonObject | JsonSchema) -> str:
    how = "Answer with one JSON object and nothing else."
    if isinstance(wanted, JsonObject):
        return how
    return f"{how} It must fit this JSON Schema:\n\n{msgspec.json.encode(wanted.schema).decode()}"


def _disclose_unserved(request: CreateResponse, rules: ChatRules, notes: Notes) -> None:
    for name in sorted(request.raw.keys() - _SETTLED - rules.parameters - EXTRA_PARAMETERS):
        notes.add("unknown_parameter", seen=name, done="not sent: chat upstreams refuse what they do not know")
