"""What secrets look like: a table of patterns, and where they stand in some bytes.

A pattern is tried only where one of its hints occurs, so that a body without secrets costs a search for each hint.
Patterns err towards taking out too much: what is taken out says what it was.
"""

from __future__ import annotations

import binascii
import gzip
import re
import zlib
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import NamedTuple

from antiphon.errors import UsageError


class Edit(NamedTuple):
    """Bytes from ``start`` to ``end`` are to become ``stand_in``; ``name`` is the pattern's."""

    start: int
    end: int
    stand_in: bytes
    name: str


class Pattern(NamedTuple):
    """One kind of secret. What its group ``secret`` matches is taken out, or all that it matches.

    ``is_told_apart``: different values get different stand-ins, as with addresses; keys all get the same.
    ``is_bare``: the stand-in has no brackets, as it stands in the host of a URL.
    """

    name: str
    hints: tuple[bytes, ...]
    regex: re.Pattern[bytes]
    check: Callable[[bytes], bool] | None = None
    is_told_apart: bool = False
    is_bare: bool = False


# Where a secret may begin: not within a word, unless the word is the end of an escape in JSON such as \n.
_START = rb"(?:(?<![A-Za-z0-9_\\-])|(?<=\\[nrtbf])|(?<=\\u[0-9a-fA-F]{4}))"
_HAS_DIGIT = rb"(?=[\w.~+/=-]*\d)"


def _key(name: str, *prefixes: bytes, rest: bytes = rb"[\w-]{16,}") -> Pattern:
    """A key that is known by how it begins."""
    begins = b"|".join(re.escape(prefix) for prefix in prefixes)
    return Pattern(name, prefixes, re.compile(_START + rb"(?:" + begins + rb")" + _HAS_DIGIT + rest))


def _pattern(name: str, hints: Iterable[bytes], regex: bytes, **options: bool | Callable[[bytes], bool]) -> Pattern:
    return Pattern(name, tuple(hints), re.compile(regex, re.DOTALL), **options)  # type: ignore[arg-type]


