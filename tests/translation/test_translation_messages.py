"""How a conversation of items reads as chat messages."""

import re
from typing import Any

import pytest

from antiphon.dialects import ChatRules, Dialect
from antiphon.translation import ChatCall, to_chat
from antiphon.wire.responses import CreateResponse, Item


def translate(*items: Item, rules: ChatRules | None = None, upstream: str | None = None, **parameters: Any) -> ChatCall:
    request = CreateResponse(model="m", **parameters)
    return to_chat(request, list(items), model="up", dialect=Dialect(requests=rules or ChatRules()), upstream=upstream)


def messages(*items: Item, rules: ChatRules | None = None, **parameters: Any) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = translate(*items, rules=rules, **parameters).body["messages"]
    return sent


def quirks(call: ChatCall) -> list[str]:
    return [diagnostic.quirk for diagnostic in call.diagnostics]


def said(role: str, text: str) -> Item:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def called(call_id: str, name: str = "add", arguments: str = "{}", **more: Any) -> Item:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, **more}


def answered(call_id: str, output: Any) -> Item:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def thought(text: str, **more: Any) -> Item:
    return {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": text}], **more}


def tool_call(call_id: str, name: str = "add", arguments: str = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


PNG = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "high"}


# --- turns of the assistant ------------------------------------------------------------------


def test_text_and_parallel_calls_become_one_message() -> None:
    """R29 and R31: one message for each call is what upstreams refuse most."""
    assert messages(
        said("user", "2 and 3"),
        said("assistant", "I will."),
        called("c1", "add"),
        called("c2", "multiply"),
        answered("c1", "5"),
        answered("c2", "6"),
        said("assistant", "5 and 6."),
    ) == [
        {"role": "user", "content": "2 and 3"},
        {"role": "assistant", "content": "I will.", "tool_calls": [tool_call("c1"), tool_call("c2", "multiply")]},
        {"role": "tool", "tool_call_id": "c1", "content": "5"},
        {"role": "tool", "tool_call_id": "c2", "content": "6"},
        {"role": "assistant", "content": "5 and 6."},
    ]


def test_calls_of_two_turns_stay_two_messages() -> None:
    sent = messages(called("c1"), answered("c1", "1"), called("c2"), answered("c2", "2"))
    assert [message["role"] for message in sent] == ["assistant", "tool", "assistant", "tool"]


def test_outputs_are_moved_behind_their_calls_in_the_order_of_the_calls() -> None:
    sent = messages(
        called("c1"), called("c2"), answered("c2", "2"), said("user", "hurry"), answered("c1", "1"), said("user", "so?")
    )
    assert [message.get("content") for message in sent] == [None, "1", "2", "hurry", "so?"]


def test_a_call_without_output_is_closed_as_interrupted() -> None:
    call = translate(called("c1"), called("c2"), answered("c2", "2"), said("user", "go on"))
    assert [message["role"] for message in call.body["messages"]] == ["assistant", "tool", "tool", "user"]
    assert "interrupted" in call.body["messages"][1]["content"]
    assert quirks(call) == ["Q110"]


def test_an_output_without_call_is_dropped_and_disclosed() -> None:
    call = translate(said("user", "hi"), answered("nobody", "1"))
    assert call.body["messages"] == [{"role": "user", "content": "hi"}]
    assert [(d.quirk, d.seen) for d in call.diagnostics] == [("Q110", "output of call nobody")]


def test_a_second_output_of_the_same_call_is_dropped() -> None:
    call = translate(called("c1"), answered("c1", "1"), answered("c1", "again"))
    assert [message.get("content") for message in call.body["messages"]] == [None, "1"]
    assert quirks(call) == ["Q110"]


def test_an_id_that_comes_again_in_a_later_turn_means_the_later_call() -> None:
    """Q33: some upstreams count from zero again in each turn."""
    sent = messages(called("f:0"), said("user", "never mind"), called("f:0", "multiply"), answered("f:0", "6"))
    first, second = sent[0]["tool_calls"][0]["id"], sent[3]["tool_calls"][0]["id"]
    assert first == "f:0"
    assert second != first
    assert sent[4] == {"role": "tool", "tool_call_id": second, "content": "6"}


def test_an_incomplete_call_never_took_place() -> None:
    call = translate(said("assistant", "Well"), called("c1", arguments='{"a":', status="incomplete"))
    assert call.body["messages"] == [{"role": "assistant", "content": "Well"}]
    assert quirks(call) == ["Q25"]


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ("", "{}"),
        (" ", "{}"),
        ("null", "{}"),
        ('{"a":', '{"arguments":"{\\"a\\":"}'),
        ("[1]", '{"arguments":"[1]"}'),
    ],
)
def test_arguments_in_the_history_are_always_an_object(arguments: str, sent: str) -> None:
    assert messages(called("c1", arguments=arguments), answered("c1", ""))[0]["tool_calls"][0]["function"] == {
        "name": "add",
        "arguments": sent,
    }


