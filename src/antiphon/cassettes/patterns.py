"""What secrets look like: a table of patterns.

They err towards taking out too much: what is taken out says what it was.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Iterable
from typing import NamedTuple


class Pattern(NamedTuple):
    """One kind of secret. What its group ``secret`` matches is taken out, or all that it matches.

    ``is_told_apart``: different values get different stand-ins, as with addresses; keys all get the same.
    ``is_bare``: the stand-in has no brackets, as it stands in the host of a URL. ``reaches_far``: what it matches may
    hold quotes.
    """

    name: str
    hints: tuple[bytes, ...]
    regex: re.Pattern[bytes]
    check: Callable[[bytes], bool] | None = None
    is_told_apart: bool = False
    is_bare: bool = False
    reaches_far: bool = False


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
        reaches_far=True,
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
        "aws_account",  # twelve digits alone are any number
        [b"arn:aws", b"ccount", b"CCOUNT"],
        rb"(?:(?<=arn:)aws[\w-]*:[\w-]*:[\w-]*:"
        rb"|(?i:account)(?i:[_ -]?(?:id|number|no\.?))?[\\\"']{0,4}\s?[:=#]?\s?[\\\"']{0,4})"
        rb"(?P<secret>\d{12})(?![\w.])",
        is_told_apart=True,
        reaches_far=True,
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
        # The first digit stands first, so that the search jumps to it; what is before and in it is looked at then.
        rb"[2-6](?:(?<![\w\\.-][2-6])|(?<=\\[nrtbf][2-6]))(?:(?<=4)|(?<=5)[1-5]|(?<=2)[2-7]|(?<=3)[47]|(?<=6)[05])"
        rb"(?:\d{11,17}|\d{2,3}(?P<gap>[ -])\d{4,6}(?P=gap)\d{4,5}(?:(?P=gap)\d{1,7})?)(?!\w|-\w|\.\d)",
        check=_passes_luhn,
    ),
)
NAMES = tuple(pattern.name for pattern in PATTERNS)
