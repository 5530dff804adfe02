"""Quirks Q83 to Q91: all shapes of errors are one."""

import msgspec
import pytest

from antiphon import errors
from antiphon.assembly.errors import CODES, STATUSES, read_error

DATE = "Fri, 20 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"error": {"message": "no", "type": "invalid_request_error", "code": "bad"}}, "no", "bad"),
        ({"error": {"message": "no", "type": "invalid_request_error", "code": None}}, "no", "invalid_request_error"),
        ({"error": {"error": {"message": "no"}}}, "no", None),
        ({"error": "no"}, "no", None),
        ({"error": "Bad Request", "message": "no", "status": 400}, "Bad Request: no", "400"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}, "no", "overloaded_error"),
        ([{"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}], "no", "INVALID_ARGUMENT"),
        ({"object": "error", "message": "no", "type": "invalid", "code": "3280"}, "no", "invalid"),
        ({"object": "error", "message": "no", "code": "3280"}, "no", "3280"),
        ({"detail": "no"}, "no", None),
        ({"detail": [{"loc": ["body", "n"], "msg": "no", "type": "int"}]}, "body.n: no", "invalid_request"),
        ({"detail": {"error": {"message": "no"}}}, "no", None),
        ({"base_resp": {"status_code": 1008, "status_msg": "no"}}, "no", "1008"),
        ({"errors": [{"code": 7003, "message": "no"}], "success": False}, "no", "7003"),
        ({"errors": ["no"]}, "no", None),
        ({"error": {"message": "no", "metadata": {"raw": "why"}}}, "no: why", None),
        ({"message": "no"}, "no", None),
        ("no", "no", None),
    ],
)
def test_q83_to_q89_every_shape_of_error_gives_its_message_and_code(
    body: object, message: str, code: str | None
) -> None:
    for form in (body, msgspec.json.encode(body) if not isinstance(body, str) else body.encode()):
        error = read_error(400, (), form).error
        assert (error.message, error.upstream_code, error.status) == (message, code, 400)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"null", b"[]", b"[[]]", b"5", b"[" * 100_000, {"error": {}}, {"error": 5}, None, object()]
)
def test_an_error_without_words_is_named_by_its_status(body: object) -> None:
    failure = read_error(503, {}, body)
    assert (failure.error.code, failure.retryable) == ("upstream_unavailable", True)
    assert failure.error.message


@pytest.mark.parametrize(
    ("status", "body", "code", "retryable"),
    [
        (401, {}, "upstream_authentication_failed", False),
        (402, {}, "rate_limit_exceeded", False),
        (404, {}, "upstream_rejected_request", False),
        (429, {}, "rate_limit_exceeded", True),
        (
            429,
            {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}},
            "rate_limit_exceeded",
            False,
        ),
        (500, {}, "upstream_unavailable", True),
        (529, {}, "upstream_unavailable", True),
        (400, {"error": {"code": "invalid_api_key", "message": "no"}}, "upstream_authentication_failed", False),
        (None, {"error": {"code": 429, "message": "slow"}}, "rate_limit_exceeded", True),
        (None, {"error": {"message": "no", "status_code": 400}}, "upstream_rejected_request", False),
        (None, {"error": {"message": "no"}}, "upstream_error", True),
        (
            None,
            {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
            "rate_limit_exceeded",
            False,
        ),
        (None, {"base_resp": {"status_code": 1000, "status_msg": "x"}}, "upstream_error", True),
    ],
)
def test_q89_the_kind_comes_from_words_and_status_and_a_number_in_a_body_is_no_status(
    status: int | None, body: object, code: str, retryable: bool
) -> None:
    failure = read_error(status, (), body)
    assert (failure.error.code, failure.retryable, failure.error.status) == (code, retryable, status)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "20"}, {}, 20),
        ({"retry-after": "1.5"}, {}, 1.5),
        ({"retry-after": "0"}, {}, 0),
        ({"retry-after": "Fri, 20 Nov 2026 10:00:30 GMT", "date": DATE}, {}, 30),
        ({"retry-after": "Fri, 20 Nov 2026 09:00:00 GMT", "date": DATE}, {}, 0),
        ({"retry-after": "Fri, 20 Nov 2026 10:00:30 GMT"}, {}, None),
        ({"retry-after-ms": "250", "retry-after": "1"}, {}, 0.25),
        ({"x-ratelimit-reset-requests": "2m59.5s"}, {}, 179.5),
        ({"x-ratelimit-reset-tokens": "120ms", "x-ratelimit-reset-requests": "1s"}, {}, 1),
        (
            {
                "x-ratelimit-remaining-requests": "7",
                "x-ratelimit-reset-requests": "1h",
                "x-ratelimit-reset-tokens": "6s",
            },
            {},
            6,
        ),
        ({"x-ratelimit-reset": "1795168830000", "date": DATE}, {}, 30),
        ({"x-ratelimit-reset": "1795168830", "date": DATE}, {}, 30),
        ({"x-ratelimit-reset": "12"}, {}, 12),
        ({}, {"error": {"message": "slow", "details": [{"@type": "RetryInfo", "retryDelay": "7s"}]}}, 7),
        ({}, [{"error": {"message": "slow", "details": [{"retryDelay": "7.5s"}]}}], 7.5),
        ({}, {"error": {"message": "Limit reached. Please try again in 7m12s. Visit"}}, 432),
        ({}, {"error": {"message": "Please retry in 3.25s."}}, 3.25),
        ({}, {"error": {"message": "Retry after 20 seconds"}}, 20),
        ({}, {"error": {"message": "try again in 180ms"}}, 0.18),
        ({"retry-after": "999999"}, {}, 3600),
        ({"retry-after": "NaN"}, {}, None),
        ({"retry-after": "-5"}, {}, None),
        ({"retry-after": "soon"}, {}, None),
        ({}, {"error": {"message": "the model has 3 seconds of audio"}}, None),
    ],
)
def test_q90_the_wait_is_read_in_all_its_forms(headers: dict[str, str], body: object, seconds: float | None) -> None:
    wait = read_error(429, headers, body).error.retry_after_s
    assert wait == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
        "Range of input length should be [1, 30720]",
        "the request exceeds the available context size, try increasing it",
        "The context window of this model was exceeded.",
        "Input exceeds the maximum allowed input length",
        "Input is too long for requested model.",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).",
        "Please reduce the length of the messages or completion.",
        "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
    ],
)
def test_q91_a_context_overflow_is_recognised_whatever_the_status(message: str) -> None:
    for status in (None, 400, 413, 500):
        failure = read_error(status, (), {"error": {"message": message, "code": "400"}})
        assert (failure.error.code, failure.retryable) == (errors.ContextTooLong.code, False)


