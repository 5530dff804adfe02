"""A call that waits until somebody decides, tomorrow or in another process. The model is a script."""

from __future__ import annotations

import json

from antiphon import Agent, tool
from antiphon.testing import ScriptedProvider, text_turn, tool_turn


@tool(needs_approval=True)
def pay(amount: int) -> str:
    """Pay an amount."""
    return f"paid {amount}"


def main() -> None:
    """Ask for money, wait, and pay less."""
    script = ScriptedProvider(
        tool_turn(("c1", "pay", '{"amount": 1000}')),
        text_turn("It was 10 in the end.", turn=1),
    )
    agent = Agent("scripted", provider=script, tools=[pay])
    result = agent.run_sync("Pay the bill.")
    print(result.status, [(each.name, each.arguments) for each in result.approvals])
    kept = json.dumps(result.history)  # into a database, say
    decision = result.approvals[0].approve(arguments='{"amount": 10}')
    print(agent.run_sync([decision], history=json.loads(kept)).output)
    print(next(item["output"] for item in script.calls[-1].items if "output" in item))


if __name__ == "__main__":
    main()
