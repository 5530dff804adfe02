"""The recorded agent runs over MCP, had by an `Agent`: recorded model turns, a real MCP server."""

from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

import mcp_server
from antiphon import Agent
from antiphon.cassettes import Difference, Player, read
from antiphon.events import ToolCallCompleted
from antiphon.providers.chat import ChatProvider
from antiphon.tools.mcp import MCPServer

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "ogx" / "tests" / "integration" / "responses" / "recordings"
WORKFLOW = ["get_user_id", "get_user_permissions", "check_file_access", "get_experiment_id", "get_experiment_results"]

# Each turn's recording by the end of its name, what the tools give, and the recorded answer.
WORKFLOWS = {
    "alice": (
        ("ef818827e16691689151bf17c", "9189ab93778335439f288158f", "c7d1cab613ab2e818d79d6f9b"),
        ["user_12345", "yes"],
        "yes",
    ),
    "analysis": (
        ("db3df58b9b4d948e4e95b0961", "3c0fd1330c666a12d74df6f89", "1e80beb8e5506439345c428eb"),
        ["exp_003", "Yield: 85%, Status: Complete"],
        "The yield for the 'chemical_reaction' experiment is 85%, which is above 80%.",
    ),
    "parallel": (
        ("bef82982cca22b5cf71a30c2f", "2af0dda3fc097987affdb54c9"),
        ["exp_004", "user_11111"],
        "The experiment ID for 'boiling_point' is `exp_004`, and the user ID for 'charlie' is `user_11111`.",
    ),
}
# What another client said otherwise in the recordings, and means the same.
KNOWN = ("service_tier", "parallel_tool_calls", "tool_calls", 'content: recorded "", sent nothing')


def ask(provider: ChatProvider, question: str, server: MCPServer) -> tuple[str | None, list[str]]:
    """What the agent answers, and what its tools gave."""
    result = Agent("gpt-4o", provider=provider, tools=[server]).run_sync(question)
    return result.text, [event.output for event in result.events if isinstance(event, ToolCallCompleted)]


@pytest.mark.parametrize("transport", ["http", "sse", "stdio"])
@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_an_agent_has_a_recorded_workflow_again(workflow: str, transport: str) -> None:
    chain, results, answer = WORKFLOWS[workflow]
    paths = [path for name in chain for path in CORPUS.glob(f"*{name}.json")]
    if len(paths) < len(chain):
        pytest.skip(f"the recordings {chain} are not in {CORPUS}")
    turns, unlike = [turn for path in paths for turn in read(path)], list[str]()

    def note(_: int, found: Iterable[Difference]) -> None:
        unlike.extend(line for each in found if not any(known in (line := str(each)) for known in KNOWN))

    provider = ChatProvider("recorded", "https://recorded.invalid/v1", Player(turns, match="order", on_difference=note))
    assert turns[0].request is not None
    question = msgspec.json.decode(turns[0].request.body)["messages"][-1]["content"]
    if transport == "stdio":
        had = ask(provider, question, MCPServer(**mcp_server.command(), allowed_tools=WORKFLOW))
    else:
        with mcp_server.serving(transport) as (url, _):  # type: ignore[arg-type]
            had = ask(provider, question, MCPServer(url=url, allowed_tools=WORKFLOW))
    assert had == (answer, results)
    assert {line.rpartition("sent ")[2] for line in unlike} <= {f'"{each}"' for each in results}
