"""Verbs that show what recordings hold."""

from __future__ import annotations

import sys

import click

from antiphon.cli.common import EXIT_SOME_FAILED


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
