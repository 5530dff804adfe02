"""From settings to an application: what is connected to what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache, lru_cache, partial
from typing import NamedTuple

import msgspec
from starlette.routing import Route

from antiphon.agent.acting import Tool
from antiphon.agent.limits import Limits
from antiphon.agent.loop import Target
from antiphon.agent.runner import Runner
from antiphon.cassettes import Player, Recorder, Scrubber, load
from antiphon.cassettes.loading import Held, Interactions
from antiphon.cassettes.modes import Auto
from antiphon.cassettes.refreshing import Refresh
from antiphon.cassettes.tool_tape import served_tools
from antiphon.clock import Clock, Ids, RandomIds, SystemClock
from antiphon.config import OwnerSettings, Repair, Settings, dialect_of, route
from antiphon.dialects import Dialect
from antiphon.errors import ConfigError, ModelNotFound
from antiphon.events import RunEvent
from antiphon.providers.chat import ChatProvider
from antiphon.providers.http import HttpTransport
from antiphon.providers.responses import ResponsesProvider
from antiphon.providers.upstream import HttpProvider
from antiphon.sealing import open_keyring
from antiphon.server.app import App
from antiphon.server.auth import Keys
from antiphon.server.chat import Chat
from antiphon.server.compaction import Compaction
from antiphon.server.conversations import Conversations
from antiphon.server.filing import Filing, open_filing
from antiphon.server.hosting import Hosting
from antiphon.server.metrics import Metrics
from antiphon.server.models import Models
from antiphon.server.openapi import OpenApi
from antiphon.server.passthrough import Passthrough
from antiphon.server.profiles import Profiles
from antiphon.server.responses import Responses
from antiphon.server.stored_chats import StoredChats
from antiphon.store.sqlite import SqliteStore
from antiphon.tools.taped import TapedTools
from antiphon.transport import HttpRequest, HttpResponse, Transport

# Of so many models it is remembered how they differ.
_MAX_DIALECTS = 1024


class Engine(NamedTuple):
    """What does runs, without what answers over HTTP."""

    runner: Runner
    store: SqliteStore
    hosting: Hosting
    filing: Filing
    providers: Mapping[str, HttpProvider]
    resolve: Callable[[str], list[Target]]
    dialects: Callable[[str, str], Dialect]
    recording: Interactions


@asynccontextmanager
async def open_engine(
    settings: Settings,
    *,
    clock: Clock,
    ids: Ids,
    chunk_delay_s: float = 0.0,
    on_difference: Callable[[str], None] | None = None,
    tools: Mapping[str, Tool] | None = None,
    on_ended: Callable[[Sequence[RunEvent]], None] | None = None,
) -> AsyncIterator[Engine]:
    """What does runs as these settings say; closed with the block. Runs of a dead process stay as they are.

    Raises:
        ConfigError, CassetteError, StoreError: it cannot be opened so.
    """
    async with AsyncExitStack() as stack:
        recording = _recording(settings, stack)
        store = SqliteStore.open(settings.data_dir, clock=clock)
        stack.push_async_callback(store.close)
        transport = _transport(settings, recording, clock, chunk_delay_s, on_difference)
        stack.push_async_callback(transport.close)
        # To look through all entries takes as long as many chunks. Clients may make up names of models.
        dialects = lru_cache(maxsize=_MAX_DIALECTS)(partial(dialect_of, settings))
        providers = _providers(settings, transport, dialects)
        resolve = _resolver(settings, providers)
        filing = await stack.enter_async_context(open_filing(settings, store, resolve, clock, ids))
        tape = served_tools(transport, clock=clock, tell=on_difference)
        hosting = Hosting(
            settings.mcp_servers,
            filing.stores,
            store.files,
            filing.blobs,
            egress=settings.egress,
            tape=None if tape is None else TapedTools(tape, live=settings.tools.live),
        )
        runner = Runner(
            store=store,
            resolve=resolve,
            clock=clock,
            ids=ids,
            limits=_limits(settings),
            tools=tools,
            max_background_runs=settings.limits.max_background_runs,
            on_interruption=settings.on_interruption,
            on_ended=on_ended,
            host=hosting.tools,
            load=hosting.load,
        )
        stack.push_async_callback(runner.close)
        yield Engine(runner, store, hosting, filing, providers, resolve, dialects, recording)


@asynccontextmanager
async def open_app(
    settings: Settings,
    *,
    chunk_delay_s: float = 0.0,
    on_difference: Callable[[str], None] | None = None,
    tools: Mapping[str, Tool] | None = None,
) -> AsyncIterator[App]:
    """The application these settings describe; closed with the block, and everything it opened with it.

    ``on_difference`` is told, in a line each, how requests differ from those of a cassette replayed in order.
    ``chunk_delay_s`` paces recordings that hold no timing. ``tools`` are run by this process when a model calls them.

    Raises:
        ConfigError, CassetteError, StoreError: it cannot be opened so.
    """
    clock, ids, metrics = SystemClock(), RandomIds(), Metrics()
    opened = open_engine(
        settings,
        clock=clock,
        ids=ids,
        chunk_delay_s=chunk_delay_s,
        on_difference=on_difference,
        tools=tools,
        on_ended=metrics.run_ended,
    )
    async with opened as engine:
        engine.runner.begin_recovery()
        app = _app(settings, engine, metrics, clock, ids)
        metrics.watch_in_flight(app.in_flight)
        try:
            yield app
        finally:
            await app.close()


def _app(settings: Settings, engine: Engine, metrics: Metrics, clock: Clock, ids: Ids) -> App:
    runner, store, resolve, providers = engine.runner, engine.store, engine.resolve, engine.providers
    passthrough = Passthrough(
        resolve,
        next(iter(providers.values())),
        ids,
        forward_auth=settings.forward_auth,
        on_call=metrics.call_passed_on,
    )
    repair_of = partial(_repair, settings, engine.dialects)
    routes = [
        *_response_routes(settings, runner, store, engine.hosting, clock, ids),
        *Chat(runner, passthrough, resolve, repair_of=repair_of, forward_auth=settings.forward_auth).routes(),
        *StoredChats(store).routes(),
        *engine.filing.routes,
        *_models(settings, providers, resolve, engine.recording, clock).routes(),
        *metrics.routes(),
    ]
    return App(
        [*routes, *OpenApi(routes).routes(), *passthrough.routes()],
        keys=Keys(settings.api_keys, forward_auth=settings.forward_auth, local_only=not settings.no_auth),
        clock=clock,
        ids=ids,
        forward_auth=settings.forward_auth,
        max_body_bytes=settings.limits.max_body_bytes,
        on_answered=metrics.request_ended,
    )


# --- what answers over HTTP ------------------------------------------------------------------


def _response_routes(
    settings: Settings, runner: Runner, store: SqliteStore, hosting: Hosting, clock: Clock, ids: Ids
) -> list[Route]:
    """Responses and what belongs to them: whatever takes items, and shows them in the profile of their owner."""
    forward_auth, profiles = settings.forward_auth, _profiles(settings, ids)
    responses = Responses(
        runner,
        store,
        forward_auth=forward_auth,
        profiles=profiles,
        unsupported_tools=settings.unsupported_tools,
        hosting=hosting,
    )
    return [
        *responses.routes(),
        *Compaction(runner, clock, ids, profiles=profiles, forward_auth=forward_auth, hosting=hosting).routes(),
        *Conversations(store, ids, profiles=profiles).routes(),
    ]


def _models(
    settings: Settings,
    providers: Mapping[str, HttpProvider],
    resolve: Callable[[str], list[Target]],
    recording: Interactions,
    clock: Clock,
) -> Models:
    @cache
    def named() -> dict[str, str]:
        aliases = {alias: each.upstream for alias, each in settings.models.items()}
        return aliases | dict.fromkeys(_recorded_models(recording), "recording")

    asked = [] if settings.replay else list(providers.values())
    return Models(asked, resolve, clock, named=named)


def _recording(settings: Settings, stack: AsyncExitStack) -> Interactions:
    """What a replay answers from; nothing without one."""
    recording = Held(()) if settings.replay is None else load(settings.replay)
    stack.callback(recording.close)
    return recording


# --- what answers model calls ----------------------------------------------------------------

_SPEAKING = {"chat": ChatProvider, "responses": ResponsesProvider}


def _providers(
    settings: Settings, transport: Transport, dialects: Callable[[str, str], Dialect]
) -> dict[str, HttpProvider]:
    return {
        each.name: _SPEAKING[each.api](
            each.name,
            each.base_url,
            transport,
            api_key=each.api_key,
            headers=each.headers,
            dialect_of=partial(dialects, each.name),
            max_event_bytes=settings.limits.max_event_bytes,
        )
        for each in settings.upstreams.values()
    }


def _transport(
    settings: Settings,
    recording: Interactions,
    clock: Clock,
    chunk_delay_s: float,
    on_difference: Callable[[str], None] | None,
) -> Transport:
    if settings.replay is None:
        return _live(settings, clock)
    return _player(settings, recording, chunk_delay_s, on_difference)


class Upstreams:
    """The live transport: each upstream has connections and timeouts of its own, found by its base URL."""

    def __init__(self, by_base_url: Mapping[str, Transport]) -> None:
        self._by_base_url = by_base_url

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request the way of the upstream it belongs to; see `Transport.send`."""
        base_url = max((each for each in self._by_base_url if request.url.startswith(f"{each}/")), key=len)
        return await self._by_base_url[base_url].send(request)

    async def close(self) -> None:
        """Close all connections."""
        for transport in self._by_base_url.values():
            await transport.close()


