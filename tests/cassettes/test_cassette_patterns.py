"""What secrets look like: each kind is found wherever it is planted, and nothing else is taken for one."""

from __future__ import annotations

import gzip
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cassette_fakes import CHAT, CORPUS, need
from hypothesis import given
from hypothesis import strategies as st

from antiphon.cassettes import Chunk, Interaction, RecordedRequest, RecordedResponse, Scrubber, ToolCall, read, secrets
from antiphon.cassettes.format import Frame, SocketSession, decode_interaction, encode_interaction
from antiphon.cassettes.patterns import NAMES
from antiphon.cassettes.secrets import Secrets
from antiphon.cassettes.writing import Writer
from antiphon.errors import UsageError

RANDOM = "Zm9vYmFyMTIzNDU2Nzg5MGFiY2RlZg"  # what keys look like behind their beginning
DIGITS = "0123456789abcdef0123456789abcdef"


def planted(*parts: str) -> str:
    """Put together here, so that nothing that looks for leaked keys takes this file for a leak."""
    return "".join(parts)


SECRETS = {
    "openai_key": planted("sk-", "proj-", RANDOM),
    "anthropic_key": planted("sk-", "ant-api03-", RANDOM),
    "openrouter_key": planted("sk-", "or-v1-", DIGITS),
    "google_key": planted("AI", "zaSyA", RANDOM, "12345"),
    "groq_key": planted("gs", "k_", RANDOM),
    "xai_key": planted("xa", "i-", RANDOM),
    "huggingface_token": planted("h", "f_", RANDOM),
    "github_token": planted("gh", "p_", RANDOM),
    "gitlab_token": planted("gl", "pat-", RANDOM),
    "slack_token": planted("xo", "xb-1234567890-", RANDOM),
    "stripe_key": planted("sk", "_live_", RANDOM),
    "aws_access_key": planted("AK", "IAIOSFODNN7EXAMPLE"),
    "sendgrid_key": planted("S", "G.", RANDOM, ".", RANDOM),
    "npm_token": planted("np", "m_", RANDOM),
    "tavily_key": planted("tv", "ly-dev-", RANDOM),
    "jwt": planted("ey", "JhbGciOiJIUzI1NiJ9.", "eyJzdWIiOiIxMjM0NTY3ODkwIn0.", "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"),
    "bearer_token": planted("Bearer ", "0a1b2c3d4e5f6a7b8c9d"),
    "basic_credentials": planted("Basic ", b64encode(b"aladdin:opensesame").decode()),
    "cookie": planted("Set-Cookie: session", "=8f14e45fceea167a"),
    "private_key": planted("-----BEGIN ", "PRIVATE KEY-----MIIEvQIBADANBgkq-----END ", "PRIVATE KEY-----"),
    "url_password": planted("postgres://admin:", "hunter2hunter2", "@db.internal/x"),
    "azure_key": planted("AccountKey=", RANDOM, "=="),
    "email": "ada.lovelace@engine.example",
    "card": "4111 1111 1111 1111",
    "aws_account": "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/x",
    "azure_resource": "contoso-secret-4711.openai.azure.com",
    "gcp_project": "projects/playground-472418/locations/us-east5",
}

# What of the planted text is the secret, where not all of it is.
CORE = {
    "bearer_token": "0a1b2c3d4e5f6a7b8c9d",
    "basic_credentials": b64encode(b"aladdin:opensesame").decode(),
    "cookie": "8f14e45fceea167a",
    "private_key": "MIIEvQIBADANBgkq",
    "url_password": "hunter2hunter2",
    "azure_key": RANDOM,
    "aws_account": "123456789012",
    "azure_resource": "contoso-secret-4711",
    "gcp_project": "playground-472418",
}
each_secret = pytest.mark.parametrize("name", SECRETS)


def answered(*chunks: bytes, content_type: str = "application/json") -> Interaction:
    response = RecordedResponse(
        status=200,
        headers=(("content-type", content_type),),
        chunks=tuple(Chunk(1.0, chunk) for chunk in chunks),
    )
    return Interaction(id="1", request=RecordedRequest(method="POST", url=CHAT), response=response)


def deltas(text: str, size: int) -> list[bytes]:
    """A chat stream that gives a text a few characters at a time, an event a chunk."""
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    return [
        b"data: " + msgspec.json.encode({"choices": [{"index": 0, "delta": {"content": piece}}]}) + b"\n\n"
        for piece in pieces
    ]


