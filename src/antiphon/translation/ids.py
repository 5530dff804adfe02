"""Call ids as the upstream wants them: only history carries ids there, so the map is one-way; it never merges two."""

from __future__ import annotations

import hashlib
import re
from itertools import count
from string import ascii_letters, digits

from antiphon.dialects.requests import ChatRules

_ALPHANUMERIC = digits + ascii_letters
_NINE = re.compile(r"[a-zA-Z0-9]{9}")


class CallIds:
    """Gives each call of a request its id for the upstream.

    The same call id may come twice in a history (Q33: upstreams count from 0 again in each turn): the second call gets
    an id of its own. Ids depend on nothing but the history before them, so a growing conversation keeps its prefix.
    """

    def __init__(self, rules: ChatRules) -> None:
        self._rules = rules
        self._taken: set[str] = set()

    def assign(self, call_id: str, name: str) -> str:
        """The id under which the next call of the history, to the tool ``name``, goes upstream."""
        wanted = self._wanted(call_id, name)
        for salt in count():
            if wanted and wanted not in self._taken:
                break
            wanted = self._hashed(f"{salt}.{len(self._taken)}.{call_id}")
        self._taken.add(wanted)
        return wanted

    def _wanted(self, call_id: str, name: str) -> str:
        match self._rules.call_ids:
            case "functions":
                return f"functions.{name}:{len(self._taken)}"
            case "alphanumeric_9":
                return call_id if _NINE.fullmatch(call_id) else self._hashed(call_id)
            case "keep":
                return call_id if len(call_id) <= self._rules.max_call_id_length else self._hashed(call_id)

    def _hashed(self, text: str) -> str:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
        if self._rules.call_ids != "alphanumeric_9":
            return f"call_{digest.hexdigest()[:24]}"[-self._rules.max_call_id_length :]
        number = int.from_bytes(digest.digest()[:8])
        letters = []
        for _ in range(9):
            number, letter = divmod(number, len(_ALPHANUMERIC))
            letters.append(_ALPHANUMERIC[letter])
        return "".join(letters)
