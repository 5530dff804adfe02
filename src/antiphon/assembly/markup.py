"""Tool calls written as text, where a server has no parser for its model's markup (Q27).

Only where a dialect names the markup, only in the text and never in the reasoning, and only for tools that were
offered: a model may quote a call, or think about one. What begins like a call and is none stays the text it is.

    outside ── opening marker ──> inside ── closing marker ──> outside      calls, or the text as it came
       └── what may be the beginning of a marker is held back

Markup is looked at when it is closed; arguments therefore come in one piece.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from antiphon.dialects.answers import ToolMarkup

_BLANK = " \t\r\n"
_FIRST = re.compile(r"[^ \t\r\n]")
# White space before a call belongs to its markup; more than this is text.
_MAX_BLANKS = 64
# How many closing markers may stand in the strings of one call: each costs a look at the whole.
_MAX_CLOSINGS = 16


class WrittenCall(NamedTuple):
    """A call that was written as text: ``arguments`` as JSON, ``call_id`` empty if none was written."""

    name: str
    arguments: str
    call_id: str = ""


Offered = Mapping[str, Any]
# The calls of a block; none, or None, if it is no call; `_OPEN` if its closing marker stands inside a JSON string.
Reading = list[WrittenCall] | None
_OPEN: list[WrittenCall] = []


class Markup(NamedTuple):
    """One way of writing calls: its markers, the characters its inside may begin with, and how it is read."""

    markers: tuple[tuple[str, str], ...]
    first: str
    read: Callable[[str, Offered], Reading]


# --- reading -----------------------------------------------------------------------------------
# String searches rather than patterns over the whole: what a model writes must not cost more than its length.

_decode_json = json.JSONDecoder(strict=False).decode  # models write raw line breaks into strings
_NO_JSON = object()
_CUT_STRING = object()


def _value(text: str) -> Any:
    """The JSON value of a text, `_CUT_STRING` if a string in it has no end, `_NO_JSON` if it is none."""
    try:
        return _decode_json(text.strip(_BLANK))
    except json.JSONDecodeError as error:
        return _CUT_STRING if error.msg.startswith("Unterminated string") else _NO_JSON
    except RecursionError:
        return _NO_JSON


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _closed(text: str, closing: str) -> list[str]:
    """What stands before each closing tag."""
    return text.split(closing)[:-1]


def _as_json(pairs: Iterable[tuple[str, str]], schema: Any) -> str:
    """Arguments that were written as text between tags; what the schema does not call a string may be JSON."""
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    arguments: dict[str, Any] = {}
    for key, text in pairs:
        described = properties.get(key) if isinstance(properties, Mapping) else None
        is_text = isinstance(described, Mapping) and described.get("type") == "string"
        value = text if is_text else _value(text)
        arguments[key] = text if value in (_NO_JSON, _CUT_STRING) else value
    return _encode(arguments)


def _json_calls(inner: str, offered: Offered) -> Reading:
    """``{"name": …, "arguments": {…}}``, or a list of such."""
    value = _value(inner)
    if value is _CUT_STRING:
        return _OPEN
    calls = []
    for entry in value if isinstance(value, list) else [value]:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            return None
        arguments = entry.get("arguments", entry.get("parameters", {}))
        calls.append(WrittenCall(entry["name"], arguments if isinstance(arguments, str) else _encode(arguments)))
    return calls


def _function_calls(inner: str, offered: Offered) -> Reading:
    """``<function=name><parameter=key>value</parameter></function>``."""
    calls = []
    for function in _closed(inner, "</function>"):
        name, _, body = function.partition("<function=")[2].partition(">")
        pairs = []
        for parameter in _closed(body, "</parameter>"):
            key, _, text = parameter.partition("<parameter=")[2].partition(">")
            pairs.append((key, text.removeprefix("\n").removesuffix("\n")))
        calls.append(WrittenCall(name, _as_json(pairs, offered.get(name))))
    return calls


def _hermes_calls(inner: str, offered: Offered) -> Reading:
    """JSON, as Hermes and Qwen were taught, or functions, as Qwen3-Coder was."""
    return (_function_calls if inner.lstrip(_BLANK).startswith("<") else _json_calls)(inner, offered)


def _keyed_call(inner: str, offered: Offered) -> Reading:
    """``name<arg_key>key</arg_key><arg_value>value</arg_value>``, as GLM was taught."""
    name = inner.partition("<")[0].strip(_BLANK)
    pairs = []
    for pair in _closed(inner, "</arg_value>"):
        key, _, rest = pair.partition("<arg_key>")[2].partition("</arg_key>")
        pairs.append((key.strip(_BLANK), rest.partition("<arg_value>")[2]))
    return [WrittenCall(name, _as_json(pairs, offered.get(name)))]


_INVOKE = re.compile(r'<[^<>"]{0,16}invoke name="([^"]{1,256})">')
_PARAMETER = re.compile(r'<[^<>"]{0,16}parameter name="([^"]{1,256})"(?: string="(true|false)")?>')
_TAG = re.compile(r"<([\w.-]{1,256})>")
_INVOKE_END, _PARAMETER_END = re.compile(r"</[^<>]{0,16}invoke>"), re.compile(r"</[^<>]{0,16}parameter>")
_SENTINEL = "]<]minimax[>["


def _invocations(inner: str, offered: Offered) -> Reading:
    """``<invoke name="…"><parameter name="key">value</parameter></invoke>``, with whatever prefix the model uses."""
    calls = []
    for part in _INVOKE_END.split(inner.replace(_SENTINEL, ""))[:-1]:
        if (invoked := _INVOKE.search(part)) is None:
            return None
        body, schema = part[invoked.end() :], offered.get(invoked[1])
        calls.append(WrittenCall(invoked[1], _parameters(body, schema) or _as_json(_elements(body), schema)))
    return calls


def _parameters(body: str, schema: Any) -> str:
    """Arguments of ``<parameter name="key">`` tags; ``string="true"`` says which are text. Empty without any."""
    texts: list[tuple[str, str]] = []
    told: dict[str, Any] = {}
    for part in _PARAMETER_END.split(body)[:-1]:
        if (found := _PARAMETER.search(part)) is not None:
            texts.append((found[1], part[found.end() :]))
            told[found[1]] = {"type": "string"} if found[2] == "true" else {}
    if not texts:
        return ""
    return _as_json(texts, {"properties": told} if any(told.values()) else schema)


def _elements(body: str) -> Iterator[tuple[str, str]]:
    """``<key>value</key>``, up to the first that is not closed."""
    at = 0
    while (tag := _TAG.search(body, at)) is not None:
        end = body.find(f"</{tag[1]}>", tag.end())
        if end < 0:
            return
        yield tag[1], body[tag.end() : end]
        at = end


def _kimi_calls(inner: str, offered: Offered) -> Reading:
    """``<|tool_call_begin|>functions.name:0<|tool_call_argument_begin|>{…}<|tool_call_end|>``."""
    calls = []
    for part in _closed(inner, "<|tool_call_end|>"):
        call_id, _, arguments = part.partition("<|tool_call_begin|>")[2].partition("<|tool_call_argument_begin|>")
        call_id = call_id.strip(_BLANK)
        name = call_id.removeprefix("functions.").partition(":")[0]
        calls.append(WrittenCall(name, arguments.strip(_BLANK), call_id))
    return calls


def _python_calls(inner: str, offered: Offered) -> Reading:
    """``[name(key="value")]``, as LFM was taught: Python, of which only literals are read."""
    try:
        called = ast.parse(inner.strip(_BLANK), mode="eval").body
        calls = []
        for call in called.elts if isinstance(called, ast.List) else []:
            if not isinstance(call, ast.Call) or call.args or any(keyword.arg is None for keyword in call.keywords):
                return None
            arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
            calls.append(WrittenCall(ast.unparse(call.func), _encode(arguments)))
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None
    return calls


def _called(inner: str, offered: Offered) -> Reading:
    """``name({…}`` of ``[Calling tool: name({…})]``."""
    name, _, arguments = inner.partition("(")
    value = _value(arguments or "{}")
    if value is _CUT_STRING:
        return _OPEN
    return [WrittenCall(name, _encode(value))] if isinstance(value, dict) else None


_WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
_TOOL_CALL = (("<tool_call>", "</tool_call>"),)

MARKUPS: dict[ToolMarkup, Markup] = {
    "hermes": Markup(_TOOL_CALL, "{[<", _hermes_calls),
    "glm": Markup(_TOOL_CALL, _WORD, _keyed_call),
    "dsml": Markup(
        tuple(
            (f"<{bars}DSML{bars}{word}>", f"</{bars}DSML{bars}{word}>")
            for bars in ("｜", "|", "｜｜", "||")
            for word in ("tool_calls", " calls")
        ),
        "<",
        _invocations,
    ),
    "kimi": Markup((("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),), "<", _kimi_calls),
    "minimax": Markup(
        (
            ("<minimax:tool_call>", "</minimax:tool_call>"),
            (f"{_SENTINEL}<tool_call>", f"{_SENTINEL}</tool_call>"),
        ),
        "<]",
        _invocations,
    ),
    "lfm": Markup((("<|tool_call_start|>", "<|tool_call_end|>"),), "[", _python_calls),
    "calling_tool": Markup((("[Calling tool: ", ")]"),), _WORD, _called),
}


# --- splitting ---------------------------------------------------------------------------------


class MarkupReader:
    """Splits text into text and calls, piece by piece; however the text is cut, they are the same."""

    __slots__ = (
        "_after_call",
        "_around",
        "_beginnings",
        "_blanks",
        "_closing_of",
        "_closings",
        "_has_begun",
        "_has_said",
        "_held",
        "_inside",
        "_longest",
        "_markers",
        "_markups",
        "_offered",
        "_openings",
        "_tail",
    )

    def __init__(self, names: Iterable[ToolMarkup], offered: Offered) -> None:
        self._offered = offered
        self._markups: dict[str, list[Markup]] = {}  # by opening marker
        self._closing_of: dict[str, str] = {}
        for name in names:
            for opening, closing in MARKUPS[name].markers:
                self._markups.setdefault(opening, []).append(MARKUPS[name])
                self._closing_of[opening] = closing
        self._beginnings = {opening[:size] for opening in self._closing_of for size in range(1, len(opening))}
        self._longest = max(map(len, self._beginnings), default=0)
        self._openings = re.compile("|".join(map(re.escape, self._closing_of)) or "(?!)")
        # Outside: what may belong to a marker, and whether a call has just ended, so that white space is markup.
        self._held = ""
        self._after_call = False
        # White space around the last calls, and whether any text was given before them.
        self._around = ""
        self._has_said = False
        # Inside: the markers, the white space before them, what came since, whether that is more than white space, and
        # its end, where a closing marker may have begun; also how many closing markers stood in a string.
        self._markers: tuple[str, str] | None = None
        self._blanks = ""
        self._inside: list[str] = []
        self._has_begun = False
        self._tail = ""
        self._closings = 0

    def feed(self, text: str) -> list[str | WrittenCall]:
        """Text and calls that are decided, in order."""
        given: list[str | WrittenCall] = []
        text, self._held, at = self._held + text, "", 0
        while at < len(text):
            at = self._read_outside(text, at, given) if self._markers is None else self._read_inside(text, at, given)
        return given

    def flush(self, *, cut: bool) -> list[str | WrittenCall]:
        """The text has ended. Models leave out the last closing marker; but of a ``cut`` text no call is taken."""
        given: list[str | WrittenCall] = []
        if self._markers is not None:
            self._settle(given, is_last=True, is_text=cut)
        held, self._held = self._held, ""
        if held:
            self._say(given, held)
        return given

    def _read_outside(self, text: str, at: int, given: list[str | WrittenCall]) -> int:
        """Look for an opening marker from ``at`` on; give the place to go on from."""
        if self._after_call:
            first = _FIRST.search(text, at)
            start, at = at, first.start() if first else len(text)
            self._around = (self._around + text[start:at])[:_MAX_BLANKS]
        opening = self._openings.search(text, at)
        if opening is not None:
            self._markers = (opening[0], self._closing_of[opening[0]])
            end, going_on = _before_blanks(text, at, opening.start()), opening.end()
            self._blanks = text[end : opening.start()]
        else:
            end, going_on = _before_blanks(text, at, self._start_of_opening(text, at)), len(text)
            self._held = text[end:]
        if end > at:
            self._say(given, text[at:end])
        return going_on

    def _start_of_opening(self, text: str, at: int) -> int:
        """Where an opening marker may begin that the text breaks off in; its end if it does not."""
        for start in range(max(at, len(text) - self._longest), len(text)):
            if text[start:] in self._beginnings:
                return start
        return len(text)

    def _read_inside(self, text: str, at: int, given: list[str | WrittenCall]) -> int:
        """Collect up to the closing marker, which may have begun in an earlier piece; give the place behind it."""
        assert self._markers is not None
        closing = self._markers[1]
        if not self._has_begun and (first := _FIRST.search(text, at)):
            self._has_begun = True
            if not any(first[0] in markup.first for markup in self._markups[self._markers[0]]):
                # A marker that is only mentioned must not hold back what follows.
                self._inside.append(text[at : first.start()])
                self._leave(given, None)
                return first.start()
        end = self._end_of_closing(closing, text, at)
        if end is None:
            self._inside.append(text[at:])
            self._tail = (self._tail + text[max(at, len(text) - len(closing)) :])[1 - len(closing) :]
            return len(text)
        self._inside.append(text[at:end])
        self._settle(given)
        return end

    def _end_of_closing(self, closing: str, text: str, at: int) -> int | None:
        across = (self._tail + text[at : at + len(closing) - 1]).find(closing)
        if across >= 0:
            return at + across + len(closing) - len(self._tail)
        start = text.find(closing, at)
        return start + len(closing) if start >= 0 else None

    def _settle(self, given: list[str | WrittenCall], *, is_last: bool = False, is_text: bool = False) -> None:
        """Decide what stands between the markers: calls, text, or a string that has not ended."""
        assert self._markers is not None
        self._inside = ["".join(self._inside)]
        inner = self._inside[0].removesuffix(self._markers[1])
        readings = [] if is_text else [markup.read(inner, self._offered) for markup in self._markups[self._markers[0]]]
        calls = next((calls for calls in readings if calls and all(call.name in self._offered for call in calls)), None)
        if calls is None and not is_last and any(reading is _OPEN for reading in readings):
            self._closings += 1
            self._tail = ""
            if self._closings < _MAX_CLOSINGS:
                return
        self._leave(given, calls)

    def _leave(self, given: list[str | WrittenCall], calls: list[WrittenCall] | None) -> None:
        """Give the calls, or the block as the text it is."""
        assert self._markers is not None
        if calls is None:
            self._say(given, "".join((self._blanks, self._markers[0], *self._inside)))
        else:
            given.extend(calls)
            self._after_call = True
            self._around = (self._around + self._blanks)[:_MAX_BLANKS]
        self._markers, self._inside, self._has_begun, self._tail, self._closings = None, [], False, "", 0

    def _say(self, given: list[str | WrittenCall], text: str) -> None:
        """Give text; what stood around the calls before it goes with it only if it divides this text from another."""
        given.append(self._around + text if self._has_said else text)
        self._has_said, self._after_call, self._around = True, False, ""


def _before_blanks(text: str, start: int, end: int) -> int:
    """Where the white space between ``start`` and ``end`` begins that reaches up to ``end``."""
    start = max(end - _MAX_BLANKS, start)
    return start + len(text[start:end].rstrip(_BLANK))
