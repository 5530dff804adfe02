"""Collects what was changed or dropped, so that it can be disclosed."""

from __future__ import annotations

from antiphon.events import Diagnostic

_LONGEST_SHOWN = 120
_MOST_SHOWN = 5


class Notes:
    """Diagnostics of one request; the same thing seen often is said once."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], list[str]] = {}

    def add(self, quirk: str, *, seen: str, done: str) -> None:
        """Note that ``seen`` was in the request, and what was ``done`` with it."""
        self._seen.setdefault((quirk, done), []).append(seen)

    def diagnostics(self) -> list[Diagnostic]:
        """One for each kind of change, in order of first appearance."""
        return [Diagnostic(quirk=quirk, seen=_listed(seen), done=done) for (quirk, done), seen in self._seen.items()]


def shown(text: str) -> str:
    """The text, shortened."""
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _listed(seen: list[str]) -> str:
    different = list(dict.fromkeys(seen))
    names = ", ".join(shown(text) for text in different[:_MOST_SHOWN])
    unnamed = len(different) - _MOST_SHOWN
    return f"{names} and {unnamed} more" if unnamed > 0 else names
