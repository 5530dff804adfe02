"""What holds for every history and every set of tools, whatever the upstream's rules."""

import json
import re
from collections import Counter
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from antiphon.dialects import ChatRules, Dialect
from antiphon.events import ModelEvent, ToolCallDelta, ToolCallFinished, ToolCallStarted
from antiphon.translation import ChatCall, to_chat
from antiphon.wire.responses import CreateResponse, Item

# Few and similar names, so that collisions happen.
names = st.text("ab_./é", min_size=1, max_size=4) | st.sampled_from(["a__b", "x" * 64, "x" * 65, "x" * 64 + "y"])
ids = st.sampled_from(["c1", "c2", "abcdefghi", "functions.a:0", "x" * 80, "x" * 81])
texts = st.sampled_from(["", "hi", "two\nlines"])
rules = st.builds(
    ChatRules,
    system_messages=st.sampled_from(["merge", "hoist", "demote", "keep"]),
    tool_content=st.sampled_from(["text", "parts"]),
    call_ids=st.sampled_from(["keep", "alphanumeric_9", "functions"]),
    empty_content=st.sampled_from(["omit", "empty"]),
    echo_reasoning=st.sampled_from(["require", "allow", "forbid"]),
    tool_choices=st.sampled_from(["all", "modes", "auto"]),
)

plain_tools = st.fixed_dictionaries({"type": st.sampled_from(["function", "custom"]), "name": names})
namespaces = st.fixed_dictionaries(
    {"type": st.just("namespace"), "name": names, "tools": st.lists(plain_tools, max_size=3)}
)
tools = st.lists(plain_tools | namespaces | st.just({"type": "web_search"}), max_size=6)

image = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
items = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("message"), "role": st.sampled_from(["user", "assistant", "developer"]), "content": texts}
    ),
    st.fixed_dictionaries(
        {"type": st.just("function_call"), "call_id": ids, "name": names}
        | {"arguments": st.sampled_from(["", "{}", '{"a":'])}
    ),
    st.fixed_dictionaries({"type": st.just("custom_tool_call"), "call_id": ids, "name": names, "input": texts}),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["function_call_output", "custom_tool_call_output"]), "call_id": ids}
        | {"output": texts | st.lists(st.just(image) | st.just({"type": "input_text", "text": "t"}), max_size=2)}
    ),
    st.just({"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "antiphon": {"field": "role"}}),
    st.just({"type": "web_search_call", "id": "ws_1", "status": "completed"}),
)
histories = st.lists(items, max_size=12)


def translate(history: list[Item], chat_rules: ChatRules, **parameters: Any) -> ChatCall:
    return to_chat(CreateResponse(model="m", **parameters), history, model="up", dialect=Dialect(requests=chat_rules))


@given(histories, rules)
def test_each_call_is_followed_by_its_one_tool_message(history: list[Item], chat_rules: ChatRules) -> None:
    """In the order of the calls, and nothing between (Q110)."""
    messages = translate(history, chat_rules).body["messages"]
    answered = 0
    for position, message in enumerate(messages):
        calls = message.get("tool_calls", [])
        following = messages[position + 1 : position + 1 + len(calls)]
        assert [tool.get("tool_call_id") for tool in following] == [call["id"] for call in calls]
        answered += len(calls)
    assert answered == sum(message["role"] == "tool" for message in messages)


@given(histories, rules)
def test_no_two_calls_share_an_id(history: list[Item], chat_rules: ChatRules) -> None:
    messages = translate(history, chat_rules).body["messages"]
    sent = [call["id"] for message in messages for call in message.get("tool_calls", [])]
    assert len(set(sent)) == len(sent)
    assert all(len(call_id) <= 64 for call_id in sent if chat_rules.call_ids != "functions")
    if chat_rules.call_ids == "alphanumeric_9":
        assert all(re.fullmatch("[a-zA-Z0-9]{9}", call_id) for call_id in sent)


@given(histories, histories)
def test_ids_of_a_history_do_not_change_as_it_grows(history: list[Item], more: list[Item]) -> None:
    """Else every turn would spoil the upstream's prompt cache."""
    for chat_rules in (ChatRules(), ChatRules(call_ids="alphanumeric_9")):
        user = [{"type": "message", "role": "user", "content": "go on"}]
        outputs = {"function_call_output", "custom_tool_call_output"}
        more = [item for item in more if item["type"] not in outputs]
        before = translate([*history, *user], chat_rules).body["messages"]
        after = translate([*history, *user, *more], chat_rules).body["messages"]
        assert after[: len(before)] == before


@given(histories, tools, rules)
def test_nothing_null_and_no_empty_list_goes_upstream(
    history: list[Item], offered: list[dict[str, Any]], chat_rules: ChatRules
) -> None:
    body = translate(history, chat_rules, tools=offered, parallel_tool_calls=True).body
    assert not list(holes(body, ""))
    assert ("tools" in body) == ("parallel_tool_calls" in body)


def holes(value: Any, path: str) -> Any:
    if value is None or value == []:
        yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from holes(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from holes(inner, f"{path}[]")


@given(histories, rules)
def test_no_private_member_goes_upstream(history: list[Item], chat_rules: ChatRules) -> None:
    # As a member: text may hold any word.
    assert not re.search(r"'antiphon':", str(translate(history, chat_rules).body))


@given(st.lists(st.sampled_from(["user", "assistant"]), max_size=8))
def test_messages_keep_their_order(roles: list[str]) -> None:
    history = [{"type": "message", "role": role, "content": f"<{n}>"} for n, role in enumerate(roles)]
    sent = "".join(message["content"] for message in translate(history, ChatRules()).body["messages"])
    assert re.findall("<([0-9]+)>", sent) == [str(n) for n in range(len(roles))]


def flat(offered: list[dict[str, Any]], namespace: str | None = None) -> Counter[tuple[str, str | None, str]]:
    known: Counter[tuple[str, str | None, str]] = Counter()
    for tool in offered:
        if tool["type"] == "namespace":
            known.update(flat(tool["tools"], tool["name"]))
        elif tool["type"] in ("function", "custom"):
            known[tool["type"], namespace, tool["name"]] = 1
    return known


@given(tools)
def test_every_offered_name_is_legal_and_finds_back_to_its_tool(offered: list[dict[str, Any]]) -> None:
    call = translate([], ChatRules(), tools=offered)
    sent = [tool["function"]["name"] for tool in call.body.get("tools", [])]
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", name) for name in sent)
    assert sent == list(call.offered)
    restored = Counter(restored_tool(call, name) for name in sent)
    assert restored == Counter(set(flat(offered)))


def restored_tool(call: ChatCall, name: str) -> tuple[str, str | None, str]:
    [started] = call.restore([ToolCallStarted(block="0.0", call_id="c", name=name)])
    assert isinstance(started, ToolCallStarted)
    return started.kind, started.namespace, started.name


@given(tools, histories)
def test_a_call_in_the_history_bears_the_name_its_tool_is_offered_under(
    offered: list[dict[str, Any]], history: list[Item]
) -> None:
    kinds = {"function_call": "function", "custom_tool_call": "custom"}
    known = flat(offered)
    call = translate(history, ChatRules(), tools=offered)
    messages = call.body["messages"]
    sent = [made["function"]["name"] for message in messages for made in message.get("tool_calls", [])]
    asked = [(kinds[item["type"]], None, item["name"]) for item in history if item["type"] in kinds]
    for tool, name in zip(asked, sent, strict=True):
        if tool in known:
            assert restored_tool(call, name) == tool


@given(st.text(), st.lists(st.integers(1, 5)), st.booleans())
def test_freeform_input_comes_back_whole_however_it_was_cut(text: str, cuts: list[int], ascii_only: bool) -> None:
    call = translate([], ChatRules(), tools=[{"type": "custom", "name": "run"}])
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_only)
    events: list[ModelEvent] = [ToolCallStarted(block="0.0", call_id="c", name="run")]
    position = 0
    for cut in [*cuts, len(arguments)]:
        events.append(ToolCallDelta(block="0.0", arguments=arguments[position : position + cut]))
        position += cut
    events.append(ToolCallFinished(block="0.0", arguments=arguments))
    restored = [made for event in events for made in call.restore([event])]
    deltas = [event.arguments for event in restored if isinstance(event, ToolCallDelta)]
    assert deltas == ([text] if text else [])
    assert restored[-1] == ToolCallFinished(block="0.0", arguments=text)


@given(
    st.text() | st.from_regex(r'\{"input": ?"[^"]*("\})?', fullmatch=True), st.sampled_from(["completed", "incomplete"])
)
def test_no_arguments_of_a_freeform_call_break_the_answer(arguments: str, status: Any) -> None:
    call = translate([], ChatRules(), tools=[{"type": "custom", "name": "run"}])
    finished = ToolCallFinished(block="0.0", arguments=arguments, status=status)
    *_, end = call.restore([ToolCallStarted(block="0.0", call_id="c", name="run"), finished])
    assert isinstance(end, ToolCallFinished)
    assert end.status == status
    assert msgspec.json.encode(end)
