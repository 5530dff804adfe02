"""The Responses API: the request as a checked Struct, items as the JSON objects they are.

Items are plain dicts (`Item`): some thirty kinds exist, clients send fields nobody documented, and every one of them
must survive the round trip. So the Structs of items, content parts and tools below are never instances that travel:
they say what is checked when a request is decoded, and the dict goes on as it came.

Refusals are worded as OpenAI words them (``param`` is a path such as ``input[0].role``), because clients show them.
Ranges are OpenAI's, except for ``max_output_tokens``: Codex asks for 1 token to warm up a local server, where OpenAI's
minimum is 16.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from antiphon.errors import InvalidRequest
from antiphon.wire.refusals import refusal, supported

Item = dict[str, Any]

# What is nested deeper cannot be written again further down the stack, so it is refused at the door.
MAX_DEPTH = 128
MAX_ITEMS = 20_000

Role = Literal["user", "assistant", "system", "developer"]
ToolMode = Literal["none", "auto", "required"]
Truncation = Literal["auto", "disabled"]
Verbosity = Literal["low", "medium", "high"]

NonEmpty = Annotated[str, Meta(min_length=1)]
Label = Annotated[str, Meta(max_length=64)]
Metadata = Annotated[dict[Label, Annotated[str, Meta(max_length=512)]], Meta(max_length=16)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
AtLeastOne = Annotated[int, Meta(ge=1)]


# --- parameters ------------------------------------------------------------------------------


class PlainText(Struct, frozen=True, tag_field="type", tag="text"):
    """The answer is text of any form."""


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


class CreateResponse(Struct, kw_only=True):
    """The body of ``POST /v1/responses``, its types checked.

    ``raw`` is the body as it was sent: parameters that are not known here are found there. ``None`` means that the
    client did not set the parameter, or set it to null, which the API does not distinguish.
    """

    model: NonEmpty
    input: str | list[Item] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
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


# --- content parts ---------------------------------------------------------------------------


class Part(Struct, tag_field="type"):
    """A piece of a message's or a tool output's content."""


class InputText(Part, tag="input_text"):
    """Text from the user or a tool."""

    text: str


class OutputText(Part, tag="output_text"):
    """Text from the model."""

    text: str


class ChatText(Part, tag="text"):
    """Text as Chat Completions names it; some clients carry it over."""

    text: str


class SummaryText(Part, tag="summary_text"):
    """A part of a reasoning summary."""

    text: str


class ReasoningText(Part, tag="reasoning_text"):
    """A part of raw reasoning."""

    text: str


class Refusal(Part, tag="refusal"):
    """The model's refusal."""

    refusal: str


class InputImage(Part, tag="input_image", kw_only=True):
    """An image by URL, as a data URL, or by the id of a file."""

    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class InputFile(Part, tag="input_file", kw_only=True):
    """A file by id, by URL, or in base64."""

    file_id: str | None = None
    file_url: str | None = None
    file_data: str | None = None
    filename: str | None = None


class InputAudio(Part, tag="input_audio"):
    """A sound; the shape is that of Chat Completions."""

    input_audio: dict[str, Any]


class InputVideo(Part, tag="input_video"):
    """A video by URL."""

    video_url: str


class ComputerScreenshot(Part, tag="computer_screenshot"):
    """What a computer tool saw."""


ContentPart = (
    InputText
    | OutputText
    | ChatText
    | SummaryText
    | ReasoningText
    | Refusal
    | InputImage
    | InputFile
    | InputAudio
    | InputVideo
    | ComputerScreenshot
)
Content = str | list[ContentPart]


# --- items -----------------------------------------------------------------------------------


class Message(Struct, kw_only=True):
    """What somebody said."""

    role: Role
    content: Content


class FunctionCall(Struct, kw_only=True):
    """The model called a function; ``arguments`` is JSON text."""

    call_id: NonEmpty
    name: NonEmpty
    arguments: str
    namespace: str | None = None


class CustomToolCall(Struct, kw_only=True):
    """The model called a freeform tool."""

    call_id: NonEmpty
    name: NonEmpty
    input: str
    namespace: str | None = None


class ToolCallOutput(Struct, kw_only=True):
    """What a tool answered. Newer documents allow the call's id to be null, naming only the tool."""

    output: Content
    call_id: str | None = None
    name: str | None = None


class Reasoning(Struct, kw_only=True):
    """What the model thought; ``encrypted_content`` is opaque to everybody but who wrote it."""

    summary: list[ContentPart] | None = None
    content: list[ContentPart] | None = None
    encrypted_content: str | None = None


class ItemReference(Struct, kw_only=True):
    """A stored item, by id."""

    id: NonEmpty


class Compaction(Struct, kw_only=True):
    """An earlier part of the conversation, sealed."""

    encrypted_content: str


class AdditionalTools(Struct, kw_only=True):
    """Tools that are offered from here on."""

    tools: list[dict[str, Any]]


