"""What a reasoning item carries for us in ``encrypted_content``: what its upstream wants to see again.

A client that keeps no state (``store: false``) echoes reasoning items whole, and their ``encrypted_content`` is the
only field it is bound to return unread. Rendering seals it, translation unseals it; neither knows the encoding.

The content is encoded, not yet encrypted: whoever holds it can read it and change it, so nothing in it is trusted.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

_PREFIX = "antiphon1."


class Reasoning(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Reasoning as one upstream gave it: its text, opaque details, and the wire field the text came under."""

    text: str = ""
    details: list[dict[str, Any]] = []
    field: str | None = None
    upstream: str | None = None


_DECODER = msgspec.json.Decoder(Reasoning)


def seal(reasoning: Reasoning) -> str:
    """The ``encrypted_content`` that carries it; the same reasoning always gives the same string."""
    return _PREFIX + base64.urlsafe_b64encode(msgspec.json.encode(reasoning)).decode()


def unseal(encrypted_content: str) -> Reasoning | None:
    """What was sealed, or None where it is not ours or was damaged: another server's content is not an error."""
    if not encrypted_content.startswith(_PREFIX):
        return None
    try:
        return _DECODER.decode(base64.urlsafe_b64decode(encrypted_content.removeprefix(_PREFIX)))
    except (binascii.Error, msgspec.DecodeError, ValueError):
        return None
