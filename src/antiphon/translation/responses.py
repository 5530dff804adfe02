"""A request for an upstream that speaks the Responses API itself: always streamed, and kept by nobody there.

Items go as items, without ids that only we know, and the past goes whole: an upstream that stored it would answer for
another owner's. What its reasoning was sealed in is asked for, so that it can be handed back with the next turn.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from msgspec.structs import replace

from antiphon.dialects import Dialect
from antiphon.dialects.requests import EXTRA_PARAMETERS, ChatRules
from antiphon.translation.call import ChatCall
from antiphon.translation.chat import Settings, is_hint, response_format
from antiphon.translation.chat_requests import _flat_choice, _flat_tool, _text_options
from antiphon.translation.notes import Notes
from antiphon.translation.response_input import ResponseInput, is_run_there
from antiphon.translation.tools import Offer, choose, offer_tools
from antiphon.wire.chat_requests import CreateChatCompletion
from antiphon.wire.items import tools_of
from antiphon.wire.parameters import PARAMETERS
from antiphon.wire.responses import CreateResponse, Item, TextOptions

SEALED_REASONING = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"

# Parameters of chat that the Responses API does not have: sent only where a dialect says that they are taken.
_OF_CHAT = EXTRA_PARAMETERS | {"presence_penalty", "frequency_penalty"}
# In both APIs, with the same meaning; the last ones change no answer.
_SHARED = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "top_logprobs")
_HINTS = ("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier")
# What clients may see of tools that the upstream runs.
_INCLUDES_OF_TOOLS = frozenset(
    {"web_search_call.results", "web_search_call.action.sources", "code_interpreter_call.outputs"}
)
# What of a chat request is settled elsewhere, or below.
_SETTLED_OF_CHAT = frozenset(
    {
        *("model", "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format", "n", "logprobs"),
        *("max_tokens", "max_completion_tokens", "stream", "stream_options", "store", "metadata", "modalities"),
        *("reasoning_effort", "verbosity"),
    }
)


def to_responses(
    request: CreateResponse | CreateChatCompletion,
    items: list[Item],
    *,
    model: str,
    dialect: Dialect,
    upstream: str | None = None,
) -> ChatCall:
    """The request that asks ``model`` what ``request`` asks, with ``items`` as all it must see, oldest first.

    ``upstream`` is the configured name of who is asked: sealed reasoning goes back only to who sealed it.
    """
    rules = dialect.requests
    notes = Notes()
    asked = _asked_in_chat(request) if isinstance(request, CreateChatCompletion) else _asked(request)
    run_there = [tool for tool in asked.tools if is_run_there(tool["type"])] if rules.responses == "full" else []
    asked = asked._replace(tools=[tool for tool in asked.tools if tool not in run_there])
    offer = offer_tools(asked.tools, items, rules=rules, notes=notes)
    freeform = _freeform([*asked.tools, *(tool for item in items for tool in tools_of(item))], offer, rules)
    said = ResponseInput(offer, rules=rules, notes=notes, upstream=upstream, freeform=frozenset(freeform))
    settings = Settings(replace(rules, refuses=rules.refuses | (_OF_CHAT - rules.takes)), notes)
    answer_format, told = response_format(asked.text, rules, notes)
    if isinstance(request, CreateChatCompletion):
        for message in request.messages:
            said.add_message(message)
        _set_of_chat(settings, request)
    else:
        _set_of_response(settings, request)
    for item in items:
        said.add(item)
    own_choice = asked.tool_choice if isinstance(asked.tool_choice, dict) else {}
    if run_there and is_run_there(str(own_choice.get("type"))):
        choice: str | dict[str, Any] | None = own_choice
    else:
        choice = choose(asked.tool_choice, offer, rules=rules, notes=notes)
    _set_tools(settings, offer, freeform, choice, request.parallel_tool_calls, run_there)
    _set_text(settings, answer_format, asked.verbosity)
    _set_includes(settings, asked.logprobs, run_there, request)
    if instructions := "\n\n".join(filter(None, (asked.instructions, told))):
        settings.body["instructions"] = instructions
    body = {"model": model, "input": said.items(), **settings.body, "stream": True, "store": False}
    return ChatCall(
        body=body,
        offered={name: offer.schemas[name] for name in offer.functions if name not in freeform},
        diagnostics=notes.diagnostics(),
        renamed={name: tool for name, tool in offer.renamed().items() if name not in freeform},
    )


class _Asked(NamedTuple):
    """What both kinds of requests ask for, in the shapes of the Responses API."""

    tools: list[dict[str, Any]]
    tool_choice: str | dict[str, Any] | None
    text: TextOptions | None
    verbosity: str | None
    logprobs: bool
    instructions: str | None = None


def _asked(request: CreateResponse) -> _Asked:
    return _Asked(
        tools=request.tools or [],
        tool_choice=request.tool_choice,
        text=request.text,
        verbosity=request.text.verbosity if request.text is not None else None,
        logprobs=bool(request.top_logprobs) or LOGPROBS in (request.include or []),
        instructions=request.instructions,
    )


def _asked_in_chat(request: CreateChatCompletion) -> _Asked:
    return _Asked(
        tools=[_flat_tool(tool) for tool in request.tools or []],
        tool_choice=_flat_choice(request.tool_choice),
        text=_text_options(request),
        verbosity=request.raw.get("verbosity"),
        logprobs=bool(request.raw.get("logprobs")),
    )


# --- tools ---------------------------------------------------------------------------------------


def _freeform(tools: list[dict[str, Any]], offer: Offer, rules: ChatRules) -> dict[str, dict[str, Any]]:
    """The freeform tools that can be offered as such, by name; those in namespaces become functions, as for chat."""
    if rules.responses != "full":
        return {}
    custom = {tool["name"]: tool for tool in tools if tool.get("type") == "custom"}
    return {name: tool for name, tool in custom.items() if offer.wires.get(("custom", None, name)) == name}


def _set_tools(
    settings: Settings,
    offer: Offer,
    freeform: dict[str, dict[str, Any]],
    choice: str | dict[str, Any] | None,
    parallel: bool | None,
    run_there: list[dict[str, Any]],
) -> None:
    if not offer.functions and not run_there:
        return
    settings.body["tools"] = [
        *(
            _custom(freeform[name]) if name in freeform else _function(definition["function"], settings.rules)
            for name, definition in offer.functions.items()
        ),
        *run_there,
    ]
    if isinstance(choice, dict) and "function" in choice:
        name = choice["function"]["name"]
        choice = {"type": "custom" if name in freeform else "function", "name": name}
    settings.set("tool_choice", choice)
    settings.set("parallel_tool_calls", parallel, matters=parallel is False)  # true is the default


def _custom(tool: dict[str, Any]) -> dict[str, Any]:
    kept = {name: tool[name] for name in ("description", "format") if tool.get(name)}
    return {"type": "custom", "name": tool["name"], **kept}


def _function(function: dict[str, Any], rules: ChatRules) -> dict[str, Any]:
    # Left out, it would be true here: the schema would be held to rules that it was not written for.
    strict = {"strict": function.get("strict", False)} if rules.strict_tools else {}
    return {"type": "function", **function, **strict}


# --- parameters ----------------------------------------------------------------------------------


def _set_of_response(settings: Settings, request: CreateResponse) -> None:
    for name in _SHARED:
        value, written = getattr(request, name), request.raw.get(name)
        settings.set(name, written if written == value else value)  # a 0 that was written 0 is not sent as 0.0
    for name in _HINTS:
        value = getattr(request, name)
        settings.set(name, value, matters=not is_hint(name, value))
    for name in sorted(EXTRA_PARAMETERS):
        settings.set(name, request.raw.get(name))
    if request.max_output_tokens is not None:
        settings.body["max_output_tokens"] = request.max_output_tokens
    if request.reasoning is not None:
        _set_reasoning(settings, request.reasoning.effort, request.reasoning.summary)
    for name in sorted(request.raw.keys() - PARAMETERS.keys() - settings.rules.parameters - EXTRA_PARAMETERS):
        settings.notes.add("unknown_parameter", seen=name, done="not sent: upstreams refuse what they do not know")


def _set_of_chat(settings: Settings, request: CreateChatCompletion) -> None:
    limit = request.max_completion_tokens if request.max_completion_tokens is not None else request.max_tokens
    if limit is not None:
        settings.body["max_output_tokens"] = limit
    if request.n is not None and request.n > 1:
        settings.notes.add("Q106", seen=f"n {request.n}", done="left out: this upstream refuses it")
    _set_reasoning(settings, request.raw.get("reasoning_effort"), None)
    for name, value in request.raw.items():
        if name in _SETTLED_OF_CHAT or value is None:
            continue
        if name in _SHARED or name in _HINTS or name in _OF_CHAT:
            settings.set(name, value, matters=not is_hint(name, value) and value is not False)
        else:
            settings.notes.add("unknown_parameter", seen=name, done="not sent: upstreams refuse what they do not know")


def _set_reasoning(settings: Settings, effort: str | None, summary: str | None) -> None:
    wanted: dict[str, Any] = {}
    for name, value in (("effort", effort), ("summary", summary)):
        if value is not None and f"reasoning_{name}" not in settings.rules.refuses:
            wanted[name] = value
        elif value is not None:
            settings.notes.add("Q106", seen=f"reasoning_{name} {value}", done="left out: this upstream refuses it")
    if wanted:
        settings.body["reasoning"] = wanted


def _set_text(settings: Settings, answer_format: dict[str, Any] | None, verbosity: str | None) -> None:
    text: dict[str, Any] = {}
    if answer_format is not None:
        text["format"] = {"type": answer_format["type"], **answer_format.get("json_schema", {})}
    if verbosity is not None and "verbosity" in settings.rules.parameters:
        text["verbosity"] = verbosity
    elif verbosity is not None:
        settings.notes.add("Q106", seen=f"verbosity {verbosity}", done="left out: this upstream refuses it")
    if text:
        settings.body["text"] = text


def _set_includes(
    settings: Settings,
    logprobs: bool,
    run_there: list[dict[str, Any]],
    request: CreateResponse | CreateChatCompletion,
) -> None:
    wanted = [LOGPROBS] if logprobs else []
    if run_there and isinstance(request, CreateResponse):
        wanted += [each for each in request.include or () if each in _INCLUDES_OF_TOOLS]
    if "include" not in settings.rules.refuses:
        settings.body["include"] = [*wanted, SEALED_REASONING]
    elif wanted:
        settings.notes.add("Q106", seen="include", done="left out: this upstream refuses it")
