"""The recorded agent runs over MCP, had again: a replay as the model, real MCP servers as tools, a socket between."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import msgspec
import openai
import pytest

import mcp_server
from antiphon.cassettes import Chunk, Interaction, Player, RecordedRequest, RecordedResponse, read
from antiphon.cassettes.format import encode_header, encode_interaction
from antiphon.config import load_settings
from antiphon.server.serving import Server, listen
from antiphon.server.wiring import open_app
from antiphon.transport import HttpRequest

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "ogx" / "tests" / "integration" / "responses" / "recordings"
TRANSPORTS = ("http", "sse", "stdio")

# Chains of recordings: each turn's request holds the calls of the turn before, by the ends of their names.
ALICE = ("ef818827e16691689151bf17c", "9189ab93778335439f288158f", "c7d1cab613ab2e818d79d6f9b")
ANALYSIS = ("db3df58b9b4d948e4e95b0961", "3c0fd1330c666a12d74df6f89", "1e80beb8e5506439345c428eb")
CHARLIE = ("9be7821d28ffeb3e8bf399325", "df5f2e1f2f45eb734bfe2887d", "c18ff1e8ea243d323e5abb208")
PARALLEL = ("bef82982cca22b5cf71a30c2f", "2af0dda3fc097987affdb54c9")
BOILING = ("e937805d7ebb2c2cdddd8e194", "c4664ca74c777c084a87827ad")


def recorded(chain: Sequence[str]) -> list[Interaction]:
    """The turns of a chain, or a skip where the recordings are not there."""
    found: list[Interaction] = []
    for name in chain:
        paths = [*CORPUS.glob(f"*{name}.json")] if CORPUS.is_dir() else []
        if not paths:
            pytest.skip(f"the recording *{name}.json is not in {CORPUS}")
        found += read(paths[0])
    return found


def streamed(*deltas: dict[str, Any], finish: str = "stop") -> Interaction:
    """A turn that nobody recorded, in these pieces."""
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish})
    events = [b"data: %b\n\n" % msgspec.json.encode({**chunk, "choices": [choice]}) for choice in choices]
    chunks = tuple(Chunk(0.0, data) for data in [*events, b"data: [DONE]\n\n"])
    return Interaction(
        id="scripted",
        request=RecordedRequest(method="POST", url="https://api.openai.com/v1/chat/completions", body=b"{}"),
        response=RecordedResponse(status=200, headers=(("content-type", "text/event-stream"),), chunks=chunks),
    )


def spoken(text: str) -> Interaction:
    """A turn that nobody recorded: the model says this."""
    return streamed({"content": text})


def calls(*made: tuple[str, str]) -> list[dict[str, Any]]:
    """The pieces of calls side by side: names on the wire, then arguments."""
    begun = [
        {"index": n, "id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": ""}}
        for n, (name, _) in enumerate(made)
    ]
    rest = [{"index": n, "function": {"arguments": arguments}} for n, (_, arguments) in enumerate(made)]
    return [{"tool_calls": [piece]} for piece in (*begun, *rest)]


def calling(*made: tuple[str, str]) -> Interaction:
    """A turn that nobody recorded: the model calls these tools, by their names on the wire, with these arguments."""
    return streamed(*calls(*made), finish="tool_calls")


def first_question(chain: Sequence[Interaction]) -> str:
    """What the user asked in the recording."""
    assert chain[0].request is not None
    content = msgspec.json.decode(chain[0].request.body)["messages"][-1]["content"]
    return content if isinstance(content, str) else str(content[0]["text"])


class Served(NamedTuple):
    """What a test talks to, what its model was sent, and how that differed from what was recorded, by turn."""

    client: openai.OpenAI
    differences: list[str]
    sent: list[dict[str, Any]]

    def unlike(self, turn: int) -> set[str]:
        """In what the request of a turn was not as recorded."""
        prefix = f"interaction {turn}: "
        return {line.removeprefix(prefix) for line in self.differences if line.startswith(prefix)}


@contextmanager
def served(
    data_dir: Path, turns: Sequence[Interaction], *, toml: str = "", mode: str = "replay", live: Sequence[str] = ("*",)
) -> Iterator[Served]:
    """A server that plays these turns in order, on a socket; tools are called live."""
    cassette, config = data_dir / "turns.jsonl", data_dir / "antiphon.toml"
    if turns:
        lines = [encode_interaction(msgspec.structs.replace(turn, id=str(n))) for n, turn in enumerate(turns)]
        cassette.write_bytes(encode_header("tests") + b"".join(lines))
    config.write_text(f"[tools]\nlive = {[*live]!r}\n{toml}")
    flags: dict[str, Any] = {mode: str(cassette), "match": "order", "data_dir": str(data_dir)}
    if mode == "auto":
        flags["upstream"] = "http://127.0.0.1:9/v1"
    settings = load_settings(flags, {}, config)
    sockets, ready, differences = listen("127.0.0.1", 0), threading.Event(), list[str]()
    servers: list[Server] = []

    sent: list[dict[str, Any]] = []
    send = Player.send

    async def noting(player: Player, request: HttpRequest) -> Any:
        sent.append(msgspec.json.decode(request.body))
        return await send(player, request)

    async def main() -> None:
        async with open_app(settings, on_difference=differences.append) as app:
            servers.append(Server(app, ready.set))
            await servers[0].serve(sockets)
        # Sessions of servers that are processes end behind the answer.
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    patched = mock.patch.object(Player, "send", noting)
    patched.start()
    thread.start()
    try:
        assert ready.wait(10)
        url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/v1"
        with openai.OpenAI(base_url=url, api_key="k", max_retries=0, timeout=30) as client:
            yield Served(client, differences, sent)
    finally:
        for server in servers:
            server.should_exit = True
        thread.join()
        patched.stop()


@contextmanager
def tools_over(transport: str) -> Iterator[str]:
    """The configuration that names the MCP server of the recordings ``dev``, over that transport."""
    with ExitStack() as stack:
        if transport == "stdio":
            started = mcp_server.command()
            yield f"[mcp_servers.dev]\ncommand = {started['command']!r}\nargs = {started['args']!r}\n"
        else:
            url, _ = stack.enter_context(mcp_server.serving(transport))  # type: ignore[arg-type]
            yield f"[mcp_servers.dev]\nurl = {url!r}\nallow_private = true\n"


WORKFLOW = ["get_user_id", "get_user_permissions", "check_file_access", "get_experiment_id", "get_experiment_results"]


def dev(**fields: Any) -> dict[str, Any]:
    """The tool of a request that means the tools of the recorded workflows."""
    asked = {"type": "mcp", "server_label": "dev", "require_approval": "never", "allowed_tools": WORKFLOW}
    return {**asked, **fields}


def kinds(events: Sequence[Any]) -> list[str]:
    """The types of a stream's events without their prefix, runs of equal deltas as one."""
    names = [event.type.removeprefix("response.") for event in events]
    return [name for before, name in zip(["", *names], names, strict=False) if name != before or "delta" not in name]
