"""Where secrets stand in some bytes: by what is known, by their looks, by the names of members, inside encodings.

A pattern is tried only where one of its hints occurs, and what repeats itself is searched once: most of what is
recorded holds no secret, and must cost little.
"""

from __future__ import annotations

import binascii
import gzip
import re
import zlib
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from antiphon.cassettes.patterns import NAMES, PATTERNS, Pattern
from antiphon.errors import UsageError


class Edit(NamedTuple):
    """Bytes from ``start`` to ``end`` are to become ``stand_in``; ``name`` is the pattern's."""

    start: int
    end: int
    stand_in: bytes
    name: str


# Members of JSON objects and forms whose text is a secret, whatever it looks like. `token` is not: it is what log
# probabilities are about.
FIELDS = (
    *("api[_-]?key", "x-api-key", "x-goog-api-key", "api[_-]?secret", "api[_-]?token"),
    *(
        "access[_-]?token",
        "refresh[_-]?token",
        "id[_-]?token",
        "auth[_-]?token",
        "session[_-]?token",
        "bearer[_-]?token",
    ),
    *("secret", "client[_-]?secret", "secret[_-]?key", "(?:aws_?)?secret_?access_?key", "private[_-]?key"),
    *("password", "passwd", "passphrase", "credentials?", "connection[_-]?string"),
    *("authorization", "proxy-authorization", "(?:set-)?cookies?", "x-amz-security-token"),
)

# One of these is in each of the names.
_FIELD_HINTS = tuple(b"key secret token passw passphrase credential connection authorization cookie".split())

_MAX_DEPTH = 3  # of encodings inside each other

# What is as short as a header's value, and comes again and again.
_SHORT_BYTES = 256
_REMEMBERED = 512

_RUN = re.compile(rb"[A-Za-z0-9+/_-]{16,}")
_BASE64 = re.compile(rb"(?:(?<![\w+/\\-])|(?<=\\[nrtbf]))(?:[A-Za-z0-9+/]{16,}|[A-Za-z0-9_-]{16,})={0,2}(?![\w+/-])")
_GZIP = b"\x1f\x8b"


class Secrets:
    """Finds secrets: known values first, then patterns, fields, and what of all this is inside base64 or gzip.

    ``known`` are values with their stand-ins. ``patterns`` are the user's own regular expressions by name, ``fields``
    names of members, ``off`` names of patterns (or ``fields``) that are not to be looked for.

    Raises:
        UsageError: a pattern is no regular expression, or there is none of that name.
    """

    def __init__(
        self,
        known: Mapping[bytes, bytes],
        *,
        patterns: Mapping[str, str] | None = None,
        fields: Iterable[str] = (),
        off: Collection[str] = (),
    ) -> None:
        unknown = sorted(set(off) - {*NAMES, "fields", "base64"})
        if unknown:
            raise UsageError(
                f"There is no pattern {unknown[0]!r} to switch off; there are: {', '.join(NAMES)}, fields."
            )
        self._known = dict(known)
        longest_first = sorted(self._known, key=len, reverse=True)
        self._exact = re.compile(b"|".join(map(re.escape, longest_first))) if longest_first else None
        self._patterns = [_users(name, text) for name, text in (patterns or {}).items()]
        self._patterns += [pattern for pattern in PATTERNS if pattern.name not in off]
        self._fields = Fields(() if "fields" in off else FIELDS, tuple(fields))
        self._looks_inside = "base64" not in off
        self._find_short = lru_cache(maxsize=_REMEMBERED)(self._find)

    def find(self, data: bytes, depth: int = 0) -> list[Edit]:
        """The edits that take all secrets out, in order, none reaching into another."""
        return list(self._find_short(data, depth)) if len(data) <= _SHORT_BYTES else self._find(data, depth)

    def _find(self, data: bytes, depth: int) -> list[Edit]:
        if data.startswith(_GZIP):
            return self._inside_gzip(data, depth)
        text = _distinct(data)
        found = [*self._found(data, text)]
        if self._looks_inside and depth < _MAX_DEPTH and (text is data or any(self._inside_base64(text, depth))):
            found += self._inside_base64(data, depth)
        return _without_overlaps(found)

    def scrub(self, data: bytes, depth: int = 0) -> bytes:
        """The bytes with stand-ins for what is secret."""
        return apply(data, self.find(data, depth))

    def _known_in(self, data: bytes) -> Iterator[Edit]:
        if self._exact is not None and any(secret in data for secret in self._known):
            for match in self._exact.finditer(data):
                yield Edit(match.start(), match.end(), self._known[match[0]], "known")

    def _found(self, data: bytes, text: bytes) -> Iterator[Edit]:
        """What is found in the data; ``text`` is the data again, with each part of it once."""
        yield from self._known_in(data)
        for pattern in self._patterns:
            if pattern.hints and not any(hint in text for hint in pattern.hints):
                continue
            if text is data or pattern.reaches_far or any(_matches(pattern, text)):
                yield from _matches(pattern, data)
        if self._fields.may_be_in(text):
            yield from self._fields.matches(data)

    def _inside_base64(self, data: bytes, depth: int) -> Iterator[Edit]:
        for match in _base64_in(data):
            text = match[0]
            is_url_safe = b"-" in text or b"_" in text
            padded = text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4)
            try:
                decoded = (urlsafe_b64decode if is_url_safe else b64decode)(padded)
            except binascii.Error:
                continue
            if decoded.startswith(_GZIP) or _is_text(decoded):
                scrubbed = self.scrub(decoded, depth + 1)
            else:  # an image, say: bytes at random look like much
                scrubbed = apply(decoded, self._known_in(decoded))
            if scrubbed != decoded:
                encoded = (urlsafe_b64encode if is_url_safe else b64encode)(scrubbed)
                yield Edit(match.start(), match.end(), encoded, "base64")

    def _inside_gzip(self, data: bytes, depth: int) -> list[Edit]:
        try:
            decoded = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            return _without_overlaps([*self._found(data, data)])
        scrubbed = self.scrub(decoded, depth + 1) if depth < _MAX_DEPTH else decoded
        return [] if scrubbed == decoded else [Edit(0, len(data), gzip.compress(scrubbed, mtime=0), "gzip")]


