"""``/v1/responses``: create, streamed or whole, and look up, and forget. Each is a reading of one run's journal."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing

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
from antiphon.wire.responses import CreateResponse, decode_request

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
            route("GET", "/v1/responses/{response_id}/input_items", self.list_input_items),
        ]

    async def create(self, exchange: Exchange) -> None:
        """``POST /v1/responses``. Streamed or not, it is the same run; what is not streamed is folded."""
        request = decode_request(await exchange.body())
        _refuse_what_is_not_served(request)
        await while_connected(exchange, self._run(exchange, request))

    async def retrieve(self, exchange: Exchange) -> None:
        """``GET /v1/responses/{id}``: the journal, rendered again; of a run still going, as far as it is durable."""
        if exchange.query:
            # include, stream, starting_after … Each would change the answer.
            name = exchange.query.partition(b"=")[0].decode("latin-1").removesuffix("[]")
            raise InvalidRequest(f"The query parameter {name!r} is not supported here yet.", param=name)
        events = await self._store.events(exchange.owner, exchange.parameter("response_id"))
        await exchange.respond_json(response_object(events))

    async def delete(self, exchange: Exchange) -> None:
        """``DELETE /v1/responses/{id}``."""
        response_id = exchange.parameter("response_id")
        await self._store.delete(exchange.owner, response_id)
        await exchange.respond_json({"id": response_id, "object": "response", "deleted": True})

    async def list_input_items(self, exchange: Exchange) -> None:
        """``GET /v1/responses/{id}/input_items``: what this response was asked, without what came before it."""
        query = decode_query(exchange.query, ListQuery)
        page = await self._store.input_items(exchange.owner, exchange.parameter("response_id"), query)
        await exchange.respond_json(item_list([listed(item) for item in page.items], has_more=page.has_more))

    async def _run(self, exchange: Exchange, request: CreateResponse) -> None:
        authorization = exchange.header(b"authorization") if self._forward_auth else None
        async with aclosing(self._runner.run(exchange.owner, request, authorization=authorization)) as batches:
            try:
                first = await anext(batches)
            except NotFound as error:
                if error.kind != "response":
                    raise
                # OpenAI's status and code: it is the request that is wrong, its URL is not.
                raise InvalidRequest(
                    f"Previous response with id {error.id!r} not found.",
                    param="previous_response_id",
                    code="previous_response_not_found",
                ) from error
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


async def _rendered(
    first: Sequence[RunEvent], following: AsyncIterator[list[RunEvent]], on_begun: Callable[[], None]
) -> AsyncGenerator[bytes, None]:
    """The stream of a run, one piece of bytes for each batch; ``on_begun`` is told when the model has said something.

    The first batch only says that an upstream took the call.
    """
    renderer = ResponsesRenderer()
    yield sse(renderer.render(first))
    has_begun = False
    async for batch in following:
        if not has_begun:
            has_begun = True
            on_begun()
        data = sse(renderer.render(batch))
        yield data + DONE if isinstance(batch[-1], RunFinished) else data


def _refuse_what_is_not_served(request: CreateResponse) -> None:
    if request.background:
        raise InvalidRequest("Background responses are not supported yet.", param="background")
    for name in _NOT_SERVED:
        if getattr(request, name) is not None:
            raise InvalidRequest(f"The parameter {name!r} is not supported yet.", param=name)
