import asyncio
import json
from typing import Any

import pytest
from asgi_client import Reply, ask, events_of
from fakes import FakeProvider

from antiphon.agent.loop import Target
from antiphon.agent.runner import Runner
from antiphon.clock import CountingIds, FakeClock
from antiphon.config import hash_key
from antiphon.errors import ModelNotFound
from antiphon.events import ErrorInfo, RunFinished, TurnFailed
from antiphon.rendering.fold import fold
from antiphon.rendering.responses import ResponsesRenderer
from antiphon.server.app import App
from antiphon.server.auth import Keys
from antiphon.server.responses import Responses
from antiphon.store.sqlite import SqliteStore
from antiphon.testing import text_turn, tool_turn

PATH = "/v1/responses"
HI = {"model": "m", "input": "hi"}
ALICE_AND_BOB = Keys({hash_key("sk-alice"): "alice", hash_key("sk-bob"): "bob"})


class Server:
    """An application over one scripted provider, with what a test may want to look at."""

    def __init__(self, *turns: list[Any], keys: Keys | None = None, forward_auth: bool = False) -> None:
        self.provider = FakeProvider(turns=list(turns))
        self.store = SqliteStore.open(None, clock=FakeClock())
        ids = CountingIds()
        runner = Runner(store=self.store, resolve=self._resolve, clock=FakeClock(), ids=ids)
        routes = Responses(runner, self.store, forward_auth=forward_auth).routes()
        self.app = App(routes, keys=keys or Keys({}), clock=FakeClock(), ids=ids, forward_auth=forward_auth)

    def _resolve(self, model: str) -> list[Target]:
        if model != "m":
            raise ModelNotFound(model, known=("m",))
        return [Target(self.provider, "m-upstream")]

    async def post(self, body: Any, **options: Any) -> Reply:
        return await ask(self.app, "POST", PATH, body, **options)

    async def get(self, response_id: str, **options: Any) -> Reply:
        return await ask(self.app, "GET", f"{PATH}/{response_id}", **options)

    async def going(self) -> str:
        """The one run that is going, as soon as there is one."""
        async with asyncio.timeout(5):
            while not (unfinished := await self.store.unfinished()):  # noqa: ASYNC110 - the store has no event for it
                await asyncio.sleep(0)
        return unfinished[0].run

    async def cancel(self, response_id: str, **options: Any) -> Reply:
        return await ask(self.app, "POST", f"{PATH}/{response_id}/cancel", **options)

    async def delete(self, response_id: str, **options: Any) -> Reply:
        return await ask(self.app, "DELETE", f"{PATH}/{response_id}", **options)


def post(server: Server, body: Any, **options: Any) -> Reply:
    return asyncio.run(server.post(body, **options))


def failing(**error: Any) -> list[Any]:
    return [[TurnFailed(turn=0, error=ErrorInfo(**error))]]


def test_a_streamed_answer_is_events_with_one_write_for_each_batch() -> None:
    reply = post(Server(text_turn("he", "llo")), {**HI, "stream": True})
    assert (reply.status, reply.ended) == (200, True)
    events = events_of(reply)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert (events[0]["type"], events[-1]["type"]) == ("response.created", "response.completed")
    # accepted; text begins; two deltas; all that ends; the end of the body
    assert len(reply.writes) == 6


def test_an_answer_that_is_not_streamed_is_the_fold_of_the_stream() -> None:
    streamed = post(Server(text_turn("he", "llo")), {**HI, "stream": True})
    whole = post(Server(text_turn("he", "llo")), {**HI, "stream": True} | {"stream": False})
    assert whole.headers["content-type"] == "application/json"
    assert fold(events_of(streamed)) == whole.json
    assert whole.json["output"][0]["content"][0]["text"] == "hello"


def test_a_response_is_found_again_until_it_is_deleted() -> None:
    async def main() -> None:
        server = Server(text_turn("hello"))
        made = (await server.post(HI)).json
        found = await server.get(made["id"])
        assert (found.status, found.json) == (200, made)
        deleted = await server.delete(made["id"])
        assert deleted.json == {"id": made["id"], "object": "response", "deleted": True}
        for again in (await server.get(made["id"]), await server.delete(made["id"])):
            assert (again.status, again.error["type"]) == (404, "invalid_request_error")

    asyncio.run(main())


def test_a_response_that_is_not_stored_is_not_found() -> None:
    async def main() -> None:
        server = Server(text_turn("hello"))
        made = (await server.post({**HI, "store": False})).json
        assert made["status"] == "completed"
        assert (await server.get(made["id"])).status == 404

    asyncio.run(main())


