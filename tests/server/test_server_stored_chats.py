"""Chat completions that were stored: found again, page by page, by their owner and nobody else."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from asgi_client import Reply, ask
from chat_upstream import DONE, Served, chunk, delta, served
from fakes import FakeProvider
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from antiphon.agent.loop import Target
from antiphon.agent.runner import Runner
from antiphon.clock import CountingIds, FakeClock
from antiphon.config import hash_key
from antiphon.events import ErrorInfo, TurnFailed
from antiphon.server.app import App
from antiphon.server.auth import Keys
from antiphon.server.chat import Chat
from antiphon.server.passthrough import Passthrough
from antiphon.server.responses import Responses
from antiphon.server.stored_chats import StoredChats
from antiphon.store.sqlite import SqliteStore
from antiphon.testing import text_turn

SPEC = Path(__file__).parents[3] / "shared" / "spec" / "openai-2.3.0.openapi.json"
PATH = "/v1/chat/completions"
ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "store": True}


class Stored:
    """An application with two owners over one scripted provider."""

    def __init__(self) -> None:
        clock, ids, self.provider = FakeClock(), CountingIds(), FakeProvider()

        def resolve(model: str) -> list[Target]:
            return [Target(self.provider, model)]

        self.store = SqliteStore.open(None, clock=clock)
        runner = Runner(store=self.store, resolve=resolve, clock=clock, ids=ids)
        chat = Chat(runner, Passthrough(resolve, self.provider, ids), resolve)
        routes = [*Responses(runner, self.store).routes(), *StoredChats(self.store).routes(), *chat.routes()]
        keys = Keys({hash_key(f"sk-{owner}"): owner for owner in ("ada", "bob")})
        self.app = App(routes, keys=keys, clock=clock, ids=ids)

    def __call__(self, method: str, path: str = "", body: Any = b"", *, owner: str = "ada") -> Reply:
        return asyncio.run(ask(self.app, method, PATH + path, body, key=f"sk-{owner}"))

    def make(self, text: str = "hello", *, owner: str = "ada", **request: Any) -> str:
        """Store a completion; return its id."""
        self.provider.turns.append(text_turn(text))
        return str(self("POST", "", {**ASK, **request}, owner=owner).json["id"])

    def listed(self, query: str = "", *, owner: str = "ada") -> list[str]:
        return [each["id"] for each in self("GET", query, owner=owner).json["data"]]


@pytest.fixture
def stored() -> Stored:
    return Stored()


def test_a_stored_completion_is_found_again_with_what_it_was_asked_with(stored: Stored) -> None:
    id_ = stored.make(metadata={"k": "v"}, temperature=0.5, user="u")
    found = stored("GET", f"/{id_}").json
    assert (found["id"], found["object"], found["choices"][0]["message"]["content"]) == (
        id_,
        "chat.completion",
        "hello",
    )
    assert (found["metadata"], found["temperature"], found["top_p"]) == ({"k": "v"}, 0.5, 1.0)
    assert found["input_user"] == "u"


def test_a_streamed_completion_is_stored_under_the_id_of_its_chunks(stored: Stored) -> None:
    stored.provider.turns.append(text_turn("hello"))
    first = stored("POST", "", {**ASK, "stream": True}).writes[0]
    id_ = json.loads(first.split(b"\n\n")[0].removeprefix(b"data: "))["id"]
    assert stored("GET", f"/{id_}").json["choices"][0]["message"]["content"] == "hello"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "0123"),
        ("?order=desc", "3210"),
        ("?limit=2", "01"),
        ("?after={1}", "23"),
        ("?after={1}&order=desc", "0"),
        ("?model=x", "13"),
        ("?metadata%5Bodd%5D=yes", "13"),
        ("?metadata[odd]=yes&metadata[n]=3", "3"),
        ("?metadata[odd]=no", ""),
    ],
)
def test_lists_have_an_order_a_beginning_and_filters(stored: Stored, query: str, expected: str) -> None:
    ids = [
        stored.make(model="x" if n % 2 else "m", metadata={"n": str(n)} | ({"odd": "yes"} if n % 2 else {}))
        for n in range(4)
    ]
    stored.make(owner="bob")
    assert stored.listed(query.format(*ids)) == [ids[int(n)] for n in expected]


def test_a_list_says_whether_it_goes_on_and_where_it_begins_and_ends(stored: Stored) -> None:
    ids = [stored.make() for _ in range(3)]
    page = stored("GET", "?limit=2").json
    assert (page["first_id"], page["last_id"], page["has_more"]) == (ids[0], ids[1], True)
    assert stored("GET", f"?limit=2&after={ids[1]}").json["has_more"] is False
    assert stored("GET", owner="bob").json == {
        "object": "list",
        "data": [],
        "first_id": "",
        "last_id": "",
        "has_more": False,
    }


@pytest.mark.parametrize(
    ("query", "param"), [("limit=0", "limit"), ("limit=x", "limit"), ("order=up", "order"), ("odd=1", "odd")]
)
def test_a_query_that_makes_no_sense_is_refused_by_name(stored: Stored, query: str, param: str) -> None:
    reply = stored("GET", f"?{query}")
    assert (reply.status, reply.error["param"]) == (400, param)


def test_metadata_is_replaced_and_nothing_else(stored: Stored) -> None:
    id_ = stored.make(metadata={"a": "1"})
    before = stored("GET", f"/{id_}").json
    assert stored("POST", f"/{id_}", {"metadata": {"b": "2"}}).json == {**before, "metadata": {"b": "2"}}
    assert stored.listed("?metadata[b]=2") == [id_]
    assert stored("POST", f"/{id_}", {"metadata": None}).json["metadata"] == {}


@pytest.mark.parametrize("body", [{}, {"metadata": 1}, {"metadata": {"k": 1}}, {"metadata": {"k": "v" * 513}}])
def test_metadata_of_another_shape_is_refused(stored: Stored, body: dict[str, Any]) -> None:
    id_ = stored.make()
    reply = stored("POST", f"/{id_}", body)
    assert reply.status == 400
    assert reply.error["param"].startswith("metadata")


def test_a_deleted_completion_is_gone(stored: Stored) -> None:
    id_ = stored.make()
    assert stored("DELETE", f"/{id_}").json == {"object": "chat.completion.deleted", "id": id_, "deleted": True}
    assert stored("GET", f"/{id_}").status == stored("DELETE", f"/{id_}").status == 404
    assert stored.listed() == []


def test_messages_are_those_of_the_request(stored: Stored) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    parts = [{"type": "text", "text": "what is "}, {"type": "text", "text": "this"}, image]
    messages = [{"role": "system", "content": "Be brief.", "name": "s"}, {"role": "user", "content": parts}]
    id_ = stored.make(messages=messages)
    first, second = stored("GET", f"/{id_}/messages").json["data"]
    assert (first["id"], first["role"], first["content"], first["name"]) == (f"{id_}-0", "system", "Be brief.", "s")
    assert (second["content"], second["content_parts"]) == ("what is this", parts)
    assert [each["id"] for each in stored("GET", f"/{id_}/messages?order=desc&limit=1").json["data"]] == [f"{id_}-1"]
    assert [each["id"] for each in stored("GET", f"/{id_}/messages?after={id_}-0").json["data"]] == [f"{id_}-1"]
    assert stored("GET", f"/{id_}/messages?after=other").status == 404


def test_nobody_reaches_what_somebody_else_stored(stored: Stored) -> None:
    id_ = stored.make(metadata={"k": "v"})
    for method, path, body in (
        ("GET", "", b""),
        ("POST", "", {"metadata": {}}),
        ("DELETE", "", b""),
        ("GET", "/messages", b""),
    ):
        reply = stored(method, f"/{id_}{path}", body, owner="bob")
        assert (reply.status, reply.error["code"]) == (404, "not_found")
    assert stored.listed(owner="bob") == []
    assert stored("GET", f"?after={id_}", owner="bob").status == 404
    assert stored("GET", f"/{id_}").json["metadata"] == {"k": "v"}


def test_a_chat_completion_is_no_response_and_a_response_no_chat_completion(stored: Stored) -> None:
    chat = stored.make()
    stored.provider.turns.append(text_turn("hello"))
    responses = "/v1/responses"
    body = {"model": "m", "input": "hi"}
    response = asyncio.run(ask(stored.app, "POST", responses, body, key="sk-ada")).json["id"]
    for method in ("GET", "DELETE"):
        assert asyncio.run(ask(stored.app, method, f"{responses}/{chat}", key="sk-ada")).status == 404
        assert stored(method, f"/{response}").status == 404
    continued = asyncio.run(
        ask(stored.app, "POST", responses, {**body, "previous_response_id": chat}, key="sk-ada"),
    )
    assert continued.error["code"] == "previous_response_not_found"
    assert stored.listed() == [chat]


def test_what_was_not_to_be_stored_or_failed_is_not_there(stored: Stored) -> None:
    stored.provider.turns.append(text_turn("hello"))
    mended = {"tools": [{"type": "function", "function": {"name": "a.b"}}]}
    assert stored("POST", "", {**ASK, **mended, "store": False}).status == 200
    stored.provider.turns.append([[TurnFailed(turn=0, error=ErrorInfo(code="upstream_timeout", message="no"))]])
    assert stored("POST", "", ASK).status == 504
    assert stored.listed() == []


# --- as the openai package sees it -----------------------------------------------------------


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as served_:
        yield served_


def test_every_call_of_the_sdk(chat: Served) -> None:
    completions = chat.client.chat.completions
    for text in ("one", "two"):
        chat.say(chunk(delta(content=text, finish_reason="stop")), DONE)
        completions.create(model="m", messages=[{"role": "user", "content": text}], store=True, metadata={"text": text})
    assert [each.choices[0].message.content for each in completions.list(limit=1)] == ["one", "two"]
    (two,) = completions.list(metadata={"text": "two"})
    assert completions.update(two.id, metadata={"text": "2"}).metadata == {"text": "2"}
    assert [each.content for each in completions.messages.list(two.id)] == ["two"]
    assert completions.delete(two.id).deleted
    with pytest.raises(openai.NotFoundError):
        completions.retrieve(two.id)


@pytest.mark.skipif(not SPEC.exists(), reason=f"no OpenAPI document at {SPEC}")
@pytest.mark.parametrize(
    ("path", "schema"), [("", "ChatCompletionList"), ("/{}/messages", "ChatCompletionMessageList")]
)
def test_lists_are_as_openai_describes_them(stored: Stored, path: str, schema: str) -> None:
    id_ = stored.make()
    document = json.loads(SPEC.read_text())
    # The document gives every message of a request the role of the answer, against its own example.
    document["components"]["schemas"]["ChatCompletionResponseMessage"]["properties"]["role"] = {"type": "string"}
    registry: Registry[Any] = Registry().with_resource("urn:doc", DRAFT202012.create_resource(document))
    validator = Draft202012Validator({"$ref": f"urn:doc#/components/schemas/{schema}"}, registry=registry)
    assert [error.message for error in validator.iter_errors(stored("GET", path.format(id_)).json)] == []