def _live(settings: Settings, clock: Clock) -> Transport:
    upstreams = Upstreams(
        {
            each.base_url: HttpTransport(connect_timeout_s=each.connect_timeout_s, read_timeout_s=each.read_timeout_s)
            for each in settings.upstreams.values()
        }
    )
    path = settings.record or settings.auto or settings.refresh
    if path is None:
        return upstreams
    scrub = _scrubber(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if settings.refresh is not None:
            return Refresh(upstreams, path, clock=clock, scrub=scrub)
        recorder = Recorder(upstreams, path, clock=clock, scrub=scrub)
    except OSError as error:
        raise ConfigError(f"Cannot record to {path}: {error.strerror}.") from error
    if settings.auto is None:
        return recorder
    kept = load(path) if path.exists() and path.stat().st_size else Held(())
    return Auto(Player(kept, match=settings.match, name=str(path), scrub=scrub), recorder)


def _scrubber(settings: Settings) -> Scrubber:
    keys = [upstream.api_key for upstream in settings.upstreams.values() if upstream.api_key]
    return Scrubber(keys, **msgspec.structs.asdict(settings.scrub))


def _player(
    settings: Settings,
    recording: Interactions,
    chunk_delay_s: float,
    on_difference: Callable[[str], None] | None,
) -> Player:
    def tell(number: int, differences: Iterable[object]) -> None:
        for difference in differences:
            if on_difference is not None:
                on_difference(f"interaction {number}: {difference}")

    return Player(
        recording,
        match=settings.match,
        on_difference=tell,
        chunk_delay_s=chunk_delay_s,
        name=str(settings.replay),
        scrub=_scrubber(settings),
    )


def _resolver(settings: Settings, providers: Mapping[str, HttpProvider]) -> Callable[[str], list[Target]]:
    def resolve(model: str) -> list[Target]:
        try:
            routes = route(settings, model)
        except ModelNotFound:
            if settings.replay is None:
                raise
            return [Target(next(iter(providers.values())), model)]  # the recording says whether there is an answer
        return [Target(providers[each.upstream], each.model) for each in routes]

    return resolve


def _profiles(settings: Settings, ids: Ids) -> Profiles:
    keyring = open_keyring(settings.seal_keys, settings.data_dir, new_secret=ids.new("seal") + ids.new(""))
    default = OwnerSettings(profile=settings.profile, reasoning_events=settings.reasoning_events)
    return Profiles(default, owners=settings.owners, keyring=keyring)


def _repair(settings: Settings, dialects: Callable[[str, str], Dialect], target: Target) -> Repair:
    """How a target's chat completions are to be treated: where nothing is set, by what is known of its model."""
    name = target.provider.name
    upstream = settings.upstreams[name]
    if upstream.api == "responses":
        return "always"  # it may have no chat completions to pass a request on to
    wanted = upstream.repair or settings.repair
    if wanted == "auto" and dialects(name, target.model).needs_repair:
        return "always"
    return wanted


def _limits(settings: Settings) -> Limits:
    limits = settings.limits
    return Limits(
        max_turns=limits.max_turns,
        max_tool_calls=limits.max_tool_calls,
        max_attempts=limits.max_attempts,
        max_format_retries=limits.max_format_retries,
        max_repeats=limits.max_repeats,
        retry_wait_s=limits.retry_wait_s,
        max_retry_wait_s=limits.max_retry_wait_s,
        timeout_s=limits.timeout_s,
    )


class _Asked(msgspec.Struct):
    model: str | None = None


def _recorded_models(recording: Interactions) -> list[str]:
    """The models that the requests of a recording name, in order."""
    found: dict[str, None] = {}
    for number in range(len(recording)):
        request = recording.asked(number)[1]
        if request is not None and request.body:
            try:
                model = msgspec.json.decode(request.body, type=_Asked).model
            except msgspec.DecodeError:
                continue  # an upload, say
            if model:
                found[model] = None
    return list(found)
