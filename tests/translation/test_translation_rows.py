"""What breaks in other translators on the way to Chat Completions (R29, R30, R36): here it does not."""

from typing import Any

import pytest

from antiphon.dialects import OPENAI
from antiphon.translation import to_chat
from antiphon.wire.responses import CreateResponse, Item, decode_request, input_items

USER: Item = {"type": "message", "role": "user", "content": "2 and 3"}
ADD: Item = {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"}
NOW: Item = {"type": "function_call", "call_id": "c2", "name": "now", "arguments": "{}"}


def messages(*items: Item) -> list[dict[str, Any]]:
    call = to_chat(CreateResponse(model="m"), list(items), model="up", dialect=OPENAI)
    sent: list[dict[str, Any]] = call.body["messages"]
    return sent


def answer(call: Item) -> Item:
    return {"type": "function_call_output", "call_id": call["call_id"], "output": "5"}


def test_r29_calls_that_follow_each_other_are_one_message_and_their_outputs_follow_it() -> None:
    sent = messages(USER, ADD, NOW, answer(ADD), answer(NOW))
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == ["c1", "c2"]


@pytest.mark.parametrize(
    "silent",
    [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]},
        {"type": "message", "role": "assistant", "content": []},
        {"type": "reasoning", "id": "rs_1", "summary": []},
    ],
)
def test_r30_items_without_a_word_to_the_user_are_no_messages(silent: Item) -> None:
    assert messages(USER, silent) == messages(USER)


def test_r36_an_input_that_is_a_string_is_a_user_message() -> None:
    request = decode_request(b'{"model":"m","input":"hi"}')
    sent = to_chat(request, input_items(request), model="up", dialect=OPENAI).body["messages"]
    assert sent == [{"role": "user", "content": "hi"}]
