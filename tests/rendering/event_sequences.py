"""Legal event sequences, drawn: what any upstream and any run may do, in any order that the contract allows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from antiphon.events import (
    AnnotationAdded,
    ApprovalDecided,
    ApprovalRequested,
    Diagnostic,
    ErrorInfo,
    Event,
    ReasoningDelta,
    ReasoningFinished,
    ReasoningStarted,
    RefusalDelta,
    RefusalFinished,
    RefusalStarted,
    RunFinished,
    RunStarted,
    TextDelta,
    TextFinished,
    TextStarted,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallExecuting,
    ToolCallFailed,
    ToolCallFinished,
    ToolCallStarted,
    ToolListCompleted,
    ToolListFailed,
    ToolListStarted,
    TurnFailed,
    TurnFinished,
    TurnStarted,
    Usage,
)
from antiphon.sealing import Keyring

SEALER = Keyring(["a secret for tests"]).sealer("owner")
RUN = "resp_" + "5e" * 16

# For properties over whole runs. No deadline: how long one example takes says more about the machine than the code.
few = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
pieces = st.lists(texts, min_size=1, max_size=4)
statuses = st.sampled_from(["completed", "completed", "completed", "incomplete"])
usages = st.none() | st.builds(
    Usage,
    input_tokens=st.integers(0, 99),
    output_tokens=st.integers(0, 99),
    total_tokens=st.integers(0, 99),
    reasoning_tokens=st.integers(0, 99),
)
errors = st.builds(ErrorInfo, code=st.sampled_from(["truncated_stream", "rate_limit_exceeded"]), message=texts)
logprobs = st.just([{"token": "x", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "y", "logprob": -1.0}]}])
annotations = st.just({"type": "url_citation", "url": "https://a.test", "title": "A", "start_index": 0, "end_index": 1})
details = st.just([{"type": "reasoning.encrypted", "data": "b3BhcXVl"}])


def run_started(**request: Any) -> RunStarted:
    shown = {name: request.pop(name) for name in ("profile", "raw_reasoning", "seal_key") if name in request}
    return RunStarted(run=RUN, created_at_s=1_700_000_000, model="m", request={"model": "m", **request}, **shown)


def turn(number: int, *events: Event, finish_reason: str = "stop", usage: Usage | None = None) -> list[Event]:
    """A whole turn around these events."""
    started = TurnStarted(turn=number, interaction=f"i{number}", upstream="local", model="m")
    return [started, *events, TurnFinished(turn=number, finish_reason=finish_reason, usage=usage)]


def run(*events: Event, status: Any = "completed", **request: Any) -> list[Event]:
    """A whole run of one turn around these events."""
    return [run_started(**request), *turn(0, *events), RunFinished(status=status, finished_at_s=1_700_000_005)]


def say(block: str, *parts: str, status: Any = "completed", choice: int = 0) -> list[Event]:
    deltas = [TextDelta(block=block, text=part) for part in parts]
    return [TextStarted(block=block, choice=choice), *deltas, TextFinished(block=block, status=status)]


def think(block: str, *parts: str, **finished: Any) -> list[Event]:
    deltas = [ReasoningDelta(block=block, text=part) for part in parts]
    return [ReasoningStarted(block=block), *deltas, ReasoningFinished(block=block, **finished)]


def refuse(block: str, *parts: str) -> list[Event]:
    deltas = [RefusalDelta(block=block, text=part) for part in parts]
    return [RefusalStarted(block=block), *deltas, RefusalFinished(block=block)]


def call(block: str, *parts: str, name: str = "f", arguments: str | None = None, **started: Any) -> list[Event]:
    status = started.pop("status", "completed")
    whole = "".join(parts) if arguments is None else arguments
    return [
        ToolCallStarted(block=block, call_id=f"call_{block}", name=name, **started),
        *(ToolCallDelta(block=block, arguments=part) for part in parts),
        ToolCallFinished(block=block, arguments=whole, status=status),
    ]


@st.composite
def text_blocks(draw: st.DrawFn, block: str, choice: int) -> list[Event]:
    deltas: list[Event] = [
        TextDelta(block=block, text=text, logprobs=draw(st.just([]) | logprobs)) for text in draw(pieces)
    ]
    if draw(st.booleans()):
        at = draw(st.integers(0, len(deltas)))
        deltas.insert(at, AnnotationAdded(block=block, annotation=draw(annotations)))
    return [TextStarted(block=block, choice=choice), *deltas, TextFinished(block=block, status=draw(statuses))]


@st.composite
def refusal_blocks(draw: st.DrawFn, block: str, choice: int) -> list[Event]:
    deltas = [RefusalDelta(block=block, text=text) for text in draw(pieces)]
    return [RefusalStarted(block=block, choice=choice), *deltas, RefusalFinished(block=block, status=draw(statuses))]


@st.composite
def reasoning_blocks(draw: st.DrawFn, block: str, choice: int) -> list[Event]:
    deltas = [ReasoningDelta(block=block, text=text) for text in draw(st.just([]) | pieces)]
    finished = ReasoningFinished(
        block=block, status=draw(statuses), details=draw(st.just([]) | details), field="reasoning"
    )
    return [ReasoningStarted(block=block, choice=choice), *deltas, finished]


@st.composite
def call_blocks(draw: st.DrawFn, block: str, choice: int, *, hosted: bool = True) -> list[Event]:
    parts = draw(st.lists(texts, max_size=4))
    mended = draw(st.sampled_from(["".join(parts), "".join(parts) + "}", "{}"]))
    return call(
        block,
        *parts,
        arguments=mended,
        choice=choice,
        status=draw(statuses),
        kind=draw(st.sampled_from(["function", "function", "custom", *(["mcp", "file_search"] if hosted else [])])),
        namespace=draw(st.none() | st.just("ns")),
        needs_approval=hosted and not choice and draw(st.sampled_from([False, False, True])),
    )


def list_tools(block: str, server: str, *, error: ErrorInfo | None = None) -> list[Event]:
    """A server is asked for its tools."""
    tools = [{"name": "ask", "description": None, "input_schema": {"type": "object"}, "annotations": None}]
    end = ToolListCompleted(block=block, tools=tools) if error is None else ToolListFailed(block=block, error=error)
    return [ToolListStarted(block=block, server=server, source="s"), end]


BLOCKS: list[Callable[[str, int], st.SearchStrategy[list[Event]]]] = [
    text_blocks,
    refusal_blocks,
    reasoning_blocks,
    call_blocks,
]


@st.composite
def interleaved(draw: st.DrawFn, number: int, *, hosted: bool = True) -> list[Event]:
    """The blocks of one turn: each in its own order, side by side or one after the other, with diagnostics between."""
    kinds = BLOCKS if hosted else [*BLOCKS[:-1], partial(call_blocks, hosted=False)]
    drawn = [
        draw(draw(st.sampled_from(kinds))(f"{number}.{index}", draw(st.sampled_from([0, 0, 0, 1]))))
        for index in range(draw(st.integers(0, 4)))
    ]
    left = [list(block) for block in drawn]
    parallel = draw(st.booleans())
    events: list[Event] = []
    while left:
        block = draw(st.sampled_from(left)) if parallel else left[0]
        events.append(block.pop(0))
        left = [rest for rest in left if rest]
        if draw(st.integers(0, 9)) == 0:
            events.append(Diagnostic(quirk="Q38", seen="x", done="y"))
    return events


@st.composite
def tool_results(draw: st.DrawFn, events: list[Event]) -> list[Event]:
    """What the server does about some of a turn's calls."""
    whole = {event.block for event in events if isinstance(event, ToolCallFinished) and event.status == "completed"}
    calls = [event for event in events if isinstance(event, ToolCallStarted) and not event.choice]
    results: list[Event] = []
    for started in calls:
        block = started.block
        if block not in whole:
            continue
        if started.needs_approval:
            results.append(ApprovalRequested(block=block, approval_id=f"mcpr_{block}"))
            if draw(st.booleans()):
                continue
            approved, changed = draw(st.booleans()), draw(st.none() | st.just("{}"))
            results.append(
                ApprovalDecided(block=block, approval_id=f"mcpr_{block}", approved=approved, arguments=changed)
            )
        results.append(ToolCallExecuting(block=block))
        error = ErrorInfo(code="tool_failed", message="m")
        failed = ToolCallFailed(block=block, output="no", error=error)
        results.append(draw(st.sampled_from([ToolCallCompleted(block=block, output="42"), failed])))
    return results


