"""The three ways to a server: a process of ours over its pipes, streamable HTTP, and the older SSE.

This module imports mcp, so nothing imports it before an MCP server is used.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, TextIO

import httpx2
from mcp.client.client import ConnectMode
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from antiphon import __version__
from antiphon.tools.egress import EgressPolicy
from antiphon.tools.mcp.failures import Refusal
from antiphon.tools.mcp.http import MAX_BODY_BYTES, TIMEOUT, GuardedTransport
from antiphon.tools.mcp.session import session_over

# What a server that speaks only SSE answers to a POST (the protocol's "backwards compatibility").
_NOT_STREAMABLE = frozenset({400, 404, 405})

# How much of what a process complains about is kept, to be shown if it dies.
_MAX_COMPLAINT_BYTES = 4096
_LAST_WORDS_S = 0.5

Opening = Callable[[Callable[[], None]], AbstractAsyncContextManager[ClientSession]]


class Process:
    """A server that is a command of ours; it lives as long as its session."""

    # Closing the pipes, asking and killing take up to two seconds each in the protocol's package.
    grace_s = 10.0
    refusal: Refusal | None = None

    def __init__(
        self, command: str, args: Sequence[str], *, env: Mapping[str, str], cwd: str | None, connect_timeout_s: float
    ) -> None:
        self._parameters = StdioServerParameters(command=command, args=[*args], env=dict(env), cwd=cwd)
        self._connect_timeout_s = connect_timeout_s
        self.complaint = ""

    @asynccontextmanager
    async def open(self, lost: Callable[[], None]) -> AsyncIterator[ClientSession]:
        """Start it. What it writes to its standard error is kept in ``complaint``, as far as it is the last."""
        self.complaint = ""
        async with self._listening() as errlog:
            transport = stdio_client(self._parameters, errlog=errlog)
            async with session_over(transport, lost, mode="auto", timeout_s=self._connect_timeout_s) as session:
                yield session

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[TextIO]:
        read, write = os.pipe()
        reading, tail = await asyncio.get_running_loop().connect_read_pipe(
            lambda: _Tail(self._keep), os.fdopen(read, "rb", buffering=0)
        )
        try:
            with os.fdopen(write, "w") as errlog:
                yield errlog
        finally:
            # What it wrote before it died may not have arrived; a child of its own may keep the pipe open.
            with suppress(TimeoutError):
                await asyncio.wait_for(tail.ended.wait(), _LAST_WORDS_S)
            reading.close()

    def _keep(self, data: bytes) -> None:
        self.complaint = (self.complaint + data.decode("utf-8", "replace"))[-_MAX_COMPLAINT_BYTES:]


class _Tail(asyncio.Protocol):
    def __init__(self, keep: Callable[[bytes], None]) -> None:
        self._keep = keep
        self.ended = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()

    def data_received(self, data: bytes) -> None:
        self._keep(data)


class Http:
    """A server behind a URL: streamable HTTP, and SSE where it refuses that.

    ``refusal`` is the last that a server gave while it was connected to.
    """

    grace_s = 3.0
    complaint = ""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        policy: EgressPolicy | None,
        connect_timeout_s: float,
        guarded: Callable[[EgressPolicy | None], GuardedTransport] = GuardedTransport,
    ) -> None:
        self._url = url
        self._headers = {"user-agent": f"antiphon/{__version__}", "accept-encoding": "identity", **headers}
        self._policy = policy
        self._connect_timeout_s = connect_timeout_s
        self._guarded = guarded
        self._is_sse = False
        self.refusal: Refusal | None = None

    @asynccontextmanager
    async def open(self, lost: Callable[[], None]) -> AsyncIterator[ClientSession]:
        """Connect; which of the two it speaks is found out once."""
        tried: list[tuple[Refusal | None, Exception]] = []
        for way in [self._sse] if self._is_sse else [self._streamable, self._sse]:
            transport = self._guarded(self._policy)
            try:
                async with way(lost, transport) as session:
                    self._is_sse = way == self._sse
                    transport.answers_for_server = True
                    yield session
                    return
            except Exception as error:
                if transport.answers_for_server:
                    raise
                tried.append((transport.refusal, error))
                if transport.refusal is None or transport.refusal.status not in _NOT_STREAMABLE:
                    break
        self.refusal, failure = tried[0]  # of two refusals, that of the way it should speak
        raise failure

    def _client(self, transport: GuardedTransport) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=transport, headers=self._headers, timeout=TIMEOUT)

    @asynccontextmanager
    async def _streamable(self, lost: Callable[[], None], transport: GuardedTransport) -> AsyncIterator[ClientSession]:
        async with self._client(transport) as client:
            way = streamable_http_client(self._url, http_client=client, max_sse_event_size=MAX_BODY_BYTES)
            async with self._session(way, lost, mode="auto") as session:
                yield session

    @asynccontextmanager
    async def _sse(self, lost: Callable[[], None], transport: GuardedTransport) -> AsyncIterator[ClientSession]:
        way = sse_client(self._url, httpx_client_factory=lambda *_, **__: self._client(transport))
        # A server that speaks only this speaks no newer protocol either.
        async with self._session(way, lost, mode="legacy") as session:
            yield session

    def _session(
        self, way: AbstractAsyncContextManager[Any], lost: Callable[[], None], *, mode: ConnectMode
    ) -> AbstractAsyncContextManager[ClientSession]:
        return session_over(way, lost, mode=mode, timeout_s=self._connect_timeout_s)
