"""Text cut into chunks of a bounded size, at its own seams."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from antiphon.retrieval.extraction import Kind

# OpenAI's.
DEFAULT_MAX_TOKENS = 800
DEFAULT_OVERLAP_TOKENS = 400

# Given a whole document and one of its chunks, says what the chunk is about.
ContextWriter = Callable[[str, str], Awaitable[str]]


class ChunkingStrategy(msgspec.Struct, frozen=True, kw_only=True):
    """How a text is cut; ``contextual`` indexes each chunk together with its document's title and its headings."""

    type: Literal["auto", "static", "contextual"] = "auto"
    max_tokens: int = DEFAULT_MAX_TOKENS
    overlap_tokens: int = DEFAULT_OVERLAP_TOKENS


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a text: ``text[start:end]``. ``context`` is indexed with it, but is not part of it."""

    text: str
    start: int
    end: int
    context: str = ""

    @property
    def indexed_text(self) -> str:
        """What is embedded and indexed."""
        return f"{self.context}\n\n{self.text}" if self.context else self.text


def chunking_strategy(wire: object, *, param: str = "chunking_strategy") -> ChunkingStrategy:
    """The strategy that a request's JSON means; ``auto`` for None.

    Raises:
        InvalidRequest: it is no strategy, or its sizes are out of bounds.
    """
    raise NotImplementedError


def chunks(text: str, *, kind: Kind, strategy: ChunkingStrategy, title: str = "", language: str = "") -> list[Chunk]:
    """The chunks of a text, in order; takes time, so call it in a thread."""
    raise NotImplementedError


async def with_written_contexts(cut: list[Chunk], text: str, write: ContextWriter) -> list[Chunk]:
    """The chunks with contexts that a model writes."""
    raise NotImplementedError
