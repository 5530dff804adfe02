"""``/v1/responses``: create, streamed or whole, and look up, and forget. Each is a reading of one run's journal."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager

from msgspec.structs import replace
from starlette.routing import Route

from antiphon.agent.formats import wanted_format
from antiphon.agent.runner import Runner, Shown
from antiphon.config import UnsupportedTools
from antiphon.errors import InvalidRequest, NotFound
from antiphon.events import RunEvent, RunFinished, RunStarted
from antiphon.rendering.listing import listed
from antiphon.rendering.responses import DONE, ResponsesRenderer, response_object, sse
from antiphon.server.app import route
from antiphon.server.errors import from_failed_run, unknown_previous
from antiphon.server.exchange import Exchange
from antiphon.server.hosting import Hosting
from antiphon.server.profiles import Profiles
from antiphon.server.streaming import stream, while_connected
from antiphon.store.base import Store
from antiphon.wire.lists import ListQuery, decode_query, item_list
from antiphon.wire.parameters import refuse_unserved
from antiphon.wire.responses import CreateResponse, RetrieveQuery, decode_request, input_items
from antiphon.wire.sealed import Sealer, opened


class Responses:
    """The routes under ``/v1/responses``.

    ``forward_auth`` gives the client's key to the upstream. ``unsupported_tools`` says what becomes of hosted tools
    that nothing here can run, ``hosting`` has those that can be.
    """

    def __init__(
        self,
        runner: Runner,
        store: Store,
        *,
        forward_auth: bool = False,
        profiles: Profiles | None = None,
        unsupported_tools: UnsupportedTools = "drop",
        hosting: Hosting | None = None,
    ) -> None:
        self._runner = runner
        self._store = store
        self._forward_auth = forward_auth
        self._profiles = profiles or Profiles()
        self._unsupported_tools = unsupported_tools
        self._hosting = hosting

    def routes(self) -> list[Route]:
        """What is served, and by what."""
        return [
            route("POST", "/v1/responses", self.create),
            route("GET", "/v1/responses/{response_id}", self.retrieve),
            route("DELETE", "/v1/responses/{response_id}", self.delete),
            route("POST", "/v1/responses/{response_id}/cancel", self.cancel),
            route("GET", "/v1/responses/{response_id}/input_items", self.list_input_items),
        ]

    async def create(self, exchange: Exchange) -> None:
        """``POST /v1/responses``. Streamed or not, it is the same run; what is not streamed is folded."""
        request = decode_request(await exchange.body())
        shown = self._profiles.shown(exchange)
        self._admit(exchange, request, shown)
        if self._hosting is not None:
            await self._hosting.check(exchange.owner, request.tools or (), input_items(request))
        work = self._run_in_background if request.background else self._run
        await while_connected(exchange, work(exchange, request, shown))

    def _admit(self, exchange: Exchange, request: CreateResponse, shown: Shown) -> None:
        """Refuse what is not served; open what was sealed for this owner."""
        items = input_items(request)
        refuse_unserved(request, items, profile=shown.profile, unsupported_tools=self._unsupported_tools)
        wanted_format(request)
        request.input = opened(items, self._sealer(exchange))

    def _sealer(self, exchange: Exchange) -> Sealer | None:
        return self._profiles.sealer(exchange.owner)

    async def retrieve(self, exchange: Exchange) -> None:
        """``GET /v1/responses/{id}``: the journal, rendered again; of a run still going, as far as it is durable.

        With ``stream=true``: the same stream as the first time, from the event after ``starting_after`` on.
        """
        asked = decode_query(exchange.query, RetrieveQuery)
        response_id = exchange.parameter("response_id")
        if asked.stream:
            await exchange.body()  # there is none; what comes after it tells when the client leaves
            skip = 0 if asked.starting_after is None else asked.starting_after + 1
            await while_connected(exchange, self._follow(exchange, response_id, skip=skip, include=asked.include))
        elif asked.starting_after is not None:
            raise InvalidRequest("'starting_after' needs 'stream=true'.", param="starting_after")
        else:
            events = _including(await self._runner.events(exchange.owner, response_id), asked.include)
            await exchange.respond_json(response_object(events, sealer=self._sealer(exchange)))

    async def cancel(self, exchange: Exchange) -> None:
        """``POST /v1/responses/{id}/cancel``: the response as it ended, by this or before."""
        events = await self._runner.cancel(exchange.owner, exchange.parameter("response_id"))
        await exchange.respond_json(response_object(events, sealer=self._sealer(exchange)))

    async def delete(self, exchange: Exchange) -> None:
        """``DELETE /v1/responses/{id}``; one that is made in the background is cancelled first."""
        response_id = exchange.parameter("response_id")
        await self._runner.delete(exchange.owner, response_id)
        await exchange.respond_json({"id": response_id, "object": "response", "deleted": True})

    async def list_input_items(self, exchange: Exchange) -> None:
        """``GET /v1/responses/{id}/input_items``: what this response was asked, without what came before it."""
        query = decode_query(exchange.query, ListQuery)
        page = await self._store.input_items(exchange.owner, exchange.parameter("response_id"), query)
        await exchange.respond_json(
            item_list([listed(item, include=query.include) for item in page.items], has_more=page.has_more)
        )

    async def _run(self, exchange: Exchange, request: CreateResponse, shown: Shown) -> None:
        sealer = self._sealer(exchange)
        authorization = exchange.header(b"authorization") if self._forward_auth else None
        running = self._runner.run(exchange.owner, request, authorization=authorization, shown=shown)
        async with aclosing(running) as batches:
            with _parent_found():
                first = await anext(batches)
            last = first[-1]
            if isinstance(last, RunFinished) and last.status == "failed":
                await exchange.respond_error(from_failed_run(last.error, forward_auth=self._forward_auth))
            elif request.stream:
                async with aclosing(_rendered(first, batches, sealer, exchange.mark_first_event)) as frames:
                    await stream(exchange, frames)
            else:
                events = [*first]
                async for batch in batches:
                    events += batch
                await exchange.respond_json(response_object(events, sealer=sealer))

    async def _run_in_background(self, exchange: Exchange, request: CreateResponse, shown: Shown) -> None:
        authorization = exchange.header(b"authorization") if self._forward_auth else None
        with _parent_found():
            started = await self._runner.start(exchange.owner, request, authorization=authorization, shown=shown)
        if request.stream:
            await self._follow(exchange, started.run)
        else:
            await exchange.respond_json(response_object([started]))

    async def _follow(
        self, exchange: Exchange, response_id: str, *, skip: int = 0, include: Sequence[str] = ()
    ) -> None:
        async with aclosing(self._runner.follow(exchange.owner, response_id)) as batches:
            first = await anext(batches)  # or an error, which must come before the answer begins
            first = _including(first, include)
            async with aclosing(
                _rendered(first, batches, self._sealer(exchange), exchange.mark_first_event, skip=skip)
            ) as frames:
                await stream(exchange, frames)


async def _rendered(
    first: Sequence[RunEvent],
    following: AsyncIterator[list[RunEvent]],
    sealer: Sealer | None,
    on_begun: Callable[[], None],
    *,
    skip: int = 0,
) -> AsyncGenerator[bytes, None]:
    """The stream of a run, one piece of bytes for each batch, without its first ``skip`` events.

    ``on_begun`` is told when the model has said something; the first batch only says that an upstream took the call.
    """
    renderer = ResponsesRenderer(sealer=sealer)

    def render(batch: Sequence[RunEvent]) -> bytes:
        nonlocal skip
        frames = renderer.render(batch)
        if skip:
            frames, skip = frames[skip:], max(0, skip - len(frames))
        data = sse(frames)
        return data + DONE if isinstance(batch[-1], RunFinished) else data

    yield render(first)
    has_begun = False
    async for batch in following:
        if not has_begun:
            has_begun = True
            on_begun()
        yield render(batch)


def _including(events: Sequence[RunEvent], include: Sequence[str]) -> list[RunEvent]:
    """The beginning of a journal, as if its request had asked for this too."""
    started, *rest = events
    if not include or not isinstance(started, RunStarted):
        return [*events]
    asked = [*(started.request.get("include") or ()), *include]
    return [replace(started, request={**started.request, "include": asked}), *rest]


@contextmanager
def _parent_found() -> Iterator[None]:
    """Say what is not found as OpenAI does."""
    try:
        yield
    except NotFound as error:
        raise unknown_previous(error) from error
