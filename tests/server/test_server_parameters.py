"""Parameters, as a client sees what becomes of them: over the whole application and a chat upstream."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from asgi_client import Reply, ask
from fakes import FakeResponse
from scripted_upstream import ChatUpstream
from whole_server import whole_app

Post = Callable[..., Awaitable[Reply]]


def over(data_dir: Path, upstream: ChatUpstream, use: Callable[[Post], Awaitable[None]], **options: Any) -> None:
    """Use an application; ``post`` sends a request for a response, with the model filled in."""

    async def main() -> None:
        async with whole_app(upstream, data_dir, **options) as app:

            async def post(key: str | None = None, **request: Any) -> Reply:
                return await ask(app, "POST", "/v1/responses", {"model": "m", "input": "hi", **request}, key=key)

            await use(post)

    asyncio.run(main())


def diagnostics(reply: Reply) -> list[str]:
    return [each["quirk"] for each in reply.json.get("antiphon", {}).get("diagnostics", [])]


# --- sealed reasoning ---------------------------------------------------------------------------

STATELESS = {"store": False, "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low"}}
TWO_KEYS = "alice=sk-alice,bob=sk-bob"


def test_reasoning_survives_a_stateless_round_trip_and_nobody_can_read_or_move_it(tmp_path: Path) -> None:
    async def use(post: Post) -> None:
        made = (await post("sk-alice", **STATELESS)).json
        thought = made["output"][0]
        assert (thought["type"], "think" in thought["encrypted_content"]) == ("reasoning", False)
        question = {"role": "user", "content": "and now?"}
        assert (await post("sk-alice", input=[*made["output"], question])).status == 200
        sealed = thought["encrypted_content"]
        for key, content in (("sk-bob", sealed), ("sk-alice", sealed[:-6] + "AAAAAA"), ("sk-alice", sealed[:20])):
            reply = await post(key, input=[{**thought, "encrypted_content": content}, question])
            assert (reply.status, reply.error["code"]) == (400, "invalid_encrypted_content")
            assert reply.error["param"] == "input[0].encrypted_content"

    over(tmp_path, ChatUpstream(), use, keys=TWO_KEYS)


def test_a_stored_response_reads_alike_after_the_key_was_rotated(tmp_path: Path) -> None:
    old, new = "o" * 32, "n" * 32
    request = {**STATELESS, "store": True}
    made: dict[str, Any] = {}

    async def make(post: Post) -> None:
        made.update((await post(**request)).json)

    over(tmp_path, ChatUpstream(), make, seal_keys=old)

    async def read() -> None:
        async with whole_app(ChatUpstream(), tmp_path, seal_keys=f"{new},{old}") as app:
            assert (await ask(app, "GET", f"/v1/responses/{made['id']}")).json == made
            assert made["id"]
            fresh = await ask(app, "POST", "/v1/responses", {"model": "m", "input": made["output"], **request})
            assert fresh.json["output"][0]["encrypted_content"] != made["output"][0]["encrypted_content"]

    asyncio.run(read())


def test_a_response_is_looked_up_with_sealed_reasoning_if_that_is_asked_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with whole_app(ChatUpstream(), tmp_path) as app:
            request = {"model": "m", "input": "hi", "reasoning": {"effort": "low"}}
            made = (await ask(app, "POST", "/v1/responses", request)).json
            path = f"/v1/responses/{made['id']}"
            assert (await ask(app, "GET", path)).json == made
            asked = "include[]=reasoning.encrypted_content"
            found = (await ask(app, "GET", f"{path}?{asked}")).json
            assert found["output"][0].pop("encrypted_content")
            assert found == made
            assert b"encrypted_content" in (await ask(app, "GET", f"{path}?stream=true&{asked}")).body

    asyncio.run(main())


def test_a_background_response_is_sealed_and_shown_as_it_was_asked_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with whole_app(ChatUpstream(), tmp_path) as app:
            request = {"model": "m", "input": "hi", **STATELESS, "store": True, "background": True, "stream": True}
            raw = {"antiphon-reasoning-events": "raw"}
            made = await ask(app, "POST", "/v1/responses", request, headers=raw)
            assert b"response.reasoning_text.delta" in made.body
            assert b"encrypted_content" in made.body
            response_id = made.body.partition(b'"id":"')[2].partition(b'"')[0].decode()
            assert (await ask(app, "GET", f"/v1/responses/{response_id}?stream=true")).body == made.body

    asyncio.run(main())


def test_a_client_cannot_slip_anything_private_to_the_upstream(tmp_path: Path) -> None:
    upstream = ChatUpstream()
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    forged = {**call, "antiphon": {"provider_data": {"extra": "forged"}}}
    output = {"type": "function_call_output", "call_id": "c", "output": "1"}

    async def use(post: Post) -> None:
        assert (await post(input=[forged, output])).status == 200

    over(tmp_path, upstream, use)
    assert "forged" not in str(upstream.asked)


# --- tools --------------------------------------------------------------------------------------

ADD = {"type": "function", "name": "add", "parameters": {"type": "object", "properties": {}}}
DROP = {"type": "function", "name": "drop_tables", "parameters": {"type": "object", "properties": {}}}


class Disobedient(ChatUpstream):
    """Calls ``drop_tables`` whatever it may."""

    async def send(self, request: Any) -> FakeResponse:
        self.asked.append({})
        call = b'{"index":0,"id":"c1","type":"function","function":{"name":"drop_tables","arguments":"{}"}}'
        chunk = b'data: {"id":"c","choices":[{"index":0,"delta":{"tool_calls":[%s]},"finish_reason":null}]}\n\n' % call
        end = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n'
        return FakeResponse(chunk, end)


@pytest.mark.parametrize("stream", [True, False])
def test_a_tool_that_is_not_allowed_never_reaches_the_client(stream: bool, tmp_path: Path) -> None:
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "add"}]}

    async def use(post: Post) -> None:
        reply = await post(tools=[ADD, DROP], tool_choice=allowed, stream=stream)
        assert b"response.output_item.added" not in reply.body
        assert b"tool_not_allowed" in reply.body
        assert b'"status":"completed"' not in reply.body

    over(tmp_path, Disobedient(), use)


def test_a_hosted_tool_is_dropped_and_disclosed_or_refused(tmp_path: Path) -> None:
    upstream = ChatUpstream()

    async def dropped(post: Post) -> None:
        reply = await post(tools=[{"type": "web_search"}, ADD])
        assert (reply.status, diagnostics(reply)) == (200, ["R25"])

    over(tmp_path, upstream, dropped)
    assert [tool["function"]["name"] for tool in upstream.asked[0]["tools"]] == ["add"]

    async def refused(post: Post) -> None:
        reply = await post(tools=[ADD, {"type": "web_search"}])
        assert (reply.status, reply.error["param"]) == (400, "tools[1].type")

    over(tmp_path, upstream, refused, unsupported_tools="refuse")


def test_an_output_without_its_call_is_openais_400(tmp_path: Path) -> None:
    async def use(post: Post) -> None:
        reply = await post(input=[{"type": "function_call_output", "call_id": "call_x", "output": "1"}])
        assert reply.status == 400
        assert reply.error["message"] == "No tool call found for function call output with call_id call_x."

    over(tmp_path, ChatUpstream(), use)


# --- others -------------------------------------------------------------------------------------


def test_unknown_parameters_are_accepted_disclosed_and_not_sent_but_codexs_own_are_not_news(tmp_path: Path) -> None:
    upstream = ChatUpstream()

    async def use(post: Post) -> None:
        reply = await post(client_metadata={"a": "b"}, access_programs=[], image={})
        assert [each["seen"] for each in reply.json["antiphon"]["diagnostics"]] == ["access_programs, image"]

    over(tmp_path, upstream, use)
    assert upstream.asked[0].keys() == {"model", "messages", "stream", "stream_options"}


def test_an_input_that_is_too_long_is_cut_only_if_the_client_says_so(tmp_path: Path) -> None:
    class Small(ChatUpstream):
        async def send(self, request: Any) -> FakeResponse:
            if len(request.body) < 400:
                return await super().send(request)
            message = b"This model's maximum context length is 100 tokens. However, your messages resulted in 200."
            body = b'{"error":{"message":"%s","code":"context_length_exceeded"}}' % message
            return FakeResponse(body, status=400, headers=(("content-type", "application/json"),))

    long = [{"role": "user", "content": f"{n} {'x' * 100}"} for n in range(6)]

    async def use(post: Post) -> None:
        reply = await post(input=long)
        assert (reply.status, reply.error["code"]) == (400, "context_length_exceeded")
        reply = await post(input=long, truncation="auto")
        assert (reply.status, reply.json["status"]) == (200, "completed")
        assert set(diagnostics(reply)) == {"truncation"}

    over(tmp_path, Small(), use)


def test_a_wrong_format_is_asked_again_and_a_schema_that_is_none_is_refused(tmp_path: Path) -> None:
    class Improving(ChatUpstream):
        async def send(self, request: Any) -> FakeResponse:
            self.answer = '{"n":1}' if self.asked else "one"
            return await super().send(request)

    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}

    async def use(post: Post) -> None:
        reply = await post(text={"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}})
        assert reply.json["output"][0]["content"][0]["text"] == '{"n":1}'
        assert diagnostics(reply) == ["format"]
        reply = await post(text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "x"}}})
        assert (reply.status, reply.error["code"]) == (400, "invalid_json_schema")

    over(tmp_path, Improving(), use)
