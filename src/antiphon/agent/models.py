"""Where an agent's model is: an upstream by its usual name or its base URL, or any provider."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import urlsplit

from antiphon.agent.prices import Price
from antiphon.errors import UsageError
from antiphon.providers.base import Provider

if TYPE_CHECKING:
    from antiphon.dialects import Capabilities, Dialect

Api = Literal["chat", "responses"]


class Source(Protocol):
    """Something that has a provider to lend."""

    def provider(self) -> AbstractAsyncContextManager[Provider]:
        """The provider, open as long as the context."""
        ...


class Upstream:
    """A server that answers model calls, and the connections to it: any number of models and agents may share it.

    Connections are opened with the first run and closed with the last one, in each event loop its own.

    Args:
        where: A usual name such as ``groq`` (docs/configuration.md has them all), or a base URL. Without one it is
            ``OPENAI_BASE_URL``, or OpenAI.
        api_key: Its key. Without one, a name's is in the variable that is usual for it; a URL gets none.
        api: What it is asked over: ``chat``, or ``responses`` for the Responses API itself.
        headers: Sent with every call.
        connect_timeout_s: How long to wait for a connection.
        read_timeout_s: The longest silence, not the length of an answer.

    Raises:
        UsageError: there is no such name, it is no URL, or its key is missing.
    """

    def __init__(
        self,
        where: str | None = None,
        *,
        api_key: str | None = None,
        api: Api = "chat",
        headers: Mapping[str, str] | None = None,
        connect_timeout_s: float = 10.0,
        read_timeout_s: float = 600.0,
    ) -> None:
        if api not in ("chat", "responses"):
            raise UsageError(f"api is {api!r}, but must be 'chat' or 'responses'.")
        self.name, self.base_url, self._api_key = _found(where, api_key)
        self.api = api
        self._headers = dict(headers or {})
        self._connect_timeout_s, self._read_timeout_s = connect_timeout_s, read_timeout_s
        self._dialects: dict[str, Dialect] = {}
        self._open: dict[asyncio.AbstractEventLoop, tuple[Provider, int]] = {}

    def __repr__(self) -> str:
        return f"<upstream {self.name} at {self.base_url}>"

    def model(self, name: str, *, price: Price | None = None) -> Model:
        """One of its models, by its own name for it."""
        return Model(name, upstream=self, price=price)

    async def models(self) -> list[str]:
        """The names of its models, as it lists them.

        Raises:
            TransportError, ProviderError: it gave no list.
        """
        async with self.provider() as provider:
            return [str(model["id"]) for model in await provider.models()]

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

    def dialect(self, model: str) -> Dialect:
        """What is known to be different about one of its models."""
        from antiphon.config.dialects import shipped
        from antiphon.dialects import choose

        if model not in self._dialects:
            self._dialects[model] = choose(shipped(), base_url=self.base_url, model=model)
        return self._dialects[model]

    def _connect(self) -> Provider:
        # Late: whoever has a provider of their own needs no HTTP client, which is most of the time to import.
        from antiphon.providers.chat import ChatProvider
        from antiphon.providers.http import HttpTransport
        from antiphon.providers.responses import ResponsesProvider

        speaking = ResponsesProvider if self.api == "responses" else ChatProvider
        return speaking(
            self.name,
            self.base_url,
            HttpTransport(connect_timeout_s=self._connect_timeout_s, read_timeout_s=self._read_timeout_s),
            api_key=self._api_key,
            headers=self._headers,
            dialect_of=self.dialect,
        )


class Given:
    """A provider that the user opened, and closes."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    @asynccontextmanager
    async def provider(self) -> AsyncGenerator[Provider, None]:
        """The very provider."""
        yield self._provider


