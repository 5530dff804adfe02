"""Text cut into chunks of a bounded size, at its own seams.

Tokens are estimated from bytes: which tokenizer an embedding model has is not known here, and the widespread ones agree
to within a third. All chunks together cover the text, so that it can be had back from them.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from antiphon.errors import InvalidRequest
from antiphon.retrieval.documents import Kind

# OpenAI's defaults and bounds.
DEFAULT_MAX_TOKENS = 800
DEFAULT_OVERLAP_TOKENS = 400
FEWEST_TOKENS, MOST_TOKENS = 100, 4096

# Prose of any script has about 4 bytes a token, what is full of punctuation fewer.
_BYTES_PER_TOKEN = 4
_DENSE: dict[Kind, int] = {"code": 3, "csv": 3, "json": 3}
# Formats whose text is, or has become, Markdown.
_MARKDOWN: frozenset[Kind] = frozenset({"markdown", "html", "docx"})

# The splitter's time grows with the square of a text without seams: 1 MB takes it 8 s, so it gets pieces of this size.
_SECTION_CHARS = 100_000

_HEADING = re.compile(r"^(?:(#{1,6}) +(.*\S)|(?:```|~~~).*)$", re.MULTILINE)
_LONGEST_HEADING_CHARS = 120
_BETWEEN = " > "

# Given a whole document and one of its chunks, says what the chunk is about.
ContextWriter = Callable[[str, str], Awaitable[str]]
_CONTEXTS_AT_ONCE = 4


class ChunkingStrategy(msgspec.Struct, frozen=True, kw_only=True):
    """How a text is cut.

    ``contextual`` indexes each chunk together with its document's title and its headings, or, where ``context_model``
    is set, with what that model writes about it.
    """

    type: Literal["auto", "static", "contextual"] = "auto"
    max_tokens: int = DEFAULT_MAX_TOKENS
    overlap_tokens: int = DEFAULT_OVERLAP_TOKENS
    context_model: str | None = None

    def as_wire(self) -> dict[str, Any]:
        """As a client is shown it: ``auto`` is the static strategy that it stands for."""
        sizes = {"max_chunk_size_tokens": self.max_tokens, "chunk_overlap_tokens": self.overlap_tokens}
        if self.type != "contextual":
            return {"type": "static", "static": sizes}
        model = {"model": self.context_model} if self.context_model else {}
        return {"type": "contextual", "contextual": sizes | model}


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
    if wire is None:
        return ChunkingStrategy()
    kind: Any = wire.get("type") if isinstance(wire, Mapping) else None
    if not isinstance(wire, Mapping) or kind not in ("auto", "static", "contextual"):
        raise InvalidRequest(f"{param} must have a type: auto, static or contextual.", param=f"{param}.type")
    _no_others(wire, {"type", kind} - {"auto"}, param)
    if kind == "auto":
        return ChunkingStrategy()
    sizes = wire.get(kind, {} if kind == "contextual" else None)
    param = f"{param}.{kind}"
    if not isinstance(sizes, Mapping):
        raise InvalidRequest(f"{param} must be an object with the sizes.", param=param)
    known = {"max_chunk_size_tokens", "chunk_overlap_tokens"}
    _no_others(sizes, known | {"model"} if kind == "contextual" else known, param)
    max_tokens = _size(sizes, "max_chunk_size_tokens", DEFAULT_MAX_TOKENS, (FEWEST_TOKENS, MOST_TOKENS), param)
    most = max_tokens // 2
    overlap = _size(sizes, "chunk_overlap_tokens", min(DEFAULT_OVERLAP_TOKENS, most), (0, most), param)
    model = sizes.get("model")
    if model is not None and not isinstance(model, str):
        raise InvalidRequest(f"{param}.model must be the name of a model.", param=f"{param}.model")
    return ChunkingStrategy(type=kind, max_tokens=max_tokens, overlap_tokens=overlap, context_model=model)


def chunks(text: str, *, kind: Kind, strategy: ChunkingStrategy, title: str = "") -> list[Chunk]:
    """The chunks of a text, in order; takes time, so call it in a thread.

    ``title`` names the document in the context of a contextual strategy.
    """
    headings = _Headings(text if kind in _MARKDOWN else "", title) if strategy.type == "contextual" else None
    return [
        Chunk(text=text[start:end], start=start, end=end, context=headings.above(start) if headings else "")
        for start, end in _joined(text, _spans(text, kind, strategy))
    ]


async def with_written_contexts(cut: list[Chunk], text: str, write: ContextWriter) -> list[Chunk]:
    """The chunks with contexts that a model writes, some of them at a time; the first failure ends it."""
    slots = asyncio.Semaphore(_CONTEXTS_AT_ONCE)

    async def written(chunk: Chunk) -> Chunk:
        async with slots:
            context = await write(text, chunk.text)
        return msgspec.structs.replace(chunk, context=context.strip())

    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(written(chunk)) for chunk in cut]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in running]


def estimated_tokens(text: str, kind: Kind = "text") -> int:
    """About how many tokens a text is."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size // _DENSE.get(kind, _BYTES_PER_TOKEN))


