"""What tools work on: given to the run, seen by tools and hooks, never by the model. The model is a script."""

from __future__ import annotations

from dataclasses import dataclass, field

from antiphon import Agent, Step, ToolContext
from antiphon.testing import ScriptedProvider, text_turn, tool_turn


@dataclass
class Session:
    """One user's session."""

    user: str
    notes: dict[str, str] = field(default_factory=dict)


def remember(context: ToolContext[Session], key: str, value: str) -> str:
    """Write something down."""
    notes = context.deps.notes
    if context.idempotency_key not in notes:  # a call that is run again after a crash does nothing new
        notes[key] = value
    return "noted"


def greet(step: Step) -> None:
    """Tell the model whom it speaks with."""
    step.instructions = f"You speak with {step.deps.user}."


def main() -> None:
    """Let the model note something for a user."""
    script = ScriptedProvider(
        tool_turn(("c1", "remember", '{"key": "colour", "value": "green"}')), text_turn("Noted, Ada.", turn=1)
    )
    session = Session("Ada")
    agent = Agent("scripted", provider=script, tools=[remember], before_step=greet)
    print(agent.run_sync("My colour is green.", deps=session).output, session.notes)
    print(script.calls[0].request.instructions)  # type: ignore[union-attr]
    print([*agent.tools["remember"].parameters["properties"]])


if __name__ == "__main__":
    main()