class Model:
    """A model at an upstream; agents may share it.

    Args:
        name: The upstream's name for it; without ``upstream`` and ``provider`` it may begin with the upstream's
            own, as in ``groq/llama-3.3-70b-versatile``.
        upstream: Where it is; a text as for `Upstream`.
        provider: A `Provider` that is open, instead; the caller closes it.
        price: What its tokens cost, for ``limits.max_cost_usd`` and `RunResult.cost_usd`.

    Raises:
        UsageError: these do not go together.
    """

    def __init__(
        self,
        name: str,
        *,
        upstream: Upstream | str | None = None,
        provider: Provider | None = None,
        price: Price | None = None,
    ) -> None:
        if upstream is not None and provider is not None:
            raise UsageError("A model has an upstream or a provider; not both.")
        if upstream is None and provider is None:
            upstream, name = _split(name)
        self.name = name
        self.price = price
        self.upstream: Upstream | None = None
        if provider is not None:
            self._source: Source = Given(provider)
        else:
            self._source = self.upstream = upstream if isinstance(upstream, Upstream) else Upstream(upstream)

    def __repr__(self) -> str:
        return f"<model {self.name}>"

    @cached_property
    def capabilities(self) -> Capabilities:
        """What is known of what it can, from what is known of its host and its name; nothing is asked."""
        from antiphon.dialects import OPENAI

        return (OPENAI if self.upstream is None else self.upstream.dialect(self.name)).capabilities

    def provider(self) -> AbstractAsyncContextManager[Provider]:
        """What answers its calls; open as long as the context."""
        return self._source.provider()


async def models(upstream: str | None = None, *, api_key: str | None = None) -> list[str]:
    """The names of an upstream's models, as it lists them; ``upstream`` is as for `Upstream`.

    Raises:
        UsageError: there is no such upstream, or its key is missing.
        TransportError, ProviderError: it gave no list.
    """
    return await Upstream(upstream, api_key=api_key).models()


def models_of(
    given: str | Model | Iterable[str | Model],
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    provider: Provider | None = None,
) -> list[Model]:
    """The models an agent may ask, the first choice first.

    Raises:
        UsageError: these do not go together, or there is none.
    """
    names = [given] if isinstance(given, str | Model) else list(given)
    elsewhere = base_url is not None or api_key is not None
    if provider is not None and elsewhere:
        raise UsageError("An agent has a provider, or a base_url and an api_key; not both.")
    if not names:
        raise UsageError("An agent needs a model.")
    if any(isinstance(name, Model) for name in names) and (elsewhere or provider is not None):
        raise UsageError("A Model says itself where it is: leave out base_url, api_key and provider.")
    upstream = Upstream(base_url, api_key=api_key) if elsewhere else None
    return [name if isinstance(name, Model) else Model(name, upstream=upstream, provider=provider) for name in names]


def _split(name: str) -> tuple[str | None, str]:
    """An upstream's usual name, if a model's name begins with one, and the rest."""
    prefix, _, rest = name.partition("/")
    # Whoever set OPENAI_BASE_URL means that server, and names such as openai/gpt-oss-20b are names of models.
    if not rest or (prefix == "openai" and os.environ.get("OPENAI_BASE_URL")):
        return None, name
    from antiphon.config.presets import presets

    return (prefix, rest) if prefix in presets() else (None, name)


def _found(where: str | None, api_key: str | None) -> tuple[str, str, str | None]:
    """The name, the base URL and the key of an upstream."""
    from antiphon.config.presets import presets

    if where is None and (url := os.environ.get("OPENAI_BASE_URL")):
        # Only here: a key of the environment must not go to a host that the environment did not name.
        return _host(url), _checked(url), api_key or os.environ.get("OPENAI_API_KEY") or None
    preset = presets().get("openai" if where is None else where)
    if preset is None:
        assert where is not None
        return _host(where), _checked(where), api_key
    api_key = api_key or os.environ.get(preset.key_env or "", "").strip() or None
    if preset.key_env and not api_key:
        raise UsageError(
            f"No api_key was given for {preset.name}, and {preset.key_env} is not set. For another upstream: base_url."
        )
    return preset.name, preset.url(os.environ), api_key


def _checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise UsageError(
            f"base_url is {url!r}, but must be a URL such as http://localhost:8080/v1, or a usual name such as groq."
        )
    return url.rstrip("/")


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2] or url
