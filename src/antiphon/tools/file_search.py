"""The search that a model calls: passages of the user's files, told so that it can answer from them and cite them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from antiphon.errors import AntiphonError
from antiphon.retrieval.stores import Results
from antiphon.tools.base import ToolError, ToolResult
from antiphon.wire.hosted import FileSearchTool
from antiphon.wire.vector_stores import SearchResult

# More than this of a passage is not told: the results in the item are whole.
MAX_PASSAGE_CHARS = 20_000

# Searches the stores of one owner as a request wants it.
Find = Callable[[FileSearchTool, Sequence[str]], Awaitable[Results]]

_HOW_TO_CITE = (
    "Answer from these passages only, as far as they go. Right after what you take from one, before the full stop,"
    " cite its file by its marker, as in: It has 128 experts <|file-id|>. Use only the markers that stand here."
)


async def search_files(find: Find, tool: FileSearchTool, queries: Sequence[str]) -> ToolResult:
    """What the stores hold about the queries.

    Raises:
        ToolError: the search failed. That is told to the model, and never looks like finding nothing.
    """
    try:
        found = await find(tool, queries)
    except AntiphonError as error:
        raise ToolError(f"The search failed: {error.message}") from error
    return ToolResult(output=_told(found), results=[_shown(result) for result in found.results])


def _shown(result: SearchResult) -> dict[str, Any]:
    """A result as an item of the Responses API shows it."""
    return {
        "file_id": result.file_id,
        "filename": result.filename,
        "score": result.score,
        "attributes": result.attributes,
        "text": "\n".join(part["text"] for part in result.content),
    }


def _told(found: Results) -> str:
    notes = [f"Note: {note}" for note in found.notes]
    if not found.results:
        asked = ", ".join(f"{query!r}" for query in found.queries)
        return "\n".join([f"Nothing was found for {asked}.", *notes])
    passages = [_passage(number, _shown(result)) for number, result in enumerate(found.results, 1)]
    count = "One passage was" if len(passages) == 1 else f"{len(passages)} passages were"
    return "\n\n".join([f"{count} found.", *passages, *notes, _HOW_TO_CITE])


def _passage(number: int, result: dict[str, Any]) -> str:
    known = "".join(f", {name}: {value}" for name, value in result["attributes"].items())
    marker = f"<|{result['file_id']}|>"
    head = f"[{number}] {result['filename']}{known} (score {result['score']:.2f}, cite as {marker})"
    return f"{head}\n{result['text'][:MAX_PASSAGE_CHARS]}"