def _passes_luhn(digits: bytes) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1)."""
    numbers = [digit - 48 for digit in reversed(digits) if 48 <= digit <= 57]
    doubled = [number * 2 - 9 if number > 4 else number * 2 for number in numbers[1::2]]
    return 13 <= len(numbers) <= 19 and len(set(numbers)) > 1 and (sum(numbers[::2]) + sum(doubled)) % 10 == 0


def _is_user_and_password(text: bytes) -> bool:
    try:
        return b":" in b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return False


# The first of two that begin at the same place counts: the more special one stands first.
PATTERNS = (
    _pattern(
        "private_key",
        [b"PRIVATE KEY"],
        rb"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
    ),
    _pattern("jwt", [b"eyJ"], _START + rb"eyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*){1,3}"),
    _key("anthropic_key", b"sk-ant-"),
    _key("openrouter_key", b"sk-or-"),
    _key("openai_key", b"sk-"),
    _key("stripe_key", b"sk_live_", b"sk_test_", b"rk_live_", b"rk_test_", b"whsec_", rest=rb"\w{10,}"),
    _key("elevenlabs_key", b"sk_", rest=rb"[0-9a-f]{32,}"),
    _key("groq_key", b"gsk_"),
    _key("xai_key", b"xai-"),
    _key("google_key", b"AIza", b"AQ.", rest=rb"[\w-]{30,}"),
    _key("google_oauth", b"ya29.", b"GOCSPX-", b"1//0", rest=rb"[\w.-]{16,}"),
    _key("huggingface_token", b"hf_", b"api_org_"),
    _key("replicate_token", b"r8_"),
    _key("perplexity_key", b"pplx-"),
    _key("nvidia_key", b"nvapi-"),
    _key("cerebras_key", b"csk-"),
    _key("fireworks_key", b"fw_"),
    _key("together_key", b"tgp_v1_"),
    _key("tavily_key", b"tvly-"),
    _key("pinecone_key", b"pcsk_"),
    _key("jina_key", b"jina_"),
    _key("langsmith_key", b"lsv2_"),
    _key("github_token", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_"),
    _key("gitlab_token", b"glpat-"),
    _key("slack_token", b"xoxa-", b"xoxb-", b"xoxe-", b"xoxp-", b"xoxr-", b"xoxs-", b"xapp-", rest=rb"[\w-]{10,}"),
    _key("sendgrid_key", b"SG.", rest=rb"[\w-]{16,}\.[\w-]{16,}"),
    _key("npm_token", b"npm_"),
    _key("pypi_token", b"pypi-"),
    _key("digitalocean_token", b"dop_v1_", b"doo_v1_", b"dor_v1_"),
    _key("shopify_token", b"shpat_", b"shpss_", b"shpca_", b"shppa_"),
    _key("notion_token", b"ntn_", b"secret_"),
    _key("linear_key", b"lin_api_"),
    _key("databricks_token", b"dapi", rest=rb"[0-9a-f]{32}(?:-\d)?"),
    _key("atlassian_token", b"ATATT3x", rest=rb"[\w=-]{16,}"),
    _key("aws_access_key", b"AKIA", b"ASIA", b"ABIA", b"ACCA", rest=rb"[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _key("bedrock_key", b"ABSK", rest=rb"[A-Za-z0-9+/=]{32,}"),
    _pattern("slack_webhook", [b"hooks.slack.com/"], rb"(?<=hooks\.slack\.com/services/)[\w/]{16,}"),
    _pattern("discord_webhook", [b"/api/webhooks/"], rb"(?<=/api/webhooks/)\d+/[\w-]{16,}"),
    _pattern("telegram_token", [b":AA"], _START + rb"\d{8,10}:AA[\w-]{30,}"),
    _pattern("azure_key", [b"AccountKey=", b"SharedAccessKey="], rb"(?<=Key=)[A-Za-z0-9+/]{20,}={0,2}"),
    _pattern(
        "url_signature",
        [b"ignature=", b"sig="],
        rb"(?<=[?&])(?:X-\w+-Signature|Signature|sig)=(?!\[scrubbed)(?P<secret>[^&#\s\"\\]{16,})",
    ),
    _pattern(
        "bearer_token",
        [b"earer ", b"EARER ", b"earer%20"],
        _START + rb"(?i:bearer)(?:\s+|%20)(?P<secret>(?:" + _HAS_DIGIT + rb"[\w.~+/-]{8,}|[\w.~+/-]{20,})=*)",
    ),
    Pattern(
        "basic_credentials",
        (b"asic ", b"ASIC "),
        re.compile(_START + rb"(?i:basic)\s+(?P<secret>[A-Za-z0-9+/]{6,}={0,2})"),
        _is_user_and_password,
    ),
    _pattern("cookie", [b"ookie:"], _START + rb"(?i:(?:set-)?cookie): *(?P<secret>[^\s\"\\=;]+=[^\r\n\"\\]+)"),
    _pattern("url_password", [b"://"], rb"(?<=://)[^/\s:@\"'\\]+:(?P<secret>[^/\s@\"'\\]+)@", is_bare=True),
    _pattern(
        "env_secret",
        [b"PASSWORD", b"SECRET", b"TOKEN", b"KEY"],
        rb"(?<![A-Za-z0-9])[A-Z][A-Z0-9_]*(?:PASSWORD|SECRET|TOKEN|API_KEY|ACCESS_KEY) ?= ?"
        rb"(?!\[scrubbed)(?P<secret>[^\s\"'\\&,;]{6,})",
    ),
    _pattern(
        "aws_account", [b"arn:aws"], rb"(?<=arn:)aws[\w-]*:[\w-]*:[\w-]*:(?P<secret>\d{12})(?=:)", is_told_apart=True
    ),
    _pattern(
        "gcp_project",
        [b"projects/"],
        rb"(?<=projects/)(?P<secret>[a-z][a-z0-9-]{4,28}[a-z0-9]|\d{6,})(?=/(?:locations|models|endpoints|secrets))",
        is_told_apart=True,
    ),
    _pattern("azure_subscription", [b"ubscriptions/"], rb"(?<=ubscriptions/)[0-9a-fA-F-]{36}", is_told_apart=True),
    _pattern(
        "azure_resource",
        [b".azure.com"],
        _START + rb"(?P<secret>[a-zA-Z0-9][a-zA-Z0-9-]+)(?=\.(?:openai|cognitiveservices|services\.ai)\.azure\.com)",
        is_told_apart=True,
        is_bare=True,
    ),
    _key("openai_organization", b"org-", rest=rb"[A-Za-z0-9]{16,}"),
    _pattern(
        "email",
        [b"@", b"%40"],
        _START + rb"(?!scrubbed-)[A-Za-z0-9._+-]{1,64}(?:@|%40)(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24}(?![A-Za-z0-9-])",
        is_told_apart=True,
    ),
    _pattern(
        "card",
        [b"%d" % digit for digit in range(2, 7)],
        rb"(?:(?<![\w\\.-])|(?<=\\[nrtbf]))(?:4|5[1-5]|2[2-7]|3[47]|6[05])(?:[ -]?\d){11,17}(?!\w|-\w|\.\d)",
        check=_passes_luhn,
    ),
)
NAMES = tuple(pattern.name for pattern in PATTERNS)

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

_MAX_DEPTH = 3  # of encodings inside each other
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
        names = [*(() if "fields" in off else FIELDS), *map(re.escape, fields)]
        self._fields = _field_patterns("|".join(names)) if names else ()
        self._looks_inside = "base64" not in off

    def find(self, data: bytes, depth: int = 0) -> list[Edit]:
        """The edits that take all secrets out, in order, none reaching into another."""
        if data.startswith(_GZIP):
            return self._inside_gzip(data, depth)
        found = [*self._found(data)]
        if self._looks_inside and depth < _MAX_DEPTH:
            found += self._inside_base64(data, depth)
        return _without_overlaps(found)

    def scrub(self, data: bytes, depth: int = 0) -> bytes:
        """The bytes with stand-ins for what is secret."""
        return apply(data, self.find(data, depth))

    def _known_in(self, data: bytes) -> Iterator[Edit]:
        if self._exact is not None:
            for match in self._exact.finditer(data):
                yield Edit(match.start(), match.end(), self._known[match[0]], "known")

    def _found(self, data: bytes) -> Iterator[Edit]:
        yield from self._known_in(data)
        for pattern in self._patterns:
            if not pattern.hints or any(hint in data for hint in pattern.hints):
                yield from _matches(pattern, data)
        for regex in self._fields:
            for match in regex.finditer(data):
                yield Edit(match.start("secret"), match.end("secret"), b"[scrubbed:field]", "field")

    def _inside_base64(self, data: bytes, depth: int) -> Iterator[Edit]:
        for match in _BASE64.finditer(data):
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
            return _without_overlaps([*self._found(data)])
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
        if pattern.name == "card" and _is_number(data, start, end):
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


def _is_number(data: bytes, start: int, end: int) -> bool:
    before, after = data[:start].rstrip()[-1:], data[end:].lstrip()[:1]
    return before in (b":", b"[", b",") and after in (b",", b"]", b"}")


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
        return Pattern(name, (), re.compile(text.encode()), is_told_apart=False)
    except re.error as error:
        raise UsageError(f"The pattern {name!r} is no regular expression: {error}.") from error


def _field_patterns(names: str) -> tuple[re.Pattern[bytes], ...]:
    """In JSON, also in JSON within a string of JSON, where quotes are escaped; in forms and queries."""
    is_new = rb"(?!\[scrubbed)"
    quoted = rb"(?P<quote>\\*[\"'])(?i:" + names.encode() + rb")(?P=quote)\s*:\s*(?P=quote)"
    value = rb"(?P<secret>[^\r\n]{1,8192}?)(?<!\\)(?P=quote)"
    pairs = rb"(?:(?<=[?&])|^)(?i:" + names.encode() + rb")=" + is_new + rb"(?P<secret>[^&#\s\"\\]+)"
    return re.compile(quoted + is_new + value), re.compile(pairs)


def _without_overlaps(edits: list[Edit]) -> list[Edit]:
    """In order; of two that overlap, the one that begins first, of these the one that was found first."""
    kept: list[Edit] = []
    for edit in sorted(edits, key=lambda each: each.start):
        if not kept or edit.start >= kept[-1].end:
            kept.append(edit)
    return kept
