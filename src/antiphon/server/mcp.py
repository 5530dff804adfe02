"""Antiphon as an MCP server: the `Workbench` as tools of the protocol.

This module imports mcp, so nothing imports it before ``antiphon mcp`` runs.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

from antiphon import __version__
from antiphon.errors import AntiphonError
from antiphon.server.workbench import Workbench

_INSTRUCTIONS = """\
Antiphon's recordings (cassettes) of model calls, and the runs that its server has stored. To debug an agent: find the
run (search_runs, show_run) or the interaction (list_interactions, show_interaction), look for what was mended
(diagnostics), compare recordings (diff_cassettes), and ask a recording a request (replay_cassette) to see why a test's
replay finds no answer. Paths are relative to the directory that the server was started for.
"""

_LOOKS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_ASKS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True)


def build(workbench: Workbench) -> MCPServer:
    """The server of a workbench; `MCPServer.run` serves it."""
    server = MCPServer("antiphon", instructions=_INSTRUCTIONS, version=__version__, log_level="WARNING")
    looking = (
        workbench.list_interactions,
        workbench.inspect_cassette,
        workbench.show_interaction,
        workbench.diff_cassettes,
        workbench.verify_cassette,
        workbench.replay_cassette,
        workbench.search_runs,
        workbench.show_run,
    )
    for tool in looking:
        server.add_tool(_told(tool), annotations=_LOOKS)
    server.add_tool(_told(workbench.replay_run), annotations=_ASKS)
    return server


def _told(tool: Callable[..., Any]) -> Callable[..., Any]:
    """The tool, with errors of ours told to the agent; of others the package tells nothing."""

    @functools.wraps(tool)
    async def told(*args: Any, **kwargs: Any) -> Any:
        try:
            value = tool(*args, **kwargs)
            return await value if inspect.isawaitable(value) else value
        except AntiphonError as error:
            raise ToolError(error.message) from error

    return told
