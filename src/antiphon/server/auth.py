"""Who is calling: a bearer key is an owner, and each row of the store has one."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

from antiphon.config import hash_key
from antiphon.errors import AccessDenied
from antiphon.providers.http import is_loopback

LOCAL_OWNER = "local"


class Keys:
    """The keys that open this server: their hashes (`antiphon.config.hash_key`), each with its owner.

    Without keys everyone is ``local``; under ``--forward-auth`` everyone is who their key for the upstream says, so
    that callers with different keys cannot read each other's responses. ``local_only`` keeps other hosts' web pages
    out: a browser on this machine lets any of them send requests here.
    """

    def __init__(self, owners: Mapping[str, str], *, forward_auth: bool = False, local_only: bool = False) -> None:
        self._owners = [*owners.items()]
        self._forward_auth = forward_auth
        self._local_only = local_only

    def owner(self, authorization: str | None, origin: str | None = None) -> str:
        """The owner behind an ``Authorization`` header; ``origin`` is what a browser says of the page that asks.

        Raises:
            AccessDenied: there are keys, and this is none of them; or it comes from a web page that must not ask.
        """
        if not self._owners:
            if self._local_only and origin is not None and not is_loopback(urlsplit(origin).hostname or ""):
                raise AccessDenied(
                    f"Web pages of {origin!r} may not use this server: it has no keys. Set ANTIPHON_API_KEYS, or start"
                    " it with --no-auth."
                )
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
