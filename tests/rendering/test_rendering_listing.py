"""Items as lists show them: what OpenAI's document asks of each kind, and ids that never change."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema.exceptions import best_match

from antiphon.rendering.items import PRIVATE
from antiphon.rendering.listing import input_item_id, listed, with_ids
from antiphon.wire.items import checked_item
from openapi_documents import SPEC, validator

# As a client may send them, with what the document requires of it and no more.
SENT: list[dict[str, Any]] = [
    {"role": "user", "content": "hi"},
    {"role": "developer", "content": [{"type": "input_text", "text": "hi"}]},
    {"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}, {"type": "text", "text": "what?"}]},
    {"role": "assistant", "content": "hello"},
    {"role": "assistant", "content": [{"type": "output_text", "text": "hello"}, {"type": "refusal", "refusal": "no"}]},
    {"type": "message", "role": "assistant", "content": [{"type": "input_text", "text": "as some clients do"}]},
    {"type": "reasoning", "encrypted_content": "x"},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "4"},
    {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "4"}]},
    {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x"},
    {"type": "custom_tool_call_output", "call_id": "c", "output": "4"},
    {"type": "apply_patch_call_output", "call_id": "c", "status": "completed"},
    {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"], "timeout_ms": 1, "max_output_length": 1}},
    {
        "type": "shell_call_output",
        "call_id": "c",
        "output": [{"stdout": "", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
    },
    {"type": "local_shell_call", "call_id": "c", "action": {"type": "exec", "command": ["ls"], "env": {}}},
    {"type": "local_shell_call_output", "call_id": "c", "output": "{}"},
    {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True},
    {"type": "mcp_list_tools", "server_label": "s", "tools": []},
    {"type": "tool_search_output", "tools": []},
    {"type": "additional_tools", "tools": []},
    {"type": "compaction", "encrypted_content": "x"},
]


def stored(item: dict[str, Any], run: str = "resp_00ff") -> dict[str, Any]:
    def new_id(prefix: str, position: int) -> str:
        return input_item_id(run, prefix, position)

    return with_ids([checked_item(item, "input[0]")], new_id)[0]


def test_input_ids_tell_the_run_and_the_position() -> None:
    made = with_ids([{"type": "message"}, {"type": "odd"}], lambda prefix, n: input_item_id("resp_00ff", prefix, n))
    assert [item["id"] for item in made] == ["msg_00ffi0000", "item_00ffi0001"]


some_ids = st.sampled_from(["msg_1", "msg_2", "", None, 7])


@given(st.lists(some_ids, max_size=8))
def test_every_item_has_an_id_of_its_own_and_keeps_one_that_it_was_given(given_ids: list[Any]) -> None:
    items = [{"type": "message"} | ({} if given is None else {"id": given}) for given in given_ids]
    before = copy.deepcopy(items)
    made = [item["id"] for item in with_ids(items, lambda prefix, n: f"{prefix}_n{n}")]
    assert items == before
    assert len(set(made)) == len(made)
    for item_id in {"msg_1", "msg_2"} & set(given_ids):
        assert made[given_ids.index(item_id)] == item_id


@pytest.mark.skipif(not SPEC.exists(), reason=f"no OpenAPI documents at {SPEC}")
@pytest.mark.parametrize("schema", ["ItemResource", "ConversationItem"])
@pytest.mark.parametrize("item", SENT, ids=lambda item: item.get("type", item.get("role")))
def test_what_is_listed_is_what_the_document_describes(item: dict[str, Any], schema: str) -> None:
    shown = listed(stored(item))
    error = best_match(validator("openai", schema).iter_errors(shown))
    assert error is None, f"{error.json_path}: {error.message}"


@pytest.mark.parametrize("item", SENT, ids=lambda item: item.get("type", item.get("role")))
def test_listing_changes_nothing_that_was_sent(item: dict[str, Any]) -> None:
    whole = stored(item)
    before = copy.deepcopy(whole)
    shown = listed(whole)
    assert whole == before
    assert {name: shown[name] for name in item if name != "content"} == {
        name: value for name, value in item.items() if name != "content"
    }


def test_an_upstreams_private_matters_are_not_listed() -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [], PRIVATE: {"details": ["secret"]}}
    assert PRIVATE not in listed(item)


def test_what_a_search_found_is_shown_to_those_who_ask() -> None:
    found = [{"file_id": "file-1", "text": "t"}]
    search = {"type": "file_search_call", "id": "fs_1", "queries": ["q"], "status": "completed", "results": None}
    kept = {**search, "antiphon": {"results": found}}
    assert listed(kept)["results"] is None
    assert listed(kept, include=["file_search_call.results"])["results"] == found
