"""How long to wait before a model is asked again. Pure: chance comes from the id that the next call will bear.

Only a call of which nobody has seen anything is ever asked again; which one that is, the machine says. With several
targets each is asked once without waiting, and the waiting begins with the second round.
"""

from __future__ import annotations

import hashlib

_FACTOR = 2.0
_MOST_DOUBLINGS = 30


def target_of(attempt: int, targets: int) -> int:
    """Which of so many targets an attempt is for, both counted from 0."""
    return attempt % targets


def backoff_s(
    attempt: int, retry_after_s: float | None, *, targets: int = 1, first_s: float, max_s: float, chance: float
) -> float | None:
    """Seconds to wait before an attempt, counted from 0; None if the upstream wants to be left alone for longer.

    ``retry_after_s`` is what the failure before it said. A wait that nobody asked for doubles with each round and is
    between half of that and the whole, as ``chance`` (from 0 to 1) has it, so that clients that failed together do not
    come back together.
    """
    rounds = attempt // targets
    if rounds == 0:
        return 0.0
    if retry_after_s is not None:
        return retry_after_s + chance * min(first_s, retry_after_s) if retry_after_s <= max_s else None
    whole_s = min(max_s, first_s * _FACTOR ** min(rounds - 1, _MOST_DOUBLINGS))
    return whole_s * (1 + chance) / 2


def chance_of(interaction: str) -> float:
    """A number from 0 to 1 that is another for each interaction, and always the same for one."""
    digest = hashlib.blake2s(interaction.encode(), digest_size=4).digest()
    return int.from_bytes(digest) / 2**32
