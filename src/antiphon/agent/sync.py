"""A run's stream for code that is not async: each event is waited for where it is wanted, in any thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from types import TracebackType
from typing import Any, Generic

from antiphon.agent.result import RunResult, RunStream, T
from antiphon.errors import UsageError
from antiphon.events import RunEvent

_END: Any = object()


def forbid_running_loop(name: str) -> None:
    """See that no event loop runs in this thread.

    Raises:
        UsageError: one does.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(f"{name}_sync was called where an event loop is running. Await agent.{name}(...) there.")


class SyncRunStream(Generic[T]):
    """The events of a run, one after the other; iterate it once, as a context manager to leave it early.

    The run goes on only while its next event is waited for. Its event loop is its own, and is closed with it.
    """

    def __init__(self, stream: RunStream[T]) -> None:
        forbid_running_loop("stream")
        self._stream = stream
        self._runner: asyncio.Runner | None = None

    def __enter__(self) -> SyncRunStream[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[RunEvent]:
        return self._each(aiter(self._stream))

    def partial(self) -> Iterator[Any]:
        """The answer as it grows; see `RunStream.partial`."""
        return self._each(self._stream.partial())

    def _each(self, values: AsyncGenerator[Any, None]) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(values, _END)

        self._runner = self._runner or asyncio.Runner()
        runner = self._runner
        try:
            while (value := runner.run(following())) is not _END:
                yield value
        finally:
            if self._runner is not None:
                runner.run(values.aclose())
            self.close()

    def close(self) -> None:
        """Cancel the run, unless it is over, and close its event loop."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        with runner:
            runner.run(self._stream.close())

    @property
    def result(self) -> RunResult[T]:
        """The result, once the run is over.

        Raises:
            UsageError: it is not.
        """
        return self._stream.result
