"""A provider over any chat-completions endpoint: translate, send, assemble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from antiphon import __version__
from antiphon.assembly.chat import ChatAssembler
from antiphon.assembly.errors import read_error
from antiphon.dialects import OPENAI, Dialect
from antiphon.errors import AntiphonError, InvalidEvent, ProtocolError, ProviderError, TransportError
from antiphon.events import ErrorInfo, ModelEvent, TurnFailed, TurnFinished
from antiphon.providers.base import ModelCall
from antiphon.translation.chat import to_chat
from antiphon.translation.chat_requests import chat_to_chat
from antiphon.transport import HttpRequest, HttpResponse, Transport
from antiphon.wire.responses import CreateResponse

# How long the end of a finished stream is waited for, so that its connection can be used again.
_DRAIN_S = 0.02

_MAX_ERROR_BODY_BYTES = 256 * 1024


class ChatProvider:
    """One upstream that speaks Chat Completions. ``base_url`` ends where ``/chat/completions`` begins."""

    def __init__(
        self,
        name: str,
        base_url: str,
        transport: Transport,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        dialect: Dialect = OPENAI,
    ) -> None:
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._transport = transport
        self._authorization = f"Bearer {api_key}" if api_key else None
        self._headers = tuple((key.lower(), value) for key, value in (headers or {}).items())
        self.dialect = dialect

    async def stream(self, call: ModelCall) -> AsyncGenerator[list[ModelEvent], None]:
        """Ask the model; see `antiphon.providers.base.Provider.stream`."""
        asked: dict[str, Any] = {"model": call.model, "dialect": self.dialect, "upstream": self.name}
        if isinstance(call.request, CreateResponse):
            chat = to_chat(call.request, call.items, **asked)
        else:
            chat = chat_to_chat(call.request, call.items, **asked)
        request = self._request(
            "POST",
            "/chat/completions",
            msgspec.json.encode(chat.body),
            interaction=call.interaction,
            authorization=call.authorization,
        )
        try:
            response = await self._transport.send(request)
        except AntiphonError as error:
            yield [_failed(call.turn, error)]
            return
        try:
            if response.status != 200:
                yield [*chat.diagnostics, await _refused(call.turn, response)]
                return
            yield list(chat.diagnostics)
            assembler = ChatAssembler(
                turn=call.turn, dialect=self.dialect, offered=chat.offered, n=chat.body.get("n", 1)
            )
            async with aclosing(_assemble(assembler, response)) as batches:
                async for batch in batches:
                    yield chat.restore(batch)
        finally:
            await response.close()

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


async def _assemble(assembler: ChatAssembler, response: HttpResponse) -> AsyncGenerator[list[ModelEvent], None]:
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


async def _refused(turn: int, response: HttpResponse) -> TurnFailed:
    body = bytearray()
    try:
        async for chunk in response.chunks():
            body += chunk
            if len(body) > _MAX_ERROR_BODY_BYTES:
                break
    except TransportError:
        pass  # the status alone already says no
    failure = read_error(response.status, response.headers, bytes(body))
    return TurnFailed(turn=turn, error=failure.error, retryable=failure.retryable)


def _failed(turn: int, error: AntiphonError) -> TurnFailed:
    return TurnFailed(turn=turn, error=_info(error), retryable=isinstance(error, TransportError))


def _info(error: AntiphonError) -> ErrorInfo:
    return ErrorInfo(code=error.code, message=error.message)
