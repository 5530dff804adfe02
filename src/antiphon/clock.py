"""Clock and Ids: the only places time and identity come from. Tests pass `FakeClock` and `CountingIds`."""

from __future__ import annotations

import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now_s(self) -> float:
        """Seconds since the Unix epoch."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since some fixed point; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let that much time pass."""
        ...


class Ids(Protocol):
    """Where identity comes from."""

    def new(self, prefix: str) -> str:
        """A new id that nothing else has, such as ``resp_6f…`` for the prefix ``resp``."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_s(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    def monotonic_s(self) -> float:
        """Seconds since some fixed point; never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let that much time pass."""
        import asyncio

        await asyncio.sleep(seconds)


class RandomIds:
    """Ids of 128 random bits: nobody can guess another's."""

    def new(self, prefix: str) -> str:
        """A new id that nothing else has: the prefix, ``_`` and 32 hexadecimal digits."""
        return f"{prefix}_{secrets.token_hex(16)}"


class FakeClock:
    """A clock that stands still until it is told to go on; who sleeps by it wakes at once, that much later.

    ``slept_s`` holds how long each sleep was.
    """

    def __init__(self, start_s: float = 1_700_000_000.0) -> None:
        self.slept_s: list[float] = []
        self._now_s = start_s

    def now_s(self) -> float:
        """The time it was set to."""
        return self._now_s

    def monotonic_s(self) -> float:
        """The time it was set to."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Let that much time pass at once."""
        self._now_s += seconds

    async def sleep(self, seconds: float) -> None:
        """Let that much time pass at once."""
        self.slept_s.append(seconds)
        self.advance(seconds)


class CountingIds:
    """Ids that count up, for tests that compare whole outputs."""

    def __init__(self) -> None:
        self._count = 0

    def new(self, prefix: str) -> str:
        """The next id: the prefix, ``_`` and the count as 32 digits."""
        self._count += 1
        return f"{prefix}_{self._count:032d}"
