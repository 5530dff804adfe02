"""The documented calls of openai-python, one a row, over a chat-only upstream; its own classes say whether they fit."""

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from scripted_upstream import ChatUpstream
from test_server_compliance import PIXEL, WEATHER
from whole_server import served

CALLS: dict[str, Callable[[openai.OpenAI], None]] = {}


def call(check: Callable[[openai.OpenAI], None]) -> Callable[[openai.OpenAI], None]:
    CALLS[check.__name__] = check
    return check


class Greeting(BaseModel):
    hello: str


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    upstream = ChatUpstream('{"hello": "there"}')
    with (
        served(upstream, tmp_path_factory.mktemp("data"), keys="ada=sk-ada") as url,
        openai.OpenAI(base_url=url, api_key="sk-ada", max_retries=0, timeout=10) as client,
    ):
        yield client


def make(client: openai.OpenAI, **more: Any) -> Any:
    return client.responses.create(model="m", input="hi", **more)


# --- responses ----------------------------------------------------------------------------------


@call
def responses_create(client: openai.OpenAI) -> None:
    made = make(client, metadata={"a": "b"}, reasoning={"effort": "low"})
    assert (made.status, made.output_text, made.metadata) == ("completed", '{"hello": "there"}', {"a": "b"})
    assert [item.type for item in made.output] == ["reasoning", "message"]
    assert made.usage is not None
    assert made.usage.total_tokens == 10


@call
def responses_create_with_an_image_and_a_file(client: openai.OpenAI) -> None:
    content = [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": PIXEL, "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
    ]
    made = client.responses.create(model="m", input=[{"role": "user", "content": content}])  # type: ignore[list-item]
    assert made.status == "completed"


@call
def responses_create_streamed(client: openai.OpenAI) -> None:
    types = [event.type for event in make(client, stream=True)]
    assert (types[0], types[-1]) == ("response.created", "response.completed")


@call
def responses_stream_with_tools(client: openai.OpenAI) -> None:
    with client.responses.stream(model="m", input="hi", tools=[WEATHER], tool_choice="required") as stream:  # type: ignore[list-item]
        names = [event.name for event in stream if event.type == "response.function_call_arguments.done"]
    final = stream.get_final_response()
    assert names == ["get_weather"]
    (called,) = final.output
    assert called.type == "function_call"
    output = {"type": "function_call_output", "call_id": called.call_id, "output": "sunny"}
    following = client.responses.create(model="m", input=[output], previous_response_id=final.id)  # type: ignore[list-item]
    assert following.previous_response_id == final.id


@call
def responses_parse(client: openai.OpenAI) -> None:
    parsed = client.responses.parse(model="m", input="hi", text_format=Greeting)
    assert parsed.output_parsed == Greeting(hello="there")


@call
def responses_stream_parsed(client: openai.OpenAI) -> None:
    with client.responses.stream(model="m", input="hi", text_format=Greeting) as stream:
        stream.until_done()
    assert stream.get_final_response().output_parsed == Greeting(hello="there")


@call
def responses_retrieve_and_delete(client: openai.OpenAI) -> None:
    made = make(client)
    assert client.responses.retrieve(made.id).output_text == made.output_text
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


@call
def responses_retrieve_streamed_from_an_event_on(client: openai.OpenAI) -> None:
    with client.responses.stream(model="m", input="hi") as stream:
        events = list(stream)
    final = stream.get_final_response()
    rest = list(client.responses.retrieve(final.id, stream=True, starting_after=2))
    assert [event.sequence_number for event in rest] == [event.sequence_number for event in events][3:]
    with client.responses.stream(response_id=final.id, starting_after=2) as again:
        assert [event.type for event in again][-1] == "response.completed"


@call
def responses_in_the_background(client: openai.OpenAI) -> None:
    made = make(client, background=True)
    assert made.status in ("queued", "in_progress", "completed")
    *_, last = client.responses.retrieve(made.id, stream=True)
    assert last.type == "response.completed"
    assert client.responses.cancel(made.id).status == "completed"  # too late


@call
def responses_input_items(client: openai.OpenAI) -> None:
    made = make(client)
    (item,) = client.responses.input_items.list(made.id)
    assert item.type == "message"


@call
def responses_without_state(client: openai.OpenAI) -> None:
    asked = {"store": False, "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low"}}
    made = make(client, **asked)
    history = [item.model_dump(exclude_none=True) for item in made.output]
    assert history[0]["encrypted_content"]
    following = client.responses.create(model="m", input=[*history, {"role": "user", "content": "and?"}], **asked)
    assert following.status == "completed"


@call
def responses_compact(client: openai.OpenAI) -> None:
    compacted = client.responses.compact(model="m", input="A long story.")
    assert [item.type for item in compacted.output] == ["compaction"]
    kept = [item.model_dump(exclude_none=True) for item in compacted.output]
    assert client.responses.create(model="m", input=[*kept, {"role": "user", "content": "and?"}]).status == "completed"


@call
def responses_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        make(client, prompt={"id": "pmpt_1"})
    assert (caught.value.param, caught.value.code) == ("prompt", "unsupported_parameter")


# --- others -------------------------------------------------------------------------------------


@call
def conversations(client: openai.OpenAI) -> None:
    conversation = client.conversations.create(metadata={"a": "b"})
    make(client, conversation=conversation.id)
    items = list(client.conversations.items.list(conversation.id, order="asc"))
    assert [item.role for item in items if item.type == "message"] == ["user", "assistant"]
    assert client.conversations.items.retrieve(items[0].id, conversation_id=conversation.id).id == items[0].id
    client.conversations.items.delete(items[0].id, conversation_id=conversation.id)
    assert client.conversations.update(conversation.id, metadata={"c": "d"}).metadata == {"c": "d"}
    assert client.conversations.retrieve(conversation.id).id == conversation.id
    assert client.conversations.delete(conversation.id).deleted


@call
def chat_completions(client: openai.OpenAI) -> None:
    asked: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert client.chat.completions.create(**asked).choices[0].message.content == '{"hello": "there"}'
    chunks = list(client.chat.completions.create(**asked, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == '{"hello": "there"}'
    parsed = client.chat.completions.parse(**asked, response_format=Greeting)
    assert parsed.choices[0].message.parsed == Greeting(hello="there")


@call
def chat_completions_stored(client: openai.OpenAI) -> None:
    made = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], store=True)
    assert client.chat.completions.retrieve(made.id).id == made.id
    assert made.id in [each.id for each in client.chat.completions.list()]
    assert [message.content for message in client.chat.completions.messages.list(made.id)] == ["hi"]
    assert client.chat.completions.delete(made.id).deleted


@call
def models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["m"]
    assert client.models.retrieve("m").id == "m"


@pytest.mark.parametrize("name", CALLS)
def test_a_call_of_the_sdk_is_answered(client: openai.OpenAI, name: str) -> None:
    CALLS[name](client)
