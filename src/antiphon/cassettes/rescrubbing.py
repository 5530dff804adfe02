"""Recordings that exist already: whether secrets are in them, and how to take them out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from antiphon.cassettes.format import Interaction
from antiphon.cassettes.loading import load
from antiphon.cassettes.rewriting import Line, lines, replace
from antiphon.cassettes.scrubbing import Scrubber


class Leak(NamedTuple):
    """An interaction with secrets in it, and the names of what found them."""

    number: int
    names: list[str]


def check(path: Path, scrubber: Scrubber) -> Iterator[Leak]:
    """The interactions of a recording, whichever tool made it, that hold secrets.

    Raises:
        CassetteError: it cannot be read.
    """
    interactions = load(path)
    try:
        for number in range(len(interactions)):
            if names := scrubber.find(interactions[number]):
                yield Leak(number, names)
    finally:
        interactions.close()


def scrub(path: Path, scrubber: Scrubber) -> list[Leak]:
    """Take the secrets out of a native cassette, and give what there was; lines without any keep their bytes.

    Raises:
        CassetteError: it cannot be read, or is of another tool.
        OSError: it cannot be written; it is as it was.
    """
    found: list[Leak] = []
    content: list[Line | Interaction] = []
    for number, line in enumerate(lines(path)):
        names = scrubber.find(line.interaction)
        if names:
            found.append(Leak(number, names))
        content.append(scrubber(line.interaction) if names else line)
    if found:
        replace(path, content)
    return found
