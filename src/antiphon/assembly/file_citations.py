"""File markers in a model's text, cut out as it streams, and made annotations. Pure.

A model that is told to cite files writes markers into its text: ``<|file-abc|>`` as it was told, or what it makes of
that (``<|file_id|file-abc|>``, ``<file-abc>``), or what it was trained on (``【0:1†source】``). Text is held back only
while it could still become a marker, so nobody ever sees one, however the text is split. The blank before a marker goes
with it: "a fact <|file-abc|>." is "a fact.".

Only what is surely a marker is cut. ``<file_name>`` is a placeholder and ``【重要】`` a heading; both stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from antiphon.events import AnnotationAdded, Diagnostic, ModelEvent, TextDelta, TextFinished

# Longer than any marker; text that goes on beyond it was none.
MAX_MARKER_CHARS = 200

_OPENERS = re.compile("[<【]")
_END_OF_PIPED = re.compile("[<>\n]")
_END_OF_BRACKET = re.compile("[【】\n]")
# Ids as they are made at OpenAI, here and elsewhere; ``file_sep`` and its like are tokens of models.
_FILE_ID = re.compile(r"(?<![\w-])file(?:-[A-Za-z0-9_-]+|_(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{6,})")
# What markers begin with, besides the files themselves.
_WORDS = ("file", "cite", "citation", "source", "doc", "id")
# What an instruction has in place of an id: models repeat it.
_PLACEHOLDERS = frozenset({"file-id", "file-ids"})
_DAGGER = "†"
# Positions in an annotation of the upstream's, which counts the markers too.
_POSITIONS = ("start_index", "end_index")


_LOOKED_AT = frozenset({TextDelta, TextFinished, AnnotationAdded})


class _Verdict(NamedTuple):
    """What the text from an opener on is: ``end`` of a marker, or None, then ``is_open`` says that more may tell."""

    end: int | None
    is_open: bool = False


_TEXT = _Verdict(None)
_OPEN = _Verdict(None, is_open=True)


class FileCitations:
    """Passes the events of one turn on, without the markers in its texts.

    ``files`` says which files may be cited: id -> filename. A marker of another file is cut too, and disclosed.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self._markers = _Markers(files)
        self._texts: dict[str, _Text] = {}

    def let_through(self, events: list[ModelEvent]) -> list[ModelEvent]:
        """What of these events goes on; the very list where nothing changes."""
        passed: list[ModelEvent] | None = None
        for n, event in enumerate(events):
            changed = self._changed(event) if type(event) in _LOOKED_AT else None
            if changed is not None:
                passed = events[:n] if passed is None else passed
                passed += changed
            elif passed is not None:
                passed.append(event)
        return events if passed is None else passed

    def _changed(self, event: ModelEvent) -> list[ModelEvent] | None:
        """What becomes of an event; None where it goes on as it is."""
        if type(event) is TextDelta:
            text = self._texts.get(event.block) or self._begun(event.block)
            said = event.text
            if text.held or "<" in said or "【" in said or said[-1:] == " ":
                return text.take(event)
            text.length += len(said)
        elif type(event) is TextFinished:
            ended = self._texts.pop(event.block, None)
            if ended is not None and ended.held:
                return [*ended.finish(), event]
        elif type(event) is AnnotationAdded:
            cited = self._texts.get(event.block)
            if cited is not None and cited.cuts:
                return [msgspec.structs.replace(event, annotation=cited.moved(event.annotation))]
        return None

    def _begun(self, block: str) -> _Text:
        text = self._texts[block] = _Text(block, self._markers)
        return text


class _Unit(NamedTuple):
    """Log probabilities of a piece of the held text, which stay together."""

    start: int
    end: int
    logprobs: list[dict[str, Any]]


class _Text:
    """One text: what of it is held back, and how long what was given on is.

    ``cuts`` are the places and lengths of what was cut, in the text as the upstream sent it.
    """

    def __init__(self, block: str, markers: _Markers) -> None:
        self.block = block
        self.held = ""
        self.length = 0
        self.cuts: list[tuple[int, int]] = []
        self._units: list[_Unit] = []
        self._markers = markers

    def take(self, delta: TextDelta) -> list[ModelEvent]:
        """Add a delta; gives what can go on."""
        if delta.logprobs:
            self._units += _units(delta, len(self.held))
        self.held += delta.text
        return list(self._released())

    def finish(self) -> list[ModelEvent]:
        """The text is over: what was held back was no marker."""
        return list(self._given(len(self.held)))

    def moved(self, annotation: dict[str, Any]) -> dict[str, Any]:
        """An annotation of the upstream's, with the places it has in the text without markers."""
        return annotation | {
            name: annotation[name] - sum(min(size, max(0, annotation[name] - at)) for at, size in self.cuts)
            for name in _POSITIONS
            if type(annotation.get(name)) is int
        }

    def _released(self) -> Iterator[ModelEvent]:
        searched = 0
        while opener := _OPENERS.search(self.held, searched):
            start = opener.start()
            verdict = self._markers.judge(self.held, start)
            with_blank = start - (self.held[start - 1 : start] == " ")
            if verdict.end is not None:
                marker = self.held[start : verdict.end]
                yield from self._given(with_blank)
                self._cut(verdict.end - with_blank)
                for found in self._markers.found(marker, self.length):
                    yield (
                        found if isinstance(found, Diagnostic) else AnnotationAdded(block=self.block, annotation=found)
                    )
                searched = 0
            elif verdict.is_open:
                yield from self._given(with_blank)
                return
            else:
                searched = start + 1
        yield from self._given(len(self.held) - self.held.endswith(" "))

    def _given(self, end: int) -> Iterator[ModelEvent]:
        """Give the held text on up to ``end``."""
        text, self.held = self.held[:end], self.held[end:]
        logprobs = [entry for unit in self._units if unit.end <= end for entry in unit.logprobs]
        self._units = [
            _Unit(max(0, unit.start - end), unit.end - end, unit.logprobs) for unit in self._units if unit.end > end
        ]
        self.length += len(text)
        if text or logprobs:
            yield TextDelta(block=self.block, text=text, logprobs=logprobs)

    def _cut(self, size: int) -> None:
        """Drop that much of the held text, with the log probabilities of all that lies in it, be it in part."""
        self.cuts.append((self.length + sum(each for _, each in self.cuts), size))
        self.held = self.held[size:]
        self._units = [
            _Unit(unit.start - size, unit.end - size, unit.logprobs) for unit in self._units if unit.start >= size
        ]


