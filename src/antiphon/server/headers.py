"""Which headers go from one connection to another."""

from __future__ import annotations

# Of one connection (RFC 9110, 7.6.1).
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def end_to_end(
    headers: tuple[tuple[str, str], ...], dropped: frozenset[str] = HOP_BY_HOP
) -> tuple[tuple[str, str], ...]:
    """The headers without ``dropped`` ones, and those that the connection names as its own."""
    for name, value in headers:
        if name == "connection":
            dropped = dropped | {each.strip().lower() for each in value.split(",")}
    return tuple([pair for pair in headers if pair[0] not in dropped])
