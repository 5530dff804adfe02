"""Two recordings of the same thing, side by side: the first divergence first, for it is the cause of most others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.text import Text

from antiphon.cassettes.comparing import Divergence, Pair, divergence, pairs
from antiphon.cassettes.endpoints import endpoint
from antiphon.cassettes.format import Interaction
from antiphon.cassettes.matching import Difference
from antiphon.cassettes.picture import clean
from antiphon.cassettes.reading import read

_MAX_SHOWN = 8


class Compared(msgspec.Struct, frozen=True):
    """A pair of interactions, and in what they differ; None where one side has no such interaction."""

    pair: Pair
    found: Divergence | None

    @property
    def is_equal(self) -> bool:
        """Nothing differs that matters."""
        return self.found is not None and not self.found.requests and not self.found.answers


def compared(a: str | Path, b: str | Path) -> list[Compared]:
    """The interactions of two recordings, paired.

    Raises:
        CassetteError: one of them cannot be read.
    """
    return [
        Compared(pair, divergence(pair.a[1], pair.b[1]) if pair.a and pair.b else None)
        for pair in pairs(list(read(a)), list(read(b)))
    ]


def report(found: list[Compared]) -> Iterator[Text]:
    """The first divergence, then what is the matter with each interaction that is not as the other."""
    different = [each for each in found if not each.is_equal]
    if not different:
        yield Text(f"No difference in {len(found)} interactions.", style="green")
        return
    yield Text(f"First divergence: {_first(different[0])}", style="bold red")
    equal = len(found) - len(different)
    yield Text(f"{equal} interactions are the same, {len(different)} are not.\n", style="dim")
    for each in different:
        yield from _shown(each)


def _first(compared: Compared) -> str:
    found, name = compared.found, _name(compared.pair)
    if found is None:
        return f"{name} is in {'A' if compared.pair.a else 'B'} only"
    side, differences = ("request", found.requests) if found.requests else ("answer", found.answers)
    return f"{name}, {side}, at {clean(differences[0].path)}"


def _shown(compared: Compared) -> Iterator[Text]:
    found = compared.found
    if found is None:
        yield Text(f"{_name(compared.pair)}: in {'A' if compared.pair.a else 'B'} only", style="yellow")
        return
    yield Text(_name(compared.pair), style="bold")
    for side, differences in (("request", found.requests), ("answer", found.answers)):
        for each in differences[:_MAX_SHOWN]:
            yield _difference(side, each)
        if len(differences) > _MAX_SHOWN:
            yield Text(f"  {side}: {len(differences) - _MAX_SHOWN} more differences", style="dim")


def _difference(side: str, difference: Difference) -> Text:
    recorded, sent = difference.excerpts()
    text = Text(f"  {side} {clean(difference.path)}\n")
    text.append(f"    - {clean(recorded)}\n", style="red")
    return text.append(f"    + {clean(sent)}", style="green")


def _name(pair: Pair) -> str:
    def numbered(side: tuple[int, Interaction] | None) -> str:
        return "–" if side is None else str(side[0])

    either = pair.a or pair.b
    assert either is not None
    return f"interaction {numbered(pair.a)} / {numbered(pair.b)} ({clean(endpoint(either[1]))})"