def apply(data: bytes, edits: Iterable[Edit]) -> bytes:
    """The bytes with these edits made."""
    parts, at = [], 0
    for edit in edits:
        parts += [data[at : edit.start], edit.stand_in]
        at = edit.end
    return b"".join(parts) + data[at:] if parts else data


def _matches(pattern: Pattern, data: bytes) -> Iterator[Edit]:
    group: str | int = "secret" if "secret" in pattern.regex.groupindex else 0
    for match in pattern.regex.finditer(data):
        secret = match[group]
        if not secret or (pattern.check is not None and not pattern.check(secret)):
            continue
        start, end = match.span(group)
        stand_in = _stand_in(pattern, secret)
        if secret.isdigit() and _is_number(data, start, end):
            stand_in = b'"' + stand_in + b'"'  # a number in JSON: text in its place keeps the document one
        if secret != stand_in:
            yield Edit(start, end, stand_in, pattern.name)


def _stand_in(pattern: Pattern, secret: bytes) -> bytes:
    """Four digits of a hash tell values apart and give none of them away."""
    name = pattern.name.encode()
    suffix = blake2b(secret, digest_size=2).hexdigest().encode() if pattern.is_told_apart else b""
    if pattern.is_bare:
        return b"-".join(filter(None, (b"scrubbed", name.replace(b"_", b"-"), suffix)))
    return b"[" + b":".join(filter(None, (b"scrubbed", name, suffix))) + b"]"


_QUOTE = re.compile(rb'(?<!\\)(?:\\\\)*"')


def _is_number(data: bytes, start: int, end: int) -> bool:
    """Whether it stands in JSON outside of texts."""
    line = data[data.rfind(b"\n", 0, start) + 1 : start]
    after = data[end : end + 20].lstrip()[:1]
    is_value = line.rstrip()[-1:] in (b":", b"[", b",", b"") and after in (b",", b"]", b"}", b"")
    return is_value and len(_QUOTE.findall(line)) % 2 == 0 and bool(line.strip() or after)


def _is_text(data: bytes) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char.isspace() for char in text)


def _users(name: str, text: str) -> Pattern:
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        raise UsageError(f"The pattern's name {name!r} must be of small letters, digits, '_', '-'.")
    try:
        return Pattern(name, (), re.compile(text.encode()), reaches_far=True)
    except re.error as error:
        raise UsageError(f"The pattern {name!r} is no regular expression: {error}.") from error


def _distinct(data: bytes) -> bytes:
    """The data with each part between quotes once, if that makes it much shorter; else the data itself.

    The events of a stream repeat nearly all they say. Secrets do not reach over quotes (private keys do, and members
    with their names), so a pattern that finds nothing in this finds nothing in the data.
    """
    parts = data.split(b'"')
    distinct = dict.fromkeys(parts)
    return b'"'.join(distinct) if 2 * len(distinct) < len(parts) else data


def _base64_in(data: bytes) -> Iterator[re.Match[bytes]]:
    """What may be base64. Of an escape such as \\n, the letter belongs to what follows only by looks."""
    for run in _RUN.finditer(data):
        match = _BASE64.match(data, run.start()) or _BASE64.match(data, run.start() + 1)
        if match is not None:
            yield match


class Fields:
    """Members whose text is a secret: in JSON, also in JSON within a string of JSON, where quotes are escaped; in forms
    and queries. ``names`` are regular expressions, ``words`` names as they are."""

    def __init__(self, names: Collection[str], words: Collection[str]) -> None:
        either = "|".join([*names, *map(re.escape, words)]).encode() or rb"(?!)"
        is_new = rb"(?!\[scrubbed)"
        # A search jumps to what a pattern begins with, if that is a set of characters.
        quoted = rb"[\"'](?i:" + either + rb")(?P<quote>\\*[\"'])\s*:\s*(?P=quote)"
        value = rb"(?!(?P=quote))(?P<secret>[^\r\n]{1,8192}?)(?<!\\)(?P=quote)"
        pairs = rb"(?:(?<=[?&])|^)(?i:" + either + rb")=" + is_new + rb"(?P<secret>[^&#\s\"\\]+)"
        self._regexes = re.compile(quoted + is_new + value), re.compile(pairs)
        self._named = re.compile(rb"[\"'?&](?i:" + either + rb")(?:\\*[\"']|=)")
        self._hints = [*(_FIELD_HINTS if names else ()), *(word.lower().encode() for word in words)]

    def may_be_in(self, text: bytes) -> bool:
        """Whether one of the names stands between quotes, or where a form has names."""
        lowered = text.lower()
        return any(hint in lowered for hint in self._hints) and bool(self._named.search(b'"' + text + b'"'))

    def matches(self, data: bytes) -> Iterator[Edit]:
        """Where their values are."""
        for regex in self._regexes:
            for match in regex.finditer(data):
                yield Edit(match.start("secret"), match.end("secret"), b"[scrubbed:field]", "field")


def _without_overlaps(edits: list[Edit]) -> list[Edit]:
    """In order; of two that overlap, the one that begins first, of these the one that was found first."""
    kept: list[Edit] = []
    for edit in sorted(edits, key=lambda each: each.start):
        if not kept or edit.start >= kept[-1].end:
            kept.append(edit)
    return kept
