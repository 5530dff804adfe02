"""Tools that the server runs: their shapes in a request, and what a request says of each of a server's tools.

What an MCP server has is known from an ``mcp_list_tools`` item: it is asked once, and whoever continues from there has
the answer among the items.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from antiphon.wire.refusals import refusal

NonEmpty = Annotated[str, Meta(min_length=1)]

# Members of a tool that are for the server it names, and for no journal, no client and no log.
_SECRETS = ("authorization", "headers")

DEFAULT_FILE_SEARCH_NAME = "file_search"
DEFAULT_RESULTS = 10
MAX_RESULTS = 50
MAX_LABEL_LENGTH = 64


class ToolFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some of a server's tools: those named, and those that only read (or only those that do not)."""

    tool_names: tuple[str, ...] | None = None
    read_only: bool | None = None

    def matches(self, tool: dict[str, Any]) -> bool:
        """Whether a listed tool is meant."""
        if self.tool_names is not None and tool["name"] not in self.tool_names:
            return False
        return self.read_only is None or self.read_only is is_read_only(tool)


class ApprovalFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tools need an approval, and which never do; what is in neither does."""

    always: ToolFilter | None = None
    never: ToolFilter | None = None


class McpTool(Struct, kw_only=True):
    """The tools of an MCP server, named by its URL or by what the configuration calls it."""

    server_label: Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=MAX_LABEL_LENGTH)]
    server_url: NonEmpty | None = None
    connector_id: NonEmpty | None = None
    server_description: str | None = None
    authorization: NonEmpty | None = None
    headers: dict[str, str] | None = None
    allowed_tools: list[str] | ToolFilter | None = None
    require_approval: Literal["always", "never"] | ApprovalFilter | None = None

    def offers(self, tool: dict[str, Any]) -> bool:
        """Whether the model may be shown a listed tool."""
        if isinstance(self.allowed_tools, list):
            return tool["name"] in self.allowed_tools
        return self.allowed_tools is None or self.allowed_tools.matches(tool)

    def needs_approval(self, tool: dict[str, Any]) -> bool:
        """Whether a call of a listed tool waits for a person; it does unless the request says otherwise."""
        wanted = self.require_approval
        if not isinstance(wanted, ApprovalFilter):
            return wanted != "never"
        if wanted.always is not None and wanted.always.matches(tool):
            return True
        if wanted.never is not None:
            return not wanted.never.matches(tool)
        return wanted.always is None

    @property
    def source(self) -> str:
        """Says whether two requests mean the same tools of the same server; holds nothing that is secret."""
        allowed = self.allowed_tools
        meant = [self.server_url, self.connector_id, sorted(allowed) if isinstance(allowed, list) else allowed]
        return hashlib.sha256(msgspec.json.encode(meant)).hexdigest()[:16]


class FileSearchTool(Struct, kw_only=True):
    """A search in vector stores. ``name`` is how the model knows it: an extension of ours."""

    vector_store_ids: Annotated[list[NonEmpty], Meta(min_length=1)]
    max_num_results: Annotated[int, Meta(ge=1, le=MAX_RESULTS)] = DEFAULT_RESULTS
    ranking_options: dict[str, Any] | None = None
    filters: dict[str, Any] | None = None
    name: NonEmpty = DEFAULT_FILE_SEARCH_NAME


HOSTED_TYPES: dict[str, type[Struct]] = {"mcp": McpTool, "file_search": FileSearchTool}


class Imported(NamedTuple):
    """A server's tools, as a request offers them: each is a member of an ``mcp_list_tools`` item."""

    server: McpTool
    tools: list[dict[str, Any]]


def mcp_tool(described: dict[str, Any]) -> McpTool:
    """An MCP server as a request describes it.

    Raises:
        InvalidRequest: that is not how the API describes one.
    """
    try:
        return msgspec.convert(described, McpTool)
    except msgspec.ValidationError as error:
        raise refusal(error, described) from None


def mcp_tools(tools: Iterable[dict[str, Any]]) -> list[McpTool]:
    """The MCP servers among a request's tools, which were checked."""
    return [msgspec.convert(tool, McpTool) for tool in tools if tool["type"] == "mcp"]


def file_searches(tools: Iterable[dict[str, Any]]) -> list[FileSearchTool]:
    """The file searches among a request's tools, which were checked."""
    return [msgspec.convert(tool, FileSearchTool) for tool in tools if tool["type"] == "file_search"]


def imported(tools: Iterable[dict[str, Any]], items: Sequence[dict[str, Any]]) -> Iterator[Imported]:
    """What the servers among ``tools`` offer, by their newest lists among ``items``."""
    lists = {item.get("server_label"): item for item in items if item.get("type") == "mcp_list_tools"}
    for server in mcp_tools(tools):
        listed = lists.get(server.server_label, {}).get("tools")
        yield Imported(server, [tool for tool in _list(listed) if _is_tool(tool) and server.offers(tool)])


def is_read_only(tool: dict[str, Any]) -> bool:
    """Whether a server says that its tool changes nothing."""
    return _hint(tool, "readOnlyHint")


def is_repeatable(tool: dict[str, Any]) -> bool:
    """Whether a server says that running its tool twice does no more than running it once."""
    return is_read_only(tool) or _hint(tool, "idempotentHint")


def without_secrets(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as it may be written down and shown; the very dict where nothing is secret."""
    if not any(name in tool for name in _SECRETS):
        return tool
    return {name: value for name, value in tool.items() if name not in _SECRETS}


def queries_of(arguments: str) -> list[str]:
    """What a call of the file search asks for: ``query`` or ``queries``; nothing where neither is there."""
    try:
        asked = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return []
    if isinstance(asked, str):
        return [asked] if asked.strip() else []
    if not isinstance(asked, dict):
        return []
    found = [asked.get("query"), *_list(asked.get("queries"))]
    return list(dict.fromkeys(query for query in found if isinstance(query, str) and query.strip()))


def _hint(tool: dict[str, Any], name: str) -> bool:
    annotations = tool.get("annotations")
    return isinstance(annotations, dict) and annotations.get(name) is True


def _is_tool(tool: object) -> bool:
    return isinstance(tool, dict) and isinstance(tool.get("name"), str) and bool(tool["name"])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
