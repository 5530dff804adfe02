import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import EmbeddingMismatch, InvalidRequest, RateLimited, RetrievalError
from antiphon.retrieval.filters import compile_filter
from antiphon.retrieval.index import Embedded, Index
from antiphon.retrieval.ranking import RankingOptions, fused, ranking_options
from antiphon.retrieval.reembedding import reembed
from antiphon.retrieval.search import SearchResult, Source, search
from retrieval.corpora import cut
from retrieval.embedders import WordEmbedder

EMBEDDER = WordEmbedder()
TEXTS = {
    "file-bread": "Bread is baked of rye in the oven.",
    "file-salt": "Salt is mined in the mountains.",
    "file-llama": "The llama has 128 experts, and rye.",
}


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    opened = Index.open(tmp_path / "a")
    for name, text in TEXTS.items():
        opened.add(name, cut(text), embedded(text), {"name": name}, filename=f"{name}.txt")
    yield opened
    opened.close()


def embedded(*texts: str, by: WordEmbedder = EMBEDDER) -> Embedded:
    return Embedded(by.model, by.vectors(texts))


def ask(query: Any, *sources: Source, **options: Any) -> SearchResult:
    return asyncio.run(search(query, sources, **options))


def names(result: SearchResult) -> list[str]:
    return [hit.file_id for hit in result.hits]


def test_a_question_is_answered_from_words_and_vectors(index: Index) -> None:
    result = ask("How many experts has the llama?", Source(store_id="vs_1", index=index, embedder=EMBEDDER))
    assert (result.mode, result.notes) == ("hybrid", [])
    best = result.hits[0]
    assert (best.store_id, best.file_id, best.filename) == ("vs_1", "file-llama", "file-llama.txt")
    assert (best.text, best.attributes) == (TEXTS["file-llama"], {"name": "file-llama"})
    assert best.score == 1
    assert 0 < (best.text_score or 0) < 1
    assert 0 < (best.vector_score or 0) < 1


def test_without_an_embedder_words_are_searched_and_it_is_said(index: Index) -> None:
    result = ask("experts", Source(store_id="vs_1", index=index))
    assert result.mode == "lexical"
    assert names(result) == ["file-llama"]
    assert result.notes == ["vs_1 was searched by words alone: no embedding model is set for it."]


def test_a_store_without_vectors_is_searched_by_words_and_it_is_said(tmp_path: Path) -> None:
    bare = Index.open(tmp_path / "bare")
    bare.add("file-a", cut("Rye bread"))
    result = ask("rye", Source(store_id="vs_1", index=bare, embedder=EMBEDDER))
    assert (names(result), result.mode) == (["file-a"], "lexical")
    assert "none of its files has vectors" in result.notes[0]
    bare.close()


def test_files_that_have_no_vectors_yet_are_named(index: Index) -> None:
    index.add("file-new", cut("New rye"))
    result = ask("rye", Source(store_id="vs_1", index=index, embedder=EMBEDDER))
    assert "file-new" in names(result)
    assert result.notes == ["1 of 4 chunks of vs_1 have no vectors yet, and are found by their words alone."]


def test_each_way_can_be_asked_for_alone(index: Index) -> None:
    source = Source(store_id="vs_1", index=index, embedder=EMBEDDER)
    lexical = ask("rye", source, mode="lexical")
    assert sorted(names(lexical)) == ["file-bread", "file-llama"]
    assert all(hit.vector_score is None for hit in lexical.hits)
    assert len(ask("rye", source, mode="vector").hits) == 3
    with pytest.raises(InvalidRequest, match="no embedding model"):
        ask("rye", Source(store_id="vs_1", index=index), mode="vector")


def test_a_weight_of_nothing_leaves_that_way_out(index: Index) -> None:
    source = Source(store_id="vs_1", index=index, embedder=EMBEDDER)
    assert ask("rye", source, ranking=RankingOptions(embedding_weight=0)).mode == "lexical"
    assert ask("rye", source, ranking=RankingOptions(text_weight=0)).mode == "vector"


