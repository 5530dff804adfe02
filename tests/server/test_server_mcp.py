"""Antiphon as an MCP server: its tools as the protocol's own client sees them, in process and over pipes."""

import asyncio
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mcp import Client, StdioServerParameters

from antiphon.cli import main
from antiphon.config import EgressSettings, load_settings
from antiphon.server.mcp import build
from antiphon.server.workbench import Workbench
from antiphon.tools.base import ToolError
from antiphon.tools.mcp import MCPServer
from antiphon.tools.mcp.naming import named_servers
from antiphon.wire.hosted import mcp_tool

ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT / "examples" / "recordings"
DOCS = ROOT / "docs" / "mcp.md"
ARGUMENTS = ["-m", "antiphon", "mcp", "--root", str(RECORDINGS)]


async def told(server: Any, name: str, **arguments: Any) -> tuple[bool, str]:
    async with Client(server) as client:
        result = await client.call_tool(name, arguments)
        return result.is_error, result.content[0].text  # type: ignore[union-attr]


def test_every_tool_is_described_and_says_whether_it_only_looks() -> None:
    async def listed() -> Any:
        async with Client(build(Workbench(RECORDINGS))) as client:
            assert "replay_cassette" in (client.instructions or "")
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in asyncio.run(listed())}
    assert [*tools] == [
        *("list_interactions", "inspect_cassette", "show_interaction", "diff_cassettes", "verify_cassette"),
        *("replay_cassette", "search_runs", "show_run", "replay_run"),
    ]
    assert all(tool.description for tool in tools.values())
    assert [name for name, tool in tools.items() if not tool.annotations.read_only_hint] == ["replay_run"]


def test_a_tool_gives_json() -> None:
    is_error, text = asyncio.run(
        told(build(Workbench(RECORDINGS)), "verify_cassette", path="multi_tool_streaming.yaml")
    )
    assert not is_error
    assert json.loads(text) == {"is_fit": True, "findings": []}


def test_an_error_of_ours_is_told_to_the_agent() -> None:
    is_error, text = asyncio.run(told(build(Workbench(RECORDINGS)), "show_run", id="resp_1"))
    assert is_error
    assert text.endswith("No runs can be read here. Start with --data-dir DIR.")


def test_the_command_speaks_the_protocol_over_its_pipes() -> None:
    server = StdioServerParameters(command=sys.executable, args=ARGUMENTS)
    _, text = asyncio.run(told(server, "list_interactions", path="multi_tool_streaming.yaml"))
    assert [each["model"] for each in json.loads(text)["interactions"]] == ["gpt-4o-mini", "gpt-4o-mini"]


def test_our_own_client_may_use_our_own_server() -> None:
    async def asked() -> Any:
        async with MCPServer(command=sys.executable, args=ARGUMENTS) as server:
            return await server.call("diff_cassettes", '{"a": "../x", "b": "y"}', idempotency_key="k")

    with pytest.raises(ToolError, match=r"\.\./x is outside of"):
        asyncio.run(asked())


def test_a_root_that_is_none_is_refused() -> None:
    found = CliRunner().invoke(main, ["mcp", "--root", "no-such-directory"])
    assert found.exit_code == 2
    assert "'no-such-directory' is no directory" in found.output


def test_the_help_is_there_without_loading_the_protocol() -> None:
    script = "import sys; from antiphon.cli import main; main(['mcp', '--help'], standalone_mode=False); "
    script += "print('loaded', 'mcp' in sys.modules, file=sys.stderr)"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "--root DIR" in shown.stdout
    assert shown.stderr.strip() == "loaded False"


def test_the_page_on_mcp_names_every_tool_of_ours() -> None:
    page = DOCS.read_text("utf-8")

    async def names() -> list[str]:
        async with Client(build(Workbench(RECORDINGS))) as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    assert [name for name in asyncio.run(names()) if f"`{name}`" not in page] == []


def test_the_examples_of_the_page_are_taken(tmp_path: Path) -> None:
    page = DOCS.read_text("utf-8")
    servers, codex = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    toml = tmp_path / "antiphon.toml"
    toml.write_text(servers)
    configured = load_settings({"upstream": "http://localhost/v1"}, {"DOCS_TOKEN": "t"}, toml).mcp_servers
    find = named_servers(configured, EgressSettings())
    tools, clients = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    for line in tools.splitlines():
        assert find(mcp_tool(json.loads(line))).label
    (python,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(python, {})
    for started in (tomllib.loads(codex)["mcp_servers"], json.loads(clients)["mcpServers"]):
        name, *options = started["antiphon"]["args"]
        assert started["antiphon"]["command"] == "antiphon"
        assert set(options[::2]) <= {option for each in main.commands[name].params for option in each.opts}
