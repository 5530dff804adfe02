"""Every error of the project, divided by whose doing it is, then by what a caller can do.

    AntiphonError
    ├─ UsageError                 you called us wrongly; the message shows the value
    │   ├─ InvalidRequest         a request body or parameter (``param`` names it)
    │   ├─ ModelNotFound          no upstream answers to that model name
    │   ├─ RequestTooLarge        a request outgrew a limit of ours
    │   ├─ EgressRefused          an address that a request may not make us connect to
    │   └─ ConfigError            a flag, a variable, a line of antiphon.toml
    ├─ AccessDenied               the caller's key is missing or wrong
    ├─ ProtocolError              the upstream's bytes are not what the protocol allows
    │   ├─ InvalidEvent           not JSON, or not an event
    │   ├─ EventTooLarge          one event outgrew the limit
    │   └─ TruncatedStream        it stopped without saying that it was done
    ├─ TransportError             nothing usable came back
    │   ├─ ConnectFailed          no connection
    │   ├─ ReadTimeout            connected, then silence
    │   └─ ConnectionLost         cut while the answer was coming
    ├─ ProviderError              the upstream answered no
    │   ├─ AuthenticationFailed   it refused our key
    │   ├─ RateLimited            too many requests, or no quota
    │   ├─ ContextTooLong         the input does not fit the model
    │   ├─ RequestRejected        any other 4xx
    │   └─ Unavailable            5xx, overloaded
    ├─ CassetteError              a recording cannot be read, written or matched
    │   ├─ CassetteMissing        no such file
    │   ├─ CassetteCorrupt        unreadable at a named line
    │   ├─ CassetteVersion        written by a newer format
    │   ├─ CassetteMismatch       no recorded answer for this request (shows the nearest)
    │   ├─ CassetteExhausted      every recorded answer was already given
    │   ├─ CassetteAmbiguous      several recorded answers fit, and nothing says which
    │   ├─ CassetteUnplayed       a recorded answer was never asked for
    │   ├─ ToolDiverged           a tool gave live what it had not given when recorded
    │   └─ ToolFailed             a recorded tool call ended in an error of a class that is not known here
    ├─ ToolServerError            a server of tools cannot be reached, or says no
    ├─ StoreError
    │   ├─ NotFound               no such object for this owner
    │   ├─ Conflict               the object is not in a state that allows this
    │   ├─ DuplicateItem          the conversation has an item of that id
    │   ├─ StorageFailed          the bytes of a file cannot be written or read
    │   ├─ StoreLocked            another process holds the data directory
    │   └─ SchemaOutOfDate        the database was written by a newer version
    ├─ RetrievalError             files cannot be indexed or searched
    │   ├─ ExtractionError        a file has no text that can be read (``reason`` says why)
    │   ├─ EmbeddingError         the upstream's answer holds no usable embeddings
    │   ├─ EmbeddingMismatch      vectors of another model, or of another length, than the index has
    │   └─ IndexDamaged           the chunks of an index cannot be read
    ├─ LimitExceeded              a run outgrew one of its limits (``limit`` names it)
    └─ RunFailed                  an agent's run has no answer (``result`` says how far it came)

Every leaf has a stable ``code``. Which HTTP status a leaf becomes is written in one table, in
``antiphon.server.errors``. Failures and refusals of tools are results, not exceptions.
"""

from __future__ import annotations

from typing import Any, ClassVar


class AntiphonError(Exception):
    """Base of everything the project raises on purpose."""

    code: ClassVar[str] = "error"

    @property
    def message(self) -> str:
        """What happened, with which value, and what to do, as one sentence or two."""
        return str(self)


# --- you called us wrongly -------------------------------------------------------------------


class UsageError(AntiphonError):
    """You called us wrongly; the message shows the value."""

    code = "usage_error"


class InvalidRequest(UsageError):
    """A request body or parameter is not acceptable; ``param`` is its path, such as ``input[0].role``."""

    code = "invalid_request"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.reason = code or self.code