def test_a_refusal_is_what_the_assistant_said() -> None:
    item = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert messages(item) == [{"role": "assistant", "content": "No."}]


def test_items_without_a_word_leave_no_empty_message() -> None:
    """R30."""
    call = translate(said("user", "hi"), said("assistant", ""), {"type": "web_search_call", "id": "ws_1"})
    assert call.body["messages"] == [{"role": "user", "content": "hi"}]
    assert [(d.quirk, d.seen) for d in call.diagnostics] == [("R25", "item web_search_call")]


def test_calls_that_ran_elsewhere_are_told_as_calls() -> None:
    mcp = {"type": "mcp_call", "id": "mcp_1", "server_label": "s", "name": "ask", "arguments": "{}", "output": "42"}
    shell = {"type": "shell_call", "call_id": "c1", "action": {"commands": ["ls"]}}
    output = {"type": "shell_call_output", "call_id": "c1", "output": [{"stdout": "a", "stderr": ""}]}
    sent = messages(mcp, shell, output)
    assert [message["tool_calls"][0]["function"]["name"] for message in sent[::2]] == ["ask", "shell"]
    assert [message["content"] for message in sent[1::2]] == ["42", '{"stdout":"a","stderr":""}']


@pytest.mark.parametrize(
    ("policy", "expected"), [("null", {"content": None}), ("empty", {"content": ""}), ("omit", {})]
)
def test_the_content_beside_calls_follows_the_rules(policy: Any, expected: dict[str, Any]) -> None:
    sent = messages(called("c1"), answered("c1", "1"), rules=ChatRules(empty_content=policy))
    assert {key: value for key, value in sent[0].items() if key == "content"} == expected


# --- users, systems --------------------------------------------------------------------------


def test_nothing_to_say_is_an_empty_user_message() -> None:
    assert messages() == [{"role": "user", "content": ""}]
    assert messages({"type": "message", "role": "user", "content": []}) == [{"role": "user", "content": ""}]


def test_text_parts_collapse_to_one_string() -> None:
    parts = [{"type": "input_text", "text": "a"}, {"type": "text", "text": "b"}]
    assert messages({"type": "message", "role": "user", "content": parts}) == [{"role": "user", "content": "a\nb"}]


def test_images_and_files_stay_parts() -> None:
    file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}
    parts = [{"type": "input_text", "text": "look"}, PNG, file]
    assert messages({"type": "message", "role": "user", "content": parts})[0]["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": PNG["image_url"], "detail": "high"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": file["file_data"]}},
    ]


def test_text_after_a_call_that_ran_elsewhere_comes_after_its_output() -> None:
    mcp = {"type": "mcp_call", "id": "mcp_1", "name": "ask", "arguments": "{}", "output": "42"}
    assert [message["role"] for message in messages(mcp, said("assistant", "It is 42."))] == [
        "assistant",
        "tool",
        "assistant",
    ]


def test_an_output_of_any_objects_is_told_as_json() -> None:
    assert (
        messages(called("c1"), answered("c1", [{"type": "text", "text": 5}]))[1]["content"]
        == '{"type":"text","text":5}'
    )
    mcp = {"type": "mcp_call", "id": "mcp_1", "name": "ask", "arguments": "{}", "output": None, "error": {"code": 5}}
    assert messages(mcp)[1]["content"] == '{"code":5}'


def test_sounds_are_passed_and_films_are_not() -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
    film = {"type": "input_video", "video_url": "http://localhost/film"}
    call = translate({"type": "message", "role": "user", "content": [sound, film]})
    assert [part["type"] for part in call.body["messages"][0]["content"]] == ["input_audio", "text"]
    assert quirks(call) == ["Q109"]


