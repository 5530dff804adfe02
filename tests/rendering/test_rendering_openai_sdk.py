"""The stream through the real client: openai-python's accumulator raises on what is out of order."""

import httpx2
import openai
import pytest
from event_sequences import RUN, call, few, plain_requests, refuse, run, runs, say, think
from hypothesis import given

from antiphon.events import Diagnostic, ErrorInfo, Event, RunFinished, ToolCallDelta, ToolCallFinished, ToolCallStarted
from antiphon.rendering.responses import DONE, ResponsesRenderer, response_object, sse


def client(events: list[Event]) -> openai.OpenAI:
    """A client whose server answers everything with these events."""
    body = sse(ResponsesRenderer().render(events)) + DONE

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    return openai.OpenAI(api_key="none", base_url="http://antiphon.test/v1", http_client=http, max_retries=0)


@few
@given(runs(plain_requests))
def test_the_accumulator_of_openai_python_takes_every_stream(events: list[Event]) -> None:
    with client(events).responses.stream(model="m", input="hi") as stream:
        last = list(stream)[-1]
    whole = response_object(events)
    assert last.type == {"completed": "response.completed", "failed": "response.failed"}.get(
        whole["status"], "response.incomplete"
    )
    shown = last.response.to_dict()["output"]  # type: ignore[union-attr]
    assert [(item["id"], item["type"]) for item in shown] == [(item["id"], item["type"]) for item in whole["output"]]
    if isinstance(events[-1], RunFinished) and events[-1].status == "completed":
        assert stream.get_final_response().id == RUN


@pytest.mark.parametrize("raw_reasoning", [False, True])
def test_its_snapshots_agree_with_the_final_response(raw_reasoning: bool) -> None:
    events = run(
        *think("0.0", "Two ", "calls."),
        *say("0.1", "I will ", "add."),
        ToolCallStarted(block="0.2", call_id="c1", name="add"),
        ToolCallStarted(block="0.3", call_id="c2", name="multiply"),
        ToolCallDelta(block="0.3", arguments='{"a":2,'),
        ToolCallDelta(block="0.2", arguments='{"a":1,'),
        ToolCallDelta(block="0.2", arguments='"b":1}'),
        ToolCallFinished(block="0.3", arguments='{"a":2,"b":2}'),
        ToolCallFinished(block="0.2", arguments='{"a":1,"b":1}'),
        raw_reasoning=raw_reasoning,
    )
    snapshots: dict[tuple[str, int], str] = {}
    with client(events).responses.stream(model="m", input="hi") as stream:
        for event in stream:
            if event.type in ("response.output_text.delta", "response.function_call_arguments.delta"):
                snapshots[event.type, event.output_index] = event.snapshot
    final = stream.get_final_response()
    assert final.output_text == "I will add."
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call", "function_call"]
    assert list(snapshots.values()) == ["I will add.", '{"a":2,"b":2}', '{"a":1,"b":1}']
    assert [(item.name, item.arguments) for item in final.output[2:]] == [  # type: ignore[union-attr]
        ("add", '{"a":1,"b":1}'),
        ("multiply", '{"a":2,"b":2}'),
    ]


def test_a_refusal_a_custom_call_and_a_whole_answer_parse() -> None:
    events = run(*refuse("0.0", "I ", "can't."), *call("0.1", "*** Begin", " Patch", name="apply_patch", kind="custom"))
    with client(events).responses.stream(model="m", input="hi") as stream:
        message, patch = stream.get_final_response().output
    assert message.type == "message"
    assert message.content[0].type == "refusal"
    assert message.content[0].refusal == "I can't."
    assert patch.type == "custom_tool_call"
    assert (patch.name, patch.input) == ("apply_patch", "*** Begin Patch")


def test_a_failed_run_gives_its_error_and_its_partial_output_not_an_exception() -> None:
    events = run(*say("0.0", "Hal", status="incomplete"))
    error = ErrorInfo(code="upstream_connection_lost", message="Cut after 3 characters.")
    events[-1] = RunFinished(status="failed", finished_at_s=1, error=error)
    with client(events).responses.stream(model="m", input="hi") as stream:
        last = list(stream)[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.error.message == "Cut after 3 characters."
    assert last.response.output_text == "Hal"


@pytest.mark.parametrize("profile", ["openai", "open-responses"])
def test_the_client_takes_and_shows_what_was_mended(profile: str) -> None:
    mended = Diagnostic(quirk="Q38", seen="None", done="inferred stop")
    with client(run(*say("0.0", "Hi"), mended, profile=profile)).responses.stream(model="m", input="hi") as stream:
        stream.until_done()
    extra = stream.get_final_response().model_extra
    assert extra
    assert extra["antiphon"] == {"diagnostics": [{"quirk": "Q38", "seen": "None", "done": "inferred stop"}]}
