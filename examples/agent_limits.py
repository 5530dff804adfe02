"""Runs that end early: by a limit, in a circle, by a condition, by a tool. The models are scripts."""

from __future__ import annotations

from antiphon import Agent, StopRun, stop_after
from antiphon.testing import ScriptedProvider, tool_turn


def look(page: int) -> str:
    """Look at a page."""
    return f"page {page} is empty"


def submit(answer: str) -> StopRun[str]:
    """Hand in the answer."""
    return StopRun(answer)


def pages(*numbers: int) -> ScriptedProvider:
    """A model that looks at these pages, one after the other."""
    turns = [tool_turn((f"c{turn}", "look", f'{{"page": {page}}}'), turn=turn) for turn, page in enumerate(numbers)]
    return ScriptedProvider(*turns)


def main() -> None:
    """Show why each run ended."""
    limited = Agent("scripted", provider=pages(*range(9)), tools=[look], limits={"max_turns": 3})
    circle = Agent("scripted", provider=pages(*[7] * 9), tools=[look], limits={"max_repeats": 4})
    enough = Agent("scripted", provider=pages(*range(9)), tools=[look], stop_when=stop_after(calls=2))
    for agent in (limited, circle, enough):
        result = agent.run_sync("Find the picture.")
        calls = sum(item["type"] == "function_call" for item in result.items)
        print(result.status, result.reason, f"after {calls} calls")
    done = Agent("scripted", provider=ScriptedProvider(tool_turn(("c1", "submit", '{"answer": "42"}'))), tools=[submit])
    print(done.run_sync("What is the answer?").output)


if __name__ == "__main__":
    main()