@pytest.mark.parametrize("code", ["context_length_exceeded", "exceed_context_size_error"])
def test_q91_a_context_overflow_is_recognised_by_its_code(code: str) -> None:
    assert read_error(400, (), {"error": {"message": "no", "code": code}}).error.code == errors.ContextTooLong.code
    assert read_error(400, (), {"error": {"message": "no", "type": code}}).error.code == errors.ContextTooLong.code


@pytest.mark.parametrize(
    "message",
    [
        "Too many tokens, please wait before trying again.",
        "Rate limit reached: please reduce the length of the messages",
        "Request too large, please reduce the length of the messages: limit of tokens per minute reached",
        "ThrottlingException: input is too long to be served now",
    ],
)
def test_q91_a_limit_of_tokens_per_minute_is_no_context_overflow(message: str) -> None:
    for status in (None, 400, 429):
        failure = read_error(status, (), {"error": {"message": message}})
        assert (failure.error.code, failure.retryable) == (errors.RateLimited.code, True)


def test_q90_a_quota_is_worth_a_retry_only_where_the_upstream_says_when() -> None:
    message = "You exceeded your current quota, please check your plan."
    assert not read_error(429, (), {"error": {"message": message}}).retryable
    assert read_error(429, (), {"error": {"message": message, "details": [{"retryDelay": "7s"}]}}).retryable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<html><head><title>502 Bad Gateway</title></head><body>203.0.113.9</body></html>", "502 Bad Gateway"),
        ("<html><body><style>p{}</style><p>No\n way</p></body></html>", "No way"),
        ("from 10.1.2.3 and 2001:db8:0:0:0:0:2:1 and fe80::1", "from [address] and [address] and [address]"),
        ("Incorrect API key provided: sk-abcdefghijkl1234.", "Incorrect API key provided: [key]"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [key]"),
        ("at 10:15:30 the ratio was 3:4", "at 10:15:30 the ratio was 3:4"),
    ],
)
def test_q86_a_message_shows_no_page_no_address_and_no_key(text: str, shown: str) -> None:
    assert read_error(502, (), text.encode()).error.message == shown


def test_q86_a_message_is_never_long() -> None:
    assert len(read_error(500, (), b"word " * 100_000).error.message) <= 500


def test_every_kind_in_the_tables_has_a_code_of_ours() -> None:
    codes = {errors.ProviderError.code, *(leaf.code for leaf in errors.ProviderError.__subclasses__())}
    assert {kind.error.code for kind in (*CODES.values(), *STATUSES.values())} <= codes
    assert all(code == code.lower() for code in CODES)