def test_r35_items_of_a_response_that_was_not_stored_may_be_sent_back() -> None:
    async def main() -> None:
        server = Server(tool_turn(("c1", "add", "{}")), text_turn("5"))
        made = (await server.post({**HI, "store": False})).json
        answer = {"type": "function_call_output", "call_id": "c1", "output": "5"}
        reply = await server.post({"model": "m", "store": False, "input": [*made["output"], answer]})
        assert (reply.status, reply.json["status"]) == (200, "completed")
        assert [item["type"] for item in server.provider.calls[-1].items] == ["function_call", "function_call_output"]

    asyncio.run(main())


def test_a_response_that_is_still_being_made_is_in_progress() -> None:
    async def main() -> None:
        go_on = asyncio.Event()
        begin, *rest = text_turn("hello")
        server = Server([begin, go_on, *rest])
        asking = asyncio.create_task(server.post({**HI, "stream": True}))
        going = await server.going()
        assert (await server.get(going)).json["status"] == "in_progress"
        go_on.set()
        await asking
        assert (await server.get(going)).json["status"] == "completed"

    asyncio.run(main())


def test_r38_a_stored_response_is_rendered_again_from_its_journal_with_the_same_numbers() -> None:
    async def main() -> None:
        server = Server(text_turn("he", "llo"))
        streamed = events_of(await server.post({**HI, "stream": True}))
        events = await server.store.events("local", streamed[-1]["response"]["id"])
        assert [json.loads(frame.data) for frame in ResponsesRenderer().render(events)] == streamed

    asyncio.run(main())


def test_two_owners_do_not_see_each_others_responses() -> None:
    async def main() -> None:
        server = Server(text_turn("hello"), text_turn("again"), keys=ALICE_AND_BOB)
        made = (await server.post(HI, key="sk-alice")).json
        assert (await server.get(made["id"], key="sk-bob")).status == 404
        assert (await server.delete(made["id"], key="sk-bob")).status == 404
        continued = await server.post({**HI, "previous_response_id": made["id"]}, key="sk-bob")
        assert continued.error["code"] == "previous_response_not_found"
        assert (await server.get(made["id"], key="sk-alice")).status == 200
        assert (await server.get(made["id"])).status == 401

    asyncio.run(main())


def test_r33_two_responses_from_one_parent_keep_their_own_context() -> None:
    async def main() -> None:
        server = Server(text_turn("root"), text_turn("left"), text_turn("right"), text_turn("end"))
        root = (await server.post({"model": "m", "input": "0"})).json["id"]
        left = (await server.post({"model": "m", "input": "1", "previous_response_id": root})).json["id"]
        await server.post({"model": "m", "input": "2", "previous_response_id": root})
        await server.post({"model": "m", "input": "3", "previous_response_id": left})
        texts = [item["content"][0]["text"] for item in server.provider.calls[-1].items]
        assert texts == ["0", "root", "1", "left", "3"]

    asyncio.run(main())


def test_r33_a_response_is_continued_in_the_moment_in_which_its_last_event_comes() -> None:
    async def main() -> None:
        server = Server(text_turn("one"), text_turn("two"))
        continued: list[Reply] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def go_on(message: Any) -> None:
                await send(message)
                if b"event: response.completed" in message.get("body", b""):
                    run = message["body"].rpartition(b'"response":{"id":"')[2].partition(b'"')[0].decode()
                    continued.append(await server.post({**HI, "previous_response_id": run}))

            await server.app(scope, receive, go_on)

        await ask(app, "POST", PATH, {**HI, "stream": True})
        assert [reply.status for reply in continued] == [200]
        assert [item["content"][0]["text"] for item in server.provider.calls[-1].items] == ["hi", "one", "hi"]

    asyncio.run(main())


def test_r33_an_unknown_previous_response_is_a_400_that_names_the_parameter() -> None:
    reply = post(Server(), {**HI, "previous_response_id": "resp_nowhere"})
    assert (reply.status, reply.error["param"]) == (400, "previous_response_id")
    assert reply.error["code"] == "previous_response_not_found"


@pytest.mark.parametrize("stream", [True, False])
def test_r37_a_client_that_leaves_cancels_the_upstream_and_the_journal_says_so(stream: bool) -> None:
    async def main() -> None:
        leave, never = asyncio.Event(), asyncio.Event()
        server = Server([*text_turn("hello")[:3], never])
        asking = asyncio.create_task(server.post({**HI, "stream": stream}, leave=leave))
        going = await server.going()
        leave.set()
        await asking
        assert server.provider.gone.is_set()
        finished = (await server.store.events("local", going))[-1]
        assert isinstance(finished, RunFinished)
        assert finished.status == "cancelled"

    asyncio.run(main())


