"""``antiphon fork``: a run that was recorded or stored goes on live from some place, beside the one that it was."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from antiphon.cli.common import EXIT_NOT_STARTED, EXIT_SOME_FAILED, explained, say, warn
from antiphon.cli.proxy import UPSTREAM_HELP, listening, proxy_settings

if TYPE_CHECKING:
    from antiphon.server.proxying import ProxySettings


@click.command()
@click.argument("source", metavar="CASSETTE|RESPONSE_ID")
@click.option("--at", required=True, type=click.IntRange(min=0), metavar="N", help="Live after the first N.")
@click.option("--upstream", "upstreams", metavar="URL", multiple=True, help=UPSTREAM_HELP)
@click.option("--model", metavar="M", help="The model to ask from there on, whatever was or is named.")
@click.option("--cassette", "into", metavar="OUT", help="Where the new run of a cassette is kept.")
@click.option(
    "--match", type=click.Choice(["body", "order"]), default="body", show_default=True, help="How answers are found."
)
@click.option("--data-dir", metavar="DIR", help="Where responses are kept.  [default: ~/.local/share/antiphon]")
@click.option("--owner", default="local", show_default=True, help="Whose response it is.")
@click.option("--config", metavar="FILE", help="The configuration.  [default: antiphon.toml, if there is one]")
@click.option("--api-key-env", metavar="NAME", help="The variable that holds the upstream's key.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@listening
def fork(source: str, at: int, upstreams: tuple[str, ...], model: str | None, **options: Any) -> None:
    """Keep the first N steps of a run, go on live from there, and show both runs side by side.

    Of a CASSETTE, the first N interactions are answered from it. The client makes the same calls again, to this proxy.
    It ends with Ctrl-C; or with the command behind --, whose SDKs are led here, and whose exit code is passed on.

    Of a stored response (resp_...), the first N turns are kept: their tools are not run again. What comes of it is
    stored as a response of its own. No server may use the data directory meanwhile. The exit code is 1 if the new
    response failed.

    \b
    antiphon fork run.jsonl --at 3 --upstream http://localhost:8080/v1 --model qwen3 -- python agent.py
    antiphon fork resp_4f2a --at 3 --upstream http://localhost:8080/v1 --model qwen3
    """
    is_response = source.startswith("resp_") and not Path(source).exists()
    own, others = (_OF_RESPONSES, _OF_CASSETTES) if is_response else (_OF_CASSETTES, _OF_RESPONSES)
    _refuse(others, f"is not for {'a stored response' if is_response else 'a cassette'}")
    verb = _fork_response if is_response else _fork_cassette
    verb(source, at, upstreams, model, log_level=options["log_level"], **{name: options[name] for name in own})


_OF_CASSETTES = ("into", "match", "command", "host", "port")
_OF_RESPONSES = ("data_dir", "owner", "config", "api_key_env")


def _refuse(names: Sequence[str], why: str) -> None:
    """Options that say something about another kind of run must not be lost silently."""
    context = click.get_current_context()
    given = [each for each in context.command.params if each.name in names]
    for each in given:
        if context.get_parameter_source(each.name or "") is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{each.opts[0]} {why}.")


def _fork_response(
    run: str,
    at: int,
    upstreams: tuple[str, ...],
    model: str | None,
    *,
    log_level: str,
    owner: str,
    config: str | None,
    **flags: Any,
) -> None:
    import asyncio

    from rich.console import Console

    from antiphon.agent.comparison import side_by_side
    from antiphon.config import load_settings
    from antiphon.server.forking import fork_stored
    from antiphon.server.serving import configure_logging

    configure_logging("warning" if log_level == "info" else log_level)
    if len(upstreams) > 1:
        raise click.UsageError("A stored response goes on with one --upstream; more of them are set in antiphon.toml.")
    with explained(EXIT_NOT_STARTED):
        flags["upstream"] = upstreams[0] if upstreams else None
        settings = load_settings(flags, os.environ, Path(config) if config else None)
        forked = asyncio.run(fork_stored(settings, owner, run, at=at, model=model))
    console = Console(highlight=False)
    for part in side_by_side(forked.old, forked.new):
        console.print(part)
    say(f"Forked at turn {at}, and stored as {forked.run}")
    if forked.has_failed:
        sys.exit(EXIT_SOME_FAILED)


def _fork_cassette(
    recording: str,
    at: int,
    upstreams: tuple[str, ...],
    model: str | None,
    *,
    log_level: str,
    into: str | None,
    match: str,
    command: tuple[str, ...],
    host: str,
    port: int,
) -> None:
    if not upstreams:
        raise click.UsageError("Missing option '--upstream': a cassette does not say who answers after it.")
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