def _spans(text: str, kind: Kind, strategy: ChunkingStrategy) -> Iterator[tuple[int, int]]:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    splitter = (MarkdownSplitter if kind in _MARKDOWN else TextSplitter).from_callback(
        lambda piece: estimated_tokens(piece, kind), strategy.max_tokens, overlap=strategy.overlap_tokens, trim=False
    )
    begin = 0
    while begin < len(text):
        section = text[begin : begin + _SECTION_CHARS]
        spans = [(begin + start, begin + start + len(piece)) for start, piece in splitter.chunk_indices(section)]
        end = begin + len(section)
        # The last chunk may have been cut by the section's end: it is cut again, with what follows.
        begin = spans.pop()[0] if end < len(text) and len(spans) > 1 else end
        yield from spans


def _joined(text: str, spans: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans without those that are blank or lie in another, widened so that nothing of the text is lost."""
    kept: list[tuple[int, int]] = []
    end = 0
    for start, stop in spans:
        if stop <= end:
            continue
        start = min(start, end)
        if text[end:stop].isspace():  # what is new in it says nothing
            start, stop = (kept.pop()[0] if kept else start), stop
        elif kept and text[kept[-1][0] : kept[-1][1]].isspace():
            start = kept.pop()[0]
        kept.append((start, stop))
        end = stop
    return kept


class _Headings:
    """The Markdown headings of a text; those in fenced code are none."""

    def __init__(self, text: str, title: str) -> None:
        self._title = title
        self._starts: list[int] = []
        self._paths: list[str] = []
        path: list[tuple[int, str]] = []
        fenced = False
        for match in _HEADING.finditer(text):
            marks, heading = match.groups()
            if marks is None:
                fenced = not fenced
            elif not fenced:
                path = [above for above in path if above[0] < len(marks)]
                path.append((len(marks), heading.rstrip("# ")[:_LONGEST_HEADING_CHARS]))
                self._starts.append(match.start())
                self._paths.append(_BETWEEN.join(name for _, name in path))

    def above(self, offset: int) -> str:
        """The title and the headings that a chunk at this offset stands under."""
        at = bisect_right(self._starts, offset) - 1
        return _BETWEEN.join(filter(None, (self._title, self._paths[at] if at >= 0 else "")))


def _size(sizes: Mapping[str, Any], name: str, default: int, bounds: tuple[int, int], param: str) -> int:
    value = sizes.get(name, default)
    fewest, most = bounds
    if type(value) is not int or not fewest <= value <= most:
        half = " (at most half of max_chunk_size_tokens)" if name == "chunk_overlap_tokens" else ""
        message = f"{param}.{name} is {value!r}; it must be a whole number from {fewest} to {most}{half}."
        raise InvalidRequest(message, param=f"{param}.{name}")
    return value


def _no_others(wire: Mapping[str, Any], known: set[str], param: str) -> None:
    if others := sorted(map(str, wire.keys() - known)):
        raise InvalidRequest(f"{param} has {others[0]!r}, which is not known.", param=f"{param}.{others[0]}")
