import json
import re
from pathlib import Path

import pytest

from antiphon import errors
from antiphon.errors import AntiphonError
from antiphon.events import ErrorInfo
from antiphon.server.errors import STATUS, error_body, from_exception, from_failed_run

# What OpenAI's SDKs try again by themselves.
RETRIED = {408, 409, 429, *range(500, 600)}


def leaves(kind: type[AntiphonError] = AntiphonError) -> list[type[AntiphonError]]:
    below = [leaf for sub in kind.__subclasses__() for leaf in leaves(sub)]
    return below or [kind]


def example(kind: type[AntiphonError]) -> AntiphonError:
    """One error of each kind, however it is built."""
    if issubclass(kind, errors.ProviderError):
        return kind("no", status=400)
    special = {
        errors.EventTooLarge: lambda: errors.EventTooLarge(10),
        errors.NotFound: lambda: errors.NotFound("response", "resp_1"),
        errors.ToolServerError: lambda: errors.ToolServerError("docs", "no"),
        errors.LimitExceeded: lambda: errors.LimitExceeded("turns", "too many"),
        errors.ExtractionError: lambda: errors.ExtractionError("empty_file", "no"),
    }
    return special.get(kind, lambda: kind("no"))()


@pytest.mark.parametrize("kind", leaves(), ids=lambda kind: kind.__name__)
def test_every_leaf_has_a_status_and_a_body_in_the_one_shape(kind: type[AntiphonError]) -> None:
    error = from_exception(example(kind))
    assert error.status == STATUS[kind].status
    assert 400 <= error.status < 600
    body = json.loads(error.body)["error"]
    assert list(body) == ["message", "type", "param", "code"]
    assert body["message"]
    assert body["code"] == kind.code


def test_the_table_holds_leaves_only() -> None:
    assert set(STATUS) == set(leaves())


@pytest.mark.parametrize("kind", leaves(), ids=lambda kind: kind.__name__)
def test_a_run_that_failed_unseen_is_answered_as_its_error_would_be(kind: type[AntiphonError]) -> None:
    error = example(kind)
    told = from_failed_run(ErrorInfo(code=kind.code, message=error.message))
    assert (told.status, told.type, told.message) == from_exception(error)[:3]


@pytest.mark.parametrize("kind", [errors.CassetteMismatch, errors.CassetteExhausted, errors.RequestRejected])
def test_what_another_try_cannot_mend_is_not_tried_again(kind: type[AntiphonError]) -> None:
    assert STATUS[kind].status not in RETRIED


def test_a_full_queue_says_when_to_come_back_in_whole_seconds() -> None:
    error = from_exception(errors.RateLimited("slow down", status=429, retry_after_s=1.2))
    assert (error.status, error.headers) == (429, [(b"retry-after", b"2")])


def test_a_key_the_upstream_refuses_is_the_callers_own_only_when_it_was_forwarded() -> None:
    refused = errors.AuthenticationFailed("bad key", status=401)
    info = ErrorInfo(code=refused.code, message="bad key", status=401)
    assert (from_exception(refused).status, from_failed_run(info).status) == (502, 502)
    assert from_exception(refused, forward_auth=True).status == 401
    assert from_failed_run(info, forward_auth=True).status == 401


def test_an_upstreams_own_word_on_the_request_is_passed_on() -> None:
    assert from_exception(errors.RequestRejected("no such model", status=404)).status == 404
    assert from_exception(errors.RequestRejected("a teapot", status=418)).status == 400


def test_a_refused_parameter_is_named_with_its_own_code() -> None:
    error = from_exception(errors.InvalidRequest("wrong", param="input[0].role", code="invalid_type"))
    assert (error.param, error.code) == ("input[0].role", "invalid_type")
    assert from_exception(errors.ModelNotFound("gpt-9")).param == "model"


def test_a_failure_with_a_code_of_no_class_is_ours() -> None:
    assert from_failed_run(ErrorInfo(code="interrupted", message="stopped")).status == 500
    assert from_failed_run(None).status == 500


def test_absent_fields_are_null_not_left_out() -> None:
    assert json.loads(error_body("no", type="server_error")) == {
        "error": {"message": "no", "type": "server_error", "param": None, "code": None}
    }


def test_the_page_on_serving_has_every_code_with_its_status() -> None:
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    told = {
        code: int(row[1])
        for row in re.finditer(r"^\| (\d{3}) \| ([^|]+) \|", page, re.MULTILINE)
        for code in re.findall(r"`(\w+)`", row[2])
    }
    assert told == {kind.code: answer.status for kind, answer in STATUS.items()} | {
        "internal_error": 500,
        "server_stopping": 503,
    }
