"""What a tool gives, and how it fails: shared by functions, MCP servers and the searches of the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec


class ToolError(Exception):
    """Raise it in a tool to tell the model, in these very words, what went wrong."""


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a call gave.

    ``output`` is what the model is told and what the call's item shows. ``content`` says the same in parts
    (``input_text``, ``input_image`` …), where it is more than text. ``results`` are what was found, as data.
    """

    output: str
    content: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []


class ToolServer(Protocol):
    """Tools of somebody else, under one name: an MCP server."""

    @property
    def label(self) -> str:
        """The name that its tools are known by."""
        ...

    @property
    def definition(self) -> dict[str, Any]:
        """The tool as the Responses API describes it, of the type ``mcp``."""
        ...

    async def list_tools(self) -> list[dict[str, Any]]:
        """Its tools, with ``name``, ``description``, ``input_schema`` and ``annotations`` each.

        Raises:
            ToolServerError: it cannot be reached, or does not say.
        """
        ...

    def remember(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """Take a list of its tools that was made before, so that a call needs none."""
        ...

    async def call(self, name: str, arguments: str, *, idempotency_key: str) -> ToolResult:
        """Run a tool; ``arguments`` is JSON text, as the model wrote it.

        Raises:
            ToolError: the tool failed, or could not be run; the model is told.
        """
        ...

    async def close(self) -> None:
        """End its sessions. Closing twice is harmless."""
        ...
