"""An agent that asks others: each has a model, instructions and limits of its own. The models are scripts."""

from __future__ import annotations

from antiphon import Agent, Model, Price
from antiphon.testing import ScriptedProvider, text_turn, tool_turn


def main() -> None:
    """Let an editor ask a researcher and a translator at the same time."""
    small = Model(
        "small",
        provider=ScriptedProvider(text_turn("Florence lies on the Arno.")),
        price=Price(input_usd_per_1m=1.0, output_usd_per_1m=2.0),
    )
    other = Model(
        "other",
        provider=ScriptedProvider(text_turn("Firenze")),
        price=Price(input_usd_per_1m=1.0, output_usd_per_1m=2.0),
    )
    research = Agent(small, instructions="Answer from what you know.", limits={"max_turns": 3})
    translate = Agent(other, instructions="Translate into Italian.")
    script = ScriptedProvider(
        tool_turn(("c1", "research", '{"task": "Where is it?"}'), ("c2", "translate", '{"task": "Florence"}')),
        text_turn("Firenze lies on the Arno.", turn=1),
    )
    editor = Agent(
        Model("big", provider=script, price=Price(input_usd_per_1m=10.0, output_usd_per_1m=20.0)),
        tools=[
            research.as_tool("research", "Finds things out."),
            translate.as_tool("translate", "Translates into Italian."),
        ],
    )
    result = editor.run_sync("One sentence about Florence, with its Italian name.")
    print(result.output)
    print({model: usage.total_tokens for model, usage in result.usage_by_model.items()})
    print(f"{result.cost_usd:.6f} dollars")


if __name__ == "__main__":
    main()
