"""What ``import antiphon`` offers, and that it costs nothing until it is used."""

import subprocess
import sys

import pytest

import antiphon


def test_the_public_names_are_these() -> None:
    assert antiphon.__all__ == [
        *("Agent", "Approval", "Decision", "FunctionTool", "Limits", "MCPServer", "Model", "Price", "RunFailed"),
        *("RunResult", "RunStream", "Step", "StopRun", "ToolContext", "ToolError", "ToolResult", "Upstream"),
        *("VectorStore", "file", "image", "models", "stop_after", "tool"),
    ]
    assert all(getattr(antiphon, name).__name__ == name for name in antiphon.__all__)
    assert set(antiphon.__all__) <= set(dir(antiphon))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Agnet'"):
        _ = antiphon.Agnet


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import antiphon", ["asyncio", "msgspec"]),
        ("from antiphon import Agent", ["aiohttp", "jsonschema_rs", "starlette", "yaml"]),
        ("from antiphon import MCPServer; MCPServer(command='x')", ["httpx2", "jsonschema_rs", "mcp", "pydantic"]),
    ],
)
def test_what_is_not_used_is_not_imported(code: str, absent: list[str]) -> None:
    script = f"import sys; {code}; print(*(name for name in {absent} if name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
