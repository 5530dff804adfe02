"""The recorded agent runs over MCP, for real: recorded model turns, real MCP servers, the OpenAI SDK on a socket.

The recordings do not belong to us: where they are not at hand, these tests are skipped.
"""

from pathlib import Path
from typing import Any

import mcp_workflows
import pytest
from mcp_workflows import (
    ALICE,
    ANALYSIS,
    BOILING,
    CHARLIE,
    PARALLEL,
    TRANSPORTS,
    Served,
    dev,
    first_question,
    kinds,
    recorded,
    served,
    spoken,
    tools_over,
)

LIST = ["output_item.added", "mcp_list_tools.in_progress", "mcp_list_tools.completed", "output_item.done"]
CALL = ["output_item.added", "mcp_call.in_progress", "mcp_call_arguments.delta"]
CALL_DONE = ["mcp_call.completed", "output_item.done"]
ONE_CALL = [*CALL, "mcp_call_arguments.done", *CALL_DONE]
TEXT = ["output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done"]
TEXT += ["output_item.done"]
START = ["created", "in_progress"]

REFUSED = "Charlie has the permission 'admin', and still no access to 'secret_file.txt'."

# What was recorded by another server, and is said otherwise by this one: all of it means the same to the model.
INDEX = "$.messages[{0}].tool_calls[{1}].index: recorded {1}, sent nothing"
NO_TEXT = '$.messages[{0}].content: recorded "", sent nothing'
RESULT = '$.messages[{0}].content: recorded [{{"type":"text","text":"{1}"}}], sent "{1}"'
PARALLEL_IS_TRUE = "$.parallel_tool_calls: recorded true, sent nothing"
TIER = '$.service_tier: recorded "default", sent nothing'


def ask(server: Served, question: str, *, streamed: bool, **fields: Any) -> Any:
    """The response, folded by the SDK where it is streamed."""
    asked: dict[str, Any] = {"model": "gpt-4o", "input": question, "tools": [dev()], **fields}
    if not streamed:
        return server.client.responses.create(**asked)
    with server.client.responses.stream(**asked) as stream:
        for _ in stream:
            pass
        return stream.get_final_response()


def calls(response: Any) -> list[tuple[str, str, str]]:
    found = [item for item in response.output if item.type == "mcp_call"]
    assert {(item.server_label, item.status) for item in found} == {("dev", "completed")}
    return [(item.name, item.arguments, item.output) for item in found]


ALICE_CALLS = [
    ("get_user_id", '{"username":"alice"}', "user_12345"),
    ("check_file_access", '{"user_id":"user_12345","filename":"document.txt"}', "yes"),
]
ANALYSIS_CALLS = [
    ("get_experiment_id", '{"experiment_name":"chemical_reaction"}', "exp_003"),
    ("get_experiment_results", '{"experiment_id":"exp_003"}', "Yield: 85%, Status: Complete"),
]
CHARLIE_CALLS = [
    ("get_user_id", '{"username":"charlie"}', "user_11111"),
    ("get_user_permissions", '{"user_id":"user_11111"}', "admin"),
    ("check_file_access", '{"user_id":"user_11111","filename":"secret_file.txt"}', "no"),
]
PARALLEL_CALLS = [
    ("get_experiment_id", '{"experiment_name": "boiling_point"}', "exp_004"),
    ("get_user_id", '{"username": "charlie"}', "user_11111"),
]
ANALYSED = "The yield for the 'chemical_reaction' experiment is 85%, which is above 80%."
BOTH = "The experiment ID for 'boiling_point' is `exp_004`, and the user ID for 'charlie' is `user_11111`."


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("chain", "wanted", "answer"),
    [
        pytest.param(ALICE, ALICE_CALLS, "yes", id="alice"),
        pytest.param(ANALYSIS, ANALYSIS_CALLS, ANALYSED, id="analysis"),
        pytest.param(CHARLIE, CHARLIE_CALLS, REFUSED, id="charlie"),
        pytest.param(PARALLEL, PARALLEL_CALLS, BOTH, id="parallel"),
    ],
)
def test_a_recorded_workflow_runs_to_the_recorded_answer(
    chain: tuple[str, ...], wanted: list[tuple[str, str, str]], answer: str, streamed: bool, tmp_path: Path
) -> None:
    turns = recorded(chain)
    if chain is CHARLIE:
        turns.append(spoken(REFUSED))  # the recording of its last turn is another model's
    with tools_over("http") as toml, served(tmp_path, turns, toml=toml) as server:
        response = ask(server, first_question(turns), streamed=streamed)
    assert [item.type for item in response.output] == ["mcp_list_tools", *["mcp_call"] * len(wanted), "message"]
    assert calls(response) == wanted
    assert response.output_text == answer
    assert [tool.name for tool in response.output[0].tools] == mcp_workflows.WORKFLOW


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_recorded_workflow_runs_over_every_transport(transport: str, tmp_path: Path) -> None:
    turns = recorded(ANALYSIS)
    with tools_over(transport) as toml, served(tmp_path, turns, toml=toml) as server:
        response = ask(server, first_question(turns), streamed=True)
    assert calls(response) == ANALYSIS_CALLS
    assert response.output_text == ANALYSED


