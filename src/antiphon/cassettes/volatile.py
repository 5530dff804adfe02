"""Parts of a request that a user declares to say nothing: they are left out before requests are compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from antiphon.errors import UsageError

_STEP = re.compile(
    r"""(?P<deep>\.\.)?(?:(?(deep)|\.)(?P<name>[A-Za-z_][\w-]*|\*)|\[(?:(?P<index>\d+)|(?P<any>\*)|'(?P<quoted>[^']+)')\])"""
)


class _Mark:
    """A step that is no name and no index."""


ANY: Final = _Mark()  # each member or item
DEEP: Final = _Mark()  # here, or anywhere below

Step = str | int | _Mark


class Volatile:
    """Declared parts: JSON paths into the body (``$.metadata.run``, ``$.messages[*].id``, ``$..trace``), or ``?name``
    for a query parameter.

    Raises:
        UsageError: one of them is neither.
    """

    def __init__(self, paths: Iterable[str] = ()) -> None:
        paths = tuple(paths)
        self.parameters = frozenset(path[1:] for path in paths if path.startswith("?"))
        self._paths = [_steps(path) for path in paths if not path.startswith("?")]

    def without(self, body: Any) -> Any:
        """The JSON value without what is declared; an item of a list becomes null, so that others keep their index."""
        for steps in self._paths:
            body = _without(body, steps)
        return body


NOTHING: Final = Volatile()


def _steps(path: str) -> list[Step]:
    steps: list[Step] = []
    at = 1
    while path.startswith("$") and at < len(path) and (found := _STEP.match(path, at)):
        if found["deep"]:
            steps.append(DEEP)
        if found["index"]:
            steps.append(int(found["index"]))
        else:
            name = found["name"] or found["quoted"]
            steps.append(ANY if found["any"] or name == "*" else name)
        at = found.end()
    if not steps or at != len(path):
        raise UsageError(
            f"The volatile part {path!r} is no path; write $.metadata.run, $.messages[*].id, $..trace, or ?name for a"
            " query parameter."
        )
    return steps


def _without(value: Any, steps: Sequence[Step]) -> Any:
    step, rest = steps[0], steps[1:]
    if step is DEEP:
        value = _without(value, rest)
        if isinstance(value, dict):
            return {name: _without(each, steps) for name, each in value.items()}
        return [_without(each, steps) for each in value] if isinstance(value, list) else value
    if isinstance(value, dict) and not isinstance(step, int):
        if not rest:
            return {name: each for name, each in value.items() if step is not ANY and name != step}
        return {name: _without(each, rest) if step is ANY or name == step else each for name, each in value.items()}
    if isinstance(value, list) and not isinstance(step, str):
        return [
            (_without(each, rest) if rest else None) if step is ANY or index == step else each
            for index, each in enumerate(value)
        ]
    return value
