"""Byte pump: TCP in, TCP out, no HTTP. The lower bound for anything that runs on a Python event loop.

Usage: python byte_pump.py PORT UPSTREAM_PORT
"""

import asyncio
import sys

import uvloop


class Upstream(asyncio.Protocol):
    """The far side: what it says goes to the client."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        self._client.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the end on."""
        self._client.close()


class Client(asyncio.Protocol):
    """The near side: what it says goes upstream, once the connection there stands."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._upstream: asyncio.Transport | None = None
        self._waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Connect to the upstream."""
        self._connecting = asyncio.get_running_loop().create_task(self._connect(transport))

    async def _connect(self, client: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        self._upstream, _ = await loop.create_connection(lambda: Upstream(client), "127.0.0.1", self._upstream_port)
        self._upstream.writelines(self._waiting)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on, or keep them until there is somebody to pass them to."""
        if self._upstream:
            self._upstream.write(data)
        else:
            self._waiting.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the end on."""
        self._connecting.cancel()
        if self._upstream:
            self._upstream.close()


async def main(port: int, upstream_port: int) -> None:
    """Pump until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Client(upstream_port), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
