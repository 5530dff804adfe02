"""What a reasoning item carries for us in ``encrypted_content``: what its upstream wants to see again.

A client that keeps no state (``store: false``) echoes reasoning items whole, and their ``encrypted_content`` is the
only field it is bound to return unread. Rendering seals it; `antiphon.wire.sealed.opened` opens it at the door.
"""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.wire.sealed import REASONING, Sealer


class Reasoning(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Reasoning as one upstream gave it: its text, opaque details, and the wire field the text came under."""

    text: str = ""
    details: list[dict[str, Any]] = []
    field: str | None = None
    upstream: str | None = None


def seal(reasoning: Reasoning, sealer: Sealer, *, key: str | None = None) -> str:
    """The ``encrypted_content`` that carries it; the same reasoning under the same key gives the same string."""
    return sealer.seal(REASONING, msgspec.json.encode(reasoning), key=key)
