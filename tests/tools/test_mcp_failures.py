"""What a server that cannot be used is said to have answered: its own words, where it stands, and no secret of ours."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

import mcp_server
from antiphon.errors import ToolServerError
from antiphon.tools.base import ToolError
from antiphon.tools.egress import EgressPolicy
from antiphon.tools.mcp import MCPServer
from antiphon.tools.mcp import http as mcp_http
from antiphon.tools.mcp.failures import Exchange, Secrets
from antiphon.tools.mcp.http import GuardedTransport

TOKEN = "sk-very-secret-token"


def answering(response: Callable[[], Response]) -> Starlette:
    async def answer(request: Request) -> Response:
        return response()

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "DELETE"])])


def listing_error(app: Any = None, **where: Any) -> str:
    """What listing the tools of a server fails with; of an application on a socket, if one is given."""

    async def listing() -> None:
        async with MCPServer(name="lab", **where) as server:
            await server.list_tools()

    with ExitStack() as stack:
        if app is not None:
            where["url"] = stack.enter_context(mcp_server.on_socket(app)) + where.pop("path", "/mcp")
        with pytest.raises(ToolServerError) as raised:
            asyncio.run(listing())
    assert raised.value.label == "lab"
    return str(raised.value)


def test_a_refused_key_is_told_with_the_servers_words_and_without_the_key() -> None:
    with mcp_server.serving("http") as (url, gate):
        gate.token = "another"
        said = listing_error(url=url, authorization=TOKEN)
    assert said.endswith("answered 401 Unauthorized: No user has Bearer ***. Check its authorization.")
    assert "MCP server 'lab': http://127.0.0.1:" in said


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (
            lambda: JSONResponse({"error": {"message": "No such server"}}, 404),
            "answered 404 Not Found: No such server.",
        ),
        (lambda: HTMLResponse("<h1>Gone</h1>", 410), "answered 410 Gone."),
        (lambda: PlainTextResponse("come back later", 503), "answered 503 Service Unavailable: come back later."),
        (lambda: JSONResponse({"detail": "Slow down"}, 429), "answered 429 Too Many Requests: Slow down."),
        (lambda: HTMLResponse("<h1>Welcome</h1>"), "it answered with text/html, which is not MCP."),
        (
            lambda: Response(b"{", media_type="application/json"),
            "cannot be used: its answer is not MCP.",
        ),
        (lambda: Response(b"x", headers={"content-encoding": "gzip"}), "it sent a compressed answer"),
    ],
)
def test_a_server_that_is_none_is_told_by_what_it_answered(response: Callable[[], Response], words: str) -> None:
    assert words in listing_error(answering(response))


def test_a_server_that_nobody_runs_cannot_be_reached() -> None:
    assert "http://127.0.0.1:9 cannot be used: it cannot be reached" in listing_error(url="http://127.0.0.1:9/mcp")


def test_a_server_that_never_answers_is_waited_for_only_so_long() -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await asyncio.Event().wait()

    assert "it did not answer in time." in listing_error(silent, connect_timeout_s=0.05)


def test_a_command_that_does_not_exist_is_named() -> None:
    said = listing_error(command="no-such-server")
    assert "the command 'no-such-server' cannot be used: there is no command 'no-such-server'." in said


def test_a_process_that_dies_is_told_with_what_it_complained_of() -> None:
    code = "import os, sys; sys.stderr.write('No key in ' + os.environ['KEY']); sys.exit(3)"
    said = listing_error(command=sys.executable, args=["-c", code], env={"KEY": TOKEN})
    assert said.endswith("It wrote: No key in ***")


def test_a_redirect_to_another_host_is_not_followed() -> None:
    said = listing_error(answering(lambda: RedirectResponse("http://169.254.169.254/latest?token=x", 307)))
    assert "Redirect to http://169.254.169.254/latest not followed" in said


def test_the_query_of_a_url_and_a_long_segment_of_its_path_are_not_told() -> None:
    secret = "0123456789abcdefghijklmnop"
    app = answering(lambda: PlainTextResponse(f"nothing at /s/{secret}/mcp?key={TOKEN}", 400))
    assert "nothing at /s/***/mcp?***" in listing_error(app, path=f"/s/{secret}/mcp?key={TOKEN}")


@given(st.lists(st.text(min_size=6, max_size=12).filter(str.strip), min_size=1, max_size=4), st.data())
def test_no_secret_is_left_in_a_text_wherever_it_stands(keys: list[str], data: st.DataObject) -> None:
    words = data.draw(st.lists(st.sampled_from([*keys, "answered", "403: ", "="]), max_size=8))
    headers = dict(zip(["x-a", "x-b", "x-c", "x-d"], keys, strict=False))
    covered = Secrets(url=None, headers=headers, env={}).cover("|".join(words))
    assert not [key for key in keys if key in covered]


def test_a_value_of_the_query_is_covered_as_it_is_written_and_as_it_is_meant() -> None:
    secrets = Secrets(url="https://h/mcp?key=a%2Fb%2Bc%3D1&v=1", headers={}, env={})
    assert secrets.cover("no a/b+c=1, no a%2Fb%2Bc%3D1") == "no ***, no ***"


def test_short_values_and_the_word_bearer_are_not_covered() -> None:
    secrets = Secrets(url="http://h/mcp?v=1", headers={"authorization": f"Bearer {TOKEN}", "x": "on"}, env={})
    assert secrets.cover(f"Bearer on v {TOKEN}\n again") == "Bearer on v *** again"


@pytest.mark.parametrize("transport", ["http", "sse"])
def test_a_call_that_the_server_refuses_tells_the_model_so(transport: Any) -> None:
    async def refused(url: str, gate: mcp_server.Gate) -> None:
        async with MCPServer(url=url, name="lab", authorization=TOKEN) as server:
            await server.list_tools()
            gate.token = "another"  # as if ours had ended
            with pytest.raises(ToolError, match=r"answered 401 Unauthorized: No user has Bearer \*\*\*\. Check"):
                await server.call("touch", '{"what": "a"}', idempotency_key="k")
            gate.token = TOKEN
            assert (await server.call("touch", '{"what": "a"}', idempotency_key="k")).output == "1"

    with mcp_server.serving(transport) as (url, gate):
        asyncio.run(refused(url, gate))


# --- below the protocol ----------------------------------------------------------------------


class Recorder(httpx2.AsyncBaseTransport):
    """Answers every request, apart from those to an address where nobody listens; keeps what it was sent."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self.requests: list[httpx2.Request] = []
        self._answers = list(answers)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if self._answers else httpx2.Response(202)
        if isinstance(answer, Exception):
            raise answer
        return answer


