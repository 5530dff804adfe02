"""What tokens cost, as the user says: there is no list here, since prices change and depend on contracts. Pure."""

from __future__ import annotations

import msgspec

from antiphon.events import Usage


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of one model, in US dollars for a million tokens.

    ``cached_usd_per_1m`` is for the part of the input that came from a cache; without it that costs as the rest does.
    Reasoning is output.
    """

    input_usd_per_1m: float
    output_usd_per_1m: float
    cached_usd_per_1m: float | None = None

    def cost_usd(self, usage: Usage) -> float:
        """What this many tokens cost."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        cached_usd = self.input_usd_per_1m if self.cached_usd_per_1m is None else self.cached_usd_per_1m
        fresh_usd = (usage.input_tokens - cached) * self.input_usd_per_1m
        return (fresh_usd + cached * cached_usd + usage.output_tokens * self.output_usd_per_1m) / 1_000_000
