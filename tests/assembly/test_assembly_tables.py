"""Each row of the tables that are only words: what it stands for, said a second time."""

from typing import Any

import pytest
from assembly_streams import STOP, call, calls, chunk, failed, finished, quirks, stream, told_calls

from antiphon.assembly.errors import read_error
from antiphon.events import TextFinished, TextStarted, Usage

STOPS = ("STOP", "eos", "EOS_TOKEN", "end_turn", "stop_sequence", "complete")
LENGTHS = ("LENGTH", "max_tokens", "model_length", "model_context_window_exceeded")
FILTERS = ("CONTENT_FILTER", "sensitive", "safety", "recitation", "guardrail_intervened")
CALLS = ("TOOL_CALLS", "tool_call", "tool_use", "function_call")

AUTH, RATE = "upstream_authentication_failed", "rate_limit_exceeded"
CONTEXT, REJECTED, DOWN = "context_length_exceeded", "upstream_rejected_request", "upstream_unavailable"
# What it becomes, and whether another try may help -> the words of upstreams.
CODES: dict[tuple[str, bool], str] = {
    (CONTEXT, False): "context_length_exceeded exceed_context_size_error model_max_prompt_tokens_exceeded",
    (AUTH, False): (
        "invalid_api_key incorrect_api_key authentication_error invalid_authentication_error unauthorized"
        " UNAUTHENTICATED permission_error PERMISSION_DENIED"
    ),
    (RATE, False): (
        "insufficient_quota billing_hard_limit_reached insufficient_balance insufficient_credits payment_required"
        " exceeded_current_quota_error"
    ),
    (RATE, True): (
        "rate_limit_exceeded rate_limit_error rate_limited rate_limit_reached_error too_many_requests"
        " RESOURCE_EXHAUSTED Throttling ThrottlingException tokens requests"
    ),
    (DOWN, True): (
        "overloaded_error overloaded server_error internal_error internal_server_error InternalServerError api_error"
        " service_unavailable UNAVAILABLE engine_overloaded_error timeout bad_gateway"
    ),
    (REJECTED, False): (
        "invalid_request_error invalid_request INVALID_ARGUMENT BadRequestError bad_request model_not_found"
        " not_found_error tool_use_failed content_policy_violation content_filter"
    ),
}
STATUSES = {
    401: (AUTH, False),
    403: (AUTH, False),
    402: (RATE, False),
    429: (RATE, True),
    498: (RATE, True),
    408: (DOWN, True),
    425: (DOWN, True),
    500: (DOWN, True),
    529: (DOWN, True),
    400: (REJECTED, False),
    404: (REJECTED, False),
    409: (REJECTED, True),
}


@pytest.mark.parametrize("word", [*STOPS, *LENGTHS, *FILTERS])
def test_q45_every_word_for_the_end_is_understood(word: str) -> None:
    reason = "stop" if word in STOPS else "length" if word in LENGTHS else "content_filter"
    events = stream(chunk({"content": "a"}, word))
    assert finished(events).finish_reason == reason
    [text] = [event.status for event in events if isinstance(event, TextFinished)]
    assert text == ("completed" if reason == "stop" else "incomplete")


@pytest.mark.parametrize("word", CALLS)
def test_q45_every_word_for_calls_is_understood(word: str) -> None:
    assert finished(stream(calls(call(0, "a", "f", "{}")), chunk(finish=word))).finish_reason == "tool_calls"


@pytest.mark.parametrize("word", ["ERROR", "network_error", "malformed_function_call"])
def test_q45_every_word_for_an_error_is_understood(word: str) -> None:
    assert failed(stream(chunk({"content": "a"}, word))).error.code == "upstream_error"


def test_q45_an_error_of_another_choice_cuts_only_that() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "b"}, "finish_reason": "error"}]}
    events = stream(chunk({"content": "a"}, "stop"), other)
    choice = {event.block: event.choice for event in events if isinstance(event, TextStarted)}
    assert {choice[event.block]: event.status for event in events if isinstance(event, TextFinished)} == {
        0: "completed",
        1: "incomplete",
    }


@pytest.mark.parametrize(
    ("code", "expected"), [(code, expected) for expected, codes in CODES.items() for code in codes.split()]
)
def test_q89_every_code_says_what_it_is(code: str, expected: tuple[str, bool]) -> None:
    failure = read_error(None, (), {"error": {"message": "no", "code": code}})
    assert (failure.error.code, failure.retryable) == expected


@pytest.mark.parametrize(("status", "expected"), STATUSES.items())
def test_q89_every_status_says_what_it_is_where_nothing_else_does(status: int, expected: tuple[str, bool]) -> None:
    failure = read_error(status, (), b"")
    assert (failure.error.code, failure.retryable) == expected


@pytest.mark.parametrize("what", ["balance", "credit", "quota", "funds"])
def test_q90_no_money_left_is_worth_no_other_try(what: str) -> None:
    failure = read_error(None, (), {"error": {"message": f"Insufficient {what} on this account"}})
    assert (failure.error.code, failure.retryable) == (RATE, False)


@pytest.mark.parametrize("key", ["service_tier", "system_fingerprint", "provider"])
def test_q57_what_is_said_on_every_chunk_is_what_was_said_first(key: str) -> None:
    events = stream(chunk({"content": "a"}, **{key: ""}), chunk(**{key: "one"}), {**STOP, key: "other"})
    assert finished(events).provider_data == {key: "one"}


def test_q57_what_is_read_or_means_nothing_is_not_kept() -> None:
    nothing = {"object": "chat.completion.chunk", "created": 7, "obfuscation": "x", "error": "", "usage": {"a": 1}}
    assert finished(stream(chunk({"content": "a"}, "stop", **nothing))).provider_data == {}


@pytest.mark.parametrize(
    ("usage", "field"),
    [
        ({"prompt_tokens": 7}, "input_tokens"),
        ({"input_tokens": 7}, "input_tokens"),
        ({"completion_tokens": 7}, "output_tokens"),
        ({"output_tokens": 7}, "output_tokens"),
        ({"prompt_tokens_details": {"cached_tokens": 7}}, "cached_tokens"),
        ({"input_tokens_details": {"cached_tokens": 7}}, "cached_tokens"),
        ({"prompt_cache_hit_tokens": 7}, "cached_tokens"),
        ({"cached_tokens": 7}, "cached_tokens"),
        ({"cache_read_input_tokens": 7}, "cached_tokens"),
        ({"completion_tokens_details": {"reasoning_tokens": 7}}, "reasoning_tokens"),
        ({"output_tokens_details": {"reasoning_tokens": 7}}, "reasoning_tokens"),
        ({"reasoning_tokens": 7}, "reasoning_tokens"),
        ({"total_tokens": 7}, "total_tokens"),
    ],
)
def test_q81_every_place_of_a_count_is_read(usage: dict[str, Any], field: str) -> None:
    seen = finished(stream(chunk({"content": "a"}, "stop", usage=usage))).usage
    assert isinstance(seen, Usage)
    assert getattr(seen, field) == 7


def test_q08_pieces_without_a_name_follow_their_index_before_any_call_is_announced() -> None:
    waiting = [calls(call(index, f"c{index}", name="get")) for index in (0, 1)]
    rest = [calls(call(0, args="{}")), calls(call(1, args="{}"))]
    events = stream(*waiting, *rest, STOP, offered={"get": {}, "get_time": {}})
    assert told_calls(events) == [("get", "{}", "completed")] * 2
    assert quirks(events) == {"Q37"}
