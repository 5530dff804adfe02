"""Where an agent's model is: an upstream by its base URL, or any provider."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache

from antiphon.errors import UsageError
from antiphon.providers.base import Provider

OPENAI_URL = "https://api.openai.com/v1"


class Upstream:
    """An upstream's connections: opened with the first run, closed with the last one, in each event loop its own."""

    def __init__(self, base_url: str | None, api_key: str | None) -> None:
        if base_url is None:
            base_url = os.environ.get("OPENAI_BASE_URL") or OPENAI_URL
            # Only here: a key of the environment must not go to a host that the environment did not name.
            api_key = api_key or os.environ.get("OPENAI_API_KEY")
            if not api_key and base_url == OPENAI_URL:
                raise UsageError("No api_key was given, and OPENAI_API_KEY is not set. For another upstream: base_url.")
        if not base_url.startswith(("http://", "https://")):
            raise UsageError(f"base_url is {base_url!r}, but must be a URL such as http://localhost:8080/v1.")
        self._base_url = base_url
        self._api_key = api_key
        self._open: dict[asyncio.AbstractEventLoop, tuple[Provider, int]] = {}

    @asynccontextmanager
    async def provider(self) -> AsyncGenerator[Provider, None]:
        """The provider for this event loop; its connections are closed when nobody uses it any more."""
        loop = asyncio.get_running_loop()
        provider, users = self._open.get(loop) or (self._connect(), 0)
        self._open[loop] = provider, users + 1
        try:
            yield provider
        finally:
            _, users = self._open[loop]
            if users > 1:
                self._open[loop] = provider, users - 1
            else:
                del self._open[loop]
                await provider.close()

    def _connect(self) -> Provider:
        # Late: whoever has a provider of their own needs no HTTP client, which is most of the time to import.
        from antiphon.config.dialects import shipped
        from antiphon.dialects import Dialect, choose
        from antiphon.providers.chat import ChatProvider
        from antiphon.providers.http import HttpTransport

        @cache
        def dialect_of(model: str) -> Dialect:
            return choose(shipped(), base_url=self._base_url, model=model)

        return ChatProvider("upstream", self._base_url, HttpTransport(), api_key=self._api_key, dialect_of=dialect_of)


class Given:
    """A provider that the user opened, and closes."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    @asynccontextmanager
    async def provider(self) -> AsyncGenerator[Provider, None]:
        """The very provider."""
        yield self._provider
