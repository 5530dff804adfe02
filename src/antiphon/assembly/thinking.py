"""Reasoning that stands in the text between tags, such as ``<think>…</think>`` (Q66-Q68).

Only where a dialect says so, and only at the very start of the message: a tag in the middle of a text is the
user's. A tag may be cut by chunks at any place, so the beginning of one is held back until it is decided.
"""

from __future__ import annotations

from typing import Literal

_BLANK = " \t\r\n"


class ThinkSplitter:
    """Splits text into reasoning and text, chunk by chunk.

    ``state`` says where it is: before the first tag may come, within the reasoning, behind its end (where line
    breaks are dropped), and in the text, where nothing is looked for any more.
    """

    __slots__ = ("_held", "_tags", "state")

    def __init__(self, tags: tuple[str, ...], *, starts_in_thinking: bool) -> None:
        self._tags = tags
        self._held = ""
        self.state: Literal["start", "inside", "behind", "text"] = "start"
        if starts_in_thinking and tags:
            self.state, self._tags = "inside", tags[:1]

    def feed(self, text: str) -> list[tuple[bool, str]]:
        """Pieces of text in order, each with whether it is reasoning."""
        given: list[tuple[bool, str]] = []
        text, self._held = self._held + text, ""
        while text and self.state != "text":
            before = self.state
            text = getattr(self, f"_{self.state}")(text, given)
            if self.state == before:
                self._held = text
                return given
        if text:
            given.append((False, text))
        return given

    def flush(self) -> list[tuple[bool, str]]:
        """The stream has ended: what was held back is what it looks like."""
        held, self._held = self._held, ""
        return [(self.state == "inside", held)] if held else []

    def _start(self, text: str, given: list[tuple[bool, str]]) -> str:
        head = text.lstrip(_BLANK)
        for tag in self._tags:
            if head.startswith(f"<{tag}>"):
                self.state, self._tags = "inside", (tag,)
                return head[len(tag) + 2 :].lstrip("\r\n")
        if not any(f"<{tag}>".startswith(head) for tag in self._tags):
            self.state = "text"
        return text

    def _inside(self, text: str, given: list[tuple[bool, str]]) -> str:
        end = f"</{self._tags[0]}>"
        reasoning, found, rest = text.partition(end)
        if found:
            self.state = "behind"
            held = ""
        else:
            held = _overlap(text, end)
            reasoning = text[: len(text) - len(held)]
        if reasoning:
            given.append((True, reasoning))
        return rest if found else held

    def _behind(self, text: str, given: list[tuple[bool, str]]) -> str:
        rest = text.lstrip("\r\n")
        if rest:
            self.state = "text"
        return rest


def _overlap(text: str, tag: str) -> str:
    """The longest end of ``text`` that is a beginning of ``tag``."""
    for size in range(min(len(text), len(tag) - 1), 0, -1):
        if text.endswith(tag[:size]):
            return tag[:size]
    return ""
