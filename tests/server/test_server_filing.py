"""Files and vector stores as they are wired: embeddings from an upstream, rewritten queries, object storage, limits."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from asgi_client import Reply, ask, send_form
from fakes import FakeResponse
from scripted_upstream import ChatUpstream
from whole_server import whole_app

from antiphon.errors import ConfigError
from antiphon.server.app import App
from antiphon.transport import HttpRequest

# Words that mean the same have the same vector.
MEANINGS = {"tea": [1.0, 0.0], "infusion": [0.9, 0.1], "espresso": [0.0, 1.0]}


class EmbeddingUpstream(ChatUpstream):
    """Also embeds: a text's vector is that of the first word in it that is known."""

    async def send(self, request: HttpRequest) -> FakeResponse:
        if not request.url.endswith("/embeddings"):
            return await super().send(request)
        body = json.loads(request.body)
        self.asked.append(body)
        data = [
            {"index": n, "embedding": next((v for word, v in MEANINGS.items() if word in text.lower()), [0.5, 0.5])}
            for n, text in enumerate(body["input"])
        ]
        answer = {"object": "list", "model": body["model"], "data": data}
        return FakeResponse(json.dumps(answer).encode(), headers=(("content-type", "application/json"),))


def with_app(
    data_dir: Path,
    toml: str,
    test: Callable[[App, ChatUpstream], Awaitable[None]],
    upstream: ChatUpstream | None = None,
) -> None:
    (data_dir / "antiphon.toml").write_text(toml)
    upstream = upstream or ChatUpstream()

    async def main() -> None:
        async with asyncio.timeout(30), whole_app(upstream, data_dir) as app:
            await test(app, upstream)

    asyncio.run(main())


async def indexed(app: App, **files: str) -> str:
    """A new vector store with these files, all indexed."""
    ids = [
        (await send_form(app, "/v1/files", {"purpose": "assistants", "file": text})).json["id"]
        for text in files.values()
    ]
    store = (await ask(app, "POST", "/v1/vector_stores", {"file_ids": ids})).json["id"]
    while True:
        found = (await ask(app, "GET", f"/v1/vector_stores/{store}")).json
        if found["status"] == "completed":
            assert found["file_counts"]["completed"] == len(files)
            return str(store)
        await asyncio.sleep(0.01)


async def search(app: App, store: str, query: str, **options: Any) -> tuple[list[str], Reply]:
    reply = await ask(app, "POST", f"/v1/vector_stores/{store}/search", {"query": query, **options})
    assert reply.status == 200, reply
    return [result["content"][0]["text"].strip() for result in reply.json["data"]], reply


def test_what_is_alike_in_meaning_is_found_by_vectors(tmp_path: Path) -> None:
    async def test(app: App, upstream: ChatUpstream) -> None:
        store = await indexed(app, a="Green tea at eighty degrees.", b="Espresso at nine bars.")
        found, reply = await search(app, store, "an infusion", max_num_results=1)
        assert found == ["Green tea at eighty degrees."]
        assert reply.headers["x-antiphon-search"] == "hybrid"
        assert "x-antiphon-notes" not in reply.headers
        assert {asked["model"] for asked in upstream.asked} == {"vectors"}
        assert (await search(app, store, "an infusion", search_mode="lexical"))[0] == []
        embedded = len(upstream.asked)
        again = await indexed(app, a="Green tea at eighty degrees.")  # the same words are not embedded twice
        assert len(upstream.asked) == embedded
        assert (await search(app, again, "an infusion", search_mode="vector"))[0] == ["Green tea at eighty degrees."]

    with_app(tmp_path, '[retrieval]\nembeddings = "default/vectors"\n', test, EmbeddingUpstream())


def test_without_a_model_words_are_searched_and_the_answer_says_so(tmp_path: Path) -> None:
    async def test(app: App, _: ChatUpstream) -> None:
        store = await indexed(app, a="Green tea.", b="Espresso.")
        found, reply = await search(app, store, "green", rewrite_query=True)
        assert found == ["Green tea."]
        assert reply.headers["x-antiphon-search"] == "lexical"
        assert "searched by words alone" in reply.headers["x-antiphon-notes"]
        assert "was not rewritten" in reply.headers["x-antiphon-notes"]
        refused = await ask(app, "POST", f"/v1/vector_stores/{store}/search", {"query": "tea", "search_mode": "vector"})
        assert (refused.status, "cannot be searched by vectors" in refused.error["message"]) == (400, True)

    with_app(tmp_path, "", test)


