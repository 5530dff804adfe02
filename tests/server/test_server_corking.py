"""Writes of one round of the event loop leave together, and none is lost or held longer."""

from __future__ import annotations

import asyncio
from typing import Any

from antiphon.server.corking import CorkedTransport


class FakeTransport:
    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.protocol: Any = None
        self.is_closed = False

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.writes.append(data)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = (protocol, list(self.writes))

    def get_extra_info(self, name: str) -> str:
        return f"the {name}"


def corked() -> tuple[FakeTransport, CorkedTransport]:
    transport = FakeTransport()
    return transport, CorkedTransport(transport, asyncio.get_running_loop())  # type: ignore[arg-type]


def test_what_is_written_in_one_round_is_one_write() -> None:
    async def main() -> None:
        transport, cork = corked()
        cork.write(b"head")
        cork.write(b"body")
        assert transport.writes == []
        await asyncio.sleep(0)
        assert transport.writes == [b"headbody"]
        cork.write(b"more")
        await asyncio.sleep(0)
        assert transport.writes == [b"headbody", b"more"]

    asyncio.run(main())


def test_much_at_once_does_not_wait() -> None:
    async def main() -> None:
        transport, cork = corked()
        cork.write(b"a")
        cork.write(b"x" * 70_000)
        assert [len(each) for each in transport.writes] == [70_001]
        await asyncio.sleep(0)
        assert len(transport.writes) == 1

    asyncio.run(main())


def test_nothing_is_lost_when_the_connection_is_closed_or_handed_over() -> None:
    async def main() -> None:
        transport, cork = corked()
        cork.write(b"a")
        cork.set_protocol("websocket")  # type: ignore[arg-type]
        assert transport.protocol == ("websocket", [b"a"])
        cork.write(b"b")
        cork.close()
        assert transport.writes == [b"a", b"b"]
        await asyncio.sleep(0)
        assert cork.get_extra_info("peername") == "the peername"

    asyncio.run(main())


def test_a_connection_that_broke_meanwhile_is_not_written_to() -> None:
    async def main() -> None:
        transport, cork = corked()
        cork.write(b"a")
        transport.is_closed = True
        await asyncio.sleep(0)
        assert transport.writes == []

    asyncio.run(main())
