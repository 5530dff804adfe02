"""Tools on their way out, and calls on their way back."""

import json
import re
from typing import Any

import pytest

from antiphon.dialects import ChatRules, Dialect
from antiphon.events import (
    Diagnostic,
    ModelEvent,
    TextDelta,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    TurnFinished,
)
from antiphon.translation import ChatCall, to_chat
from antiphon.wire.responses import CreateResponse, Item

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
USER = {"type": "message", "role": "user", "content": "go"}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Edits files.", "format": GRAMMAR}


def function(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": SCHEMA, **more}


def namespace(name: str, *tools: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "namespace", "name": name, "tools": list(tools), **more}


def translate(
    *tools: dict[str, Any], items: list[Item] | None = None, rules: ChatRules | None = None, **parameters: Any
) -> ChatCall:
    request = CreateResponse(model="m", tools=list(tools), **parameters)
    return to_chat(request, [*(items or []), USER], model="up", dialect=Dialect(requests=rules or ChatRules()))


def sent_names(call: ChatCall) -> list[str]:
    return [tool["function"]["name"] for tool in call.body.get("tools", [])]


def quirks(call: ChatCall) -> list[str]:
    return [diagnostic.quirk for diagnostic in call.diagnostics]


# --- definitions -----------------------------------------------------------------------------


def test_a_function_keeps_strict_only_if_it_was_given() -> None:
    call = translate(function("f", description="d", strict=False), function("g", strict=None))
    assert call.body["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": False}},
        {"type": "function", "function": {"name": "g", "parameters": SCHEMA}},
    ]
    assert call.offered == {"f": SCHEMA, "g": SCHEMA}


def test_a_function_without_parameters_takes_an_empty_object() -> None:
    call = translate({"type": "function", "name": "f", "parameters": None})
    assert call.body["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}


def test_a_freeform_tool_is_offered_as_a_function_of_one_string() -> None:
    """R20: dropped, the model prints the patch as text and nothing happens."""
    [tool] = translate(PATCH).body["tools"]
    assert tool["function"]["parameters"]["required"] == ["input"]
    assert "Edits files." in tool["function"]["description"]
    assert "start: /.+/" in tool["function"]["description"]


def test_a_namespace_is_flattened_and_described_once() -> None:
    call = translate(namespace("ns", function("a", description="A."), function("b"), description="All of it."))
    assert sent_names(call) == ["ns__a", "ns__b"]
    assert call.body["tools"][0]["function"]["description"] == "All of it.\n\nA."
    assert "description" not in call.body["tools"][1]["function"]


def test_tools_of_additional_tools_items_are_offered_too() -> None:
    items = [{"type": "additional_tools", "role": "developer", "tools": [namespace("fs", PATCH)]}]
    call = translate(function("f"), items=items)
    assert sent_names(call) == ["f", "fs__apply_patch"]
    assert call.body["messages"] == [{"role": "user", "content": "go"}]


def test_a_tool_defined_again_takes_the_later_definition() -> None:
    items = [{"type": "additional_tools", "role": "developer", "tools": [function("f", description="new")]}]
    call = translate(function("f", description="old"), function("g"), items=items)
    assert sent_names(call) == ["f", "g"]
    assert call.body["tools"][0]["function"]["description"] == "new"


def test_a_freeform_tool_defined_again_with_a_grammar_is_still_one_tool() -> None:
    items = [{"type": "additional_tools", "role": "developer", "tools": [PATCH]}]
    assert sent_names(translate({"type": "custom", "name": "apply_patch"}, items=items)) == ["apply_patch"]


def test_tools_that_nobody_can_run_are_disclosed() -> None:
    """R25: neither a refused request nor silence."""
    call = translate({"type": "web_search"}, {"type": "tool_search", "execution": "client"}, {"type": "web_search"})
    assert "tools" not in call.body
    assert [(d.quirk, d.seen) for d in call.diagnostics] == [("R25", "tool web_search, tool tool_search")]


def test_names_are_changed_only_as_far_as_they_must_be() -> None:
    call = translate(
        function("files.read"), function("files_read"), function("x" * 65), namespace("a", function("b/c"))
    )
    mended, kept, cut, flat = sent_names(call)
    assert kept == "files_read"
    assert mended.startswith("files_read_")
    assert re.fullmatch("x{55}_[0-9a-f]{8}", cut)
    assert flat == "a__b_c"


def test_schema_keywords_an_upstream_does_not_know_are_left_out() -> None:
    schema = {
        "$schema": "x",
        "type": "object",
        "properties": {
            "$schema": {"const": "y"},
            "list": {"type": "array", "items": {"type": "string", "default": ""}},
        },
    }
    rules = ChatRules(schema_keywords=frozenset({"type", "properties", "items", "enum"}))
    call = translate({"type": "function", "name": "f", "parameters": schema}, rules=rules)
    assert call.body["tools"][0]["function"]["parameters"] == {
        "type": "object",
        "properties": {"$schema": {"enum": ["y"]}, "list": {"type": "array", "items": {"type": "string"}}},
    }
    assert call.offered["f"] == schema
    assert quirks(call) == ["Q107"]


# --- tool_choice -----------------------------------------------------------------------------

F = {"type": "function", "function": {"name": "f"}}
NS_G = {"type": "function", "name": "g", "namespace": "ns"}
ONLY_MODES = ChatRules(tool_choices="modes")
ONLY_AUTO = ChatRules(tool_choices="auto")


@pytest.mark.parametrize(
    ("choice", "rules", "sent", "offered", "disclosed"),
    [
        ("auto", None, "auto", ["f", "ns__g"], []),
        ("none", None, "none", ["f", "ns__g"], []),
        ("required", None, "required", ["f", "ns__g"], []),
        ({"type": "function", "name": "f"}, None, F, ["f", "ns__g"], []),
        ({"type": "function", "name": "f"}, ONLY_MODES, "required", ["f"], []),
        ({"type": "function", "name": "f"}, ONLY_AUTO, "auto", ["f"], ["Q105"]),
        ("required", ONLY_AUTO, "auto", ["f", "ns__g"], ["Q105"]),
        ({"type": "function", "name": "nobody"}, None, "auto", ["f", "ns__g"], ["Q105"]),
        ({"type": "web_search"}, None, "auto", ["f", "ns__g"], ["Q105"]),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [NS_G]},
            None,
            "required",
            ["ns__g"],
            [],
        ),
    ],
)  # fmt: skip
def test_the_choice_of_tools(
    choice: Any, rules: ChatRules | None, sent: Any, offered: list[str], disclosed: list[str]
) -> None:
    call = translate(function("f"), namespace("ns", function("g")), tool_choice=choice, rules=rules)
    assert call.body["tool_choice"] == sent
    assert sent_names(call) == list(call.offered) == offered
    assert quirks(call) == disclosed


