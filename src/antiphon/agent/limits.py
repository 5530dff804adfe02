"""What a run may use up."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from antiphon.agent.prices import Price


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may use up.

    ``max_attempts`` counts the tries of one model call that nobody has seen anything of, ``max_format_retries`` how
    often an answer that is not in the format that was asked for is asked again. No turn begins when the turns before
    it used up ``max_total_tokens``, as their upstreams counted them, or ``max_cost_usd`` by ``prices``, which are by
    the upstream's name for a model; nor when one call with one result has been made ``max_repeats`` times.

    Before a model is asked again there is a wait, ``retry_wait_s`` at first and twice as long each time, or what the
    upstream asks for; if that is longer than ``max_retry_wait_s``, the run fails instead.
    """

    max_turns: int = 64
    max_tool_calls: int = 128
    max_attempts: int = 1
    max_format_retries: int = 1
    max_total_tokens: int | None = None
    max_cost_usd: float | None = None
    max_repeats: int | None = None
    timeout_s: float = 3600.0
    retry_wait_s: float = 1.0
    max_retry_wait_s: float = 60.0
    prices: Mapping[str, Price] = {}
