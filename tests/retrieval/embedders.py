"""Embedders without a model: one that counts words, and an upstream that answers as it is told."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from antiphon.errors import ConnectFailed

Answer = Callable[[dict[str, Any]], "FakeResponse"]


class WordEmbedder:
    """Texts that share words are near each other. Counts how often it was asked."""

    def __init__(self, model: str = "words", dimensions: int = 64) -> None:
        self.model = model
        self.dimensions = dimensions
        self.asked = 0

    async def embed(self, texts: Sequence[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        self.asked += 1
        return self.vectors(texts)

    def vectors(self, texts: Sequence[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        rows = np.full((len(texts), self.dimensions), 0.01, dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()):
                row[zlib.crc32(f"{self.model} {word}".encode()) % self.dimensions] += 1
        return rows


class FakeResponse:
    """An answer that is there at once."""

    def __init__(self, status: int, body: object, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.status = status
        self.headers = headers
        self._body = body if isinstance(body, bytes) else msgspec.json.encode(body)

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), 1000):
            yield self._body[start : start + 1000]

    async def close(self) -> None: ...


class FakeUpstream:
    """A provider whose embeddings are what a function says; ``requests`` are the bodies it was asked with."""

    name = "fake"

    def __init__(self, answer: Answer) -> None:
        self.requests: list[dict[str, Any]] = []
        self._answer = answer

    async def forward(self, method: str, path: str, body: bytes, **options: Any) -> FakeResponse:
        assert (method, path) == ("POST", "/embeddings")
        assert options["interaction"]
        request = msgspec.json.decode(body)
        self.requests.append(request)
        return self._answer(request)

    def stream(self, call: Any) -> Any:
        raise ConnectFailed("no models here")

    async def models(self) -> list[dict[str, Any]]:
        return []

    async def close(self) -> None: ...


def embeddings(request: dict[str, Any], *, shuffled: bool = True) -> FakeResponse:
    """A right answer: the vector of a text is its length and its first character."""
    rows = [[float(len(text)), float(ord(text[0])), 1.0] for text in request["input"]]
    if request.get("encoding_format") == "base64":
        packed = [base64.b64encode(np.array(row, dtype="<f4").tobytes()).decode() for row in rows]
    data = [
        {"object": "embedding", "index": n, "embedding": packed[n] if "encoding_format" in request else row}
        for n, row in enumerate(rows)
    ]
    return FakeResponse(200, {"object": "list", "data": data[::-1] if shuffled else data, "model": request["model"]})
