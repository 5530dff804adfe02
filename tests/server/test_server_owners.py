"""Nobody reads, continues, resumes, cancels, lists or changes what is another's: every route is tried."""

import asyncio
import json
from pathlib import Path
from typing import Any, NamedTuple

from asgi_client import Reply, ask, send_form
from scripted_upstream import ChatUpstream
from starlette.routing import Route
from whole_server import whole_app

from antiphon.server.app import App

KEYS = "ann=key-ann,bob=key-bob"
SECRET = "the colour is mauve"
_RESPONSE = "/v1/responses/{response_id}"
_CONVERSATION = "/v1/conversations/{conversation_id}"
_ITEM = f"{_CONVERSATION}/items/{{item_id}}"
_CHAT = "/v1/chat/completions"
_STORED = f"{_CHAT}/{{completion_id}}"

# What is everybody's: it tells of no one, or (what is passed on) belongs to the upstream.
SHARED = {
    "GET /healthz",
    "GET /metrics",
    "GET /openapi.json",
    "GET /v1/models",
    "GET /v1/models/{model:path}",
    "any /v1/{path:path}",
}


class Attempt(NamedTuple):
    """What Bob tries: ids in braces are Ann's, those that begin with ``own_`` his."""

    route: str
    query: str = ""
    body: dict[str, Any] | None = None
    path: str = ""  # where it is not the route's
    form: dict[str, str] | None = None


def _told(**more: Any) -> dict[str, Any]:
    return {"model": "m", "input": "What did she say?", **more}


_REFERENCE = {"type": "item_reference", "id": "{item_id}"}
_SEALED = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "{sealed}"}
_OWN = "/v1/conversations/{own_conversation}"
_FILE = "/v1/files/{file_id}"
_UPLOAD = "/v1/uploads/{upload_id}"
_STORE = "/v1/vector_stores/{vector_store_id}"
_OWN_STORE = "/v1/vector_stores/{own_store}"
_STORE_FILE = f"{_STORE}/files/{{file_id}}"
_BATCH = f"{_STORE}/file_batches/{{batch_id}}"

