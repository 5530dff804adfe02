"""Whatever is sent is answered with an error of the right shape, and the server is as good as before."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from asgi_client import ask
from scripted_upstream import ChatUpstream
from whole_server import whole_app

HI = {"model": "m", "input": "hi"}
MB = 1024 * 1024


def with_input(item: Any) -> dict[str, Any]:
    return {"model": "m", "input": [item]}


def encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


# What is sent, and the status and the parameter it is answered with.
BODIES: dict[str, tuple[Any, int, str | None]] = {
    "nothing": (b"", 400, None),
    "a brace": (b"{", 400, None),
    "not UTF-8": (b'{"model": "\xff", "input": "hi"}', 400, None),
    "half a surrogate": (rb'{"model": "m", "input": [{"role": "\ud800", "content": ""}]}', 400, None),
    "a list": (b"[]", 400, None),
    "null": (b"null", 400, None),
    "NaN": (b'{"model": "m", "input": "hi", "temperature": NaN}', 400, None),
    "a number without end": (b'{"model": "m", "input": "hi", "temperature": 1e999}', 400, None),
    "a large integer": (
        b'{"model": "m", "input": "hi", "max_output_tokens": ' + b"9" * 400 + b"}",
        400,
        "max_output_tokens",
    ),
    "deep lists": (b'{"model": "m", "input": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400, None),
    "deep objects": (b'{"a":' * 200 + b"1" + b"}" * 200, 400, None),
    "many items": ({"model": "m", "input": [{"role": "user", "content": ""}] * 20_001}, 400, "input"),
    "no model": ({"input": "hi"}, 400, "model"),
    "an empty model": ({**HI, "model": ""}, 400, "model"),
    "a number as model": ({**HI, "model": 7}, 400, "model"),
    "no input": ({"model": "m"}, 400, "input"),
    "a number as input": ({**HI, "input": 7}, 400, "input"),
    "a number as item": (with_input(7), 400, "input[0]"),
    "an empty item": (with_input({}), 400, "input[0].type"),
    "an unknown item": (with_input({"type": "x"}), 400, "input[0].type"),
    "a list as the type of an item": (with_input({"type": []}), 400, "input[0].type"),
    "an unknown role": (with_input({"role": "x", "content": ""}), 400, "input[0].role"),
    "no content": (with_input({"role": "user"}), 400, "input[0].content"),
    "an unknown part": (with_input({"role": "user", "content": [{"type": "x"}]}), 400, "input[0].content[0]"),
    "a file's id": (
        with_input({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}),
        400,
        "input[0].content[0].file_id",
    ),
    "an image of nothing": (
        with_input({"role": "user", "content": [{"type": "input_image", "detail": "low"}]}),
        400,
        "input[0].content[0].image_url",
    ),
    "a file of nothing": (
        with_input({"role": "user", "content": [{"type": "input_file", "filename": "a.pdf"}]}),
        400,
        "input[0].content[0].file_data",
    ),
    "an output of no call": (with_input({"type": "function_call_output", "call_id": "c", "output": ""}), 400, "input"),
    "arguments that are no text": (
        with_input({"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}),
        400,
        "input[0].arguments",
    ),
    "a foreign compaction": (
        with_input({"type": "compaction", "encrypted_content": "x"}),
        400,
        "input[0].encrypted_content",
    ),
    "a reference to nothing": (with_input({"type": "item_reference", "id": "msg_0"}), 404, "input"),
    "an unknown previous response": ({**HI, "previous_response_id": "resp_0"}, 400, "previous_response_id"),
    "an unknown conversation": ({**HI, "conversation": "conv_0"}, 404, None),
    "a number as conversation": ({**HI, "conversation": 7}, 400, "conversation"),
    "an unknown model": ({**HI, "model": "gpt-9"}, 404, "model"),
    "a temperature of 3": ({**HI, "temperature": 3}, 400, "temperature"),
    "a tool without a name": ({**HI, "tools": [{"type": "function"}]}, 400, "tools[0].name"),
    "a tool without a type": ({**HI, "tools": [{}]}, 400, "tools[0].type"),
    "a choice of no tool": ({**HI, "tool_choice": {"type": "function", "name": "f"}}, 400, "tool_choice"),
    "a choice of no kind": ({**HI, "tool_choice": "perhaps"}, 400, "tool_choice"),
    "too much metadata": ({**HI, "metadata": {str(n): "" for n in range(17)}}, 400, "metadata"),
    "a number in metadata": ({**HI, "metadata": {"a": 1}}, 400, "metadata"),
    "an unknown include": ({**HI, "include": ["x"]}, 400, "include[0]"),
    "a number as include": ({**HI, "include": [1]}, 400, "include[0]"),
    "an unknown format": ({**HI, "text": {"format": {"type": "x"}}}, 400, "text.format"),
    "text as stream": ({**HI, "stream": "yes"}, 400, "stream"),
    "11 MB": ({**HI, "input": "x" * 11 * MB}, 413, None),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_malformed_request_is_refused_and_nothing_is_lost(name: str, tmp_path: Path) -> None:
    body, status, param = BODIES[name]
    upstream = ChatUpstream()
    (tmp_path / "antiphon.toml").write_text(
        f'[limits]\nmax_body_bytes = {10 * MB}\n[upstreams.u]\nbase_url = "http://u.invalid/v1"\nmodels = ["m"]\n'
    )

    async def main() -> None:
        async with whole_app(upstream, tmp_path) as app:
            made = (await ask(app, "POST", "/v1/responses", HI)).json
            for path in ("/v1/responses", "/v1/responses/compact"):
                if path.endswith("compact") and (status == 404 or param not in (None, "model")):
                    continue  # it has fewer parameters
                reply = await ask(app, "POST", path, encoded(body))
                assert (reply.status, reply.headers["content-type"]) == (status, "application/json"), reply.body
                assert reply.error["type"] == "invalid_request_error"
                assert reply.error["message"]
                if param is not None:
                    assert (reply.error["param"] or "").startswith(param), reply.error
            assert (await ask(app, "GET", f"/v1/responses/{made['id']}")).json == made
            assert len(upstream.asked) == 1

    asyncio.run(main())


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("id_", ["resp_0", "x" * 5000, "%00", "..%2F..", "%F0%9F%92%A9", "' OR 1=1 --"])
def test_an_unknown_id_is_404(method: str, id_: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with whole_app(ChatUpstream(), tmp_path) as app:
            for path in (f"/v1/responses/{id_}", f"/v1/conversations/{id_}"):
                reply = await ask(app, method, path)
                assert reply.status == 404
                assert reply.error["type"] == "invalid_request_error"

    asyncio.run(main())


@pytest.mark.parametrize(
    "query",
    ["metadata[]=&metadata[0]=", "metadata=x", "limit=0", "limit=x", "order=up", "nothing=1", "%ff=%00"],
)
def test_a_query_that_is_none_is_refused(query: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with whole_app(ChatUpstream(), tmp_path) as app:
            reply = await ask(app, "GET", f"/v1/chat/completions?{query}")
            assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")

    asyncio.run(main())


def test_a_cursor_that_is_in_no_list_is_404(tmp_path: Path) -> None:
    async def main() -> None:
        async with whole_app(ChatUpstream(), tmp_path) as app:
            reply = await ask(app, "GET", "/v1/chat/completions?" + "after=" * 99)
            assert (reply.status, reply.error["type"]) == (404, "invalid_request_error")

    asyncio.run(main())
