"""Where one run leaves another: the events that both begin with. Pure.

What a fork begins with is not done again: its tool calls have their results, its model calls their answers. So a fork
is a run that is resumed, from a journal that was cut before the turn where it goes its own way.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from antiphon.errors import InvalidRequest
from antiphon.events import Fork, RunEvent, RunStarted, TurnStarted


def forked(events: Sequence[RunEvent], *, at: int, run: str, created_at_s: int, model: str | None) -> list[RunEvent]:
    """The journal of the new run ``run``, as far as it is that of the old one: up to the old one's turn ``at``, from 0.

    ``model`` is the one that is asked from there; None keeps it. The new run is nobody's in the background.

    Raises:
        InvalidRequest: the old run has no such turn.
    """
    started = events[0]
    assert isinstance(started, RunStarted)
    begun: dict[int, int] = {}
    for position, event in enumerate(events):
        if isinstance(event, TurnStarted):
            begun.setdefault(event.turn, position)  # its first attempt
    if at not in begun:
        turns = f"Its last turn is {max(begun)}, and turns are counted from 0." if begun else "It has no turns."
        raise InvalidRequest(f"Response {started.run!r} cannot be forked at turn {at}. {turns}", param="at")
    model = model or started.model
    request = {name: value for name, value in started.request.items() if name != "background"}
    beginning = structs.replace(
        started,
        run=run,
        created_at_s=created_at_s,
        model=model,
        request={**request, "model": model},
        forked_from=Fork(run=started.run, turn=at),
    )
    return [beginning, *events[1 : begun[at]]]