def test_a_model_makes_queries_of_a_question(tmp_path: Path) -> None:
    async def test(app: App, upstream: ChatUpstream) -> None:
        store = await indexed(app, a="Green tea.", b="Espresso.")
        upstream.answer = '1. "green tea"\n- coffee\n\n'
        found, reply = await search(app, store, "What can I drink?", rewrite_query=True)
        assert reply.json["search_query"] == ["green tea", "coffee"]
        assert found == ["Green tea."]
        assert (await search(app, store, "Espresso?"))[1].json["search_query"] == ["Espresso?"]
        assert len(upstream.asked) == 1

    with_app(tmp_path, '[retrieval]\nrewrite = "default/m"\n', test)


def test_a_search_that_fails_is_an_error_and_never_empty(tmp_path: Path) -> None:
    class Refusing(EmbeddingUpstream):
        async def send(self, request: HttpRequest) -> FakeResponse:
            if b"how hot" in request.body:
                return FakeResponse(b'{"error": {"message": "No such key."}}', status=401)
            return await super().send(request)

    async def test(app: App, _: ChatUpstream) -> None:
        store = await indexed(app, a="Green tea.")
        reply = await ask(app, "POST", f"/v1/vector_stores/{store}/search", {"query": "how hot"})
        assert (reply.status, reply.error["code"]) == (502, "upstream_authentication_failed")

    with_app(tmp_path, '[retrieval]\nembeddings = "default/vectors"\n', test, Refusing())


def test_bytes_are_kept_where_the_url_says(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()

    async def test(app: App, _: ChatUpstream) -> None:
        store = await indexed(app, a="Green tea.")
        assert (await search(app, store, "tea"))[0] == ["Green tea."]
        [kept] = bucket.iterdir()
        assert kept.read_bytes() == b"Green tea."
        assert not (tmp_path / "files").exists()
        [file] = (await ask(app, "GET", "/v1/files")).json["data"]
        assert (await ask(app, "GET", f"/v1/files/{file['id']}/content")).body == b"Green tea."
        await ask(app, "DELETE", f"/v1/files/{file['id']}")
        assert [*bucket.iterdir()] == []

    with_app(tmp_path, f'[files]\nurl = "{bucket.as_uri()}"\n', test)


def test_indexes_follow_a_change_before_it_is_answered(tmp_path: Path) -> None:
    async def test(app: App, _: ChatUpstream) -> None:
        store = await indexed(app, a="Green tea.", b="Espresso.", c="Milk.")
        first, second, third = (await ask(app, "GET", "/v1/files")).json["data"]
        files = f"/v1/vector_stores/{store}/files"
        for method, path, body in (
            ("DELETE", f"/v1/files/{first['id']}", b""),
            ("DELETE", f"{files}/{second['id']}", b""),
            ("POST", f"{files}/{third['id']}", {"attributes": {"hot": True}}),
        ):
            assert (await ask(app, method, path, body)).status == 200
            with contextlib.closing(sqlite3.connect(tmp_path / "antiphon.db")) as db:
                assert db.execute("SELECT count(*) FROM index_changes").fetchone() == (0,)

    with_app(tmp_path, "", test)


@pytest.mark.parametrize("setting", ["embeddings", "rewrite"])
def test_a_model_that_no_upstream_has_is_refused_at_the_start(tmp_path: Path, setting: str) -> None:
    toml = f'[upstreams.a]\nbase_url = "http://a.invalid/v1"\nmodels = ["a"]\n\n[retrieval]\n{setting} = "b"\n'
    with pytest.raises(ConfigError, match=rf"\[retrieval\] {setting}: The model 'b' does not exist"):
        with_app(tmp_path, toml, lambda *_: asyncio.sleep(0))


def test_a_file_that_is_declared_too_large_is_refused_before_it_comes(tmp_path: Path) -> None:
    async def test(app: App, _: ChatUpstream) -> None:
        headers = {"content-type": "multipart/form-data; boundary=b", "content-length": str(2 * 1024**3)}
        # Nothing is sent: a server that waited for the body would wait for ever.
        reply = await ask(app, "POST", "/v1/files", [], headers=headers)
        assert (reply.status, reply.error["code"]) == (413, "request_too_large")
        assert "2,147,483,648 bytes, but a file may have 536,870,912" in reply.error["message"]

    with_app(tmp_path, "", test)


def test_a_client_that_leaves_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    async def test(app: App, _: ChatUpstream) -> None:
        head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
        pieces = [head, b"x" * 100_000]  # and then it is gone: more was to come
        sent: list[dict[str, Any]] = [{"type": "http.request", "body": each, "more_body": True} for each in pieces]
        sent.append({"type": "http.disconnect"})

        async def receive() -> dict[str, Any]:
            return sent.pop(0)

        async def send(_: dict[str, Any]) -> None:
            raise AssertionError("nobody is there")

        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/v1/files", "query_string": b""}
        scope["headers"] = [(b"content-type", b"multipart/form-data; boundary=b")]
        await app(scope, receive, send)
        assert (await ask(app, "GET", "/v1/files")).json["data"] == []
        assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []

    with_app(tmp_path, "", test)