def test_several_stores_are_searched_as_one(index: Index, tmp_path: Path) -> None:
    other = Index.open(tmp_path / "b")
    other.add("file-oil", cut("Oil is pressed."), embedded("Oil is pressed."))
    other.add("file-rye", cut("Rye rye rye"), embedded("Rye rye rye"))
    asked = EMBEDDER.asked
    result = ask(
        "rye",
        Source(store_id="vs_1", index=index, embedder=EMBEDDER),
        Source(store_id="vs_2", index=other, embedder=EMBEDDER),
    )
    assert EMBEDDER.asked == asked + 1
    assert (result.hits[0].store_id, result.hits[0].file_id) == ("vs_2", "file-rye")
    assert {hit.store_id for hit in result.hits} == {"vs_1", "vs_2"}
    assert [hit.score for hit in result.hits] == sorted((hit.score for hit in result.hits), reverse=True)
    other.close()


def test_several_queries_are_asked_at_once(index: Index) -> None:
    source = Source(store_id="vs_1", index=index, embedder=EMBEDDER)
    result = ask(["salt mined", "experts llama"], source, max_num_results=2)
    assert set(names(result)) == {"file-salt", "file-llama"}
    assert result.queries == ["salt mined", "experts llama"]


async def in_other_words(query: str) -> list[str]:
    return ["", "llama experts"] if "animal" in query else []


def test_a_query_may_be_rewritten(index: Index) -> None:
    source = Source(store_id="vs_1", index=index)
    result = ask("Which animal is it?", source, rewrite=in_other_words)
    assert (result.queries, names(result)) == (["llama experts"], ["file-llama"])
    assert ask("salt", source, rewrite=in_other_words).queries == ["salt"]


def test_a_filter_holds_for_both_ways(index: Index) -> None:
    wanted = compile_filter({"type": "ne", "key": "name", "value": "file-llama"})
    result = ask("rye", Source(store_id="vs_1", index=index, embedder=EMBEDDER), filters=wanted)
    assert sorted(names(result)) == ["file-bread", "file-salt"]


def test_a_threshold_leaves_out_what_is_below(index: Index) -> None:
    source = Source(store_id="vs_1", index=index, embedder=EMBEDDER)
    everything = ask("llama experts", source)
    best = ask("llama experts", source, ranking=RankingOptions(score_threshold=0.99))
    assert names(best) == ["file-llama"]
    assert len(everything.hits) == 3


def test_without_a_ranker_scores_say_how_near_a_hit_is(index: Index) -> None:
    source = Source(store_id="vs_1", index=index, embedder=EMBEDDER)
    near = ask(TEXTS["file-salt"], source, ranking=RankingOptions(ranker="none", text_weight=0))
    assert near.hits[0].score == pytest.approx(1, abs=0.01)
    assert near.hits[1].score < 0.9
    nonsense = ask("xyzzy", source, ranking=RankingOptions(ranker="none", score_threshold=0.3))
    assert nonsense.hits == []


