"""``POST /v1/chat/completions``: bytes passed through where nothing is to be done to them, else a run like any other.

Which of the two is decided before the request is read: what is passed through is parsed for nothing but its model and
the few members that speak against passing it through.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.routing import Route

from antiphon.agent.loop import Target
from antiphon.agent.runner import Runner
from antiphon.config import Repair
from antiphon.errors import InvalidRequest
from antiphon.events import RunEvent, RunFinished
from antiphon.rendering.chat import DONE, ChatRenderer, chat_completion, sse
from antiphon.server.app import route
from antiphon.server.errors import from_failed_run
from antiphon.server.exchange import Exchange
from antiphon.server.passthrough import Passthrough
from antiphon.server.streaming import stream, while_connected
from antiphon.wire.chat_requests import CreateChatCompletion, decode_chat_request
from antiphon.wire.refusals import refusal
from antiphon.wire.responses import decode_object

_PATH = "/chat/completions"

# Parameters the API has and a repaired answer cannot have. To drop them silently would be to answer another question.
_NOT_SERVED = ("audio", "functions", "function_call", "moderation")
_INSTEAD = {"functions": " Use 'tools'.", "function_call": " Use 'tool_choice'."}

# The names of tools that all upstreams take (Q108).
_PLAIN_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class _Peek(msgspec.Struct):
    """What has to be known of a request before it is known who reads it. Only the model's type is checked."""

    model: str
    store: Any = None
    tools: Any = None
    audio: Any = None
    modalities: Any = None


class Chat:
    """``POST /v1/chat/completions``. ``repair_of`` says how the answers of a target are to be treated."""

    def __init__(
        self,
        runner: Runner,
        passthrough: Passthrough,
        resolve: Callable[[str], Sequence[Target]],
        *,
        repair_of: Callable[[Target], Repair] = lambda _: "auto",
        forward_auth: bool = False,
    ) -> None:
        self._runner = runner
        self._passthrough = passthrough
        self._resolve = resolve
        self._repair_of = repair_of
        self._forward_auth = forward_auth

    def routes(self) -> list[Route]:
        """What is served, and by what."""
        return [route("POST", "/v1/chat/completions", self.complete)]

    async def complete(self, exchange: Exchange) -> None:
        """``POST /v1/chat/completions``."""
        body = await exchange.body()
        peek = _peek(body)
        targets = self._resolve(peek.model)
        # One way for all targets: which of them answers turns out too late.
        wanted = {self._repair_of(target) for target in targets}
        if "always" in wanted or ("auto" in wanted and _needs_a_run(peek)):
            request = decode_chat_request(body)
            _refuse_what_is_not_served(request)
            await while_connected(exchange, self._run(exchange, request))
        else:
            await while_connected(exchange, self._passthrough.pass_on(exchange, _PATH, body, peek.model, targets))

    async def _run(self, exchange: Exchange, request: CreateChatCompletion) -> None:
        authorization = exchange.header(b"authorization") if self._forward_auth else None
        async with aclosing(self._runner.complete(exchange.owner, request, authorization=authorization)) as batches:
            first = await anext(batches)
            if request.stream and not _has_failed(first):
                async with aclosing(_rendered(first, batches, exchange.mark_first_event)) as chunks:
                    await stream(exchange, chunks)
                return
            events = [*first]
            async for batch in batches:
                events += batch
            last = events[-1]
            if isinstance(last, RunFinished) and last.status == "failed":
                await exchange.respond_error(from_failed_run(last.error, forward_auth=self._forward_auth))
            else:
                await exchange.respond_json(chat_completion(events))


async def _rendered(
    first: Sequence[RunEvent], following: AsyncIterator[list[RunEvent]], on_begun: Callable[[], None]
) -> AsyncGenerator[bytes, None]:
    """The stream of a run, one piece of bytes for each batch; ``on_begun`` is told when the model has said something.

    After an error nothing says that the answer was complete.
    """
    renderer = ChatRenderer()
    yield _with_end(sse(renderer.render(first)), first)
    has_begun = False
    async for batch in following:
        if not has_begun:
            has_begun = True
            on_begun()
        yield _with_end(sse(renderer.render(batch)), batch)


def _with_end(data: bytes, batch: Sequence[RunEvent]) -> bytes:
    last = batch[-1]
    return data + DONE if isinstance(last, RunFinished) and last.status in ("completed", "incomplete") else data


def _has_failed(events: Sequence[RunEvent]) -> bool:
    last = events[-1]
    return isinstance(last, RunFinished) and last.status == "failed"


def _peek(body: bytes) -> _Peek:
    """
    Raises:
        InvalidRequest: it is not JSON, or names no model.
    """
    try:
        return msgspec.json.decode(body, type=_Peek)
    except msgspec.ValidationError as error:
        raise refusal(error, decode_object(body)) from None
    except (msgspec.DecodeError, RecursionError):
        decode_object(body)  # says what is wrong with it
        raise


def _needs_a_run(peek: _Peek) -> bool:
    """Whether passing it through would not do: it is to be stored, has names to mend, or asks for what is refused."""
    if peek.store is True or peek.audio is not None or _speaks(peek.modalities):
        return True
    return not all(map(_is_plain, peek.tools)) if isinstance(peek.tools, list) else False


def _is_plain(tool: Any) -> bool:
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return not isinstance(name, str) or _PLAIN_NAME.fullmatch(name) is not None


def _speaks(modalities: Any) -> bool:
    return isinstance(modalities, list) and any(modality != "text" for modality in modalities)


def _refuse_what_is_not_served(request: CreateChatCompletion) -> None:
    if _speaks(request.modalities):
        raise _not_served("modalities", " Only 'text' is; with the setting repair = \"never\" the upstream is asked.")
    for name in _NOT_SERVED:
        if getattr(request, name) is not None:
            raise _not_served(name, _INSTEAD.get(name, ' With the setting repair = "never" the upstream is asked.'))


def _not_served(name: str, instead: str) -> InvalidRequest:
    return InvalidRequest(
        f"The parameter {name!r} is not supported here.{instead}", param=name, code="unsupported_parameter"
    )
