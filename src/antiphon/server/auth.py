"""Who is calling: a bearer key is an owner, and each row of the store has one."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from antiphon.config import hash_key
from antiphon.errors import AccessDenied

LOCAL_OWNER = "local"


class Keys:
    """The keys that open this server: their hashes (`antiphon.config.hash_key`), each with its owner.

    Without keys everyone is ``local``; under ``--forward-auth`` everyone is who their key for the upstream says, so
    that callers with different keys cannot read each other's responses.
    """

    def __init__(self, owners: Mapping[str, str], *, forward_auth: bool = False) -> None:
        self._owners = [*owners.items()]
        self._forward_auth = forward_auth

    def owner(self, authorization: str | None) -> str:
        """The owner behind an ``Authorization`` header.

        Raises:
            AccessDenied: there are keys, and this is none of them.
        """
        if not self._owners:
            if self._forward_auth and authorization:
                return f"key_{hash_key(authorization)[:32]}"
            return LOCAL_OWNER
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise AccessDenied("You didn't provide an API key. Send it as a header: 'Authorization: Bearer YOUR_KEY'.")
        digest = hash_key(key.strip())
        found = None
        for known, owner in self._owners:  # all of them, so that the time taken says nothing about which is near
            if hmac.compare_digest(known, digest):
                found = owner
        if found is None:
            raise AccessDenied("Incorrect API key provided. The keys of this server are set by ANTIPHON_API_KEYS.")
        return found
