"""The Model Context Protocol, from the side of who uses the tools; `naming` finds the server that a request means."""

from antiphon.tools.mcp.server import MCPServer

__all__ = ["MCPServer"]
