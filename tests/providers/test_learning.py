"""What refusals teach: each lesson by the words in which upstreams were seen to say it, and what teaches nothing."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from antiphon.dialects import ChatRules
from antiphon.providers.learning import LESSONS, learn

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}, "strict": False}}
BODY: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "developer", "content": "be brief"},
        {"role": "assistant", "content": "a", "reasoning_content": "hm", "reasoning_details": []},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "1"}]},
    ],
    "stream_options": {"include_usage": True},
    "max_tokens": 5,
    "tools": [TOOL],
    "tool_choice": "required",
    "parallel_tool_calls": True,
    "temperature": 0.5,
    "user": "ada",
}
NEW_NAME = {key: value for key, value in BODY.items() if key != "max_tokens"} | {"max_completion_tokens": 5}
RULES = ChatRules(developer_role="developer", tool_content="parts", echo_reasoning="allow", echo_details=True)
KEYWORDS = frozenset({"type", "const", "additionalProperties", "$schema"})


def openai(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **fields}}


def forbidden(*loc: str) -> dict[str, Any]:
    return {"type": "extra_forbidden", "loc": ["body", *loc], "msg": "Extra inputs are not permitted", "input": BODY}


def taught(answer: Any, body: dict[str, Any] = BODY, status: int = 400, rules: ChatRules = RULES) -> dict[str, Any]:
    said = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    learned = learn(status, said, body, rules)
    return learned.rules if learned else {}


# A request of the Responses API.
NATIVE: dict[str, Any] = {
    "include": ["reasoning.encrypted_content"],
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"verbosity": "low"},
    "tools": [{"type": "function", "name": "f", "strict": False}],
}


@pytest.mark.parametrize(
    ("words", "param", "learned"),
    [
        ("Encrypted content is not supported with this model.", "include", {"refuses": {"include"}}),
        ("Unsupported parameter: 'reasoning.effort'.", "reasoning.effort", {"refuses": {"reasoning_effort"}}),
        ("Unsupported parameter: 'reasoning.summary'.", "reasoning.summary", {"refuses": {"reasoning_summary"}}),
        ("Unknown parameter: 'text.verbosity'.", "text.verbosity", {"refuses": {"verbosity"}}),
        ("Unknown parameter: 'tools[0].strict'.", "tools[0].strict", {"strict_tools": False}),
        ("Unsupported parameter: 'seed'.", "seed", {}),
    ],
)
def test_q106_what_the_responses_api_has_within_another_parameter_is_learned(
    words: str, param: str, learned: dict[str, Any]
) -> None:
    assert taught(openai(words, param=param), NATIVE) == learned


# The quirk and how it is told, what the upstream says, what follows.
SEEN: list[tuple[str, Any, dict[str, Any]]] = [
    ("q80_named_in_words", openai("Extra inputs are not permitted, field: 'stream_options'"), {"include_usage": False}),
    ("q80_named_by_its_place", {"detail": [forbidden("stream_options")]}, {"include_usage": False}),
    ("q80_in_plain_text", b"stream_options is not supported", {"include_usage": False}),
    (
        "q100_the_new_name_instead",
        openai("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."),
        {"max_tokens_key": "max_completion_tokens"},
    ),
    (
        "q101_not_one_of_the_roles",
        openai("developer is not one of ['system', 'assistant', 'user'] - 'messages.0.role'"),
        {"developer_role": "system"},
    ),
    (
        "q101_a_role_that_is_no_option",
        openai('Invalid option: expected one of "user"|"assistant" at "messages[0].role"'),
        {"developer_role": "system"},
    ),
    ("q102_the_beginning", openai("System message must be at the beginning."), {"system_messages": "hoist"}),
    (
        "q102_alternation",
        openai("Conversation roles must alternate user/assistant/user/assistant/..."),
        {"system_messages": "hoist", "merge_users": True},
    ),
    (
        "q103_a_string_expected",
        {"detail": [{"loc": ["body", "messages", 2, "content"], "msg": "str type expected"}]},
        {"tool_content": "text"},
    ),
    ("q105_this_tool_choice", openai("Thinking mode does not support this tool_choice"), {"tool_choices": "auto"}),
    (
        "q105_required_or_object",
        openai("The tool_choice parameter does not support being set to required or object in thinking mode"),
        {"tool_choices": "auto"},
    ),
    (
        "q106_one_parameter",
        openai("Unsupported parameter: 'parallel_tool_calls'"),
        {"refuses": {"parallel_tool_calls"}},
    ),
    (
        "q106_no_value_but_the_default",
        openai("Unsupported value: 'temperature' does not support 0.5 with this model."),
        {"refuses": {"temperature"}},
    ),
    (
        "q106_two_parameters",
        {"detail": [forbidden("user"), forbidden("temperature")]},
        {"refuses": {"user", "temperature"}},
    ),
    ("q106_strict", openai("tools.0.function.strict: Extra inputs are not permitted"), {"strict_tools": False}),
    (
        "q107_an_unknown_name",
        [
            openai(
                "Unknown name \"additionalProperties\" at 'tools[0].function_declarations[0].parameters': Cannot find"
            )
        ],
        {"schema_keywords": KEYWORDS - {"additionalProperties"}},
    ),
    (
        "q31_nine_letters_and_digits",
        {
            "object": "error",
            "message": "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.",
            "code": "3280",
        },
        {"call_ids": "alphanumeric_9"},
    ),
    (
        "q34_forty_characters",
        openai("Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40."),
        {"max_call_id_length": 40},
    ),
    (
        "q70_passed_back",
        openai("The `reasoning_content` in the thinking mode must be passed back to the API."),
        {"echo_reasoning": "require"},
    ),
    (
        "q70_missing",
        openai("thinking is enabled but reasoning_content is missing in assistant tool call message at index 2"),
        {"echo_reasoning": "require"},
    ),
    (
        "q70_missing_in_a_message",
        openai("Missing `reasoning_content` field in the assistant message"),
        {"echo_reasoning": "require"},
    ),
    ("q71_remove", openai("please remove reasoning_content from the messages"), {"echo_reasoning": "forbid"}),
    (
        "q71_details_not_permitted",
        {"detail": [forbidden("messages", "1", "reasoning_details")]},
        {"echo_details": False},
    ),
]


@pytest.mark.parametrize(("name", "answer", "expected"), SEEN, ids=[name for name, _, _ in SEEN])
@pytest.mark.parametrize("status", [400, 422])
def test_a_refusal_teaches_what_it_names_and_nothing_else(
    name: str, answer: Any, expected: dict[str, Any], status: int
) -> None:
    learned = learn(
        status,
        answer if isinstance(answer, bytes) else json.dumps(answer).encode(),
        BODY,
        replace(RULES, schema_keywords=KEYWORDS),
    )
    assert learned is not None
    assert learned.rules == expected
    assert [lesson.quirk for lesson in learned.lessons] == [name.partition("_")[0].upper()]


@pytest.mark.parametrize(
    "name",
    [
        *("parallel_tool_calls", "reasoning_effort", "verbosity", "chat_template_kwargs", "seed", "user"),
        *("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"),
        *("logit_bias", "logprobs", "top_logprobs"),
        *("safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier"),
    ],
)
def test_q106_a_parameter_the_answer_does_not_depend_on_is_left_out(name: str) -> None:
    assert taught(openai(f"Unknown parameter: '{name}'"), BODY | {name: 1}) == {"refuses": {name}}


@pytest.mark.parametrize("name", ["response_format", "stop", "tools", "messages", "n"])
def test_q106_a_parameter_that_changes_the_question_never_is(name: str) -> None:
    assert taught(openai(f"Unknown parameter: '{name}'"), BODY | {name: BODY.get(name)}) == {}


def test_every_lesson_was_seen() -> None:
    assert {lesson.quirk for lesson in LESSONS} == {name.partition("_")[0].upper() for name, _, _ in SEEN}


def test_a_server_of_the_old_name_teaches_it_even_inside_an_error_within_an_error() -> None:
    answer = {
        "object": "error",
        "message": {"detail": [forbidden("max_completion_tokens")]},
        "type": "invalid_request_error",
    }
    assert taught(answer, NEW_NAME, 422, ChatRules(max_tokens_key="max_completion_tokens")) == {
        "max_tokens_key": "max_tokens"
    }


def test_several_things_named_at_once_are_learned_at_once() -> None:
    answer = {"detail": [forbidden("stream_options"), forbidden("parallel_tool_calls")]}
    assert taught(answer) == {"include_usage": False, "refuses": {"parallel_tool_calls"}}


def test_what_was_refused_before_stays_refused() -> None:
    rules = ChatRules(refuses=frozenset({"seed"}))
    assert taught(openai("Unknown parameter: 'user'"), rules=rules) == {"refuses": {"seed", "user"}}


def test_one_function_alone_is_first_tried_as_any_function() -> None:
    named = BODY | {"tool_choice": {"type": "function", "function": {"name": "f"}}}
    answer = openai("tool_choice: unexpected object, string is supported")
    assert taught(answer, named) == {"tool_choices": "modes"}


def test_a_choice_that_goes_without_saying_is_left_out_where_it_is_refused() -> None:
    answer = openai("deepseek-reasoner does not support this tool_choice")
    assert taught(answer, BODY | {"tool_choice": "auto"}) == {"refuses": {"tool_choice"}}


def test_without_a_list_of_keywords_those_of_json_schema_remain() -> None:
    answer = openai(
        "Unknown name \\\"const\\\" at \\'request.tools[0].function_declarations[5].parameters\\': Cannot find"
    )
    keywords = taught(answer)["schema_keywords"]
    assert {"properties", "$ref", "nullable"} < keywords
    assert "const" not in keywords


@pytest.mark.parametrize("status", [400, 422, 500])
def test_templates_are_told_of_as_failures_of_the_server_too(status: int) -> None:
    assert taught(openai("Jinja Exception: System message must be at the beginning."), status=status)


@pytest.mark.parametrize("status", [401, 403, 404, 413, 429, 500, 503])
def test_other_statuses_teach_nothing(status: int) -> None:
    assert not taught(openai("Unknown parameter: 'stream_options'"), status=status)


@pytest.mark.parametrize(
    "answer",
    [
        openai(
            "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context length is 4096"
        ),
        openai("max_tokens must be at most 8192"),
        openai("temperature must be between 0 and 2"),
        openai("Unsupported parameter: 'seed'"),  # not sent
        openai("Unsupported parameter: 'response_format'"),
        openai("Invalid 'messages[1].name'"),
        openai("Your request was rejected by the safety system. tool_choice"),
        openai('"auto" tool choice requires --enable-auto-tool-choice'),
        openai("The user_agent is not supported"),
        {"detail": [{"msg": "Field required", "loc": ["body", "model"], "input": {"stream_options": {}}}]},
        b"",
        b"\xff\xfe",
        b"<html>stream is unsupported</html>",
        b"[" * 100_000,
        b"tool_call_id content reasoning_content " * 5_000,
    ],
)
def test_other_words_teach_nothing(answer: Any) -> None:
    assert taught(answer) == {}


def test_requests_of_any_form_can_be_learned_from() -> None:
    """A client's own chat request may hold what ours never do."""
    odd = {"messages": [{"role": "tool"}, "hi"], "tools": [{"type": "custom"}], "stream_options": None}
    assert taught(openai("Unknown parameter: stream_options; content must be str"), odd) == {"include_usage": False}
    assert taught(openai("Unknown parameter"), {"messages": None, "tools": None}) == {}


def test_what_is_known_already_is_no_lesson() -> None:
    assert taught(openai("Unknown parameter: stream_options"), rules=ChatRules(include_usage=False)) == {}