def told(interaction: Interaction) -> str:
    """What a chat stream says, put together."""
    assert interaction.response
    lines = interaction.response.body.decode().split("\n\n")
    events = [msgspec.json.decode(line.removeprefix("data: ")) for line in lines if line]
    return "".join(event["choices"][0]["delta"]["content"] for event in events)


def in_request_body(text: str) -> Interaction:
    body = msgspec.json.encode({"messages": [{"role": "user", "content": f"use\n{text}, please"}]})
    return Interaction(
        id="1", request=RecordedRequest(method="POST", url=CHAT, body=body), response=RecordedResponse(status=200)
    )


def in_url(text: str) -> Interaction:
    request = RecordedRequest(method="GET", url=f"https://api.example.com/v1/x?q={text}")
    return Interaction(id="1", request=request, response=RecordedResponse(status=200))


def in_kept_header(text: str) -> Interaction:
    response = RecordedResponse(status=302, headers=(("location", f"https://h/x#{text}"), ("x-secret", text)))
    return Interaction(id="1", request=RecordedRequest(method="GET", url=CHAT), response=response)


def in_cut_chunks(text: str) -> Interaction:
    body = msgspec.json.encode({"answer": f"it is {text}."})
    return answered(*[body[start : start + 3] for start in range(0, len(body), 3)])


def in_split_deltas(text: str) -> Interaction:
    return answered(*deltas(f"it is {text}.", 3), content_type="text/event-stream")


def in_base64(text: str) -> Interaction:
    return answered(msgspec.json.encode({"file": b64encode(f"secret: {text}\n".encode()).decode()}))


def in_base64_deltas(text: str) -> Interaction:
    inside = b64encode(f"secret: {text}\n".encode()).decode()
    return answered(*deltas(f"file {inside} ", 5), content_type="text/event-stream")


def in_gzip(text: str) -> Interaction:
    return answered(gzip.compress(f"secret: {text}\n".encode()), content_type="application/gzip")


def in_gzip_in_base64(text: str) -> Interaction:
    return answered(msgspec.json.encode({"file": b64encode(gzip.compress(f"it is {text}\n".encode())).decode()}))


def in_json_in_json(text: str) -> Interaction:
    arguments = msgspec.json.encode({"note": f"call\n{text}"}).decode()
    return answered(msgspec.json.encode({"function": {"arguments": arguments}}))


def in_tool_call(text: str) -> Interaction:
    return Interaction(id="1", kind="tool", tool=ToolCall(name="f", arguments={"a": text}, result=[text]))


def in_frames(text: str) -> Interaction:
    pieces = [text[start : start + 4] for start in range(0, len(text), 4)]
    frames = tuple(
        Frame(1.0, "server", msgspec.json.encode({"type": "response.output_text.delta", "delta": piece}).decode())
        for piece in ["it is ", *pieces, "."]
    )
    return Interaction(
        id="1",
        kind="websocket",
        request=RecordedRequest(method="GET", url=CHAT),
        response=RecordedResponse(status=101),
        websocket=SocketSession(frames=frames),
    )


PLACES = [
    *(in_request_body, in_kept_header, in_cut_chunks, in_split_deltas, in_base64, in_base64_deltas, in_gzip),
    *(in_gzip_in_base64, in_json_in_json, in_tool_call, in_frames),
]


def laid_open(line: bytes) -> bytes:
    """All that a reader of a line could read: also what events say together, and what is in base64 and gzip."""
    found = [line]
    interaction = decode_interaction(line)
    body = interaction.response.body if interaction.response else b""
    found.append(gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body)
    if body.startswith(b"data: "):
        found.append(told(interaction).encode())
    if interaction.websocket:
        found.append(
            "".join(msgspec.json.decode(frame.data)["delta"] for frame in interaction.websocket.frames).encode()
        )
    for text in list(found):
        for run in re.findall(rb"[A-Za-z0-9+/]{16,}={0,2}", text):
            inside = b64decode(run + b"=" * (-len(run) % 4)) if len(run.rstrip(b"=")) % 4 != 1 else b""
            found.append(gzip.decompress(inside) if inside.startswith(b"\x1f\x8b") else inside)
    return b"\n".join(found)


@each_secret
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_no_kind_of_secret_is_in_a_written_file(tmp_path: Path, name: str, place: Callable[[str], Interaction]) -> None:
    path = tmp_path / "x.jsonl"
    core = CORE.get(name, SECRETS[name]).encode()
    before = place(SECRETS[name])
    assert core in laid_open(encode_interaction(before))  # else this test could not fail
    writer = Writer(path)
    writer.append(Scrubber()(before))
    writer.close()
    written = path.read_bytes().split(b"\n")[1]
    assert core not in laid_open(written)
    assert core not in written
    assert list(read(path))  # and it is a cassette


