"""The tools that requests find at this server: MCP servers, by URL or by the name the configuration has for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from antiphon.agent.hosted import HostedTools
from antiphon.config import McpServerSettings
from antiphon.errors import InvalidRequest
from antiphon.retrieval.filters import compile_filter
from antiphon.retrieval.search import ranking_options
from antiphon.retrieval.stores import Results, SearchableStores
from antiphon.tools.base import ToolResult
from antiphon.tools.egress import EgressPolicy
from antiphon.tools.file_search import search_files
from antiphon.tools.mcp import MCPServer
from antiphon.wire.hosted import FileSearchTool, McpTool, file_searches, mcp_tools
from antiphon.wire.items import Item

# Of a configured server, what a request says nothing about.
_DEFAULTS = ("allowed_tools", "require_approval")


class Hosting:
    """Gives each run its tools. ``servers`` are those of the configuration; ``egress`` says where URLs may lead."""

    def __init__(
        self,
        servers: Mapping[str, McpServerSettings],
        stores: SearchableStores,
        *,
        egress: EgressPolicy,
    ) -> None:
        self._servers = servers
        self._stores = stores
        self._egress = egress

    def tools(self, owner: str, tools: Sequence[dict[str, Any]], items: Sequence[Item]) -> HostedTools:
        """The tools of one run; see `antiphon.agent.runner.Host`."""
        return HostedTools(
            [self._completed(tool) for tool in tools],
            items,
            connect=self._connect,
            search=partial(self._search, owner),
        )

    async def check(self, owner: str, tools: Iterable[dict[str, Any]]) -> None:
        """See that what a request's tools name is there, before anything begins.

        Raises:
            InvalidRequest: an MCP tool names no server, or more than one; a filter or a ranking is none.
            EgressRefused: a URL leads where no request may.
            NotFound: a vector store is not there for this owner.
        """
        tools = [*tools]
        for server in mcp_tools(tools):
            if server.server_url is None:
                self._configured(server)
            elif server.connector_id is not None:
                raise InvalidRequest("An MCP tool has a server_url or a connector_id, not both.", param="tools")
            else:
                self._egress.check_url(server.server_url)
        for search in file_searches(tools):
            compile_filter(search.filters)
            ranking_options(search.ranking_options)
            for vector_store_id in search.vector_store_ids:
                await self._stores.require(owner, vector_store_id)

    # --- MCP servers -------------------------------------------------------------------------

    def _completed(self, tool: dict[str, Any]) -> dict[str, Any]:
        """A tool with what the configuration says of its server."""
        settings = self._servers.get(tool.get("connector_id") or tool.get("server_label", ""))
        if tool["type"] != "mcp" or tool.get("server_url") is not None or settings is None:
            return tool
        defaults = {name: value for name in _DEFAULTS if (value := getattr(settings, name)) is not None}
        return {**defaults, **{name: value for name, value in tool.items() if value is not None}}

    def _configured(self, tool: McpTool) -> McpServerSettings:
        name = tool.connector_id or tool.server_label
        if name not in self._servers:
            known = ", ".join(self._servers) or "none"
            message = f"There is no MCP server {name!r} here; configured are: {known}. Give its server_url."
            raise InvalidRequest(message, param="tools", code="connector_not_found")
        return self._servers[name]

    def _connect(self, tool: McpTool) -> MCPServer:
        if tool.server_url is not None:
            return MCPServer(
                name=tool.server_label,
                url=tool.server_url,
                headers=tool.headers,
                authorization=tool.authorization,
                egress=self._egress,
            )
        settings = self._configured(tool)
        return MCPServer(
            name=tool.server_label,
            url=settings.url,
            headers={**settings.headers, **(tool.headers or {})},
            authorization=tool.authorization or settings.authorization,
            command=settings.command,
            args=settings.args,
            env=settings.env,
            allowed_tools=settings.allowed_tools,
            timeout_s=settings.timeout_s,
            egress=None if settings.allow_private else self._egress,
        )

    # --- files -------------------------------------------------------------------------------

    async def _search(self, owner: str, tool: FileSearchTool, queries: Sequence[str]) -> ToolResult:
        async def find(tool: FileSearchTool, queries: Sequence[str]) -> Results:
            return await self._stores.search(
                owner,
                tool.vector_store_ids,
                queries,
                filters=tool.filters,
                ranking=ranking_options(tool.ranking_options),
                max_num_results=tool.max_num_results,
            )

        return await search_files(find, tool, queries)
