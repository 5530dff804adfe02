"""One open session with a server, living in a task of its own from opening to closing.

The protocol's package keeps cancel scopes open for as long as a session lives, and such a scope must be left by the
task that entered it. So no caller ever holds a session open: a task does, which is told to end, and which ends by
force if the server takes too long to say goodbye. Callers come and go, also in the middle of a call.

This module imports mcp, so nothing imports it before an MCP server is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from mcp.client.client import Client, ConnectMode
from mcp.client.session import ClientSession
from mcp_types import Implementation

from antiphon import __version__

Streams = tuple[Any, Any]
Transport = AbstractAsyncContextManager[Streams]


# How long a session that is ended by force may take: a busy machine, not a server that hangs.
_FORCED_S = 5.0


class Session:
    """Opens at once, in the running loop; `opened` waits for it.

    ``opening`` gives what holds a session open while it is entered; it calls what it is given when the connection has
    ended. ``grace_s`` is how long the server may take over its end.
    """

    def __init__(
        self, opening: Callable[[Callable[[], None]], AbstractAsyncContextManager[ClientSession]], *, grace_s: float
    ) -> None:
        loop = asyncio.get_running_loop()
        self.loop = loop
        self._grace_s = grace_s
        self._closing = asyncio.Event()
        self.failure: Exception | None = None
        self._opened: asyncio.Future[ClientSession] = loop.create_future()
        self._task = loop.create_task(self._live(opening), name="antiphon-mcp-session")

    @property
    def is_over(self) -> bool:
        """Whether it can be used no more: closed, or the connection has ended."""
        return self._closing.is_set() or self._task.done() or self.loop.is_closed()

    async def opened(self) -> ClientSession:
        """The session, when it is open.

        Raises:
            Exception: it could not be opened.
        """
        return await asyncio.shield(self._opened)

    async def ended(self) -> None:
        """Wait until it can be used no more."""
        await self._closing.wait()

    async def gone(self, timeout_s: float) -> None:
        """Wait until nothing of it is left; ``failure`` then says why it ended, if that was not its own end."""
        await asyncio.wait([self._task], timeout=timeout_s)

    def end(self) -> None:
        """Let it close, and see to it that it does."""
        if not self._closing.is_set():
            self._closing.set()
            by_force = self.loop.call_later(self._grace_s, self._task.cancel)
            self._task.add_done_callback(lambda _: by_force.cancel())

    async def close(self) -> None:
        """End it, and wait until it has; not for ever."""
        self.end()
        await self.gone(self._grace_s + _FORCED_S)

    async def _live(self, opening: Callable[[Callable[[], None]], AbstractAsyncContextManager[ClientSession]]) -> None:
        try:
            async with opening(self.end) as session:
                if not self._opened.done():
                    self._opened.set_result(session)
                await self._closing.wait()
        except Exception as error:  # noqa: BLE001 - told to whoever waits, now or later
            self.failure = error
            self._fail(error)
        finally:
            self._fail(ConnectionError("the session was closed"))
            self._closing.set()

    def _fail(self, error: Exception) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # seen: perhaps nobody waits


@asynccontextmanager
async def session_over(
    transport: Transport, lost: Callable[[], None], *, mode: ConnectMode, timeout_s: float
) -> AsyncIterator[ClientSession]:
    """An open session over a transport; ``lost`` is called when the other side has ended it.

    Raises:
        TimeoutError: it was not open after ``timeout_s``.
    """
    client = Client(
        _watched(transport, lost),
        mode=mode,
        cache=None,
        client_info=Implementation(name="antiphon", version=__version__),
    )
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(timeout_s):
            await stack.enter_async_context(client)
        yield client.session


@asynccontextmanager
async def _watched(transport: Transport, lost: Callable[[], None]) -> AsyncIterator[Streams]:
    async with transport as (read, write):
        yield _Watched(read, lost), write


class _Watched:
    """A stream of messages that says when it has ended: the package tells only those who wait for an answer."""

    def __init__(self, inner: Any, ended: Callable[[], None]) -> None:
        self._inner = inner
        self._ended = ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._inner.__anext__()
        except StopAsyncIteration:
            self._ended()
            raise

    async def receive(self) -> Any:
        """The next message."""
        return await self._inner.receive()

    async def aclose(self) -> None:
        """Close the stream."""
        with suppress(Exception):
            await self._inner.aclose()

    async def __aenter__(self) -> _Watched:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        ended: bool | None = await self._inner.__aexit__(*error)
        return ended
