"""Items as the lists of the API show them: each with an id and a status, content written out as parts.

What clients send is stored as it came, but for the id; what is missing for its full shape is added here, whenever it
is shown. The shapes are those of OpenAI's document 2.3.0 (``ItemResource``, ``ConversationItem``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from antiphon.rendering.hosted import SEARCH_RESULTS
from antiphon.rendering.items import public
from antiphon.wire.items import PRIVATE
from antiphon.wire.responses import Item

# An id's prefix by the type of its item; as OpenAI's, where they are known.
_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "file_search_call": "fs",
    "web_search_call": "ws",
    "code_interpreter_call": "ci",
    "image_generation_call": "ig",
    "computer_call": "cu",
    "computer_call_output": "cuo",
    "local_shell_call": "lsh",
    "local_shell_call_output": "lsho",
    "shell_call": "sh",
    "shell_call_output": "sho",
    "apply_patch_call": "apc",
    "apply_patch_call_output": "apco",
    "tool_search_call": "tsc",
    "tool_search_output": "tso",
    "mcp_list_tools": "mcpl",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcpa",
    "mcp_call": "mcp",
    "compaction": "cmp",
    "additional_tools": "at",
}
_OTHER_PREFIX = "item"

_COMPLETED: Item = {"status": "completed"}

# What an item must show by its type, and need not have been sent with.
_DEFAULTS: dict[str, Item] = {
    "message": _COMPLETED,
    "reasoning": {"summary": []},
    "function_call": _COMPLETED,
    "function_call_output": _COMPLETED,
    "custom_tool_call": _COMPLETED,
    "custom_tool_call_output": _COMPLETED,
    "computer_call_output": _COMPLETED,
    "local_shell_call": _COMPLETED,
    "shell_call": {**_COMPLETED, "environment": None},
    "shell_call_output": {**_COMPLETED, "max_output_length": None},
    "tool_search_call": {**_COMPLETED, "call_id": None, "execution": "server"},
    "tool_search_output": {**_COMPLETED, "call_id": None, "execution": "server"},
    "additional_tools": {"role": "developer"},
}
_PART_DEFAULTS: dict[str, dict[str, Any]] = {
    "output_text": {"annotations": [], "logprobs": []},
    "input_image": {"detail": "auto"},
}


def with_ids(items: Iterable[Item], new_id: Callable[[str, int], str]) -> list[Item]:
    """The items, each with an id of its own.

    ``new_id`` makes one, of a prefix and the item's position, for an item that has none or that of an earlier one.
    """
    identified, taken = [], set()
    for position, item in enumerate(items):
        item_id = item.get("id")
        if not isinstance(item_id, str) or not item_id or item_id in taken:
            item_id = new_id(_PREFIXES.get(item["type"], _OTHER_PREFIX), position)
            item = {**item, "id": item_id}
        taken.add(item_id)
        identified.append(item)
    return identified


def input_item_id(run: str, prefix: str, position: int) -> str:
    """The id of an input item of a run; the same each time, and no output item's."""
    return f"{prefix}_{run.partition('_')[2] or run}i{position:04x}"


def listed(item: Item, *, include: Collection[str] = ()) -> Item:
    """The item as a list shows it; it has a type and an id. ``include`` is what shall be shown besides."""
    shown = _completed(public(item), _DEFAULTS.get(item["type"], {}))
    if item["type"] == "file_search_call":
        kept = item.get(PRIVATE, {}).get("results") or item.get("results")
        shown["results"] = kept if SEARCH_RESULTS in include else None
    if item["type"] == "message":
        shown["content"] = _parts(item["role"], item["content"])
    elif item["type"] == "mcp_approval_response" and "approval_request_id" in item:
        shown.setdefault("request_id", item["approval_request_id"])
    return shown


def _parts(role: str, content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    text = "output_text" if role == "assistant" else "input_text"
    parts = (
        {**part, "type": text} if part["type"] in ("text", "input_text", "output_text") else part for part in content
    )
    return [_completed(part, _PART_DEFAULTS.get(part["type"], {})) for part in parts]


def _completed(value: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    return {**value, **{name: default for name, default in defaults.items() if value.get(name) is None}}