def test_a_client_that_leaves_after_the_end_finds_a_completed_response(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        server, sent = Server(text_turn("hello")), []
        made = asyncio.Event()
        body = [json.dumps({**HI, "stream": True}).encode()]

        async def receive() -> dict[str, Any]:
            if body:
                return {"type": "http.request", "body": body.pop()}
            await made.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message.get("body", b""))
            if b"response.completed" in sent[-1]:
                made.set()
                await asyncio.sleep(0.01)  # the client's buffer is full, and then it is gone

        scope = {"type": "http", "method": "POST", "path": PATH, "query_string": b"", "headers": []}
        await server.app(scope, receive, send)
        created = json.loads(sent[1].split(b"\n")[1].removeprefix(b"data: "))
        assert (await server.get(created["response"]["id"])).json["status"] == "completed"

    asyncio.run(main())
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": "upstream_connect_failed", "message": "nobody there"}, 502),
        ({"code": "upstream_timeout", "message": "silent"}, 504),
        ({"code": "upstream_authentication_failed", "message": "bad key", "status": 401}, 502),
        ({"code": "rate_limit_exceeded", "message": "full", "status": 429, "retry_after_s": 2.5}, 429),
        ({"code": "context_length_exceeded", "message": "too long", "status": 400}, 400),
        ({"code": "cassette_mismatch", "message": "not recorded"}, 422),
    ],
)
def test_a_call_the_upstream_refuses_is_an_http_error(
    error: dict[str, Any], status: int, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    reply = post(Server(failing(**error)), {**HI, "stream": stream})
    assert (reply.status, reply.error["code"], reply.error["message"]) == (status, error["code"], error["message"])
    assert ("retry-after" in reply.headers) == (status == 429)
    assert not caplog.records


def test_a_failure_after_the_upstream_accepted_is_told_in_the_stream() -> None:
    turn = [*text_turn("hel")[:3], *failing(code="truncated_stream", message="cut")]
    events = events_of(post(Server(turn), {**HI, "stream": True}))
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "truncated_stream"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"[]", None),
        ({"input": "hi"}, "model"),
        ({"model": 7}, "model"),
        ({**HI, "temperature": "hot"}, "temperature"),
        ({"model": "m", "input": [{"type": "nonsense"}]}, "input[0].type"),
        ({**HI, "background": True, "store": False}, "background"),
        ({**HI, "conversation": 7}, "conversation"),
        ({**HI, "conversation": {}}, "conversation.id"),
        ({**HI, "conversation": "c", "previous_response_id": "r"}, "previous_response_id"),
        ({**HI, "prompt": {"id": "pmpt_1"}}, "prompt"),
        ({**HI, "context_management": [{"type": "compaction"}]}, "context_management"),
        ({**HI, "moderation": {"model": "omni"}}, "moderation"),
    ],
)
def test_a_request_that_cannot_be_served_is_a_400_that_names_the_parameter(body: Any, param: str | None) -> None:
    server = Server()
    reply = post(server, body)
    assert (reply.status, reply.error["type"], reply.error["param"]) == (400, "invalid_request_error", param)
    assert not server.provider.calls


def test_an_unknown_model_is_404_and_says_which_there_are() -> None:
    reply = post(Server(), {**HI, "model": "gpt-9"})
    assert (reply.status, reply.error["code"]) == (404, "model_not_found")
    assert "Known models: m" in reply.error["message"]


@pytest.mark.parametrize(
    "query",
    ["stream=maybe", "starting_after=3", "stream=true&starting_after=-1", "include[]=everything"],
)
def test_a_look_up_with_parameters_is_refused_not_answered_without_them(query: str) -> None:
    async def main() -> None:
        server = Server(text_turn("hello"))
        made = (await server.post(HI)).json
        reply = await server.get(f"{made['id']}?{query}")
        assert (reply.status, reply.error["param"]) == (
            400,
            query.split("&")[-1].partition("=")[0].replace("[]", "[0]"),
        )

    asyncio.run(main())


def test_a_clients_key_reaches_the_provider_only_when_it_is_to_be_forwarded() -> None:
    for forward_auth, expected in ((False, None), (True, "Bearer sk-mine")):
        server = Server(text_turn("hello"), forward_auth=forward_auth)
        post(server, HI, key="sk-mine")
        assert server.provider.calls[0].authorization == expected


# --- in the background ------------------------------------------------------------------------

BACKGROUND = {**HI, "background": True}


async def until(server: Server, response_id: str, *statuses: str, **options: Any) -> Any:
    """The response, as soon as it has one of these statuses."""
    async with asyncio.timeout(5):
        while True:
            found = (await server.get(response_id, **options)).json
            if found["status"] in statuses:
                return found
            await asyncio.sleep(0.01)


def test_a_background_response_is_answered_at_once_and_goes_on() -> None:
    async def main() -> None:
        go_on = asyncio.Event()
        begin, *rest = text_turn("hello")
        server = Server([begin, go_on, *rest])
        made = (await server.post(BACKGROUND)).json
        assert (made["status"], made["background"], made["output"]) == ("queued", True, [])
        await until(server, made["id"], "in_progress")
        go_on.set()
        ended = await until(server, made["id"], "completed")
        assert ended["output"][0]["content"][0]["text"] == "hello"

    asyncio.run(main())


