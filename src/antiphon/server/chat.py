"""``/v1/chat/completions``: bytes in, bytes out. Nothing is parsed that need not be, and no chunk at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from starlette.routing import Route

from antiphon.agent.loop import Target
from antiphon.clock import Ids
from antiphon.errors import AuthenticationFailed, TransportError
from antiphon.server.app import route
from antiphon.server.exchange import Exchange
from antiphon.server.streaming import while_connected
from antiphon.transport import HttpResponse, header
from antiphon.wire.refusals import refusal
from antiphon.wire.responses import decode_object

_PATH = "/chat/completions"

# Of one connection (RFC 9110, 7.6.1), or said of the upstream's host and untrue of ours.
_NOT_PASSED_ON = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "alt-svc",
        "date",
        "server",
        "set-cookie",
        "strict-transport-security",
    }
)

# After these, and before anything was shown, the next target is asked.
_WORTH_ANOTHER = frozenset({408, 409, 429, 500, 502, 503, 504, 529})


class _Peek(msgspec.Struct):
    model: str


class Chat:
    """The routes under ``/v1/chat/completions``, passed through to whichever upstream has the model.

    ``on_call`` is told of each call: its upstream, and the code of its failure or None.
    """

    def __init__(
        self,
        resolve: Callable[[str], Sequence[Target]],
        ids: Ids,
        *,
        forward_auth: bool = False,
        on_call: Callable[[str, str | None], None] | None = None,
    ) -> None:
        self._resolve = resolve
        self._ids = ids
        self._forward_auth = forward_auth
        self._on_call = on_call

    def routes(self) -> list[Route]:
        """What is served, and by what."""
        return [route("POST", "/v1/chat/completions", self.complete)]

    async def complete(self, exchange: Exchange) -> None:
        """``POST /v1/chat/completions``: the upstream's answer as it is, and as it comes."""
        body = await exchange.body()
        model = _model(body)
        await while_connected(exchange, self._pass_on(exchange, body, model, self._resolve(model)))

    async def _pass_on(self, exchange: Exchange, body: bytes, model: str, targets: Sequence[Target]) -> None:
        response = await self._ask(exchange, body, model, targets)
        is_stream = _is_stream(response)
        try:
            await exchange.start(response.status, _headers(response))
            async for chunk in response.chunks():
                if is_stream and exchange.first_event_s is None:
                    exchange.mark_first_event()
                await exchange.write(chunk)
            await exchange.end()
        finally:
            await response.close()

    async def _ask(self, exchange: Exchange, body: bytes, model: str, targets: Sequence[Target]) -> HttpResponse:
        """The first answer that is worth passing on; that of the last target always is.

        Raises:
            TransportError, CassetteError: the last target gave none.
            AuthenticationFailed: it refused our key, which the client cannot help.
        """
        authorization = exchange.header(b"authorization") if self._forward_auth else None
        for target, is_last in zip(targets, [False] * (len(targets) - 1) + [True], strict=True):
            try:
                response = await target.provider.forward(
                    "POST",
                    _PATH,
                    body if target.model == model else _renamed(body, target.model),
                    interaction=self._ids.new("int"),
                    authorization=authorization,
                )
            except TransportError as error:
                self._count(target, error.code)
                if is_last:
                    raise
                continue
            self._count(target, None if response.status < 400 else f"http_{response.status}")
            if response.status in _WORTH_ANOTHER and not is_last:
                await response.close()
                continue
            if response.status == 401 and not self._forward_auth:
                await response.close()
                raise AuthenticationFailed(
                    f"The upstream {target.provider.name!r} refused the key this server has for it.", status=401
                )
            return response
        raise AssertionError("no targets")

    def _count(self, target: Target, failure: str | None) -> None:
        if self._on_call is not None:
            self._on_call(target.provider.name, failure)


def _model(body: bytes) -> str:
    """The model a request names, found without decoding the rest."""
    try:
        return msgspec.json.decode(body, type=_Peek).model
    except msgspec.ValidationError as error:
        raise refusal(error, decode_object(body)) from None
    except msgspec.DecodeError:
        decode_object(body)  # says what is wrong with it
        raise


def _renamed(body: bytes, model: str) -> bytes:
    """The request for another model's name; every other value keeps its bytes."""
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(fields)


def _headers(response: HttpResponse) -> list[tuple[bytes, bytes]]:
    """The upstream's headers that are true of our answer too; its request id, beside our own."""
    named = {name.strip().lower() for name in (header(response.headers, "connection") or "").split(",")}
    passed = [
        (b"x-upstream-request-id" if name == "x-request-id" else name.encode("latin-1"), value.encode("latin-1"))
        for name, value in response.headers
        if name not in _NOT_PASSED_ON and name not in named
    ]
    if _is_stream(response):
        passed.append((b"x-accel-buffering", b"no"))
    return passed


def _is_stream(response: HttpResponse) -> bool:
    return (header(response.headers, "content-type") or "").startswith("text/event-stream")