def policy(*answers: list[str]) -> EgressPolicy:
    left = list(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return left.pop(0)

    return EgressPolicy(resolve=resolve)


async def posted(guarded: GuardedTransport, url: str = "https://tools.example/mcp") -> httpx2.Response:
    async with httpx2.AsyncClient(transport=guarded) as client:
        return await client.post(url, json={})


def test_a_connection_goes_to_the_address_that_was_judged_whatever_the_name_means_later() -> None:
    inner = Recorder()
    guarded = GuardedTransport(policy(["8.8.8.8"], ["127.0.0.1"]), inner)
    for _ in range(2):
        asyncio.run(posted(guarded))
    assert [request.url.host for request in inner.requests] == ["8.8.8.8", "8.8.8.8"]
    assert inner.requests[0].headers["host"] == "tools.example"
    assert inner.requests[0].extensions["sni_hostname"] == "tools.example"


def test_nothing_is_sent_to_a_name_that_leads_inside() -> None:
    inner = Recorder()
    with pytest.raises(httpx2.ConnectError, match="does not lead to a public address"):
        asyncio.run(posted(GuardedTransport(policy(["169.254.169.254"]), inner)))
    assert inner.requests == []


def test_the_next_address_is_tried_where_nobody_listens() -> None:
    inner = Recorder(httpx2.ConnectError("refused"))
    asyncio.run(posted(GuardedTransport(policy(["8.8.8.8", "2001:4860:4860::8888"]), inner)))
    assert [request.url.host for request in inner.requests] == ["8.8.8.8", "2001:4860:4860::8888"]


def test_a_broken_connection_is_answered_for_the_one_request_it_concerns() -> None:
    guarded = GuardedTransport(None, Recorder(httpx2.ReadError("cut")))
    guarded.answers_for_server = True
    own = Exchange()
    token = mcp_http.exchange.set(own)
    response = asyncio.run(posted(guarded))
    mcp_http.exchange.reset(token)
    assert response.json()["error"]["message"] == "cut"
    assert own.refusal is not None
    assert own.refusal.was_sent


def certified(name: str, directory: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate with its key, for a name; and what trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    since = datetime(2020, 1, 1, tzinfo=UTC)
    built = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, since, since + timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = directory / "server.pem"
    kinds = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(key.private_bytes(*kinds) + built.public_bytes(serialization.Encoding.PEM))
    return file, ssl.create_default_context(cafile=str(file))


@pytest.mark.parametrize("name", ["tools.example", "other.example"])
def test_a_certificate_is_checked_for_the_name_and_not_for_the_address(tmp_path: Path, name: str) -> None:
    file, trusting = certified("tools.example", tmp_path)

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    guarded = GuardedTransport(EgressPolicy(["127.0.0.1"], resolve=resolve), httpx2.AsyncHTTPTransport(verify=trusting))
    app = answering(lambda: Response(status_code=202))
    with mcp_server.on_socket(app, ssl_certfile=str(file)) as base_url:
        url = f"https://{name}:{base_url.rpartition(':')[2]}/mcp"
        if name == "tools.example":
            assert asyncio.run(posted(guarded, url)).status_code == 202
        else:
            with pytest.raises(httpx2.ConnectError, match=r"other\.example"):
                asyncio.run(posted(guarded, url))


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_http, "MAX_BODY_BYTES", 10)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b'{"a":'

    for kind in ("application/json", "text/event-stream"):
        inner = Recorder(httpx2.Response(200, headers={"content-type": kind}, content=endless()))
        with pytest.raises(httpx2.ReadError, match="larger than the limit"):
            asyncio.run(posted(GuardedTransport(None, inner)))
