"""The proxy put together, and run on a socket."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

from antiphon.cassettes import Interaction, Player, Recorder, Scrubber, endpoint, load
from antiphon.cassettes.loading import Held, Interactions, first_url
from antiphon.cassettes.modes import Auto, Fork
from antiphon.cassettes.refreshing import Refresh
from antiphon.cassettes.writing import Writer
from antiphon.clock import RandomIds, SystemClock
from antiphon.config import ScrubSettings
from antiphon.errors import ConfigError, UsageError
from antiphon.providers.http import HttpTransport
from antiphon.server.proxy import Proxy
from antiphon.server.serving import Server, listen, loop_factory
from antiphon.server.upstreams import NOWHERE, Upstream, Upstreams, recorded
from antiphon.transport import HttpRequest, SocketTransport

Mode = Literal["record", "replay", "auto", "refresh", "live", "fork"]
_log = logging.getLogger("antiphon.proxy")

Say = Callable[[str], None]

# How many interactions that nobody asked for are named one by one.
_MAX_NAMED = 10


class ForkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run leaves its recording: after the first ``at`` interactions, which are written to ``into`` and followed
    there by what is live. ``model`` is asked in the place of the recorded one."""

    at: int
    into: Path
    model: str | None = None


class ProxySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a proxy is to do. ``speed`` is a factor on recorded delays: 0 replays at once, 1 as it was."""

    mode: Mode
    cassette: Path | None = None
    upstreams: tuple[Upstream, ...] = ()
    host: str = "127.0.0.1"
    port: int = 0
    speed: float = 0.0
    match: Literal["body", "order"] = "body"
    scrub: ScrubSettings = ScrubSettings()
    fork: ForkSettings | None = None


class Opened(NamedTuple):
    """A proxy; once it is closed, ``report`` holds what there is to say, ``unplayed`` the numbers of what nobody asked
    for."""

    proxy: Proxy
    report: list[str]
    unplayed: list[int]


@asynccontextmanager
async def open_proxy(settings: ProxySettings, *, say: Say | None = None) -> AsyncIterator[Opened]:
    """The proxy these settings describe, and what to say of the cassette once all is done; closed with the block.

    Raises:
        ConfigError, CassetteError: it cannot be opened so.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        kept = _kept(settings)
        player = None if kept is None else _player(settings, kept, say)
        upstreams = Upstreams([*settings.upstreams, *(() if kept is None else recorded(kept.upstreams()))])
        transport: SocketTransport
        if settings.mode == "replay":
            assert player is not None
            transport = player
        else:
            # A subscription may say nothing for hours; how long to wait is the client's to decide.
            transport = HttpTransport(raw=True, read_timeout_s=None)
            if settings.mode != "live":
                transport = _recording(settings, transport, upstreams, player, clock, say)
        stack.push_async_callback(transport.close)
        opened = Opened(Proxy(transport, upstreams, clock=clock, ids=RandomIds()), [], [])
        if player is not None:
            stack.callback(_look_back, player, settings, opened)
        stack.push_async_callback(opened.proxy.close)
        yield opened


def _kept(settings: ProxySettings) -> Interactions | None:
    """What the cassette holds, where it is to be replayed."""
    path = settings.cassette
    if settings.mode not in ("replay", "auto", "fork") or path is None:
        return None
    if settings.fork is not None:
        return _beginning(path, settings.fork.at)
    return Held(()) if settings.mode == "auto" and _is_missing(path) else load(path)


def _beginning(path: Path, count: int) -> Interactions:
    """The first interactions of a recording."""
    kept = load(path)
    try:
        if count > len(kept):
            raise UsageError(f"{path} holds {len(kept)} interactions; it cannot be forked after {count}.")
        return Held([kept[index] for index in range(count)])
    finally:
        kept.close()


def _player(settings: ProxySettings, kept: Interactions, say: Say | None) -> Player:
    tell_line = say or _log.info

    def tell(number: int, differences: Sequence[object]) -> None:
        for difference in differences:
            tell_line(f"replay: interaction {number}: {difference}")

    return Player(
        kept,
        match=settings.match,
        on_difference=tell,
        speed=settings.speed,
        joins=True,
        scrub=_scrubber(settings),
        name=str(settings.cassette),
        remedy=_remedy(settings, kept),
    )


def _remedy(settings: ProxySettings, kept: Interactions) -> str:
    """The command that records what a replay misses."""
    known = [*settings.upstreams, *(each for each in recorded(kept.upstreams()) if each.base_url != NOWHERE)]
    urls = [urlsplit(url) for url in filter(None, [first_url(kept)])]
    given = [str(each) for each in known] or [f"{url.scheme}://{url.netloc}" for url in urls[:1]] or ["URL"]
    return f"antiphon record --auto {' '.join(f'--upstream {each}' for each in given)} --cassette {{file}}"


