"""What providers over HTTP share: the way to one upstream, asking it, and learning from what it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from antiphon import __version__
from antiphon.assembly.errors import read_error
from antiphon.dialects import OPENAI, Dialect
from antiphon.errors import AntiphonError, InvalidEvent, ProtocolError, ProviderError, TransportError
from antiphon.events import Diagnostic, ErrorInfo, ModelEvent, TurnFailed, TurnFinished
from antiphon.providers.base import ModelCall
from antiphon.providers.learning import Learned, learn
from antiphon.sse import DEFAULT_MAX_EVENT_BYTES
from antiphon.translation.call import ChatCall
from antiphon.transport import HttpRequest, HttpResponse, Transport
from antiphon.wire.responses import CreateResponse

# How long the end of a finished stream is waited for, so that its connection can be used again.
_DRAIN_S = 0.02

# Items whose ids the model has seen: no new call may have one of them.
_CALLS = frozenset({"function_call", "custom_tool_call"})

_MAX_ERROR_BODY_BYTES = 256 * 1024

# How often one call is asked again in other words.
_MAX_LESSONS = 4
# Of how many models it is remembered what was learned: a client may make up names.
_MAX_REMEMBERED = 1024


class Assembler(Protocol):
    """What turns the bytes of one answer into events; see `antiphon.assembly`."""

    def feed(self, data: bytes) -> list[ModelEvent]:
        """Take bytes as they arrive."""
        ...

    def finish(self) -> list[ModelEvent]:
        """The body has ended."""
        ...

    def fail(self, error: ErrorInfo, *, retryable: bool) -> list[ModelEvent]:
        """The body will not go on."""
        ...


class _Asked(NamedTuple):
    """A call that was sent: the events to begin with, and the answer if the upstream accepted the call."""

    events: list[ModelEvent]
    sent: ChatCall
    dialect: Dialect
    response: HttpResponse | None = None


class HttpProvider:
    """One upstream, whatever it speaks. ``base_url`` ends where its paths begin.

    ``dialect_of`` gives what is different about a model. What an upstream's refusals teach beyond that is remembered
    as long as the provider lives, for each model. A class of its own says, for what an upstream speaks, ``path``,
    ``_translated`` and ``_assembler``.
    """

    path = ""

    def __init__(
        self,
        name: str,
        base_url: str,
        transport: Transport,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        dialect_of: Callable[[str], Dialect] = lambda _: OPENAI,
        max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES,
    ) -> None:
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._transport = transport
        self._authorization = f"Bearer {api_key}" if api_key else None
        self._headers = tuple((key.lower(), value) for key, value in (headers or {}).items())
        self._dialect_of = dialect_of
        self._max_event_bytes = max_event_bytes
        self._learned: dict[str, dict[str, Any]] = {}  # fields of the rules of requests, by model

    async def stream(self, call: ModelCall) -> AsyncGenerator[list[ModelEvent], None]:
        """Ask the model; see `antiphon.providers.base.Provider.stream`."""
        events, sent, dialect, response = await self._ask(call)
        if response is None:
            yield events
            return
        try:
            yield events
            async with aclosing(_assemble(self._assembler(call, sent, dialect), response)) as batches:
                async for batch in batches:
                    yield sent.restore(batch)
        finally:
            await response.close()

    def _translated(self, call: ModelCall, dialect: Dialect) -> ChatCall:
        """The request for a call, and the way back."""
        raise NotImplementedError

    def _assembler(self, call: ModelCall, sent: ChatCall, dialect: Dialect) -> Assembler:
        """What reads its answer."""
        raise NotImplementedError

    async def _ask(self, call: ModelCall) -> _Asked:
        """Send the call; where the upstream refuses it for its form, send it in the form it asks for."""
        dialect = _taught(self._dialect_of(call.model), self._learned.get(call.model, {}))
        learned: dict[str, Any] = {}
        told: list[ModelEvent] = []
        for lessons_left in range(_MAX_LESSONS, -1, -1):
            sent = self._translated(call, dialect)
            try:
                response = await self._send(call, sent)
                if response.status == 200:
                    self._remember(call.model, learned)
                    return _Asked([*told, *sent.diagnostics], sent, dialect, response)
                answer = await _read_error_body(response)
            except AntiphonError as error:
                return _Asked([*told, _failed(call.turn, error)], sent, dialect)
            failure = read_error(response.status, response.headers, answer)
            lesson = learn(response.status, answer, sent.body, dialect.requests) if lessons_left else None
            if lesson is None:
                failed = TurnFailed(turn=call.turn, error=failure.error, retryable=failure.retryable)
                return _Asked([*told, *sent.diagnostics, failed], sent, dialect)
            dialect = _taught(dialect, lesson.rules)
            learned |= lesson.rules
            told += _disclosed(lesson, failure.error)
        raise AssertionError("unreachable: the last refusal teaches nothing")

    async def _send(self, call: ModelCall, sent: ChatCall) -> HttpResponse:
        request = self._request(
            "POST",
            self.path,
            msgspec.json.encode(sent.body),
            interaction=call.interaction,
            authorization=call.authorization,
        )
        return await self._transport.send(request)

    def _remember(self, model: str, learned: dict[str, Any]) -> None:
        """Keep what was learned, now that it has proved right."""
        if not learned:
            return
        self._learned[model] = self._learned.pop(model, {}) | learned
        if len(self._learned) > _MAX_REMEMBERED:
            del self._learned[next(iter(self._learned))]

    async def models(self) -> list[dict[str, Any]]:
        """The upstream's model objects; see `antiphon.providers.base.Provider.models`."""
        response = await self._transport.send(self._request("GET", "/models"))
        try:
            body = b"".join([chunk async for chunk in response.chunks()])
        finally:
            await response.close()
        if response.status != 200:
            error = read_error(response.status, response.headers, body).error
            raise ProviderError(error.message, status=response.status, upstream_code=error.upstream_code)
        try:
            return [dict(model) for model in msgspec.json.decode(body)["data"]]
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise InvalidEvent(f"The upstream {self.name!r} answered /models with something else: {error}") from error

    async def forward(
        self,
        method: str,
        path: str,
        body: bytes,
        *,
        interaction: str,
        headers: tuple[tuple[str, str], ...] = (),
        authorization: str | None = None,
    ) -> HttpResponse:
        """Send bytes as they are; see `antiphon.providers.base.Provider.forward`."""
        request = self._request(
            method, path, body, interaction=interaction, more_headers=headers, authorization=authorization
        )
        return await self._transport.send(request)

    async def close(self) -> None:
        """Release connections."""
        await self._transport.close()

    def _request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        interaction: str = "",
        more_headers: tuple[tuple[str, str], ...] = (),
        authorization: str | None = None,
    ) -> HttpRequest:
        headers = {"accept": "application/json, text/event-stream", "user-agent": f"antiphon/{__version__}"}
        if body:
            headers["content-type"] = "application/json"
        headers.update(more_headers)
        if key := authorization or self._authorization:
            headers["authorization"] = key
        return HttpRequest(
            method=method,
            url=self._base_url + path,
            headers=(*headers.items(), *self._headers),
            body=body,
            interaction=interaction,
        )


