"""An MCP server as a source of tools: it is connected to when it is first used, and kept until it is closed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import msgspec

from antiphon.errors import ToolServerError, UsageError
from antiphon.tools.base import ToolError, ToolResult
from antiphon.tools.egress import EgressPolicy
from antiphon.tools.mcp.failures import Answered
from antiphon.tools.mcp.link import UNKNOWN_OUTCOME, Link
from antiphon.tools.mcp.results import MAX_TEXT_BYTES, to_result
from antiphon.tools.schemas import BadSchema, validator
from antiphon.wire.hosted import MAX_LABEL_LENGTH, McpTool, is_repeatable, mcp_tool

if TYPE_CHECKING:
    from mcp.client.session import ClientSession

CONNECT_TIMEOUT_S = 30.0
CALL_TIMEOUT_S = 300.0


class MCPServer:
    """The tools of an MCP server, behind a URL or started as a command. Use it with ``async with``, or close it.

    ``url`` is a server of streamable HTTP or of the older SSE; ``headers`` and ``authorization`` (an OAuth access
    token) are sent with each request. ``command`` with ``args`` is started with ``env`` and few variables of ours.
    ``name`` is its label. ``allowed_tools`` is a list of names, or a filter as in the API (``{"read_only": True}``);
    ``require_approval`` is "always", "never" or filters under these words. ``timeout_s`` limits a listing, and calls
    whose own limit is longer. ``egress`` limits where ``url`` may lead; without it, anywhere.

    Raises:
        UsageError: it is neither a URL nor a command, or both.
        InvalidRequest: ``allowed_tools`` or ``require_approval`` are of no shape that the API knows.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        headers: Mapping[str, str] | None = None,
        authorization: str | None = None,
        command: str | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        name: str | None = None,
        allowed_tools: Sequence[str] | Mapping[str, Any] | None = None,
        require_approval: str | Mapping[str, Any] = "never",
        timeout_s: float = CALL_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        max_result_bytes: int = MAX_TEXT_BYTES,
        egress: EgressPolicy | None = None,
    ) -> None:
        if (url is None) == (command is None):
            raise UsageError("An MCP server has either a url or a command. Give one of them.")
        headers = dict(headers or {})
        if authorization:
            headers["authorization"] = f"Bearer {authorization}"
        self.label = name or _label(url, [command or "", *args])
        self.tool: McpTool = mcp_tool(
            {"server_label": self.label, "allowed_tools": allowed_tools, "require_approval": require_approval}
        )
        self.timeout_s = timeout_s
        self._max_result_bytes = max_result_bytes
        self._tools: dict[str, dict[str, Any]] | None = None
        self._link = Link(
            self.label,
            url=url,
            headers=headers,
            command=command,
            args=tuple(args),
            env=dict(env or {}),
            cwd=cwd,
            connect_timeout_s=connect_timeout_s,
            policy=egress,
        )

    def __repr__(self) -> str:
        return f"<MCP server {self.label}: {self._link.where}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @property
    def definition(self) -> dict[str, Any]:
        """The tool as the Responses API describes it; nothing in it is secret."""
        described: dict[str, Any] = msgspec.to_builtins(self.tool)
        return {"type": "mcp", **{name: value for name, value in described.items() if value is not None}}

    async def list_tools(self) -> list[dict[str, Any]]:
        """The tools that may be called, in the server's order, with their schemas as they were sent.

        Raises:
            ToolServerError: it cannot be reached, or says no; in its own words.
        """
        self._tools = None
        return [dict(tool) for tool in (await self._listing()).values()]

    def remember(self, tools: Iterable[Mapping[str, Any]]) -> None:
        """Take a listing that was made before, so that calls need none."""
        self._tools = {tool["name"]: dict(tool) for tool in tools if self.tool.offers(dict(tool))}

    def may_repeat(self, name: str) -> bool:
        """Whether a call of that tool may be made again when nobody knows if it was made.

        True if the server says that the tool is read-only or idempotent; only known once it is listed.
        """
        return is_repeatable((self._tools or {}).get(name, {}))

    async def call(
        self, name: str, arguments: str, *, idempotency_key: str, timeout_s: float = CALL_TIMEOUT_S
    ) -> ToolResult:
        """Run a tool. ``arguments`` is a JSON object; ``idempotency_key`` is sent along, for servers that know it.

        A call is made again, once, if the session had expired or the server was not reached; and if the connection was
        lost in the middle, where the tool may be repeated.

        Raises:
            ToolError: the tool or the server failed, or the arguments do not fit; the model is told these words.
        """
        limit_s = min(timeout_s, self.timeout_s)

        async def question(client: ClientSession) -> dict[str, Any]:
            from antiphon.tools.mcp.asking import call_tool

            return await call_tool(client, name=name, arguments=values, idempotency_key=idempotency_key)

        try:
            async with asyncio.timeout(limit_s) as timeout:
                values = _values(await self._known(name), arguments)
                given = await self._link.ask(question, may_repeat=self.may_repeat(name))
        except TimeoutError:
            if not timeout.expired():
                raise
            unknown = "" if self.may_repeat(name) else f" {UNKNOWN_OUTCOME}"
            raise ToolError(f"{name} took longer than its limit of {limit_s:g} s.{unknown}") from None
        except (Answered, ToolServerError) as error:
            raise ToolError(str(error)) from error
        return to_result(given, max_text_bytes=self._max_result_bytes)

    async def close(self) -> None:
        """End the session, if there is one; the next use opens another."""
        await self._link.close()

    async def _listing(self) -> dict[str, dict[str, Any]]:
        """The tools by name, asked for if they are not known; of two with one name, the first."""
        if self._tools is not None:
            return self._tools

        async def question(client: ClientSession) -> list[dict[str, Any]]:
            from antiphon.tools.mcp.asking import list_tools

            return await list_tools(client)

        try:
            async with asyncio.timeout(self.timeout_s) as timeout:
                tools = await self._link.ask(question, may_repeat=True)
        except TimeoutError as error:
            if not timeout.expired():
                raise
            words = f"{self._link.where} did not list its tools within {self.timeout_s:g} s."
            raise ToolServerError(self.label, words) from error
        except Answered as error:
            raise ToolServerError(self.label, f"{self._link.where} did not list its tools: {error}") from error
        found: dict[str, dict[str, Any]] = {}
        for tool in tools:
            if self.tool.offers(tool):
                found.setdefault(tool["name"], tool)
        self._tools = found
        return found

    async def _known(self, name: str) -> dict[str, Any]:
        tools = await self._listing()
        if name not in tools:
            known = ", ".join([*tools][:20]) or "none"
            raise ToolError(f"The MCP server {self.label!r} has no tool {name!r}. It has: {known}.")
        return tools[name]


def _label(url: str | None, words: Sequence[str]) -> str:
    """The host of a URL; of a command like ``uvx mcp-server-git`` what it runs; as labels are written."""
    if url is not None:
        name = urlsplit(url).hostname or "mcp"
    else:
        name = next((PurePath(word).stem for word in words[1:] if not word.startswith("-")), PurePath(words[0]).stem)
    label = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:MAX_LABEL_LENGTH]
    return label if label[:1].isalpha() else f"mcp_{label}"[:MAX_LABEL_LENGTH]


def _values(tool: Mapping[str, Any], arguments: str) -> dict[str, Any]:
    """The arguments of a call, once they fit what the tool takes."""
    try:
        values = msgspec.json.decode(arguments or "{}")
        if not isinstance(values, dict):
            raise ValueError("They must be a JSON object.")
        try:
            checker = validator(msgspec.json.encode(tool["input_schema"]))
        except BadSchema:
            return values  # the server has to judge by itself
        for wrong in checker.iter_errors(values):
            raise ValueError(wrong.message)
    except (ValueError, RecursionError) as error:
        raise ToolError(f"{tool['name']} was not run: its arguments are wrong. {error}") from None
    return values
