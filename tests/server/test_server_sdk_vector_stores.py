"""Vector stores as the openai package sees them, over a real socket: uploaded, indexed in the background, searched."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from scripted_upstream import ChatUpstream
from whole_server import served

from antiphon.retrieval.reading import ReaderProcesses
from retrieval.files import docx, pdf

TEA = b"# Tea\n\nGreen tea is steeped at eighty degrees.\n"
COFFEE = b"# Coffee\n\nEspresso is brewed under nine bars of pressure.\n"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    served_here = served(ChatUpstream(), tmp_path_factory.mktemp("data"))
    with served_here as url, openai.OpenAI(base_url=url, api_key="x", max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture
def store(client: openai.OpenAI) -> Iterator[str]:
    made = client.vector_stores.create(name="drinks")
    yield made.id
    client.vector_stores.delete(made.id)


def found(client: openai.OpenAI, store: str, query: Any = "how hot is green tea", **options: Any) -> list[str]:
    return [result.filename for result in client.vector_stores.search(store, query=query, **options)]


def test_a_store_lives_and_dies(client: openai.OpenAI) -> None:
    stores = client.vector_stores
    expires = {"anchor": "last_active_at", "days": 3}
    made = stores.create(name="drinks", metadata={"a": "b"}, expires_after=expires, description="of all kinds")
    assert (made.object, made.name, made.metadata, made.status) == ("vector_store", "drinks", {"a": "b"}, "completed")
    assert made.expires_after is not None
    assert (made.expires_after.days, made.expires_at) == (3, made.created_at + 3 * 86_400)
    assert (made.file_counts.total, made.usage_bytes) == (0, 0)
    assert stores.retrieve(made.id).name == "drinks"
    changed = stores.update(made.id, name="hot drinks", expires_after=None)
    assert (changed.name, changed.metadata, changed.expires_after) == ("hot drinks", {"a": "b"}, None)
    assert stores.delete(made.id).deleted
    for call in (stores.retrieve, stores.delete, stores.files.list, lambda each: stores.search(each, query="tea")):
        with pytest.raises(openai.NotFoundError, match=f"Vector store with id '{made.id}' not found"):
            call(made.id)


def test_stores_are_listed_in_pages(client: openai.OpenAI) -> None:
    made = [client.vector_stores.create(name=f"{n}").id for n in range(5)]
    listed = [each.id for each in client.vector_stores.list(limit=2)]
    assert [each for each in listed if each in made] == made[::-1]
    assert [each.id for each in client.vector_stores.list(limit=2, order="asc", after=made[0])] == made[1:]
    assert [each.id for each in client.vector_stores.list(limit=2, before=made[0]).data] == [made[2], made[1]]
    for each in made:
        client.vector_stores.delete(each)


def test_a_file_is_uploaded_indexed_found_and_taken_out(client: openai.OpenAI, store: str) -> None:
    files = client.vector_stores.files
    placed = files.upload_and_poll(vector_store_id=store, file=("tea.md", TEA), attributes={"kind": "tea", "hot": True})
    assert (placed.status, placed.last_error, placed.vector_store_id) == ("completed", None, store)
    assert placed.attributes == {"kind": "tea", "hot": True}
    assert placed.usage_bytes > 0
    assert placed.chunking_strategy is not None
    assert placed.chunking_strategy.type == "static"
    assert placed.chunking_strategy.static.max_chunk_size_tokens == 800
    files.upload_and_poll(vector_store_id=store, file=("coffee.md", COFFEE))
    counts = client.vector_stores.retrieve(store).file_counts
    assert (counts.completed, counts.total) == (2, 2)
    [best, *_] = client.vector_stores.search(store, query="how hot is green tea")
    assert (best.file_id, best.filename, best.attributes) == (placed.id, "tea.md", {"kind": "tea", "hot": True})
    assert "eighty degrees" in best.content[0].text
    assert 0 < best.score <= 1
    [content] = files.content(placed.id, vector_store_id=store)
    assert content.text is not None
    assert "eighty degrees" in content.text
    assert files.delete(placed.id, vector_store_id=store).deleted
    assert "tea.md" not in found(client, store)
    assert client.files.retrieve(placed.id).filename == "tea.md"
    with pytest.raises(openai.NotFoundError, match="It is not in vector store"):
        files.retrieve(placed.id, vector_store_id=store)


def test_searches_can_be_narrowed(client: openai.OpenAI, store: str) -> None:
    for year, text in ((1700, TEA), (1900, TEA + COFFEE)):
        file = client.files.create(file=(f"{year}.md", text), purpose="assistants")
        client.vector_stores.files.create_and_poll(file.id, vector_store_id=store, attributes={"year": year})
    newer = {"type": "gt", "key": "year", "value": 1800}
    both = {"type": "or", "filters": [newer, {"type": "eq", "key": "year", "value": 1700}]}
    assert set(found(client, store)) == {"1700.md", "1900.md"}
    assert set(found(client, store, filters=newer)) == {"1900.md"}
    assert set(found(client, store, filters=both)) == {"1700.md", "1900.md"}
    assert len(found(client, store, max_num_results=1)) == 1
    assert found(client, store, query=["espresso pressure"], filters=newer) == ["1900.md"]
    assert found(client, store, query="zebra") == []
    [file, *_] = client.vector_stores.search(store, query="tea", filters=newer)
    client.vector_stores.files.update(file.file_id, vector_store_id=store, attributes={"year": 1600})
    assert found(client, store, filters=newer) == []


def test_a_batch_is_uploaded_and_polled(client: openai.OpenAI, store: str) -> None:
    batches = client.vector_stores.file_batches
    batch = batches.upload_and_poll(
        vector_store_id=store, files=[("tea.md", TEA), ("coffee.md", COFFEE), ("junk.txt", bytes(range(256)) * 9)]
    )
    counts = batch.file_counts
    assert (batch.status, counts.completed, counts.failed, counts.total) == ("completed", 2, 1, 3)
    assert batch.object == "vector_store.files_batch"
    listed = list(batches.list_files(batch.id, vector_store_id=store, limit=1, order="asc"))
    assert len({file.id for file in listed}) == 3
    [failed] = batches.list_files(batch.id, vector_store_id=store, filter="failed")
    assert failed.last_error is not None
    assert (failed.last_error.code, "binary" in failed.last_error.message) == ("unsupported_file", True)
    assert batches.retrieve(batch.id, vector_store_id=store) == batch
    assert batches.cancel(batch.id, vector_store_id=store).file_counts.completed == 2
    assert {file.id for file in client.vector_stores.files.list(store, filter="completed", limit=1)} == {
        file.id for file in listed
    } - {failed.id}


def test_files_of_a_batch_may_each_have_their_own_settings(client: openai.OpenAI, store: str) -> None:
    ids = [client.files.create(file=(f"{n}.md", TEA), purpose="assistants").id for n in range(2)]
    static = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}}
    batch = client.vector_stores.file_batches.create_and_poll(
        store, files=[{"file_id": ids[0], "attributes": {"n": 0}}, {"file_id": ids[1], "chunking_strategy": static}]
    )
    assert batch.file_counts.completed == 2
    first, second = [client.vector_stores.files.retrieve(each, vector_store_id=store) for each in ids]
    assert first.attributes == {"n": 0}
    assert second.chunking_strategy is not None
    assert second.chunking_strategy.static.max_chunk_size_tokens == 100


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.txt", b"plain tea", "plain tea"),
        ("a.html", b"<html><body><p>marked tea</p><script>no()</script></body></html>", "marked tea"),
        ("a.csv", b"drink,hot\ntea,yes\n", "tea"),
        ("a.json", b'{"drink": "tea"}', "tea"),
        ("a.py", b"def tea():\n    return 80\n", "def tea"),
        ("a.docx", docx(), "Sales rose"),
        ("a.pdf", pdf(["tea in PDF"]), "tea in PDF"),
    ],
)
def test_files_of_many_kinds_are_indexed(client: openai.OpenAI, store: str, name: str, data: bytes, text: str) -> None:
    placed = client.vector_stores.files.upload_and_poll(vector_store_id=store, file=(name, data))
    assert (placed.status, placed.last_error) == ("completed", None)
    [content] = client.vector_stores.files.content(placed.id, vector_store_id=store)
    assert content.text is not None
    assert text in content.text


@pytest.mark.parametrize(
    ("name", "data", "code", "words"),
    [
        ("blank.txt", b" \n \n", "invalid_file", "text"),
        ("junk.txt", bytes(range(256)) * 9, "unsupported_file", "binary"),
        ("broken.pdf", b"%PDF-1.7 nothing more", "invalid_file", ""),
        ("encrypted.pdf", pdf(["secret"], encrypted=True), "invalid_file", "password"),
    ],
)
def test_files_that_cannot_be_read_say_why(
    client: openai.OpenAI, store: str, name: str, data: bytes, code: str, words: str
) -> None:
    placed = client.vector_stores.files.upload_and_poll(vector_store_id=store, file=(name, data))
    assert placed.status == "failed"
    assert placed.last_error is not None
    assert placed.last_error.code == code
    assert words in placed.last_error.message
    assert client.vector_stores.retrieve(store).status == "completed"


def test_wrong_requests_are_refused_in_words(client: openai.OpenAI, store: str) -> None:
    stores = client.vector_stores
    file = client.files.create(file=("tea.md", TEA), purpose="assistants").id
    static = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 51}}
    wrong: list[tuple[Any, str]] = [
        (lambda: stores.search(store, query="tea", filters={"type": "like", "key": "a", "value": "b"}), "like"),
        (lambda: stores.search(store, query="tea", filters={"type": "and", "filters": [{"type": "x"}]}), "'x'"),
        (lambda: stores.search(store, query="tea", max_num_results=51), "expected an integer <= 50"),
        (lambda: stores.search(store, query="tea", ranking_options={"score_threshold": 2}), "<= 1"),
        (lambda: stores.search(store, query=[]), "query"),
        (lambda: stores.files.create(store, file_id=file, chunking_strategy=static), "at most half"),
        (lambda: stores.files.create(store, file_id=file, attributes={"a": ["b"]}), "attributes"),
        (lambda: stores.files.create(store, file_id=file, attributes={"a": "b" * 513}), "length <= 512"),
        (lambda: stores.file_batches.create(store), "Give either 'file_ids' or 'files'"),
        (lambda: stores.file_batches.create(store, file_ids=[file], files=[{"file_id": file}]), "Give either"),
        (lambda: stores.create(expires_after={"anchor": "created_at", "days": 1}), "'last_active_at'"),
        (lambda: stores.create(extra_body={"colour": "mauve"}), "Unknown parameter: 'colour'"),
        (lambda: stores.files.list(store, filter="done"), "Supported values are: 'in_progress'"),
    ]
    for call, words in wrong:
        with pytest.raises(openai.BadRequestError, match=words):
            call()
    missing: list[Any] = [
        lambda: stores.create(file_ids=[file, "file-0"]),
        lambda: stores.files.create(store, file_id="file-0"),
        lambda: stores.file_batches.create(store, file_ids=[file, "file-0"]),
    ]
    for call in missing:
        with pytest.raises(openai.NotFoundError, match="File with id 'file-0' not found"):
            call()
    with pytest.raises(openai.NotFoundError):
        stores.file_batches.retrieve("vsfb_0", vector_store_id=store)
    assert stores.retrieve(store).file_counts.total == 0


def test_a_deleted_file_is_not_found_by_any_search(client: openai.OpenAI, store: str) -> None:
    other = client.vector_stores.create().id
    file = client.files.create(file=("tea.md", TEA), purpose="assistants").id
    for each in (store, other):
        client.vector_stores.files.create_and_poll(file, vector_store_id=each)
        assert found(client, each) == ["tea.md"]
    client.files.delete(file)
    for each in (store, other):
        assert found(client, each) == []
        assert client.vector_stores.retrieve(each).file_counts.total == 0
    client.vector_stores.delete(other)


def test_a_store_that_is_deleted_while_it_is_filled_is_gone(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    read = ReaderProcesses.read

    async def slow(self: ReaderProcesses, *args: Any, **options: Any) -> Any:
        begun.set()
        await asyncio.to_thread(go_on.wait, 10)
        return await read(self, *args, **options)

    monkeypatch.setattr(ReaderProcesses, "read", slow)
    file = client.files.create(file=("tea.md", TEA), purpose="assistants").id
    made = client.vector_stores.create(file_ids=[file])
    assert (made.status, made.file_counts.in_progress) == ("in_progress", 1)
    assert begun.wait(10)
    assert client.vector_stores.delete(made.id).deleted
    go_on.set()
    for call in (
        lambda: client.vector_stores.files.poll(file, vector_store_id=made.id),
        lambda: client.vector_stores.search(made.id, query="tea"),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    assert client.files.content(file).read() == TEA


def test_all_is_there_after_a_restart(tmp_path: Path) -> None:
    with served(ChatUpstream(), tmp_path) as url, openai.OpenAI(base_url=url, api_key="x") as client:
        store = client.vector_stores.create().id
        placed = client.vector_stores.files.upload_and_poll(vector_store_id=store, file=("tea.md", TEA))
    with served(ChatUpstream(), tmp_path) as url, openai.OpenAI(base_url=url, api_key="x") as client:
        assert client.files.content(placed.id).read() == TEA
        assert client.vector_stores.files.retrieve(placed.id, vector_store_id=store).status == "completed"
        assert found(client, store) == ["tea.md"]
