"""A command whose model calls pass the proxy, because variables lead its SDKs there."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from antiphon.cassettes.pruning import prune
from antiphon.errors import ConfigError
from antiphon.server.proxying import ProxySettings, Say, open_proxy, url_of
from antiphon.server.serving import Server, listen, loop_factory
from antiphon.server.upstreams import Upstream


class Client(NamedTuple):
    """How SDKs are told where to send their calls: ``variable`` gets the proxy's address with ``suffix`` behind it.

    Without a value of the user's own, calls go to ``base_url``; ``key`` must be set, to anything, or the SDK refuses.
    """

    variable: str
    prefix: str
    base_url: str
    suffix: str = ""
    key: str = ""


# What each SDK reads is what its documentation says, as of November 2026.
CLIENTS = (
    Client("OPENAI_BASE_URL", "/openai", "https://api.openai.com", "/v1", "OPENAI_API_KEY"),
    Client("ANTHROPIC_BASE_URL", "/anthropic", "https://api.anthropic.com", "", "ANTHROPIC_API_KEY"),
    Client("GOOGLE_GEMINI_BASE_URL", "/gemini", "https://generativelanguage.googleapis.com", "", "GEMINI_API_KEY"),
    Client("GROQ_BASE_URL", "/groq", "https://api.groq.com", "", "GROQ_API_KEY"),
    Client("OLLAMA_HOST", "/ollama", "http://localhost:11434"),
)
_REPLAY_KEY = "replayed-without-a-key"
_LOOPBACK = "127.0.0.1,localhost"


def client_upstreams(env: Mapping[str, str]) -> tuple[Upstream, ...]:
    """Where the calls of each SDK go: where the environment says so far, else to its provider."""
    return tuple(Upstream(each.prefix, _given(each, env) or each.base_url) for each in CLIENTS)


def client_environment(url: str, env: Mapping[str, str], *, is_replay: bool) -> dict[str, str]:
    """The variables that lead SDKs to a proxy at ``url``; a replay needs no keys, but SDKs do."""
    found = {each.variable: f"{url}{each.prefix}{'' if _given(each, env) else each.suffix}" for each in CLIENTS}
    found["OPENAI_API_BASE"] = found["OPENAI_BASE_URL"]  # LiteLLM and older SDKs
    if is_replay:
        found |= {each.key: _REPLAY_KEY for each in CLIENTS if each.key and not env.get(each.key)}
    for name in ("NO_PROXY", "no_proxy"):
        found[name] = f"{env[name]},{_LOOPBACK}" if env.get(name) else _LOOPBACK
    return found


def led_to(settings: ProxySettings, env: Mapping[str, str]) -> tuple[ProxySettings, dict[str, str]]:
    """The settings with an upstream for each SDK, and the environment that says so.

    An upstream that takes all paths is every SDK's; one without a path is meant with the path that the SDK adds.
    """
    everywhere = next((each.base_url for each in settings.upstreams if not each.prefix and not each.host), None)
    if everywhere is not None:
        suffixed = not urlsplit(everywhere).path.strip("/")
        env = dict(env) | {each.variable: everywhere + (each.suffix if suffixed else "") for each in CLIENTS}
    more = (*settings.upstreams, *client_upstreams(env))
    return msgspec.structs.replace(settings, upstreams=more), dict(env)


def _given(client: Client, env: Mapping[str, str]) -> str:
    """The user's own address of an upstream; Ollama's may lack the scheme."""
    value = env.get(client.variable, "").strip().rstrip("/")
    return value if not value or "://" in value else f"http://{value}"


def run_child(
    settings: ProxySettings, command: Sequence[str], *, env: Mapping[str, str], tell: Say, prunes: bool = False
) -> int:
    """Run a command whose model calls pass the proxy; gives its exit code, 128 + n if signal n ended it.

    ``prunes`` drops from the cassette what a replay never asked for, if the command succeeded.

    Raises:
        ConfigError, CassetteError: the proxy cannot start so, or there is no such command.
    """
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        code, left = runner.run(_run_child(settings, command, env, tell))
    if prunes and left and code == 0 and settings.cassette is not None:
        tell(f"replay: {len(prune(settings.cassette, drop=left))} interactions are gone from {settings.cassette}")
    return code


async def _run_child(
    settings: ProxySettings, command: Sequence[str], env: Mapping[str, str], tell: Say
) -> tuple[int, list[int]]:
    async with open_proxy(settings, say=tell) as opened:
        sockets = listen(settings.host, settings.port)
        ready = asyncio.Event()
        server = Server(opened.proxy, ready.set, relays=True, handles_signals=False)
        serving = asyncio.create_task(server.serve(sockets))
        await ready.wait()
        url = url_of(settings.host, sockets[0].getsockname()[1])
        try:
            code = await _child(command, dict(env) | client_environment(url, env, is_replay=settings.mode == "replay"))
        finally:
            server.should_exit = True
            await serving
    for line in opened.report:
        tell(line)
    return code, opened.unplayed


async def _child(command: Sequence[str], env: Mapping[str, str]) -> int:
    try:
        child = await asyncio.create_subprocess_exec(*command, env=env)
    except OSError as error:
        raise ConfigError(f"Cannot run {command[0]!r}: {error.strerror}.") from error
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C reaches the child by itself
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, child.send_signal, number)
    code = await child.wait()
    return code if code >= 0 else 128 - code