# Of the kinds that are None only the type is known here; whoever reads their fields checks them.
ITEM_TYPES: dict[str, type[Struct] | None] = {
    "message": Message,
    "function_call": FunctionCall,
    "function_call_output": ToolCallOutput,
    "custom_tool_call": CustomToolCall,
    "custom_tool_call_output": ToolCallOutput,
    "reasoning": Reasoning,
    "item_reference": ItemReference,
    "compaction": Compaction,
    "compaction_trigger": None,
    "additional_tools": AdditionalTools,
    "configuration_update": None,
    "file_search_call": None,
    "web_search_call": None,
    "code_interpreter_call": None,
    "image_generation_call": None,
    "computer_call": None,
    "computer_call_output": None,
    "local_shell_call": None,
    "local_shell_call_output": None,
    "shell_call": None,
    "shell_call_output": None,
    "apply_patch_call": None,
    "apply_patch_call_output": None,
    "tool_search_call": None,
    "tool_search_output": None,
    "mcp_list_tools": None,
    "mcp_approval_request": None,
    "mcp_approval_response": None,
    "mcp_call": None,
    "program": None,
    "program_output": None,
}


# --- tools -----------------------------------------------------------------------------------


class FunctionTool(Struct, kw_only=True):
    """A function with a JSON Schema for its arguments."""

    name: NonEmpty
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class GrammarFormat(Struct, kw_only=True, tag_field="type", tag="grammar"):
    """A freeform tool's input follows a grammar."""

    syntax: str
    definition: str


class CustomTool(Struct, kw_only=True):
    """A freeform tool: its input is plain text."""

    name: NonEmpty
    description: str | None = None
    format: PlainText | GrammarFormat | None = None


class NamespaceTool(Struct, kw_only=True):
    """Tools under a common name, such as those of one MCP server."""

    name: NonEmpty
    tools: list[dict[str, Any]]
    description: str | None = None


# Other types are let through: who cannot serve them discloses that they were dropped.
TOOL_TYPES: dict[str, type[Struct]] = {
    "function": FunctionTool,
    "custom": CustomTool,
    "namespace": NamespaceTool,
}


_CHOICES: dict[str, tuple[str, ...]] = {
    "role": get_args(Role),
    "tool_choice": get_args(ToolMode),
    "truncation": get_args(Truncation),
    "verbosity": get_args(Verbosity),
}

# --- decoding --------------------------------------------------------------------------------


# A model must be told something.
_SOURCES = ("input", "instructions", "previous_response_id", "conversation", "prompt")


def decode_request(body: bytes) -> CreateResponse:
    """The checked request of a ``POST /v1/responses`` body; its items and tools are checked too.

    Raises:
        InvalidRequest: the body is not a JSON object, or a parameter is missing, of the wrong type or out of range.
    """
    raw = decode_object(body)
    try:
        request = msgspec.convert(raw, CreateResponse)
    except msgspec.ValidationError as error:
        raise refusal(error, raw, choices=_CHOICES) from None
    request.raw = raw
    if request.previous_response_id is not None and request.conversation is not None:
        raise InvalidRequest(
            "Mutually exclusive parameters: 'previous_response_id' and 'conversation'. Send only one of them.",
            param="previous_response_id",
            code="mutually_exclusive_parameters",
        )
    if not any(getattr(request, name) is not None for name in _SOURCES):
        raise InvalidRequest(
            "Missing required parameter: 'input'. One of 'input', 'instructions', 'previous_response_id',"
            " 'conversation' and 'prompt' must be given.",
            param="input",
            code="missing_required_parameter",
        )
    _check_tools(request.tools or [], "tools")
    input_items(request)
    return request


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
    return [_checked_item(item, f"input[{position}]") for position, item in enumerate(request.input)]


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


def _checked_item(item: Item, path: str) -> Item:
    kind = item.get("type")
    if kind is None:
        if "role" not in item and "id" not in item:
            raise InvalidRequest(
                f"Missing required parameter: '{path}.type'.",
                param=f"{path}.type",
                code="missing_required_parameter",
            )
        kind = "message" if "role" in item else "item_reference"
        item = {**item, "type": kind}
    # Extensions of Open Responses are named "slug:type" and must round-trip.
    known = isinstance(kind, str) and (kind in ITEM_TYPES or ":" in kind)
    if not known:
        raise supported(kind, ITEM_TYPES, param=f"{path}.type")
    _check(item, ITEM_TYPES.get(kind), path)
    if kind == "additional_tools":
        _check_tools(item["tools"], f"{path}.tools")
    return item


def _check_tools(tools: list[dict[str, Any]], path: str) -> None:
    for position, tool in enumerate(tools):
        at = f"{path}[{position}]"
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not isinstance(kind, str):
            _check(tool, _Typed, at)
        _check(tool, TOOL_TYPES.get(str(kind)), at)
        if kind == "namespace":
            _check_tools(tool["tools"], f"{at}.tools")


class _Typed(Struct):
    type: str


def _check(value: object, shape: type[Struct] | None, path: str) -> None:
    if shape is None:
        return
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise refusal(error, value, path, choices=_CHOICES) from None