def _recording(
    settings: ProxySettings,
    live: HttpTransport,
    upstreams: Upstreams,
    player: Player | None,
    clock: SystemClock,
    say: Say | None,
) -> SocketTransport:
    path = settings.cassette
    if path is None:
        raise ConfigError(f"The mode {settings.mode!r} needs a cassette. Name one with --cassette.")
    scrub, say = _scrubber(settings), say or _log.info

    def tags(request: HttpRequest) -> dict[str, str]:
        return upstreams.tags(request.url)

    try:
        if settings.mode == "refresh":
            return Refresh(live, path, clock=clock, scrub=scrub, tags=tags, tell=say)
        if settings.fork is not None and player is not None:
            count = _begin(settings.fork, player.unplayed, scrub)
            recorder = Recorder(live, settings.fork.into, clock=clock, scrub=scrub, tags=tags)
            return Fork(player, recorder, count=count, model=settings.fork.model, on_live=lambda: say("fork: now live"))
        recorder = Recorder(live, path, clock=clock, scrub=scrub, tags=tags)
    except OSError as error:
        raise ConfigError(f"Cannot record to {path}: {error.strerror}.") from error
    return Auto(player, recorder) if player else recorder


def _begin(fork: ForkSettings, beginning: Sequence[Interaction], scrub: Scrubber) -> int:
    """Write what comes before the fork; gives how many of it a proxy is asked for."""
    if not _is_missing(fork.into):
        raise UsageError(f"{fork.into} is there already. Name another file with --cassette.")
    writer = Writer(fork.into)
    for each in beginning:
        writer.append(scrub(each))
    writer.close()
    return sum(each.kind != "tool" for each in beginning)


def _scrubber(settings: ProxySettings) -> Scrubber:
    return Scrubber(**msgspec.structs.asdict(settings.scrub))


def _is_missing(path: Path) -> bool:
    return not path.exists() or path.stat().st_size == 0


def _look_back(player: Player, settings: ProxySettings, opened: Opened) -> None:
    """Note what of the cassette was not played, as long as its file is open."""
    left = player.unplayed_numbers()
    opened.unplayed[:] = [each for each in left if player.kind(each) != "tool"]  # which no proxy is asked for
    if settings.mode in ("replay", "fork"):
        opened.report[:] = _unplayed_lines(player, opened.unplayed)


def _unplayed_lines(player: Player, left: list[int]) -> list[str]:
    named = [(index, _named(player.interaction(index))) for index in left[:_MAX_NAMED]]
    lines = [f"replay: interaction {index} was never asked for: {name}" for index, name in named]
    if len(left) > _MAX_NAMED:
        lines.append(f"replay: {len(left) - _MAX_NAMED} more were never asked for")
    return lines


def _named(interaction: Interaction) -> str:
    method = interaction.request.method if interaction.request else ""
    return f"{method} {endpoint(interaction)}".strip()


# --- on a socket -----------------------------------------------------------------------------


def serve_proxy(settings: ProxySettings, *, say: Say, tell: Say) -> None:
    """Serve until a signal ends it. ``say`` gets the line that tells where, ``tell`` what is found of the cassette.

    Raises:
        ConfigError, CassetteError: it cannot start so.
    """
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(settings, say, tell))


async def _serve(settings: ProxySettings, say: Say, tell: Say) -> None:
    async with open_proxy(settings, say=tell) as opened:
        sockets = listen(settings.host, settings.port)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)  # uvicorn raises the one that ended it again
        url = url_of(settings.host, sockets[0].getsockname()[1])
        server = Server(opened.proxy, lambda: say(f"Antiphon listens on {url} ({_described(settings)})"), relays=True)
        await server.serve(sockets)
    for line in opened.report:
        tell(line)


def url_of(host: str, port: int) -> str:
    """The address of a server, as a URL."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _described(settings: ProxySettings) -> str:
    if settings.mode == "replay":
        return f"replaying {settings.cassette}"
    upstreams = ", ".join(each.base_url if not (each.prefix or each.host) else str(each) for each in settings.upstreams)
    doing = {
        "record": "recording to",
        "auto": "replaying, and recording what is missing, to",
        "refresh": "refreshing",
        "fork": "forked from",
    }
    return f"upstream {upstreams}" + (f"; {doing[settings.mode]} {settings.cassette}" if settings.mode in doing else "")
