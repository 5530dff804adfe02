"""How each kind of block is streamed, and what each kind of tool call looks like as an item: tables, no logic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Framing(NamedTuple):
    """How the text of one kind of block is streamed, and where it ends up.

    ``text`` is the member that holds the whole text: of the ``done`` event, and of the part or item. ``repeated``
    are further members of part or item that the ``done`` event shows. Blocks that are parts of their item have
    ``part``, which makes an empty one, the item's list of them, and the names that events about parts use.
    """

    delta: str
    done: str
    text: str
    repeated: tuple[str, ...] = ()
    delta_extra: dict[str, Any] | None = None
    part: Callable[[], dict[str, Any]] | None = None
    parts: str = ""
    part_event: str = ""
    part_index: str = ""


TEXT = Framing(
    delta="response.output_text.delta",
    done="response.output_text.done",
    text="text",
    repeated=("logprobs",),
    delta_extra={"logprobs": []},
    part=lambda: {"type": "output_text", "text": "", "annotations": [], "logprobs": []},
    parts="content",
    part_event="response.content_part",
    part_index="content_index",
)
REFUSAL = Framing(
    delta="response.refusal.delta",
    done="response.refusal.done",
    text="refusal",
    part=lambda: {"type": "refusal", "refusal": ""},
    parts="content",
    part_event="response.content_part",
    part_index="content_index",
)
# A model's thoughts as summary events: the only reasoning events that every client takes. openai-node throws on the
# Open Responses names, and on the raw ones of OpenAI unless a content part frames them.
SUMMARY = Framing(
    delta="response.reasoning_summary_text.delta",
    done="response.reasoning_summary_text.done",
    text="text",
    part=lambda: {"type": "summary_text", "text": ""},
    parts="summary",
    part_event="response.reasoning_summary_part",
    part_index="summary_index",
)
RAW_REASONING = Framing(
    delta="response.reasoning_text.delta",
    done="response.reasoning_text.done",
    text="text",
    part=lambda: {"type": "reasoning_text", "text": ""},
    parts="content",
    part_event="response.content_part",
    part_index="content_index",
)
STRICT_REASONING = RAW_REASONING._replace(delta="response.reasoning.delta", done="response.reasoning.done")

ARGUMENTS = Framing(
    delta="response.function_call_arguments.delta",
    done="response.function_call_arguments.done",
    text="arguments",
    repeated=("name",),
)
INPUT = Framing(
    delta="response.custom_tool_call_input.delta",
    done="response.custom_tool_call_input.done",
    text="input",
)


MCP_ARGUMENTS = Framing(
    delta="response.mcp_call_arguments.delta",
    done="response.mcp_call_arguments.done",
    text="arguments",
)


class CallShape(NamedTuple):
    """What a kind of tool call looks like as an item; its result's type is the same with ``_output``."""

    prefix: str
    type: str
    framing: Framing
    output_prefix: str


FUNCTION = CallShape("fc", "function_call", ARGUMENTS, "fco")
CALLS = {
    "function": FUNCTION,
    "custom": CallShape("ctc", "custom_tool_call", INPUT, "ctco"),
}


class HostedShape(NamedTuple):
    """What a call that the server runs looks like as an item, which shows its result too.

    ``fields`` makes the members it is announced with. ``framing`` is None where the arguments are not streamed. The
    events say that it was announced, that it runs, that it is done and that it failed; not every kind has each.
    """

    prefix: str
    type: str
    fields: Callable[[str, str | None], dict[str, Any]]
    framing: Framing | None
    announced: str
    executing: str | None
    completed: str
    failed: str | None


def _mcp_call(name: str, server: str | None) -> dict[str, Any]:
    empty = {"arguments": "", "output": None, "error": None, "approval_request_id": None}
    return {"server_label": server or "", "name": name, **empty}


HOSTED = {
    "mcp": HostedShape(
        "mcp",
        "mcp_call",
        _mcp_call,
        MCP_ARGUMENTS,
        announced="response.mcp_call.in_progress",
        executing=None,
        completed="response.mcp_call.completed",
        failed="response.mcp_call.failed",
    ),
    "file_search": HostedShape(
        "fs",
        "file_search_call",
        lambda name, server: {"queries": [], "results": None},
        None,
        announced="response.file_search_call.in_progress",
        executing="response.file_search_call.searching",
        completed="response.file_search_call.completed",
        failed=None,
    ),
}