def test_a_file_that_is_only_linked_cannot_be_read() -> None:
    file = {"type": "input_file", "file_url": "http://localhost/a.pdf"}
    assert "a.pdf" in messages({"type": "message", "role": "user", "content": [file]})[0]["content"]


def test_a_file_is_never_named_to_the_upstream_by_its_id() -> None:
    file = {"type": "input_file", "filename": "a.pdf", "file_id": "file-of-whoever-shares-the-account"}
    call = translate({"type": "message", "role": "user", "content": [file]})
    assert call.body["messages"] == [{"role": "user", "content": "[file a.pdf omitted: this model cannot read it]"}]
    assert quirks(call) == ["Q109"]


def test_a_tool_that_is_not_offered_any_more_keeps_its_name() -> None:
    sent = messages(called("c1", "files.read", namespace="fs"), answered("c1", ""))
    assert sent[0]["tool_calls"][0]["function"]["name"] == "fs__files_read"


def test_what_a_model_cannot_see_becomes_a_line_of_text() -> None:
    call = translate({"type": "message", "role": "user", "content": [PNG]}, rules=ChatRules(images=False))
    assert call.body["messages"] == [{"role": "user", "content": "[image omitted: this model cannot read it]"}]
    assert quirks(call) == ["Q109"]


def test_instructions_come_first_and_join_the_developers_messages() -> None:
    sent = messages(said("developer", "Be kind."), said("user", "hi"), instructions="Be brief.")
    assert sent == [{"role": "system", "content": "Be brief.\n\nBe kind."}, {"role": "user", "content": "hi"}]


LATE = (said("user", "hi"), said("developer", "Now rhyme."), said("user", "go"))


@pytest.mark.parametrize(
    ("policy", "roles", "disclosed"),
    [
        ("keep", ["system", "user", "system", "user"], []),
        ("merge", ["system", "user", "system", "user"], []),
        ("hoist", ["system", "user", "user"], ["Q102"]),
        ("demote", ["system", "user", "user", "user"], ["Q102"]),
    ],
)
def test_late_system_messages_go_where_the_rules_say(policy: Any, roles: list[str], disclosed: list[str]) -> None:
    call = translate(*LATE, instructions="Be brief.", rules=ChatRules(system_messages=policy))
    assert [message["role"] for message in call.body["messages"]] == roles
    assert quirks(call) == disclosed


def test_neighbours_of_the_user_are_merged_where_roles_must_alternate() -> None:
    image = {"type": "message", "role": "user", "content": [PNG]}
    sent = messages(
        said("user", "a"),
        said("user", "b"),
        said("assistant", "c"),
        image,
        said("user", "d"),
        rules=ChatRules(merge_users=True),
    )
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert sent[0]["content"] == "a\n\nb"
    assert [part["type"] for part in sent[2]["content"]] == ["image_url", "text"]


def test_developer_stays_developer_where_it_is_known() -> None:
    rules = ChatRules(developer_role="developer", system_messages="keep")
    sent = messages(said("developer", "b"), said("system", "c"), instructions="a", rules=rules)
    assert [message["role"] for message in sent] == ["developer", "developer", "system"]


# --- outputs of tools ------------------------------------------------------------------------


def test_images_of_an_output_follow_all_tool_messages() -> None:
    """R28, Q103: never flattened into text, never between two tool messages."""
    call = translate(
        called("c1"), called("c2"), answered("c1", [{"type": "input_text", "text": "see"}, PNG]), answered("c2", "2")
    )
    sent = call.body["messages"]
    assert [message["role"] for message in sent] == ["assistant", "tool", "tool", "user"]
    assert sent[1]["content"] == "see"
    assert [part["type"] for part in sent[3]["content"]] == ["text", "image_url"]
    assert quirks(call) == ["Q103"]


