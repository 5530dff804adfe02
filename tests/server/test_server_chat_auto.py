"""Under ``repair = "auto"`` a chat completion is passed through unless there is a reason against it; see `docs`."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from chat_upstream import DONE, Served, answer, chunk, delta, served
from fakes import FakeProvider

from antiphon.agent.loop import Target
from antiphon.config import dialect_of, load_settings
from antiphon.server import wiring

SENT = b'{ "model":"m", "messages":[{"role":"user","content":"hi"}], "stream":true, "vendor" : {"x":1e2}%s}'
ODD = b': ping\n\ndata: {"choices" : [{"delta":{"content":"x"}}], "odd":1.0}\r\n\r\ndata:[DONE]\n\n'


@pytest.fixture
def auto(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as served_:
        yield served_


def post(chat: Served, body: bytes, **headers: str) -> httpx2.Response:
    headers = {"content-type": "application/json", "authorization": "Bearer x"} | headers
    return httpx2.post(f"{chat.url}/v1/chat/completions", content=body, headers=headers)


def test_what_is_passed_through_keeps_every_byte_both_ways(auto: Served) -> None:
    auto.upstream.answers.append(answer(ODD, more=b"x-ratelimit-remaining: 7\r\n"))
    reply = post(auto, SENT % b"")
    assert auto.upstream.asked[0].body == SENT % b""
    assert (reply.content, reply.headers["x-ratelimit-remaining"]) == (ODD, "7")
    assert "authorization" not in auto.upstream.asked[0].headers


@pytest.mark.parametrize(
    "reason",
    [
        b', "store": true',
        b', "tools": [{"type":"function","function":{"name":"a.b"}}]',
        b', "tools": [{"type":"function","function":{"name":"%s"}}]' % (b"x" * 65),
    ],
)
def test_a_reason_against_it_makes_it_a_run(auto: Served, reason: bytes) -> None:
    auto.say(chunk(delta(content="x", finish_reason="stop")), DONE)
    assert b'"id":"chatcmpl_' in post(auto, SENT % reason).content
    assert b"vendor" not in auto.upstream.asked[0].body


@pytest.mark.parametrize(
    "no_reason",
    [
        b', "store": false',
        b', "store": 1',
        b', "store": null, "tools": null, "modalities": ["text"], "audio": null',
        b', "tools": [{"type":"function","function":{"name":"a_b-c"}}, {"type":"odd"}, 7]',
    ],
)
def test_what_is_no_reason_is_passed_through(auto: Served, no_reason: bytes) -> None:
    auto.upstream.answers.append(answer(ODD))
    assert post(auto, SENT % no_reason).content == ODD


@pytest.mark.parametrize(
    ("asked", "param"), [(b', "audio": {}', "audio"), (b', "modalities": ["audio"]', "modalities")]
)
def test_audio_is_refused_here_and_not_half_understood(auto: Served, asked: bytes, param: str) -> None:
    reply = post(auto, SENT % asked)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert not auto.upstream.asked


def test_never_passes_through_whatever_is_asked(tmp_path: Path) -> None:
    with served(tmp_path, repair="never") as never:
        never.upstream.answers.append(answer(ODD))
        body = SENT % b', "store": true, "audio": {}, "tools": [{"function":{"name":"a.b"}}]'
        assert post(never, body).content == ODD
        assert never.upstream.asked[0].body == body


@pytest.mark.parametrize(("model", "is_mended"), [("devstral-2", True), ("gpt-oss-20b", False)])
def test_a_model_of_a_dialect_that_refuses_something_is_mended(auto: Served, model: str, is_mended: bool) -> None:
    auto.say(chunk(delta(content="x", finish_reason="stop")), DONE)
    reply = post(auto, SENT.replace(b'"m"', f'"{model}"'.encode()) % b"")
    assert (b'"id":"chatcmpl_' in reply.content) is is_mended


def test_a_call_id_the_upstream_refuses_is_another_there(auto: Served) -> None:
    history: Any = [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "42"}]},
    ]
    auto.say(chunk(delta(content="x", finish_reason="stop")), DONE)
    auto.client.chat.completions.create(model="devstral-2", messages=history)
    _, made, told = auto.upstream.asked[0].json["messages"]
    assert made["tool_calls"][0]["id"] == told["tool_call_id"]
    assert len(told["tool_call_id"]) == 9
    assert told["content"] == "42"


def test_a_clients_key_goes_upstream_only_when_asked_to(tmp_path: Path) -> None:
    for forward_auth in (False, True):
        with served(tmp_path, forward_auth=forward_auth, repair="always") as chat:
            chat.say(chunk(delta(content="x", finish_reason="stop")), DONE)
            chat.client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
            expected = "Bearer sk-client" if forward_auth else None
            assert chat.upstream.asked[0].headers.get("authorization") == expected


def test_embeddings_of_the_sdk_reach_the_upstream(auto: Served) -> None:
    body = b'{"object":"list","model":"e","data":[{"object":"embedding","index":0,"embedding":[0.5]}]}'
    auto.upstream.answers.append(answer(body, content_type="application/json"))
    found = auto.client.embeddings.create(model="e", input="hi", encoding_format="float")
    assert found.data[0].embedding == [0.5]
    assert (auto.upstream.asked[0].target, auto.upstream.asked[0].json["input"]) == ("/v1/embeddings", "hi")


def test_an_upload_reaches_the_upstream_untouched(auto: Served) -> None:
    auto.upstream.answers.append(answer(b'{"text":"hello"}', content_type="application/json"))
    sound = bytes(range(256))
    found = auto.client.audio.transcriptions.create(model="whisper", file=("a.wav", sound))
    assert found.text == "hello"
    assert sound in auto.upstream.asked[0].body
    assert auto.upstream.asked[0].headers["content-type"].startswith("multipart/form-data; boundary=")


@pytest.mark.parametrize(("upstream", "expected"), [("a", "never"), ("b", "always")])
def test_an_upstream_may_be_treated_otherwise_than_the_others(tmp_path: Path, upstream: str, expected: str) -> None:
    toml = tmp_path / "antiphon.toml"
    toml.write_text(
        "repair = 'always'\n[upstreams.a]\nbase_url = 'http://a'\nrepair = 'never'\n"
        "[upstreams.b]\nbase_url = 'http://b'\n"
    )
    settings = load_settings({}, {}, toml)
    repair_of = partial(wiring._repair, settings, partial(dialect_of, settings))
    assert repair_of(Target(FakeProvider(upstream), "m")) == expected
