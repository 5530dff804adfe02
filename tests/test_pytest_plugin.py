"""The pytest plugin, run by pytest itself on small test files."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ("pytester",)

# An origin that no test can reach but through a transport of its own.
HEAD = """
import asyncio, httpx, pytest
CHAT = "https://api.example.com/v1/chat/completions"
LIVE = httpx.MockTransport(lambda request: httpx.Response(200, content=b"live " + request.content))
def ask(cassette, *bodies):
    with httpx.Client(transport=cassette.httpx_transport(LIVE)) as client:
        return [client.post(CHAT, content=body).content for body in bodies]
"""
ONE = (
    HEAD
    + """
def test_one(cassette):
    assert ask(cassette, b"1") == [b"live 1"]
"""
)


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


def run(project: pytest.Pytester, *args: str) -> pytest.RunResult:
    """In this process, which is fast; test files are imported anew each time."""
    return project.runpytest_inprocess("-q", *args)


def cassettes(project: pytest.Pytester) -> list[str]:
    return sorted(path.relative_to(project.path).as_posix() for path in project.path.rglob("*.jsonl"))


def test_a_test_is_recorded_under_its_name_and_replayed(project: pytest.Pytester) -> None:
    path = project.makepyfile(test_it=ONE)
    run(project, "--cassette-mode=record").assert_outcomes(passed=1)
    assert cassettes(project) == ["cassettes/test_it/test_one.jsonl"]
    path.write_text(path.read_text().replace('b"live "', 'b"changed "'))
    run(project).assert_outcomes(passed=1)


def test_each_case_and_method_has_a_cassette_of_its_own(project: pytest.Pytester) -> None:
    code = (
        HEAD
        + """
@pytest.mark.parametrize("path", ["a/b", "a:b", "c"])
def test_p(cassette, path): ask(cassette, path.encode())
class TestIt:
    def test_m(self, cassette): ask(cassette, b"m")
"""
    )
    project.makepyfile(test_it=code)
    run(project, "--cassette-mode=record").assert_outcomes(passed=4)
    assert len(cassettes(project)) == 4
    assert {"cassettes/test_it/TestIt.test_m.jsonl", "cassettes/test_it/test_p[c].jsonl"} < set(cassettes(project))
    run(project).assert_outcomes(passed=4)


def test_replay_is_the_default_and_a_missing_cassette_says_what_to_do(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=ONE)
    result = run(project)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no recording*test_one.jsonl*pytest 'test_it.py::test_one' --cassette-mode=auto*"])


def test_no_variable_sets_the_mode(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CASSETTE_MODE", "ANTIPHON_MODE", "ANTIPHON_CASSETTE_MODE", "ANTIPHON_RECORD"):
        monkeypatch.setenv(name, "record")
    project.makepyfile(test_it=ONE)
    run(project).assert_outcomes(errors=1)
    assert cassettes(project) == []


def test_what_was_not_asked_for_fails_a_test_that_passes(project: pytest.Pytester) -> None:
    path = project.makepyfile(test_it=HEAD + 'def test_one(cassette): ask(cassette, b"1", b"2")')
    run(project, "--cassette-mode=record").assert_outcomes(passed=1)
    path.write_text(HEAD + 'def test_one(cassette): ask(cassette, b"1")')
    result = run(project)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*1 recorded interactions were never asked for: POST*"])
    path.write_text(HEAD + '@pytest.mark.cassette(allow_unplayed=True)\ndef test_one(cassette): ask(cassette, b"1")')
    run(project).assert_outcomes(passed=1)


def test_a_test_that_fails_is_not_told_of_what_was_left(project: pytest.Pytester) -> None:
    path = project.makepyfile(test_it=ONE)
    run(project, "--cassette-mode=record")
    path.write_text(HEAD + "def test_one(cassette): assert 1 == 2")
    run(project).assert_outcomes(failed=1)


def test_a_miss_that_was_hidden_fails(project: pytest.Pytester) -> None:
    path = project.makepyfile(test_it=ONE)
    run(project, "--cassette-mode=record")
    hidden = "\n    try: ask(cassette, b'other')\n    except Exception: pass\n    ask(cassette, b'1')"
    path.write_text(HEAD + f"def test_one(cassette):{hidden}")
    result = run(project)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(['*The nearest, interaction 0, differs at*recorded 1, sent "other"*'])


def test_the_marker_names_a_file_and_options(project: pytest.Pytester) -> None:
    code = (
        HEAD
        + """
