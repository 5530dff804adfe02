"""The Responses API: its request as a checked Struct.

Refusals are worded as OpenAI words them (``param`` is a path such as ``input[0].role``), because clients show them.
Ranges are OpenAI's, except for ``max_output_tokens``: Codex asks for 1 token to warm up a local server, where OpenAI's
minimum is 16.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from antiphon.errors import InvalidRequest
from antiphon.wire.items import Item as Item
from antiphon.wire.items import NonEmpty, PlainText, check_tool_choice, check_tools, checked_item, tool_names, tools_of
from antiphon.wire.lists import Include
from antiphon.wire.refusals import refusal

# What is nested deeper cannot be written again further down the stack, so it is refused at the door.
MAX_DEPTH = 128
MAX_ITEMS = 20_000

ToolMode = Literal["none", "auto", "required"]
Truncation = Literal["auto", "disabled"]
Verbosity = Literal["low", "medium", "high"]

Label = Annotated[str, Meta(max_length=64)]
Metadata = Annotated[dict[Label, Annotated[str, Meta(max_length=512)]], Meta(max_length=16)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
AtLeastOne = Annotated[int, Meta(ge=1, le=2**31 - 1)]


# --- parameters ------------------------------------------------------------------------------


class JsonObject(Struct, frozen=True, tag_field="type", tag="json_object"):
    """The answer is some JSON object."""


class JsonSchema(Struct, frozen=True, kw_only=True, tag_field="type", tag="json_schema"):
    """The answer is JSON that fits ``schema``."""

    name: NonEmpty
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class TextOptions(Struct, frozen=True, kw_only=True):
    """How the answer's text shall look."""

    format: PlainText | JsonObject | JsonSchema | None = None
    verbosity: Verbosity | None = None


class ReasoningOptions(Struct, frozen=True, kw_only=True):
    """How much the model shall think. ``effort`` is open: models keep inventing levels."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None
    context: str | None = None


class StreamOptions(Struct, frozen=True, kw_only=True):
    """Options of a streamed answer."""

    include_obfuscation: bool | None = None


class ConversationParam(Struct, frozen=True):
    """A conversation as an object."""

    id: NonEmpty


class CreateResponse(Struct, kw_only=True):
    """The body of ``POST /v1/responses``, its types checked.

    ``raw`` is the body as it was sent: parameters that are not known here are found there. ``None`` means that the
    client did not set the parameter, or set it to null, which the API does not distinguish.
    """

    model: NonEmpty
    input: str | list[Item] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: NonEmpty | ConversationParam | None = None
    prompt: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: ToolMode | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: AtLeastOne | None = None
    max_output_tokens: AtLeastOne | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    include: list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    background: bool | None = None
    store: bool | None = None
    truncation: Truncation | None = None
    context_management: list[dict[str, Any]] | None = None
    metadata: Metadata | None = None
    user: str | None = None
    safety_identifier: Label | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    service_tier: str | None = None
    moderation: dict[str, Any] | None = None
    raw: dict[str, Any] = {}


class RetrieveQuery(Struct, frozen=True, kw_only=True):
    """How a response is looked up: whole, or as its stream after the event numbered ``starting_after``."""

    stream: bool = False
    starting_after: Annotated[int, Meta(ge=0)] | None = None
    include: tuple[Include, ...] = ()
    include_obfuscation: bool = False


# --- decoding --------------------------------------------------------------------------------


_CHOICES = {
    "tool_choice": get_args(ToolMode),
    "truncation": get_args(Truncation),
    "verbosity": get_args(Verbosity),
}
# A model must be told something.
SOURCES = ("input", "instructions", "previous_response_id", "conversation", "prompt")


def decode_request(body: bytes) -> CreateResponse:
    """The checked request of a ``POST /v1/responses`` body; its items and tools are checked too.

    Raises:
        InvalidRequest: the body is not a JSON object, or a parameter is missing, of the wrong type or out of range.
    """
    request = stored_request(decode_object(body))
    _check_sources(request)
    check_tools(request.tools or [], "tools")
    items = input_items(request)
    if isinstance(request.tool_choice, dict):
        check_tool_choice(request.tool_choice)
        _check_choice_is_offered(request, request.tool_choice, items)
    return request


def stored_request(raw: dict[str, Any]) -> CreateResponse:
    """The request that a decoded body is, without the checks beyond its types: its input may be kept elsewhere.

    Raises:
        InvalidRequest: a parameter is missing, of the wrong type or out of range.
    """
    try:
        return msgspec.convert({**raw, "raw": raw}, CreateResponse)
    except msgspec.ValidationError as error:
        raise refusal(error, raw, choices=_CHOICES) from None


def input_items(request: CreateResponse) -> list[Item]:
    """The request's input as items: a string is a user's message, an item without type a message or a reference.

    Fields are neither dropped nor changed; items that need no type added are the very dicts of the request.

    Raises:
        InvalidRequest: an item is of an unknown type, or lacks what its type needs.
    """
    if request.input is None:
        return []
    if isinstance(request.input, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": request.input}]}]
    if len(request.input) > MAX_ITEMS:
        raise InvalidRequest(
            f"Invalid 'input': {len(request.input):,} items are more than the limit of {MAX_ITEMS:,}.",
            param="input",
            code="array_above_max_length",
        )
    return [checked_item(item, f"input[{position}]") for position, item in enumerate(request.input)]


def conversation_of(request: CreateResponse) -> str | None:
    """The id of the conversation that the request is made in."""
    conversation = request.conversation
    return conversation.id if isinstance(conversation, ConversationParam) else conversation


def decode_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a request body, as it was sent.

    Raises:
        InvalidRequest: not JSON, not an object, or nested deeper than `MAX_DEPTH`.
    """
    try:
        raw = msgspec.json.decode(body)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"We could not parse the JSON body of your request: {error}.", code="invalid_json"
        ) from None
    if not isinstance(raw, dict):
        raise InvalidRequest("The body of the request must be a JSON object.", code="invalid_type")
    if _is_deeper_than(raw, MAX_DEPTH):
        raise _too_deep()
    return raw


def _check_sources(request: CreateResponse) -> None:
    if request.previous_response_id is not None and request.conversation is not None:
        raise InvalidRequest(
            "Mutually exclusive parameters: 'previous_response_id' and 'conversation'. Send only one of them.",
            param="previous_response_id",
            code="mutually_exclusive_parameters",
        )
    if all(getattr(request, name) is None for name in SOURCES):
        raise InvalidRequest(
            "Missing required parameter: 'input'. One of 'input', 'instructions', 'previous_response_id',"
            " 'conversation' and 'prompt' must be given.",
            param="input",
            code="missing_required_parameter",
        )


def _check_choice_is_offered(request: CreateResponse, choice: dict[str, Any], items: list[Item]) -> None:
    # Tools may also have been offered by an item of the past.
    if request.previous_response_id is not None or request.conversation is not None:
        return
    offered = [*(request.tools or []), *(tool for item in items for tool in tools_of(item))]
    if choice["type"] in ("function", "custom") and choice["name"] not in tool_names(offered):
        raise InvalidRequest(
            f"Invalid 'tool_choice': '{choice['name']}' is not among the tools.",
            param="tool_choice",
            code="invalid_value",
        )


def _too_deep() -> InvalidRequest:
    return InvalidRequest(
        f"The body of the request is nested more than {MAX_DEPTH} levels deep.", code="nesting_too_deep"
    )


def _is_deeper_than(value: Any, limit: int) -> bool:
    """Level by level, because a recursive walk is what deep nesting breaks."""
    level = [value]
    for _ in range(limit):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True
