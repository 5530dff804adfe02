"""Tool calls that a model wrote as text, because its server has no parser for them (Q27).

Only where a dialect names the markup, and only for tools that were offered: everything else in the text is the
user's, and so is markup that turns out not to be a call. Text that may be the beginning of markup is held back until
that is decided.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import msgspec

from antiphon.assembly.arguments import parse


class WrittenCall(NamedTuple):
    """A call found in the text."""

    name: str
    arguments: str


class Markup(NamedTuple):
    """How one family of models writes calls; ``read`` gives None for what is no call after all."""

    begin: str
    end: str
    read: Callable[[str], list[WrittenCall] | None]


def _read_json(inner: str) -> list[WrittenCall] | None:
    """``{"name": …, "arguments": {…}}``, as Hermes and Qwen were taught."""
    value = parse(inner)
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    return [WrittenCall(value["name"], text)]


_FUNCTION = re.compile(r"\s*<function=([^>\s]+)>(.*?)(?:</function>)?\s*", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\s]+)>\n?(.*?)\n?</parameter>", re.DOTALL)


def _read_hermes(inner: str) -> list[WrittenCall] | None:
    """JSON, or Qwen3-Coder's ``<function=f><parameter=p>…</parameter></function>``."""
    found = _FUNCTION.fullmatch(inner)
    if found is None:
        return _read_json(inner)
    arguments = {name: _value(text) for name, text in _PARAMETER.findall(found.group(2))}
    return [WrittenCall(found.group(1), msgspec.json.encode(arguments).decode())]


_INVOKE = re.compile(r'<｜DSML｜invoke name="([^"]+)">(.*?)</｜DSML｜invoke>', re.DOTALL)
_DSML_PARAMETER = re.compile(
    r'<｜DSML｜parameter name="([^"]+)"(?: string="(true|false)")?>(.*?)</｜DSML｜parameter>', re.DOTALL
)


def _read_dsml(inner: str) -> list[WrittenCall] | None:
    """DeepSeek V4; ``string="true"`` says that a value is text as it stands."""
    calls = []
    for name, body in _INVOKE.findall(inner):
        parameters = _DSML_PARAMETER.findall(body)
        arguments = {key: text if string == "true" else _value(text) for key, string, text in parameters}
        calls.append(WrittenCall(name, msgspec.json.encode(arguments).decode()))
    return calls or None


_CALLING = re.compile(r"\s*([\w.-]+)\((.*)", re.DOTALL)


def _read_calling(inner: str) -> list[WrittenCall] | None:
    """``[Calling tool: f({…})]``."""
    found = _CALLING.fullmatch(inner)
    if found is None or not isinstance(parse(found.group(2) or "{}"), dict):
        return None
    return [WrittenCall(found.group(1), found.group(2))]


def _value(text: str) -> Any:
    value = parse(text)
    return value if isinstance(value, dict | list | int | float | bool) or text == "null" else text


# The name a dialect uses -> the markup.
MARKUPS: dict[str, Markup] = {
    "hermes": Markup("<tool_call>", "</tool_call>", _read_hermes),
    "dsml": Markup("<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>", _read_dsml),
    "calling_tool": Markup("[Calling tool:", ")]", _read_calling),
}


class MarkupReader:
    """Splits text into text and calls, chunk by chunk."""

    __slots__ = ("_held", "_inside", "_markups", "_offered", "_tail")

    def __init__(self, names: Collection[str], offered: Collection[str]) -> None:
        self._markups = [MARKUPS[name] for name in names if name in MARKUPS]
        self._offered = offered
        self._held = ""  # may be the beginning of a beginning
        self._inside: list[str] | None = None  # pieces since the beginning
        self._tail = ""  # the last of them, as far as an end may begin in it

    def feed(self, text: str) -> list[str | WrittenCall]:
        """What is text and what is a call, in order."""
        given: list[str | WrittenCall] = []
        text, self._held = self._held + text, ""
        while text:
            text = self._outside(text, given) if self._inside is None else self._within(text, given)
        return given

    def flush(self) -> str:
        """The stream has ended: what was held back is text, a call that was never closed too."""
        held = "".join(self._inside or ()) + self._held
        self._inside, self._held = None, ""
        return held

    def _outside(self, text: str, given: list[str | WrittenCall]) -> str:
        places = [(at, markup) for markup in self._markups if (at := text.find(markup.begin)) >= 0]
        if places:
            at, markup = min(places, key=lambda place: place[0])
            if at:
                given.append(text[:at])
            # One markup at a time: from here on, only its own end is looked for.
            self._inside, self._tail = [markup.begin], ""
            self._markups.sort(key=lambda other: other is not markup)
            return text[at + len(markup.begin) :]
        size = max(_overlap(text, markup.begin) for markup in self._markups) if self._markups else 0
        self._held = text[len(text) - size :]
        if size < len(text):
            given.append(text[: len(text) - size])
        return ""

    def _within(self, text: str, given: list[str | WrittenCall]) -> str:
        assert self._inside is not None
        markup = self._markups[0]
        at = (self._tail + text).find(markup.end)
        if at < 0:
            self._inside.append(text)
            self._tail = (self._tail + text)[1 - len(markup.end) :]
            return ""
        end = at + len(markup.end) - len(self._tail)
        self._inside.append(text[:end])
        whole = "".join(self._inside)
        self._inside = None
        calls = markup.read(whole[len(markup.begin) : -len(markup.end)])
        if calls is None or (self._offered and any(call.name not in self._offered for call in calls)):
            given.append(whole)
        else:
            given.extend(calls)
        return text[end:]


def _overlap(text: str, begin: str) -> int:
    """How many characters at the end of ``text`` are a beginning of ``begin``."""
    return next((size for size in range(min(len(text), len(begin) - 1), 0, -1) if text.endswith(begin[:size])), 0)
