"""The ``antiphon`` command: each verb is one call into a room.

Everything heavy is imported inside the verb that needs it, so that ``--help`` is there at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from antiphon import __version__

# Nothing was done, because of how it was asked for (also click's own).
_EXIT_NOT_STARTED = 2
_EXIT_SOME_FAILED = 1


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="antiphon")
def main() -> None:
    """Speak the OpenAI APIs over any model; every run is a journal."""


@main.command()
@click.option(
    "--upstream", metavar="URL", help="Where Chat Completions are answered, such as http://localhost:8080/v1."
)
@click.option("--api-key-env", metavar="NAME", help="The variable that holds the upstream's key.")
@click.option("--record", metavar="FILE", help="Write every call of the upstream to a cassette.")
@click.option("--replay", metavar="FILE", help="Answer from a recording instead of an upstream.")
@click.option(
    "--match",
    type=click.Choice(["body", "order"]),
    help="How a replay finds its answers: by equal requests (default), or in recorded order, saying what differs.",
)
@click.option(
    "--repair",
    type=click.Choice(["auto", "always", "never"]),
    help="Whether chat completions are mended on their way, or passed through: auto (default) mends where needed.",
)
@click.option(
    "--chunk-delay-ms", type=click.FloatRange(min=0), default=0.0, help="Pace of replays whose recording has no timing."
)
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes any free one.  [default: 8484]")
@click.option("--data-dir", metavar="DIR", help="Where responses are kept.  [default: ~/.local/share/antiphon]")
@click.option(
    "--profile",
    type=click.Choice(["openai", "open-responses"]),
    help="Names of events: OpenAI's (default), or those of Open Responses and nothing else.",
)
@click.option(
    "--reasoning-events",
    type=click.Choice(["summary", "raw"]),
    help="Show reasoning as a summary (default), or as raw text.",
)
@click.option("--config", metavar="FILE", help="The configuration.  [default: antiphon.toml, if there is one]")
@click.option("--no-auth", is_flag=True, help="Listen beyond this machine without keys (ANTIPHON_API_KEYS).")
@click.option("--forward-auth", is_flag=True, help="Give each client's own key to the upstream.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def serve(config: str | None, chunk_delay_ms: float, log_level: str, **flags: Any) -> None:
    """Serve the Responses and Chat Completions APIs over an upstream.

    Settings come from these flags, then ANTIPHON_* variables, then antiphon.toml. Keys of clients are set by
    ANTIPHON_API_KEYS (key,owner=key,...).
    """
    from antiphon.config import load_settings
    from antiphon.errors import AntiphonError
    from antiphon.server.serving import configure_logging
    from antiphon.server.serving import serve as serve_until_stopped

    configure_logging(log_level)
    try:
        settings = load_settings(flags, os.environ, Path(config) if config else None)
        serve_until_stopped(settings, say=_say, chunk_delay_s=chunk_delay_ms / 1000)
    except AntiphonError as error:
        click.echo(f"antiphon: {error.message}", err=True)
        sys.exit(_EXIT_NOT_STARTED)


@main.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each interaction.")
def inspect(files: tuple[str, ...], as_json: bool) -> None:
    """Show what recordings hold, whichever tool made them.

    A file that cannot be read is reported and does not stop the others; the exit code is 1 then.
    """
    from antiphon.errors import CassetteError

    show = _print_json if as_json else _print_picture
    failed = False
    for file in files:
        try:
            show(file)
        except CassetteError as error:
            click.echo(f"antiphon: {error.message}", err=True)
            failed = True
    if failed:
        sys.exit(_EXIT_SOME_FAILED)


def _print_json(file: str) -> None:
    import msgspec

    from antiphon.cassettes.view import inspect as described

    for interaction in described(file):
        click.echo(msgspec.json.encode(interaction))


def _print_picture(file: str) -> None:
    from rich.console import Console

    from antiphon.cassettes.picture import picture

    console = Console(highlight=False)
    for interaction in picture(file):
        console.print(interaction)


@main.command()
@click.option("--upstream", metavar="URL", default="", help="Show what applies there.")
@click.option("--model", metavar="NAME", default="", help="Show what applies to it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each entry, or what they amount to.")
@click.option("--config", metavar="FILE", help="The configuration.  [default: antiphon.toml, if there is one]")
def dialects(upstream: str, model: str, as_json: bool, config: str | None) -> None:
    """Show what upstreams and models do differently, why, and who says so.

    With --upstream or --model: what the entries amount to there.
    """
    import msgspec
    from rich.console import Console

    from antiphon.config import dialect_view, load_dialects
    from antiphon.errors import ConfigError

    try:
        entries = load_dialects(Path(config) if config else None)
    except ConfigError as error:
        click.echo(f"antiphon: {error.message}", err=True)
        sys.exit(_EXIT_NOT_STARTED)
    is_asked = bool(upstream or model)
    if as_json and is_asked:
        click.echo(msgspec.json.encode(dialect_view.dialect_object(entries, base_url=upstream, model=model)))
    elif as_json:
        for entry in entries:
            click.echo(msgspec.json.encode(dialect_view.entry_object(entry)))
    else:
        console = Console(highlight=False)
        asked = dialect_view.explanation(entries, base_url=upstream, model=model)
        for each in asked if is_asked else dialect_view.listing(entries):
            console.print(each)


def _say(line: str) -> None:
    """Print at once, also into a pipe or a file: whoever started the server waits for this line."""
    print(line, flush=True)  # noqa: T201
