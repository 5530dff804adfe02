"""An agent without async: a stream in a plain loop, and runs in threads. The models are scripts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from antiphon import Agent
from antiphon.events import TextDelta
from antiphon.testing import ScriptedProvider, text_turn


def answer(number: int) -> str:
    """Ask an agent of one's own."""
    return Agent("scripted", provider=ScriptedProvider(text_turn(f"answer {number}"))).run_sync("?").output


def main() -> None:
    """Stream an answer, then ask three questions side by side."""
    agent = Agent("scripted", provider=ScriptedProvider(text_turn("Once ", "upon ", "a time.")))
    with agent.stream_sync("Tell me a story.") as stream:
        for event in stream:
            if isinstance(event, TextDelta):
                print(event.text, end="", flush=True)
    print(f"\n{stream.result.usage.output_tokens} tokens")
    with ThreadPoolExecutor() as pool:
        print(list(pool.map(answer, range(3))))


if __name__ == "__main__":
    main()