class _Markers:
    """What markers look like, and which files they mean."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = dict(files)
        self._by_name = {name: file_id for file_id, name in reversed(self._files.items()) if name}
        self._beginnings = (*_WORDS, *self._files, *self._by_name)
        self._bare = [f"{file_id}{end}" for file_id in self._files for end in (">", "|>")]

    def judge(self, text: str, start: int) -> _Verdict:
        """What stands at an opener. More text never changes a verdict that is not open."""
        if text[start] == "【":
            return self._judge_bracket(text, start)
        if len(text) == start + 1:
            return _OPEN
        return self._judge_piped(text, start) if text[start + 1] == "|" else self._judge_bare(text, start)

    def found(self, marker: str, index: int) -> Iterator[dict[str, Any] | Diagnostic]:
        """The annotations of a marker at a place, each file once, and what is to be said about the rest of it."""
        body = marker.strip("<>【】| ")
        named = list(dict.fromkeys([*(each for each in self._files if _has(body, each)), *_FILE_ID.findall(body)]))
        known = [each for each in named if each in self._files]
        if not known and (by_name := self._named(body)):
            known = [by_name]
        for file_id in known:
            yield {"type": "file_citation", "file_id": file_id, "filename": self._files[file_id], "index": index}
        unknown = [each for each in named if each not in self._files and each not in _PLACEHOLDERS]
        if unknown or not known:
            what = ", ".join(unknown) or "no file"
            done = f"cut out of the text; it cites {what}, and no such file was given to the model"
            yield Diagnostic(quirk="file_citation", seen=marker[:100], done=done)

    def _judge_piped(self, text: str, start: int) -> _Verdict:
        """``<|...|>``, or with one pipe: a marker if it names a file, known or not."""
        end = _END_OF_PIPED.search(text, start + 2, start + MAX_MARKER_CHARS)
        body = text[start + 2 : end.start() if end else start + MAX_MARKER_CHARS].lstrip("| ").casefold()
        if not any(each.casefold().startswith(body) or body.startswith(each.casefold()) for each in self._beginnings):
            return _TEXT
        if end is None:
            return _OPEN if len(text) < start + MAX_MARKER_CHARS else _TEXT
        inner = text[start + 2 : end.start()]
        is_marker = end.group() == ">" and (_FILE_ID.search(inner) or self._names_a_file(inner))
        return _Verdict(end.end()) if is_marker else _TEXT

    def _judge_bare(self, text: str, start: int) -> _Verdict:
        """``<file-abc>``: a marker if the file is known, as tags and placeholders look alike."""
        rest = text[start + 1 : start + MAX_MARKER_CHARS]
        for each in self._bare:
            if rest.startswith(each):
                return _Verdict(start + 1 + len(each))
        return _OPEN if any(each.startswith(rest) for each in self._bare) else _TEXT

    def _judge_bracket(self, text: str, start: int) -> _Verdict:
        """``【...】``: a marker if it has a dagger or names a file."""
        end = _END_OF_BRACKET.search(text, start + 1, start + MAX_MARKER_CHARS)
        if end is None:
            return _OPEN if len(text) < start + MAX_MARKER_CHARS else _TEXT
        inner = text[start + 1 : end.start()]
        is_marker = end.group() == "】" and (_DAGGER in inner or _FILE_ID.search(inner) or self._names_a_file(inner))
        return _Verdict(end.end()) if is_marker else _TEXT

    def _names_a_file(self, inner: str) -> bool:
        return any(_has(inner, each) for each in self._files) or self._named(inner.strip("| ")) is not None

    def _named(self, body: str) -> str | None:
        """The file whose name a marker gives, alone or beside a dagger."""
        parts = (part.strip() for part in [body, *body.split(_DAGGER)])
        return next((self._by_name[part] for part in parts if part in self._by_name), None)


def _has(body: str, file_id: str) -> bool:
    """Whether an id stands in a text, and not as a part of a longer one."""
    return re.search(rf"(?<![\w-]){re.escape(file_id)}(?![\w-])", body) is not None


def _units(delta: TextDelta, at: int) -> Sequence[_Unit]:
    """The log probabilities of a delta by token, where the tokens are its text; else together."""
    tokens = [entry.get("token") for entry in delta.logprobs]
    if not all(isinstance(token, str) for token in tokens) or "".join(map(str, tokens)) != delta.text:
        return [_Unit(at, at + len(delta.text), delta.logprobs)]
    units = []
    for token, entry in zip(tokens, delta.logprobs, strict=True):
        units.append(_Unit(at, at + len(str(token)), [entry]))
        at += len(str(token))
    return units