REFUSED = [
    *(
        Attempt(f"POST {path}", body=_told(**more))
        for path in ("/v1/responses", "/v1/responses/compact")
        for more in (
            {"previous_response_id": "{response_id}"},
            {"previous_response_id": "{background_id}"},
            {"input": [_REFERENCE]},
            {"input": [_SEALED]},
        )
    ),
    Attempt("POST /v1/responses", body=_told(conversation="{conversation_id}")),
    Attempt("POST /v1/responses", body=_told(conversation={"id": "{conversation_id}"}, stream=True)),
    Attempt("POST /v1/responses", body=_told(previous_response_id="{response_id}", background=True)),
    Attempt("POST /v1/responses", body=_told(previous_response_id="{response_id}", store=False)),
    Attempt("POST /v1/responses", body=_told(previous_response_id="{completion_id}")),
    Attempt(f"GET {_RESPONSE}"),
    Attempt(f"GET {_RESPONSE}", "stream=true"),
    Attempt(f"GET {_RESPONSE}", "stream=true&starting_after=1", path="/v1/responses/{background_id}"),
    Attempt(f"DELETE {_RESPONSE}"),
    Attempt(f"DELETE {_RESPONSE}", path="/v1/responses/{background_id}"),
    Attempt(f"POST {_RESPONSE}/cancel", path="/v1/responses/{background_id}/cancel"),
    Attempt(f"GET {_RESPONSE}/input_items"),
    Attempt(f"GET {_RESPONSE}/input_items", "after={item_id}", path="/v1/responses/{own_response}/input_items"),
    Attempt("POST /v1/conversations", body={"items": [_REFERENCE]}),
    Attempt("POST /v1/conversations", body={"items": [_SEALED]}),
    Attempt(f"GET {_CONVERSATION}"),
    Attempt(f"POST {_CONVERSATION}", body={"metadata": {"a": "b"}}),
    Attempt(f"DELETE {_CONVERSATION}"),
    Attempt(f"GET {_CONVERSATION}/items"),
    Attempt(f"GET {_CONVERSATION}/items", "after={item_id}", path=f"{_OWN}/items"),
    Attempt(f"POST {_CONVERSATION}/items", body={"items": [{"role": "user", "content": "Hi."}]}),
    Attempt(f"POST {_CONVERSATION}/items", body={"items": [_REFERENCE]}, path=f"{_OWN}/items"),
    Attempt(f"GET {_ITEM}"),
    Attempt(f"GET {_ITEM}", path=f"{_OWN}/items/{{item_id}}"),
    Attempt(f"DELETE {_ITEM}"),
    Attempt(f"DELETE {_ITEM}", path=f"{_OWN}/items/{{item_id}}"),
    Attempt(f"GET {_CHAT}", "after={completion_id}"),
    Attempt(f"GET {_STORED}"),
    Attempt(f"POST {_STORED}", body={"metadata": {"a": "b"}}),
    Attempt(f"DELETE {_STORED}"),
    Attempt(f"GET {_STORED}/messages"),
    Attempt("GET /v1/files", "after={file_id}"),
    Attempt(f"GET {_FILE}"),
    Attempt(f"GET {_FILE}/content"),
    Attempt(f"DELETE {_FILE}"),
    Attempt(f"POST {_UPLOAD}/parts", form={"data": "x"}),
    Attempt(f"POST {_UPLOAD}/complete", body={"part_ids": ["{part_id}"]}),
    Attempt(f"POST {_UPLOAD}/complete", body={"part_ids": ["{part_id}"]}, path="/v1/uploads/{own_upload}/complete"),
    Attempt(f"POST {_UPLOAD}/cancel"),
    Attempt("POST /v1/vector_stores", body={"file_ids": ["{file_id}"]}),
    Attempt("GET /v1/vector_stores", "after={vector_store_id}"),
    Attempt(f"GET {_STORE}"),
    Attempt(f"POST {_STORE}", body={"name": "mine"}),
    Attempt(f"DELETE {_STORE}"),
    Attempt(f"POST {_STORE}/search", body={"query": "colour"}),
    Attempt(f"POST {_STORE}/files", body={"file_id": "{file_id}"}),
    Attempt(f"POST {_STORE}/files", body={"file_id": "{file_id}"}, path=f"{_OWN_STORE}/files"),
    Attempt(f"GET {_STORE}/files"),
    Attempt(f"GET {_STORE}/files", "after={file_id}", path=f"{_OWN_STORE}/files"),
    Attempt(f"GET {_STORE_FILE}"),
    Attempt(f"GET {_STORE_FILE}", path=f"{_OWN_STORE}/files/{{file_id}}"),
    Attempt(f"POST {_STORE_FILE}", body={"attributes": {}}),
    Attempt(f"DELETE {_STORE_FILE}"),
    Attempt(f"GET {_STORE_FILE}/content"),
    Attempt(f"GET {_STORE_FILE}/content", path=f"{_OWN_STORE}/files/{{file_id}}/content"),
    Attempt(f"POST {_STORE}/file_batches", body={"file_ids": ["{file_id}"]}),
    Attempt(f"POST {_STORE}/file_batches", body={"file_ids": ["{file_id}"]}, path=f"{_OWN_STORE}/file_batches"),
    Attempt(f"GET {_BATCH}"),
    Attempt(f"GET {_BATCH}", path=f"{_OWN_STORE}/file_batches/{{batch_id}}"),
    Attempt(f"POST {_BATCH}/cancel"),
    Attempt(f"GET {_BATCH}/files"),
]

# What is answered to anyone, with nothing of another's in it.
ANSWERED = [
    Attempt(f"GET {_CHAT}"),
    Attempt(f"GET {_CHAT}", "metadata[of]=ann"),
    Attempt("GET /v1/files"),
    Attempt("GET /v1/vector_stores"),
    Attempt("POST /v1/files", form={"purpose": "user_data", "file": "his own"}),
    Attempt("POST /v1/uploads", body={"filename": "a", "bytes": 3, "mime_type": "text/plain", "purpose": "assistants"}),
    Attempt(f"POST {_CHAT}", body={"model": "m", "messages": [{"role": "user", "content": "{completion_id}"}]}),
]


def test_every_route_is_tried_or_everybodys(tmp_path: Path) -> None:
    async def main() -> None:
        async with whole_app(ChatUpstream(), tmp_path) as app:
            tried = {attempt.route for attempt in (*REFUSED, *ANSWERED)}
            assert _routes(app) == tried | SHARED
            assert not tried & SHARED

    asyncio.run(main())


def _routes(app: App) -> set[str]:
    """Of all that is served: the method and the path, as the route has it."""
    found = set()
    for each in app._router.routes:  # type: ignore[attr-defined]
        assert isinstance(each, Route)
        found |= {f"{method} {each.path}" for method in (each.methods or {"any"}) - {"HEAD"}}
    return found


def test_nothing_of_one_owner_is_reached_by_another(tmp_path: Path) -> None:
    upstream = ChatUpstream(SECRET)

    async def main() -> None:
        async with whole_app(upstream, tmp_path, keys=KEYS) as app:
            ids = await _made_by_ann(app) | await _made_by_bob(app)
            before = await _seen_by_ann(app, ids)
            upstream.answer, already_asked = "Nothing.", len(upstream.asked)
            for attempt in REFUSED:
                reply = await _try(app, attempt, ids)
                assert reply.status in {400, 404}, (attempt, reply)
                assert SECRET.encode() not in reply.body, attempt
            assert len(upstream.asked) == already_asked
            for attempt in ANSWERED:
                reply = await _try(app, attempt, ids)
                assert reply.status == 200, (attempt, reply)
                assert SECRET.encode() not in reply.body, attempt
            assert await _seen_by_ann(app, ids) == before

    asyncio.run(main())


