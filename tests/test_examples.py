"""The examples do what they say, without a key and without a network."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

PRINTED = {
    "agent_tools": ["The current temperature in Florence, Italy, is **40 °C**.", "423 tokens in 1 call"],
    "agent_stream": [
        *("calls add", "calls multiply", "  -> 5", "  -> 6"),
        "The sum of 2 and 3 is 5, and the product of 2 and 3 is 6.",
        "completed",
    ],
    "agent_output": ["Person(name='Ada Lovelace', age=36)", "asked 2 times"],
    "agent_approval": ["You may have one. {'lamp': 2}", "Here you are. {'lamp': 1}"],
}


@pytest.mark.parametrize("name", PRINTED)
def test_an_example_prints_what_it_shows(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py"], capture_output=True, text=True, check=True
    )
    assert (done.stdout.splitlines(), done.stderr) == (PRINTED[name], "")


def test_every_example_of_an_agent_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("agent_*.py")} == set(PRINTED)
