import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import InvalidRequest
from antiphon.retrieval import chunking
from antiphon.retrieval.chunking import (
    Chunk,
    ChunkingStrategy,
    chunking_strategy,
    chunks,
    estimated_tokens,
    with_written_contexts,
)

SMALL = ChunkingStrategy(type="static", max_tokens=100, overlap_tokens=50)
BOOK = (
    "# Bread\n\nIt is old.\n\n## Rye\n\n"
    + "Rye is dark. " * 60
    + "\n\n```\n# no heading\n```\n\n## Wheat\n\n"
    + "Wheat is light. " * 60
)


def whole(cut: list[Chunk]) -> str:
    text = ""
    for chunk in cut:
        text += chunk.text[max(0, len(text) - chunk.start) :]
    return text


kinds = st.sampled_from(["text", "markdown", "code", "html", "pdf", "docx", "csv", "json"])
texts = st.lists(
    st.sampled_from(
        ["word ", "\n\n", "\n", "# h\n", "  ", "🥖", "パン", "x" * 700, "a sentence. ", "```\n", "- item\n", "\t"]
    ),
    max_size=60,
).map("".join)


@given(texts, kinds, st.sampled_from(["static", "contextual"]), st.integers(0, 50))
def test_chunks_cover_the_text_and_none_is_too_large(text: str, kind: Any, how: Any, overlap: int) -> None:
    strategy = ChunkingStrategy(type=how, max_tokens=100, overlap_tokens=overlap)
    cut = chunks(text, kind=kind, strategy=strategy, title="t")
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in cut)
    assert whole(cut) == (text if text.strip() else text[: cut[-1].end if cut else 0])
    assert all(estimated_tokens(chunk.text.strip(), kind) <= 100 for chunk in cut)
    assert not any(chunk.text.isspace() for chunk in cut) or not text.strip()
    assert [chunk.start for chunk in cut] == sorted({chunk.start for chunk in cut})


def test_neighbours_overlap() -> None:
    cut = chunks("A sentence of some words. " * 100, kind="text", strategy=SMALL)
    shared = [left.end - right.start for left, right in itertools.pairwise(cut)]
    assert min(shared) > 100


def test_a_long_text_is_cut_as_its_parts_are(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "A sentence of some words. " * 200 + "x" * 3000 + "\n\n" + " " * 2000 + "The end."
    whole_at_once = chunks(text, kind="text", strategy=SMALL)
    monkeypatch.setattr(chunking, "_SECTION_CHARS", 1500)
    in_sections = chunks(text, kind="text", strategy=SMALL)
    assert whole(in_sections) == whole(whole_at_once) == text
    assert abs(len(in_sections) - len(whole_at_once)) < 5
    apart = [left for left, right in itertools.pairwise(in_sections) if left.end <= right.start]
    assert len(apart) <= len([left for left, right in itertools.pairwise(whole_at_once) if left.end <= right.start]) + 3


def test_a_short_text_is_one_chunk() -> None:
    assert chunks("Bread.", kind="text", strategy=ChunkingStrategy()) == [Chunk(text="Bread.", start=0, end=6)]
    assert chunks("", kind="text", strategy=ChunkingStrategy()) == []


def test_auto_is_what_it_is_at_openai() -> None:
    strategy = chunking_strategy({"type": "auto"})
    assert strategy == chunking_strategy(None) == ChunkingStrategy()
    sizes = {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}
    assert strategy.as_wire() == {"type": "static", "static": sizes}


def test_a_contextual_chunk_knows_its_headings() -> None:
    strategy = ChunkingStrategy(type="contextual", max_tokens=100, overlap_tokens=0)
    cut = chunks(BOOK, kind="markdown", strategy=strategy, title="Food")
    contexts = {chunk.context for chunk in cut if "dark" in chunk.text}
    assert contexts == {"Food > Bread > Rye"}
    assert cut[-1].context == "Food > Bread > Wheat"
    assert cut[0].indexed_text.startswith("Food > Bread\n\n# Bread")
    assert not any("no heading" in chunk.context for chunk in cut)


def test_headings_are_read_in_markdown_only() -> None:
    strategy = ChunkingStrategy(type="contextual")
    assert chunks("# comment\nx = 1", kind="code", strategy=strategy, title="a.py")[0].context == "a.py"


async def upper(text: str, chunk: str) -> str:
    assert chunk in text
    return f" about {chunk.strip()[:5]}\n"


async def broken(text: str, chunk: str) -> str:
    raise InvalidRequest("no model")


def test_a_model_may_write_the_contexts() -> None:
    cut = chunks(BOOK, kind="markdown", strategy=SMALL)
    written = asyncio.run(with_written_contexts(cut, BOOK, upper))
    assert [chunk.context for chunk in written] == [f"about {chunk.text.strip()[:5]}" for chunk in cut]
    with pytest.raises(InvalidRequest, match="no model"):
        asyncio.run(with_written_contexts(cut, BOOK, broken))


@pytest.mark.parametrize(
    "wire",
    [
        {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 100}},
        {
            "type": "contextual",
            "contextual": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 0, "model": "qwen3"},
        },
    ],
)
def test_a_strategy_is_shown_as_it_was_asked_for(wire: dict[str, Any]) -> None:
    assert chunking_strategy(wire).as_wire() == wire


@pytest.mark.parametrize(
    ("wire", "param"),
    [
        ("auto", "type"),
        ({"type": "semantic"}, "type"),
        ({"type": ["auto"]}, "type"),
        ({"type": "auto", "static": {}}, "static"),
        ({"type": "static"}, "static"),
        ({"type": "static", "static": {"max_chunk_size_tokens": 99}}, "static.max_chunk_size_tokens"),
        ({"type": "static", "static": {"max_chunk_size_tokens": 4097}}, "static.max_chunk_size_tokens"),
        ({"type": "static", "static": {"max_chunk_size_tokens": True}}, "static.max_chunk_size_tokens"),
        (
            {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 101}},
            "static.chunk_overlap_tokens",
        ),
        ({"type": "static", "static": {"chunk_overlap_tokens": -1}}, "static.chunk_overlap_tokens"),
        ({"type": "static", "static": {"size": 1}}, "static.size"),
        ({"type": "contextual", "contextual": {"model": 1}}, "contextual.model"),
    ],
)
def test_a_strategy_that_cannot_be_is_refused_where_it_is_wrong(wire: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        chunking_strategy(wire)
    assert refused.value.param == f"chunking_strategy.{param}"
