"""The main job, live: the openai SDK's Responses API over a model that only speaks Chat Completions.

Two recorded conversations are replayed by a real `antiphon serve`; the client is the real SDK, its tools run here.
Nothing needs a key, a model or a network.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from openai import OpenAI
from rich.console import Console

RECORDINGS = Path(__file__).parent / "recordings"


class Conversation(NamedTuple):
    """One recorded conversation and the client that has it again."""

    title: str
    recording: str
    model: str
    instructions: str
    question: str
    tools: dict[str, Callable[..., object]]
    schemas: list[dict[str, Any]]


def schema(name: str, description: str, **parameters: tuple[str, str]) -> dict[str, Any]:
    """A function tool as the Responses API takes it; each parameter is (type, description)."""
    properties = {key: {"type": kind, "description": text} for key, (kind, text) in parameters.items()}
    return {
        "type": "function",
        "name": name,
        "description": description,
        "strict": False,
        "parameters": {"type": "object", "properties": properties, "required": list(parameters)},
    }


NUMBERS = {"a": ("integer", "first number"), "b": ("integer", "second number")}

CONVERSATIONS = [
    Conversation(
        title="Two parallel tool calls (OpenAI gpt-4o-mini)",
        recording="multi_tool_streaming.yaml",
        model="gpt-4o-mini",
        instructions="You are a helpful assistant. Always use both add and multiply at the same time.",
        question="Add and multiply the number 2 and 3",
        tools={"add": lambda a, b: a + b, "multiply": lambda a, b: a * b},
        schemas=[
            schema("add", "Add two numbers", **NUMBERS),
            schema("multiply", "Multiply two numbers", **NUMBERS),
        ],
    ),
    Conversation(
        title="Reasoning and a tool (llama.cpp, gpt-oss-20b)",
        recording="from_diff/Common_tool_streaming.yaml",
        model="openai/gpt-oss-20b",
        instructions="You are a helpful assistant",
        question="What's the weather in Florence,Italy?",
        tools={"weather": lambda location: "40 C"},
        schemas=[schema("weather", "Get weather information for a location", location=("string", "the city"))],
    ),
]


INDENT = 12  # columns of the label before what is said


class Server(NamedTuple):
    """A running `antiphon serve`: where it listens, and what it has printed so far."""

    base_url: str
    output: Path

    def differences(self) -> list[str]:
        """What the replay found to differ from the recorded requests."""
        lines = self.output.read_text().splitlines()
        return [line.removeprefix("replay: ") for line in lines if line.startswith("replay: ")]


@contextlib.contextmanager
def serve(recording: Path, chunk_delay_ms: int) -> Iterator[Server]:
    """Run `antiphon serve --replay` on a free port until the block ends."""
    with tempfile.TemporaryDirectory(prefix="antiphon-demo-") as directory:
        output = Path(directory) / "server.log"
        command = [sys.executable, "-m", "antiphon", "serve", "--replay", str(recording), "--match", "order"]
        command += ["--port", "0", "--data-dir", f"{directory}/data", "--chunk-delay-ms", str(chunk_delay_ms)]
        with output.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=directory)
        try:
            yield Server(f"{wait_until_ready(process, output)}/v1", output)
        finally:
            process.terminate()
            process.wait(timeout=10)


def wait_until_ready(process: subprocess.Popen[bytes], output: Path) -> str:
    """The server's URL, as soon as it has printed it."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for word in output.read_text().split():
            if word.startswith("http://127.0.0.1:"):
                return word.rstrip("/.,")
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise SystemExit(f"The server did not start:\n{output.read_text()}")