@pytest.mark.parametrize(
    ("query", "options", "param"),
    [
        ("", {}, "query"),
        (" \n", {}, "query"),
        ([], {}, "query"),
        (["a", ""], {}, "query"),
        (["a"] * 33, {}, "query"),
        ("a", {"max_num_results": 0}, "max_num_results"),
        ("a", {"max_num_results": 51}, "max_num_results"),
    ],
)
def test_a_search_that_cannot_be_is_refused(index: Index, query: Any, options: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        ask(query, Source(store_id="vs_1", index=index), **options)
    assert refused.value.param == param


class BrokenEmbedder(WordEmbedder):
    async def embed(self, texts: Any) -> Any:
        raise RateLimited("too many", status=429)


def test_an_error_is_an_error_and_no_empty_result(index: Index) -> None:
    with pytest.raises(RateLimited):
        ask("rye", Source(store_id="vs_1", index=index, embedder=BrokenEmbedder()))
    with pytest.raises(EmbeddingMismatch, match="vs_1 has vectors of words"):
        ask("rye", Source(store_id="vs_1", index=index, embedder=WordEmbedder("other")))
    index.close()
    with pytest.raises(RetrievalError, match="closed"):
        ask("rye", Source(store_id="vs_1", index=index))


def test_a_store_is_embedded_anew_with_another_model(index: Index) -> None:
    other, told = WordEmbedder("other", 32), list[str]()
    assert asyncio.run(reembed(index, other, on_file=told.append)) == 3
    assert sorted(told) == sorted(TEXTS)
    assert (index.stats().model, index.stats().dimensions) == ("other", 32)
    assert asyncio.run(reembed(index, other)) == 0
    result = ask("llama experts", Source(store_id="vs_1", index=index, embedder=other), mode="vector")
    assert names(result)[0] == "file-llama"


def test_embedding_anew_goes_on_where_it_was_interrupted(index: Index) -> None:
    class Flaky(WordEmbedder):
        async def embed(self, texts: Any) -> Any:
            if self.asked == 2:
                raise RateLimited("too many", status=429)
            return await super().embed(texts)

    with pytest.raises(RateLimited):
        asyncio.run(reembed(index, Flaky("other")))
    assert index.stats().model == "words"
    assert asyncio.run(reembed(index, WordEmbedder("other"))) == 1
    assert index.stats().model == "other"


# --- ranking ------------------------------------------------------------------------------------


def test_the_first_of_every_list_has_the_full_score() -> None:
    ranked = fused([{"vector": [("a", 0.9), ("b", 0.8)], "text": [("a", 0.5), ("c", 0.1)]}], RankingOptions())
    assert [hit.key for hit in ranked] == ["a", "b", "c"]
    assert ranked[0].score == 1
    assert (ranked[1].score, ranked[2].score) == (pytest.approx(61 / 62 / 2), pytest.approx(61 / 62 / 2))
    assert (ranked[0].vector_score, ranked[0].text_score) == (0.9, 0.5)
    assert ranked[1].text_score is None


def test_weights_move_the_balance() -> None:
    lists: Any = [{"vector": [("a", 0.9)], "text": [("b", 0.5)]}]
    assert fused(lists, RankingOptions(embedding_weight=0.1))[0].key == "b"
    assert fused(lists, RankingOptions(text_weight=0.1))[0].key == "a"


hits = st.lists(st.tuples(st.integers(0, 20), st.floats(0, 1)), unique_by=lambda hit: hit[0], max_size=10)


@given(
    st.lists(st.fixed_dictionaries({}, optional={"vector": hits, "text": hits}), max_size=4),
    st.sampled_from(["auto", "none"]),
    st.floats(0, 1),
    st.floats(0.01, 9),
)
def test_scores_are_between_nothing_and_one_and_in_order(
    queries: Any, ranker: Any, threshold: float, weight: float
) -> None:
    options = RankingOptions(ranker=ranker, score_threshold=threshold, text_weight=weight)
    scores = [hit.score for hit in fused(queries, options)]
    assert scores == sorted(scores, reverse=True)
    assert all(threshold <= score <= 1 + 1e-9 for score in scores)


def test_options_are_read_as_openai_writes_them() -> None:
    wire = {"ranker": "default-2024-11-15", "score_threshold": 0.5, "hybrid_search": {"embedding_weight": 2}}
    assert ranking_options(wire) == RankingOptions(score_threshold=0.5, embedding_weight=2)
    assert ranking_options(None) == ranking_options({"ranker": "auto"}) == RankingOptions()
    assert ranking_options({"ranker": "none", "hybrid_search": None}).ranker == "none"


@pytest.mark.parametrize(
    ("wire", "param"),
    [
        ([], ""),
        ({"rank": 1}, ".rank"),
        ({"ranker": "best"}, ".ranker"),
        ({"ranker": ["auto"]}, ".ranker"),
        ({"score_threshold": 2}, ".score_threshold"),
        ({"score_threshold": True}, ".score_threshold"),
        ({"hybrid_search": 1}, ".hybrid_search"),
        ({"hybrid_search": {"weight": 1}}, ".hybrid_search.weight"),
        ({"hybrid_search": {"text_weight": -1}}, ".hybrid_search.text_weight"),
        ({"hybrid_search": {"text_weight": 0, "embedding_weight": 0}}, ".hybrid_search"),
    ],
)
def test_options_that_cannot_be_are_refused_where_they_are_wrong(wire: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        ranking_options(wire)
    assert refused.value.param == f"ranking_options{param}"