def used_call_ids(call: ModelCall) -> list[str]:
    """The ids of all calls that the model must see."""
    ids = [item["call_id"] for item in call.items if item.get("type") in _CALLS]
    if isinstance(call.request, CreateResponse):
        return ids
    return [*(each["id"] for message in call.request.messages for each in message.get("tool_calls") or ()), *ids]


async def _assemble(assembler: Assembler, response: HttpResponse) -> AsyncGenerator[list[ModelEvent], None]:
    """The events of a response body; the last batch holds the turn's end, however the body ends."""
    chunks = response.chunks()
    try:
        async for data in chunks:
            if batch := assembler.feed(data):
                if isinstance(batch[-1], TurnFinished | TurnFailed):
                    await _drain(chunks)
                    yield batch
                    return
                yield batch
    except (TransportError, ProtocolError) as error:
        yield assembler.fail(_info(error), retryable=isinstance(error, TransportError))
        return
    yield assembler.finish()


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read the end of a body that has said it is done: a connection left in mid-body can't be used again."""
    try:
        async with asyncio.timeout(_DRAIN_S):
            async for _ in chunks:
                pass
    except (TimeoutError, TransportError):
        pass  # the answer is whole; only the connection is lost


async def _read_error_body(response: HttpResponse) -> bytes:
    body = bytearray()
    try:
        async for chunk in response.chunks():
            body += chunk
            if len(body) > _MAX_ERROR_BODY_BYTES:
                break
    except TransportError:
        pass  # the status alone already says no
    finally:
        await response.close()
    return bytes(body)


def _taught(dialect: Dialect, learned: dict[str, Any]) -> Dialect:
    return replace(dialect, requests=replace(dialect.requests, **learned)) if learned else dialect


def _disclosed(lesson: Learned, error: ErrorInfo) -> list[Diagnostic]:
    seen = f"{error.status}: {error.message}"
    return [
        Diagnostic(
            quirk=each.quirk, seen=seen, done=f"{each.meaning}: asked again accordingly; remembered for this model"
        )
        for each in lesson.lessons
    ]


def _failed(turn: int, error: AntiphonError) -> TurnFailed:
    return TurnFailed(turn=turn, error=_info(error), retryable=isinstance(error, TransportError))


def _info(error: AntiphonError) -> ErrorInfo:
    return ErrorInfo(code=error.code, message=error.message)
