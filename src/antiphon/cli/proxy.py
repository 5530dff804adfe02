"""``antiphon record``, ``replay`` and ``run``: the proxy, for clients of any language."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from antiphon.cli.common import EXIT_NOT_STARTED, explained, say, warn

if TYPE_CHECKING:
    from antiphon.server.proxying import ProxySettings

Command = Callable[..., Any]

UPSTREAM_HELP = (
    "Where calls go: URL, /prefix=URL (the prefix is left out upstream) or host=URL. May be given several times."
)


def listening(command: Command) -> Command:
    """The options of a verb that listens."""
    for option in (
        click.option(
            "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
        ),
        click.option("--port", type=click.IntRange(0, 65535), default=8484, show_default=True, help="0 takes any."),
        click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    ):
        command = option(command)
    return command


@click.command()
@click.option("--upstream", "upstreams", metavar="URL", multiple=True, required=True, help=UPSTREAM_HELP)
@click.option("--cassette", metavar="FILE", required=True, help="Where it is written; an existing one is continued.")
@click.option(
    "--auto", "mode", flag_value="auto", help="Answer from the cassette what is in it; record what is missing."
)
@click.option(
    "--refresh", "mode", flag_value="refresh", help="Ask everything anew; replace in the cassette what changed."
)
@listening
def record(upstreams: tuple[str, ...], cassette: str, mode: str | None, host: str, port: int, log_level: str) -> None:
    """Pass every call on to its upstream, and write down what is said.

    Any path, any method, any provider's wire, server-sent events and WebSockets. Clients keep their keys; the cassette
    has none of them.
    """
    _serve(log_level, upstreams, mode=mode or "record", cassette=Path(cassette), host=host, port=port)


@click.command()
@click.argument("cassette", metavar="FILE")
@click.option("--speed", type=click.FloatRange(min=0), default=0.0, help="Factor on recorded delays; 0 is at once.")
@click.option(
    "--match", type=click.Choice(["body", "order"]), default="body", show_default=True, help="How answers are found."
)
@click.option(
    "--upstream", "upstreams", metavar="URL", multiple=True, help="As it was given to record, if that is lost."
)
@listening
def replay(
    cassette: str, speed: float, match: str, upstreams: tuple[str, ...], host: str, port: int, log_level: str
) -> None:
    """Answer from a recording, whichever tool made it: no network, no key, the same bytes.

    A request that was not recorded is answered 422, with the nearest one. At the end it says what nobody asked for.
    """
    options = {"speed": speed, "match": match, "host": host, "port": port}
    _serve(log_level, upstreams, mode="replay", cassette=Path(cassette), **options)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--cassette", metavar="FILE", required=True)
@click.option("--mode", type=click.Choice(["replay", "record", "auto", "refresh"]), default="replay", show_default=True)
@click.option("--upstream", "upstreams", metavar="URL", multiple=True, help=UPSTREAM_HELP)
@click.option("--speed", type=click.FloatRange(min=0), default=0.0, help="Factor on recorded delays; 0 is at once.")
@click.option("--match", type=click.Choice(["body", "order"]), default="body", show_default=True)
@click.option("--prune", is_flag=True, help="Drop from the cassette what a replay that succeeded never asked for.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    cassette: str,
    mode: str,
    upstreams: tuple[str, ...],
    speed: float,
    match: str,
    prune: bool,
    command: tuple[str, ...],
) -> None:
    """Run a command whose model calls are answered from a cassette, or recorded into it.

    OPENAI_BASE_URL, ANTHROPIC_BASE_URL, GOOGLE_GEMINI_BASE_URL, GROQ_BASE_URL and OLLAMA_HOST lead the command to a
    proxy of its own; what they were set to is the upstream. A replay needs no keys. The exit code is the command's.

    \b
    antiphon run --cassette tests/run.jsonl -- pytest
    """
    from antiphon.server.child import client_upstreams, run_child
    from antiphon.server.serving import configure_logging

    configure_logging("warning")
    with explained(EXIT_NOT_STARTED):
        settings = proxy_settings(upstreams, mode=mode, cassette=Path(cassette), speed=speed, match=match)
        settings = _with_upstreams(settings, client_upstreams(os.environ))
        code = run_child(settings, command, env=os.environ, tell=warn, prunes=prune)
    sys.exit(code)


def _serve(log_level: str, upstreams: tuple[str, ...], **fields: Any) -> None:
    from antiphon.server.proxying import serve_proxy
    from antiphon.server.serving import configure_logging

    configure_logging(log_level)
    with explained(EXIT_NOT_STARTED):
        serve_proxy(proxy_settings(upstreams, **fields), say=say, tell=warn)


def proxy_settings(upstreams: tuple[str, ...], **fields: Any) -> ProxySettings:
    """What a proxy is to do, its upstreams as they were written."""
    from antiphon.config import load_scrub
    from antiphon.server.proxying import ProxySettings
    from antiphon.server.upstreams import parse

    return ProxySettings(upstreams=tuple(map(parse, upstreams)), scrub=load_scrub(), **fields)


def _with_upstreams(settings: ProxySettings, more: tuple[Any, ...]) -> ProxySettings:
    import msgspec

    return msgspec.structs.replace(settings, upstreams=(*settings.upstreams, *more))
