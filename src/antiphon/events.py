"""What happens in a run: one tagged union, the only thing a journal holds.

The discriminator is ``type``. What streams has started, delta and finished events that share a ``block``: an
id that is unique within the run (``"0.2"`` is the third block of the first turn). Blocks may be open side by
side (parallel tool calls), but each is started once, before its first delta, and finished once, after its last.

Events are values: they have no identity and no clock of their own. Identity is the run's id and the position in
the journal; the two times a client is shown stand in `RunStarted` and `RunFinished`, so that rendering a journal
twice gives the same bytes. A model call's own events (`ModelEvent`) do not know which run they belong to.

Type names are ``noun.past_participle`` and never change once released; a test pins the list.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

# --- values used by events -------------------------------------------------------------------


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens of one model call. ``raw`` is the upstream's own usage object, as it came."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    raw: dict[str, Any] = {}

    def __add__(self, other: Usage) -> Usage:
        """Both together; ``raw`` belongs to one call, and is left out."""
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            total_tokens=self.total_tokens + (other.total_tokens or other.input_tokens + other.output_tokens),
            cached_tokens=self.cached_tokens + other.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
        )


class ErrorInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A failure as data: what an error class becomes when it is written down.

    ``code`` is one of `antiphon.errors`; ``status`` the upstream's HTTP status, if it gave one.
    """

    code: str
    message: str
    status: int | None = None
    upstream_code: str | None = None
    retry_after_s: float | None = None


