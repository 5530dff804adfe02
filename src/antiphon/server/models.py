"""``/v1/models``: what all upstreams offer, as one list."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.routing import Route

from antiphon.agent.loop import Target
from antiphon.clock import Clock
from antiphon.errors import AntiphonError, ModelNotFound
from antiphon.providers.base import Provider
from antiphon.server.app import route
from antiphon.server.exchange import Exchange

CACHE_S = 10.0

_log = logging.getLogger(__name__)


class Listing(NamedTuple):
    """The models known, by id, and what went wrong on the way, by upstream."""

    models: dict[str, dict[str, Any]]
    failures: dict[str, AntiphonError]


class Models:
    """The routes under ``/v1/models``. Upstreams are asked again after ``CACHE_S``.

    ``named`` gives models that no upstream lists, aliases and those of recordings: by id, with who owns them. It is
    asked when a list is wanted: a recording may be long.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        resolve: Callable[[str], Sequence[Target]],
        clock: Clock,
        *,
        named: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._providers = providers
        self._resolve = resolve
        self._clock = clock
        self._named = named
        self._asking = asyncio.Lock()
        self._listing: Listing | None = None
        self._stale_at_s = 0.0

    def routes(self) -> list[Route]:
        """What is served, and by what."""
        return [
            route("GET", "/v1/models", self.list),
            route("GET", "/v1/models/{model:path}", self.retrieve),
        ]

    async def list(self, exchange: Exchange) -> None:
        """``GET /v1/models``. An upstream that does not answer is named in ``failures``, beside the list."""
        listing = await self._current()
        answer: dict[str, Any] = {"object": "list", "data": [*listing.models.values()]}
        if listing.failures:
            answer["failures"] = [
                {"upstream": name, "code": error.code, "message": error.message}
                for name, error in listing.failures.items()
            ]
        await exchange.respond_json(answer)

    async def retrieve(self, exchange: Exchange) -> None:
        """``GET /v1/models/{id}``; ids may hold slashes."""
        name = exchange.parameter("model")
        listing = await self._current()
        if name not in listing.models:
            raise ModelNotFound(name, known=tuple(listing.models))
        await exchange.respond_json(listing.models[name])

    async def _current(self) -> Listing:
        """The list as upstreams gave it in the last seconds.

        Raises:
            TransportError, ProviderError: there is no list, for this reason.
        """
        async with self._asking:
            if self._listing is None or self._clock.monotonic_s() >= self._stale_at_s:
                self._listing = await self._ask()
                self._stale_at_s = self._clock.monotonic_s() + CACHE_S
        listing = self._listing
        if listing.failures and not listing.models:
            raise next(iter(listing.failures.values()))
        return listing

    async def _ask(self) -> Listing:
        answers = await asyncio.gather(*(_models(provider) for provider in self._providers))
        models: dict[str, dict[str, Any]] = {}
        failures: dict[str, AntiphonError] = {}
        named = {
            id_: {"id": id_, "object": "model", "created": 0, "owned_by": owner} for id_, owner in self._named().items()
        }
        for provider, answer in zip(self._providers, answers, strict=True):
            if isinstance(answer, AntiphonError):
                _log.warning("upstream %s gives no list of models: %s", provider.name, answer)
                failures[provider.name] = answer
                continue
            for model in answer:
                name = self._name(provider, str(model["id"]))
                models[name] = {"object": "model", "created": 0, "owned_by": provider.name} | model | {"id": name}
        return Listing(named | models, failures)

    def _name(self, provider: Provider, model: str) -> str:
        """What to ask for here to reach a provider's model: its own name, unless that leads elsewhere."""
        try:
            leads_to = self._resolve(model)[0]
        except ModelNotFound:
            leads_to = None
        return model if leads_to == Target(provider, model) else f"{provider.name}/{model}"


async def _models(provider: Provider) -> list[dict[str, Any]] | AntiphonError:
    try:
        return [model for model in await provider.models() if "id" in model]
    except AntiphonError as error:
        return error
