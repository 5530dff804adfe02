"""An image to look at, and a tool that gives one. The model is a script."""

from __future__ import annotations

import base64
from typing import Any

from antiphon import Agent, image
from antiphon.testing import ScriptedProvider, text_turn, tool_turn

# One grey pixel.
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")


def screenshot(page: str) -> list[Any]:
    """Take a picture of a page."""
    return [f"This is {page}:", image(PIXEL)]


def main() -> None:
    """Ask about a picture, and let the model take another one."""
    script = ScriptedProvider(
        tool_turn(("c1", "screenshot", '{"page": "home"}')),
        text_turn("Both are grey.", turn=1),
    )
    agent = Agent("scripted", provider=script, tools=[screenshot])
    print(agent.run_sync(["Does it look like this?", image(PIXEL)]).output)
    for item in script.calls[-1].items:
        parts = item.get("content") or item.get("output") or []
        print(item["type"], [part["type"] for part in parts])


if __name__ == "__main__":
    main()
