"""The whole application, wired as `antiphon serve` wires it, over a chat upstream that is a script."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from scripted_upstream import ChatUpstream

from antiphon.config import load_settings
from antiphon.server import wiring
from antiphon.server.app import App
from antiphon.server.serving import Server, listen


@asynccontextmanager
async def whole_app(
    upstream: ChatUpstream, data_dir: Path, *, keys: str = "", seal_keys: str = "", **flags: Any
) -> AsyncIterator[App]:
    env = {"ANTIPHON_API_KEYS": keys, "ANTIPHON_SEAL_KEYS": seal_keys}
    toml = data_dir / "antiphon.toml"
    toml.touch()
    if "[upstreams." not in toml.read_text():
        flags["upstream"] = "http://upstream.invalid/v1"
    settings = load_settings({"data_dir": str(data_dir), **flags}, env, toml)
    with mock.patch.object(wiring, "_live", return_value=upstream):
        async with wiring.open_app(settings) as app:
            yield app


@contextmanager
def served(upstream: ChatUpstream, data_dir: Path, **options: Any) -> Iterator[str]:
    """The application on a socket; gives its base URL, which ends in ``/v1``."""
    sockets, ready = listen("127.0.0.1", 0), threading.Event()
    stop: list[Server] = []

    async def main() -> None:
        async with whole_app(upstream, data_dir, **options) as app:
            stop.append(Server(app, ready.set))
            await stop[0].serve(sockets)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert ready.wait(10)
        yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}/v1"
    finally:
        for server in stop:
            server.should_exit = True
        thread.join()
