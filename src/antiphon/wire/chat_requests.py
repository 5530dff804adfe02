"""The request of the Chat Completions API as a checked Struct.

Only what is repaired is read this closely; what is passed through is never decoded. Refusals are worded as OpenAI words
them, as those of `antiphon.wire.responses` are, and ranges are OpenAI's.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from antiphon.errors import InvalidRequest
from antiphon.wire.items import NonEmpty
from antiphon.wire.refusals import refusal, supported
from antiphon.wire.responses import (
    MAX_ITEMS,
    Label,
    Metadata,
    Penalty,
    ToolMode,
    Verbosity,
    decode_object,
)

ChatMessage = dict[str, Any]

Role = Literal["system", "developer", "user", "assistant", "tool"]
Content = str | list[dict[str, Any]]


# --- parameters ------------------------------------------------------------------------------


class ChatStreamOptions(Struct, frozen=True, kw_only=True):
    """Options of a streamed answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class CreateChatCompletion(Struct, kw_only=True):
    """The body of ``POST /v1/chat/completions``, its types checked.

    ``raw`` is the body as it was sent: parameters that are not known here are found there. ``None`` means that the
    client did not set the parameter, or set it to null.
    """

    model: NonEmpty
    messages: list[ChatMessage]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    stream: bool | None = None
    stream_options: ChatStreamOptions | None = None
    store: bool | None = None
    metadata: Metadata | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: ToolMode | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    verbosity: Verbosity | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None
    user: str | None = None
    safety_identifier: Label | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    service_tier: str | None = None
    moderation: dict[str, Any] | None = None
    functions: list[dict[str, Any]] | None = None
    function_call: Any = None
    raw: dict[str, Any] = {}


class _Said(Struct, kw_only=True):
    content: Content


class _ToolOutput(Struct, kw_only=True):
    content: Content
    tool_call_id: str


class _Answered(Struct, kw_only=True):
    content: Content | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _Named(Struct, kw_only=True):
    name: NonEmpty


class _FunctionArguments(_Named, kw_only=True):
    arguments: str


class _CustomInput(_Named, kw_only=True):
    input: str


class _FunctionCall(Struct, kw_only=True):
    id: str
    function: _FunctionArguments


class _CustomCall(Struct, kw_only=True):
    id: str
    custom: _CustomInput


class _Function(_Named, kw_only=True):
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _FunctionTool(Struct, kw_only=True):
    function: _Function


class _Grammar(Struct, kw_only=True):
    syntax: str
    definition: str


class _TextFormat(Struct, kw_only=True, tag_field="type", tag="text"):
    pass


class _GrammarFormat(Struct, kw_only=True, tag_field="type", tag="grammar"):
    grammar: _Grammar


class _Custom(_Named, kw_only=True):
    description: str | None = None
    format: _TextFormat | _GrammarFormat | None = None


class _CustomTool(Struct, kw_only=True):
    custom: _Custom


class _FunctionChoice(Struct, kw_only=True):
    function: _Named


class _CustomChoice(Struct, kw_only=True):
    custom: _Named


class _Allowed(Struct, kw_only=True):
    mode: Literal["auto", "required"]
    tools: list[dict[str, Any]]


class _AllowedTools(Struct, kw_only=True):
    allowed_tools: _Allowed


class _Schema(_Named, kw_only=True):
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class _SchemaFormat(Struct, kw_only=True):
    json_schema: _Schema


class _TextPart(Struct, kw_only=True):
    text: str


class _RefusalPart(Struct, kw_only=True):
    refusal: str


class _ImageUrl(Struct, kw_only=True):
    url: str


class _ImagePart(Struct, kw_only=True):
    image_url: _ImageUrl


class _FilePart(Struct, kw_only=True):
    file: dict[str, Any]


class _AudioPart(Struct, kw_only=True):
    input_audio: dict[str, Any]


