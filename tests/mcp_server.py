"""An MCP server with the tools of the recorded agent runs, and with tools that behave badly; over all three transports.

    python tests/mcp_server.py           speaks over its pipes

The first seven are those of the recordings: names, descriptions, schemas and results are theirs.
"""

import asyncio
import base64
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import msgspec
import uvicorn
from mcp.server.mcpserver import Audio, Context, Image, MCPServer
from mcp_types import (
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)
from pydantic import Field
from starlette.types import ASGIApp, Receive, Scope, Send

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

USERS = {"alice": "user_12345", "bob": "user_67890", "charlie": "user_11111"}
PERMISSIONS = {"user_12345": "read,write", "user_67890": "read", "user_11111": "admin"}
FILES = {("user_12345", "document.txt"): "yes", ("user_11111", "secret_file.txt"): "no"}
EXPERIMENTS = {"chemical_reaction": "exp_003", "boiling_point": "exp_004"}
RESULTS = {"exp_003": "Yield: 85%, Status: Complete", "exp_004": "Boiling Point: 100°C, Status: Verified"}

READ_ONLY = ToolAnnotations(read_only_hint=True)


def build() -> MCPServer:
    """A server that remembers nothing of another."""
    server = MCPServer("antiphon-tests", log_level="CRITICAL")
    _add_recorded(server)
    _add_results(server)
    _add_trouble(server)
    return server


def _add_recorded(server: MCPServer) -> None:
    @server.tool(structured_output=False)
    def get_user_id(username: str) -> str:
        """
        Get the user ID for a given username. This ID is needed for other operations.

        :param username: The username to look up
        :return: The user ID for the username
        """
        return USERS.get(username.lower(), "user_not_found")

    @server.tool(structured_output=False)
    def get_user_permissions(user_id: str) -> str:
        """
        Get the permissions for a user ID. Requires a valid user ID from get_user_id.

        :param user_id: The user ID to check permissions for
        :return: The permissions for the user
        """
        return PERMISSIONS.get(user_id, "no_permissions")

    @server.tool(structured_output=False)
    def check_file_access(user_id: str, filename: str) -> str:
        """
        Check if a user can access a specific file. Requires a valid user ID.

        :param user_id: The user ID to check access for
        :param filename: The filename to check access to
        :return: Whether the user can access the file (yes/no)
        """
        return FILES.get((user_id, filename), "no")

    @server.tool(structured_output=False)
    def get_experiment_id(experiment_name: str) -> str:
        """
        Get the experiment ID for a given experiment name. This ID is needed to get results.

        :param experiment_name: The name of the experiment
        :return: The experiment ID
        """
        return EXPERIMENTS.get(experiment_name.lower(), "exp_not_found")

    @server.tool(structured_output=False)
    def get_experiment_results(experiment_id: str) -> str:
        """
        Get the results for an experiment ID. Requires a valid experiment ID from get_experiment_id.

        :param experiment_id: The experiment ID to get results for
        :return: The experiment results
        """
        return RESULTS.get(experiment_id, "no_results")

    @server.tool(structured_output=False)
    def greet_everyone(url: str) -> str:
        return f"Hello, {url}"

    @server.tool(structured_output=False)
    def get_boiling_point(liquid_name: str, celsius: bool = True) -> int:
        """
        Returns the boiling point of a liquid in Celsius or Fahrenheit.

        :param liquid_name: The name of the liquid
        :param celsius: Whether to return the boiling point in Celsius
        :return: The boiling point of the liquid in Celcius or Fahrenheit
        """
        return {"myawesomeliquid": (-100, -148)}.get(liquid_name.lower(), (-1, -1))[0 if celsius else 1]