class ModelNotFound(UsageError):
    """No upstream answers to that model name."""

    code = "model_not_found"

    def __init__(self, model: str, *, known: tuple[str, ...] = ()) -> None:
        hint = f" Known models: {', '.join(known[:20])}." if known else ""
        super().__init__(f"The model {model!r} does not exist here.{hint}")
        self.model = model
        self.known = known


class RequestTooLarge(UsageError):
    """A request outgrew a limit of ours."""

    code = "request_too_large"


class EgressRefused(UsageError):
    """A URL leads to an address that a request may not make us connect to."""

    code = "egress_refused"


class ConfigError(UsageError):
    """A flag, a variable or a line of antiphon.toml is wrong."""

    code = "config_error"


class AccessDenied(AntiphonError):
    """The caller's key is missing or wrong."""

    code = "invalid_api_key"


# --- the upstream's bytes --------------------------------------------------------------------


class ProtocolError(AntiphonError):
    """The upstream's bytes are not what the protocol allows."""

    code = "upstream_protocol_error"


class InvalidEvent(ProtocolError):
    """Not JSON, or not an event."""

    code = "invalid_event"


class EventTooLarge(ProtocolError):
    """One server-sent event outgrew the limit."""

    code = "event_too_large"

    def __init__(self, max_event_bytes: int) -> None:
        super().__init__(
            f"A server-sent event is larger than the limit of {max_event_bytes:,} bytes."
            " Raise max_event_bytes if the upstream really sends such events."
        )
        self.max_event_bytes = max_event_bytes


class TruncatedStream(ProtocolError):
    """The stream stopped without saying that it was done."""

    code = "truncated_stream"


# --- the way there ---------------------------------------------------------------------------


class TransportError(AntiphonError):
    """Nothing usable came back. Always worth another try, if nothing was shown yet."""

    code = "upstream_unreachable"


class ConnectFailed(TransportError):
    """No connection to the upstream."""

    code = "upstream_connect_failed"


class ReadTimeout(TransportError):
    """Connected, then silence."""

    code = "upstream_timeout"


class ConnectionLost(TransportError):
    """The connection was cut while the answer was coming."""

    code = "upstream_connection_lost"


# --- the upstream answered no ----------------------------------------------------------------


class ProviderError(AntiphonError):
    """The upstream answered no. ``status`` is its HTTP status; ``upstream_code`` its own word for it."""

    code = "upstream_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        status: int,
        upstream_code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.upstream_code = upstream_code
        self.retry_after_s = retry_after_s


class AuthenticationFailed(ProviderError):
    """The upstream refused our key."""

    code = "upstream_authentication_failed"


class RateLimited(ProviderError):
    """Too many requests, or no quota."""

    code = "rate_limit_exceeded"
    retryable = True


class ContextTooLong(ProviderError):
    """The input does not fit the model's context."""

    code = "context_length_exceeded"


class RequestRejected(ProviderError):
    """The upstream refused the request for any other reason of the caller's (4xx)."""

    code = "upstream_rejected_request"


class Unavailable(ProviderError):
    """The upstream is down or overloaded (5xx)."""

    code = "upstream_unavailable"
    retryable = True


# --- recordings ------------------------------------------------------------------------------


class CassetteError(AntiphonError):
    """A recording cannot be read, written or matched."""

    code = "cassette_error"


class CassetteMissing(CassetteError):
    """No such file."""

    code = "cassette_missing"


class CassetteCorrupt(CassetteError):
    """Unreadable; the message names file and line."""

    code = "cassette_corrupt"


class CassetteVersion(CassetteError):
    """Written in a newer format than this version reads."""

    code = "cassette_version"


class CassetteMismatch(CassetteError):
    """No recorded answer for this request; the message shows the nearest one and where it differs."""

    code = "cassette_mismatch"


