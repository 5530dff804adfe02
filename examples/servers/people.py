"""An MCP server over its pipes, for the example beside it: it knows who works where."""

from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

DESKS = {"Ada": "3.14", "Grace": "2.71"}

server = MCPServer("people", log_level="CRITICAL")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def find_desk(name: str) -> str:
    """Say at which desk somebody works."""
    return DESKS.get(name, "unknown")


@server.tool()
def move(name: str, desk: str) -> str:
    """Give somebody another desk."""
    DESKS[name] = desk
    return f"{name} now works at desk {desk}."


if __name__ == "__main__":
    server.run()
