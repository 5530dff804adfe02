"""Items, their content and the tools a model is offered: JSON objects whose shape is checked, and then left alone.

Some thirty kinds of items exist, clients send fields nobody documented, and every one of them must survive the round
trip. So none of the Structs below ever travels: they say what is checked, and the dict goes on as it came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from antiphon.errors import InvalidRequest
from antiphon.wire.hosted import HOSTED_TYPES
from antiphon.wire.refusals import refusal, supported

Item = dict[str, Any]

# A member that items carry inside of Antiphon only: what is kept of them beyond what clients see.
PRIVATE = "antiphon"

Role = Literal["user", "assistant", "system", "developer"]
NonEmpty = Annotated[str, Meta(min_length=1)]


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


class ApprovalResponse(Struct, kw_only=True):
    """What a person decided on a call; ``arguments``, an extension of ours, replace those the model made."""

    approval_request_id: NonEmpty
    approve: bool
    reason: str | None = None
    arguments: str | None = None


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
    "tool_search_output": AdditionalTools,
    "mcp_list_tools": None,
    "mcp_approval_request": None,
    "mcp_approval_response": ApprovalResponse,
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


class PlainText(Struct, frozen=True, tag_field="type", tag="text"):
    """Text of any form."""


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


# Tools of the client's, known by their names.
_NAMED_TYPES = frozenset({"function", "custom"})
# Other types are let through: who cannot serve them discloses that they were dropped.
TOOL_TYPES: dict[str, type[Struct]] = {
    "function": FunctionTool,
    "custom": CustomTool,
    "namespace": NamespaceTool,
    **HOSTED_TYPES,
}


class NamedChoice(Struct, kw_only=True):
    """One tool, by name."""

    name: NonEmpty
    namespace: str | None = None


class AllowedTools(Struct, kw_only=True):
    """Some of the tools; a hard limit."""

    tools: list[dict[str, Any]]
    mode: Literal["auto", "required"] = "auto"


class Typed(Struct):
    """Anything that says what it is."""

    type: str


class ServerChoice(Struct, kw_only=True):
    """The tools of an MCP server, or one of them."""

    server_label: NonEmpty
    name: NonEmpty | None = None


CHOICE_TYPES: dict[str, type[Struct]] = {
    "function": NamedChoice,
    "custom": NamedChoice,
    "mcp": ServerChoice,
    "allowed_tools": AllowedTools,
}


# --- checking --------------------------------------------------------------------------------

_CHOICES = {"role": get_args(Role), "mode": ("auto", "required")}


def checked_item(item: Item, path: str) -> Item:
    """The item, its type written out, that was found at ``path`` of the request.

    Raises:
        InvalidRequest: its type is unknown, or it lacks what its type needs.
    """
    kind = item.get("type")
    if kind is None:
        if "role" not in item and "id" not in item:
            name = f"{path}.type"
            raise InvalidRequest(
                f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
            )
        kind = "message" if "role" in item else "item_reference"
        item = {**item, "type": kind}
    # Extensions of Open Responses are named "slug:type" and must round-trip.
    if not isinstance(kind, str) or (kind not in ITEM_TYPES and ":" not in kind):
        raise supported(kind, ITEM_TYPES, param=f"{path}.type")
    shape = ITEM_TYPES.get(kind)
    _check(item, shape, path)
    if shape is AdditionalTools:
        check_tools(item["tools"], f"{path}.tools")
    return item


def check_tools(tools: list[dict[str, Any]], path: str) -> None:
    """Look at every tool, those of namespaces included.

    Raises:
        InvalidRequest: a tool has no type, or lacks what its type needs; or two servers have one label.
    """
    labels: set[str] = set()
    for position, tool in enumerate(tools):
        at = f"{path}[{position}]"
        _check(tool, Typed, at)
        _check(tool, TOOL_TYPES.get(tool["type"]), at)
        if tool["type"] == "namespace":
            check_tools(tool["tools"], f"{at}.tools")
        elif tool["type"] == "mcp":
            if (label := tool["server_label"]) in labels:
                raise InvalidRequest(f"Two MCP servers have the label {label!r}.", param=f"{at}.server_label")
            labels.add(label)


def tools_of(item: Item) -> list[dict[str, Any]]:
    """The tools that are offered from this item on; of most items none."""
    tools: list[dict[str, Any]] = item["tools"] if ITEM_TYPES.get(item.get("type", "")) is AdditionalTools else []
    return tools


def tool_names(tools: list[dict[str, Any]]) -> Iterator[str]:
    """The names by which functions and freeform tools can be chosen, without their namespaces."""
    for tool in tools:
        if tool["type"] == "namespace":
            yield from tool_names(tool["tools"])
        elif tool["type"] in _NAMED_TYPES:
            yield tool["name"]


def check_tool_choice(choice: dict[str, Any]) -> None:
    """Look at a choice that is more than a mode.

    Raises:
        InvalidRequest: it has no type, or lacks what its type needs.
    """
    _check(choice, Typed, "tool_choice")
    _check(choice, CHOICE_TYPES.get(choice["type"]), "tool_choice")


def check_outputs(items: Sequence[Item], history: Iterable[Item] = ()) -> None:
    """See that each tool output among ``items`` answers a call among them or in the ``history`` before them.

    Raises:
        InvalidRequest: there is no such call.
    """
    calls = {item.get("call_id") or item.get("id") for item in (*history, *items) if _is_call(item)} | {None}
    for item in items:
        if ITEM_TYPES.get(item["type"]) is ToolCallOutput and item.get("call_id") not in calls:
            kind = item["type"].replace("_", " ")
            raise InvalidRequest(f"No tool call found for {kind} with call_id {item['call_id']}.", param="input")


def _is_call(item: Item) -> bool:
    return str(item.get("type")).endswith("_call")


def _check(value: object, shape: type[Struct] | None, path: str) -> None:
    if shape is None:
        return
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise refusal(error, value, path, choices=_CHOICES) from None
