"""What the shipped entries come to: the request a known model is sent, and how its answer is read."""

import json
from typing import Any

from antiphon.assembly.chat import assemble_chunks
from antiphon.config.dialects import shipped
from antiphon.dialects import Dialect, choose
from antiphon.events import ReasoningDelta, TextDelta, ToolCallFinished
from antiphon.translation import to_chat
from antiphon.wire.responses import decode_request, input_items

USER = {"type": "message", "role": "user", "content": "hi"}
THOUGHT = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "1"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}, "additionalProperties": False}
TOOL = {"type": "function", "name": "f", "parameters": SCHEMA}


def dialect(base_url: str, model: str, *named: str) -> Dialect:
    return choose(shipped(), base_url=base_url, model=model, named=named)


def sent(base_url: str, model: str, *items: Any, **parameters: Any) -> dict[str, Any]:
    request = decode_request(json.dumps({"model": model, "input": [USER, *items], **parameters}).encode())
    return to_chat(request, input_items(request), model=model, dialect=dialect(base_url, model)).body


def roles(body: dict[str, Any]) -> list[str]:
    return [message["role"] for message in body["messages"]]


def test_q100_q101_a_reasoning_model_of_openai_gets_its_own_words() -> None:
    body = sent("https://api.openai.com/v1", "o4-mini", instructions="Be brief.", max_output_tokens=9, temperature=0.5)
    assert (roles(body)[0], body["max_completion_tokens"]) == ("developer", 9)
    assert body.keys().isdisjoint({"max_tokens", "temperature"})


def test_q100_q101_everybody_else_gets_the_common_ones() -> None:
    for base_url in ("https://api.mistral.ai/v1", "http://localhost:8080/v1", "http://elsewhere/v1"):
        body = sent(base_url, "m", instructions="Be brief.", max_output_tokens=9, temperature=0.5)
        assert (roles(body)[0], body["max_tokens"], body["temperature"]) == ("system", 9, 0.5)


def test_q31_mistral_gets_ids_of_nine_letters_and_digits_behind_a_gateway_too() -> None:
    for base_url, model in (("https://api.mistral.ai/v1", "m"), ("http://gateway/v1", "mistralai/devstral-small")):
        calls = sent(base_url, model, CALL, OUTPUT)["messages"][1]["tool_calls"]
        assert len(calls[0]["id"]) == 9


def test_q32_q70_kimi_gets_ids_of_its_own_and_its_reasoning() -> None:
    call = sent("https://api.moonshot.ai/v1", "kimi-k2.5", THOUGHT, CALL, OUTPUT)["messages"][1]
    assert (call["tool_calls"][0]["id"], call["reasoning_content"]) == ("functions.f:0", "hm")
    assert sent("https://api.moonshot.ai/v1", "kimi-k3", CALL, OUTPUT)["messages"][1]["tool_calls"][0]["id"] == "call_1"


def test_q70_q105_deepseek_gets_a_blank_for_lost_reasoning_and_is_not_made_to_call() -> None:
    for base_url in ("https://api.deepseek.com", "https://openrouter.ai/api/v1"):
        body = sent(base_url, "deepseek-v4-flash", CALL, OUTPUT, tools=[TOOL], tool_choice="required")
        assert body["messages"][1]["reasoning_content"] == " "
        assert body["tool_choice"] == "auto"


def test_q71_who_is_not_known_to_want_reasoning_gets_none() -> None:
    assert "reasoning_content" not in sent("http://elsewhere/v1", "m", THOUGHT, CALL, OUTPUT)["messages"][1]


def test_q107_gemini_gets_no_keyword_it_does_not_know() -> None:
    body = sent("https://generativelanguage.googleapis.com/v1beta/openai", "gemini-3-pro", tools=[TOOL])
    assert body["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {"a": {"type": "string"}}}


def test_q102_templates_get_one_system_message_first_and_roles_that_alternate() -> None:
    later = {"type": "message", "role": "system", "content": "Be brief."}
    assert roles(sent("http://elsewhere/v1", "Qwen/Qwen3.6-27B", later, USER)) == ["system", "user", "user"]
    assert roles(sent("http://elsewhere/v1", "google/gemma-3-4b", later, USER)) == ["system", "user"]
    assert roles(sent("http://elsewhere/v1", "m", later, USER)) == ["user", "system", "user"]


# --- answers ---------------------------------------------------------------------------------


def read(spoken: Dialect, **delta: str) -> tuple[str, str, list[str]]:
    """The reasoning, the text and the calls of an answer of one chunk."""
    chunk: Any = {"choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}]}
    events = assemble_chunks([chunk], dialect=spoken, offered={"f": SCHEMA})
    return (
        "".join(event.text for event in events if isinstance(event, ReasoningDelta)),
        "".join(event.text for event in events if isinstance(event, TextDelta)),
        [event.arguments for event in events if isinstance(event, ToolCallFinished)],
    )


def test_q63_where_reasoning_was_renamed_the_new_name_counts() -> None:
    old_first, new_first = dialect("http://elsewhere/v1", "m"), dialect("http://localhost:8000/v1", "m")
    both = {"reasoning_content": "old", "reasoning": "new"}
    assert (read(old_first, **both)[0], read(new_first, **both)[0]) == ("old", "new")


def test_q66_q67_tags_are_reasoning_where_a_model_or_a_setting_says_so() -> None:
    text = "<think>hm</think>so"
    assert read(dialect("http://elsewhere/v1", "MiniMax-M2.5"), content=text) == ("hm", "so", [])
    assert read(dialect("http://elsewhere/v1", "m"), content=text) == ("", text, [])
    prefilled = dialect("http://elsewhere/v1", "m", "thinking/prefilled")
    assert read(prefilled, content="hm</think>so") == ("hm", "so", [])


def test_q27_written_calls_are_calls_only_where_a_setting_says_so() -> None:
    text = '<tool_call>{"name": "f", "arguments": {"a": "b"}}</tool_call>'
    assert read(dialect("http://elsewhere/v1", "qwen3"), content=text) == ("", text, [])
    assert read(dialect("http://elsewhere/v1", "qwen3", "written-calls/hermes"), content=text)[2] == ['{"a":"b"}']
