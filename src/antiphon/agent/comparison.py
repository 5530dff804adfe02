"""Two runs side by side, turn by turn, for a terminal of 80 columns: what they share once, then each in its column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.text import Text

from antiphon.agent.turns import Turn, ending, turns
from antiphon.cassettes.beside import columns, row
from antiphon.cassettes.picture import Row, clean, table
from antiphon.events import RunEvent, RunStarted

# So much of one text is shown of the first difference.
_MAX_EXCERPT_CHARS = 60


class Difference(NamedTuple):
    """Where two runs part: the turn, and what each says there; None for one that says no more."""

    turn: int
    a: Row | None
    b: Row | None

    def __str__(self) -> str:
        return f"turn {self.turn}\n  - {_excerpt(self.a)}\n  + {_excerpt(self.b)}"


def first_difference(a: Sequence[RunEvent], b: Sequence[RunEvent]) -> Difference | None:
    """The first thing that two runs do not say or do alike; ids, times and token counts do not count."""
    for one, other in zip_longest(turns(a), turns(b)):
        either = one or other
        for said, other_said in zip_longest(one.rows if one else [], other.rows if other else []):
            if said != other_said:
                return Difference(either.number, said, other_said)
    return None


def side_by_side(a: Sequence[RunEvent], b: Sequence[RunEvent]) -> Iterator[RenderableType]:
    """Renderables to be printed one after the other: the turns that are the same, those that differ, and both ends."""
    old, new = turns(a), turns(b)
    same = _length_in_common(old, new)
    for turn in old[:same]:
        yield Group(_rule(turn.number, "the same"), table(turn.rows), Text())
    for one, other in zip_longest(old[same:], new[same:]):
        yield Group(_rule((one or other).number), columns(_cell(one), _cell(other)), Text())
    yield Group(
        Rule(Text("the end", style="bold"), align="left", style="dim"),
        columns(_rows([("", _name(a)), ending(a)]), _rows([("", _name(b)), ending(b)])),
        Text(),
    )
    found = first_difference(a, b)
    yield Text("No difference.", style="green") if found is None else Text(f"First difference: {found}", style="bold")


def _length_in_common(a: Sequence[Turn], b: Sequence[Turn]) -> int:
    return next((n for n, (one, other) in enumerate(zip(a, b, strict=False)) if one != other), min(len(a), len(b)))


def _rule(turn: int, *notes: str) -> Rule:
    title = "before the first turn" if turn < 0 else f"turn {turn}"
    return Rule(Text(" · ".join((title, *notes)), style="bold"), align="left", style="dim")


def _cell(turn: Turn | None) -> RenderableType:
    if turn is None:
        return Text("–", style="dim")
    return _rows([("", turn.model), *turn.rows])


def _rows(rows: Sequence[Row]) -> Group:
    return Group(*(row(label, said) for label, said in rows))


def _name(events: Sequence[RunEvent]) -> str:
    started = events[0]
    assert isinstance(started, RunStarted)
    return f"{started.run} ({started.model})"


def _excerpt(said_there: Row | None) -> str:
    if said_there is None:
        return "nothing"
    label, said = said_there
    said = clean(said).replace("\n", " ")
    return f"{label} {said[:_MAX_EXCERPT_CHARS]}{'…' if len(said) > _MAX_EXCERPT_CHARS else ''}"
