"""What several searches found, made one list. Pure.

Reciprocal rank fusion: a hit at rank r of a list gets 1 / (60 + r) of that list's weight. It needs no likeness between
the scores of the lists, which cosines of one model and BM25 do not have.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

import msgspec

from antiphon.errors import InvalidRequest

# Cormack, Clarke, Büttcher: Reciprocal rank fusion outperforms Condorcet and individual rank learning methods (2009).
_K = 60

_AUTO = frozenset({"auto", "default-2024-11-15", "default_2024_08_21", "default-2024-08-21"})

Key = TypeVar("Key", bound=Hashable)
Way = Literal["vector", "text"]


class RankingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How what was found is ranked.

    ``auto`` fuses by reciprocal rank: a score says how well a hit did in comparison, 1 is first in every list.
    ``none`` takes the weighted mean of the similarities instead, so that a threshold cuts by how near a hit is.
    """

    ranker: Literal["auto", "none"] = "auto"
    score_threshold: float = 0.0
    embedding_weight: float = 1.0
    text_weight: float = 1.0


class Ranked(msgspec.Struct, Generic[Key]):
    """A hit in the fused list; the scores of the two ways where they found it."""

    key: Key
    score: float = 0.0
    total: float = 0.0
    vector_score: float | None = None
    text_score: float | None = None


# For one query: what each way found, best first.
Lists = Mapping[Way, Sequence[tuple[Key, float]]]


def ranking_options(wire: object, *, param: str = "ranking_options") -> RankingOptions:
    """The options that a request's JSON means; the default for None.

    Raises:
        InvalidRequest: it is none.
    """
    if wire is None:
        return RankingOptions()
    if not isinstance(wire, Mapping):
        raise InvalidRequest(f"{param} must be an object.", param=param)
    _no_others(wire, {"ranker", "score_threshold", "hybrid_search"}, param)
    ranker: Any = wire.get("ranker") or "auto"
    if ranker != "none" and not (isinstance(ranker, str) and ranker in _AUTO):
        message = f"{param}.ranker is {ranker!r}; it must be auto, none or default-2024-11-15."
        raise InvalidRequest(message, param=f"{param}.ranker")
    weights = wire.get("hybrid_search") or {}
    inner = f"{param}.hybrid_search"
    if not isinstance(weights, Mapping):
        raise InvalidRequest(f"{inner} must be an object.", param=inner)
    _no_others(weights, {"embedding_weight", "text_weight"}, inner)
    options = RankingOptions(
        ranker="none" if ranker == "none" else "auto",
        score_threshold=_number(wire, "score_threshold", 0.0, param, most=1.0),
        embedding_weight=_number(weights, "embedding_weight", 1.0, inner),
        text_weight=_number(weights, "text_weight", 1.0, inner),
    )
    if not options.embedding_weight + options.text_weight:
        raise InvalidRequest(f"{inner}: one of the weights must be more than 0.", param=inner)
    return options


def fused(queries: Sequence[Lists[Key]], options: RankingOptions) -> list[Ranked[Key]]:
    """All hits of all queries, best first, without those below the threshold.

    A hit's score is that of the query it fits best; hits alike are told apart by how well they fit all of them.
    """
    hits: dict[Key, Ranked[Key]] = {}
    for lists in queries:
        for key, score in _scores(lists, options).items():
            hit = hits.setdefault(key, Ranked(key))
            hit.score = max(hit.score, score)
            hit.total += score
        for way, found in lists.items():
            for key, similarity in found:
                hit = hits[key]
                field = f"{way}_score"
                setattr(hit, field, max(similarity, getattr(hit, field) or 0.0))
    kept = [hit for hit in hits.values() if hit.score >= options.score_threshold]
    return sorted(kept, key=lambda hit: (-hit.score, -hit.total))


def _scores(lists: Lists[Key], options: RankingOptions) -> dict[Key, float]:
    """The score of each hit of one query, between 0 and 1."""
    weights = {"vector": options.embedding_weight, "text": options.text_weight}
    if len(lists) == 1:  # there is nothing to weigh
        weights = dict.fromkeys(weights, 1.0)
    whole = sum(weights[way] for way in lists)
    scores: dict[Key, float] = {}
    for way, found in lists.items():
        for rank, (key, similarity) in enumerate(found):
            part = similarity if options.ranker == "none" else (_K + 1) / (_K + 1 + rank)
            scores[key] = scores.get(key, 0.0) + part * weights[way] / whole
    return scores


def _number(wire: Mapping[str, Any], name: str, default: float, param: str, *, most: float | None = None) -> float:
    value = wire.get(name)
    if value is None:
        return default
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= (most or 1e9):
        bounds = f"from 0 to {most:g}" if most is not None else "of at least 0"
        raise InvalidRequest(f"{param}.{name} is {value!r}; it must be a number {bounds}.", param=f"{param}.{name}")
    return float(value)


def _no_others(wire: Mapping[str, Any], known: set[str], param: str) -> None:
    if others := sorted(map(str, wire.keys() - known)):
        raise InvalidRequest(f"{param} has {others[0]!r}, which is not known.", param=f"{param}.{others[0]}")
