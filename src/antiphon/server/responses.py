"""``/v1/responses``: create, streamed or whole, and look up, and forget. Each is a reading of one run's journal."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing

from starlette.routing import Route

from antiphon.agent.formats import wanted_format
from antiphon.agent.runner import Runner, Shown
from antiphon.config import UnsupportedTools
from antiphon.errors import InvalidRequest, NotFound
from antiphon.events import RunEvent, RunFinished
from antiphon.rendering.listing import listed
from antiphon.rendering.responses import DONE, ResponsesRenderer, response_object, sse
from antiphon.server.app import route
from antiphon.server.errors import from_failed_run, unknown_previous
from antiphon.server.exchange import Exchange
from antiphon.server.profiles import Profiles
from antiphon.server.streaming import stream, while_connected
from antiphon.store.base import Store
from antiphon.wire.lists import ListQuery, decode_query, item_list
from antiphon.wire.parameters import refuse_unserved
from antiphon.wire.responses import CreateResponse, decode_request, input_items
from antiphon.wire.sealed import Sealer, opened


class Responses:
    """The routes under ``/v1/responses``.

    ``forward_auth`` gives the client's key to the upstream. ``unsupported_tools`` says what becomes of hosted tools
    that nothing here can run.
    """

    def __init__(
        self,
        runner: Runner,
        store: Store,
        *,
        forward_auth: bool = False,
        profiles: Profiles | None = None,
        unsupported_tools: UnsupportedTools = "drop",
    ) -> None:
        self._runner = runner
        self._store = store
        self._forward_auth = forward_auth
        self._profiles = profiles or Profiles()
        self._unsupported_tools = unsupported_tools

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
        shown = self._profiles.shown(exchange)
        self._admit(exchange, request, shown)
        await while_connected(exchange, self._run(exchange, request, shown))

    def _admit(self, exchange: Exchange, request: CreateResponse, shown: Shown) -> None:
        """Refuse what is not served; open what was sealed for this owner."""
        if request.background:
            raise InvalidRequest("Background responses are not supported yet.", param="background")
        items = input_items(request)
        refuse_unserved(request, items, profile=shown.profile, unsupported_tools=self._unsupported_tools)
        wanted_format(request)
        request.input = opened(items, self._profiles.sealer(exchange.owner))

    async def retrieve(self, exchange: Exchange) -> None:
        """``GET /v1/responses/{id}``: the journal, rendered again; of a run still going, as far as it is durable."""
        if exchange.query:
            # include, stream, starting_after … Each would change the answer.
            name = exchange.query.partition(b"=")[0].decode("latin-1").removesuffix("[]")
            raise InvalidRequest(f"The query parameter {name!r} is not supported here yet.", param=name)
        events = await self._store.events(exchange.owner, exchange.parameter("response_id"))
        await exchange.respond_json(response_object(events, sealer=self._profiles.sealer(exchange.owner)))

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

    async def _run(self, exchange: Exchange, request: CreateResponse, shown: Shown) -> None:
        sealer = self._profiles.sealer(exchange.owner)
        authorization = exchange.header(b"authorization") if self._forward_auth else None
        running = self._runner.run(exchange.owner, request, authorization=authorization, shown=shown)
        async with aclosing(running) as batches:
            try:
                first = await anext(batches)
            except NotFound as error:
                raise unknown_previous(error) from error
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


async def _rendered(
    first: Sequence[RunEvent],
    following: AsyncIterator[list[RunEvent]],
    sealer: Sealer | None,
    on_begun: Callable[[], None],
) -> AsyncGenerator[bytes, None]:
    """The stream of a run, one piece of bytes for each batch; ``on_begun`` is told when the model has said something.

    The first batch only says that an upstream took the call.
    """
    renderer = ResponsesRenderer(sealer=sealer)
    yield sse(renderer.render(first))
    has_begun = False
    async for batch in following:
        if not has_begun:
            has_begun = True
            on_begun()
        data = sse(renderer.render(batch))
        yield data + DONE if isinstance(batch[-1], RunFinished) else data
