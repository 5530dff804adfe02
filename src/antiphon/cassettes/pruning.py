"""A native cassette made smaller: what nobody needs goes, the rest keeps its bytes."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import msgspec

from antiphon.cassettes.comparing import meaning
from antiphon.cassettes.endpoints import endpoint
from antiphon.cassettes.format import Interaction
from antiphon.cassettes.matching import loose_key
from antiphon.cassettes.rewriting import lines, replace
from antiphon.errors import CassetteError, UsageError


class Pruned(NamedTuple):
    """An interaction that goes, and why."""

    number: int
    operation: str
    reason: str

    def __str__(self) -> str:
        return f"interaction {self.number} ({self.operation}): {self.reason}"


def prune(
    path: Path,
    *,
    duplicates: bool = False,
    failed: bool = False,
    drop: Collection[int] = (),
    dry_run: bool = False,
) -> list[Pruned]:
    """Drop interactions by rule; gives what goes, or with ``dry_run`` what would.

    ``duplicates`` are those whose request and answer were there before; ``failed`` those that were cut, or answered
    with an error; ``drop`` names some by their index.

    Raises:
        CassetteError: the file cannot be read, is of another tool, or nothing would be left of it.
        OSError: it cannot be written; it is as it was.
    """
    content, gone, seen = lines(path), [], set()
    for index, line in enumerate(content):
        each, reason = line.interaction, ""
        if index in drop:
            reason = "it was named"
        elif failed and _has_failed(each):
            reason = "it failed"
        elif duplicates and each.request is not None:
            same = (loose_key(each.request), msgspec.json.encode(meaning(each), order="sorted"))
            reason = "it was there before" if same in seen else ""
            seen.add(same)
        if reason:
            gone.append(Pruned(index, endpoint(each), reason))
    if len(gone) == len(content):
        raise CassetteError(f"Nothing would be left of {path}; delete the file instead.")
    if gone and not dry_run:
        indices = {each.number for each in gone}
        replace(path, [line for index, line in enumerate(content) if index not in indices])
    return gone


def _has_failed(interaction: Interaction) -> bool:
    response = interaction.response
    return response is not None and (response.error is not None or (response.status or 0) >= 400)


_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def parse_indices(text: str) -> set[int]:
    """The numbers of ``0,2,5-7``.

    Raises:
        UsageError: it is not written so.
    """
    found: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"{text!r} does not name interactions; write 3 or 0,2,5-7.")
        found |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return found
