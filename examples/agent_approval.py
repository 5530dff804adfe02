"""A call that needs somebody's approval, the user's own things in a tool, and a conversation that goes on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from antiphon import Agent, ToolContext, tool
from antiphon.agent.effects import ToolCall
from antiphon.testing import ScriptedProvider, text_turn, tool_turn


@dataclass
class Shop:
    """What the tools of this example work on."""

    stock: dict[str, int] = field(default_factory=lambda: {"lamp": 2})


@tool(needs_approval=True)
async def sell(context: ToolContext[Shop], article: str, count: int = 1) -> str:
    """Sell an article.

    Args:
        article: its name
        count: how many
    """
    context.deps.stock[article] -= count
    return f"sold; {context.deps.stock[article]} left"


async def approve(call: ToolCall) -> bool | str:
    """Agree to small sales only; the model is told why not."""
    return True if '"count": 1' in call.arguments else "No more than one for each customer."


async def main() -> None:
    """Sell one lamp, and not two."""
    script = ScriptedProvider(
        tool_turn(("c1", "sell", '{"article": "lamp", "count": 2}')),
        text_turn("You may have one.", turn=1),
        tool_turn(("c2", "sell", '{"article": "lamp", "count": 1}')),
        text_turn("Here you are.", turn=1),
    )
    shop = Shop()
    agent = Agent("scripted", provider=script, tools=[sell], approve=approve)
    first = await agent.run("Two lamps, please.", deps=shop)
    print(first.text, shop.stock)
    second = await agent.run("One, then.", history=first.history, deps=shop)
    print(second.text, shop.stock)


if __name__ == "__main__":
    asyncio.run(main())
