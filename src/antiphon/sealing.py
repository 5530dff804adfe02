"""Keys that seal content for its way through a client's hands and back.

The cipher is AES-256-SIV (RFC 5297): authenticated, and deterministic, because rendering a run twice has to give the
same bytes. What that tells a client is whether two sealed contents are equal. The owner and the kind of content are
authenticated with it, so content of another owner does not open. The id of the key stands in front: keys rotate.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from antiphon.errors import ConfigError
from antiphon.wire.sealed import PREFIX

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

KEY_FILE = "seal.key"
_ID_LENGTH = 8


class Keyring:
    """Secrets of any text, the newest first: it seals, all of them open."""

    def __init__(self, secrets: Sequence[str]) -> None:
        keys = [hashlib.sha512(b"antiphon.seal\0" + secret.encode()).digest() for secret in secrets]
        self._keys = {hashlib.sha256(key).hexdigest()[:_ID_LENGTH]: key for key in keys}
        self._ciphers: dict[str, AESSIV] = {}
        self.newest = next(iter(self._keys))

    def sealer(self, owner: str) -> OwnerSealer:
        """What seals and opens for this owner."""
        return OwnerSealer(self, owner)

    def cipher(self, key: str) -> AESSIV:
        """The cipher of a key by its id.

        Raises:
            ValueError: there is no such key.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        if key not in self._keys:
            raise ValueError("it was sealed with a key that this server does not have")
        if key not in self._ciphers:
            self._ciphers[key] = AESSIV(self._keys[key])
        return self._ciphers[key]

    def __contains__(self, key: str) -> bool:
        return key in self._keys


class OwnerSealer:
    """Seals and opens for one owner; see `antiphon.wire.sealed.Sealer`."""

    def __init__(self, keyring: Keyring, owner: str) -> None:
        self._keyring = keyring
        self._owner = owner.encode()

    def seal(self, kind: str, content: bytes, *, key: str | None = None) -> str:
        """The content, sealed."""
        if key is None or key not in self._keyring:
            key = self._keyring.newest
        sealed = self._keyring.cipher(key).encrypt(content, [self._owner, kind.encode()])
        return f"{PREFIX}{key}.{base64.urlsafe_b64encode(sealed).decode()}"

    def open(self, kind: str, sealed: str) -> bytes:
        """The content.

        Raises:
            ValueError: it was not sealed here for this owner and kind, or was changed since.
        """
        from cryptography.exceptions import InvalidTag

        if not sealed.startswith(PREFIX):
            raise ValueError("it was not sealed by this server")
        key, _, encoded = sealed.removeprefix(PREFIX).partition(".")
        cipher = self._keyring.cipher(key)
        try:
            content = base64.b64decode(encoded, altchars=b"-_", validate=True)
            return cipher.decrypt(content, [self._owner, kind.encode()])
        except (InvalidTag, ValueError):
            raise ValueError("it was changed, or belongs to another owner") from None


def open_keyring(secrets: Sequence[str], data_dir: Path, *, new_secret: str) -> Keyring:
    """The keyring of these secrets, or of the file in the data directory, which is made with ``new_secret``.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    if secrets:
        return Keyring(secrets)
    path = data_dir / KEY_FILE
    try:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            found = path.read_text("utf-8").split()
        else:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f"{new_secret}\n")
            found = [new_secret]
    except OSError as error:
        raise ConfigError(f"The key file {path} cannot be used: {error.strerror}.") from error
    if not found:
        raise ConfigError(f"The key file {path} is empty. Delete it (what it sealed is lost), or restore it.")
    return Keyring(found)
