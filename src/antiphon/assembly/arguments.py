"""What the argument text of a call comes to, once no more of it can come.

The first row of `RULES` that recognises the text decides; a text that none recognises is not JSON and the call is
``incomplete``: it is shown, never executed, and nothing is guessed into it (Q25, Q26).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from antiphon.events import BlockStatus

_decode = msgspec.json.Decoder().decode
_raw_decode = json.JSONDecoder().raw_decode
_BLANK = " \t\r\n"

NOTHING = object()  # `parse` found no JSON; None is JSON


class Settled(NamedTuple):
    """How one argument text ends: one text, or several where several calls ran into one."""

    texts: tuple[str, ...]
    status: BlockStatus = "completed"
    quirk: str | None = None
    done: str = ""


class Case(NamedTuple):
    """An argument text and what is known about its call. ``value`` is the text decoded, or `NOTHING`."""

    text: str
    value: Any
    name: str
    schema: Mapping[str, Any] | None
    cut: bool
    mends_tail: bool


class Rule(NamedTuple):
    """One row: ``settle`` gives None where the row does not apply."""

    quirk: str
    meaning: str
    settle: Callable[[Case], Settled | None]


def parse(text: str) -> Any:
    """The JSON value of a text, or `NOTHING`."""
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return NOTHING


def is_whole_object(text: str) -> bool:
    """Whether a text is a JSON object, with nothing missing. Cheap where it is plainly not."""
    return text.rstrip(_BLANK)[-1:] == "}" and isinstance(parse(text), dict)


def fits(schema: Mapping[str, Any] | None, value: object) -> bool:
    """Whether an object has the properties a tool asks for, and no others. Shallow: names only, not types."""
    if not isinstance(schema, Mapping) or not isinstance(value, dict):
        return False
    required, properties = schema.get("required"), schema.get("properties")
    if isinstance(required, list | tuple) and any(isinstance(key, str) and key not in value for key in required):
        return False
    if not isinstance(properties, Mapping):
        return bool(required) or not value
    return all(key in properties for key in value) or schema.get("additionalProperties") is True


def _objects(text: str) -> list[tuple[str, Any]]:
    """The JSON objects a text starts with, each with its own text; the last entry may be a rest with `NOTHING`."""
    found: list[tuple[str, Any]] = []
    at = 0
    while rest := text[at:].lstrip(_BLANK):
        at = len(text) - len(rest)
        try:
            value, end = _raw_decode(text, at)
        except (ValueError, RecursionError):
            value, end = NOTHING, len(text)
        if not isinstance(value, dict) or len(found) > 64:
            return [*found, (rest, NOTHING)]
        found.append((text[at:end], value))
        at = end
    return found


def _empty_and_cut(case: Case) -> Settled | None:
    if case.text.strip(_BLANK) or not case.cut:
        return None
    return Settled((case.text,), "incomplete", "Q25", "cut before its arguments: not executed")


def _empty(case: Case) -> Settled | None:
    return None if case.text.strip(_BLANK) else Settled(("{}",), quirk="Q20", done="empty arguments are {}")


def _null(case: Case) -> Settled | None:
    return Settled(("{}",), quirk="Q24", done="null arguments are {}") if case.value is None else None


def _encoded_twice(case: Case) -> Settled | None:
    inner = parse(case.value) if isinstance(case.value, str) else NOTHING
    if not fits(case.schema, inner):
        return None
    return Settled((case.value,), quirk="Q23", done="arguments encoded twice: unwrapped once")


def _wrapped(case: Case) -> Settled | None:
    if not isinstance(case.value, dict) or case.schema is None or fits(case.schema, case.value):
        return None
    inner = case.value.get("arguments")
    if isinstance(inner, str):
        inner = parse(inner)
    if not fits(case.schema, inner) or case.value.get("name", case.name) != case.name:
        return None
    text = msgspec.json.encode(inner).decode()
    return Settled((text,), quirk="Q23", done="arguments wrapped in a call: unwrapped once")


def _json(case: Case) -> Settled | None:
    return None if case.value is NOTHING else Settled((case.text,))


def _repeated(case: Case) -> Settled | None:
    pieces = _objects(case.text)
    if len(pieces) < 2 or any(value is NOTHING or value != pieces[0][1] for _, value in pieces):
        return None
    return Settled((pieces[0][0],), quirk="Q12", done="the same arguments sent again: taken once")


def _run_together(case: Case) -> Settled | None:
    pieces = _objects(case.text)
    if len(pieces) < 2 or not all(fits(case.schema, value) for _, value in pieces):
        return None
    return Settled(tuple(text for text, _ in pieces), quirk="Q04", done="several calls in one argument text: split")


def _markup_behind(case: Case) -> Settled | None:
    pieces = _objects(case.text) if case.mends_tail else []
    if len(pieces) != 2 or pieces[1][1] is not NOTHING or not pieces[1][0].startswith("<"):
        return None
    return Settled((pieces[0][0],), quirk="Q26", done="markup behind the arguments: cut off")


# Order matters: what is empty is judged before it is parsed, what parses is only unwrapped where the schema says so.
RULES: tuple[Rule, ...] = (
    Rule("Q25", "nothing came before the answer was cut", _empty_and_cut),
    Rule("Q20", "no arguments", _empty),
    Rule("Q24", "the word null", _null),
    Rule("Q23", "JSON in a JSON string", _encoded_twice),
    Rule("Q23", "the call's name and arguments inside the arguments", _wrapped),
    Rule("Q21", "JSON as it should be", _json),
    Rule("Q12", "one object several times over", _repeated),
    Rule("Q04", "several objects run together", _run_together),
    Rule("Q26", "an object with markup behind it", _markup_behind),
)


def settle(text: str, *, name: str, schema: Mapping[str, Any] | None, cut: bool, mends_tail: bool = False) -> Settled:
    """What the arguments of a call end as. ``cut`` says that the answer stopped before the model was done."""
    case = Case(text, parse(text), name, schema, cut, mends_tail)
    for rule in RULES:
        if (settled := rule.settle(case)) is not None:
            return settled
    if cut or _is_beginning(text):
        return Settled((text,), "incomplete", "Q25", "arguments cut off: not executed")
    return Settled((text,), "incomplete", "Q26", "arguments are not JSON: not executed")


def _is_beginning(text: str) -> bool:
    """Whether a text looks like the start of an object whose end is missing."""
    return text.lstrip(_BLANK)[:1] == "{" and len(_objects(text)) < 2
