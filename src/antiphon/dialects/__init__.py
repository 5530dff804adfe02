"""What each provider and model does differently: types and pure look-up. Data, never ``if "deepseek" in model``."""

from __future__ import annotations

import msgspec


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How one upstream and model differ from OpenAI's own chat completions."""

    name: str = "openai"


OPENAI = Dialect()
