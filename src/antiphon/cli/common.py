"""What the verbs share: exit codes, how errors are told, and lines that are there at once."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import click

# Nothing was done, because of how it was asked for (also click's own).
EXIT_NOT_STARTED = 2
EXIT_SOME_FAILED = 1


def say(line: str) -> None:
    """Print at once, also into a pipe or a file: whoever started a server waits for this line."""
    print(line, flush=True)  # noqa: T201


def warn(line: str) -> None:
    """Print beside the output, which may belong to somebody else."""
    click.echo(line, err=True)


@contextlib.contextmanager
def explained(code: int) -> Iterator[None]:
    """Tell an error of ours in its own line, and exit with that code."""
    from antiphon.errors import AntiphonError

    try:
        yield
    except AntiphonError as error:
        warn(f"antiphon: {error.message}")
        sys.exit(code)
