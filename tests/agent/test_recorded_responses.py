"""Recorded conversations with OpenAI and Azure over the Responses API, gone through by an agent of ours."""

from pathlib import Path
from typing import Annotated, Any

import pytest

from antiphon import Agent, tool
from antiphon.cassettes import Difference, Interaction, Player, read
from antiphon.events import ReasoningFinished
from antiphon.providers.responses import ResponsesProvider

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "fantasy" / "providertests" / "testdata"
FILES = [
    path.relative_to(CORPUS).as_posix()
    for folder in ("TestOpenAIResponsesCommon", "TestAzureResponsesCommon", "TestAzureResponsesWithSummaryThinking")
    for path in sorted((CORPUS / folder).rglob("*.yaml"))
]
OBJECTS = [
    path.relative_to(CORPUS).as_posix()
    for path in sorted((CORPUS / "TestOpenAIResponsesObjectGeneration").rglob("simple_object*.yaml"))
]
pytestmark = pytest.mark.skipif(not FILES, reason=f"no recordings at {CORPUS}")

SAID = {"simple": "Say hi in Portuguese", "multi_tool": "Add and multiply the number 2 and 3"}
# What their client did otherwise: instructions were a message, there was a limit, and no reasoning went back.
KNOWN = ("$.input", "$.instructions", "$.include", "$.stream", "$.max_output_tokens", "$.reasoning", "$.tool_choice")


@tool
def weather(location: Annotated[str, "the city"]) -> str:
    """Get weather information for a location"""
    return "40 C"


@tool
def add(a: Annotated[int, "first number"], b: Annotated[int, "second number"]) -> int:
    """Add two numbers"""
    return a + b


@tool
def multiply(a: Annotated[int, "first number"], b: Annotated[int, "second number"]) -> int:
    """Multiply two numbers"""
    return a * b


def gone_through(file: str, said: str, **agent: Any) -> tuple[Any, list[str]]:
    """The result of the conversation, and how the requests differ from those of the recording."""
    seen: list[str] = []

    def note(_: Interaction, differences: tuple[Difference, ...]) -> None:
        seen.extend(map(str, differences))

    player = Player(read(CORPUS / file), match="order", on_difference=note)
    provider = ResponsesProvider("openai", "https://api.openai.com/v1", player)
    model = Path(file).parts[1].partition("-")[2]
    made = Agent(model, provider=provider, **agent)
    return made.run_sync(said), seen


@pytest.mark.parametrize("file", FILES)
def test_a_recorded_conversation_over_the_responses_api_gives_the_recorded_answer(file: str) -> None:
    kind = Path(file).stem.removesuffix("_streaming").removesuffix("-streaming")
    said = SAID.get(kind, "What's the weather in Florence,Italy?")
    tools = {"simple": [], "multi_tool": [add, multiply]}.get(kind, [weather])
    result, differences = gone_through(file, said, tools=tools, instructions="You are a helpful assistant")
    assert result.status == "completed"
    outputs = [item["output"] for item in result.items if item["type"] == "function_call_output"]
    if kind == "simple":
        assert "oi" in result.text.lower() or "olá" in result.text.lower()
    elif kind == "multi_tool":
        assert sorted(outputs) == ["5", "6"]
        assert "5" in result.text
        assert "6" in result.text
    else:
        assert outputs == ["40 C"]
        assert "40" in result.text
    assert result.usage.total_tokens > 0
    assert [difference for difference in differences if not difference.startswith(KNOWN)] == []


@pytest.mark.parametrize("file", [file for file in FILES if "SummaryThinking" in file])
def test_sealed_reasoning_of_a_recording_is_kept_for_the_next_turn(file: str) -> None:
    result, _ = gone_through(file, "What's the weather in Florence,Italy?", tools=[weather])
    details = [event.details for event in result.events if isinstance(event, ReasoningFinished)]
    assert any(part[0]["encrypted_content"] for part in details if part)


@pytest.mark.parametrize("file", OBJECTS)
def test_a_recorded_object_is_an_answer_with_a_type(file: str) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "city": {"type": "string"}},
        "required": ["name", "age", "city"],
        "additionalProperties": False,
    }
    result, _ = gone_through(file, "Generate information about a person", output_type=schema)
    assert isinstance(result.output["name"], str)
    assert isinstance(result.output["age"], int)
