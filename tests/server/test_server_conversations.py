"""Conversations over HTTP, responses in them, and items by reference."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from asgi_client import Reply, ask
from fakes import FakeProvider
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from antiphon.agent.loop import Target
from antiphon.agent.runner import Runner
from antiphon.clock import CountingIds, FakeClock
from antiphon.config import hash_key
from antiphon.events import ErrorInfo, TurnFailed, TurnFinished
from antiphon.server.app import App
from antiphon.server.auth import Keys
from antiphon.server.conversations import Conversations
from antiphon.server.responses import Responses
from antiphon.store.sqlite import SqliteStore
from antiphon.testing import text_turn, tool_turn
from antiphon.wire.items import ITEM_TYPES

DOCUMENT = Path(__file__).parents[3] / "shared" / "spec" / "openai-2.3.0.openapi.json"
PATH = "/v1/conversations"
HI = {"role": "user", "content": "hi"}
KEYS = Keys({hash_key("sk-alice"): "alice", hash_key("sk-bob"): "bob"})


class Server:
    """An application over one scripted provider; asks as alice unless told otherwise."""

    def __init__(self, *turns: list[Any]) -> None:
        self.provider = FakeProvider(turns=list(turns))
        self.store = SqliteStore.open(None, clock=FakeClock())
        ids = CountingIds()
        runner = Runner(
            store=self.store, resolve=lambda model: [Target(self.provider, model)], clock=FakeClock(), ids=ids
        )
        routes = [*Responses(runner, self.store).routes(), *Conversations(self.store, ids).routes()]
        self.app = App(routes, keys=KEYS, clock=FakeClock(), ids=ids)

    async def ask(self, method: str, path: str, body: Any = b"", *, key: str = "sk-alice") -> Reply:
        return await ask(self.app, method, path, body, key=key)

    async def post(self, path: str, body: Any = b"") -> Any:
        reply = await self.ask("POST", path, body)
        assert reply.status == 200, reply.body
        return reply.json

    async def get(self, path: str) -> Any:
        reply = await self.ask("GET", path)
        assert reply.status == 200, reply.body
        return reply.json

    async def conversation(self, *items: dict[str, Any]) -> str:
        """The path of a new one."""
        return f"{PATH}/{(await self.post(PATH, {'items': items}))['id']}"

    async def respond(self, **request: Any) -> Any:
        return await self.post("/v1/responses", {"model": "m", **request})

    async def texts(self, conversation: str) -> list[str]:
        return texts((await self.get(f"{conversation}/items?order=asc&limit=100"))["data"])

    def told(self) -> list[str]:
        """What the model was told last."""
        return texts(self.provider.calls[-1].items)


def texts(items: list[dict[str, Any]]) -> list[str]:
    found = []
    for item in items:
        content = item.get("content") or item.get("output") or item["type"]
        found.append(content if isinstance(content, str) else content[0]["text"])
    return found


def scenario(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())  # type: ignore[arg-type]

    run.__name__ = test.__name__
    return run


def name_of(path: str) -> str:
    return path.rpartition("/")[2]


# --- conversations and their items -----------------------------------------------------------


@scenario
async def test_a_conversation_is_made_looked_up_changed_and_deleted() -> None:
    server = Server()
    made = await server.post(PATH, {"metadata": {"topic": "tea"}})
    path = f"{PATH}/{made['id']}"
    assert made["id"].startswith("conv_")
    assert made == {**made, "object": "conversation", "created_at": 1_700_000_000, "metadata": {"topic": "tea"}}
    assert await server.get(path) == made
    assert (await server.post(path, {"metadata": {"a": "b"}}))["metadata"] == {"a": "b"}
    deleted = await server.ask("DELETE", path)
    assert deleted.json == {"id": made["id"], "object": "conversation.deleted", "deleted": True}
    for again in (await server.ask("GET", path), await server.ask("DELETE", path)):
        assert (again.status, again.error["code"]) == (404, "not_found")
        assert again.error["message"] == f"Conversation with id '{made['id']}' not found."


@scenario
async def test_added_items_come_back_with_ids_and_whole() -> None:
    server = Server()
    conversation = await server.conversation()
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    added = await server.post(f"{conversation}/items", {"items": [HI, call, {**HI, "id": "msg_mine"}]})
    message, function_call, mine = added["data"]
    assert message["content"] == [{"type": "input_text", "text": "hi"}]
    assert (message["status"], function_call["status"], mine["id"]) == ("completed", "completed", "msg_mine")
    assert (message["id"][:4], function_call["id"][:3]) == ("msg_", "fc_")
    assert (added["first_id"], added["last_id"], added["has_more"]) == (message["id"], "msg_mine", False)
    listed = await server.get(f"{conversation}/items?order=asc")
    assert listed == added
    assert await server.get(f"{conversation}/items/{function_call['id']}") == function_call


@scenario
async def test_a_list_is_newest_first_and_goes_on_where_it_was_left() -> None:
    server = Server()
    conversation = await server.conversation(*({**HI, "id": f"msg_{n}"} for n in range(5)))
    first = await server.get(f"{conversation}/items?limit=2")
    assert [item["id"] for item in first["data"]] == ["msg_4", "msg_3"]
    assert (first["first_id"], first["last_id"], first["has_more"]) == ("msg_4", "msg_3", True)
    last = await server.get(f"{conversation}/items?limit=3&after=msg_3")
    assert ([item["id"] for item in last["data"]], last["has_more"]) == (["msg_2", "msg_1", "msg_0"], False)
    lost = await server.ask("GET", f"{conversation}/items?after=msg_9")
    assert (lost.status, lost.error["message"]) == (404, "Item with id 'msg_9' not found.")


@scenario
async def test_deleting_an_item_answers_with_the_conversation() -> None:
    server = Server()
    conversation = await server.conversation({**HI, "id": "msg_1"}, {**HI, "id": "msg_2"})
    deleted = await server.ask("DELETE", f"{conversation}/items/msg_1")
    assert deleted.json == await server.get(conversation)
    assert (await server.ask("GET", f"{conversation}/items/msg_1")).status == 404
    assert [item["id"] for item in (await server.get(f"{conversation}/items"))["data"]] == ["msg_2"]


@scenario
async def test_an_item_that_is_there_is_not_added_twice() -> None:
    server = Server()
    conversation = await server.conversation({**HI, "id": "msg_1"})
    again = await server.ask("POST", f"{conversation}/items", {"items": [HI, {**HI, "id": "msg_1"}]})
    assert (again.status, again.error["code"]) == (400, "duplicate_item")
    assert await server.texts(conversation) == ["hi"]


@scenario
async def test_an_item_of_another_conversation_is_copied_by_reference() -> None:
    server = Server()
    one = await server.conversation({**HI, "id": "msg_1"})
    other = await server.conversation({"type": "item_reference", "id": "msg_1"})
    await server.ask("DELETE", one)
    assert await server.texts(other) == ["hi"]


@scenario
async def test_every_object_is_what_the_document_describes() -> None:
    server = Server(text_turn("hello"), tool_turn(("call_1", "add", "{}")))
    conversation = await server.conversation(HI)
    answers = {
        "ConversationResource": [await server.get(conversation)],
        "ConversationItemList": [await server.post(f"{conversation}/items", {"items": [HI]})],
        "ResponseItemList": [],
    }
    for question in ("one", "two"):
        made = await server.respond(input=question, conversation=name_of(conversation))
        answers["ResponseItemList"].append(await server.get(f"/v1/responses/{made['id']}/input_items"))
    listed = await server.get(f"{conversation}/items")
    answers["ConversationItemList"].append(listed)
    item = listed["data"][0]["id"]
    answers["ConversationItem"] = [await server.get(f"{conversation}/items/{item}")]
    answers["ConversationItemList"].append(await server.get(f"{await server.conversation()}/items"))
    answers["ConversationResource"].append((await server.ask("DELETE", f"{conversation}/items/{item}")).json)
    answers["DeletedConversationResource"] = [(await server.ask("DELETE", conversation)).json]
    for schema, values in answers.items():
        for value in values:
            error = best_match(validator(schema).iter_errors(value))
            assert error is None, f"{schema} {error.json_path}: {error.message}"


@cache
def validator(schema: str) -> Draft202012Validator:
    if not DOCUMENT.exists():
        pytest.skip(f"no OpenAPI document at {DOCUMENT}")
    document = DRAFT202012.create_resource(json.loads(DOCUMENT.read_text()))
    registry: Registry[Any] = Registry().with_resource("urn:doc", document)
    return Draft202012Validator({"$ref": f"urn:doc#/components/schemas/{schema}"}, registry=registry)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
oddities = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
)
odd_items = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([*ITEM_TYPES, "x:y"]) | oddities,
        "role": st.sampled_from(["user", "assistant", "tool"]) | oddities,
        "content": st.text(max_size=5)
        | st.lists(st.fixed_dictionaries({"type": st.just("input_text"), "text": scalars})),
        "id": st.sampled_from(["msg_1", "\x00", "msg/1"]) | oddities,
        **dict.fromkeys(("output", "arguments", "call_id", "name", "status", "summary", "tools", "antiphon"), oddities),
    },
)


@settings(max_examples=40, deadline=None)
@given(
    bodies=st.lists(st.fixed_dictionaries({"items": st.lists(odd_items | oddities, max_size=3)}) | oddities, max_size=4)
)
def test_whatever_is_sent_is_kept_or_refused(bodies: list[Any]) -> None:
    async def main() -> None:
        server = Server()
        conversation = await server.conversation()
        kept = 0
        for body in bodies:
            for path in (PATH, conversation, f"{conversation}/items"):
                reply = await server.ask("POST", path, json.dumps(body).encode())
                assert reply.status in (200, 400, 404), reply.body
                if reply.status == 200 and path.endswith("items"):
                    kept += len(reply.json["data"])
        listed = await server.get(f"{conversation}/items?limit=100")
        assert len(listed["data"]) == kept
        assert len({item["id"] for item in listed["data"]}) == kept

    asyncio.run(main())


# --- responses in a conversation --------------------------------------------------------------


@scenario
async def test_a_response_reads_the_conversation_and_is_added_to_it() -> None:
    server = Server(text_turn("two"), text_turn("four"))
    conversation = await server.conversation({"role": "user", "content": "zero"})
    first = await server.respond(input="one", conversation=name_of(conversation))
    assert server.told() == ["zero", "one"]
    assert first["conversation"] == {"id": name_of(conversation)}
    await server.post(f"{conversation}/items", {"items": [{"role": "user", "content": "by hand"}]})
    second = await server.respond(input="three", conversation={"id": name_of(conversation)})
    assert second["conversation"] == {"id": name_of(conversation)}
    assert server.told() == ["zero", "one", "two", "by hand", "three"]
    assert await server.texts(conversation) == ["zero", "one", "two", "by hand", "three", "four"]
    listed = await server.get(f"{conversation}/items?limit=1")
    assert listed["data"] == second["output"]


@scenario
async def test_what_was_deleted_from_a_conversation_no_model_is_told() -> None:
    server = Server(text_turn("one"), text_turn("two"), text_turn("three"))
    conversation = await server.conversation({**HI, "id": "msg_1"}, {**HI, "id": "msg_2", "content": "ho"})
    first = await server.respond(input="first", conversation=name_of(conversation))
    await server.ask("DELETE", f"{conversation}/items/msg_1")
    await server.respond(input="second", conversation=name_of(conversation))
    assert server.told() == ["ho", "first", "one", "second"]
    await server.respond(input="third", previous_response_id=first["id"])
    assert server.told() == ["ho", "first", "one", "third"]


@scenario
async def test_responses_that_race_are_added_whole_in_the_order_of_their_ends() -> None:
    gates = [asyncio.Event() for _ in range(3)]
    answers = [text_turn(f"a{n}") for n in range(3)]
    server = Server(*([begin, gate, *rest] for gate, (begin, *rest) in zip(gates, answers, strict=True)))
    conversation = await server.conversation()
    asking = []
    for n in range(3):
        asking.append(asyncio.create_task(server.respond(input=f"q{n}", conversation=name_of(conversation))))
        async with asyncio.timeout(5):
            while len(server.provider.calls) <= n:  # noqa: ASYNC110 - the provider has no event for it
                await asyncio.sleep(0)
    for n in (2, 0, 1):
        gates[n].set()
        await asking[n]
    assert await server.texts(conversation) == ["q2", "a2", "q0", "a0", "q1", "a1"]


@scenario
async def test_a_response_that_failed_is_not_added_and_can_be_asked_for_again() -> None:
    failing = [[TurnFailed(turn=0, error=ErrorInfo(code="truncated_stream", message="cut"))]]
    server = Server([*text_turn("hel")[:3], *failing], text_turn("hello"))
    conversation = await server.conversation()
    for status, expected in (("failed", []), ("completed", ["hi", "hello"])):
        question = {"role": "user", "content": "hi", "id": "msg_1"}
        made = await server.respond(input=[question], conversation=name_of(conversation))
        assert made["status"] == status
        assert await server.texts(conversation) == expected


@scenario
async def test_a_client_that_leaves_leaves_the_conversation_as_it_was() -> None:
    leave = asyncio.Event()
    server = Server([*text_turn("hello")[:3], asyncio.Event()])
    conversation = await server.conversation()
    body = {"model": "m", "input": "hi", "conversation": name_of(conversation)}
    asking = asyncio.create_task(ask(server.app, "POST", "/v1/responses", body, key="sk-alice", leave=leave))
    async with asyncio.timeout(5):
        while not server.provider.calls:  # noqa: ASYNC110 - the provider has no event for it
            await asyncio.sleep(0)
    leave.set()
    await asking
    assert await server.texts(conversation) == []


@scenario
async def test_a_response_that_ran_into_its_limit_is_added() -> None:
    *turn, _ = text_turn("hel")
    server = Server([*turn, [TurnFinished(turn=0, finish_reason="length")]], text_turn("lo"))
    conversation = await server.conversation()
    made = await server.respond(input="hi", conversation=name_of(conversation))
    assert made["status"] == "incomplete"
    await server.respond(input="go on", conversation=name_of(conversation))
    assert server.told() == ["hi", "hel", "go on"]


@scenario
async def test_a_response_that_is_not_stored_reads_the_conversation_and_leaves_it() -> None:
    server = Server(text_turn("hello"))
    conversation = await server.conversation({**HI, "content": "before"})
    await server.respond(input="hi", conversation=name_of(conversation), store=False)
    assert server.told() == ["before", "hi"]
    assert await server.texts(conversation) == ["before"]


@scenario
async def test_an_item_of_the_conversation_cannot_be_said_again() -> None:
    server = Server()
    conversation = await server.conversation({**HI, "id": "msg_1"})
    for item in ({**HI, "id": "msg_1"}, {"type": "item_reference", "id": "msg_1"}):
        reply = await server.ask(
            "POST", "/v1/responses", {"model": "m", "input": [item], "conversation": name_of(conversation)}
        )
        assert reply.status == 400
        assert reply.error["message"].startswith("Duplicate item found with id msg_1. Remove duplicate items")
    assert not server.provider.calls


@scenario
async def test_an_unknown_conversation_is_not_found() -> None:
    server = Server()
    reply = await server.ask("POST", "/v1/responses", {"model": "m", "input": "hi", "conversation": "conv_0"})
    assert (reply.status, reply.error["message"]) == (404, "Conversation with id 'conv_0' not found.")


# --- input items and references ---------------------------------------------------------------


@scenario
async def test_input_items_have_the_same_ids_wherever_they_are_shown() -> None:
    server = Server(text_turn("hello"))
    conversation = await server.conversation()
    question = [HI, {**HI, "id": "msg_mine"}, {"type": "function_call_output", "call_id": None, "output": "4"}]
    made = await server.respond(input=question, conversation=name_of(conversation))
    suffix = made["id"].removeprefix("resp_")
    path = f"/v1/responses/{made['id']}/input_items"
    shown = await server.get(f"{path}?order=asc")
    assert [item["id"] for item in shown["data"]] == [f"msg_{suffix}i0000", "msg_mine", f"fco_{suffix}i0002"]
    assert await server.get(f"{path}?order=asc") == shown
    assert (await server.get(f"{conversation}/items?order=asc&limit=3"))["data"] == shown["data"]
    assert [item["id"] for item in (await server.get(f"{path}?limit=1"))["data"]] == [f"fco_{suffix}i0002"]
    refused = await server.ask("GET", f"{path}?limit=0")
    assert (refused.status, refused.error["param"]) == (400, "limit")


@scenario
async def test_a_reference_stands_for_the_item_it_names() -> None:
    server = Server(tool_turn(("call_1", "add", "{}")), text_turn("4"))
    first = await server.respond(input=[{**HI, "id": "msg_1"}])
    call = first["output"][0]
    answer = {"type": "function_call_output", "call_id": "call_1", "output": "4"}
    second = await server.respond(input=[{"id": "msg_1"}, {"type": "item_reference", "id": call["id"]}, answer])
    sent = server.provider.calls[-1].items
    assert [item["type"] for item in sent] == ["message", "function_call", "function_call_output"]
    assert sent[1]["arguments"] == "{}"
    shown = await server.get(f"/v1/responses/{second['id']}/input_items?order=asc")
    assert [item["id"] for item in shown["data"]][:2] == ["msg_1", call["id"]]
    # The second response has its own copy: deleting the first takes nothing from it.
    await server.ask("DELETE", f"/v1/responses/{first['id']}")
    assert await server.get(f"/v1/responses/{second['id']}/input_items?order=asc") == shown


@scenario
async def test_a_reference_to_what_was_not_stored_is_answered_in_openais_words() -> None:
    server = Server(text_turn("hello"))
    made = await server.respond(input="hi", store=False)
    for item_id in (made["output"][0]["id"], "rs_unknown"):
        request = {"model": "m", "input": [{"type": "item_reference", "id": item_id}, HI]}
        reply = await server.ask("POST", "/v1/responses", request)
        assert (reply.status, reply.error["param"]) == (404, "input")
        assert reply.error["message"] == (
            f"Item with id '{item_id}' not found. Items are not persisted when `store` is set to false."
            " Try again with `store` set to true, or remove this item from your input."
        )


@scenario
async def test_an_item_of_a_response_that_was_not_stored_may_be_sent_whole() -> None:
    server = Server(text_turn("hello"), text_turn("again"))
    made = await server.respond(input="hi", store=False)
    await server.respond(input=[HI, *made["output"], {**HI, "content": "and?"}], store=False)
    assert server.told() == ["hi", "hello", "and?"]


# --- deletion ---------------------------------------------------------------------------------


@scenario
async def test_deleting_in_mid_chain_keeps_the_context_of_what_came_after() -> None:
    server = Server(*(text_turn(f"a{n}") for n in range(4)))
    chain: list[str] = []
    for n in range(3):
        made = await server.respond(input=f"q{n}", previous_response_id=chain[-1] if chain else None)
        chain.append(made["id"])
    await server.ask("DELETE", f"/v1/responses/{chain[1]}")
    await server.respond(input="q3", previous_response_id=chain[2])
    assert server.told() == ["q0", "a0", "q1", "a1", "q2", "a2", "q3"]
    gone = await server.ask("POST", "/v1/responses", {"model": "m", "input": "x", "previous_response_id": chain[1]})
    assert (gone.status, gone.error["code"]) == (400, "previous_response_not_found")
    assert (await server.ask("GET", f"/v1/responses/{chain[1]}/input_items")).status == 404


@scenario
async def test_deleting_a_response_leaves_its_items_in_the_conversation() -> None:
    server = Server(text_turn("hello"), text_turn("again"))
    conversation = await server.conversation()
    made = await server.respond(input="hi", conversation=name_of(conversation))
    await server.ask("DELETE", f"/v1/responses/{made['id']}")
    await server.respond(input="and?", conversation=name_of(conversation))
    assert server.told() == ["hi", "hello", "and?"]


# --- owners -----------------------------------------------------------------------------------


@scenario
async def test_nobody_reaches_what_is_somebody_elses_on_any_route() -> None:
    server = Server(text_turn("hello"))
    conversation = await server.conversation({**HI, "id": "msg_1"})
    made = await server.respond(input="hi", conversation=name_of(conversation))
    items = await server.get(f"{conversation}/items")
    reference = {"type": "item_reference", "id": "msg_1"}
    bobs = (await server.ask("POST", PATH, {}, key="sk-bob")).json["id"]
    for method, path, body in (
        ("GET", conversation, b""),
        ("POST", conversation, {"metadata": {}}),
        ("DELETE", conversation, b""),
        ("GET", f"{conversation}/items", b""),
        ("POST", f"{conversation}/items", {"items": [HI]}),
        ("GET", f"{conversation}/items/msg_1", b""),
        ("DELETE", f"{conversation}/items/msg_1", b""),
        ("GET", f"/v1/responses/{made['id']}/input_items", b""),
        ("POST", "/v1/responses", {"model": "m", "input": "hi", "conversation": name_of(conversation)}),
        ("POST", "/v1/responses", {"model": "m", "input": [reference]}),
        ("POST", PATH, {"items": [reference]}),
        ("POST", f"{PATH}/{bobs}/items", {"items": [{"id": made["output"][0]["id"]}]}),
        ("GET", f"{PATH}/{bobs}/items/msg_1", b""),
        ("GET", f"{PATH}/{bobs}/items?after=msg_1", b""),
    ):
        reply = await server.ask(method, path, body, key="sk-bob")
        assert (reply.status, reply.error["code"]) == (404, "not_found"), (method, path)
        assert (await ask(server.app, method, path, body)).status == 401
    assert await server.get(f"{conversation}/items") == items
    assert len(server.provider.calls) == 1
