"""Errors as HTTP: which class of error becomes which status, written once, and the body OpenAI's clients know.

The statuses are chosen by what a client should do next. OpenAI's SDKs try again by themselves on 408, 409, 429 and
5xx, so whatever another try cannot mend has another status: a cassette without an answer is 422. A key that the
*upstream* refuses is 502, as the caller's own key was fine; only under ``--forward-auth``, where it is the caller's, it
is 401.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from antiphon import errors
from antiphon.errors import AntiphonError
from antiphon.events import ErrorInfo

_INVALID = "invalid_request_error"
_SERVER = "server_error"


class Answer(NamedTuple):
    """What an error is to a client: the HTTP status and the ``type`` in the body."""

    status: int
    type: str


STATUS: dict[type[AntiphonError], Answer] = {
    errors.InvalidRequest: Answer(400, _INVALID),
    errors.ModelNotFound: Answer(404, _INVALID),
    errors.RequestTooLarge: Answer(413, _INVALID),
    errors.EgressRefused: Answer(400, _INVALID),
    errors.ConfigError: Answer(500, _SERVER),
    errors.AccessDenied: Answer(401, _INVALID),
    errors.InvalidEvent: Answer(502, _SERVER),
    errors.EventTooLarge: Answer(502, _SERVER),
    errors.TruncatedStream: Answer(502, _SERVER),
    errors.ConnectFailed: Answer(502, _SERVER),
    errors.ReadTimeout: Answer(504, _SERVER),
    errors.ConnectionLost: Answer(502, _SERVER),
    errors.AuthenticationFailed: Answer(502, _SERVER),
    errors.RateLimited: Answer(429, "rate_limit_error"),
    errors.ContextTooLong: Answer(400, _INVALID),
    errors.RequestRejected: Answer(400, _INVALID),
    errors.Unavailable: Answer(503, _SERVER),
    errors.CassetteMissing: Answer(500, _SERVER),
    errors.CassetteCorrupt: Answer(500, _SERVER),
    errors.CassetteVersion: Answer(500, _SERVER),
    errors.CassetteMismatch: Answer(422, _INVALID),
    errors.CassetteExhausted: Answer(422, _INVALID),
    errors.CassetteAmbiguous: Answer(422, _INVALID),
    errors.CassetteUnplayed: Answer(500, _SERVER),
    errors.ToolDiverged: Answer(500, _SERVER),
    errors.ToolFailed: Answer(500, _SERVER),
    errors.NotFound: Answer(404, _INVALID),
    errors.Conflict: Answer(409, _INVALID),
    errors.DuplicateItem: Answer(400, _INVALID),
    errors.StorageFailed: Answer(503, _SERVER),
    errors.StoreLocked: Answer(503, _SERVER),
    errors.SchemaOutOfDate: Answer(500, _SERVER),
    errors.ToolServerError: Answer(424, "external_connector_error"),
    errors.ExtractionError: Answer(400, _INVALID),
    errors.EmbeddingError: Answer(502, _SERVER),
    errors.EmbeddingMismatch: Answer(422, _INVALID),
    errors.IndexDamaged: Answer(500, _SERVER),
    errors.LimitExceeded: Answer(400, _INVALID),
    errors.RunFailed: Answer(500, _SERVER),
}

INTERNAL = Answer(500, _SERVER)

_BY_CODE = {kind.code: kind for kind in STATUS}

# Statuses of an upstream that say more than the table: the caller's request is at fault, and how.
_PASSED_ON = frozenset({402, 403, 404, 413, 415, 422})


class HttpError(NamedTuple):
    """An error as it is answered; ``more_headers`` are those that its status demands."""

    status: int
    type: str
    message: str
    code: str | None
    param: str | None = None
    retry_after_s: float | None = None
    more_headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def body(self) -> bytes:
        """The body, in OpenAI's shape."""
        return error_body(self.message, type=self.type, param=self.param, code=self.code)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that belong to this error alone."""
        headers = [*self.more_headers]
        if self.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if self.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % max(1, math.ceil(self.retry_after_s))))
        return headers


def error_body(message: str, *, type: str, param: str | None = None, code: str | None = None) -> bytes:  # noqa: A002
    """The JSON of an error, in OpenAI's shape."""
    return msgspec.json.encode({"error": {"message": message, "type": type, "param": param, "code": code}})


def unknown_previous(error: errors.NotFound) -> AntiphonError:
    """What is raised where a run cannot begin because something is not found.

    Of a previous response, with OpenAI's status and code: it is the request that is wrong, its URL is not.
    """
    if error.kind != "response":
        return error
    return errors.InvalidRequest(
        f"Previous response with id {error.id!r} not found.",
        param="previous_response_id",
        code="previous_response_not_found",
    )


def from_exception(error: AntiphonError, *, forward_auth: bool = False) -> HttpError:
    """How an error of ours is answered."""
    answer = _answer(type(error), getattr(error, "status", None), forward_auth=forward_auth)
    return HttpError(
        *answer,
        message=error.message,
        code=error.reason if isinstance(error, errors.InvalidRequest) else error.code,
        param="model" if isinstance(error, errors.ModelNotFound) else getattr(error, "param", None),
        retry_after_s=getattr(error, "retry_after_s", None),
    )


def from_failed_run(error: ErrorInfo | None, *, forward_auth: bool = False) -> HttpError:
    """How a run is answered that failed before anybody saw anything of it."""
    if error is None:
        return HttpError(*INTERNAL, message="The run failed without saying why.", code="internal_error")
    answer = _answer(_BY_CODE.get(error.code), error.status, forward_auth=forward_auth)
    return HttpError(*answer, message=error.message, code=error.code, retry_after_s=error.retry_after_s)


def _answer(kind: type[AntiphonError] | None, upstream_status: int | None, *, forward_auth: bool) -> Answer:
    if kind is errors.AuthenticationFailed and forward_auth:
        return STATUS[errors.AccessDenied]
    if kind is errors.RequestRejected and upstream_status in _PASSED_ON:
        return Answer(upstream_status, _INVALID)
    return STATUS.get(kind, INTERNAL) if kind is not None else INTERNAL
