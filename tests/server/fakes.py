"""Providers that are scripts."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from antiphon.errors import AntiphonError
from antiphon.events import ModelEvent
from antiphon.providers.base import ModelCall
from antiphon.transport import HttpRequest


class FakeResponse:
    """An upstream's answer; an exception among the chunks is raised, a task-like wait is awaited."""

    def __init__(
        self,
        *chunks: bytes | Exception | asyncio.Event,
        status: int = 200,
        headers: tuple[tuple[str, str], ...] = (("content-type", "text/event-stream"),),
    ) -> None:
        self.status = status
        self.headers = headers
        self.closed = False
        self._chunks = chunks

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            if isinstance(chunk, Exception):
                raise chunk
            if isinstance(chunk, asyncio.Event):
                await chunk.wait()
            else:
                yield chunk

    async def close(self) -> None:
        self.closed = True


class FakeProvider:
    """A provider that answers from scripts and remembers what it was asked.

    ``turns`` are batches of events, one list of them for each call; an `asyncio.Event` among the batches is waited for.
    ``answers`` are those of `forward`; ``listed`` is that of `models`.
    """

    def __init__(
        self,
        name: str = "fake",
        *,
        turns: list[list[Any]] | None = None,
        answers: list[FakeResponse | AntiphonError] | None = None,
        listed: list[dict[str, Any]] | AntiphonError | None = None,
    ) -> None:
        self.name = name
        self.calls: list[ModelCall] = []
        self.forwarded: list[HttpRequest] = []
        self.gone = threading.Event()  # a call was given up
        self.times_listed = 0
        self.turns = turns or []
        self.answers = answers or []
        self.listed = listed if listed is not None else []

    async def stream(self, call: ModelCall) -> AsyncGenerator[list[ModelEvent], None]:
        self.calls.append(call)
        try:
            for batch in self.turns.pop(0):
                if isinstance(batch, asyncio.Event):
                    await batch.wait()
                else:
                    yield batch
        except (asyncio.CancelledError, GeneratorExit):
            self.gone.set()
            raise

    async def models(self) -> list[dict[str, Any]]:
        self.times_listed += 1
        if isinstance(self.listed, AntiphonError):
            raise self.listed
        return self.listed

    async def forward(
        self,
        method: str,
        path: str,
        body: bytes,
        *,
        interaction: str,
        headers: tuple[tuple[str, str], ...] = (),
        authorization: str | None = None,
    ) -> FakeResponse:
        if authorization:
            headers = (*headers, ("authorization", authorization))
        self.forwarded.append(HttpRequest(method=method, url=path, headers=headers, body=body, interaction=interaction))
        answer = self.answers.pop(0)
        if isinstance(answer, AntiphonError):
            raise answer
        return answer

    async def close(self) -> None:
        pass
