"""Two runs side by side, for a terminal of 80 columns: one that was recorded, and one that left it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from antiphon.cassettes.diffing import Compared, first_divergence
from antiphon.cassettes.endpoints import endpoint
from antiphon.cassettes.format import Interaction
from antiphon.cassettes.picture import clean, cut, rows, style_of
from antiphon.cassettes.view import describe, model_of

_NOTHING = Text("–", style="dim")


def beside(found: Sequence[Compared], names: tuple[str, str], *, since: int = 0) -> Iterator[RenderableType]:
    """The pairs of two recordings, one under the other, each side in a column; ``names`` head the columns.

    Of the first ``since`` it is only said that they are the same.
    """
    if since:
        yield Text(f"Interactions 0 to {since - 1} are the same." if since > 1 else "Interaction 0 is the same.", "dim")
    yield columns(*(Text(clean(name), style="bold") for name in names))
    pairs = [each for each in found if not _is_before(each, since)]
    for each in pairs:
        yield _title(each)
        yield columns(*(_side(side) for side in each.pair))
    yield Text()
    different = [each for each in pairs if not each.is_equal]
    if not different:
        yield Text("Both runs say the same.", style="green")
        return
    yield from first_divergence(different[0])


def _is_before(each: Compared, since: int) -> bool:
    return each.pair.a is not None and each.pair.b is not None and max(each.pair.a[0], each.pair.b[0]) < since


def columns(left: RenderableType, right: RenderableType) -> Table:
    """Two things beside each other, each in half of the width."""
    table = Table.grid(padding=(0, 1), expand=True)
    for _ in range(2):
        table.add_column(ratio=1, overflow="fold")
    table.add_row(left, right)
    return table


def _title(each: Compared) -> Rule:
    numbers = [str(side[0]) if side else "–" for side in each.pair]
    either = each.pair.a or each.pair.b
    assert either is not None
    style = "dim" if each.is_equal else "red"
    return Rule(Text(clean(f"{' / '.join(numbers)} · {endpoint(either[1])}")), align="left", style=style)


def _side(side: tuple[int, Interaction] | None) -> RenderableType:
    if side is None:
        return _NOTHING
    interaction = side[1]
    said = describe(interaction)
    seconds = "" if interaction.duration_ms is None else f"{interaction.duration_ms / 1000:.2f} s"
    head = " · ".join(filter(None, (model_of(interaction), str(said["status"] or ""), seconds)))
    return Group(Text(clean(head), style="dim"), *(row(label, text) for label, text in rows(interaction, said)))


def row(label: str, text: str) -> Text:
    """A text with its label before it, as it stands in a column."""
    line = Text(f"{clean(label)} ", style=f"bold {style_of(label)}") if label else Text()
    return line.append(Text(cut(text), style="not bold default" if label else "dim"))
