"""How a client wants its runs shown: by header, by its owner's settings, or as the server is set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from antiphon.agent.runner import Shown
from antiphon.config import OwnerSettings, Profile, ReasoningEvents
from antiphon.sealing import Keyring
from antiphon.server.exchange import Exchange
from antiphon.wire.refusals import supported
from antiphon.wire.sealed import Sealer

PROFILE_HEADER = "antiphon-profile"
REASONING_HEADER = "antiphon-reasoning-events"


class Profiles:
    """The profile and reasoning events of each request, and what seals for its owner.

    ``owners`` are the settings of owners who have any; ``default`` are those of everybody else. Without a ``keyring``
    nothing is sealed.
    """

    def __init__(
        self,
        default: OwnerSettings | None = None,
        *,
        owners: Mapping[str, OwnerSettings] | None = None,
        keyring: Keyring | None = None,
    ) -> None:
        self._default = default or OwnerSettings()
        self._owners = owners or {}
        self._keyring = keyring

    def shown(self, exchange: Exchange) -> Shown:
        """How the run that this request starts is to be shown.

        Raises:
            InvalidRequest: a header has another value than there are.
        """
        own = self._owners.get(exchange.owner, OwnerSettings())
        profile = _header(exchange, PROFILE_HEADER, get_args(Profile)) or own.profile or self._default.profile
        reasoning = (
            _header(exchange, REASONING_HEADER, get_args(ReasoningEvents))
            or own.reasoning_events
            or self._default.reasoning_events
        )
        return Shown(
            profile=profile or "openai",
            raw_reasoning=reasoning == "raw",
            seal_key=self._keyring.newest if self._keyring is not None else None,
        )

    def sealer(self, owner: str) -> Sealer | None:
        """What seals and opens for this owner."""
        return self._keyring.sealer(owner) if self._keyring is not None else None


def _header(exchange: Exchange, name: str, values: tuple[str, ...]) -> str | None:
    value = exchange.header(name.encode())
    if value is not None and value not in values:
        raise supported(value, values, param=name)
    return value
