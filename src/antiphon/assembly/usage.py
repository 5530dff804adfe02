"""Tokens of one answer, out of however many usage objects the stream carries.

They come on a chunk of their own, on the finish chunk, on both, or on every chunk with running totals (Q75-Q78). They
are never added up: each field is the largest value seen, which is the last one where totals run, the only one where
they are repeated, and the true one where zeros stand in first (Q79).
"""

from __future__ import annotations

from typing import Any

from antiphon.events import Usage

# Field of `Usage` -> where upstreams put it. Of several places, the first that has a number counts.
PLACES: dict[str, tuple[tuple[str, ...], ...]] = {
    "input_tokens": (("prompt_tokens",), ("input_tokens",)),
    "output_tokens": (("completion_tokens",), ("output_tokens",)),
    "total_tokens": (("total_tokens",),),
    "cached_tokens": (
        ("prompt_tokens_details", "cached_tokens"),
        ("input_tokens_details", "cached_tokens"),
        ("prompt_cache_hit_tokens",),  # DeepSeek
        ("cached_tokens",),  # Moonshot
        ("cache_read_input_tokens",),  # Anthropic bridges
    ),
    "reasoning_tokens": (
        ("completion_tokens_details", "reasoning_tokens"),
        ("output_tokens_details", "reasoning_tokens"),
        ("reasoning_tokens",),
    ),
}


class UsageMeter:
    """Folds usage objects; `usage` is what they come to, or None if there were none."""

    __slots__ = ("_counts", "_raw")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._raw: dict[str, Any] | None = None

    def take(self, seen: dict[str, Any], *, is_vendors: bool = False) -> None:
        """Take one usage object as it came; ``is_vendors`` if it stood elsewhere, where no other client looks (Q81)."""
        counts = {field: _count(seen, paths) for field, paths in PLACES.items()}
        for field, count in counts.items():
            self._counts[field] = max(count, self._counts.get(field, 0))
        if self._raw is None or any(counts.values()):
            self._raw = {} if is_vendors else seen

    def __bool__(self) -> bool:
        return self._raw is not None

    @property
    def usage(self) -> Usage | None:
        """What the stream has told so far."""
        if self._raw is None:
            return None
        counts = dict(self._counts)
        counts["total_tokens"] = counts["total_tokens"] or counts["input_tokens"] + counts["output_tokens"]
        return Usage(**counts, raw=self._raw)


def _count(seen: dict[str, Any], paths: tuple[tuple[str, ...], ...]) -> int:
    for path in paths:
        value: Any = seen
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        # Above 2**63 a number is no count of tokens, and no journal could hold it.
        if isinstance(value, int | float) and 0 < value < 2**63:
            return int(value)
    return 0
