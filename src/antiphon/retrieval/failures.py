"""Refusals of upstreams that are asked for something beside a run: vectors, search queries."""

from __future__ import annotations

from antiphon.assembly.errors import UpstreamFailure
from antiphon.errors import (
    AuthenticationFailed,
    ContextTooLong,
    ProviderError,
    RateLimited,
    RequestRejected,
    Unavailable,
)

_ERRORS: dict[str, type[ProviderError]] = {
    each.code: each for each in (AuthenticationFailed, RateLimited, ContextTooLong, RequestRejected, Unavailable)
}


def provider_error(failure: UpstreamFailure, what: str) -> ProviderError:
    """The exception for what an upstream answered; ``what`` begins its message."""
    error = failure.error
    return _ERRORS.get(error.code, RequestRejected)(
        f"{what}: {error.message}",
        status=error.status or 0,
        upstream_code=error.upstream_code,
        retry_after_s=error.retry_after_s,
    )
