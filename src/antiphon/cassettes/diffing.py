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
    yield from first_divergence(different[0])
    equal = len(found) - len(different)
    yield Text(f"\nThe same: {equal}. Different: {len(different)}.\n", style="dim")
    for each in different:
        yield from _shown(each)


def first_divergence(compared: Compared) -> Iterator[Text]:
    """Where two recordings part: the first difference of the pair, in what was asked or else in what was answered."""
    yield Text(f"First divergence: {_name(compared.pair)}", style="bold red")
    found = compared.found
    if found is None:
        yield Text(f"  in {'A' if compared.pair.a else 'B'} only")
    elif found.requests:
        yield _difference("request", found.requests[0])
    else:
        yield _difference("answer", found.answers[0])


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