@pytest.mark.parametrize(
    ("chain", "results"),
    [
        pytest.param(ALICE, ["user_12345", "yes"], id="alice"),
        pytest.param(ANALYSIS, ["exp_003", "Yield: 85%, Status: Complete"], id="analysis"),
    ],
)
def test_requests_differ_from_the_recorded_ones_only_in_what_is_known(
    chain: tuple[str, ...], results: list[str], tmp_path: Path
) -> None:
    """Whoever changes the translation, or what is offered of a server's tools, sees here what the model is sent."""
    turns = recorded(chain)
    with tools_over("http") as toml, served(tmp_path, turns, toml=toml) as server:
        ask(server, first_question(turns), streamed=True)
    first = {INDEX.format(1, 0), NO_TEXT.format(1), RESULT.format(2, results[0])}
    second = {INDEX.format(3, 0), NO_TEXT.format(3), RESULT.format(4, results[1])}
    assert [server.unlike(turn) for turn in range(3)] == [set(), first, first | second]


def test_parallel_calls_are_sent_back_as_one_message_with_both(tmp_path: Path) -> None:
    turns = recorded(PARALLEL)
    with tools_over("http") as toml, served(tmp_path, turns, toml=toml) as server:
        ask(server, first_question(turns), streamed=True)
    assert server.unlike(0) == {PARALLEL_IS_TRUE}
    both = {INDEX.format(1, 0), INDEX.format(1, 1), NO_TEXT.format(1)}
    assert server.unlike(1) == both | {RESULT.format(2, "exp_004"), RESULT.format(3, "user_11111")} | {
        PARALLEL_IS_TRUE,
        TIER,
    }


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_calls_one_after_the_other_stream_in_the_reference_order(transport: str, tmp_path: Path) -> None:
    turns = recorded(ANALYSIS)
    with tools_over(transport) as toml, served(tmp_path, turns, toml=toml) as server:
        stream = server.client.responses.create(model="gpt-4o", input=first_question(turns), tools=[dev()], stream=True)
        events = list(stream)
    assert kinds(events) == [*START, *LIST, *ONE_CALL, *ONE_CALL, *TEXT, "completed"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    progress = [event for event in events if "mcp_" in event.type]
    shown = {item.id: number for number, item in enumerate(events[-1].response.output)}
    assert {(event.output_index, event.item_id) for event in progress} == {
        (number, item) for item, number in shown.items() if number < 3
    }


def test_calls_side_by_side_stream_in_the_reference_order(tmp_path: Path) -> None:
    turns = recorded(PARALLEL)
    with tools_over("http") as toml, served(tmp_path, turns, toml=toml) as server:
        stream = server.client.responses.create(model="gpt-4o", input=first_question(turns), tools=[dev()], stream=True)
        events = list(stream)
    done = ["mcp_call_arguments.done"] * 2
    assert kinds(events) == [*START, *LIST, *CALL, *CALL, *done, *CALL_DONE, *CALL_DONE, *TEXT, "completed"]


# --- approvals -------------------------------------------------------------------------------

BOILING_TOOLS = ["greet_everyone", "get_boiling_point"]
BOILS = 'The boiling point of "myawesomeliquid" in Celsius is -100°C.'


def boiling(**fields: Any) -> list[dict[str, Any]]:
    return [dev(allowed_tools=BOILING_TOOLS, **{"require_approval": "always", **fields})]


def test_an_approved_call_runs_as_it_was_shown_and_the_recorded_answer_comes(tmp_path: Path) -> None:
    turns = recorded(BOILING)
    with tools_over("http") as toml, served(tmp_path, turns, toml=toml) as server:
        first = ask(server, first_question(turns), streamed=True, tools=boiling())
        request = first.output[-1]
        assert [item.type for item in first.output] == ["mcp_list_tools", "mcp_approval_request"]
        assert (request.name, request.arguments) == ("get_boiling_point", '{"liquid_name":"myawesomeliquid"}')
        decision = {"type": "mcp_approval_response", "approval_request_id": request.id, "approve": True}
        second = ask(server, [decision], streamed=True, tools=boiling(), previous_response_id=first.id)
    assert [item.type for item in second.output] == ["mcp_call", "message"]
    assert (second.output[0].output, second.output[0].approval_request_id) == ("-100", request.id)
    assert second.output_text == BOILS
    same = {INDEX.format(1, 0), NO_TEXT.format(1), RESULT.format(2, "-100"), PARALLEL_IS_TRUE, TIER}
    assert server.unlike(1) == same, "the model is asked as if the call had never waited"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_denied_call_is_not_run_and_the_model_says_what_it_says(streamed: bool, tmp_path: Path) -> None:
    turns = [*recorded(BOILING[:1]), spoken("Then I cannot tell.")]
    with tools_over("http") as toml, served(tmp_path, turns, toml=toml) as server:
        first = ask(server, first_question(turns), streamed=streamed, tools=boiling())
        decision = {"type": "mcp_approval_response", "approval_request_id": first.output[-1].id, "approve": False}
        decision["reason"] = "It is a secret liquid."
        second = ask(server, [decision], streamed=streamed, tools=boiling(), previous_response_id=first.id)
    assert [item.type for item in second.output] == ["mcp_call", "message"]
    assert (second.output[0].status, second.output[0].output) == ("failed", None)
    assert "It is a secret liquid." in str(second.output[0].error)
    assert second.output_text == "Then I cannot tell."


def test_a_decision_is_taken_up_by_the_next_server_over_the_same_data(tmp_path: Path) -> None:
    turns = recorded(BOILING)
    with tools_over("http") as toml:
        with served(tmp_path, turns[:1], toml=toml) as server:
            first = ask(server, first_question(turns), streamed=True, tools=boiling())
        with served(tmp_path, turns[1:], toml=toml) as server:
            decision = {"type": "mcp_approval_response", "approval_request_id": first.output[-1].id, "approve": True}
            second = ask(server, [decision], streamed=True, tools=boiling(), previous_response_id=first.id)
    assert (second.output[0].output, second.output_text) == ("-100", BOILS)
