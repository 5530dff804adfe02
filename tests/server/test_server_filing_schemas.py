"""What is answered about files and vector stores has the shapes of OpenAI's document."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from asgi_client import ask, send_form
from scripted_upstream import ChatUpstream
from whole_server import whole_app

from openapi_documents import SPEC, complaint_about

pytestmark = pytest.mark.skipif(not SPEC.exists(), reason="the OpenAPI documents are not here")

_STORE = "/v1/vector_stores/{vs}"
_FILE = f"{_STORE}/files/{{file}}"

# In order; what an answer has as its id is kept under the name before the path.
EXCHANGES: list[tuple[str, str, str, Any, str]] = [
    ("file", "FORM", "/v1/files", {"purpose": "assistants", "file": "Green tea."}, "OpenAIFile"),
    ("bad", "FORM", "/v1/files", {"purpose": "batch", "file": "\0\x01\x02"}, "OpenAIFile"),
    ("", "GET", "/v1/files", None, "ListFilesResponse"),
    ("", "GET", "/v1/files?purpose=nothing", None, "ListFilesResponse"),
    ("", "GET", "/v1/files/{file}", None, "OpenAIFile"),
    (
        "upload",
        "POST",
        "/v1/uploads",
        {"filename": "a", "bytes": 3, "mime_type": "text/plain", "purpose": "assistants"},
        "Upload",
    ),
    ("part", "FORM", "/v1/uploads/{upload}/parts", {"data": "abc"}, "UploadPart"),
    ("", "POST", "/v1/uploads/{upload}/complete", {"part_ids": ["{part}"]}, "Upload"),
    (
        "vs",
        "POST",
        "/v1/vector_stores",
        {"expires_after": {"anchor": "last_active_at", "days": 1}, "description": "teas"},
        "VectorStoreObject",
    ),
    ("", "POST", "/v1/vector_stores", {}, "VectorStoreObject"),
    ("", "POST", _STORE, {"name": "tea", "metadata": {"a": "b"}}, "VectorStoreObject"),
    ("", "GET", "/v1/vector_stores", None, "ListVectorStoresResponse"),
    ("", "POST", f"{_STORE}/files", {"file_id": "{file}", "attributes": {"a": 1}}, "VectorStoreFileObject"),
    ("batch", "POST", f"{_STORE}/file_batches", {"file_ids": ["{bad}"]}, "VectorStoreFileBatchObject"),
    ("", "WAIT", f"{_STORE}/file_batches/{{batch}}", None, "VectorStoreFileBatchObject"),
    ("", "WAIT", _FILE, None, "VectorStoreFileObject"),
    ("", "GET", f"{_STORE}/files", None, "ListVectorStoreFilesResponse"),
    ("", "GET", f"{_STORE}/file_batches/{{batch}}/files", None, "ListVectorStoreFilesResponse"),
    ("", "POST", _FILE, {"attributes": {"a": True}}, "VectorStoreFileObject"),
    ("", "GET", f"{_FILE}/content", None, "VectorStoreFileContentResponse"),
    ("", "POST", f"{_STORE}/search", {"query": "tea"}, "VectorStoreSearchResultsPage"),
    ("", "POST", f"{_STORE}/search", {"query": ["zebra"]}, "VectorStoreSearchResultsPage"),
    ("", "POST", f"{_STORE}/file_batches/{{batch}}/cancel", {}, "VectorStoreFileBatchObject"),
    ("", "DELETE", _FILE, None, "DeleteVectorStoreFileResponse"),
    ("", "DELETE", _STORE, None, "DeleteVectorStoreResponse"),
    ("", "DELETE", "/v1/files/{file}", None, "DeleteFileResponse"),
]


def test_every_answer_has_its_shape(tmp_path: Path) -> None:
    ids: dict[str, str] = {}

    async def main() -> None:
        async with whole_app(ChatUpstream(), tmp_path) as app:
            for name, method, path, body, schema in EXCHANGES:
                answer = await _answer(app, method, _filled(path, ids), _filled(body, ids))
                assert complaint_about("openai", schema, answer) is None, (method, path, answer)
                if name:
                    ids[name] = answer["id"]

    asyncio.run(main())


async def _answer(app: Any, method: str, path: str, body: Any) -> Any:
    if method == "FORM":
        reply = await send_form(app, path, body)
    else:
        reply = await ask(app, "GET" if method == "WAIT" else method, path, body or b"")
    assert reply.status == 200, reply
    if method == "WAIT" and reply.json["status"] == "in_progress":
        await asyncio.sleep(0.01)
        return await _answer(app, method, path, body)
    return reply.json


def _filled(value: Any, ids: dict[str, str]) -> Any:
    match value:
        case str():
            for name, id_ in ids.items():
                value = value.replace(f"{{{name}}}", id_)
        case list():
            return [_filled(each, ids) for each in value]
        case dict():
            return {key: _filled(each, ids) for key, each in value.items()}
    return value
