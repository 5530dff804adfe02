"""Bytes in, bytes out: requests for an upstream that nobody here has to understand.

`Passthrough.pass_on` serves chat completions that need no repair and, as a route, every path under ``/v1`` that is not
our own: embeddings, completions, audio … No answer is parsed, and no chunk of one is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec
from starlette.routing import Match, Route
from starlette.types import Scope

from antiphon.agent.loop import Target
from antiphon.clock import Ids
from antiphon.errors import AuthenticationFailed, TransportError
from antiphon.providers.base import Provider
from antiphon.server.app import endpoint
from antiphon.server.exchange import Exchange
from antiphon.server.headers import HOP_BY_HOP, end_to_end
from antiphon.server.streaming import while_connected
from antiphon.transport import HttpResponse, header

PREFIX = "/v1"

# What stands first in a path that no upstream is asked for. Most of it Antiphon answers itself, now or later: an
# upstream's answer there would be about objects that this server does not know, or would share between owners. The last
# one administers the account whose key this server has.
OWN = frozenset(
    {
        *("responses", "conversations", "chat", "models", "files", "uploads", "vector_stores", "batches", "containers"),
        "organization",
    }
)

# Of a client's headers, what says something of its request; its key and its cookies do not go further.
_PASSED_UPSTREAM = frozenset(
    {
        "accept",
        "accept-language",
        "content-type",
        "idempotency-key",
        "if-match",
        "if-none-match",
        "openai-beta",
        "range",
        "traceparent",
        "tracestate",
    }
)

# Said of the upstream's host, and untrue of ours.
_NOT_PASSED_ON = HOP_BY_HOP | {
    "access-control-allow-credentials",
    "access-control-allow-origin",
    "alt-svc",
    "date",
    "server",
    "set-cookie",
    "strict-transport-security",
}

# After these, and before anything was shown, the next target is asked.
_WORTH_ANOTHER = frozenset({408, 409, 429, 500, 502, 503, 504, 529})

# Of multipart/form-data: the head of the field that names the model, up to its value (RFC 7578). JSON has no raw line
# breaks in its strings, so it cannot be taken for this.
_FORM_FIELD = re.compile(
    rb'--[^\r\n]+\r\ncontent-disposition: *form-data; *name="?model"?\r\n(?:[^\r\n]+\r\n)*\r\n', re.IGNORECASE
)


class Passthrough:
    """Sends requests on as they are, to whichever upstream has the model they name, or to ``default``.

    ``on_call`` is told of each call: its upstream, and the code of its failure or None.
    """

    def __init__(
        self,
        resolve: Callable[[str], Sequence[Target]],
        default: Provider,
        ids: Ids,
        *,
        forward_auth: bool = False,
        on_call: Callable[[str, str | None], None] | None = None,
    ) -> None:
        self._resolve = resolve
        self._default = default
        self._ids = ids
        self._forward_auth = forward_auth
        self._on_call = on_call

    def routes(self) -> list[Route]:
        """What is served: all paths that are not our own, whatever the method."""
        path = f"{PREFIX}/{{path:path}}"
        return [_Elsewhere(path, endpoint(path, self.forward))]

    async def forward(self, exchange: Exchange) -> None:
        """Any other path: the upstream's answer as it is, and as it comes. The body must say which model, if any."""
        body = await exchange.body()
        path = exchange.path.removeprefix(PREFIX)
        if exchange.query:
            path = f"{path}?{exchange.query.decode('latin-1')}"
        model = _model_in(body)
        targets = self._resolve(model) if model is not None else [Target(self._default, "")]
        await while_connected(exchange, self.pass_on(exchange, path, body, model, targets))

    async def pass_on(
        self, exchange: Exchange, path: str, body: bytes, model: str | None, targets: Sequence[Target]
    ) -> None:
        """Answer with what the first of ``targets`` that can says to ``path``; ``model`` is the name in ``body``."""
        response = await self._ask(exchange, path, body, model, targets)
        is_stream = _is_stream(response)
        try:
            await exchange.start(response.status, _answered(response))
            async for chunk in response.chunks():
                if is_stream and exchange.first_event_s is None:
                    exchange.mark_first_event()
                await exchange.write(chunk)
            await exchange.end()
        finally:
            await response.close()

    async def _ask(
        self, exchange: Exchange, path: str, body: bytes, model: str | None, targets: Sequence[Target]
    ) -> HttpResponse:
        """The first answer that is worth passing on; that of the last target always is.

        Raises:
            TransportError, CassetteError: the last target gave none.
            AuthenticationFailed: it refused our key, which the client cannot help.
        """
        authorization = exchange.header(b"authorization") if self._forward_auth else None
        headers = tuple((name, value) for name, value in exchange.headers() if name in _PASSED_UPSTREAM)
        for target, is_last in zip(targets, [False] * (len(targets) - 1) + [True], strict=True):
            try:
                response = await target.provider.forward(
                    exchange.method,
                    path,
                    body if model in (None, target.model) else _renamed(body, target.model),
                    interaction=self._ids.new("int"),
                    headers=headers,
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


class _Elsewhere(Route):
    """Matches no path that is our own, so that a wrong one is answered as such, and none that climbs out of its place.

    Clients of HTTP resolve ``..`` before they send: it would lead around `OWN`, and out of the upstream's base URL.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See Starlette."""
        segments = scope["path"].removeprefix(f"{PREFIX}/").split("/")
        if segments[0] in OWN or not segments[0] or not {".", ".."}.isdisjoint(segments):
            return Match.NONE, {}
        return super().matches(scope)


# --- the model -------------------------------------------------------------------------------


class _MaybeNamed(msgspec.Struct):
    model: str | None = None


def _model_in(body: bytes) -> str | None:
    """The model that a body of any form names, or None."""
    if found := _FORM_FIELD.search(body):
        return body[found.end() : found.end() + _value_length(body, found.end())].decode("utf-8", "replace")
    try:
        return msgspec.json.decode(body, type=_MaybeNamed).model
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # whoever understands the path will say what is wrong with it


def _value_length(body: bytes, start: int) -> int:
    """How long the value of a form field is that begins at ``start``."""
    return max(body.find(b"\r\n", start) - start, 0)


def _renamed(body: bytes, model: str) -> bytes:
    """The request for another model's name; every other value keeps its bytes."""
    if found := _FORM_FIELD.search(body):
        end = found.end() + _value_length(body, found.end())
        return body[: found.end()] + model.encode() + body[end:]
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(fields)


def _answered(response: HttpResponse) -> list[tuple[bytes, bytes]]:
    """The upstream's headers that are true of our answer too; its request id, beside our own."""
    passed = [
        (b"x-upstream-request-id" if name == "x-request-id" else name.encode("latin-1"), value.encode("latin-1"))
        for name, value in end_to_end(response.headers, _NOT_PASSED_ON)
    ]
    if _is_stream(response):
        passed.append((b"x-accel-buffering", b"no"))
    return passed


def _is_stream(response: HttpResponse) -> bool:
    return (header(response.headers, "content-type") or "").startswith("text/event-stream")
