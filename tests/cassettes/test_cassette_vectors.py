"""The contract of the file, as any language can test it: vectors and a JSON Schema."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from antiphon.cassettes import Interaction, read
from antiphon.cassettes.format import MAGIC, decode_interaction, encode_header, encode_interaction
from antiphon.errors import CassetteError

VECTORS = Path(__file__).parent / "vectors"
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "cassette.schema.json").read_text())
NAMES = sorted(path.stem for path in VECTORS.glob("*.jsonl"))
GOOD = [name for name in NAMES if not name.startswith("bad-")]
BAD = [name for name in NAMES if name.startswith("bad-")]


def expected(name: str) -> dict[str, Any]:
    return dict(json.loads((VECTORS / f"{name}.expected.json").read_text()))


def base64(data: bytes) -> str:
    return b64encode(data).decode()


def told(interaction: Interaction) -> dict[str, Any]:
    """An interaction as the vectors tell it."""
    found: dict[str, Any] = {"id": interaction.id, "kind": interaction.kind, "fidelity": interaction.fidelity}
    request, response, tool, socket = interaction.request, interaction.response, interaction.tool, interaction.websocket
    if interaction.kind != "tool":
        found["request"] = request and {
            "method": request.method,
            "url": request.url,
            "headers": [list(pair) for pair in request.headers],
            "body_base64": base64(request.body),
            **({"content_encoding": request.content_encoding} if request.content_encoding else {}),
        }
    if response is not None:
        found["response"] = {
            "status": response.status,
            "headers": [list(pair) for pair in response.headers],
            "delay_ms": response.delay_ms,
            "chunks": [[chunk.delay_ms, base64(chunk.data)] for chunk in response.chunks],
            **({"error": response.error.code} if response.error else {}),
            **({"content_encoding": response.content_encoding} if response.content_encoding else {}),
        }
    if tool is not None:
        found["tool"] = {"name": tool.name, "arguments": tool.arguments, "result": tool.result}
        found["tool"] |= {"error": tool.error.code} if tool.error else {}
    if socket is not None:
        found["websocket"] = {
            "frames": [
                [f.delay_ms, f.sender, "text", f.data]
                if isinstance(f.data, str)
                else [f.delay_ms, f.sender, "binary", base64(f.data)]
                for f in socket.frames
            ],
            "close": [socket.close.code, socket.close.reason] if socket.close else None,
            "closed_by": socket.closed_by,
        }
    return found


@pytest.mark.parametrize("name", GOOD)
def test_a_good_vector_is_read_as_it_says(name: str) -> None:
    assert [told(each) for each in read(VECTORS / f"{name}.jsonl")] == expected(name)["interactions"]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_vector_is_refused_with_the_line_it_names(name: str) -> None:
    with pytest.raises(CassetteError) as caught:
        list(read(VECTORS / f"{name}.jsonl"))
    line = expected(name)["error_line"]
    assert str(VECTORS / f"{name}.jsonl") + (f":{line}:" if line else ":") in caught.value.message


@pytest.mark.parametrize("name", [name for name in GOOD if name not in ("torn", "newer-minor")])
def test_good_vectors_are_valid_under_the_schema_and_written_again_alike(name: str) -> None:
    for line in (VECTORS / f"{name}.jsonl").read_bytes().split(b"\n"):
        if line:
            jsonschema.validate(json.loads(line), SCHEMA)
            if not line.startswith(MAGIC):
                again = encode_interaction(decode_interaction(line))
                jsonschema.validate(json.loads(again), SCHEMA)
                assert decode_interaction(again) == decode_interaction(line)


@pytest.mark.parametrize("name", ["bad-base64", "bad-http-without-response", "bad-unknown-kind", "bad-newer-major"])
def test_the_schema_refuses_what_the_reader_refuses(name: str) -> None:
    lines = [json.loads(line) for line in (VECTORS / f"{name}.jsonl").read_bytes().splitlines()]
    with pytest.raises(jsonschema.ValidationError):
        for line in lines:
            jsonschema.validate(line, SCHEMA)


def test_the_schema_is_of_the_version_that_is_written() -> None:
    version = json.loads(encode_header())["antiphon_cassette"]
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert re.search(r"cassette-(.*)\.json", SCHEMA["$id"])[1] == version  # type: ignore[index]
    assert SCHEMA["title"].endswith(version)


def test_every_vector_says_what_it_is_for() -> None:
    assert all(expected(name)["why"] for name in NAMES)
    assert len(NAMES) > 15
