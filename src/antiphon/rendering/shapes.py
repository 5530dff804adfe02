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


class CallShape(NamedTuple):
    """What a kind of tool call looks like as an item; its result's type is the same with ``_output``."""

    prefix: str
    type: str
    framing: Framing
    output_prefix: str


# Rows for mcp, file_search and web_search come with those tools; until then they look like functions.
FUNCTION = CallShape("fc", "function_call", ARGUMENTS, "fco")
CALLS = {
    "function": FUNCTION,
    "custom": CallShape("ctc", "custom_tool_call", INPUT, "ctco"),
}
