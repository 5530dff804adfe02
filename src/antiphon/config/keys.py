"""Keys of callers, and keys that seal, as their variables hold them. No message shows one."""

from __future__ import annotations

import hashlib
import re

from antiphon.errors import ConfigError

MIN_SEAL_KEY_LENGTH = 32


def hash_key(key: str) -> str:
    """What is kept of a caller's key: the hexadecimal SHA-256 of it."""
    return hashlib.sha256(key.encode()).hexdigest()


def parse_api_keys(variable: str) -> dict[str, str]:
    """``owner=key`` or ``key``, comma separated, as hash to owner. No message shows a key."""
    if not variable:
        return {}
    keys: dict[str, str] = {}
    for position, entry in enumerate(variable.split(","), start=1):
        # `abc==` is a key that ends as base64 does, not a key of the owner `abc`.
        found = re.fullmatch(r"(?:([\w.@-]+)=(?=[^=]))?(\S+)", entry.strip())
        if not found:
            raise ConfigError(
                f"ANTIPHON_API_KEYS: entry {position} is empty or has a space in it; it must be 'key' or 'owner=key'."
            )
        owner, digest = found[1], hash_key(found[2])
        if digest in keys:
            raise ConfigError(f"ANTIPHON_API_KEYS: entry {position} repeats the key of an earlier one. Drop it.")
        keys[digest] = owner or f"key_{digest[:32]}"
    return keys


def parse_seal_keys(variable: str) -> tuple[str, ...]:
    """The secrets, comma separated, the newest first. No message shows one."""
    keys = tuple(key.strip() for key in variable.split(",")) if variable else ()
    for position, key in enumerate(keys, start=1):
        if len(key) < MIN_SEAL_KEY_LENGTH:
            raise ConfigError(
                f"ANTIPHON_SEAL_KEYS: key {position} is shorter than {MIN_SEAL_KEY_LENGTH} characters. Use a random"
                " one, such as `openssl rand -hex 32` gives."
            )
    return keys
