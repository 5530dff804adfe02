"""An answer with a type. The first one does not fit, so it is asked for again; the model is a script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from antiphon import Agent
from antiphon.testing import ScriptedProvider, text_turn


@dataclass
class Person:
    """Somebody."""

    name: str
    age: Annotated[int, Meta(ge=0, le=150)]


def main() -> None:
    """Ask for a person."""
    script = ScriptedProvider(
        text_turn('{"name": "Ada Lovelace", "age": 1815}'), text_turn('{"name": "Ada Lovelace", "age": 36}')
    )
    agent = Agent("scripted", provider=script, output_type=Person)
    person = agent.run_sync("Who wrote the first program, and how old did she get?").output
    print(person)
    print(f"asked {len(script.calls)} times")


if __name__ == "__main__":
    main()
