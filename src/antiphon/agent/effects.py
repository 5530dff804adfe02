"""What the machine wants done, and the calls of tools that it is about. Values, no logic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from antiphon.events import ErrorInfo, RunStatus, ToolKind


class ToolPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How the server treats one of its own tools.

    A call that was running when the process died is run again only if that does no harm: the tool is ``idempotent`` (it
    may use `ToolCall.idempotency_key` to be that), or ``read_only``.
    """

    needs_approval: bool = False
    idempotent: bool = False
    read_only: bool = False


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A whole call, as the model made it. ``idempotency_key`` is the same each time this very call is run."""

    block: str
    call_id: str
    name: str
    arguments: str
    idempotency_key: str
    kind: ToolKind = "function"
    namespace: str | None = None
    needs_approval: bool = False
    repeatable: bool = False


class CarriedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A whole call of an earlier run that waited for a decision there.

    Without ``approval_id`` it waited only beside one that needed it. ``new_arguments`` are a person's, in the place of
    the model's.
    """

    call_id: str
    name: str
    arguments: str
    idempotency_key: str
    kind: ToolKind = "function"
    namespace: str | None = None
    repeatable: bool = False
    approval_id: str | None = None
    approved: bool = True
    reason: str | None = None
    new_arguments: str | None = None


# --- effects ---------------------------------------------------------------------------------


class CallModel(NamedTuple):
    """Ask the model for its next turn; ``attempt`` picks the target among the fallbacks."""

    turn: int
    attempt: int


class ListTools(NamedTuple):
    """Ask these servers which tools they have; ``begun`` were asked before a process died, in these blocks."""

    servers: tuple[str, ...]
    begun: Mapping[str, str]


class TakeUp(NamedTuple):
    """Note the calls that an earlier run left waiting, and what was decided on them."""

    calls: tuple[CarriedCall, ...]


class CallTools(NamedTuple):
    """Run these server-side tools, side by side; answer the others without running them.

    ``unknown`` were running when a process died: nobody knows whether they took effect, and they must not twice.
    """

    calls: tuple[ToolCall, ...]
    refused: tuple[ToolCall, ...] = ()
    unknown: tuple[ToolCall, ...] = ()


class AskApproval(NamedTuple):
    """Let a person decide on these calls before anything of the batch runs; ``beside`` waits with them."""

    calls: tuple[ToolCall, ...]
    beside: tuple[ToolCall, ...] = ()


class Finish(NamedTuple):
    """The run is over."""

    status: RunStatus
    reason: str | None = None
    error: ErrorInfo | None = None


Effect = ListTools | TakeUp | CallModel | CallTools | AskApproval | Finish
