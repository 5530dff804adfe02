"""Which interaction answers a request: by its body, by its place, or by what a user says is alike.

Requests are looked at as far as it takes to find one, so that a long cassette costs what is used of it. Nothing here
waits or locks: whoever shares a `Lookup` between threads takes turns.
"""

from __future__ import annotations

import contextlib
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import msgspec

from antiphon.cassettes import matching
from antiphon.cassettes.endpoints import endpoint
from antiphon.cassettes.format import Interaction, Kind, RecordedRequest
from antiphon.cassettes.loading import Interactions
from antiphon.cassettes.matching import Difference, family, relevant_differences
from antiphon.cassettes.volatile import NOTHING, Volatile
from antiphon.transport import HttpRequest

Alike = Callable[[RecordedRequest, HttpRequest], bool]

WAITING: Final = 0
PLAYED: Final = 1
OTHER: Final = 2  # of a kind that is not looked up here

# A recorded request is compared with this many that stand near it, and a miss with this many of its kind: a message
# must not take longer than the test.
_MAX_NEIGHBOURS = 16
_MAX_COMPARED = 1000

# As many more are looked at before a request is scrubbed, which takes longer: about as many as clients at a time.
_NEAR = 64


class Ambiguous(Exception):
    """Several interactions would fit and nothing says which; the first two of them."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(first, second)
        self.pair = first, second


class Lookup:
    """Finds and hands out each interaction once. ``kinds`` are those it is asked for, others are not counted."""

    def __init__(
        self, interactions: Interactions, *, kinds: Iterable[Kind] = ("http", "tool"), volatile: Volatile = NOTHING
    ) -> None:
        self._all = interactions
        self._kinds = frozenset(kinds)
        self._volatile = volatile
        self._states = bytearray(len(interactions))
        self._scanned = 0
        self._exact = _Queues(self._states)
        self._loose: _Queues | None = None  # made when first needed
        self._families: dict[tuple[str, str], array[int]] = {}
        self._cursors: dict[tuple[str, str], int] = {}

    def waiting(self) -> Iterator[int]:
        """The numbers of those that nothing has asked for yet."""
        self._scan_rest()
        return (index for index, state in enumerate(self._states) if state == WAITING)

    def give(self, index: int) -> Interaction:
        """The interaction, with as much as it takes to play it; counted as played from now on."""
        interaction = self._all.answer(index)
        self._states[index] = PLAYED
        return interaction

    # --- by body -----------------------------------------------------------------------------

    def by_body(self, request: HttpRequest, other_forms: Callable[[], Sequence[HttpRequest]] = tuple) -> int | None:
        """The first that waits with such a body, exactly so or else loosely.

        ``other_forms`` are those that the request may have been written down in; they are made if it is not found as
        it is.

        Raises:
            KeyError: there never was one.
            Ambiguous: it is loosely like several that were under way at the same time.
        """
        exact = [matching.exact_key(request)]
        if (found := self._exact.first(exact[0])) is not None:
            return found
        for _ in range(min(_NEAR, len(self._all) - self._scanned)):
            if self._scan() == exact[0]:
                return self._scanned - 1  # who asks as it was asked before looks no further
        forms = [request, *other_forms()]
        exact += [matching.exact_key(form) for form in forms[1:]]
        for key in exact:
            if (found := self._exact.first(key)) is not None:
                return found
        while self._scanned < len(self._all):
            if self._scan() in exact:
                return self._scanned - 1
        if any(key in self._exact for key in exact):
            return None
        loosely = self._loosely()
        loose = [matching.loose_key(form, self._volatile) for form in forms]
        for key in loose:
            if (found := loosely.first(key)) is not None:
                self._check(found, loosely.waiting(key))
                return found
        if any(key in loosely for key in loose):
            return None
        raise KeyError

    def _loosely(self) -> _Queues:
        if self._loose is None:
            self._loose = _Queues(self._states)
            for index in range(len(self._all)):
                request = self._all.asked(index)[1] if self._states[index] != OTHER else None
                if request is not None:
                    self._loose.add(matching.loose_key(request, self._volatile), index)
        return self._loose

    def _check(self, first: int, others: Iterable[int]) -> None:
        """Recorded order tells equal requests apart, unless they were under way at the same time."""
        one = self._all[first]
        for index in islice((index for index in others if index != first), _MAX_NEIGHBOURS):
            two = self._all[index]
            if _overlap(one, two) and not _same(one, two):
                raise Ambiguous(first, index)

    def by_rule(self, request: HttpRequest, alike: Alike) -> int | None:
        """The first that waits and is alike; what is exactly equal goes before.

        Raises:
            KeyError: there never was one.
            Ambiguous: several are alike that are not equal to each other.
        """
        with contextlib.suppress(KeyError, Ambiguous):
            if (found := self.by_body(request)) is not None:
                return found
        fitting: dict[matching.Key, int] = {}
        has_been = False
        for index in range(len(self._all)):
            recorded = self._all.asked(index)[1] if self._states[index] != OTHER else None
            if recorded is not None and alike(recorded, request):
                has_been = True
                if self._states[index] == WAITING:
                    fitting.setdefault(matching.loose_key(recorded, self._volatile), index)
        if not has_been:
            raise KeyError
        if len(fitting) > 1:
            raise Ambiguous(*islice(fitting.values(), 2))
        return next(iter(fitting.values()), None)

    # --- by place ----------------------------------------------------------------------------

    def in_order(self, request: HttpRequest) -> int | None:
        """The first that waits of the same method and operation.

        Raises:
            KeyError: there never was one.
        """
        wanted = family(request)
        while True:
            numbers = self._families.get(wanted, ())
            for place in range(self._cursors.get(wanted, 0), len(numbers)):
                if self._states[numbers[place]] == WAITING:
                    self._cursors[wanted] = place
                    return numbers[place]
            self._cursors[wanted] = len(numbers)
            if self._scanned == len(self._all):
                break
            self._scan()
        if not numbers:
            raise KeyError
        return None

    def next(self) -> int | None:
        """The first of all that wait."""
        while True:
            found = self._states.find(WAITING, 0, self._scanned)
            if found >= 0 or self._scanned == len(self._all):
                return found if found >= 0 else None
            self._scan()

    # --- for messages ------------------------------------------------------------------------

    def nearest(self, request: HttpRequest) -> tuple[int, list[Difference]] | None:
        """The recorded request of the same kind that differs in the fewest places; what still waits goes first."""
        self._scan_rest()
        numbers = self._families.get(family(request), ())
        found: tuple[int, list[Difference]] | None = None
        for index in islice(sorted(numbers, key=self._states.__getitem__), _MAX_COMPARED):
            recorded = self._all.asked(index)[1]
            differences = [] if recorded is None else relevant_differences(recorded, request, self._volatile)
            if found is None or len(differences) < len(found[1]):
                found = index, differences
        return found

    def differences(self, index: int, request: HttpRequest) -> list[Difference]:
        """What keeps a request from matching that one."""
        recorded = self._all.asked(index)[1]
        return [] if recorded is None else relevant_differences(recorded, request, self._volatile)

    def between(self, first: int, second: int) -> list[Difference]:
        """In what two recorded requests differ."""
        one, two = self._all.asked(first)[1], self._all.asked(second)[1]
        return matching.differences(one, two) if one and two else []

    def families(self) -> list[str]:
        """All kinds of requests that there are, as ``POST /responses``."""
        self._scan_rest()
        return sorted({" ".join(each) for each in self._families})

    # --- looking ahead -----------------------------------------------------------------------

    def _scan(self) -> bytes:
        """Take the next interaction in; gives the key of its request, empty where it has none."""
        index = self._scanned
        self._scanned += 1
        kind, request = self._all.asked(index)
        if kind not in self._kinds:
            self._states[index] = OTHER
            return b""
        name = ("POST", endpoint(self._all[index])) if request is None else family(request)
        if name not in self._families:
            self._families[name] = array("L")
        self._families[name].append(index)
        if request is None:
            return b""
        key = matching.exact_key(request)
        self._exact.add(key, index)
        return key

    def _scan_rest(self) -> None:
        while self._scanned < len(self._all):
            self._scan()


class _Queues:
    """Numbers in order, by key; a number that stands alone has no list of its own, as nearly all do."""

    def __init__(self, states: bytearray) -> None:
        self._states = states
        self._numbers: dict[bytes, int | deque[int]] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._numbers

    def add(self, key: bytes, index: int) -> None:
        held = self._numbers.setdefault(key, index)
        if isinstance(held, deque):
            held.append(index)
        elif held != index:
            self._numbers[key] = deque((held, index))

    def first(self, key: bytes) -> int | None:
        """The first that waits."""
        held = self._numbers.get(key)
        if held is None:
            return None
        if isinstance(held, int):
            return held if self._states[held] == WAITING else None
        while held:
            if self._states[held[0]] == WAITING:
                return held[0]
            held.popleft()
        return None

    def waiting(self, key: bytes) -> Iterator[int]:
        held = self._numbers[key]
        return (index for index in ([held] if isinstance(held, int) else held) if self._states[index] == WAITING)


def _overlap(one: Interaction, two: Interaction) -> bool:
    """Whether the later one had begun before the earlier was over; so far as the recording tells."""
    if one.started_at is None or two.started_at is None:
        return False
    starts_s = one.started_at.timestamp(), two.started_at.timestamp()
    earlier = one if starts_s[0] <= starts_s[1] else two
    return max(starts_s) < min(starts_s) + (earlier.duration_ms or 0.0) / 1000


def _same(one: Interaction, two: Interaction) -> bool:
    """Whether it does not matter which of them is given."""
    asked = [msgspec.json.encode(each.tool.arguments) if each.tool else _body(each) for each in (one, two)]
    if asked[0] == asked[1]:
        return True  # equal requests: any answer of theirs is right
    return _answer(one) == _answer(two)


def _body(interaction: Interaction) -> bytes:
    return b"" if interaction.request is None else interaction.request.body


def _answer(interaction: Interaction) -> object:
    if interaction.tool is not None:
        return interaction.tool.result, interaction.tool.error
    response = interaction.response
    return None if response is None else (response.status, response.body, response.error)