def test_nothing_about_tools_is_said_without_tools() -> None:
    """Q104, Q106: an empty list, a choice and parallel calls are each refused by somebody."""
    call = translate(tool_choice="required", parallel_tool_calls=True)
    assert not call.body.keys() & {"tools", "tool_choice", "parallel_tool_calls"}
    assert quirks(call) == ["Q104"]


def test_parallel_false_is_kept() -> None:
    assert translate(function("f"), parallel_tool_calls=False).body["parallel_tool_calls"] is False


# --- the way back ----------------------------------------------------------------------------


def started(name: str, block: str = "0.0") -> ToolCallStarted:
    return ToolCallStarted(block=block, call_id="c1", name=name)


def finished(arguments: str, status: Any = "completed", block: str = "0.0") -> ToolCallFinished:
    return ToolCallFinished(block=block, arguments=arguments, status=status)


def test_events_with_nothing_to_restore_are_the_same_list() -> None:
    plain = translate(function("f"))
    events: list[ModelEvent] = [started("f"), ToolCallDelta(block="0.0", arguments="{}"), finished("{}")]
    assert plain.restore(events) is events
    text: list[ModelEvent] = [TextDelta(block="0.0", text="hi")]
    assert translate(PATCH).restore(text) is text


def test_a_namespaced_call_gets_its_namespace_back_and_keeps_its_deltas() -> None:
    call = translate(namespace("ns", function("f")))
    delta, end = ToolCallDelta(block="0.0", arguments="{}"), finished("{}")
    assert call.restore([started("ns__f"), delta, end]) == [
        ToolCallStarted(block="0.0", call_id="c1", name="f", namespace="ns"),
        delta,
        end,
    ]


