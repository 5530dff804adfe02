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

from antiphon.cassettes import Interaction, Player, Recorder, Scrubber, endpoint, read
from antiphon.cassettes.modes import Auto
from antiphon.cassettes.refreshing import Refresh
from antiphon.clock import RandomIds, SystemClock
from antiphon.config import ScrubSettings
from antiphon.errors import ConfigError
from antiphon.providers.http import HttpTransport
from antiphon.server.proxy import Proxy
from antiphon.server.serving import Server, listen, loop_factory
from antiphon.server.upstreams import NOWHERE, Upstream, Upstreams, recorded
from antiphon.transport import HttpRequest, SocketTransport

Mode = Literal["record", "replay", "auto", "refresh", "live"]
_log = logging.getLogger("antiphon.proxy")

Say = Callable[[str], None]

# How many interactions that nobody asked for are named one by one.
_MAX_NAMED = 10


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


class Opened(NamedTuple):
    """A proxy; once it is closed, ``report`` gives what there is to say, ``unplayed`` what nobody asked for."""

    proxy: Proxy
    report: Callable[[], list[str]]
    unplayed: Callable[[], list[int]]


@asynccontextmanager
async def open_proxy(settings: ProxySettings, *, say: Say | None = None) -> AsyncIterator[Opened]:
    """The proxy these settings describe, and what to say of the cassette once all is done; closed with the block.

    Raises:
        ConfigError, CassetteError: it cannot be opened so.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        player, kept = _player(settings, say)
        upstreams = Upstreams([*settings.upstreams, *recorded(kept)] if player else settings.upstreams)
        transport: SocketTransport
        report: Callable[[], list[str]] = list
        if settings.mode == "replay":
            assert player is not None
            transport, report = player, lambda: _unplayed_lines(kept, _unplayed(player, kept))
        else:
            # A subscription may say nothing for hours; how long to wait is the client's to decide.
            transport = HttpTransport(raw=True, read_timeout_s=None)
            if settings.mode != "live":
                transport = _recording(settings, transport, upstreams, player, clock, say)
        stack.push_async_callback(transport.close)
        proxy = Proxy(transport, upstreams, clock=clock, ids=RandomIds())
        stack.push_async_callback(proxy.close)
        yield Opened(proxy, report, lambda: _unplayed(player, kept) if player else [])


def _player(settings: ProxySettings, say: Say | None) -> tuple[Player | None, list[Interaction]]:
    """The player of the cassette, where one is to be replayed, and the interactions in it."""
    path = settings.cassette
    if settings.mode not in ("replay", "auto") or path is None:
        return None, []
    kept = [] if settings.mode == "auto" and _is_missing(path) else list(read(path))

    numbers = {id(each): index for index, each in enumerate(kept)}
    tell_line = say or _log.info

    def tell(interaction: Interaction, differences: Sequence[object]) -> None:
        for difference in differences:
            tell_line(f"replay: interaction {numbers[id(interaction)]}: {difference}")

    player = Player(
        kept,
        match=settings.match,
        on_difference=tell,
        speed=settings.speed,
        joins=True,
        scrub=_scrubber(settings),
        name=str(path),
        remedy=_remedy(settings, kept),
    )
    return player, kept


def _remedy(settings: ProxySettings, kept: Sequence[Interaction]) -> str:
    """The command that records what a replay misses."""
    known = [*settings.upstreams, *(each for each in recorded(kept) if each.base_url != NOWHERE)]
    urls = [urlsplit(each.request.url) for each in kept if each.request is not None]
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
    scrub = _scrubber(settings)

    def tags(request: HttpRequest) -> dict[str, str]:
        return upstreams.tags(request.url)

    try:
        if settings.mode == "refresh":
            return Refresh(live, path, clock=clock, scrub=scrub, tags=tags, tell=say or _log.info)
        recorder = Recorder(live, path, clock=clock, scrub=scrub, tags=tags)
    except OSError as error:
        raise ConfigError(f"Cannot record to {path}: {error.strerror}.") from error
    return Auto(player, recorder) if player else recorder


def _scrubber(settings: ProxySettings) -> Scrubber:
    return Scrubber(**msgspec.structs.asdict(settings.scrub))


def _is_missing(path: Path) -> bool:
    return not path.exists() or path.stat().st_size == 0


def _unplayed(player: Player, kept: Sequence[Interaction]) -> list[int]:
    left = {id(each) for each in player.unplayed}
    return [index for index, each in enumerate(kept) if id(each) in left]


def _unplayed_lines(kept: Sequence[Interaction], left: list[int]) -> list[str]:
    lines = [f"replay: interaction {index} was never asked for: {_named(kept[index])}" for index in left[:_MAX_NAMED]]
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
    for line in opened.report():
        tell(line)


def url_of(host: str, port: int) -> str:
    """The address of a server, as a URL."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _described(settings: ProxySettings) -> str:
    if settings.mode == "replay":
        return f"replaying {settings.cassette}"
    upstreams = ", ".join(each.base_url if not (each.prefix or each.host) else str(each) for each in settings.upstreams)
    doing = {"record": "recording to", "auto": "replaying, and recording what is missing, to", "refresh": "refreshing"}
    return f"upstream {upstreams}" + (f"; {doing[settings.mode]} {settings.cassette}" if settings.mode in doing else "")
