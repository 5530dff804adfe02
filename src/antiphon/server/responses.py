"""``/v1/responses``: create, streamed or whole, and look up, and forget. Each is a reading of one run's journal."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager

from starlette.routing import Route

from antiphon.agent.runner import Runner
from antiphon.errors import InvalidRequest, NotFound
from antiphon.events import RunEvent, RunFinished
from antiphon.rendering.listing import listed
from antiphon.rendering.responses import DONE, ResponsesRenderer, response_object, sse
from antiphon.server.app import route
from antiphon.server.errors import from_failed_run
from antiphon.server.exchange import Exchange
from antiphon.server.streaming import stream, while_connected
from antiphon.store.base import Store
from antiphon.wire.lists import ListQuery, decode_query, item_list
from antiphon.wire.responses import CreateResponse, RetrieveQuery, decode_request

# Parameters the API has and this server does not serve yet. To drop them silently would be to answer another question.
_NOT_SERVED = ("prompt", "context_management", "moderation")


class Responses:
    """The routes under ``/v1/responses``. ``forward_auth`` gives the client's key to the upstream."""

    def __init__(self, runner: Runner, store: Store, *, forward_auth: bool = False) -> None:
        self._runner = runner
        self._store = store
        self._forward_auth = forward_auth

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
        _refuse_what_is_not_served(request)
        work = self._run_in_background if request.background else self._run
        await while_connected(exchange, work(exchange, request))

    async def retrieve(self, exchange: Exchange) -> None:
        """``GET /v1/responses/{id}``: the journal, rendered again; of a run still going, as far as it is durable.

        With ``stream=true``: the same stream as the first time, from the event after ``starting_after`` on.
        """
        asked = decode_query(exchange.query, RetrieveQuery)
        if asked.include:
            raise InvalidRequest("The query parameter 'include' is not supported here yet.", param="include")
        response_id = exchange.parameter("response_id")
        if asked.stream:
            await exchange.body()  # there is none; what comes after it tells when the client leaves
            skip = 0 if asked.starting_after is None else asked.starting_after + 1
            await while_connected(exchange, self._follow(exchange, response_id, skip=skip))
        elif asked.starting_after is not None:
            raise InvalidRequest("'starting_after' needs 'stream=true'.", param="starting_after")
        else:
            await exchange.respond_json(response_object(await self._store.events(exchange.owner, response_id)))

    async def cancel(self, exchange: Exchange) -> None:
        """``POST /v1/responses/{id}/cancel``: the response as it ended, by this or before."""
        events = await self._runner.cancel(exchange.owner, exchange.parameter("response_id"))
        await exchange.respond_json(response_object(events))

    async def delete(self, exchange: Exchange) -> None:
        """``DELETE /v1/responses/{id}``; one that is made in the background is cancelled first."""
        response_id = exchange.parameter("response_id")
        await self._runner.delete(exchange.owner, response_id)
        await exchange.respond_json({"id": response_id, "object": "response", "deleted": True})

    async def list_input_items(self, exchange: Exchange) -> None:
        """``GET /v1/responses/{id}/input_items``: what this response was asked, without what came before it."""
        query = decode_query(exchange.query, ListQuery)
        page = await self._store.input_items(exchange.owner, exchange.parameter("response_id"), query)
        await exchange.respond_json(item_list([listed(item) for item in page.items], has_more=page.has_more))

    async def _run(self, exchange: Exchange, request: CreateResponse) -> None:
        authorization = exchange.header(b"authorization") if self._forward_auth else None
        async with aclosing(self._runner.run(exchange.owner, request, authorization=authorization)) as batches:
            with _parent_found():
                first = await anext(batches)
            last = first[-1]
            if isinstance(last, RunFinished) and last.status == "failed":
                await exchange.respond_error(from_failed_run(last.error, forward_auth=self._forward_auth))
            elif request.stream:
                async with aclosing(_rendered(first, batches, exchange.mark_first_event)) as frames:
                    await stream(exchange, frames)
            else:
                events = [*first]
                async for batch in batches:
                    events += batch
                await exchange.respond_json(response_object(events))

    async def _run_in_background(self, exchange: Exchange, request: CreateResponse) -> None:
        authorization = exchange.header(b"authorization") if self._forward_auth else None
        with _parent_found():
            started = await self._runner.start(exchange.owner, request, authorization=authorization)
        if request.stream:
            await self._follow(exchange, started.run)
        else:
            await exchange.respond_json(response_object([started]))

    async def _follow(self, exchange: Exchange, response_id: str, *, skip: int = 0) -> None:
        async with aclosing(self._runner.follow(exchange.owner, response_id)) as batches:
            first = await anext(batches)  # or an error, which must come before the answer begins
            async with aclosing(_rendered(first, batches, exchange.mark_first_event, skip=skip)) as frames:
                await stream(exchange, frames)


async def _rendered(
    first: Sequence[RunEvent],
    following: AsyncIterator[list[RunEvent]],
    on_begun: Callable[[], None],
    *,
    skip: int = 0,
) -> AsyncGenerator[bytes, None]:
    """The stream of a run, one piece of bytes for each batch, without its first ``skip`` events.

    ``on_begun`` is told when the model has said something; the first batch only says that an upstream took the call.
    """
    renderer = ResponsesRenderer()

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


@contextmanager
def _parent_found() -> Iterator[None]:
    """Say what is not found as OpenAI does: it is the request that is wrong, its URL is not."""
    try:
        yield
    except NotFound as error:
        if error.kind != "response":
            raise
        raise InvalidRequest(
            f"Previous response with id {error.id!r} not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        ) from error


def _refuse_what_is_not_served(request: CreateResponse) -> None:
    for name in _NOT_SERVED:
        if getattr(request, name) is not None:
            raise InvalidRequest(f"The parameter {name!r} is not supported yet.", param=name)
