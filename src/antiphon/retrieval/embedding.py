"""Text as vectors: what an embedder is, and the one that asks an upstream."""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from antiphon.assembly.errors import UpstreamFailure, read_error
from antiphon.clock import Ids, RandomIds
from antiphon.errors import (
    AuthenticationFailed,
    ContextTooLong,
    EmbeddingError,
    ProviderError,
    RateLimited,
    RequestRejected,
    TransportError,
    Unavailable,
)
from antiphon.providers.base import Provider
from antiphon.retrieval.chunking import estimated_tokens
from antiphon.retrieval.embedding_cache import EmbeddingCache

if TYPE_CHECKING:
    import numpy as np

    Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]

# OpenAI takes 2,048 texts and 300,000 tokens at a time, others fewer: what is refused is halved.
MAX_TEXTS = 128
MAX_TOKENS = 100_000
_AT_ONCE = 4

_ATTEMPTS = 6
_FIRST_WAIT_S = 0.5
# Who asks for a longer wait gets it from the caller, or not at all.
_LONGEST_WAIT_S = 60.0

_TOO_MUCH = frozenset({400, 413, 422})
_ERRORS: dict[str, type[ProviderError]] = {
    each.code: each for each in (AuthenticationFailed, RateLimited, ContextTooLong, RequestRejected, Unavailable)
}

Sleep = Callable[[float], Awaitable[object]]


class Embedder(Protocol):
    """Something that makes vectors of texts."""

    @property
    def model(self) -> str:
        """Names the space: vectors of one model are never compared with those of another."""
        ...

    def embed(self, texts: Sequence[str]) -> Awaitable[Vectors]:
        """One float32 row for each text, in order.

        Raises:
            EmbeddingError, TransportError, ProviderError: there are none; never a part of them.
        """
        ...


