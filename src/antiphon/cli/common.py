"""What the verbs share: exit codes, and lines that are there at once."""

from __future__ import annotations

# Nothing was done, because of how it was asked for (also click's own).
EXIT_NOT_STARTED = 2
EXIT_SOME_FAILED = 1


def say(line: str) -> None:
    """Print at once, also into a pipe or a file: whoever started a server waits for this line."""
    print(line, flush=True)  # noqa: T201