@st.composite
def turns(draw: st.DrawFn, number: int, *, hosted: bool = True) -> list[Event]:
    """One model call that may be cut anywhere: then it fails, or a crash leaves it without an end."""
    events: list[Event] = [TurnStarted(turn=number, interaction=f"i{number}", upstream="local", model="m")]
    events += draw(interleaved(number, hosted=hosted))
    end = draw(st.sampled_from(["finished", "finished", "failed", "crashed"]))
    if end == "finished":
        reason = draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
        events.append(TurnFinished(turn=number, finish_reason=reason, usage=draw(usages)))
        return events + draw(tool_results(events) if draw(st.booleans()) else st.just([]))
    events = events[: draw(st.integers(1, len(events)))]
    if end == "failed":
        events.append(TurnFailed(turn=number, error=draw(errors), retryable=draw(st.booleans()), usage=draw(usages)))
    return events


run_ends = st.one_of(
    st.builds(RunFinished, status=st.sampled_from(["completed", "cancelled"]), finished_at_s=st.just(1_700_000_005)),
    st.builds(
        RunFinished,
        status=st.just("incomplete"),
        finished_at_s=st.just(1_700_000_005),
        reason=st.sampled_from(["length", "content_filter", "max_turns"]),
    ),
    st.builds(RunFinished, status=st.just("failed"), finished_at_s=st.just(1_700_000_005), error=errors),
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "include": st.just(["reasoning.encrypted_content", "file_search_call.results"]),
        "tools": st.just([{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]),
        "instructions": texts,
        "temperature": st.none() | st.floats(0, 2),
        "text": st.just({"verbosity": "low"}),
        "profile": st.sampled_from(["openai", "open-responses"]),
        "raw_reasoning": st.booleans(),
    },
)
plain_requests = requests.map(lambda request: {**request, "profile": "openai"})


@st.composite
def runs(draw: st.DrawFn, request: st.SearchStrategy[dict[str, Any]] = requests, *, hosted: bool = True) -> list[Event]:
    """A whole run: its start, up to three turns, its end. With ``hosted``, the server has tools of its own."""
    events: list[Event] = [run_started(**draw(request))]
    for server in draw(st.lists(st.sampled_from(["a", "b"]), unique=True)) if hosted else ():
        events += list_tools(f"list.{server}", server, error=draw(st.none() | errors))
    for number in range(draw(st.integers(0, 3))):
        events += draw(turns(number, hosted=hosted))
    return [*events, draw(run_ends)]