def test_a_bare_name_means_the_only_namespaced_tool_of_that_name() -> None:
    call = translate(namespace("ns", function("f"), function("g")), namespace("other", function("g")))
    diagnostic, restored = call.restore([started("f")])
    assert isinstance(diagnostic, Diagnostic)
    assert restored == ToolCallStarted(block="0.0", call_id="c1", name="f", namespace="ns")
    assert call.restore([started("g")]) == [started("g")]


def test_a_bare_name_that_is_another_tools_name_on_the_wire_means_that_one() -> None:
    call = translate(namespace("x", function("y")), namespace("n", function("x__y")))
    assert call.restore([started("x__y")]) == [
        ToolCallStarted(block="0.0", call_id="c1", name="y", namespace="x"),
    ]


def test_a_freeform_call_is_custom_and_its_input_comes_whole() -> None:
    """R21 and R23."""
    call = translate(PATCH, function("f"))
    first = call.restore([started("apply_patch"), ToolCallDelta(block="0.0", arguments='{"inp')])
    assert first == [ToolCallStarted(block="0.0", call_id="c1", name="apply_patch", kind="custom")]
    between = [started("f", "0.1"), ToolCallDelta(block="0.1", arguments="{}")]
    assert call.restore(list(between)) == between
    end = TurnFinished(turn=0, finish_reason="tool_calls")
    assert call.restore([finished('{"input": "*** Begin\\n"}'), end]) == [
        ToolCallDelta(block="0.0", arguments="*** Begin\n"),
        finished("*** Begin\n"),
        end,
    ]


P = "*** Begin Patch\n*** End Patch"


@pytest.mark.parametrize(
    "arguments",
    [
        json.dumps({"patch": P}),
        json.dumps({"input": P, "path": "a"}),
        json.dumps({"command": ["apply_patch", P]}),
        json.dumps(P),
        P,
        json.dumps({"input": f"```diff\n{P}\n```"}),
        json.dumps({"input": f"apply_patch <<'EOF'\n{P}\nEOF\n"}),
    ],
)
def test_input_that_a_model_wrapped_its_own_way_is_unwrapped_and_disclosed(arguments: str) -> None:
    """R22."""
    call = translate(PATCH)
    diagnostic, delta, end = call.restore([started("apply_patch"), finished(arguments)])[1:]
    assert isinstance(diagnostic, Diagnostic)
    assert diagnostic.quirk == "R22"
    assert delta == ToolCallDelta(block="0.0", arguments=P)
    assert end == finished(P)


def test_raw_line_breaks_inside_the_json_string_are_no_fault() -> None:
    call = translate(PATCH)
    assert call.restore([started("apply_patch"), finished('{"input": "a\nb"}')])[-1] == finished("a\nb")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("{}", ""),
        ("null", ""),
        ('{"a": 1}', '{"a": 1}'),
        ('{"a": "x", "b": "y"}', '{"a": "x", "b": "y"}'),
        ("[" * 100_000, "[" * 100_000),
    ],
    ids=lambda value: value[:20],
)
def test_input_that_cannot_be_unwrapped_is_given_as_it_came(arguments: str, text: str) -> None:
    call = translate(PATCH)
    assert call.restore([started("apply_patch"), finished(arguments)])[-1] == finished(text)


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_half_an_escaped_character_does_not_break_the_answer(status: str) -> None:
    call = translate(PATCH)
    tail = '"}' if status == "completed" else ""
    *_, end = call.restore([started("apply_patch"), finished('{"input": "a\\ud83d' + tail, status)])
    assert end == finished("a\N{REPLACEMENT CHARACTER}", status)


def test_a_fence_in_free_text_stays() -> None:
    call = translate({"type": "custom", "name": "note"})
    text = "```\ncode\n```"
    assert call.restore([started("note"), finished(json.dumps({"input": text}))])[-1] == finished(text)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [('{"input": "*** Beg', "*** Beg"), ('{"input":"a\\', "a"), ('{"input":"a\\u00e', "a"), ('{"inp', ""), ("", "")],
)
def test_of_a_freeform_call_that_was_cut_remains_what_had_come(arguments: str, text: str) -> None:
    call = translate(PATCH)
    *_, end = call.restore([started("apply_patch"), finished(arguments, "incomplete")])
    assert end == finished(text, "incomplete")