class CassetteExhausted(CassetteError):
    """Every recorded answer to this request was already given."""

    code = "cassette_exhausted"


class CassetteAmbiguous(CassetteError):
    """Several recorded answers fit a request, and nothing says which is meant; the message shows where they differ."""

    code = "cassette_ambiguous"


class CassetteUnplayed(CassetteError):
    """Recorded answers were never asked for; the message names the first."""

    code = "cassette_unplayed"


class ToolDiverged(CassetteError):
    """A tool gave another result live than when it was recorded; the message shows where they differ."""

    code = "tool_diverged"


class ToolFailed(CassetteError):
    """A recorded call of a tool ended in an error whose class is not known here."""

    code = "tool_failed"


# --- tools of others -------------------------------------------------------------------------


class ToolServerError(AntiphonError):
    """A server of tools cannot be reached, or says no; the message has its own words, and no secret of ours.

    ``label`` names the server; ``status`` is its HTTP status, where it gave one.
    """

    code = "tool_server_error"

    def __init__(self, label: str, message: str, *, status: int | None = None) -> None:
        super().__init__(f"MCP server {label!r}: {message}")
        self.label = label
        self.status = status


# --- storage ---------------------------------------------------------------------------------


class StoreError(AntiphonError):
    """The store cannot do that."""

    code = "store_error"


class NotFound(StoreError):
    """No such object for this owner."""

    code = "not_found"

    def __init__(self, kind: str, id: str, *, param: str | None = None, hint: str = "") -> None:  # noqa: A002
        super().__init__(f"{kind.capitalize()} with id {id!r} not found.{hint}")
        self.kind = kind
        self.id = id
        self.param = param


class Conflict(StoreError):
    """The object is not in a state that allows this."""

    code = "conflict"


class DuplicateItem(StoreError):
    """The conversation has an item of that id. OpenAI's wording: it is what clients look for."""

    code = "duplicate_item"

    def __init__(self, id: str) -> None:  # noqa: A002 - the field's own word
        super().__init__(f"Duplicate item found with id {id}. Remove duplicate items from your input and try again.")
        self.id = id


class StorageFailed(StoreError):
    """The bytes of a file cannot be written or read."""

    code = "storage_failed"


class StoreLocked(StoreError):
    """Another process holds the data directory."""

    code = "store_locked"


class SchemaOutOfDate(StoreError):
    """The database was written by a newer version of Antiphon."""

    code = "schema_out_of_date"


# --- retrieval -------------------------------------------------------------------------------


class RetrievalError(AntiphonError):
    """Files cannot be indexed or searched."""

    code = "retrieval_error"


class ExtractionError(RetrievalError):
    """A file has no text that can be read.

    ``reason`` is one of ``unsupported_file``, ``invalid_file``, ``empty_file``, ``encrypted_file``, ``no_text`` and
    ``file_too_large``.
    """

    code = "extraction_failed"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class EmbeddingError(RetrievalError):
    """The upstream's answer holds no usable embeddings."""

    code = "embedding_failed"


class EmbeddingMismatch(RetrievalError):
    """Vectors of another model, or of another length, than the index has; embed its chunks again first."""

    code = "embedding_mismatch"


class IndexDamaged(RetrievalError):
    """The chunks of an index cannot be read; its files have to be indexed again."""

    code = "index_damaged"


# --- limits ----------------------------------------------------------------------------------


class LimitExceeded(AntiphonError):
    """A run outgrew one of its limits; ``limit`` names which."""

    code = "limit_exceeded"

    def __init__(self, limit: str, message: str) -> None:
        super().__init__(message)
        self.limit = limit


class RunFailed(AntiphonError):
    """An agent's run has no answer of the kind that was asked for.

    ``reason`` is the code of what went wrong; ``result`` is the `antiphon.agent.result.RunResult` as far as it came.
    """

    code = "run_failed"

    def __init__(self, message: str, *, reason: str = code, result: Any = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.result = result
