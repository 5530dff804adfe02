"""A hook before each model call: a guard on what goes in, and another model for the easy part. All from scripts."""

from __future__ import annotations

from antiphon import Agent, RunFailed, Step
from antiphon.testing import ScriptedProvider, text_turn, tool_turn


class Secret(Exception):
    """Somebody gave away what must not leave the house."""


def look_up(name: str) -> str:
    """Look somebody up."""
    return f"{name} works here."


def before_step(step: Step) -> None:
    """Let no password pass; tell the model in its last turn to come to an end."""
    if "password" in str(step.items):
        raise Secret("A password was in the input.")
    print(f"turn {step.turn}: {step.model} may call {step.tools or 'nothing'}")
    if step.called:
        step.model, step.tools = "small", []
        step.instructions = "Answer in one sentence."


def main() -> None:
    """Ask a harmless question, and one that is none."""
    script = ScriptedProvider(tool_turn(("c1", "look_up", '{"name": "Ada"}')), text_turn("She works here.", turn=1))
    agent = Agent("big", provider=script, tools=[look_up], before_step=before_step)
    print(agent.run_sync("Who is Ada?").output, [call.model for call in script.calls])
    try:
        agent.run_sync("My password is 1234.")
    except RunFailed as failed:
        print(f"refused: {failed.__cause__}")


if __name__ == "__main__":
    main()