class UpstreamEmbedder:
    """An `Embedder` over a provider's ``/embeddings``; what was embedded once is kept in ``cache``.

    ``upstream_model`` is the upstream's name for the model; ``dimensions`` asks for shorter vectors than its own, and
    is then part of the name of the space. ``authorization`` is sent in place of the provider's own key.
    """

    def __init__(
        self,
        provider: Provider,
        upstream_model: str,
        *,
        dimensions: int | None = None,
        cache: EmbeddingCache | None = None,
        authorization: str | None = None,
        ids: Ids | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.model = upstream_model if dimensions is None else f"{upstream_model}@{dimensions}"
        self._provider = provider
        self._upstream_model = upstream_model
        self._dimensions = dimensions
        self._cache = cache
        self._authorization = authorization
        self._ids = ids or RandomIds()
        self._sleep = sleep
        self._max_texts = MAX_TEXTS
        self._takes_base64 = True

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One row for each text, in order; see `Embedder.embed`."""
        import numpy as np

        wanted = list(dict.fromkeys(texts))
        known = await asyncio.to_thread(self._cache.get, self.model, wanted) if self._cache else {}
        missing = [text for text in wanted if text not in known]
        for batch, made in zip(*await self._embed_all(missing), strict=True):
            known |= zip(batch, made, strict=True)
        lengths = {len(vector) for vector in known.values()}
        if len(lengths) > 1 or self._dimensions not in (None, *lengths):
            raise EmbeddingError(
                f"{self.model} gave vectors of {sorted(lengths)} dimensions; there must be one length."
            )
        if missing and self._cache:
            await asyncio.to_thread(self._cache.put, self.model, {text: known[text] for text in missing})
        return np.array([known[text] for text in texts], dtype=np.float32).reshape(len(texts), max(lengths, default=0))

    async def _embed_all(self, texts: list[str]) -> tuple[list[list[str]], list[Vectors]]:
        batches = list(_batches(texts, self._max_texts))
        slots = asyncio.Semaphore(_AT_ONCE)
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self._embed_batch(batch, slots)) for batch in batches]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return batches, [task.result() for task in running]

    async def _embed_batch(self, texts: list[str], slots: asyncio.Semaphore) -> Vectors:
        """The vectors of a batch; one that is refused for its size is divided."""
        import numpy as np

        try:
            async with slots:
                return await self._ask_patiently(texts)
        except (RequestRejected, ContextTooLong) as error:
            if len(texts) == 1 or error.status not in _TOO_MUCH:
                raise
            half = self._max_texts = max(1, min(self._max_texts, len(texts) // 2))
        parts = [texts[n : n + half] for n in range(0, len(texts), half)]
        return np.concatenate([await self._embed_batch(part, slots) for part in parts])

    async def _ask_patiently(self, texts: list[str]) -> Vectors:
        """Ask, and ask again after failures that pass."""
        for attempt in range(_ATTEMPTS):
            wait_s = _FIRST_WAIT_S * 2**attempt
            try:
                failure = await self._ask(texts)
            except TransportError:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                if not isinstance(failure, UpstreamFailure):
                    return failure
                wait_s = failure.error.retry_after_s or wait_s
                if self._takes_base64 and _is_about_encoding(failure):
                    self._takes_base64 = False
                    continue
                if not failure.retryable or attempt == _ATTEMPTS - 1 or wait_s > _LONGEST_WAIT_S:
                    raise _raised(failure)
            await self._sleep(min(wait_s, _LONGEST_WAIT_S))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _ask(self, texts: list[str]) -> Vectors | UpstreamFailure:
        body: dict[str, Any] = {"model": self._upstream_model, "input": texts}
        if self._takes_base64:
            body["encoding_format"] = "base64"
        if self._dimensions is not None:
            body["dimensions"] = self._dimensions
        response = await self._provider.forward(
            "POST",
            "/embeddings",
            msgspec.json.encode(body),
            interaction=self._ids.new("int"),
            headers=(("content-type", "application/json"),),
            authorization=self._authorization,
        )
        try:
            answer = b"".join([chunk async for chunk in response.chunks()])
        finally:
            await response.close()
        if response.status != 200:
            return read_error(response.status, response.headers, answer)
        return _read(answer, len(texts))


def _batches(texts: list[str], max_texts: int) -> Iterator[list[str]]:
    """The texts in order, at most so many and so long at a time; a longer one stands alone."""
    batch: list[str] = []
    tokens = 0
    for text in texts:
        size = estimated_tokens(text)
        if batch and (len(batch) == max_texts or tokens + size > MAX_TOKENS):
            yield batch
            batch, tokens = [], 0
        batch.append(text)
        tokens += size
    if batch:
        yield batch


def _read(answer: bytes, count: int) -> Vectors:
    """The vectors of an answer, in the order of the texts.

    Raises:
        EmbeddingError: there is not exactly one of one length for each text.
    """
    import numpy as np

    try:
        data = msgspec.json.decode(answer)["data"]
        rows = {int(each.get("index", n)): _vector(each["embedding"]) for n, each in enumerate(data)}
        if sorted(rows) != list(range(count)) or len(data) != count:
            raise EmbeddingError(f"The upstream gave {len(data)} embeddings for {count} texts, or the same twice.")
        vectors = np.stack([rows[n] for n in range(count)])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise EmbeddingError(f"The upstream's answer holds no embeddings: {error}.") from error
    if not vectors.size or not np.all(np.isfinite(vectors)):
        raise EmbeddingError("An embedding of the upstream is empty, or holds something that is not a number.")
    return vectors


def _vector(embedding: object) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    import numpy as np

    if isinstance(embedding, str):
        return np.frombuffer(binascii.a2b_base64(embedding), dtype="<f4").astype(np.float32)
    vector = np.array(embedding, dtype=np.float32)
    if vector.ndim != 1:
        raise ValueError("an embedding is no list of numbers")
    return vector


def _is_about_encoding(failure: UpstreamFailure) -> bool:
    return failure.error.status in _TOO_MUCH and "encoding_format" in failure.error.message


def _raised(failure: UpstreamFailure) -> ProviderError:
    error = failure.error
    return _ERRORS.get(error.code, RequestRejected)(
        f"The upstream refused to embed: {error.message}",
        status=error.status or 0,
        upstream_code=error.upstream_code,
        retry_after_s=error.retry_after_s,
    )
