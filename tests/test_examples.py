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
    "agent_partial": [
        "{'title': 'Porr'}",
        "{'title': 'Porridge', 'steps': ['Soak the']}",
        "{'title': 'Porridge', 'steps': ['Soak the oats.', 'Cook']}",
        "{'title': 'Porridge', 'steps': ['Soak the oats.', 'Cook.']}",
        "Recipe(title='Porridge', steps=['Soak the oats.', 'Cook.'])",
    ],
    "agent_sub_agents": [
        "Firenze lies on the Arno.",
        "{'big': 23, 'small': 11, 'other': 11}",
        "0.000284 dollars",
    ],
    "agent_hooks": [
        "turn 0: big may call ['look_up']",
        "turn 1: big may call ['look_up']",
        "She works here. ['big', 'small']",
        "refused: A password was in the input.",
    ],
    "agent_limits": [
        "incomplete max_turns after 3 calls",
        "incomplete max_repeats after 4 calls",
        "completed stopped after 2 calls",
        "42",
    ],
    "agent_cancel": [
        "cancelled",
        "function_call ",
        "function_call_output This call has no result: the run was ended before there was one.",
        "Very well, I let it be.",
    ],
    "agent_fallback": [
        "Here I am. ['one', 'two']",
        "Back again. after 20 s or a little more",
    ],
    "agent_images": [
        "Both are grey.",
        "message ['input_text', 'input_image']",
        "function_call []",
        "function_call_output ['input_text', 'input_image']",
    ],
    "agent_sync": [
        "Once upon a time.",
        "3 tokens",
        "['answer 0', 'answer 1', 'answer 2']",
    ],
    "agent_context": [
        "Noted, Ada. {'colour': 'green'}",
        "You speak with Ada.",
        "['key', 'value']",
    ],
    "agent_approval_later": [
        "completed [('pay', '{\"amount\": 1000}')]",
        "It was 10 in the end.",
        "paid 10",
    ],
    "agent_mcp": [
        'waits: people move {"name": "Ada", "desk": "1.41"}',
        "find_desk -> 3.14",
        "move -> Ada now works at desk 1.41.",
        "Ada has moved from desk 3.14 to desk 1.41.",
    ],
    "agent_files": [
        "At eighty degrees.",
        "['how hot is green tea']",
        "tea.md after 'At eighty degrees'",
    ],
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
