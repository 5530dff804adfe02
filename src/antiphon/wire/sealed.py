"""Content that only the server can read, in a client's hands: made by a `Sealer`, opened at the door.

Inside of Antiphon nothing is sealed: what a seal held is the item's private member. So a client's own private members
are taken off at the door, and whatever is found there later was written by us.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from antiphon.errors import InvalidRequest
from antiphon.wire.items import PRIVATE, Item

# What begins otherwise was sealed by another server.
PREFIX = "antiphon2."

REASONING = "reasoning"
COMPACTION = "compaction"


class Sealer(Protocol):
    """Seals and opens for one owner: what it sealed, nobody else can open, read or change."""

    def seal(self, kind: str, content: bytes, *, key: str | None = None) -> str:
        """The content, sealed. The same content gives the same string, since a run is rendered more than once.

        ``key`` is the id of the key to use; the newest one is used if it is None or not there any more.
        """
        ...

    def open(self, kind: str, sealed: str) -> bytes:
        """The content.

        Raises:
            ValueError: it was changed, or sealed for another owner or kind, or with a key that is not there any more.
        """
        ...


def opened(items: Sequence[Item], sealer: Sealer | None, *, param: str = "input") -> list[Item]:
    """The items of a request as they are inside of Antiphon: what was sealed here is their private member.

    ``param`` is the field that held them.

    Foreign reasoning stays as it is (nobody here can use it, and the answer does not depend on it); a foreign
    compaction is refused, because what it stands for would be lost.

    Raises:
        InvalidRequest: content that was sealed here cannot be opened.
    """
    return [_opened(item, f"{param}[{position}]", sealer) for position, item in enumerate(items)]


def _opened(item: Item, path: str, sealer: Sealer | None) -> Item:
    if PRIVATE in item:
        item = {name: value for name, value in item.items() if name != PRIVATE}
    sealed, kind = item.get("encrypted_content"), item["type"]
    if kind not in (REASONING, COMPACTION) or not isinstance(sealed, str):
        return item
    if kind == REASONING and not sealed.startswith(PREFIX):
        return item
    try:
        if sealer is None:
            raise ValueError("this server has no keys")
        private = msgspec.json.decode(sealer.open(kind, sealed))
    except (ValueError, msgspec.DecodeError) as error:
        message = f"The encrypted content of {item.get('id') or path} could not be verified: {error}."
        param = f"{path}.encrypted_content"
        raise InvalidRequest(message, param=param, code="invalid_encrypted_content") from None
    return {**item, PRIVATE: private}


def sealed_summary(summary: str, sealer: Sealer) -> str:
    """The ``encrypted_content`` of a compaction item."""
    return sealer.seal(COMPACTION, msgspec.json.encode({"summary": summary}))


def summary_of(compaction: Item) -> str:
    """What an opened compaction item stands for, as the model is told."""
    summary = compaction.get(PRIVATE, {}).get("summary", "")
    return f"The conversation so far, summarised:\n\n{summary}"
