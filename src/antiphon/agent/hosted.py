"""The tools that a run finds at the server, besides functions: those of MCP servers, and the file search."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from antiphon.agent.effects import ToolCall
from antiphon.events import ToolKind
from antiphon.tools.base import ToolError, ToolResult, ToolServer
from antiphon.wire.hosted import FileSearchTool, McpTool, file_searches, imported, is_repeatable, mcp_tools, queries_of
from antiphon.wire.items import PRIVATE, Item

# Searches the stores that a request names, for all of these queries.
FileSearch = Callable[[FileSearchTool, Sequence[str]], Awaitable[ToolResult]]

_log = logging.getLogger(__name__)


class Policy(NamedTuple):
    """How one hosted tool is treated."""

    needs_approval: bool = False
    repeatable: bool = False


class HostedTools:
    """What the tools of one request can do. ``items`` is all that the run begins with.

    ``connect`` gives the server that an MCP tool means; `close` closes it, unless somebody ``keeps`` it for the next
    run. ``search`` is None where no files are kept.
    """

    def __init__(
        self,
        tools: Sequence[dict[str, Any]],
        items: Sequence[Item],
        *,
        connect: Callable[[McpTool], ToolServer],
        search: FileSearch | None = None,
        keeps: bool = False,
    ) -> None:
        self._tools = tools
        self._wanted = {tool.server_label: tool for tool in mcp_tools(tools)}
        self._connect = connect
        self._servers: dict[str, ToolServer] = {}
        self._search = search
        self._keeps = keeps
        self._searches = {tool.name: tool for tool in file_searches(tools)}
        self._known = _known_sources(items)
        self._listed = _listed(tools, items)

    @property
    def unlisted(self) -> list[str]:
        """The servers whose tools are not known from the items yet."""
        return [label for label, tool in self._wanted.items() if self._known.get(label) not in ("", tool.source)]

    def source(self, label: str) -> str:
        """What a list of this server's tools is a list of."""
        return self._wanted[label].source

    async def list_tools(self, label: str) -> list[dict[str, Any]]:
        """The tools of a server that the request wants.

        Raises:
            ToolServerError: it does not say.
        """
        wanted = self._wanted[label]
        listed = [tool for tool in await self._server(label).list_tools() if wanted.offers(tool)]
        self._listed[label] = listed
        return listed

    def policies(self, items: Sequence[Item]) -> Mapping[tuple[ToolKind, str | None, str], Policy]:
        """How the tools that the model is offered with these items are treated, by kind, server and name."""
        policies: dict[tuple[ToolKind, str | None, str], Policy] = {
            ("file_search", None, name): Policy(repeatable=True) for name in self._searches
        }
        for server, listed in imported(self._tools, items):
            for tool in listed:
                policy = Policy(server.needs_approval(tool), is_repeatable(tool))
                policies["mcp", server.server_label, tool["name"]] = policy
        return policies

    def cited_files(self, items: Sequence[Item]) -> dict[str, str] | None:
        """The files that the model may cite, with their names: those that searches among the items found.

        None where the request has no file search.
        """
        if not self._searches:
            return None
        return {file["file_id"]: file["filename"] for item in items for file in _found(item)}

    async def run(self, call: ToolCall) -> ToolResult:
        """Run a call.

        Raises:
            ToolError: it failed; the model is told.
        """
        if call.kind == "file_search":
            return await self._run_search(call)
        label = call.namespace or ""
        if label not in self._wanted:
            raise ToolError(f"There is no server {label!r} any more: the request does not name it.")
        return await self._server(label).call(call.name, call.arguments, idempotency_key=call.idempotency_key)

    async def _run_search(self, call: ToolCall) -> ToolResult:
        tool, queries = self._searches.get(call.name), queries_of(call.arguments)
        if tool is None or self._search is None:
            raise ToolError("No files can be searched here.")
        if not queries:
            raise ToolError('The search needs a query: {"query": "what to look for"}.')
        return await self._search(tool, queries)

    def _server(self, label: str) -> ToolServer:
        if label not in self._servers:
            server = self._servers[label] = self._connect(self._wanted[label])
            if label in self._listed:
                server.remember(self._listed[label])
        return self._servers[label]

    async def close(self) -> None:
        """Close the servers that were connected to; none of them can keep the others from it."""
        servers, self._servers = [] if self._keeps else [*self._servers.values()], {}
        for outcome in await asyncio.gather(*(each.close() for each in servers), return_exceptions=True):
            if isinstance(outcome, Exception):
                _log.warning("A tool server could not be closed: %s", outcome)


def _found(item: Item) -> list[dict[str, Any]]:
    """What a search found, as far as its item still says so."""
    if item.get("type") != "file_search_call":
        return []
    kept = item.get(PRIVATE)
    results = (kept.get("results") if isinstance(kept, dict) else None) or item.get("results") or []
    return [file for file in results if isinstance(file, dict) and file.get("file_id") and file.get("filename")]


def _listed(tools: Sequence[dict[str, Any]], items: Sequence[Item]) -> dict[str, list[dict[str, Any]]]:
    return {server.server_label: listed for server, listed in imported(tools, items) if listed}


def _known_sources(items: Sequence[Item]) -> dict[str, str]:
    """Of what each server's newest list is one; ``""`` where a client sent it, who must know."""
    known: dict[str, str] = {}
    for item in items:
        if item.get("type") == "mcp_list_tools" and not item.get("error"):
            kept = item.get(PRIVATE)
            known[str(item.get("server_label"))] = str(kept.get("source") or "") if isinstance(kept, dict) else ""
    return known
