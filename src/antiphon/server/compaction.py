"""``/v1/responses/compact``: a long conversation becomes a short one that stands for it."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from starlette.routing import Route

from antiphon.agent.runner import Runner
from antiphon.clock import Clock, Ids
from antiphon.errors import InvalidRequest, NotFound
from antiphon.events import RunEvent, RunFinished
from antiphon.rendering.responses import response_object
from antiphon.server.app import route
from antiphon.server.errors import from_failed_run, unknown_previous
from antiphon.server.exchange import Exchange
from antiphon.server.hosting import Hosting
from antiphon.server.profiles import Profiles
from antiphon.server.streaming import while_connected
from antiphon.wire.parameters import refuse_unserved
from antiphon.wire.responses import CreateResponse, decode_request, input_items
from antiphon.wire.sealed import Sealer, opened, sealed_summary

_ASK = (
    "Write a summary of the conversation so far, for a model that will go on with it and sees nothing else of it. Keep"
    " what was asked and decided, what was done and found (names, paths, numbers and code as they are), and what is"
    " still to be done. Answer with the summary and nothing else."
)
_NO_USAGE = {
    "input_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}
# What shapes an answer; a summary is to be plain text, whole, and kept nowhere.
_LEFT_OUT = {
    **dict.fromkeys(("tools", "tool_choice", "text", "max_output_tokens", "include", "stream", "conversation")),
    "store": False,
}


class Compaction:
    """The route ``/v1/responses/compact``. The model writes the summary; nothing of it is stored."""

    def __init__(
        self,
        runner: Runner,
        clock: Clock,
        ids: Ids,
        *,
        profiles: Profiles,
        forward_auth: bool = False,
        hosting: Hosting | None = None,
    ) -> None:
        self._runner = runner
        self._clock = clock
        self._ids = ids
        self._profiles = profiles
        self._forward_auth = forward_auth
        self._hosting = hosting

    def routes(self) -> list[Route]:
        """What is served, and by what."""
        return [route("POST", "/v1/responses/compact", self.compact)]

    async def compact(self, exchange: Exchange) -> None:
        """``POST /v1/responses/compact``: one item that stands for everything before it."""
        request = decode_request(await exchange.body())
        items = input_items(request)
        refuse_unserved(request, items)
        if self._hosting is not None:
            await self._hosting.check(exchange.owner, (), items)
        sealer = self._profiles.sealer(exchange.owner)
        if sealer is None:
            raise InvalidRequest("This server has no keys to seal a summary with.", code="unsupported_endpoint")
        request.input = [*opened(items, sealer), {"type": "message", "role": "user", "content": _ASK}]
        for name, value in _LEFT_OUT.items():
            setattr(request, name, value)
        request.raw = {"model": request.model, "store": False}
        await while_connected(exchange, self._run(exchange, request, sealer))

    async def _run(self, exchange: Exchange, request: CreateResponse, sealer: Sealer) -> None:
        authorization = exchange.header(b"authorization") if self._forward_auth else None
        events: list[RunEvent] = []
        async with aclosing(self._runner.run(exchange.owner, request, authorization=authorization)) as batches:
            try:
                async for batch in batches:
                    events += batch
            except NotFound as error:
                raise unknown_previous(error) from error
        response = response_object(events)
        summary = _text(response)
        finished = events[-1]
        if response["status"] != "completed" or not summary:
            failure = finished.error if isinstance(finished, RunFinished) else None
            await exchange.respond_error(from_failed_run(failure, forward_auth=self._forward_auth))
            return
        compaction = {
            "id": self._ids.new("cmp"),
            "type": "compaction",
            "encrypted_content": sealed_summary(summary, sealer),
        }
        await exchange.respond_json(
            {
                "id": self._ids.new("resp"),
                "object": "response.compaction",
                "created_at": int(self._clock.now_s()),
                "output": [compaction],
                "usage": response["usage"] or _NO_USAGE,
            }
        )


def _text(response: dict[str, Any]) -> str:
    messages = [item for item in response["output"] if item["type"] == "message"]
    return "".join(part.get("text", "") for message in messages for part in message["content"])
