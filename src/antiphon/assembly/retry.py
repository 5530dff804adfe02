"""How long an upstream asks to be left alone, in all the ways it may say so (Q90). Absent is None, never 0."""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Callable, Mapping
from typing import Any

MAX_RETRY_AFTER_S = 3600.0

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(
    r"(\d+(?:\.\d+)?)\s*(milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|h|days?|d)(?![a-z])", re.IGNORECASE
)
_IN_WORDS = re.compile(
    r"(?:try again|retry|wait|reset)s?(?:\s+(?:again|after|in|for|at least|about))+\s+((?:[\d.]+\s*[a-zA-Z]+\s*)+)",
    re.I,
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HTTP_DATE = re.compile(rf"(\d\d) ({'|'.join(_MONTHS)}) (\d{{4}}) (\d\d):(\d\d):(\d\d) GMT")
_EPOCH_S = 1_000_000_000  # a "reset" above this is a date, not a duration


def _duration_s(text: str) -> float | None:
    """``2m59.5s``, ``7s``, ``120 ms``, ``20 seconds`` in seconds."""
    found = [(float(amount), unit.lower()) for amount, unit in _DURATION.findall(text)]
    waits = [amount * _UNIT_S["ms" if unit.startswith(("ms", "mil")) else unit[0]] for amount, unit in found]
    return sum(waits) if waits else None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _date_s(text: str) -> float | None:
    """An HTTP date (RFC 9110 5.6.7, the one form that is still sent) in seconds since 1970."""
    found = _HTTP_DATE.search(text)
    if found is None:
        return None
    day, month, year, hour, minute, second = found.groups()
    return timegm((int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second)))


def _until(moment_s: float | None, headers: Mapping[str, str]) -> float | None:
    """Seconds until a date, seen from the date of the answer: no clock is needed, and none that runs differently."""
    now_s = _date_s(headers.get("date", ""))
    return None if moment_s is None or now_s is None else max(0.0, moment_s - now_s)


def _retry_after_ms(headers: Mapping[str, str]) -> float | None:
    value = _number(headers.get("retry-after-ms", ""))
    return None if value is None else value / 1000


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "").strip()
    value = _number(text)
    if value is not None:
        return value
    return _duration_s(text) if text[:1].isdigit() else _until(_date_s(text), headers)


def _rate_limit_reset(headers: Mapping[str, str]) -> float | None:
    waits = [
        wait
        for suffix in ("", "-requests", "-tokens")
        if headers.get(f"x-ratelimit-remaining{suffix}", "0").strip() == "0"
        and (wait := _reset_s(headers.get(f"x-ratelimit-reset{suffix}", ""), headers)) is not None
    ]
    return max(waits, default=None)


def _reset_s(text: str, headers: Mapping[str, str]) -> float | None:
    value = _number(text)
    if value is None:
        return _duration_s(text)
    if value < _EPOCH_S:
        return value
    return _until(value / 1000 if value > 1000 * _EPOCH_S else value, headers)


# The first that says something wins.
HEADERS: tuple[Callable[[Mapping[str, str]], float | None], ...] = (_retry_after_ms, _retry_after, _rate_limit_reset)


def _retry_delay(body: object) -> float | None:
    """Gemini's ``error.details[].retryDelay``, ``"7s"``."""
    if isinstance(body, list):
        body = body[0] if body else None
    error: Any = body.get("error") if isinstance(body, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str):
            return _duration_s(delay)
    return None


def _in_words(message: str) -> float | None:
    """``Please try again in 7m12s.``"""
    found = _IN_WORDS.search(message[:4000])
    return _duration_s(found.group(1)) if found else None


def retry_after_s(headers: Mapping[str, str], body: object, message: str) -> float | None:
    """Seconds to wait, at most `MAX_RETRY_AFTER_S`, or None if nobody said. Header names are in lower case."""
    for read in HEADERS:
        if (wait := read(headers)) is not None:
            return min(wait, MAX_RETRY_AFTER_S)
    wait = _retry_delay(body)
    if wait is None:
        wait = _in_words(message)
    return None if wait is None else min(wait, MAX_RETRY_AFTER_S)
