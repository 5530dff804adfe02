import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import (
    AuthenticationFailed,
    ConnectFailed,
    ContextTooLong,
    EmbeddingError,
    RateLimited,
    RequestRejected,
)
from antiphon.retrieval import embedding
from antiphon.retrieval.embedding import UpstreamEmbedder
from antiphon.retrieval.embedding_cache import EmbeddingCache
from antiphon.retrieval.vectors import quantised
from retrieval.embedders import Answer, FakeResponse, FakeUpstream, embeddings

pytestmark = pytest.mark.asyncio


class Sleeper:
    """Waits for nothing, and remembers how long it should have been."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waits_s.append(seconds)


def embedder(answer: Answer, **options: Any) -> tuple[UpstreamEmbedder, FakeUpstream, Sleeper]:
    upstream, sleeper = FakeUpstream(answer), Sleeper()
    return UpstreamEmbedder(upstream, "bge", sleep=sleeper, **options), upstream, sleeper


def failing(*answers: FakeResponse) -> Answer:
    """These answers, then right ones."""
    left = list(answers)
    return lambda request: left.pop(0) if left else embeddings(request)


def refused(status: int, message: str, **headers: str) -> FakeResponse:
    return FakeResponse(status, {"error": {"message": message}}, tuple(headers.items()))


async def test_vectors_come_in_the_order_of_the_texts() -> None:
    made, upstream, _ = embedder(embeddings)
    vectors = await made.embed(["bread", "a", "bread", "salty"])
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[5, 98, 1], [1, 97, 1], [5, 98, 1], [5, 115, 1]]
    assert upstream.requests == [{"model": "bge", "input": ["bread", "a", "salty"], "encoding_format": "base64"}]


async def test_no_texts_have_no_vectors() -> None:
    made, upstream, _ = embedder(embeddings)
    assert (await made.embed([])).shape == (0, 0)
    assert upstream.requests == []


async def test_texts_go_in_batches_by_number_and_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "MAX_TOKENS", 10)
    monkeypatch.setattr(embedding, "MAX_TEXTS", 3)
    made, upstream, _ = embedder(embeddings)
    texts = [f"{n}" for n in range(7)] + ["x" * 30, "y" * 30, "z" * 100]
    vectors = await made.embed(texts)
    assert vectors[:, 0].tolist() == [len(text) for text in texts]
    assert sorted(len(request["input"]) for request in upstream.requests) == [1, 1, 2, 3, 3]


async def test_shorter_vectors_are_a_space_of_their_own() -> None:
    made, upstream, _ = embedder(embeddings, dimensions=3)
    await made.embed(["bread"])
    assert made.model == "bge@3"
    assert upstream.requests[0]["dimensions"] == 3
    wrong, _, _ = embedder(embeddings, dimensions=2)
    with pytest.raises(EmbeddingError, match="dimensions"):
        await wrong.embed(["bread"])


async def test_a_limit_is_waited_for_as_long_as_it_says() -> None:
    made, upstream, sleeper = embedder(
        failing(refused(429, "Rate limit reached", **{"retry-after": "7"}), refused(503, "overloaded"))
    )
    assert (await made.embed(["bread"])).tolist() == [[5, 98, 1]]
    assert len(upstream.requests) == 3
    assert sleeper.waits_s == [7, 1.0]


async def test_a_limit_that_lasts_is_an_error() -> None:
    made, upstream, sleeper = embedder(lambda request: refused(429, "Rate limit reached"))
    with pytest.raises(RateLimited):
        await made.embed(["bread"])
    assert len(upstream.requests) == len(sleeper.waits_s) + 1 == 6
    long, upstream, _ = embedder(lambda request: refused(429, "Come back tomorrow", **{"retry-after": "3000"}))
    with pytest.raises(RateLimited) as error:
        await long.embed(["bread"])
    assert error.value.retry_after_s == 3000
    assert len(upstream.requests) == 1


async def test_a_connection_that_fails_is_tried_again() -> None:
    def answer(request: dict[str, Any]) -> FakeResponse:
        raise ConnectFailed("no connection")

    made, upstream, sleeper = embedder(answer)
    with pytest.raises(ConnectFailed):
        await made.embed(["bread"])
    assert len(upstream.requests) == 6
    assert sleeper.waits_s == [0.5, 1, 2, 4, 8]


async def test_a_batch_that_is_too_large_is_halved_and_the_size_remembered() -> None:
    def answer(request: dict[str, Any]) -> FakeResponse:
        if len(request["input"]) > 32:
            return refused(422, "batch size is more than the maximum of 32")
        return embeddings(request)

    made, upstream, _ = embedder(answer)
    texts = [f"text {n}" for n in range(100)]
    assert (await made.embed(texts)).shape == (100, 3)
    before = len(upstream.requests)
    assert (await made.embed([f"more {n}" for n in range(50)])).shape == (50, 3)
    assert len(upstream.requests) == before + 2


async def test_what_halving_does_not_help_is_an_error() -> None:
    made, _, _ = embedder(lambda request: refused(400, "This model's maximum context length is 512 tokens."))
    with pytest.raises(ContextTooLong, match="512"):
        await made.embed(["bread", "salt"])
    made, upstream, _ = embedder(lambda request: refused(401, "wrong key"))
    with pytest.raises(AuthenticationFailed):
        await made.embed(["bread", "salt"])
    assert len(upstream.requests) == 1
    made, _, _ = embedder(lambda request: refused(404, "no such model"))
    with pytest.raises(RequestRejected):
        await made.embed(["bread", "salt"])


async def test_an_upstream_that_knows_no_base64_is_asked_for_numbers() -> None:
    def answer(request: dict[str, Any]) -> FakeResponse:
        if "encoding_format" in request:
            return refused(400, "Unrecognized request argument: encoding_format")
        return embeddings(request)

    made, upstream, sleeper = embedder(answer)
    assert (await made.embed(["bread"])).tolist() == [[5, 98, 1]]
    await made.embed(["salt"])
    assert ["encoding_format" in request for request in upstream.requests] == [True, False, False]
    assert sleeper.waits_s == []


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        {},
        {"data": []},
        {"data": [{"index": 0, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 2, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]},
        {"data": [{"index": 0, "embedding": []}, {"index": 1, "embedding": []}]},
        {"data": [{"index": 0, "embedding": "AAA"}, {"index": 1, "embedding": "AAAAAA=="}]},
        {"data": [{"index": 0, "embedding": [[1.0]]}, {"index": 1, "embedding": [[1.0]]}]},
        {"data": [{"index": 0, "embedding": "AADAfw=="}, {"index": 1, "embedding": "AADAfw=="}]},
        {"data": [{"index": 0, "embedding": None}, {"index": 1, "embedding": {}}]},
        {"data": [1, 2]},
    ],
)
async def test_an_answer_without_a_vector_for_each_text_is_an_error(body: object) -> None:
    made, _, _ = embedder(lambda request: FakeResponse(200, body))
    with pytest.raises(EmbeddingError):
        await made.embed(["bread", "salt"])


async def test_answers_without_indexes_are_in_order() -> None:
    data = [{"embedding": [1.0, 2.0]}, {"embedding": [3.0, 4.0]}]
    made, _, _ = embedder(lambda request: FakeResponse(200, {"data": data}))
    assert (await made.embed(["bread", "salt"])).tolist() == [[1, 2], [3, 4]]


# --- the cache ----------------------------------------------------------------------------------


async def test_what_was_embedded_once_is_not_asked_again(tmp_path: Path) -> None:
    for _ in range(2):
        cache = EmbeddingCache(tmp_path / "cache.db")
        made, upstream, _ = embedder(embeddings, cache=cache)
        first = await made.embed(["bread", "salt"])
        again = await made.embed(["salt", "bread", "oil"])
        assert first.tolist() == [[5, 98, 1], [4, 115, 1]]
        assert again.tolist() == [[4, 115, 1], [5, 98, 1], [3, 111, 1]]
        cache.close()
    assert upstream.requests == []


async def test_models_do_not_share_what_they_remember(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "cache.db")
    cache.put("other", {"bread": np.array([1.0], dtype=np.float32)})
    made, upstream, _ = embedder(embeddings, cache=cache)
    await made.embed(["bread"])
    assert len(upstream.requests) == 1
    cache.close()


async def test_a_cache_has_an_end_and_forgets_the_oldest(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "cache.db", max_entries=3)
    for n in range(6):
        cache.put("m", {f"{n}": np.array([n], dtype=np.float32)})
    assert list(cache.get("m", [f"{n}" for n in range(6)])) == ["3", "4", "5"]
    cache.close()


async def test_a_cache_that_is_damaged_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "cache.db").write_bytes(b"no database" * 1000)
    cache = EmbeddingCache(tmp_path / "cache.db")
    cache.put("m", {"a": np.array([1], dtype=np.float32)})
    assert cache.get("m", ["a"])["a"].tolist() == [1]
    cache.close()


async def test_a_cache_that_can_have_no_file_is_done_without_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache.db").mkdir()
    cache = EmbeddingCache(tmp_path / "cache.db")
    cache.put("m", {"a": np.array([1], dtype=np.float32)})
    assert cache.get("m", ["a"])["a"].tolist() == [1]
    cache.close()
    assert "the embedding cache could not be made anew" in caplog.text


async def test_a_cache_that_breaks_while_it_is_used_says_that_texts_are_embedded_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = EmbeddingCache(tmp_path / "cache.db")
    cache.close()
    cache.put("m", {"a": np.array([1], dtype=np.float32)})
    assert cache.get("m", ["a"]) == {}
    assert "could not be written" in caplog.text
    assert "could not be read" in caplog.text


@given(st.lists(st.text(min_size=1), max_size=20), st.integers(1, 4))
async def test_any_texts_in_any_batches_have_their_own_vectors(texts: list[str], most: int) -> None:
    made, _, _ = embedder(embeddings)
    made._max_texts = most
    vectors = await made.embed(texts)
    assert vectors[:, 0].tolist() == [len(text) for text in texts] if texts else vectors.shape == (0, 0)


# --- what upstreams really answered -------------------------------------------------------------

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "ogx"


def recorded() -> list[tuple[list[str], dict[str, Any]]]:
    """Texts and answers of recorded calls."""
    found = []
    for path in sorted(CORPUS.rglob("recordings/*.json")):
        raw = path.read_text(encoding="utf-8")
        if '"/v1/embeddings"' in raw:
            call = json.loads(raw)
            texts = call["request"]["body"]["input"]
            found.append(([texts] if isinstance(texts, str) else texts, call["response"]["body"]["__data__"]))
    return found


@pytest.mark.skipif(not CORPUS.exists(), reason="the recordings of others are not here")
async def test_recorded_answers_are_read_and_rounding_keeps_their_angles() -> None:
    calls = recorded()
    assert calls
    for texts, answer in calls:
        made, _, _ = embedder(lambda request, answer=answer: FakeResponse(200, answer))
        vectors = await made.embed(texts)
        assert len(vectors) == len(texts)
        rounded = quantised(vectors).astype(np.float32)
        lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(rounded, axis=1)
        assert np.all((vectors * rounded).sum(axis=1) / lengths > 0.9995)
