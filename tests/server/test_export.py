"""`antiphon export`: a stored response becomes a cassette, and a test that fails until the behaviour changes."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from asgi_client import ask
from click.testing import CliRunner, Result
from proxied import upstream as served

from antiphon.agent.acting import Tool
from antiphon.agent.effects import ToolCall
from antiphon.cassettes import read
from antiphon.cli import main
from antiphon.config import load_settings
from antiphon.server.exporting import gather
from antiphon.server.wiring import open_app
from antiphon.testing import respond, said

pytest_plugins = ["pytester"]

WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Change files."}


class Upstream:
    """A chat-completions endpoint: the n-th call is answered by the n-th list of deltas; it keeps what it was asked."""

    def __init__(self, *answers: list[dict[str, Any]], cuts: bool = False) -> None:
        self.answers = list(answers)
        self.cuts = cuts
        self.asked: list[dict[str, Any]] = []

    async def handle(self, request: Any) -> Any:
        self.asked.append(json.loads(await request.read()))
        deltas = self.answers[len(self.asked) - 1]
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        reason = "tool_calls" if any("tool_calls" in each for each in deltas) else "stop"
        for delta, finish in [*((each, None) for each in deltas), ({}, reason)]:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m-1", "choices": [choice]}
            if finish and self.cuts:
                return response
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


def serve(
    data_dir: Path,
    upstream: Upstream,
    *requests: dict[str, Any],
    record: Path | None = None,
    tools: dict[str, Tool] | None = None,
) -> list[Any]:
    """The responses of a server to these requests; ``{previous}`` is the id of the one before."""
    data_dir.mkdir(exist_ok=True)
    nothing = data_dir / "nothing.toml"
    nothing.touch()

    async def main() -> list[Any]:
        answers: list[Any] = []
        async with served(upstream.handle) as url:
            flags = {"upstream": f"{url}/v1", "data_dir": str(data_dir), "record": str(record) if record else None}
            async with open_app(load_settings(flags, {}, nothing), tools=tools) as app:
                for request in requests:
                    if request.get("previous_response_id") == "{previous}":
                        request = {**request, "previous_response_id": answers[-1]["id"]}
                    answers.append((await ask(app, "POST", "/v1/responses", request)).json)
        return answers

    return asyncio.run(main())


def export(data_dir: Path, response_id: str, target: Path, *options: str) -> Result:
    clean = {name: None for name in os.environ if name.startswith("ANTIPHON_")}
    arguments = ["export", response_id, "-o", str(target), "--data-dir", str(data_dir), *options]
    return CliRunner().invoke(main, arguments, env=clean)


TEXT = [{"role": "assistant", "content": ""}, {"content": "It is "}, {"content": "always sunny."}]
CALL = [{"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}]}]
PATCHED = [
    {
        "tool_calls": [
            {"index": 0, "id": "call_2", "function": {"name": "apply_patch", "arguments": '{"input":"*** x"}'}}
        ]
    }
]
CASES = {
    "text": ([TEXT], {"input": "Weather?"}),
    "call": ([CALL], {"input": "Weather in Rome?", "tools": [WEATHER], "tool_choice": "required"}),
    "freeform": ([PATCHED], {"input": "Mend it", "tools": [PATCH], "instructions": "Be quick."}),
    "reasoning": ([[{"reasoning_content": "hm"}, *TEXT]], {"input": [{"role": "user", "content": "Why?"}]}),
}


@pytest.mark.parametrize("is_recorded", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_stored_response_becomes_a_cassette_that_gives_it_again(tmp_path: Path, case: str, is_recorded: bool) -> None:
    answers, request = CASES[case]
    record = tmp_path / "all.jsonl" if is_recorded else None
    (response,) = serve(tmp_path / "data", Upstream(*answers), {"model": "m", **request}, record=record)
    target = tmp_path / "bad.jsonl"
    result = export(
        tmp_path / "data", response["id"], target, "--pytest", *(["--recording", str(record)] if record else [])
    )
    assert result.exit_code == 0, result.output
    (interaction,) = read(target)
    assert interaction.fidelity == ("wire" if is_recorded else "parsed")
    assert ("written anew" in result.output) is not is_recorded
    asked = json.loads(interaction.request.body)  # type: ignore[union-attr]
    again = respond({"model": "m", **request}, target)
    assert said(again) == said(response) != []
    assert asked["model"] == "m"


def test_what_is_written_anew_asks_what_was_asked(tmp_path: Path) -> None:
    upstream = Upstream(*CASES["freeform"][0])
    (response,) = serve(tmp_path / "data", upstream, {"model": "m", **CASES["freeform"][1]})
    assert export(tmp_path / "data", response["id"], tmp_path / "c.jsonl").exit_code == 0
    (interaction,) = read(tmp_path / "c.jsonl")
    assert json.loads(interaction.request.body) == upstream.asked[0]  # type: ignore[union-attr]


def test_the_test_fails_as_it_is_and_passes_when_the_behaviour_changes(
    tmp_path: Path, pytester: pytest.Pytester
) -> None:
    (response,) = serve(tmp_path / "data", Upstream(TEXT), {"model": "m", "input": "Weather?"})
    target = pytester.path / "bad-run.jsonl"
    assert export(tmp_path / "data", response["id"], target, "--pytest").exit_code == 0
    test = pytester.path / "test_bad_run.py"
    failed = pytester.runpytest_subprocess(test, "-p", "no:cacheprovider")
    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(["*assert *always sunny*"])
    target.write_bytes(target.read_bytes().replace(b"always sunny", b"raining today"))
    pytester.runpytest_subprocess(test, "-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_a_chain_is_exported_with_what_came_before(tmp_path: Path, pytester: pytest.Pytester) -> None:
    requests = (
        {"model": "m", "input": "Weather in Rome?", "tools": [WEATHER]},
        {
            "model": "m",
            "previous_response_id": "{previous}",
            "tools": [WEATHER],
            "input": [{"type": "function_call_output", "call_id": "call_1", "output": "40 C"}],
        },
    )
    upstream = Upstream(CALL, TEXT)
    _, response = serve(tmp_path / "data", upstream, *requests)
    target = pytester.path / "chain.jsonl"
    result = export(tmp_path / "data", response["id"], target, "--pytest")
    assert result.exit_code == 0, result.output
    (interaction,) = read(target)
    assert json.loads(interaction.request.body) == upstream.asked[1]  # type: ignore[union-attr]
    pytester.runpytest_subprocess(pytester.path / "test_chain.py").assert_outcomes(failed=1)


def test_what_the_server_did_itself_is_part_of_the_question(tmp_path: Path, pytester: pytest.Pytester) -> None:
    async def weather(_: ToolCall) -> str:
        return "40 C"

    upstream = Upstream(CALL, TEXT)
    request = {"model": "m", "input": "Weather in Rome?", "tools": [WEATHER], "tool_choice": "required"}
    (response,) = serve(tmp_path / "data", upstream, request, tools={"weather": Tool(weather)})
    target = pytester.path / "acted.jsonl"
    result = export(tmp_path / "data", response["id"], target, "--pytest")
    assert result.exit_code == 0, result.output
    first, tool, second = read(target)
    assert [json.loads(each.request.body) for each in (first, second) if each.request] == upstream.asked
    assert tool.tool is not None
    assert (tool.tool.name, tool.tool.arguments, tool.tool.result) == ("weather", {"city": "Rome"}, "40 C")
    pytester.runpytest_subprocess(pytester.path / "test_acted.py").assert_outcomes(failed=1)


def test_a_response_that_failed_fails_again(tmp_path: Path) -> None:
    cut = [{"content": "It is "}, {"content": "cut"}]
    (response,) = serve(tmp_path / "data", Upstream(cut, cuts=True), {"model": "m", "input": "Weather?"})
    assert response["status"] == "failed"
    result = export(tmp_path / "data", response["id"], tmp_path / "f.jsonl", "--pytest")
    assert result.exit_code == 0, result.output
    (interaction,) = read(tmp_path / "f.jsonl")
    assert interaction.response is not None
    assert b"[DONE]" not in interaction.response.body
    again = respond({"model": "m", "input": "Weather?"}, tmp_path / "f.jsonl")
    assert again["error"]["code"] == response["error"]["code"]


def test_secrets_are_in_neither_file(tmp_path: Path) -> None:
    secret = "sk-" + "proj-0123456789abcdefghijkl"
    answer = [{"content": f"It is {secret}."}]
    (response,) = serve(tmp_path / "data", Upstream(answer), {"model": "m", "input": f"Say {secret}"})
    result = export(tmp_path / "data", response["id"], tmp_path / "s.jsonl", "--pytest")
    assert result.exit_code == 0, result.output
    for path in (tmp_path / "s.jsonl", tmp_path / "test_s.py"):
        assert "[scrubbed:openai_key]" in path.read_text()
        assert secret not in path.read_text()


def test_a_running_server_does_not_keep_its_responses_from_being_exported(tmp_path: Path) -> None:
    (response,) = serve(tmp_path / "data", Upstream(TEXT), {"model": "m", "input": "Weather?"})

    async def main() -> None:
        settings = load_settings({"upstream": "http://127.0.0.1:9/v1", "data_dir": str(tmp_path / "data")}, {})
        async with open_app(settings):
            found = await gather(settings, "local", response["id"], None)
        assert len(found.interactions) == 1

    asyncio.run(main())


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    (response,) = serve(tmp_path / "data", Upstream(TEXT), {"model": "m", "input": "Weather?"})
    target = tmp_path / "c.jsonl"
    assert "resp_none" in export(tmp_path / "data", "resp_none", target).stderr
    assert "no database" in export(tmp_path / "else", response["id"], target).stderr
    assert export(tmp_path / "data", response["id"], target).exit_code == 0
    assert "there already" in export(tmp_path / "data", response["id"], target).stderr
    other = export(
        tmp_path / "data", response["id"], tmp_path / "d.jsonl", "--recording", str(target), "--owner", "ada"
    )
    assert other.exit_code == 1