@pytest.mark.cassette("tapes/shared.jsonl", volatile=["$.run"], mode="record")
def test_one(cassette): ask(cassette, b'{"run":1}')
@pytest.mark.cassette("tapes/shared.jsonl", volatile=["$.run"])
def test_two(cassette): ask(cassette, b'{"run":2}')
"""
    )
    project.makepyfile(test_it=code)
    run(project).assert_outcomes(passed=2)
    assert cassettes(project) == ["tapes/shared.jsonl"]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("@pytest.mark.cassette\ndef test_one(): pass", "*marked with a cassette and does not use it*"),
        ("@pytest.mark.cassette(matches=1)\ndef test_one(cassette): pass", "*takes a file and mode*not matches*"),
    ],
)
def test_a_wrong_marker_is_told(project: pytest.Pytester, code: str, says: str) -> None:
    project.makepyfile(test_it=HEAD + code)
    result = run(project)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([says])


ASYNC = (
    HEAD
    + """
async def ask_async(cassette, body):
    async with httpx.AsyncClient(transport=cassette.httpx_transport(LIVE)) as client:
        return (await client.post(CHAT, content=body)).content
def test_run(cassette):
    assert asyncio.run(ask_async(cassette, b"1")) == b"live 1"
@pytest.mark.asyncio
async def test_asyncio(cassette):
    assert await ask_async(cassette, b"2") == b"live 2"
@pytest.mark.anyio
async def test_anyio(cassette):
    assert await ask_async(cassette, b"3") == b"live 3"
@pytest.fixture
def anyio_backend(): return "asyncio"
"""
)


def test_async_tests_use_it_alone_and_under_xdist(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=ASYNC)
    run(project, "--cassette-mode=record").assert_outcomes(passed=3)
    run(project).assert_outcomes(passed=3)
    run(project, "--cassette-orphans", "-n", "2").assert_outcomes(passed=4)


def test_orphans_fail_the_run_that_asks_for_them(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=ONE)
    run(project, "--cassette-mode=record")
    for name in ("test_it/test_gone", "test_gone/test_one"):
        path = project.path / "cassettes" / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    run(project).assert_outcomes(passed=1)
    result = run(project, "--cassette-orphans")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["2 cassettes belong to no test*", "*test_gone*test_one.jsonl", "*test_it*test_gone*"])
    assert run(project, "--cassette-orphans", "test_it.py::test_one").ret == pytest.ExitCode.USAGE_ERROR


def test_a_tool_that_diverges_fails(project: pytest.Pytester) -> None:
    path = project.makepyfile(test_it="def test_one(cassette): cassette.tool(lambda: 1, name='f', live=True)()")
    run(project, "--cassette-mode=record").assert_outcomes(passed=1)
    path.write_text(path.read_text().replace("lambda: 1", "lambda: 2"))
    result = run(project)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*f({}) gave something else live*recorded 1, sent 2*"])


def test_refreshing_tells_what_drifted(project: pytest.Pytester) -> None:
    path = project.makepyfile(test_it=HEAD + 'def test_one(cassette): ask(cassette, b"1")')
    run(project, "--cassette-mode=record")
    path.write_text(path.read_text().replace('b"live "', 'b"changed "'))
    run(project, "--cassette-mode=refresh", "-rA").stdout.fnmatch_lines(["*refresh: interaction 0*has other words*"])


def test_loading_the_plugin_imports_nothing_else_of_the_package() -> None:
    import subprocess
    import sys

    code = "import sys, antiphon.pytest_plugin; print(*sorted(n for n in sys.modules if n.startswith('antiphon')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["antiphon", "antiphon.pytest_plugin"]


def test_the_plugin_is_an_entry_point() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert '[project.entry-points.pytest11]\nantiphon = "antiphon.pytest_plugin"' in text
