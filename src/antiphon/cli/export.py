"""``antiphon export``: a stored response as a cassette, and as a test."""

from __future__ import annotations

import os
from pathlib import Path

import click

from antiphon.cli.common import EXIT_SOME_FAILED, explained

_KNOWN = {
    "wire": "as recorded",
    "body": "as recorded",
    "parsed": "written anew from the journal: what the upstream sent was not recorded",
}


@click.command()
@click.argument("response_id", metavar="RESPONSE_ID")
@click.option("-o", "--output", "target", metavar="FILE", required=True, help="The cassette to write.")
@click.option("--pytest", "with_test", is_flag=True, help="Write a test beside it that fails until this changes.")
@click.option("--recording", metavar="FILE", help="What the server recorded (serve --record): the bytes as they came.")
@click.option("--data-dir", metavar="DIR", help="The server's.  [default: ~/.local/share/antiphon]")
@click.option("--owner", default="local", show_default=True, help="Whose response it is, where clients have keys.")
@click.option("--upstream", metavar="URL", help="Where the model was asked, if no configuration says.")
@click.option("--config", metavar="FILE", help="The server's.  [default: antiphon.toml, if there is one]")
@click.option("--force", is_flag=True, help="Write over files that are there.")
def export(
    response_id: str,
    target: str,
    with_test: bool,
    recording: str | None,
    data_dir: str | None,
    owner: str,
    upstream: str | None,
    config: str | None,
    force: bool,
) -> None:
    """Write a stored response of the server as a cassette; the server may be running.

    With --pytest, a bad answer in production becomes a test that fails offline. Earlier responses of its chain are
    part of what it was asked. What looks like a secret is taken out.
    """
    import asyncio

    from antiphon.config import load_settings
    from antiphon.server.exporting import UNKNOWN_URL, gather, write_cassette, write_test

    with explained(EXIT_SOME_FAILED):
        flags = {"upstream": upstream or UNKNOWN_URL, "data_dir": data_dir}
        settings = load_settings(flags, os.environ, Path(config) if config else None)
        found = asyncio.run(gather(settings, owner, response_id, Path(recording) if recording else None))
        path = Path(target)
        write_cassette(path, found.interactions, force=force)
        click.echo(f"{path}: {len(found.interactions)} interactions, {_KNOWN[found.fidelity]}")
        if with_test:
            test = write_test(path, found, force=force)
            click.echo(f"{test}: fails until the behaviour changes; run it with: pytest {test}")