def test_an_output_of_parts_is_one_string() -> None:
    parts = [{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b"}]
    assert messages(called("c1"), answered("c1", parts))[1]["content"] == "a\nb"


# --- reasoning -------------------------------------------------------------------------------

CALL_AFTER_THOUGHT = (called("c1"), answered("c1", "1"))
ALLOW = ChatRules(echo_reasoning="allow")


def test_reasoning_is_not_echoed_by_default() -> None:
    call = translate(thought("hm"), *CALL_AFTER_THOUGHT)
    assert call.body["messages"][0].keys() == {"role", "tool_calls"}
    assert quirks(call) == ["Q71"]


def test_reasoning_is_echoed_on_the_message_it_led_to() -> None:
    sent = messages(said("user", "hi"), thought("hm"), said("assistant", "so"), *CALL_AFTER_THOUGHT, rules=ALLOW)
    assert sent[1]["reasoning_content"] == "hm"
    assert (sent[1]["content"], len(sent[1]["tool_calls"])) == ("so", 1)


def test_stored_reasoning_goes_under_the_name_it_came_under() -> None:
    sent = messages(thought("hm", antiphon={"field": "reasoning"}), *CALL_AFTER_THOUGHT, rules=ALLOW)
    assert sent[0]["reasoning"] == "hm"


def test_a_forged_field_name_cannot_replace_a_member_of_the_message() -> None:
    sent = messages(thought("hm", antiphon={"field": "role"}), *CALL_AFTER_THOUGHT, rules=ALLOW)
    assert (sent[0]["role"], sent[0]["reasoning_content"]) == ("assistant", "hm")


def test_sealed_reasoning_is_opened_and_preferred_to_its_summary() -> None:
    opened = {"text": "all of it", "field": "reasoning"}
    sent = messages(thought("in short", antiphon=opened), *CALL_AFTER_THOUGHT, rules=ALLOW)
    assert sent[0]["reasoning"] == "all of it"


def test_reasoning_that_others_sealed_is_disclosed() -> None:
    call = translate(thought("in short", encrypted_content="gAAAA"), *CALL_AFTER_THOUGHT, rules=ALLOW)
    assert call.body["messages"][0]["reasoning_content"] == "in short"
    assert quirks(call) == ["Q72"]


def test_opaque_details_go_back_only_to_who_gave_them() -> None:
    details = [{"type": "reasoning.encrypted", "data": "AA"}]
    item = thought("", antiphon={"details": details, "upstream": "router"})
    rules = ChatRules(echo_reasoning="allow", echo_details=True)
    same = translate(item, *CALL_AFTER_THOUGHT, rules=rules, upstream="router")
    other = translate(item, *CALL_AFTER_THOUGHT, rules=rules, upstream="else")
    assert same.body["messages"][0]["reasoning_details"] == details
    assert "reasoning_details" not in other.body["messages"][0]
    assert quirks(other) == ["Q72"]


def test_required_reasoning_that_is_missing_is_filled_with_a_blank() -> None:
    call = translate(*CALL_AFTER_THOUGHT, rules=ChatRules(echo_reasoning="require"))
    assert call.body["messages"][0]["reasoning_content"] == " "
    assert quirks(call) == ["Q70"]


def test_a_signature_goes_back_with_its_call() -> None:
    """Q35: Gemini answers 400 to a call that lost its thought signature."""
    private = {"provider_data": {"extra_content": {"google": {"s": 1}}, "index": 0, "id": "forged"}, "upstream": "g"}
    item = called("c1", antiphon=private)
    same = translate(item, answered("c1", ""), upstream="g").body["messages"][0]["tool_calls"]
    assert same == [{**tool_call("c1"), "extra_content": {"google": {"s": 1}}}]
    other = translate(item, answered("c1", ""), upstream="else")
    assert other.body["messages"][0]["tool_calls"] == [tool_call("c1")]
    assert quirks(other) == ["Q35"]


# --- ids -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (ChatRules(), r"call_1"),
        (ChatRules(call_ids="alphanumeric_9"), r"[a-zA-Z0-9]{9}"),
        (ChatRules(call_ids="functions"), r"functions\.add:0"),
        (ChatRules(max_call_id_length=5), r"[0-9a-f]{5}"),
    ],
    ids=["keep", "alphanumeric_9", "functions", "too long"],
)
def test_call_ids_follow_the_rules(rules: ChatRules, expected: str) -> None:
    sent = messages(called("call_1"), answered("call_1", "1"), rules=rules)
    call_id = sent[0]["tool_calls"][0]["id"]
    assert re.fullmatch(expected, call_id)
    assert sent[1]["tool_call_id"] == call_id
