"""Files that an agent searches and cites. The model is a script; the search is real."""

from __future__ import annotations

import asyncio
import tempfile

from antiphon import Agent, VectorStore
from antiphon.testing import ScriptedProvider, text_turn, tool_turn

TEA = b"# Tea\n\nGreen tea is steeped at eighty degrees, black tea at a hundred.\n"
COFFEE = b"# Coffee\n\nEspresso is brewed under nine bars of pressure.\n"


async def main() -> None:
    """Index two files, let the model search them, and show what it cites."""
    with tempfile.TemporaryDirectory() as directory:
        async with VectorStore(directory) as files:  # embeddings="openai/text-embedding-3-small" searches by meaning
            tea = await files.add(TEA, name="tea.md")
            await files.add(COFFEE, name="coffee.md")
            script = ScriptedProvider(
                tool_turn(("c1", "file_search", '{"query": "how hot is green tea"}'), kind="file_search"),
                text_turn("At eighty degrees ", f"<|{tea}|>", ".", turn=1),
            )
            result = await Agent("scripted", provider=script, tools=[files]).run("How hot is green tea?")
    print(result.output)
    search, message = result.items
    print(search["queries"])
    for annotation in message["content"][0]["annotations"]:
        print(annotation["filename"], "after", repr(result.output[: annotation["index"]]))


if __name__ == "__main__":
    asyncio.run(main())
