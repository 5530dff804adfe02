"""Recordings of any known tool: the format is found by looking at the content, never at the file's name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml

from antiphon.cassettes.format import MAGIC, Interaction
from antiphon.cassettes.importers import bare, chunk_log, go_vcr, har, native, ogx, vcrpy
from antiphon.errors import CassetteCorrupt, CassetteError, CassetteMissing

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NATIVE_LINE = re.compile(rb'\s*(?:\{"antiphon_cassette"|\{"id":"[^"]*","kind":")')
_YAML_START = re.compile(rb"\s*(?:#.*\n\s*)*(?:---|%YAML|version:|interactions:)")

# A list of values, not a label such as "[api] " in a log.
_JSON_LIST = re.compile(rb'\s*\[\s*(?:[\[{"\]]|$)')
_BYTE = re.compile(r"\(byte (\d+)\)")

# libyaml parses 40 times as fast as the pure Python loader; both build plain values only, never objects.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: str | Path) -> Iterator[Interaction]:
    """The interactions of a recording, in order; native cassettes are read line by line, others at once.

    Raises:
        CassetteMissing: there is no such file.
        CassetteCorrupt: the file is unreadable; the message names file and line.
        CassetteVersion: it was written by a newer version of the project.
        CassetteError: it is a recording of something that is not read here, such as gRPC.
    """
    name = str(path)
    try:
        with open(path, "rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                file.seek(0)
                yield from native.interactions(file, name)
                return
            file.seek(0)
            raw = file.read().removeprefix(_BYTE_ORDER_MARK)
    except FileNotFoundError as error:
        raise CassetteMissing(f"There is no recording {name}.") from error
    except OSError as error:
        raise CassetteError(f"The recording {name} cannot be read: {error}") from error
    yield from _foreign(raw, name)


def _foreign(raw: bytes, name: str) -> Iterator[Interaction]:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise CassetteCorrupt(f"{name}:{_line(raw, error.start)}: not UTF-8 text: {error.reason}.") from error
    if not raw.strip():
        raise CassetteCorrupt(f"{name}:1: the file is empty.")
    if _NATIVE_LINE.match(raw):
        raise CassetteCorrupt(f"{name}:1: the first line must be the header of the cassette, and nothing before it.")
    count = 0
    try:
        for interaction in _any(raw, name):
            yield interaction
            count += 1
    except ValueError as error:  # msgspec's errors are ValueErrors too, with the path of what is wrong
        line = _line_of(str(error), raw, count)
        raise CassetteCorrupt(f"{name}:{line}: the recording is unreadable: {error}.") from error


def _any(raw: bytes, name: str) -> Iterator[Interaction]:
    if raw.lstrip()[:1] in (b"{", b"["):
        return _json(raw, name)
    if _YAML_START.match(raw):
        return _interactions(_yaml(raw, name), raw, name)
    return chunk_log.interactions(raw)


def _json(raw: bytes, name: str) -> Iterator[Interaction]:
    """One JSON document, or else lines of JSON or a log that begins so."""
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        try:
            yield from chunk_log.interactions(b"" if _JSON_LIST.match(raw) else raw)
        except chunk_log.NoChunk:
            place = _BYTE.search(str(error))
            line = _line(raw, int(place[1]) if place else len(raw))
            raise CassetteCorrupt(
                f"{name}:{line}: neither a JSON document ({error}) nor a log with chunks of a stream in it."
            ) from error
    else:
        yield from _interactions(document, raw, name)


def _yaml(raw: bytes, name: str) -> Any:
    try:
        return yaml.load(raw, _Loader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else _line(raw, getattr(error, "position", 0))
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
        raise CassetteCorrupt(f"{name}:{line}: not valid YAML: {problem}.") from error


# --- formats, by the shape of the document ---------------------------------------------------


def _has(*path: str | int) -> Callable[[Any], bool]:
    """A test whether a document has a value at that path."""

    def test(document: Any) -> bool:
        value = document
        for step in path:
            if isinstance(step, int):
                if not isinstance(value, list) or len(value) <= step:
                    return False
            elif not isinstance(value, dict) or step not in value:
                return False
            value = value[step]
        return True

    return test


def _has_keys(*names: str) -> Callable[[Any], bool]:
    """A test whether a document is an object with these keys."""
    return lambda document: isinstance(document, dict) and all(name in document for name in names)


class _Format(NamedTuple):
    name: str
    is_it: Callable[[Any], bool]
    interactions: Callable[[Any], Iterator[Interaction]] | None


# The first that fits. Those without a reader are known, and refused by name: they hold no HTTP.
_FORMATS = (
    _Format("HAR", _has("log", "entries"), har.interactions),
    _Format("vcrpy", _has("interactions", 0, "request", "uri"), vcrpy.interactions),
    _Format("go-vcr", _has("interactions", 0, "request", "url"), go_vcr.interactions),
    _Format("gRPC messages", _has("interactions", 0, "request_sample"), None),
    _Format("gRPC messages", _has("interactions", 0, "request_stream"), None),
    _Format("WebSocket messages", _has("interactions", 0, "direction"), None),
    _Format("aimock fixtures", _has("fixtures"), None),
    _Format("OGX", _has_keys("request", "response"), ogx.interactions),
    _Format("nock", _has(0, "scope"), bare.nock_interactions),
    _Format("an answer", _has_keys("status", "body"), bare.answer_interactions),
)


def _interactions(document: Any, raw: bytes, name: str) -> Iterator[Interaction]:
    for each in _FORMATS:
        if each.is_it(document):
            if each.interactions is None:
                raise CassetteError(f"{name} holds {each.name}, not HTTP; this version does not read that.")
            return each.interactions(document)
    if not isinstance(document, dict) or not document or raw.lstrip()[:1] != b"{":
        raise CassetteCorrupt(f"{name}:1: this is no recording of a format that is known here.")
    if "interactions" in document or "antiphon_cassette" in document:
        raise CassetteCorrupt(f"{name}:1: the recording holds no interaction.")
    if str(document.get("object", "")).endswith(".chunk"):
        return chunk_log.interactions(raw)
    return bare.body_interactions(raw)


def _line(raw: bytes, position: int) -> int:
    return raw.count(b"\n", 0, position) + 1


_NAMED_LINE = re.compile(r"line (\d+): ")
_ITEM = re.compile(r"\[(\d+)\]")
_YAML_ITEM = re.compile(rb"^ {0,2}- ", re.MULTILINE)


def _line_of(message: str, raw: bytes, count: int) -> int:
    """The line that an error names, or on which the item begins whose path it names, or that came after ``count``
    good ones: parsers keep no lines for values."""
    if named := _NAMED_LINE.match(message):
        return int(named[1])
    named_item = _ITEM.search(message)
    item = int(named_item[1]) if named_item else count
    starts = [match.start() for match in _YAML_ITEM.finditer(raw)]
    return _line(raw, starts[item]) if item < len(starts) else 1