def test_a_background_stream_goes_on_without_its_client_and_is_read_again_with_the_same_bytes() -> None:
    async def main() -> None:
        leave, go_on = asyncio.Event(), asyncio.Event()
        server = Server([*text_turn("hello")[:3], go_on, *text_turn("hello")[3:]])
        asking = asyncio.create_task(server.post({**BACKGROUND, "stream": True}, leave=leave))
        going = await server.going()
        await until(server, going, "in_progress")
        leave.set()
        cut = await asking
        assert not server.provider.gone.is_set()
        go_on.set()
        await until(server, going, "completed")
        whole = await server.get(f"{going}?stream=true")
        assert whole.body.startswith(cut.body)
        events = events_of(whole)
        assert [event["type"] for event in events[:3]] == [
            "response.created",
            "response.queued",
            "response.in_progress",
        ]
        assert events[-1]["response"] == (await server.get(going)).json

    asyncio.run(main())


def test_every_stored_response_is_streamed_again_from_any_event_on() -> None:
    async def main() -> None:
        server = Server(text_turn("he", "llo"))
        first = await server.post({**HI, "stream": True})
        events = events_of(first)
        path = events[0]["response"]["id"]
        again = await server.get(f"{path}?stream=true")
        assert (again.body, again.headers["content-type"]) == (first.body, first.headers["content-type"])
        for number in range(len(events) + 1):
            rest = await server.get(f"{path}?stream=true&starting_after={number}")
            assert events_of(rest) == events[number + 1 :]
            assert first.body.endswith(rest.body)

    asyncio.run(main())


def test_a_reader_follows_a_response_that_is_being_made_by_another_request() -> None:
    async def main() -> None:
        go_on = asyncio.Event()
        begin, *rest = text_turn("hello")
        server = Server([begin, go_on, *rest])
        asking = asyncio.create_task(server.post({**HI, "stream": True}))
        going = await server.going()
        reading = asyncio.create_task(server.get(f"{going}?stream=true&starting_after=3"))
        await asyncio.sleep(0)
        go_on.set()
        made, read = await asking, await reading
        assert events_of(read) == events_of(made)[4:]

    asyncio.run(main())


def test_a_response_is_cancelled_once_and_stays_so() -> None:
    async def main() -> None:
        server = Server([*text_turn("hello")[:3], asyncio.Event()])
        made = (await server.post(BACKGROUND)).json
        await until(server, made["id"], "in_progress")
        cancelled = await server.cancel(made["id"])
        assert server.provider.gone.is_set()
        assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
        assert (await server.cancel(made["id"])).json == (await server.get(made["id"])).json == cancelled.json

    asyncio.run(main())


def test_a_response_that_was_not_made_in_the_background_cannot_be_cancelled() -> None:
    async def main() -> None:
        server = Server(text_turn("hello"))
        made = (await server.post(HI)).json
        refused = await server.cancel(made["id"])
        assert (refused.status, refused.error["message"]) == (400, "Cannot cancel a synchronous response.")
        assert (await server.cancel("resp_nowhere")).status == 404

    asyncio.run(main())


def test_a_background_response_that_is_deleted_is_cancelled_first() -> None:
    async def main() -> None:
        server = Server([*text_turn("hello")[:3], asyncio.Event()])
        made = (await server.post(BACKGROUND)).json
        await until(server, made["id"], "in_progress")
        assert (await server.delete(made["id"])).json["deleted"]
        assert server.provider.gone.is_set()
        assert (await server.get(made["id"])).status == 404

    asyncio.run(main())


def test_a_background_call_the_upstream_refuses_is_a_failed_response() -> None:
    async def main() -> None:
        server = Server(failing(code="context_length_exceeded", message="too long", status=400))
        made = (await server.post(BACKGROUND)).json
        failed = await until(server, made["id"], "failed")
        assert failed["error"]["code"] == "context_length_exceeded"

    asyncio.run(main())


def test_two_owners_do_not_see_each_others_background_responses() -> None:
    async def main() -> None:
        server = Server([*text_turn("hello")[:3], asyncio.Event()], keys=ALICE_AND_BOB)
        made = (await server.post(BACKGROUND, key="sk-alice")).json
        await until(server, made["id"], "in_progress", key="sk-alice")
        for reply in (
            await server.get(f"{made['id']}?stream=true", key="sk-bob"),
            await server.cancel(made["id"], key="sk-bob"),
            await server.delete(made["id"], key="sk-bob"),
        ):
            assert reply.status == 404
        assert not server.provider.gone.is_set()
        await server.cancel(made["id"], key="sk-alice")

    asyncio.run(main())