_MESSAGES: dict[str, type[Struct]] = {
    "system": _Said,
    "developer": _Said,
    "user": _Said,
    "assistant": _Answered,
    "tool": _ToolOutput,
}
# Other types are let through: servers of open models take videos, for one.
_PARTS: dict[str, type[Struct]] = {
    "text": _TextPart,
    "refusal": _RefusalPart,
    "image_url": _ImagePart,
    "file": _FilePart,
    "input_audio": _AudioPart,
}
_CALLS: dict[str, type[Struct]] = {"function": _FunctionCall, "custom": _CustomCall}
_TOOLS: dict[str, type[Struct]] = {"function": _FunctionTool, "custom": _CustomTool}
_TOOL_CHOICES: dict[str, type[Struct]] = {
    "function": _FunctionChoice,
    "custom": _CustomChoice,
    "allowed_tools": _AllowedTools,
}
_FORMATS: dict[str, type[Struct] | None] = {"text": None, "json_object": None, "json_schema": _SchemaFormat}

_CHOICES = {"tool_choice": get_args(ToolMode), "verbosity": get_args(Verbosity), "mode": ("auto", "required")}


# --- decoding --------------------------------------------------------------------------------


def decode_chat_request(body: bytes) -> CreateChatCompletion:
    """The checked request of a ``POST /v1/chat/completions`` body; its messages and tools are checked too.

    Raises:
        InvalidRequest: the body is not a JSON object, or a parameter is missing, of the wrong type or out of range.
    """
    raw = decode_object(body)
    try:
        request = msgspec.convert({**raw, "raw": raw}, CreateChatCompletion)
    except msgspec.ValidationError as error:
        raise refusal(error, raw, choices=_CHOICES) from None
    _check_length(request.messages)
    for position, message in enumerate(request.messages):
        _check_message(message, f"messages[{position}]")
    for position, tool in enumerate(request.tools or []):
        _check_typed(tool, _TOOLS, f"tools[{position}]")
    if isinstance(request.tool_choice, dict):
        _check_typed(request.tool_choice, _TOOL_CHOICES, "tool_choice")
        _check_allowed(request.tool_choice)
    if request.response_format is not None:
        _check_typed(request.response_format, _FORMATS, "response_format")
    return request


def _check_length(messages: list[ChatMessage]) -> None:
    if not messages:
        raise InvalidRequest(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param="messages",
            code="empty_array",
        )
    if len(messages) > MAX_ITEMS:
        raise InvalidRequest(
            f"Invalid 'messages': {len(messages):,} messages are more than the limit of {MAX_ITEMS:,}.",
            param="messages",
            code="array_above_max_length",
        )


def _check_message(message: ChatMessage, path: str) -> None:
    role = message.get("role")
    if role == "function" or message.get("function_call") is not None:
        name = f"{path}.role" if role == "function" else f"{path}.function_call"
        raise InvalidRequest(
            f"Unsupported value: '{name}'. Function messages are not repaired; send 'tool_calls' and 'tool' messages.",
            param=name,
            code="unsupported_value",
        )
    if not isinstance(role, str) or role not in _MESSAGES:
        if role is None:
            raise _missing(f"{path}.role")
        raise supported(role, get_args(Role), param=f"{path}.role")
    _check(message, _MESSAGES[role], path)
    content = message.get("content")
    for position, part in enumerate(content if isinstance(content, list) else []):
        at = f"{path}.content[{position}]"
        _check(part, _PARTS.get(_type(part, at)), at)
    for position, call in enumerate(message.get("tool_calls") or []):
        _check_typed({"type": "function", **call}, _CALLS, f"{path}.tool_calls[{position}]")


def _check_allowed(choice: dict[str, Any]) -> None:
    if choice["type"] == "allowed_tools":
        for position, tool in enumerate(choice["allowed_tools"]["tools"]):
            kinds = {kind: shape for kind, shape in _TOOL_CHOICES.items() if kind in _TOOLS}
            _check_typed(tool, kinds, f"tool_choice.allowed_tools.tools[{position}]")


def _check_typed(value: dict[str, Any], shapes: dict[str, Any], path: str) -> None:
    kind = _type(value, path)
    if kind not in shapes:
        raise supported(kind, shapes, param=f"{path}.type")
    _check(value, shapes[kind], path)


def _type(value: dict[str, Any], path: str) -> str:
    kind = value.get("type")
    if kind is None:
        raise _missing(f"{path}.type")
    if not isinstance(kind, str):
        raise supported(kind, (), param=f"{path}.type")
    return kind


def _check(value: object, shape: type[Struct] | None, path: str) -> None:
    if shape is None:
        return
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise refusal(error, value, path, choices=_CHOICES) from None


def _missing(name: str) -> InvalidRequest:
    return InvalidRequest(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")
