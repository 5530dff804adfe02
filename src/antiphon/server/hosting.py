"""What requests find at this server: MCP servers, by URL or by their names in the configuration, searches, files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from antiphon.agent.hosted import HostedTools
from antiphon.config import EgressSettings, McpServerSettings
from antiphon.retrieval.filters import compile_filter
from antiphon.retrieval.inputs import check_files, resolved_files
from antiphon.retrieval.search import ranking_options
from antiphon.retrieval.stores import SearchableStores
from antiphon.store.blobs import Blobs
from antiphon.store.files import Files
from antiphon.tools.base import ToolResult, ToolServer
from antiphon.tools.file_search import Found, search_files
from antiphon.tools.mcp.naming import named_servers, with_defaults
from antiphon.tools.taped import FILE_SEARCH, TapedServer, TapedTools
from antiphon.wire.hosted import FileSearchTool, McpTool, file_searches, mcp_tools
from antiphon.wire.items import Item
from antiphon.wire.vector_stores import SearchResult


class Hosting:
    """Gives each run its tools, and the files that it names.

    ``servers`` are those of the configuration; ``egress`` says where URLs of requests may lead. With
    a ``tape``, what tools do is recorded on it, or answered from it; what is answered has to be nowhere.

    Raises:
        ConfigError: an entry of ``egress`` is neither an address, nor a network, nor a name.
    """

    def __init__(
        self,
        servers: Mapping[str, McpServerSettings],
        stores: SearchableStores,
        files: Files,
        blobs: Blobs,
        *,
        egress: EgressSettings,
        tape: TapedTools | None = None,
    ) -> None:
        self._servers = servers
        self._find = named_servers(servers, egress)
        self._stores = stores
        self._files = files
        self._blobs = blobs
        self._tape = tape

    def tools(self, owner: str, tools: Sequence[dict[str, Any]], items: Sequence[Item]) -> HostedTools:
        """The tools of one run; see `antiphon.agent.runner.Host`."""
        return HostedTools(
            [with_defaults(tool, self._servers) for tool in tools],
            items,
            connect=self._connect,
            search=partial(self._search, owner),
        )

    def _connect(self, tool: McpTool) -> ToolServer:
        if self._tape is None:
            return self._find(tool)
        definition = {"type": "mcp", "server_label": tool.server_label}
        return TapedServer(tool.server_label, definition, lambda: self._find(tool), self._tape)

    def _is_recorded(self, name: str) -> bool:
        return self._tape is not None and self._tape.is_recorded(name)

    async def load(self, owner: str, items: list[Item]) -> list[Item]:
        """The items with the data of the files they name; see `antiphon.agent.runner.Load`."""
        return await resolved_files(self._files, self._blobs, owner, items)

    async def check(self, owner: str, tools: Iterable[dict[str, Any]], items: Sequence[Item]) -> None:
        """See that what a request names is there, before anything begins.

        Raises:
            InvalidRequest: an MCP tool names no server, or more than one; a filter or a ranking is none; an item names
                no file of this owner.
            EgressRefused: a URL leads where no request may.
            NotFound: a vector store is not there for this owner.
        """
        tools = [*tools]
        for server in mcp_tools(tools):
            if not self._is_recorded(f"{server.server_label}/"):
                self._find(server)
        for search in file_searches(tools):
            compile_filter(search.filters)
            ranking_options(search.ranking_options)
            for vector_store_id in () if self._is_recorded(FILE_SEARCH) else search.vector_store_ids:
                await self._stores.require(owner, vector_store_id)
        await check_files(self._files, owner, items)

    async def _search(self, owner: str, tool: FileSearchTool, queries: Sequence[str]) -> ToolResult:
        async def search() -> ToolResult:
            return await search_files(self._found(owner, tool, queries))

        if self._tape is None:
            return await search()
        asked = {"queries": [*queries], "filters": tool.filters, "max_num_results": tool.max_num_results}
        return await self._tape.call(FILE_SEARCH, asked, search, ToolResult)

    async def _found(self, owner: str, tool: FileSearchTool, queries: Sequence[str]) -> Found:
        found = await self._stores.search(
            owner,
            tool.vector_store_ids,
            queries,
            filters=tool.filters,
            ranking=ranking_options(tool.ranking_options),
            max_num_results=tool.max_num_results,
        )
        return Found([_shown(result) for result in found.results], found.queries, found.notes)


def _shown(result: SearchResult) -> dict[str, Any]:
    return {
        "file_id": result.file_id,
        "filename": result.filename,
        "score": result.score,
        "attributes": result.attributes,
        "text": "\n".join(part["text"] for part in result.content),
    }
