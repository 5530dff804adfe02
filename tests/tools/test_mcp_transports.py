"""The MCP client against the official package's server: the same over its pipes, streamable HTTP, and the older SSE."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mcp_server
from antiphon.tools.base import ToolError, ToolResult
from antiphon.tools.mcp import MCPServer

RECORDINGS = Path(__file__).parents[3] / "shared/corpus/ogx/tests/integration/responses/recordings"

CALLS = {
    "user": ("get_user_id", {"username": "charlie"}),
    "permissions": ("get_user_permissions", {"user_id": "user_11111"}),
    "access": ("check_file_access", {"user_id": "user_11111", "filename": "secret_file.txt"}),
    "experiment": ("get_experiment_id", {"experiment_name": "boiling_point"}),
    "results": ("get_experiment_results", {"experiment_id": "exp_004"}),
    "structured": ("weigh", {"grams": 906}),
    "structured only": ("structured_only", {}),
    "image": ("draw", {}),
    "attached": ("attach", {}),
    "failed": ("fail", {"words": "No such thing."}),
    "wrong": ("weigh", {"grams": "many"}),
    "unknown": ("weight", {}),
    "received": ("received", {}),
    "beyond": ("large", {"size": 600_000}),  # beyond the limit that is set here, below that of SSE
    "again": ("get_user_id", {"username": "alice"}),
}

Answers = dict[str, Any]


@pytest.fixture(scope="module", params=["stdio", "http", "sse"])
def answers(request: pytest.FixtureRequest) -> Iterator[Answers]:
    """What each call gave, all of them in one session; ``tools`` is the listing."""
    if request.param == "stdio":
        yield asyncio.run(ask_all(**mcp_server.command()))
    else:
        with mcp_server.serving(request.param) as (url, _):
            yield asyncio.run(ask_all(url=url, headers={"x-tenant": "blue"}))


async def ask_all(**where: Any) -> Answers:
    async with MCPServer(**where, name="lab", max_result_bytes=500_000) as server:
        found: Answers = {"tools": await server.list_tools()}
        for case, (name, arguments) in CALLS.items():
            try:
                found[case] = await server.call(
                    name, json.dumps(arguments), idempotency_key=f"resp_1/{case}", timeout_s=30
                )
            except ToolError as error:
                found[case] = str(error)
        found["repeatable"] = [name for name in ("weigh", "touch") if server.may_repeat(name)]
    assert len(asyncio.all_tasks()) == 1
    return found


def test_the_tools_are_listed_with_their_schemas_as_sent(answers: Answers) -> None:
    tools = {tool["name"]: tool for tool in answers["tools"]}
    assert [*tools][:3] == ["get_user_id", "get_user_permissions", "check_file_access"]
    assert tools["weigh"]["input_schema"]["properties"] == {
        "grams": {"minimum": 1, "title": "Grams", "type": "integer"}
    }
    assert tools["weigh"]["annotations"] == {"readOnlyHint": True}
    assert tools["touch"]["annotations"] is None
    assert set(tools["touch"]) == {"name", "description", "input_schema", "annotations"}


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings of others are not beside this checkout")
def test_the_tools_of_the_recordings_are_offered_as_they_were_recorded(answers: Answers) -> None:
    name = "318c5361647df0245c074cd2c7d6f50e862aeddbbeaeb256ef1add34de7c1dc8.json"
    recorded = json.loads((RECORDINGS / name).read_text())["request"]["body"]["tools"]
    ours = [
        {"name": tool["name"], "description": tool["description"], "parameters": tool["input_schema"]}
        for tool in answers["tools"][:5]
    ]
    assert ours == [tool["function"] for tool in recorded]


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("user", "user_11111"),
        ("permissions", "admin"),
        ("access", "no"),
        ("experiment", "exp_004"),
        ("results", "Boiling Point: 100°C, Status: Verified"),
        ("again", "user_12345"),
    ],
)
def test_a_text_is_given_as_it_is(answers: Answers, case: str, text: str) -> None:
    assert answers[case] == ToolResult(output=text)


def test_structured_content_is_kept_beside_its_text(answers: Answers) -> None:
    assert answers["structured"].results == [{"grams": 906, "pounds": 2}]
    assert json.loads(answers["structured"].output) == {"grams": 906, "pounds": 2}
    assert answers["structured only"] == ToolResult(output='{"answer":42}', results=[{"answer": 42}])


def test_an_image_and_a_sound_become_parts(answers: Answers) -> None:
    text, image, sound = answers["image"].content
    assert text == {"type": "input_text", "text": "A dot."}
    assert image["type"] == "input_image"
    assert image["image_url"].startswith("data:image/png;base64,iVBOR")
    assert sound == {"type": "input_file", "filename": "audio.wav", "file_data": "data:audio/wav;base64,UklGRg=="}
    assert answers["image"].output == "A dot."


def test_resources_become_texts_and_files(answers: Answers) -> None:
    link, notes, report = answers["attached"].content
    assert link["text"] == "[Resource site: https://example.com/ (A site)]"
    assert notes["text"] == "Some notes."
    assert report["filename"] == "report.pdf"


def test_a_tool_that_failed_tells_the_model_its_own_words(answers: Answers) -> None:
    assert answers["failed"] == "No such thing."


def test_arguments_that_do_not_fit_are_never_sent(answers: Answers) -> None:
    assert answers["wrong"] == 'weigh was not run: its arguments are wrong. "many" is not of type "integer"'


def test_an_unknown_tool_is_answered_with_those_there_are(answers: Answers) -> None:
    assert answers["unknown"].startswith("The MCP server 'lab' has no tool 'weight'. It has: get_user_id, ")


def test_the_idempotency_key_goes_with_the_call(answers: Answers) -> None:
    received = json.loads(answers["received"].output)
    assert received["meta"]["antiphon/idempotencyKey"] == "resp_1/received"
    assert received["headers"].get("x-tenant") in ("blue", None)


def test_a_result_beyond_the_limit_is_cut_and_says_so(answers: Answers) -> None:
    output = answers["beyond"].output
    assert output.startswith("é" * 250_000 + "\n[Cut here: the result has 600,000 bytes, and the limit is 500,000.")


def test_what_may_be_repeated_is_what_the_server_calls_harmless(answers: Answers) -> None:
    assert answers["repeatable"] == ["weigh"]


def test_headers_are_sent_with_each_request() -> None:
    with mcp_server.serving("http") as (url, gate):
        gate.token = "token-of-alice"

        async def received() -> Any:
            async with MCPServer(url=url, authorization="token-of-alice", headers={"x-tenant": "blue"}) as server:
                return json.loads((await server.call("received", "", idempotency_key="k")).output)

        assert asyncio.run(received())["headers"]["x-tenant"] == "blue"
