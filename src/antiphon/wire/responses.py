"""The Responses API: the request as a checked Struct, items as the JSON objects they are.

Items are plain dicts (`Item`): 28 kinds exist, clients send fields nobody documented, and every one of them must
survive the round trip. What is checked is checked when the request is decoded.
"""

from __future__ import annotations

from typing import Any

import msgspec

Item = dict[str, Any]


class CreateResponse(msgspec.Struct, kw_only=True):
    """The body of ``POST /v1/responses``, its types checked; ``raw`` is the body as it was sent."""

    model: str
    input: str | list[Item] = ""
    raw: dict[str, Any] = {}