class Screen:
    """Shows the events of a stream as they come."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._part = ""
        self._column = 0

    def _begin(self, part: str, label: str, style: str) -> None:
        if self._part != part:
            self.end()
            self._console.print(f"  [{style}]{label:<9}[/] ", end="", highlight=False)
            self._part, self._column = part, INDENT

    def end(self) -> None:
        """Finish the line that is being written."""
        if self._part:
            self._console.print()
        self._part = ""

    def show(self, event: Any) -> None:
        """Show one event of the SDK's stream."""
        match event.type:
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                self._begin("reasoning", "thinks", "magenta")
                self._write(event.delta, "dim italic")
            case "response.output_item.added" if event.item.type == "function_call":
                self._begin(event.item.id, "calls", "cyan")
                self._write(f"{event.item.name} ", "bold")
            case "response.function_call_arguments.delta":
                self._write(event.delta, "cyan")
            case "response.output_text.delta":
                self._begin("text", "says", "green")
                self._write(event.delta, "")
            case _:
                pass

    def _write(self, text: str, style: str) -> None:
        for word in re.findall(r"\s*\S+|\s+", text):
            if self._column + len(word) > self._console.width and word[0] == " ":
                self._console.print()
                self._column, word = INDENT, word.lstrip().rjust(INDENT + len(word.lstrip()))
            self._console.print(word, end="", style=style, markup=False, highlight=False, soft_wrap=True)
            self._column += len(word.lstrip() if self._column == INDENT else word)

    def result(self, name: str, value: object) -> None:
        """Show what a tool of ours answered."""
        self.end()
        self._console.print(f"  [yellow]{'tool':<9}[/] {name} -> {value}", highlight=False)


def hold(client: OpenAI, talk: Conversation, screen: Screen) -> dict[str, int]:
    """Have one conversation: ask, run the tools the model calls, come back with their outputs, until it only speaks."""
    asked: Any = talk.question
    previous: str | None = None
    counts = {"responses": 0, "events": 0, "tokens": 0}
    while True:
        settings: dict[str, Any] = {"previous_response_id": previous} if previous else {}
        with client.responses.stream(
            model=talk.model,
            instructions=talk.instructions,
            input=asked,
            tools=talk.schemas,  # type: ignore[arg-type]
            tool_choice="auto",
            max_output_tokens=4000,
            **settings,
        ) as stream:
            for event in stream:
                screen.show(event)
                counts["events"] += 1
            response = stream.get_final_response()
        counts["responses"] += 1
        counts["tokens"] += response.usage.total_tokens if response.usage else 0
        previous = response.id
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            screen.end()
            return counts
        asked = []
        for call in calls:
            value = talk.tools[call.name](**json.loads(call.arguments))
            screen.result(call.name, value)
            asked.append({"type": "function_call_output", "call_id": call.call_id, "output": str(value)})


def report(console: Console, counts: dict[str, int], differences: list[str]) -> None:
    """Show what it came to, and how today's requests differ from the recorded ones."""
    summary = ", ".join(f"{count} {what}" for what, count in counts.items())
    what = "differ from the recorded ones in:" if differences else "are the recorded ones, to the letter."
    lines = [summary, f"Today's requests {what}", *(f"  {difference}" for difference in differences)]
    for line in lines:
        console.print(f"   {line}", style="dim", highlight=False, markup=False, soft_wrap=True)


def main() -> None:
    """Show both conversations, then how to go live."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--fast", action="store_true", help="do not pause between the recorded chunks")
    parser.add_argument("--svg", metavar="FILE", help="also draw what the terminal showed (docs/demo.svg is made so)")
    options = parser.parse_args()
    console = Console(record=True, force_terminal=True, width=80) if options.svg else Console()
    for number, talk in enumerate(CONVERSATIONS, 1):
        console.print(f"\n[bold]{number}. {talk.title}[/]", highlight=False)
        console.print(f"   [dim]upstream: {talk.recording}, replayed in order[/]", highlight=False)
        console.print(f"  [blue]{'you':<9}[/] {talk.question}", highlight=False)
        with serve(RECORDINGS / talk.recording, 0 if options.fast else 25) as server:
            client = OpenAI(base_url=server.base_url, api_key="none-needed", max_retries=0)
            counts = hold(client, talk, Screen(console))
            differences = server.differences()
        report(console, counts, differences)
    console.print("\n[bold]Now with a model of yours, and any client:[/]")
    console.print("   .venv/bin/antiphon serve --upstream http://localhost:8080/v1", highlight=False)
    console.print("   # any chat-completions URL; --api-key-env NAME if it wants a key")
    console.print("   OPENAI_BASE_URL=http://127.0.0.1:8484/v1 python your_client.py", highlight=False)
    if options.svg:
        console.save_svg(options.svg, title="scripts/demo")


if __name__ == "__main__":
    main()