def _add_results(server: MCPServer) -> None:
    @server.tool(annotations=READ_ONLY)
    def weigh(grams: Annotated[int, Field(ge=1)]) -> dict[str, int]:
        """Structured content."""
        return {"grams": grams, "pounds": grams // 453}

    @server.tool(structured_output=False)
    def structured_only() -> CallToolResult:
        """Structured content without a text."""
        return CallToolResult(content=[], structured_content={"answer": 42})

    @server.tool(structured_output=False)
    def draw() -> list[Any]:
        """A text, an image and a sound."""
        return ["A dot.", Image(data=PNG, format="png"), Audio(data=b"RIFF", format="wav")]

    @server.tool(structured_output=False)
    def attach() -> CallToolResult:
        """A link, a text and a file."""
        text = TextResourceContents(uri="file:///notes.txt", mime_type="text/plain", text="Some notes.")
        blob = BlobResourceContents(
            uri="file:///a/report.pdf", mime_type="application/pdf", blob=base64.b64encode(b"%PDF").decode()
        )
        return CallToolResult(
            content=[
                ResourceLink(name="site", uri="https://example.com/", description="A site"),
                EmbeddedResource(resource=text),
                EmbeddedResource(resource=blob),
            ]
        )

    @server.tool(structured_output=False)
    def large(size: int = 3_000_000) -> str:
        """As many bytes as are asked for."""
        return "é" * (size // 2)

    @server.tool(structured_output=False)
    def received(ctx: Context[Any]) -> str:
        """What came with the call, as JSON."""
        meta = ctx.request_context.meta
        return msgspec.json.encode({"meta": dict(meta or {}), "headers": dict(ctx.headers or {})}).decode()


def _add_trouble(server: MCPServer) -> None:
    effects: list[str] = []

    @server.tool(structured_output=False)
    def fail(words: str) -> CallToolResult:
        """Says that it failed."""
        return CallToolResult(content=[TextContent(text=words)], is_error=True)

    @server.tool()
    async def hang() -> str:
        """Never answers."""
        await asyncio.Event().wait()
        return "never"

    @server.tool(structured_output=False)
    def touch(what: str) -> str:
        """Has an effect."""
        effects.append(what)
        return str(len(effects))

    @server.tool(structured_output=False)
    def stop(status: int = 1) -> str:
        """Ends the process; only for one of its own."""
        os._exit(status)

    @server.tool(annotations=READ_ONLY, structured_output=False)
    def stop_once(flag_file: str) -> str:
        """Ends the process the first time, and answers the second."""
        if os.path.exists(flag_file):
            return "still here"
        open(flag_file, "w").close()
        os._exit(1)


# --- over HTTP -------------------------------------------------------------------------------


class Gate:
    """The server behind something that refuses: what an operator puts before it, or an older server."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.token: str | None = None
        self.is_old = False  # knows nothing of the protocol of 2026
        self.requests: list[str] = []
        self.forget = False  # answers the next request as one that belongs to no session
        self.holds_delete: threading.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        method = headers.get("mcp-method", "")
        self.requests.append(f"{scope['method']} {method}".strip())
        if self.token and headers.get("authorization") != f"Bearer {self.token}":
            body = {"error": "invalid_token", "error_description": f"No user has {headers.get('authorization')}"}
            return await _answer(send, 401, body)
        if self.is_old and method == "server/discover":
            error = {"code": -32601, "message": "Method not found"}
            return await _answer(send, 400, {"jsonrpc": "2.0", "id": None, "error": error})
        if self.forget and "mcp-session-id" in headers:
            self.forget = False
            return await _answer(send, 404, {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "?"}})
        if scope["method"] == "DELETE" and self.holds_delete:
            await asyncio.to_thread(self.holds_delete.wait)
        return await self.app(scope, receive, send)


async def _answer(send: Send, status: int, body: Any) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": msgspec.json.encode(body)})


@contextmanager
def serving(transport: Literal["http", "sse"], **options: Any) -> Iterator[tuple[str, Gate]]:
    """The server on a socket of this machine, in a thread; gives its URL, and what stands before it."""
    server = build()
    if transport == "http":
        gate, path = Gate(server.streamable_http_app(**options)), "/mcp"
    else:
        gate, path = Gate(server.sse_app(**options)), "/sse"
    with on_socket(gate) as base_url:
        yield f"{base_url}{path}", gate


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextmanager
def on_socket(app: ASGIApp, **options: Any) -> Iterator[str]:
    """An application on a socket of this machine, in a thread; gives its base URL. ``options`` are uvicorn's."""
    quiet = {"host": "127.0.0.1", "port": 0, "log_level": "critical", "timeout_graceful_shutdown": 1}
    server = _Server(uvicorn.Config(app, **{**quiet, **options}))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        assert server.ready.wait(10)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def command() -> dict[str, Any]:
    """What starts the server over its pipes: arguments of a client."""
    return {"command": sys.executable, "args": [__file__]}


if __name__ == "__main__":
    build().run()
