"""An answer with a type, watched while it grows. The model is a script."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from antiphon import Agent
from antiphon.testing import ScriptedProvider, text_turn


@dataclass
class Recipe:
    """Something to cook."""

    title: str
    steps: list[str]


async def main() -> None:
    """Show a recipe as the model writes it."""
    script = ScriptedProvider(text_turn('{"title": "Porr', 'idge", "steps": ["Soak the', ' oats.", "Cook', '."]}'))
    agent = Agent("scripted", provider=script, output_type=Recipe)
    stream = agent.stream("A quick breakfast?")
    async for so_far in stream.partial():
        print(so_far)
    print(stream.result.output)


if __name__ == "__main__":
    asyncio.run(main())
