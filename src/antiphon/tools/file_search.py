"""The search that a model calls: passages of the user's files, told so that it can answer from them and cite them."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, NamedTuple

from antiphon.errors import AntiphonError
from antiphon.tools.base import ToolError, ToolResult

# More than this of a passage is not told: the results in the item are whole.
MAX_PASSAGE_CHARS = 20_000


class Found(NamedTuple):
    """What a search found: result objects as an item of the Responses API shows them, best first.

    Each has ``file_id``, ``filename``, ``score``, ``attributes`` and ``text``. ``notes`` is what the asker should know.
    """

    results: list[dict[str, Any]]
    queries: list[str]
    notes: list[str]


_HOW_TO_CITE = (
    "Answer from these passages only, as far as they go. Right after what you take from one, before the full stop,"
    " cite its file by its marker, as in: It has 128 experts <|file-id|>. Use only the markers that stand here."
)


async def search_files(finding: Awaitable[Found]) -> ToolResult:
    """What a search gives the model.

    Raises:
        ToolError: the search failed. That is told to the model, and never looks like finding nothing.
    """
    try:
        found = await finding
    except AntiphonError as error:
        raise ToolError(f"The search failed: {error.message}") from error
    return ToolResult(output=_told(found), results=found.results)


def _told(found: Found) -> str:
    notes = [f"Note: {note}" for note in found.notes]
    if not found.results:
        asked = ", ".join(f"{query!r}" for query in found.queries)
        return "\n".join([f"Nothing was found for {asked}.", *notes])
    passages = [_passage(number, result) for number, result in enumerate(found.results, 1)]
    count = "One passage was" if len(passages) == 1 else f"{len(passages)} passages were"
    return "\n\n".join([f"{count} found.", *passages, *notes, _HOW_TO_CITE])


def _passage(number: int, result: dict[str, Any]) -> str:
    known = "".join(f", {name}: {value}" for name, value in result["attributes"].items())
    marker = f"<|{result['file_id']}|>"
    head = f"[{number}] {result['filename']}{known} (score {result['score']:.2f}, cite as {marker})"
    return f"{head}\n{result['text'][:MAX_PASSAGE_CHARS]}"
