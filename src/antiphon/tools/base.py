"""What a tool gives, and the servers that hold tools of somebody else."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class ToolError(Exception):
    """Raise it in a tool to tell the model, in these very words, what went wrong."""


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a call gave.

    ``output`` is what the model is told, and what the item shows. ``content`` is the same as parts (``input_text``,
    ``input_image`` and so on), where it is more than text; the model then gets these. ``results`` are structured:
    OpenAI's result objects of a file search, the structured content of an MCP tool.
    """

    output: str
    content: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One tool of a server, as an ``mcp_list_tools`` item shows it."""

    name: str
    description: str | None
    input_schema: dict[str, Any]
    annotations: dict[str, Any] | None


class ToolServer(Protocol):
    """Tools of somebody else, known by a label: an MCP server."""

    label: str

    async def list_tools(self) -> list[dict[str, Any]]:
        """What it offers, in the shape of `Listed`.

        Raises:
            ToolServerError: it cannot be reached, or says no; in its own words.
        """
        ...

    async def call(self, name: str, arguments: str, *, idempotency_key: str, timeout_s: float) -> ToolResult:
        """Run one of its tools. ``arguments`` is JSON.

        Raises:
            ToolError: the model is told these words.
        """
        ...

    async def close(self) -> None:
        """End what is open; it opens again when it is used again."""
        ...
