"""How each kind of call item is read: what was called, and what came of it. Tables, by the item's type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from antiphon.wire.items import PRIVATE, Item

_NO_RESULTS = "[What this search found was not kept.]"


class Said(NamedTuple):
    """A call as the model made it: the kind of the tool, its name, the arguments as JSON text."""

    kind: str
    name: str
    arguments: str


def encoded(value: Any) -> str:
    """JSON text."""
    return msgspec.json.encode(value).decode()


def private(item: Item) -> dict[str, Any]:
    """What is kept of an item beyond what clients see; empty where they are the ones who sent it."""
    kept = item.get(PRIVATE)
    return kept if isinstance(kept, dict) else {}


def call_id_of(item: Item) -> str:
    """The id that a call and its output share."""
    return str(item.get("call_id") or private(item).get("call_id") or item.get("id") or "")


def _file_search(item: Item) -> Said:
    kept = private(item)
    queries = item.get("queries") or []
    asked = {"query": queries[0]} if len(queries) == 1 else {"queries": queries}
    return Said("file_search", str(kept.get("name") or "file_search"), str(kept.get("arguments") or encoded(asked)))


def _mcp_output(item: Item) -> Any:
    kept = private(item)
    told = kept.get("content") or kept.get("output") or item.get("output")
    return told if told is not None else _error_text(item.get("error"))


def _error_text(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error or "")
    content = error.get("content") or error.get("message") or error
    if isinstance(content, list):
        texts = [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
        return "\n".join(texts) or encoded(content)
    return content if isinstance(content, str) else encoded(content)


def _search_output(item: Item) -> Any:
    kept, results = private(item), item.get("results")
    if kept.get("output"):
        return kept["output"]
    return encoded(results) if results else _NO_RESULTS


def _approval_request(item: Item) -> Said:
    kind = private(item).get("kind") or "mcp"
    return Said(str(kind), str(item.get("name")), str(item.get("arguments") or ""))


CALLS: dict[str, Callable[[Item], Said]] = {
    "function_call": lambda item: Said("function", item["name"], item["arguments"]),
    "custom_tool_call": lambda item: Said("custom", item["name"], encoded({"input": item["input"]})),
    "mcp_call": lambda item: Said("mcp", str(item.get("name")), str(item.get("arguments") or "")),
    "mcp_approval_request": _approval_request,
    "file_search_call": _file_search,
    "local_shell_call": lambda item: Said("function", "local_shell", encoded(item.get("action") or {})),
    "shell_call": lambda item: Said("function", "shell", encoded(item.get("action") or {})),
    "apply_patch_call": lambda item: Said("function", "apply_patch", encoded(item.get("operation") or {})),
    "tool_search_call": lambda item: Said("function", "tool_search", encoded(item.get("arguments") or {})),
}
OUTPUTS: dict[str, Callable[[Item], Any]] = {
    "function_call_output": lambda item: item["output"],
    "custom_tool_call_output": lambda item: item["output"],
    "local_shell_call_output": lambda item: item.get("output") or "",
    "shell_call_output": lambda item: item.get("output") or "",
    "apply_patch_call_output": lambda item: item.get("output") or str(item.get("status")),
    "tool_search_output": lambda item: encoded(item.get("tools") or []),
}
# Run by a server: call and output are one item.
HOSTED: dict[str, Callable[[Item], Any]] = {"mcp_call": _mcp_output, "file_search_call": _search_output}
# Read elsewhere, or nothing the model has to see.
WITHOUT_MESSAGE = frozenset({"additional_tools", "mcp_list_tools", "mcp_approval_response"})
