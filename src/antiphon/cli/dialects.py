"""``antiphon dialects``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from antiphon.cli.common import EXIT_NOT_STARTED, explained


@click.command()
@click.option("--upstream", metavar="URL|NAME", default="", help="Show what applies there.")
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
    from antiphon.config.presets import presets

    with explained(EXIT_NOT_STARTED):
        if preset := presets().get(upstream):
            upstream = preset.url(os.environ)
        entries = load_dialects(Path(config) if config else None)
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
