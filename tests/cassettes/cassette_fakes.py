"""What the tests of this room share: interactions in one line, and a live upstream that is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from antiphon.cassettes import Chunk, Interaction, RecordedRequest, RecordedResponse
from antiphon.transport import HttpRequest, HttpResponse

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
SEEDS = CORPUS / "seeds"
CHAT = "https://api.example.com/v1/chat/completions"


def need(path: Path) -> Path:
    """The path, or the test is skipped."""
    if not path.exists():
        pytest.skip(f"the recordings are not here: {path}")
    return path


def asked(body: object, *, url: str = CHAT, method: str = "POST") -> HttpRequest:
    return HttpRequest(method=method, url=url, body=msgspec.json.encode(body))


def recorded(body: object, *answer: bytes, url: str = CHAT, status: int = 200, fidelity: str = "wire") -> Interaction:
    """An interaction: the request's body, then the chunks of the answer."""
    return Interaction(
        id="0",
        fidelity=fidelity,  # type: ignore[arg-type]
        request=RecordedRequest(method="POST", url=url, body=msgspec.json.encode(body)),
        response=RecordedResponse(status=status, chunks=tuple(Chunk(0.0, data) for data in answer)),
    )


async def body_of(response: HttpResponse) -> bytes:
    return b"".join([data async for data in response.chunks()])


class LiveResponse:
    """Gives its chunks; an exception among them is raised."""

    def __init__(self, chunks: list[bytes | BaseException], status: int, headers: tuple[tuple[str, str], ...]) -> None:
        self._chunks = chunks
        self.status = status
        self.headers = headers
        self.closed = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    async def close(self) -> None:
        self.closed += 1


class LiveUpstream:
    """A transport that gives each request the same answer, or fails."""

    def __init__(
        self,
        *chunks: bytes | BaseException,
        status: int = 200,
        headers: tuple[tuple[str, str], ...] = (),
        error: BaseException | None = None,
    ) -> None:
        self._answer = list(chunks), status, headers
        self._error = error
        self.responses: list[LiveResponse] = []
        self.closed = 0

    async def send(self, request: HttpRequest) -> HttpResponse:
        if self._error is not None:
            raise self._error
        self.responses.append(LiveResponse(*self._answer))
        return self.responses[-1]

    async def close(self) -> None:
        self.closed += 1