@each_secret
def test_secrets_are_taken_out_of_urls(name: str) -> None:
    if " " in SECRETS[name] and name != "card":
        pytest.skip("not as it stands in a URL")
    scrubbed = Scrubber()(in_url(SECRETS[name])).request
    assert scrubbed
    assert CORE.get(name, SECRETS[name]) not in scrubbed.url


@each_secret
def test_what_was_taken_out_is_named(name: str) -> None:
    scrubbed = Scrubber()(in_request_body(SECRETS[name]))
    assert name in scrubbed.tags["scrubbed"].split(", ")


def test_there_are_no_fewer_than_twenty_kinds() -> None:
    assert len(SECRETS) >= 20
    assert set(SECRETS) <= set(NAMES)


# --- streams --------------------------------------------------------------------------------


@given(st.integers(1, 12), st.sampled_from(sorted(SECRETS)))
def test_a_stream_says_together_what_its_text_says_scrubbed(size: int, name: str) -> None:
    text = f"it is {SECRETS[name]}. Keep it."
    scrubbed = Scrubber()(answered(*deltas(text, size), content_type="text/event-stream"))
    assert told(scrubbed) == Secrets({}).scrub(text.encode()).decode()
    assert scrubbed.response
    assert len(scrubbed.response.chunks) == len(deltas(text, size))


def test_events_without_a_piece_of_it_keep_their_bytes() -> None:
    chunks = [b'data: { "choices": [] , "n": 1.0}\n\n', *deltas("mail ada@engine.example now, and not later", 4)]
    scrubbed = Scrubber()(answered(*chunks, content_type="text/event-stream")).response
    assert scrubbed
    assert scrubbed.chunks[0].data == chunks[0]
    assert [chunk.data for chunk in scrubbed.chunks[-4:]] == chunks[-4:]


def test_two_texts_of_one_stream_are_not_taken_together() -> None:
    def event(index: int, piece: str) -> bytes:
        return b"data: " + msgspec.json.encode({"choices": [{"index": index, "delta": {"content": piece}}]}) + b"\n\n"

    chunks = [event(0, "ada@eng"), event(1, "one "), event(0, "ine.example "), event(1, "two")]
    scrubbed = Scrubber()(answered(*chunks, content_type="text/event-stream")).response
    assert scrubbed
    assert [chunk.data for chunk in scrubbed.chunks[1::2]] == chunks[1::2]
    assert b"ada@" not in scrubbed.body
    assert b"ine.example" not in scrubbed.body


# --- what is kept ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"logprob":-0.4539578974246979}',
        '{"token":"Hello","bytes":[72,101]}',
        '{"id":"chatcmpl-BxqGcMOOYYJn8fX0T5ZmQ2kqzW1aB"}',
        '{"id":"resp_68a1b2c3d4e5f60718293a4b5c6d7e8f","created":1763680000000000000}',
        "123e4567-e89b-42d3-a456-426614174000",
        '{"properties":{"password":{"type":"string"}},"required":["api_key"]}',
        "sk-fading-circle-and-more-css-classes",
        "Bearer authentication is what the server wants",
        "the basic idea is simple",
        "pip install scikit-learn, then risk-based-testing-of-things-2024-01",
        "4111 1111 1111 1112",
        "[ 278 0 0 0 0 0 0 0 0 0 0 0 0 0 278 0 0 0 0 0 0 0 ]",
        "the run took 123456789012 steps, 210987654321 tokens and 503561449716 bytes",
        '{"created":176368000000,"account":"ada","n":123456789012}',
        '{"password":"","url":"https://example.com","x":"y"}',
        r'{"arguments":"{\"password\":\"\",\"url\":\"x\"}"}',
        "https://api.example.com/v1/projects/x",
        "[scrubbed:openai_key] [scrubbed:email:1a2b]",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Secrets({}).scrub(text.encode()).decode() == text


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ('{"password":"hunter2"}', '{"password":"[scrubbed:field]"}'),
        ('{"apiKey" : "a\\"b"}', '{"apiKey" : "[scrubbed:field]"}'),
        (r'{"arguments":"{\"client_secret\":\"x y\"}"}', r'{"arguments":"{\"client_secret\":\"[scrubbed:field]\"}"}'),
        ("grant=1&refresh_token=abc&x=1", "grant=1&refresh_token=[scrubbed:field]&x=1"),
        ('{"card":4111111111111111}', '{"card":"[scrubbed:card]"}'),
        (r'{"a":"line\nada@engine.example"}', r'{"a":"line\n[scrubbed:email:23ed]"}'),
        ('{"accountId": "123456789012"}', '{"accountId": "[scrubbed:aws_account:388d]"}'),
        ("AWS_ACCOUNT_ID=123456789012", "AWS_ACCOUNT_ID=[scrubbed:aws_account:388d]"),
        ("in account 123456789012, say", "in account [scrubbed:aws_account:388d], say"),
        ('{"account_id":123456789012,"n":1}', '{"account_id":"[scrubbed:aws_account:388d]","n":1}'),
        ('{"a":"my card: 4111111111111111, ok"}', '{"a":"my card: [scrubbed:card], ok"}'),
        ("OPENAI_API_KEY=whatever it is", "OPENAI_API_KEY=[scrubbed:env_secret] it is"),
    ],
)
def test_what_stands_around_a_secret_stays(text: str, scrubbed: str) -> None:
    assert Secrets({}).scrub(text.encode()).decode() == scrubbed