class Fork(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run left another: it has that run's events up to its turn ``turn``, and went its own way from there."""

    run: str
    turn: int


Api = Literal["responses", "chat"]
RunStatus = Literal["completed", "incomplete", "failed", "cancelled"]
BlockStatus = Literal["completed", "incomplete"]
ToolKind = Literal["function", "custom", "mcp", "file_search", "web_search"]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Base of all events; never constructed itself."""


# --- the run ---------------------------------------------------------------------------------


class RunStarted(Event, frozen=True, kw_only=True, tag="run.started"):
    """A run was accepted. Always the first event.

    ``api`` is the one the client spoke. ``request`` is the decoded request body: of a response without ``input``, as
    items are kept beside the journal, once; of a chat completion whole. ``profile``, ``raw_reasoning`` and ``seal_key``
    (the id of the key that seals) say how a response is shown, each time alike. ``forked_from`` is there if the events
    that follow are those of another run at first.
    """

    run: str
    created_at_s: int
    model: str
    request: dict[str, Any]
    profile: str = "openai"
    api: Api = "responses"
    raw_reasoning: bool = False
    seal_key: str | None = None
    forked_from: Fork | None = None


class RunFinished(Event, frozen=True, kw_only=True, tag="run.finished"):
    """The run is over. Always the last event. ``reason`` says why it is incomplete."""

    status: RunStatus
    finished_at_s: int
    reason: str | None = None
    error: ErrorInfo | None = None


# --- a turn: one model call ------------------------------------------------------------------


class TurnStarted(Event, frozen=True, kw_only=True, tag="turn.started"):
    """A model call begins. ``interaction`` names its recording; ``attempt`` counts from 0 within the turn."""

    turn: int
    interaction: str
    upstream: str
    model: str
    attempt: int = 0


class TurnFinished(Event, frozen=True, kw_only=True, tag="turn.finished"):
    """The model call ended as the protocol wants it.

    ``finish_reason`` is choice 0's, normalised: ``stop``, ``length``, ``tool_calls``, ``content_filter``, or the
    upstream's own word. ``other_finish_reasons`` has those of further choices, by index.
    """

    turn: int
    finish_reason: str
    other_finish_reasons: dict[int, str] = {}
    usage: Usage | None = None
    upstream_id: str | None = None
    upstream_model: str | None = None
    provider_data: dict[str, Any] = {}


class TurnFailed(Event, frozen=True, kw_only=True, tag="turn.failed"):
    """The model call failed or was cut. ``retryable`` says whether asking again may help."""

    turn: int
    error: ErrorInfo
    retryable: bool = False
    usage: Usage | None = None


# --- what the model says ---------------------------------------------------------------------


class TextStarted(Event, frozen=True, kw_only=True, tag="text.started"):
    """The model begins to speak to the user."""

    block: str
    choice: int = 0


class TextDelta(Event, frozen=True, kw_only=True, tag="text.delta"):
    """A piece of text; never empty unless it carries ``logprobs`` (OpenAI's shape, as they came)."""

    block: str
    text: str
    logprobs: list[dict[str, Any]] = []


class TextFinished(Event, frozen=True, kw_only=True, tag="text.finished"):
    """The text is complete, or was cut off."""

    block: str
    status: BlockStatus = "completed"


class ReasoningStarted(Event, frozen=True, kw_only=True, tag="reasoning.started"):
    """The model begins to think aloud."""

    block: str
    choice: int = 0


class ReasoningDelta(Event, frozen=True, kw_only=True, tag="reasoning.delta"):
    """A piece of reasoning text."""

    block: str
    text: str


class ReasoningFinished(Event, frozen=True, kw_only=True, tag="reasoning.finished"):
    """The reasoning is complete.

    ``details`` are the upstream's opaque parts (signatures, encrypted blocks), merged but otherwise as they
    came: they are echoed to the same upstream and to nobody else. ``field`` is the wire name the text came under.
    """

    block: str
    status: BlockStatus = "completed"
    details: list[dict[str, Any]] = []
    field: str | None = None


class RefusalStarted(Event, frozen=True, kw_only=True, tag="refusal.started"):
    """The model begins to refuse."""

    block: str
    choice: int = 0


class RefusalDelta(Event, frozen=True, kw_only=True, tag="refusal.delta"):
    """A piece of the refusal."""

    block: str
    text: str


class RefusalFinished(Event, frozen=True, kw_only=True, tag="refusal.finished"):
    """The refusal is complete, or was cut off."""

    block: str
    status: BlockStatus = "completed"


class AnnotationAdded(Event, frozen=True, kw_only=True, tag="annotation.added"):
    """A citation in the text of ``block``, in the Responses shape (``url_citation``, ``file_citation`` …)."""

    block: str
    annotation: dict[str, Any]


# --- what it asks for, and what is done ------------------------------------------------------


class ToolListStarted(Event, frozen=True, kw_only=True, tag="tool_list.started"):
    """A server is asked which tools it has, before the model is asked anything.

    ``source`` says where they come from and which are wanted, so that a later request can tell whether it means them.
    """

    block: str
    server: str
    source: str = ""


class ToolListCompleted(Event, frozen=True, kw_only=True, tag="tool_list.completed"):
    """The server has these tools: ``name``, ``description``, ``input_schema`` and ``annotations`` of each."""

    block: str
    tools: list[dict[str, Any]]


class ToolListFailed(Event, frozen=True, kw_only=True, tag="tool_list.failed"):
    """The server did not say which tools it has; the run ends with it."""

    block: str
    error: ErrorInfo


class ToolCallStarted(Event, frozen=True, kw_only=True, tag="tool_call.started"):
    """The model calls a tool: its name is known, its arguments may still be coming.

    ``call_id`` is the upstream's id where it gave a usable one, else one minted here; unique within the run.
    ``namespace`` of an ``mcp`` call is its server. Of a tool that the server runs, ``needs_approval`` says that a
    person decides on the call first, and is shown it whole; ``repeatable`` that it may be run again when nobody knows
    whether it was. A call that was made in an earlier run, and waited there, has its ``idempotency_key`` from there.
    """

    block: str
    call_id: str
    name: str
    kind: ToolKind = "function"
    namespace: str | None = None
    choice: int = 0
    needs_approval: bool = False
    repeatable: bool = False
    idempotency_key: str | None = None


class ToolCallDelta(Event, frozen=True, kw_only=True, tag="tool_call.delta"):
    """A piece of the arguments, as JSON text."""

    block: str
    arguments: str


class ToolCallFinished(Event, frozen=True, kw_only=True, tag="tool_call.finished"):
    """The call is whole, or was cut off; only a ``completed`` one may be executed.

    ``arguments`` is the whole argument text, mended where the deltas could not be (``""`` is ``{}``).
    ``provider_data`` holds fields of the call that the upstream wants back (thought signatures).
    """

    block: str
    arguments: str
    status: BlockStatus = "completed"
    provider_data: dict[str, Any] = {}


class ToolCallExecuting(Event, frozen=True, kw_only=True, tag="tool_call.executing"):
    """The server is about to run the tool. Committed before the effect."""

    block: str


class ToolCallCompleted(Event, frozen=True, kw_only=True, tag="tool_call.completed"):
    """The tool answered; ``output`` is what the model is told.

    ``content`` says the same in parts (``input_text``, ``input_image`` …), where it is more than text. ``results`` are
    what the call found, as structured data that its item shows.
    """

    block: str
    output: str
    content: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []


class ToolCallFailed(Event, frozen=True, kw_only=True, tag="tool_call.failed"):
    """The tool failed; ``output`` is what the model is told about it."""

    block: str
    output: str
    error: ErrorInfo


class ApprovalRequested(Event, frozen=True, kw_only=True, tag="approval.requested"):
    """The call waits for a person's decision, and so do those in the blocks ``beside`` it."""

    block: str
    approval_id: str
    beside: list[str] = []


class ApprovalDecided(Event, frozen=True, kw_only=True, tag="approval.decided"):
    """A person decided. On a denial, ``reason`` is told to the model; ``arguments`` replace those of the model."""

    block: str
    approval_id: str
    approved: bool
    reason: str | None = None
    arguments: str | None = None


class ItemReceived(Event, frozen=True, kw_only=True, tag="item.received"):
    """The upstream ran a tool of its own (a web search, say), and shows it: ``item`` is its output item, as it came."""

    block: str
    item: dict[str, Any]


# --- what was seen and mended ----------------------------------------------------------------


class Diagnostic(Event, frozen=True, kw_only=True, tag="diagnostic"):
    """Something was repaired, inferred or dropped: nothing is changed silently.

    ``quirk`` is a stable id (``Q38``); ``seen`` what the wire or the request held, shortened; ``done`` what was
    made of it.
    """

    quirk: str
    seen: str
    done: str


BlockEvent = (
    TextStarted
    | TextDelta
    | TextFinished
    | ReasoningStarted
    | ReasoningDelta
    | ReasoningFinished
    | RefusalStarted
    | RefusalDelta
    | RefusalFinished
    | AnnotationAdded
    | ToolCallStarted
    | ToolCallDelta
    | ToolCallFinished
)

# What one model call gives, in order; ends with exactly one TurnFinished or TurnFailed.
ModelEvent = BlockEvent | ItemReceived | Diagnostic | TurnFinished | TurnFailed

RunEvent = (
    RunStarted
    | RunFinished
    | TurnStarted
    | ModelEvent
    | ToolListStarted
    | ToolListCompleted
    | ToolListFailed
    | ToolCallExecuting
    | ToolCallCompleted
    | ToolCallFailed
    | ApprovalRequested
    | ApprovalDecided
)

# What must be durable before anyone sees what it announces. They never share a batch with a model's events.
BARRIERS = (
    RunStarted,
    RunFinished,
    ToolCallExecuting,
    ToolCallCompleted,
    ToolCallFailed,
    ApprovalRequested,
    ApprovalDecided,
)
