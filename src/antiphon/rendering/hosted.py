"""Items of what the server does itself: lists of tools, calls it runs, calls that wait for a person.

    output_item.added -> in_progress -> completed | failed -> output_item.done                    mcp_list_tools
    output_item.added -> in_progress -> arguments -> completed | failed -> output_item.done       mcp_call
    output_item.added -> in_progress -> searching -> completed -> output_item.done                file_search_call
    output_item.added -> output_item.done                                                         mcp_approval_request

A call that needs an approval has no item of its own before it was decided on: its request shows all of it, and when it
takes place, here or in a later run, it is announced whole.

What is kept of these items beyond what clients see, under `PRIVATE`: of a list {"source"}; of a call {"call_id",
"turn", "carried", "name", "arguments", "output", "content", "results"}, as far as the item does not show it; of a
request {"call_id", "kind", "idempotency_key", "repeatable", "batch", "beside"}, the last being calls that wait with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from antiphon.events import (
    ApprovalDecided,
    ApprovalRequested,
    ToolCallCompleted,
    ToolCallExecuting,
    ToolCallFailed,
    ToolCallFinished,
    ToolCallStarted,
    ToolListCompleted,
    ToolListFailed,
    ToolListStarted,
)
from antiphon.rendering.frames import FrameWriter
from antiphon.rendering.shapes import HostedShape
from antiphon.wire.hosted import queries_of
from antiphon.wire.items import PRIVATE, Item

# What a request includes to be shown what its searches found.
SEARCH_RESULTS = "file_search_call.results"


class OpenItem:
    """An item that was announced and not closed; ``blocks`` counts those of its blocks that are open."""

    __slots__ = ("blocks", "index", "item", "status")

    def __init__(self, index: int, item: Item) -> None:
        self.index = index
        self.item = item
        self.blocks = 0
        self.status = "completed"


class Builder(Protocol):
    """Who announces items, and closes them."""

    def announce(self, prefix: str, fields: dict[str, Any]) -> OpenItem:
        """Say that there is an item."""
        ...

    def close_item(self, owner: OpenItem) -> None:
        """Say that an item is whole."""
        ...

    def release(self, owner: OpenItem, status: str = "completed") -> None:
        """Let go of an item; it is closed when nobody holds it any more."""
        ...


class Made(NamedTuple):
    """A call as the model made it; ``arguments`` are whole."""

    started: ToolCallStarted
    arguments: str


class HostedItems:
    """The state of these items in one run. ``handlers`` has a method for every event that is theirs alone."""

    def __init__(self, builder: Builder, writer: FrameWriter) -> None:
        self.run = ""
        self.turn: int | None = None  # the last that began
        self.shows_results = False
        self._builder = builder
        self._writer = writer
        self._lists: dict[str, OpenItem] = {}
        self._running: dict[str, tuple[OpenItem, HostedShape]] = {}  # announced, without a result
        self._deferred: dict[str, ToolCallStarted] = {}  # need an approval
        self._made: dict[str, Made] = {}  # what was called, by block
        self.handlers: dict[type, Callable[[Any], None]] = {
            ToolListStarted: self._list_started,
            ToolListCompleted: self._list_completed,
            ToolListFailed: self._list_failed,
            ToolCallExecuting: self._executing,
            ApprovalRequested: self._requested,
        }

    def settle(self) -> None:
        """Close what has no result, and will have none."""
        for owner in (*self._lists.values(), *(owner for owner, _ in self._running.values())):
            owner.status = "incomplete"
            self._builder.close_item(owner)
        self._lists.clear()
        self._running.clear()

    # --- lists of tools ----------------------------------------------------------------------

    def _list_started(self, event: ToolListStarted) -> None:
        fields: dict[str, Any] = {"type": "mcp_list_tools", "server_label": event.server, "tools": [], "error": None}
        owner = self._lists[event.block] = self._builder.announce("mcpl", fields)
        keep(owner.item, source=event.source)
        self._tell("response.mcp_list_tools.in_progress", owner)

    def _list_completed(self, event: ToolListCompleted) -> None:
        owner = self._lists.pop(event.block)
        owner.item["tools"] = event.tools
        self._tell("response.mcp_list_tools.completed", owner)
        self._builder.close_item(owner)

    def _list_failed(self, event: ToolListFailed) -> None:
        owner = self._lists.pop(event.block)
        owner.item["error"] = event.error.message
        self._tell("response.mcp_list_tools.failed", owner)
        self._builder.close_item(owner)

    # --- calls -------------------------------------------------------------------------------

    def announce(self, event: ToolCallStarted, shape: HostedShape, approval: str | None) -> OpenItem:
        """Announce a call that is run here; it is held until it is answered."""
        fields = {"type": shape.type, "status": "in_progress", **shape.fields(event.name, event.namespace)}
        if approval is not None and "approval_request_id" in fields:
            fields["approval_request_id"] = approval
        owner = self._builder.announce(shape.prefix, fields)
        is_carried = event.idempotency_key is not None
        keep(owner.item, call_id=event.call_id, carried=is_carried)
        if self.turn is not None and not is_carried:
            owner.item[PRIVATE]["turn"] = self.turn
        owner.blocks += 1
        self._running[event.block] = owner, shape
        self._made[event.block] = Made(event, "")
        self._tell(shape.announced, owner)
        return owner

    def called(self, event: ToolCallFinished) -> None:
        """Note the arguments of a call, whoever runs it."""
        if (started := self._deferred.get(event.block)) is not None:
            self._made[event.block] = Made(started, event.arguments)
        elif (made := self._made.get(event.block)) is not None:
            self._made[event.block] = made._replace(arguments=event.arguments)
        if event.block in self._running:
            owner, _ = self._running[event.block]
            if "queries" in owner.item:
                owner.item["queries"] = queries_of(event.arguments)
                keep(owner.item, name=self._made[event.block].started.name, arguments=event.arguments)
            if event.status != "completed":
                del self._running[event.block]
                self._builder.release(owner, "incomplete")

    def _executing(self, event: ToolCallExecuting) -> None:
        owner, shape = self._running.get(event.block, (None, None))
        if owner is not None and shape is not None and shape.executing is not None:
            self._tell(shape.executing, owner)

    def answered(self, event: ToolCallCompleted | ToolCallFailed) -> bool:
        """Show the result of a call in its item; False for one that is not run here, or has no item."""
        owner, shape = self._running.pop(event.block, (None, None))
        if owner is None or shape is None:
            return False
        if isinstance(event, ToolCallCompleted):
            self._show_result(owner.item, event)
            self._tell(shape.completed, owner)
        else:
            owner.status = "failed"
            if "error" in owner.item:
                content = [{"type": "text", "text": event.output}]
                owner.item["error"] = {"type": "mcp_tool_execution_error", "content": content}
            else:
                keep(owner.item, output=event.output)
            if shape.failed is not None:
                self._tell(shape.failed, owner)
        self._builder.release(owner)
        return True

    def _show_result(self, item: Item, event: ToolCallCompleted) -> None:
        if "output" in item:
            item["output"] = event.output
            keep(item, content=event.content)
            return
        if self.shows_results:
            item["results"] = event.results
        keep(item, output=event.output, results=event.results)

    # --- approvals ---------------------------------------------------------------------------

    def defer(self, event: ToolCallStarted) -> None:
        """Take a call that has no item before it was decided on."""
        self._deferred[event.block] = event

    def note(self, event: ToolCallStarted) -> None:
        """Take a call that has an item of the client's kind, and may wait beside another."""
        self._made[event.block] = Made(event, "")

    def _requested(self, event: ApprovalRequested) -> None:
        made = self._made.get(event.block)
        if made is None:
            return
        started = made.started
        fields = {
            "id": event.approval_id,
            "type": "mcp_approval_request",
            "server_label": started.namespace or "",
            "name": started.name,
            "arguments": made.arguments,
        }
        owner = self._builder.announce("mcpr", fields)
        keep(
            owner.item,
            call_id=started.call_id,
            kind=started.kind,
            idempotency_key=self._key(started),
            repeatable=started.repeatable,
            batch=f"{self.run}/{self.turn}",
            beside=[self._beside(self._made[block]) for block in event.beside if block in self._made],
        )
        self._builder.close_item(owner)

    def decided(self, event: ApprovalDecided) -> Made | None:
        """The call that takes place now, or is answered as denied; None for one that was not asked about."""
        started = self._deferred.pop(event.block, None)
        if started is None:
            return None
        made = self._made.get(event.block, Made(started, ""))
        return made if event.arguments is None else made._replace(arguments=event.arguments)

    def _beside(self, made: Made) -> dict[str, Any]:
        started = made.started
        return {
            "kind": started.kind,
            "namespace": started.namespace,
            "name": started.name,
            "call_id": started.call_id,
            "arguments": made.arguments,
            "idempotency_key": self._key(started),
            "repeatable": started.repeatable,
        }

    def _key(self, started: ToolCallStarted) -> str:
        return started.idempotency_key or f"{self.run}/{started.block}"

    def _tell(self, type_: str, owner: OpenItem) -> None:
        self._writer.write(type_, {"output_index": owner.index, "item_id": owner.item["id"]})


def keep(item: Item, **private: Any) -> None:
    """Keep something beyond what clients see of an item; what is empty is not kept."""
    kept = {name: value for name, value in private.items() if value}
    if kept:
        item[PRIVATE] = item.get(PRIVATE, {}) | kept
