"""Verbs that show what recordings hold."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING

import click

from antiphon.cli.common import EXIT_NOT_STARTED, EXIT_SOME_FAILED, explained, warn

if TYPE_CHECKING:
    from antiphon.cassettes import Interaction


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
            warn(f"antiphon: {error.message}")
            failed = True
    if failed:
        sys.exit(EXIT_SOME_FAILED)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def ls(files: tuple[str, ...]) -> None:
    """List the interactions of recordings, one a line.

    The columns: index, method, endpoint, status, model, ~ for a stream, tokens (input+output), seconds, and what is
    known of the answer: wire (its chunks), body, parts (what a tool parsed), cut.
    """
    from rich.console import Console

    from antiphon.cassettes.listing import listing
    from antiphon.errors import CassetteError

    console = Console(highlight=False, soft_wrap=True)
    failed = False
    for file in files:
        if len(files) > 1:
            console.print(file, style="bold", markup=False)
        try:
            for line in listing(file):
                console.print(line)
        except CassetteError as error:
            warn(f"antiphon: {error.message}")
            failed = True
    if failed:
        sys.exit(EXIT_SOME_FAILED)


@click.command()
@click.argument("file", metavar="FILE")
@click.argument("number", metavar="[N]", type=click.IntRange(min=0), required=False)
@click.option("--raw", is_flag=True, help="The bytes: request, headers, body, answer.")
@click.option("--timing", is_flag=True, help="When each piece of the answer came, drawn.")
def show(file: str, number: int | None, raw: bool, timing: bool) -> None:
    """Show interaction N of a recording, or all of them, as the conversation it is."""
    from rich.console import Console

    with explained(EXIT_SOME_FAILED):
        if not raw and not timing:
            _print_picture(file, number)
            return
        console = Console(highlight=False)
        for index, interaction in _chosen(file, number):
            if raw:
                _print_raw(interaction)
            else:
                from antiphon.cassettes.endpoints import endpoint
                from antiphon.cassettes.timeline import timeline

                console.rule(f"{index} · {endpoint(interaction)}", align="left", style="dim")
                for line in timeline(interaction):
                    console.print(line)


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
def diff(a: str, b: str) -> None:
    """Compare two recordings of the same thing: the first divergence, then interaction by interaction.

    Ids, dates and token counts are not compared. The exit code is 1 where something differs.
    """
    from rich.console import Console

    from antiphon.cassettes.diffing import compared, report

    with explained(EXIT_NOT_STARTED):
        found = compared(a, b)
    console = Console(highlight=False)
    for line in report(found):
        console.print(line)
    if not all(each.is_equal for each in found):
        sys.exit(EXIT_SOME_FAILED)


def _chosen(file: str, number: int | None) -> list[tuple[int, Interaction]]:
    from antiphon.cassettes import read
    from antiphon.errors import UsageError

    if number is None:
        return list(enumerate(read(file)))
    found = list(itertools.islice(read(file), number, number + 1))
    if not found:
        raise UsageError(f"{file} has no interaction {number}; they are numbered from 0.")
    return [(number, found[0])]


def _print_raw(interaction: Interaction) -> None:
    """As it went over the wire, but for the encodings; into a terminal, too: whoever asks for bytes gets them."""
    from antiphon.cassettes.format import encode_interaction

    request, response = interaction.request, interaction.response
    if interaction.kind != "http" or response is None:
        click.echo(encode_interaction(interaction), nl=False)
        return
    if request is not None:
        click.echo(f"{request.method} {request.url}")
        _print_message(request.headers, request.body)
    click.echo("" if response.status is None else str(response.status))
    _print_message(response.headers, response.body)


def _print_message(headers: tuple[tuple[str, str], ...], body: bytes) -> None:
    for name, value in headers:
        click.echo(f"{name}: {value}")
    click.echo()
    click.echo(body, nl=not body.endswith(b"\n"))
    click.echo()


def _print_json(file: str) -> None:
    import msgspec

    from antiphon.cassettes.view import inspect as described

    for interaction in described(file):
        click.echo(msgspec.json.encode(interaction))


def _print_picture(file: str, number: int | None = None) -> None:
    from rich.console import Console

    from antiphon.cassettes.picture import picture
    from antiphon.errors import UsageError

    console = Console(highlight=False)
    count = 0
    for interaction in picture(file, number):
        console.print(interaction)
        count += 1
    if number is not None and not count:
        raise UsageError(f"{file} has no interaction {number}; they are numbered from 0.")
