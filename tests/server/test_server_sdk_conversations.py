"""Conversations, input items and references as the openai package sees them."""

import openai
import pytest
import test_server_sdk
from test_server_sdk import Sdk

from antiphon.testing import text_turn, tool_turn

sdk = test_server_sdk.sdk  # the fixture


def test_a_conversation_lives_and_dies(sdk: Sdk) -> None:
    conversations = sdk.client.conversations
    made = conversations.create(metadata={"topic": "tea"}, items=[{"role": "user", "content": "hi"}])
    assert (made.object, made.metadata) == ("conversation", {"topic": "tea"})
    assert conversations.update(made.id, metadata={"topic": "coffee"}).metadata == {"topic": "coffee"}
    assert conversations.retrieve(made.id).metadata == {"topic": "coffee"}
    assert conversations.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        conversations.retrieve(made.id)


def test_items_are_made_listed_looked_up_and_deleted(sdk: Sdk) -> None:
    conversation = sdk.client.conversations.create().id
    items = sdk.client.conversations.items
    added = items.create(
        conversation,
        items=[
            {"type": "message", "role": "user", "content": "hi"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "4"},
        ],
    )
    ids = [item.id for item in added.data]
    assert [item.type for item in added.data] == ["message", "function_call", "function_call_output"]
    assert [item.id for item in items.list(conversation, order="asc", limit=2)] == ids  # two pages
    assert [item.id for item in items.list(conversation, limit=1)] == ids[::-1]
    assert items.retrieve(ids[0], conversation_id=conversation) == added.data[0]
    assert items.delete(ids[0], conversation_id=conversation).id == conversation
    assert [item.id for item in items.list(conversation, order="asc")] == ids[1:]
    with pytest.raises(openai.NotFoundError):
        items.list(conversation, after=ids[0])


@pytest.mark.parametrize("stream", [True, False])
def test_a_conversation_goes_on_over_calls_and_their_outputs(sdk: Sdk, stream: bool) -> None:
    sdk.upstream.turns = [tool_turn(("call_1", "add", '{"a":2}')), text_turn("4")]
    conversation = sdk.client.conversations.create()
    output = {"type": "function_call_output", "call_id": "call_1", "output": "4"}
    for sent in ("what is 2+2?", [output]):
        if stream:
            with sdk.client.responses.stream(model="m", input=sent, conversation=conversation.id) as events:
                final = events.get_final_response()
        else:
            final = sdk.client.responses.create(model="m", input=sent, conversation=conversation.id)
        assert final.conversation is not None
        assert final.conversation.id == conversation.id
    listed = list(sdk.client.conversations.items.list(conversation.id, order="asc"))
    assert [item.type for item in listed] == ["message", "function_call", "function_call_output", "message"]
    assert [item["type"] for item in sdk.upstream.calls[-1].items] == [item.type for item in listed][:-1]
    shown = list(sdk.client.responses.input_items.list(final.id))
    assert [item.id for item in shown] == [listed[2].id]


def test_input_items_are_paged(sdk: Sdk) -> None:
    sdk.upstream.turns = [text_turn("hello")]
    asked = [{"role": "user", "content": str(n)} for n in range(5)]
    made = sdk.client.responses.create(model="m", input=asked)
    found = sdk.client.responses.input_items.list(made.id, limit=2, order="asc")
    assert [item.content[0].text for item in found] == [str(n) for n in range(5)]
    assert len({item.id for item in sdk.client.responses.input_items.list(made.id, limit=1)}) == 5


def test_errors_are_the_sdks_classes(sdk: Sdk) -> None:
    conversation = sdk.client.conversations.create(items=[{"id": "msg_1", "role": "user", "content": "hi"}]).id
    responses, reference = sdk.client.responses, {"type": "item_reference", "id": "rs_0"}
    with pytest.raises(openai.NotFoundError, match="Items are not persisted when `store` is set to false"):
        responses.create(model="m", input=[reference])
    with pytest.raises(openai.NotFoundError, match="Conversation with id 'conv_0' not found"):
        responses.create(model="m", input="hi", conversation="conv_0")
    with pytest.raises(openai.BadRequestError, match="Duplicate item found with id msg_1"):
        responses.create(model="m", input=[{**reference, "id": "msg_1"}], conversation=conversation)
    with pytest.raises(openai.BadRequestError, match="Mutually exclusive parameters"):
        responses.create(model="m", input="hi", conversation=conversation, previous_response_id="resp_0")
    with pytest.raises(openai.BadRequestError, match="limit"):
        sdk.client.conversations.items.list(conversation, limit=101)
