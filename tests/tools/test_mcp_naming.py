"""Which MCP server a request means, and what it may say of it."""

import asyncio
from typing import Any

import pytest

import mcp_server
from antiphon.config import EgressSettings, McpServerSettings
from antiphon.errors import ConfigError, EgressRefused, InvalidRequest, ToolServerError
from antiphon.tools.mcp.naming import named_servers, with_defaults
from antiphon.wire.hosted import McpTool

DOCS = McpServerSettings(name="docs", url="https://docs.example/mcp", authorization="t", require_approval="never")
CALENDAR = McpServerSettings(name="calendar", url="https://calendar.example/mcp", allowed_tools=("read",))
GIT = McpServerSettings(name="git", command="uvx", args=("mcp-server-git",))
CONFIGURED = {each.name: each for each in (DOCS, CALENDAR, GIT)}

find = named_servers(CONFIGURED, EgressSettings(allow=("10.0.0.0/8",)))


def tool(**fields: Any) -> McpTool:
    return McpTool(**{"server_label": "mine", **fields})


def test_a_server_is_found_by_connector_or_by_label_or_by_its_url() -> None:
    assert repr(find(tool(connector_id="docs"))) == "<MCP server mine: https://docs.example>"
    assert repr(find(tool(server_label="git"))) == "<MCP server git: the command 'uvx'>"
    assert repr(find(tool(server_url="https://x.example/mcp?k=1"))) == "<MCP server mine: https://x.example>"


def test_the_tools_that_the_configuration_allows_stay_the_only_ones() -> None:
    server = find(tool(connector_id="calendar", allowed_tools=["read", "write"]))
    assert not server.tool.offers({"name": "write"})


def test_a_request_may_bring_the_token_that_the_configuration_lacks() -> None:
    find(tool(connector_id="calendar", authorization="the caller's own"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"connector_id": "dosc"}, "has no MCP server 'dosc'. It has: docs, calendar, git."),
        ({}, "'mine' has no server_url, and the configuration has no server of that name"),
        ({"connector_id": "docs", "authorization": "a"}, "authorization cannot be given for the MCP server 'docs'"),
        ({"connector_id": "calendar", "headers": {"a": "b"}}, "headers cannot be given for the MCP server 'calendar'"),
        ({"connector_id": "git", "authorization": "a"}, "authorization cannot be given for the MCP server 'git'"),
        ({"connector_id": "docs", "server_url": "http://x"}, "exclude each other"),
        ({"server_url": "http://x", "authorization": "a", "headers": {"Authorization": "b"}}, "Drop one"),
        ({"server_url": "http://x", "headers": {"Host": "b"}}, "'Host' cannot be sent"),
        ({"server_url": "http://x", "headers": {"a": "b\r\nc: d"}}, "'a' cannot be sent"),
    ],
)
def test_what_a_request_may_not_say_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        find(tool(**fields))


def test_a_url_that_leads_inside_is_refused_unless_it_is_allowed() -> None:
    with pytest.raises(EgressRefused, match=r"The host '192\.168\.1\.5'"):
        find(tool(server_url="http://192.168.1.5/mcp"))
    find(tool(server_url="http://10.1.2.3/mcp"))


def test_a_server_on_this_machine_needs_the_operators_word() -> None:
    async def listed(settings: McpServerSettings) -> int:
        async with named_servers({"lab": settings}, EgressSettings())(tool(connector_id="lab")) as server:
            return len(await server.list_tools())

    with mcp_server.serving("http") as (url, _):
        with pytest.raises(ToolServerError, match="does not lead to a public address"):
            asyncio.run(listed(McpServerSettings(name="lab", url=url)))
        assert asyncio.run(listed(McpServerSettings(name="lab", url=url, allow_private=True))) > 5


def test_a_wrong_exception_of_egress_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(ConfigError, match=r"egress\.allow: '10\.0\.0\.0/99'"):
        named_servers({}, EgressSettings(allow=("10.0.0.0/99",)))


def test_the_configuration_says_what_needs_approval_where_a_request_does_not() -> None:
    named = {"type": "mcp", "server_label": "docs"}
    assert with_defaults(named, CONFIGURED) == {**named, "require_approval": "never"}
    for other in ({**named, "require_approval": "always"}, {**named, "server_url": "http://x"}, {"server_label": "y"}):
        assert with_defaults(other, CONFIGURED) == other
