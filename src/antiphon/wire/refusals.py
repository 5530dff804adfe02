"""What a client is told when its request does not fit: msgspec's findings in OpenAI's words and codes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from antiphon.errors import InvalidRequest

# The sentences of msgspec 0.20 and later; a test feeds each of them through.
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]*)`")
_TYPE = re.compile(r"Expected `(?P<expected>[^`]*)`, got `(?P<got>[^`]*)`")
_BOUND = re.compile(r"Expected `(?P<expected>[^`]*)`(?P<length> of length)? (?P<side><=|>=) (?P<limit>\S+)")
_PATH = re.compile(r"`\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")

_TYPE_NAMES = {
    "str": "a string",
    "int": "an integer",
    "float": "a decimal",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
_CODE_NAMES = {"str": "string", "int": "integer", "float": "decimal"}
_LONGEST_SHOWN = 80
_NO_CHOICES: Mapping[str, Iterable[str]] = {}


def refusal(
    error: msgspec.ValidationError, value: object, path: str = "", *, choices: Mapping[str, Iterable[str]] = _NO_CHOICES
) -> InvalidRequest:
    """The error for ``value``, found at ``path`` of the request, that did not convert.

    ``choices`` are the values that some names take, so that a wrong one can be answered with the right ones.
    """
    sentence = str(error)
    inner = found["path"] if (found := _PATH.search(sentence)) else ""
    # A value in an object of any keys has no path of its own; the object is named.
    param = (path + inner.removesuffix("[...]")).removeprefix(".")
    if missing := _MISSING.match(sentence):
        name = f"{param}.{missing['field']}".removeprefix(".")
        return InvalidRequest(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")
    if unknown := _UNKNOWN.match(sentence):
        name = f"{param}.{unknown['field']}".removeprefix(".")
        return InvalidRequest(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    if wrong := _TYPE.match(sentence):
        expected, got = _type_names(wrong["expected"]), _type_names(wrong["got"])
        message = f"Invalid type for '{param}': expected {expected}, but got {got} instead."
        return InvalidRequest(message, param=param, code="invalid_type")
    if bound := _BOUND.match(sentence):
        return _out_of_bounds(bound, param, _value_at(value, inner))
    return supported(_value_at(value, inner), choices.get(param.rpartition(".")[2], ()), param=param)


def supported(value: object, values: Iterable[str], *, param: str) -> InvalidRequest:
    """The error for a ``value`` that is none of ``values``."""
    if not isinstance(value, str):
        got = _type_names(_kind(value))
        return InvalidRequest(
            f"Invalid type for '{param}': expected a string, but got {got} instead.", param=param, code="invalid_type"
        )
    message = f"Invalid value for '{param}': {_shown(value)}."
    if known := ", ".join(f"'{known}'" for known in values):
        message += f" Supported values are: {known}."
    return InvalidRequest(message, param=param, code="invalid_value")


def _out_of_bounds(bound: re.Match[str], param: str, value: object) -> InvalidRequest:
    side = "above_max" if bound["side"] == "<=" else "below_min"
    limit = bound["limit"].removesuffix(".0")
    expected = _type_names(bound["expected"])
    kind = _CODE_NAMES.get(bound["expected"], bound["expected"])
    if bound["length"]:
        message = f"Invalid '{param}': expected {expected} of length {bound['side']} {limit}."
        return InvalidRequest(message, param=param, code=f"{kind}_{side}_length")
    message = f"Invalid '{param}': expected {expected} {bound['side']} {limit}, but got {_shown(value)} instead."
    return InvalidRequest(message, param=param, code=f"{kind}_{side}_value")


def _type_names(types: str) -> str:
    names = [_TYPE_NAMES.get(name, name) for name in types.split(" | ")]
    return " or ".join(name for name in names if name != "null" or len(names) == 1)


def _kind(value: object) -> str:
    kinds: dict[type, str] = {type(None): "null", dict: "object", list: "array"}
    return kinds.get(type(value), type(value).__name__)


def _value_at(value: Any, path: str) -> Any:
    for name, position in _STEP.findall(path):
        value = value[name] if name else value[int(position)]
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
