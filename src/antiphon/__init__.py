"""Antiphon: an agent server and library that speaks the OpenAI APIs over any model; every run is a journal."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as _Any

if TYPE_CHECKING:
    from antiphon.agent.acting import Decision
    from antiphon.agent.agent import Agent
    from antiphon.agent.limits import Limits
    from antiphon.agent.models import Model, Upstream, models
    from antiphon.agent.parts import file, image
    from antiphon.agent.prices import Price
    from antiphon.agent.result import Approval, RunResult, RunStream
    from antiphon.agent.steps import Step, stop_after
    from antiphon.agent.vector_store import VectorStore
    from antiphon.errors import RunFailed
    from antiphon.tools.base import ToolError, ToolResult
    from antiphon.tools.function import FunctionTool, ToolContext, tool
    from antiphon.tools.mcp.server import MCPServer
    from antiphon.tools.results import StopRun

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "Approval",
    "Decision",
    "FunctionTool",
    "Limits",
    "MCPServer",
    "Model",
    "Price",
    "RunFailed",
    "RunResult",
    "RunStream",
    "Step",
    "StopRun",
    "ToolContext",
    "ToolError",
    "ToolResult",
    "Upstream",
    "VectorStore",
    "file",
    "image",
    "models",
    "stop_after",
    "tool",
]

# Where each name is defined: what nobody asks for is not imported, and the command line stays quick.
_HOMES = {
    "Agent": "agent.agent",
    "Approval": "agent.result",
    "Decision": "agent.acting",
    "FunctionTool": "tools.function",
    "Limits": "agent.limits",
    "MCPServer": "tools.mcp.server",
    "Model": "agent.models",
    "Price": "agent.prices",
    "RunFailed": "errors",
    "RunResult": "agent.result",
    "RunStream": "agent.result",
    "Step": "agent.steps",
    "StopRun": "tools.results",
    "ToolContext": "tools.function",
    "ToolError": "tools.base",
    "ToolResult": "tools.base",
    "Upstream": "agent.models",
    "VectorStore": "agent.vector_store",
    "file": "agent.parts",
    "image": "agent.parts",
    "models": "agent.models",
    "stop_after": "agent.steps",
    "tool": "tools.function",
}


def __getattr__(name: str) -> _Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(_import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
