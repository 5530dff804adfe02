"""Verbs that show what recordings hold, and what is known of upstreams."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from antiphon.cli.common import EXIT_NOT_STARTED, EXIT_SOME_FAILED


@click.command()
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
        sys.exit(EXIT_SOME_FAILED)


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


@click.command()
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
        sys.exit(EXIT_NOT_STARTED)
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
