"""Attribute filters: what a request asks for, checked once, then applied to any file's attributes. Pure.

A comparison of unlike things is false and never an error: a string is not greater than a number, and a file that has
not the attribute matches only ``ne`` and ``nin``. ``true`` is not 1.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from antiphon.errors import InvalidRequest

Value = str | float | int | bool
Attributes = Mapping[str, Value]

# Deeper nesting is an attack on the stack rather than a question.
MAX_DEPTH = 32
MAX_COMPARISONS = 1_000


class Comparison(msgspec.Struct, frozen=True):
    """One attribute against one value; of ``in`` and ``nin``, against a tuple of them."""

    operator: str
    key: str
    value: Value | tuple[Value, ...]


class Compound(msgspec.Struct, frozen=True):
    """Several filters, of which all (``and``) or one (``or``) must match."""

    operator: str
    filters: tuple[Filter, ...]


Filter = Comparison | Compound

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_ONE_VALUE = frozenset({"eq", "ne", *_ORDER})
_MANY_VALUES = frozenset({"in", "nin"})
_COMPOUND = frozenset({"and", "or"})
OPERATORS = ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "and", "or")


def compile_filter(wire: object, *, param: str = "filters") -> Filter | None:
    """The filter that a request's JSON means; None for none.

    Raises:
        InvalidRequest: it is not a filter; ``param`` names the place.
    """
    return None if wire is None else _Compiler().filter(wire, param, depth=1)


def matches(wanted: Filter | None, attributes: Attributes) -> bool:
    """Whether a file with these attributes is wanted."""
    match wanted:
        case None:
            return True
        case Compound("and", filters):
            return all(matches(each, attributes) for each in filters)
        case Compound(_, filters):
            return any(matches(each, attributes) for each in filters)
    return compare(wanted, attributes.get(wanted.key))


def compare(wanted: Comparison, value: Value | None) -> bool:
    """Whether one attribute's value (None where the file has none) is what a comparison wants."""
    if wanted.operator in ("ne", "nin"):
        return not _is_one_of(value, _values(wanted))
    if wanted.operator in ("eq", "in"):
        return _is_one_of(value, _values(wanted))
    if value is None or kind(value) != kind(wanted.value):
        return False
    return _ORDER[wanted.operator](value, wanted.value)


def kind(value: object) -> str:
    """What values must share to be compared: ``boolean``, ``number`` or ``string``; ``""`` of anything else."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else ""


def _values(wanted: Comparison) -> tuple[Value, ...]:
    return wanted.value if isinstance(wanted.value, tuple) else (wanted.value,)


def _is_one_of(value: Value | None, values: Sequence[Value]) -> bool:
    return any(value == each and kind(value) == kind(each) for each in values)


class _Compiler:
    """Reads a filter from JSON, and counts, so that no request makes a search endless."""

    def __init__(self) -> None:
        self._comparisons = 0

    def filter(self, wire: object, param: str, *, depth: int) -> Filter:
        if not isinstance(wire, Mapping):
            raise InvalidRequest(f"{param} must be an object with a type, not {_shown(wire)}.", param=param)
        name = wire.get("type")
        known = name if isinstance(name, str) else ""
        if depth > MAX_DEPTH:
            raise InvalidRequest(f"{param} is nested more than {MAX_DEPTH} deep.", param=param)
        if known in _COMPOUND:
            return self._compound(wire, known, param, depth)
        if known in _ONE_VALUE or known in _MANY_VALUES:
            return self._comparison(wire, known, param)
        message = f"{param}.type is {_shown(name)}; it must be one of {', '.join(OPERATORS)}."
        raise InvalidRequest(message, param=f"{param}.type")

    def _compound(self, wire: Mapping[str, Any], name: str, param: str, depth: int) -> Compound:
        _no_others(wire, {"type", "filters"}, param)
        filters = wire.get("filters")
        if not isinstance(filters, list) or not filters:
            raise InvalidRequest(f"{param}.filters must be a list of filters, and not empty.", param=f"{param}.filters")
        inner = (self.filter(each, f"{param}.filters[{n}]", depth=depth + 1) for n, each in enumerate(filters))
        return Compound(name, tuple(inner))

    def _comparison(self, wire: Mapping[str, Any], name: str, param: str) -> Comparison:
        _no_others(wire, {"type", "key", "value"}, param)
        key: Any = wire.get("key")
        value: Any = wire.get("value")
        if not isinstance(key, str) or not key:
            raise InvalidRequest(f"{param}.key must be the name of an attribute.", param=f"{param}.key")
        if name in _MANY_VALUES:
            if not isinstance(value, list) or not value:
                raise InvalidRequest(
                    f"{param}.value must be a list, and not empty, for {name}.", param=f"{param}.value"
                )
            value = tuple(value)
        values = value if isinstance(value, tuple) else (value,)
        if wrong := [each for each in values if not kind(each)]:
            message = f"{param}.value is {_shown(wrong[0])}; it must be a string, a number or a boolean."
            raise InvalidRequest(message, param=f"{param}.value")
        self._comparisons += len(values)
        if self._comparisons > MAX_COMPARISONS:
            raise InvalidRequest(f"A filter compares with at most {MAX_COMPARISONS:,} values.", param=param)
        return Comparison(name, key, value)


def _no_others(wire: Mapping[str, Any], known: set[str], param: str) -> None:
    if others := sorted(map(str, wire.keys() - known)):
        raise InvalidRequest(f"{param} has {others[0]!r}, which is no part of a filter.", param=f"{param}.{others[0]}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
