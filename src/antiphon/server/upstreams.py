"""Which upstream a proxied request is for: by the host it names, or by how its path begins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from antiphon.cassettes.format import UPSTREAM_TAG
from antiphon.errors import ConfigError, InvalidRequest

# Where a replay that knows no upstream looks for nothing: ``.invalid`` never resolves (RFC 6761).
NOWHERE = "http://replay.invalid"


class Upstream(NamedTuple):
    """Where requests go whose path begins with ``prefix``, or that name ``host``; the prefix is left out there."""

    prefix: str
    base_url: str
    host: str = ""

    def __str__(self) -> str:
        return f"{self.host or self.prefix or '/'}={self.base_url}"


def parse(text: str) -> Upstream:
    """``URL``, ``/prefix=URL`` or ``host=URL``.

    Raises:
        ConfigError: it is none of these.
    """
    name, equals, url = text.partition("=")
    if not equals or "://" in name:
        name, url = "", text
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(
            f"--upstream {text!r} is not allowed; it must be a URL such as https://api.openai.com, or /prefix=URL,"
            " or host=URL."
        )
    if parts.username or parts.password:
        raise ConfigError("--upstream must not hold a password; clients send their own keys.")
    url = url.rstrip("/")
    return Upstream(name.rstrip("/"), url) if not name or name.startswith("/") else Upstream("", url, name.lower())


class Upstreams:
    """The upstreams of a proxy. A host goes before a prefix, and a longer prefix before a shorter one."""

    def __init__(self, upstreams: Iterable[Upstream]) -> None:
        self.all = tuple(dict.fromkeys(upstreams))
        self._by_host = {each.host: each for each in self.all if each.host}
        self._by_prefix = sorted((each for each in self.all if not each.host), key=lambda each: -len(each.prefix))

    def url(self, host: str, target: str) -> str:
        """The upstream's URL for a request: its host header, and its path with the query, still encoded.

        Raises:
            InvalidRequest: no upstream is for that.
        """
        named = self._by_host.get(host.lower()) or self._by_host.get(host.lower().partition(":")[0])
        if named is not None:
            return named.base_url + target
        path = target.partition("?")[0]
        for each in self._by_prefix:
            if path == each.prefix or path.startswith(f"{each.prefix}/"):
                return each.base_url + target[len(each.prefix) :]
        known = ", ".join(map(str, self.all)) or "none"
        raise InvalidRequest(f"No upstream is for the path {path}; there are: {known}.", code="unknown_upstream")

    def tags(self, url: str) -> dict[str, str]:
        """What is noted beside a request to that URL, so that its recording can be replayed at the same path."""
        found = [each for each in self.all if url.startswith(each.base_url)]
        return {UPSTREAM_TAG: str(max(found, key=lambda each: len(each.base_url)))} if found else {}


def recorded(tags: Iterable[str]) -> list[Upstream]:
    """The upstreams by which a cassette was recorded, by their tags; what comes by no known way is looked for as it
    is."""
    upstreams = []
    for text in tags:
        try:
            upstreams.append(parse(text))
        except ConfigError:
            continue  # a tag of somebody else, of the same name
    return [*upstreams, Upstream("", NOWHERE)]