@each_secret
def test_scrubbing_twice_changes_nothing_more(name: str) -> None:
    once = Scrubber()(in_split_deltas(SECRETS[name]))
    assert Scrubber()(once) == once


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_json_stays_json(text: str) -> None:
    document = msgspec.json.encode({"a": f"{text} {SECRETS['email']}\n{SECRETS['openai_key']}{text}", "n": [1.5]})
    assert msgspec.json.decode(Secrets({}).scrub(document))["n"] == [1.5]


def test_addresses_are_told_apart_and_keys_are_not() -> None:
    one, two = (Secrets({}).scrub(text) for text in (b"ada@engine.example", b"bob@engine.example"))
    assert one != two
    keys = [Secrets({}).scrub(planted("gs", "k_", RANDOM, end).encode()) for end in ("a", "b")]
    assert keys[0] == keys[1]


# --- the user's own rules -------------------------------------------------------------------


def test_users_add_patterns_and_fields_and_switch_patterns_off() -> None:
    secrets = Secrets({}, patterns={"employee": r"EMP-(?P<secret>\d{6})"}, fields=["ssn"], off=["email"])
    text = b'{"who":"EMP-123456","ssn":"078-05-1120","mail":"ada@engine.example"}'
    assert (
        secrets.scrub(text) == b'{"who":"EMP-[scrubbed:employee]","ssn":"[scrubbed:field]","mail":"ada@engine.example"}'
    )


@pytest.mark.parametrize("wrong", [{"patterns": {"x": "("}}, {"off": ["emails"]}, {"patterns": {"A b": "x"}}])
def test_a_wrong_rule_is_refused(wrong: dict[str, dict[str, str]]) -> None:
    with pytest.raises(UsageError):
        Secrets({}, **wrong)  # type: ignore[arg-type]


def test_scrubbing_a_large_body_takes_no_time_that_counts() -> None:
    """A hundred times the budget, so that it fails for what is quadratic and nothing else."""
    import timeit

    body = msgspec.json.encode({"text": "The quick brown fox. " * 50_000, "blob": "QUJD" * 100_000})
    assert timeit.timeit(lambda: Secrets({}).scrub(body), number=1) < 10


def test_recordings_of_the_corpus_stay_readable(tmp_path: Path) -> None:
    scrub = Scrubber()
    for path in sorted(need(CORPUS / "seeds").rglob("*.yaml"))[:10]:
        for interaction in read(path):
            scrubbed = scrub(interaction)
            assert scrub(scrubbed) == scrubbed


PIECES = st.sampled_from(
    [
        *SECRETS.values(),
        *(f'{{"password":"{each}"}}' for each in ("hunter2", "")),
        "data",
        "id",
        "sk-",
        "a b",
        "\\",
        "\n",
    ]
)


@given(st.lists(PIECES, min_size=1, max_size=6), st.integers(1, 40), st.sampled_from(['"', '":"', '\\"', "&"]))
def test_what_repeats_itself_is_searched_once_and_found_everywhere(pieces: list[str], times: int, between: str) -> None:
    text = between.join(pieces * times).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "_distinct", lambda data: data)
        everywhere = Secrets({}).find(text)
    assert Secrets({}).find(text) == everywhere
