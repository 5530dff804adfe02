"""``antiphon fork``: a recorded run that goes on live from some place, beside the one that was recorded."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antiphon.cli.common import EXIT_NOT_STARTED, explained, say, warn
from antiphon.cli.proxy import UPSTREAM_HELP, listening, proxy_settings

if TYPE_CHECKING:
    from antiphon.server.proxying import ProxySettings


@click.command()
@click.argument("recording", metavar="CASSETTE")
@click.option("--at", required=True, type=click.IntRange(min=0), metavar="N", help="Live after the first N.")
@click.option("--upstream", "upstreams", metavar="URL", multiple=True, required=True, help=UPSTREAM_HELP)
@click.option("--model", metavar="M", help="The model to ask from there on, whatever the client names.")
@click.option("--cassette", "into", metavar="OUT", help="Where the new run is kept, its beginning included.")
@click.option(
    "--match", type=click.Choice(["body", "order"]), default="body", show_default=True, help="How answers are found."
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@listening
def fork(
    recording: str,
    at: int,
    upstreams: tuple[str, ...],
    model: str | None,
    into: str | None,
    match: str,
    command: tuple[str, ...],
    host: str,
    port: int,
    log_level: str,
) -> None:
    """Answer the first N interactions from a cassette, then go live; at the end, show both runs side by side.

    The client makes the same calls again, to this proxy. It ends with Ctrl-C; or with the command behind --, whose SDKs
    are led here, and whose exit code is passed on.

    \b
    antiphon fork run.jsonl --at 3 --upstream http://localhost:8080/v1 --model qwen3 -- python agent.py
    """
    from antiphon.server.child import led_to, run_child
    from antiphon.server.proxying import ForkSettings, serve_proxy
    from antiphon.server.serving import configure_logging

    configure_logging("warning" if command else log_level)
    code = 0
    with explained(EXIT_NOT_STARTED), _place(into) as target:
        settings = proxy_settings(
            upstreams,
            mode="fork",
            cassette=Path(recording),
            match=match,
            fork=ForkSettings(at=at, into=target, model=model),
            **({} if command else {"host": host, "port": port}),
        )
        if command:
            led, env = led_to(settings, os.environ)
            code = run_child(led, command, env=env, tell=warn)
        else:
            serve_proxy(settings, say=say, tell=warn)
        _show(settings, target, at, kept=into is not None)
    sys.exit(code)


@contextlib.contextmanager
def _place(into: str | None) -> Iterator[Path]:
    """The file that was asked for, or one that is gone at the end."""
    if into is not None:
        yield Path(into)
        return
    with tempfile.TemporaryDirectory(prefix="antiphon-fork-") as directory:
        yield Path(directory) / "fork.jsonl"


def _show(settings: ProxySettings, target: Path, at: int, *, kept: bool) -> None:
    from rich.console import Console

    from antiphon.cassettes.beside import beside
    from antiphon.cassettes.diffing import compared

    if not target.exists():
        warn("fork: nothing was asked for, so there is nothing to compare")
        return
    console = Console(highlight=False)
    names = str(settings.cassette), str(target) if kept else "the fork"
    for each in beside(compared(settings.cassette or "", target), names, since=at):
        console.print(each)
