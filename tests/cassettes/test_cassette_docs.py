"""The contract of the file is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from antiphon.cassettes import Chunk, read

PAGE = (Path(__file__).parents[2] / "docs" / "cassettes.md").read_text()


def block(language: str) -> str:
    match = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert match is not None
    return match[1]


def test_the_example_is_a_cassette(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(block("jsonl"))
    http, tool = read(path)
    assert http.response is not None
    assert http.response.chunks[1] == Chunk(517.7, b"data: [DONE]\n\n")
    assert tool.tool is not None
    assert tool.tool.arguments == {"city": "Rome"}


def test_the_python_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.jsonl").write_text("\n".join(block("jsonl").splitlines()[:2]))
    exec(compile(block("python"), "docs/cassettes.md", "exec"), {})
    assert capsys.readouterr().out == "http 200\n"
