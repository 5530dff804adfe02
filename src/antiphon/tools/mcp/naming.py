"""Which server a request means: one of the configuration by its name, or the one behind a URL of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from antiphon.config import EgressSettings, McpServerSettings
from antiphon.errors import InvalidRequest
from antiphon.tools.egress import EgressPolicy
from antiphon.tools.mcp.server import MCPServer
from antiphon.wire.hosted import McpTool

# Headers that a server's token, or the connection itself, is made of.
_NOT_FOR_REQUESTS = frozenset({"authorization", "host", "content-length", "transfer-encoding", "connection"})


def named_servers(
    configured: Mapping[str, McpServerSettings], egress: EgressSettings
) -> Callable[[McpTool], MCPServer]:
    """What finds the server that a request's tool means. It connects to nothing yet.

    ``connector_id`` names a server of the configuration, and so does ``server_label`` without a ``server_url``. A
    request may bring the token of such a server if the configuration has none, and no headers. A command is never
    taken from a request, and where its URLs may lead is decided by ``egress``.

    The function raises InvalidRequest for a server that is not known, or not described as it must be, and
    EgressRefused for a URL whose host is an address that is not allowed.

    Raises:
        ConfigError: an entry of ``egress`` is neither an address, nor a network, nor a name.
    """
    policy = EgressPolicy(egress.allow)

    def find(tool: McpTool) -> MCPServer:
        if tool.server_url is None:
            name = tool.connector_id or tool.server_label
            if name not in configured:
                raise _unknown(tool, [*configured])
            return _of_settings(configured[name], tool, policy)
        if tool.connector_id is not None:
            raise InvalidRequest("server_url and connector_id exclude each other. Drop one of them.", param="tools")
        _check_headers(tool)
        policy.check_url(tool.server_url)
        return MCPServer(
            url=tool.server_url,
            headers=tool.headers,
            authorization=tool.authorization,
            name=tool.server_label,
            egress=policy,
        )

    return find


def with_defaults(tool: dict[str, Any], configured: Mapping[str, McpServerSettings]) -> dict[str, Any]:
    """An MCP tool of a request, with the ``require_approval`` of the configured server it names if it has none."""
    settings = configured.get(tool.get("connector_id") or tool.get("server_label") or "")
    if settings is None or tool.get("server_url") is not None or tool.get("require_approval") is not None:
        return tool
    return {**tool, "require_approval": msgspec.to_builtins(settings.require_approval)}


def _of_settings(settings: McpServerSettings, tool: McpTool, policy: EgressPolicy) -> MCPServer:
    """A caller must not send what it likes where the operator's token goes, nor change what is asked there."""
    takes_token = settings.url is not None and settings.authorization is None
    if tool.headers or (tool.authorization and not takes_token):
        field = "headers" if tool.headers else "authorization"
        raise InvalidRequest(
            f"{field} cannot be given for the MCP server {settings.name!r}: the configuration has it.",
            param=f"tools.{field}",
        )
    return MCPServer(
        url=settings.url,
        headers=settings.headers,
        authorization=settings.authorization or tool.authorization,
        command=settings.command,
        args=settings.args,
        env=settings.env,
        name=tool.server_label,
        allowed_tools=msgspec.to_builtins(settings.allowed_tools),
        timeout_s=settings.timeout_s,
        egress=None if settings.allow_private else policy,
    )


def _check_headers(tool: McpTool) -> None:
    for name, value in (tool.headers or {}).items():
        if tool.authorization and name.lower() == "authorization":
            raise InvalidRequest("headers has an Authorization beside authorization. Drop one.", param="tools.headers")
        if name.lower() in _NOT_FOR_REQUESTS - {"authorization"} or not (name.isascii() and value.isprintable()):
            raise InvalidRequest(f"The header {name!r} cannot be sent to an MCP server.", param="tools.headers")


def _unknown(tool: McpTool, known: list[str]) -> InvalidRequest:
    names = f"It has: {', '.join(known)}." if known else "It has none."
    if tool.connector_id is not None:
        return InvalidRequest(
            f"The configuration has no MCP server {tool.connector_id!r}. {names}", param="tools.connector_id"
        )
    return InvalidRequest(
        f"The MCP tool {tool.server_label!r} has no server_url, and the configuration has no server of that name."
        f" {names}",
        param="tools.server_url",
    )
