"""Writes that belong together, as one: what is written in one round of the event loop leaves in one system call.

uvicorn writes an answer's head, and each piece of its body, by itself, and uvloop hands each of them to the kernel at
once. Nothing waits for more than the round it was written in, so a stream's pieces leave as soon as they did before.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# More than this does not wait, so that flow control sees what a fast writer does within one round.
_MAX_HELD_BYTES = 64 * 1024


class CorkedProtocol(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn has it, over a `CorkedTransport`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with a connection."""
        super().connection_made(CorkedTransport(transport, self.loop))  # type: ignore[arg-type]


class CorkedTransport:
    """A transport whose writes are held until the loop's round ends; all else is the transport's own."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Write, soon."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > _MAX_HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write now what is held."""
        if self._held and not self._transport.is_closing():
            held, self._held, self._size = self._held, [], 0
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))

    def close(self) -> None:
        """Close, after what was written."""
        self.flush()
        self._transport.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection over, as for a WebSocket."""
        self.flush()
        self._transport.set_protocol(protocol)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