async def _made_by_ann(app: App) -> dict[str, str]:
    async def make(path: str, **body: Any) -> Any:
        reply = await ask(app, "POST", path, body, key="key-ann")
        assert reply.status == 200, reply
        return reply.json

    conversation = await make("/v1/conversations", items=[{"role": "user", "content": SECRET}])
    thought = {"reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"]}
    response = await make("/v1/responses", model="m", input=SECRET, conversation=conversation["id"], **thought)
    background = await make("/v1/responses", model="m", input=SECRET, background=True)
    # Whoever follows a response has it when it has ended.
    await ask(app, "GET", f"/v1/responses/{background['id']}?stream=true", key="key-ann")
    chat = await make(
        _CHAT, model="m", store=True, metadata={"of": "ann"}, messages=[{"role": "user", "content": SECRET}]
    )
    items = await ask(app, "GET", f"/v1/conversations/{conversation['id']}/items?order=asc", key="key-ann")
    file = await send_form(app, "/v1/files", {"purpose": "user_data", "file": SECRET}, key="key-ann")
    store = await make("/v1/vector_stores", name=SECRET)
    batch = await make(f"/v1/vector_stores/{store['id']}/file_batches", file_ids=[file.json["id"]])
    upload = await make("/v1/uploads", filename=SECRET, bytes=9, mime_type="text/plain", purpose="assistants")
    part = await send_form(app, f"/v1/uploads/{upload['id']}/parts", {"data": "mauve"}, key="key-ann")
    while (await _batch_of_ann(app, store["id"], batch["id"]))["status"] == "in_progress":  # noqa: ASYNC110 - as clients do
        await asyncio.sleep(0.01)
    return {
        "conversation_id": conversation["id"],
        "response_id": response["id"],
        "background_id": background["id"],
        "completion_id": chat["id"],
        "item_id": items.json["data"][0]["id"],
        "file_id": file.json["id"],
        "vector_store_id": store["id"],
        "batch_id": batch["id"],
        "upload_id": upload["id"],
        "part_id": part.json["id"],
        "sealed": response["output"][0]["encrypted_content"],
    }


async def _made_by_bob(app: App) -> dict[str, str]:
    own = await ask(app, "POST", "/v1/conversations", {}, key="key-bob")
    response = await ask(app, "POST", "/v1/responses", {"model": "m", "input": "hi"}, key="key-bob")
    store = await ask(app, "POST", "/v1/vector_stores", {}, key="key-bob")
    begun = {"filename": "a", "bytes": 5, "mime_type": "text/plain", "purpose": "assistants"}
    upload = await ask(app, "POST", "/v1/uploads", begun, key="key-bob")
    return {
        "own_conversation": own.json["id"],
        "own_response": response.json["id"],
        "own_store": store.json["id"],
        "own_upload": upload.json["id"],
    }


async def _batch_of_ann(app: App, store: str, batch: str) -> Any:
    return (await ask(app, "GET", f"/v1/vector_stores/{store}/file_batches/{batch}", key="key-ann")).json


async def _seen_by_ann(app: App, ids: dict[str, str]) -> list[bytes]:
    seen = []
    for path in (
        *("/v1/responses/{response_id}", "/v1/responses/{response_id}/input_items"),
        *("/v1/responses/{background_id}?stream=true", "/v1/conversations/{conversation_id}"),
        *("/v1/conversations/{conversation_id}/items", _CHAT, f"{_CHAT}/{{completion_id}}"),
        *("/v1/files", f"{_FILE}/content", "/v1/vector_stores", f"{_STORE}/files", f"{_STORE_FILE}/content", _BATCH),
    ):
        reply = await ask(app, "GET", _filled(path, ids), key="key-ann")
        assert reply.status == 200, (path, reply)
        seen.append(reply.body)
    return seen


async def _try(app: App, attempt: Attempt, ids: dict[str, str]) -> Reply:
    method, _, path = attempt.route.partition(" ")
    target = _filled(f"{attempt.path or path}?{attempt.query}", ids)
    if attempt.form is not None:
        return await send_form(app, target, attempt.form, key="key-bob")
    body = b"" if attempt.body is None else _filled(json.dumps(attempt.body), ids).encode()
    return await ask(app, method, target, body, key="key-bob")


def _filled(text: str, ids: dict[str, str]) -> str:
    for name, id_ in ids.items():
        text = text.replace(f"{{{name}}}", id_)
    return text
