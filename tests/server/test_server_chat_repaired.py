"""Chat completions that are runs, as the openai package sees them: translated, mended, and written anew."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pydantic
import pytest
from chat_upstream import DONE, Served, answer, chunk, delta, served

HI: Any = [{"role": "user", "content": "hi"}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "files.read",
            "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
        },
    }
]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("data"), repair="always") as served_:
        yield served_


def call(index: int | None, id_: str | None, name: str | None, arguments: str) -> dict[str, Any]:
    """A piece of a tool call as upstreams send it; None leaves a member out."""
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    return {key: value for key, value in (("index", index), ("id", id_), ("function", function)) if value is not None}


def test_a_stream_is_written_anew_and_a_whole_answer_is_its_fold(chat: Served) -> None:
    for _ in range(2):
        chat.say(
            chunk(delta(reasoning="Hm.")),
            chunk(delta(content="Hel")),
            chunk(delta(content="lo")),
            chunk(delta(finish_reason="stop"), usage={"prompt_tokens": 3, "completion_tokens": 2}),
            DONE,
        )
    with chat.client.chat.completions.stream(model="m", messages=HI) as stream:
        streamed = stream.get_final_completion()
    whole = chat.client.chat.completions.create(model="m", messages=HI)
    for completion in (streamed, whole):
        assert completion.id.startswith("chatcmpl_")
        assert (completion.model, completion.choices[0].finish_reason) == ("m", "stop")
        assert completion.choices[0].message.content == "Hello"
        assert completion.choices[0].message.to_dict()["reasoning_content"] == "Hm."
    assert (streamed.usage, whole.usage and whole.usage.total_tokens) == (None, 5)
    assert chat.upstream.asked[-1].json == {
        "model": "m",
        "messages": HI,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_usage_is_a_chunk_of_its_own_where_it_is_asked_for(chat: Served) -> None:
    chat.say(chunk(delta(content="x", finish_reason="stop")), chunk(usage={"prompt_tokens": 3}), DONE)
    stream = chat.client.chat.completions.create(
        model="m", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    *others, last = list(stream)
    assert all(part.usage is None and part.choices for part in others)
    assert (last.choices, last.usage and last.usage.prompt_tokens) == ([], 3)


def test_choices_are_kept_apart(chat: Served) -> None:
    for _ in range(2):
        chat.say(
            chunk(delta(0, content="a")),
            chunk(delta(1, content="b")),
            chunk(delta(0, content="A", finish_reason="stop"), delta(1, content="B", finish_reason="length")),
            DONE,
        )
    whole = chat.client.chat.completions.create(model="m", messages=HI, n=2)
    with chat.client.chat.completions.stream(model="m", messages=HI, n=2) as stream:
        texts = [event.content for event in stream if event.type == "content.done"]
    assert chat.upstream.asked[-1].json["n"] == 2
    assert [(each.message.content, each.finish_reason) for each in whole.choices] == [("aA", "stop"), ("bB", "length")]
    assert texts == ["aA", "bB"]


def test_log_probabilities_come_through(chat: Served) -> None:
    token = {"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}
    chat.say(chunk(delta(content="x", logprobs={"content": [token]})), chunk(delta(finish_reason="stop")), DONE)
    completion = chat.client.chat.completions.create(model="m", messages=HI, logprobs=True, top_logprobs=0)
    logprobs = completion.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [(each.token, each.logprob) for each in logprobs.content] == [("x", -0.5)]
    assert chat.upstream.asked[-1].json["logprobs"] is True


def test_a_name_that_upstreams_refuse_goes_there_and_back(chat: Served) -> None:
    history: Any = [
        *HI,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "files.read", "arguments": '{"path":"a"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "text of a"},
    ]
    chat.say(chunk(delta(tool_calls=[call(0, "c2", "files_read", '{"path":"b"}')], finish_reason="tool_calls")), DONE)
    completion = chat.client.chat.completions.create(model="m", messages=history, tools=TOOLS)
    sent = chat.upstream.asked[-1].json
    assert sent["tools"][0]["function"]["name"] == "files_read"
    assert sent["messages"][1]["tool_calls"][0]["function"]["name"] == "files_read"
    (made,) = completion.choices[0].message.tool_calls or []
    assert made.type == "function"
    assert (made.id, made.function.name, made.function.arguments) == ("c2", "files.read", '{"path":"b"}')


def test_calls_without_an_index_and_with_one_id_are_told_apart(chat: Served) -> None:
    chat.say(
        chunk(delta(content="I look.")),
        chunk(delta(tool_calls=[call(None, "same", "a", '{"x":1}')])),
        chunk(delta(tool_calls=[call(None, "same", "b", '{"x":2}')])),
        chunk(delta(finish_reason="stop")),
        DONE,
    )
    with chat.client.chat.completions.stream(model="m", messages=HI) as stream:
        message = stream.get_final_completion().choices[0].message
    calls = [made.function for made in message.tool_calls or [] if made.type == "function"]
    assert [(made.name, made.arguments) for made in calls] == [("a", '{"x":1}'), ("b", '{"x":2}')]
    first, second = [made.id for made in message.tool_calls or []]
    assert first == "same"
    assert second.startswith("call_")
    assert "same" not in second
    assert message.content == "I look."


def test_what_was_mended_is_disclosed(chat: Served) -> None:
    chat.say(chunk(delta(content="x")), DONE)  # no finish reason
    completion = chat.client.chat.completions.create(model="m", messages=HI).to_dict()
    assert [each["quirk"] for each in completion["antiphon"]["diagnostics"]] == ["Q38"]  # type: ignore[index]


def test_an_answer_is_parsed_into_the_clients_own_type(chat: Served) -> None:
    class Sum(pydantic.BaseModel):
        total: int

    chat.say(chunk(delta(content='{"total": 5}', finish_reason="stop")), DONE)
    completion = chat.client.chat.completions.parse(model="m", messages=HI, response_format=Sum)
    assert completion.choices[0].message.parsed == Sum(total=5)
    assert chat.upstream.asked[-1].json["response_format"]["json_schema"]["name"] == "Sum"


def test_a_refusal_is_no_text(chat: Served) -> None:
    chat.say(chunk(delta(refusal="I can't.", finish_reason="stop")), DONE)
    message = chat.client.chat.completions.create(model="m", messages=HI).choices[0].message
    assert (message.refusal, message.content) == ("I can't.", None)


def test_a_freeform_tool_is_offered_as_a_function_and_its_call_comes_back_freeform(chat: Served) -> None:
    tool: Any = {"type": "custom", "custom": {"name": "patch"}}
    chat.say(
        chunk(delta(tool_calls=[call(0, "c", "patch", '{"input":"*** Begin"}')], finish_reason="tool_calls")), DONE
    )
    choice: Any = {"type": "custom", "custom": {"name": "patch"}}
    completion = chat.client.chat.completions.create(model="m", messages=HI, tools=[tool], tool_choice=choice)
    (made,) = completion.choices[0].message.tool_calls or []
    assert made.type == "custom"
    assert (made.custom.name, made.custom.input) == ("patch", "*** Begin")
    assert chat.upstream.asked[-1].json["tool_choice"] == {"type": "function", "function": {"name": "patch"}}


def test_a_second_choice_that_nobody_asked_for_belongs_to_the_first(chat: Served) -> None:
    chat.say(chunk(delta(0, content="a")), chunk(delta(1, content="b", finish_reason="stop")), DONE)
    (choice,) = chat.client.chat.completions.create(model="m", messages=HI).choices
    assert choice.message.content == "ab"


def test_an_id_that_an_earlier_call_has_is_not_given_again(chat: Served) -> None:
    made: Any = {"id": "call_0", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history: Any = [*HI, {"role": "assistant", "tool_calls": [made]}]
    history.append({"role": "tool", "tool_call_id": "call_0", "content": "42"})
    chat.say(chunk(delta(tool_calls=[call(0, "call_0", "f", "{}")], finish_reason="tool_calls")), DONE)
    completion = chat.client.chat.completions.create(model="m", messages=history)
    (again,) = completion.choices[0].message.tool_calls or []
    assert again.id != "call_0"


# --- what goes wrong -------------------------------------------------------------------------


def raw(chat: Served, **body: Any) -> httpx2.Response:
    url = f"{chat.url}/v1/chat/completions"
    return httpx2.post(url, json={"model": "m", "messages": HI, **body}, headers={"authorization": "Bearer x"})


def test_a_cut_stream_ends_with_an_error_and_without_done(chat: Served) -> None:
    chat.say(chunk(delta(content="Ha")))
    text = raw(chat, stream=True).text
    *_, last = text.strip().split("\n\n")
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "truncated_stream"
    assert "[DONE]" not in text
    chat.say(chunk(delta(content="Ha")))
    with pytest.raises(openai.APIError, match="stopped before it was finished"):
        list(chat.client.chat.completions.create(model="m", messages=HI, stream=True))


def test_a_stream_that_ran_into_the_limit_is_complete_all_the_same(chat: Served) -> None:
    chat.say(chunk(delta(content="Ha", finish_reason="length")), DONE)
    text = raw(chat, stream=True).text
    assert '"finish_reason":"length"' in text
    assert text.endswith("data: [DONE]\n\n")


def test_a_cut_answer_that_was_to_come_whole_is_an_http_error(chat: Served) -> None:
    chat.say(chunk(delta(content="Ha")))
    with pytest.raises(openai.InternalServerError) as caught:
        chat.client.chat.completions.create(model="m", messages=HI)
    assert (caught.value.status_code, caught.value.code) == (502, "truncated_stream")


@pytest.mark.parametrize("stream", [True, False])
def test_a_refusal_before_anything_was_shown_is_an_http_error(chat: Served, stream: bool) -> None:
    chat.upstream.answers.append(answer(b'{"error":{"message":"slow down"}}', "429 Too Many", "application/json"))
    with pytest.raises(openai.RateLimitError, match="slow down"):
        chat.client.chat.completions.create(model="m", messages=HI, stream=stream)


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"n": 0}, "n"),
        ({"temperature": 3}, "temperature"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ],
)
def test_what_is_not_acceptable_is_refused_by_name(chat: Served, sent: dict[str, Any], param: str) -> None:
    reply = raw(chat, **sent)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_text_as_the_only_modality_is_no_obstacle(chat: Served) -> None:
    chat.say(chunk(delta(content="x", finish_reason="stop")), DONE)
    assert raw(chat, modalities=["text"]).status_code == 200
    assert "modalities" not in chat.upstream.asked[-1].json
