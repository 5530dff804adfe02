"""``antiphon fork``: go on live from the middle of a run, and see what becomes of it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import click

from antiphon.cli.common import EXIT_NOT_STARTED, EXIT_SOME_FAILED, explained, say


@click.command()
@click.argument("response_id", metavar="RESPONSE_ID")
@click.option(
    "--at", metavar="N", type=click.IntRange(min=0), required=True, help="The turn to go on from; 0 is first."
)
@click.option("--model", metavar="MODEL", help="Who is asked from there.  [default: the model of the run]")
@click.option("--owner", default="local", show_default=True, help="Whose response it is; without keys all are 'local'.")
@click.option("--data-dir", metavar="DIR", help="Where responses are kept.  [default: ~/.local/share/antiphon]")
@click.option("--upstream", metavar="URL|NAME", help="Where Chat Completions are answered.")
@click.option("--api-key-env", metavar="NAME", help="The variable that holds the upstream's key.")
@click.option("--config", metavar="FILE", help="The configuration.  [default: antiphon.toml, if there is one]")
def fork(response_id: str, at: int, model: str | None, owner: str, config: str | None, **flags: Any) -> None:
    """Go on live from turn N of a stored response, and set both side by side.

    The turns before N stay as they are: their tools are not run again. What comes of it is stored as a response of its
    own. No server may be running on the data directory meanwhile. The exit code is 1 if the new response failed.
    """
    from rich.console import Console

    from antiphon.agent.comparison import side_by_side
    from antiphon.config import load_settings
    from antiphon.events import RunFinished
    from antiphon.server.forking import fork_stored
    from antiphon.server.serving import configure_logging

    configure_logging("error")
    with explained(EXIT_NOT_STARTED):
        settings = load_settings(flags, os.environ, Path(config) if config else None)
        forked = asyncio.run(fork_stored(settings, owner, response_id, at=at, model=model))
    console = Console(highlight=False)
    for part in side_by_side(forked.old, forked.new):
        console.print(part)
    say(f"Forked at turn {at}, and stored as {forked.run}")
    ended = forked.new[-1]
    if not isinstance(ended, RunFinished) or ended.status == "failed":
        sys.exit(EXIT_SOME_FAILED)
