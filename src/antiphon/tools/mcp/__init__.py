"""The Model Context Protocol, from the side of who uses the tools."""

from antiphon.tools.mcp.server import MCPServer

__all__ = ["MCPServer"]
