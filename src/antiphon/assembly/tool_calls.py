"""Which call a piece of a tool call belongs to.

The standard is simple: ``index`` names the call, the first piece has its id and name, later pieces have only
arguments. Upstreams leave out each of the three, repeat each of the three, and change each of the three, in ways
that contradict each other: the same index with another id is a second call here (Q03) and a continued one there
(Q13). No single field can be trusted, so the decision is a table over all of them (`ROWS`), read from the top; the
first row that holds decides.

Three principles stand behind the rows. A piece without a name never starts a call, unless there is nothing that it
could continue (Q13, Q14, Q17). A piece with a name starts a second call only where the first one could be whole
(Q03, Q04, Q15). What an upstream says once stands: first id, first whole name (Q12).

A call is a `Slot` from its first piece to the end of the stream: all calls stay open until then (Q08). It is
announced as soon as its name cannot change any more, and never without one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from antiphon.assembly import arguments
from antiphon.events import ToolKind


class Slot:
    """One call while it is being sent. ``id`` and ``name`` are ``""`` as long as the upstream gave none."""

    __slots__ = ("arguments", "block", "extra", "id", "index", "kind", "name")

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.kind: ToolKind = "function"
        self.arguments: list[str] = []
        self.block: str | None = None  # None until it is announced
        self.extra: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """The arguments so far; joined once for as long as nothing comes."""
        if len(self.arguments) > 1:
            self.arguments[:] = ["".join(self.arguments)]
        return self.arguments[0] if self.arguments else ""

    @property
    def is_whole(self) -> bool:
        """The arguments are a JSON object: the call could be over. Joins nothing where they plainly are not."""
        ends = self.arguments[-1].rstrip()[-1:] if self.arguments else ""
        return ends in ("", "}") and arguments.is_whole_object(self.text)

    def has_said(self, text: str) -> bool:
        """The arguments are this text. Joins nothing where it begins otherwise."""
        return bool(self.arguments) and text.startswith(self.arguments[0]) and self.text == text


class Piece(NamedTuple):
    """One entry of ``delta.tool_calls``, with null and empty made equal. ``at`` is its index, None if it has none."""

    at: int | None
    id: str
    name: str
    arguments: str
    kind: ToolKind = "function"
    extra: Mapping[str, Any] = {}


class Sighting(NamedTuple):
    """A piece and the calls it might belong to.

    ``place`` is the call it points to: the latest at its index; without an index the one with its id, else the last.
    ``owner`` is the call that has its id, wherever that stands.
    """

    piece: Piece
    place: Slot | None
    owner: Slot | None
    offered: Mapping[str, Any]

    @property
    def other_id(self) -> bool:
        """Both have an id, and they differ."""
        return bool(self.piece.id and self.place and self.place.id and self.piece.id != self.place.id)

    @property
    def same_name(self) -> bool:
        """The piece says the name again that the call already has."""
        return self.place is not None and self.piece.name == self.place.name

    @property
    def whole(self) -> bool:
        """The call it points to could be over: its arguments are a JSON object."""
        return self.place is not None and self.place.is_whole

    @property
    def same_arguments(self) -> bool:
        """The piece says all the arguments again that the call already has."""
        return self.place is not None and bool(self.piece.arguments) and self.place.has_said(self.piece.arguments)

    @property
    def has_only_a_name(self) -> bool:
        """The call it points to is not announced, and no argument has come: its name may not be whole."""
        return self.place is not None and self.place.block is None and not self.place.arguments

    @property
    def name_grows(self) -> bool:
        """The piece's name completes, or restates longer, a name that no argument has followed yet."""
        if self.place is None or not self.has_only_a_name or self.same_name:
            return False
        first, second = self.place.name, self.piece.name
        if first in self.offered and second in self.offered:
            return second.startswith(first) and not self.other_id
        return first + second in self.offered or (second.startswith(first) and second in self.offered)


To = Literal["new", "place", "owner", "nowhere"]


class Row(NamedTuple):
    """One decision: where a piece goes when ``when`` holds and no earlier row did. ``done`` None: nothing to tell."""

    quirk: str
    meaning: str
    when: Callable[[Sighting], bool]
    to: To
    done: str | None


ROWS: tuple[Row, ...] = (
    Row(
        "Q06",
        "no name, and the id of a call that stands at another index",
        lambda s: s.owner is not None and s.owner is not s.place and not s.piece.name,
        "owner",
        "followed the id, not the index",
    ),
    Row("Q07", "nothing to continue", lambda s: s.place is None, "new", None),
    Row(
        "Q13",
        "no name, and an id that differs from the call's own",
        lambda s: not s.piece.name and s.other_id,
        "place",
        "continued the call, kept its first id",
    ),
    Row("Q08", "no name", lambda s: not s.piece.name, "place", None),
    Row(
        "Q17",
        "the name of a call that had none",
        lambda s: s.place is not None and not s.place.name,
        "place",
        "named the call that was waiting",
    ),
    Row("Q16", "a piece of the name, or the name again but longer", lambda s: s.name_grows, "place", "joined the name"),
    Row("Q01", "no index, and a new id", lambda s: s.piece.at is None and s.other_id, "new", "took the id for index"),
    Row(
        "Q03",
        "the index of a call with another id, and another name",
        lambda s: s.other_id and not s.same_name,
        "new",
        "started a second call at the index",
    ),
    Row(
        "Q03",
        "the index of a call with another id, the same name, and whole arguments",
        lambda s: s.other_id and s.whole,
        "new",
        "started a second call at the index",
    ),
    Row(
        "Q12",
        "the whole call again",
        lambda s: not s.other_id and s.same_name and s.same_arguments and s.whole,
        "nowhere",
        "dropped the repetition",
    ),
    Row(
        "Q04",
        "the same name and new arguments, after whole ones",
        lambda s: s.same_name and s.piece.arguments.lstrip()[:1] == "{" and s.whole,
        "new",
        "started a second call",
    ),
    Row("Q15", "the name again", lambda s: s.same_name, "place", "took the name once"),
    Row(
        "Q16",
        "a name that goes on, tools unknown",
        lambda s: s.piece.at is not None and not s.offered and s.has_only_a_name,
        "place",
        "joined the name",
    ),
    Row("Q04", "another name", lambda s: True, "new", "started a second call"),
)


def decide(seen: Sighting) -> Row:
    """The first row that holds."""
    return next(row for row in ROWS if row.when(seen))
