"""Events become output items. One builder owns their ids, their order, their lifecycle and the events about them.

An item is announced once, with empty values, and closed once, whole; what happens between belongs to its blocks:

    output_item.added -> [part added -> delta* -> done -> part done]* -> output_item.done      message, reasoning
    output_item.added -> delta* -> done -> output_item.done                                    tool calls
    output_item.added -> what is done -> output_item.done                                      see `rendering.hosted`

Items may be open side by side (parallel calls). Their order is the order of their announcement. Text and refusal that
follow each other are parts of one message, so a message is closed by whatever follows it, not by its last part.

Stored items may carry one private member, `PRIVATE`: what the upstream that made them wants to see again, and nobody
else may see: on a reasoning item {"field", "details", "upstream"}, on a call {"provider_data", "upstream"}, on any of
them {"abandoned"}, empty ones left out; `rendering.hosted` has more. `public` takes it off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from antiphon.events import (
    AnnotationAdded,
    ApprovalDecided,
    ItemReceived,
    ReasoningDelta,
    ReasoningFinished,
    ReasoningStarted,
    RefusalDelta,
    RefusalFinished,
    RefusalStarted,
    RunEvent,
    RunFinished,
    RunStarted,
    TextDelta,
    TextFinished,
    TextStarted,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallFailed,
    ToolCallFinished,
    ToolCallStarted,
    TurnFailed,
    TurnFinished,
    TurnStarted,
)
from antiphon.rendering.frames import DeltaTemplate, FrameWriter, delta_template
from antiphon.rendering.hosted import HostedItems, OpenItem, keep
from antiphon.rendering.shapes import (
    CALLS,
    FUNCTION,
    HOSTED,
    RAW_REASONING,
    REFUSAL,
    STRICT_REASONING,
    SUMMARY,
    TEXT,
    CallShape,
    Framing,
)
from antiphon.wire.items import PRIVATE as PRIVATE
from antiphon.wire.reasoning import Reasoning, seal
from antiphon.wire.responses import Item
from antiphon.wire.sealed import Sealer

Handlers = dict[type, Callable[[Any], None]]


class _OpenBlock:
    """A block that was started and not finished. ``carrier`` is the part or item that its text belongs to."""

    __slots__ = ("carrier", "framing", "owner", "pieces", "position", "template")

    carrier: dict[str, Any]
    position: dict[str, Any]
    template: DeltaTemplate

    def __init__(self, owner: OpenItem, framing: Framing) -> None:
        self.owner = owner
        self.framing = framing
        self.pieces: list[str] = []

    def point_at(self, carrier: dict[str, Any], position: dict[str, Any]) -> None:
        """From here on text goes to ``carrier``, and events say that it does."""
        self.carrier = carrier
        self.position = position
        self.template = delta_template(self.framing.delta, position, self.framing.delta_extra)


class _OpenBlocks(dict[str, _OpenBlock | None]):
    """Open blocks by id; None for those of further choices, which a Response has no place for."""

    def __missing__(self, block: str) -> None:
        raise ValueError(f"An event belongs to block {block!r}, which is not open: not started, or already finished.")


class ItemBuilder:
    """Builds the output items of a run from its events and writes what is to be said about them.

    ``items`` holds them in order, private members included; a closed one is not changed any more. ``handlers`` has a
    method for every event type that matters here.
    """

    def __init__(self, writer: FrameWriter, *, run: str = "", sealer: Sealer | None = None) -> None:
        self.items: list[Item] = []
        self._writer = writer
        self._id_suffix = ""
        self._reasoning = SUMMARY
        self._sealer = sealer
        self._seals_reasoning = False
        self._seal_key: str | None = None
        self._upstream: str | None = None
        self._open = _OpenBlocks()
        self._message: OpenItem | None = None  # the message that text would still be added to
        self._calls: dict[str, tuple[CallShape, str]] = {}
        self._hosted = HostedItems(self, writer)
        self._turn_began = 0  # the index of the turn's first item
        self._turn_failed = False
        self._name(run)
        self.handlers: Handlers = {
            RunStarted: self.run_started,
            TurnStarted: self._turn_started,
            TextStarted: self._text_started,
            TextDelta: self._text_delta,
            TextFinished: self._finished,
            AnnotationAdded: self._annotation_added,
            RefusalStarted: self._refusal_started,
            RefusalDelta: self._refusal_delta,
            RefusalFinished: self._finished,
            ReasoningStarted: self._reasoning_started,
            ReasoningDelta: self._reasoning_delta,
            ReasoningFinished: self._reasoning_finished,
            ToolCallStarted: self._call_started,
            ToolCallDelta: self._call_delta,
            ToolCallFinished: self._call_finished,
            ToolCallCompleted: self._call_answered,
            ToolCallFailed: self._call_answered,
            ApprovalDecided: self._decided,
            ItemReceived: self._received,
            TurnFinished: self._turn_finished,
            TurnFailed: self._failed,
            RunFinished: self.settle,
            **self._hosted.handlers,
        }

    # --- the run and its turns ---------------------------------------------------------------

    def run_started(self, event: RunStarted) -> None:
        """Take the run's id and what its request says about reasoning."""
        self._name(event.run)
        if event.raw_reasoning:
            self._reasoning = STRICT_REASONING if event.profile == "open-responses" else RAW_REASONING
        include = event.request.get("include") or ()
        self._seals_reasoning = "reasoning.encrypted_content" in include
        self._hosted.shows_results = "file_search_call.results" in include
        self._seal_key = event.seal_key

    def _name(self, run: str) -> None:
        self._id_suffix = run.partition("_")[2] or run
        self._hosted.run = run

    def _turn_started(self, event: TurnStarted) -> None:
        self.settle()
        if self._turn_failed:
            for item in self.items[self._turn_began :]:
                keep(item, abandoned=True)
        self._hosted.turn = event.turn
        self._turn_began, self._turn_failed = len(self.items), False
        self._upstream = event.upstream

    def _failed(self, _: TurnFailed) -> None:
        self.settle()
        self._turn_failed = True

    def _turn_finished(self, _: object) -> None:
        self._close_blocks()

    def settle(self, _: object = None) -> None:
        """Close what is still open, as incomplete: the run or a turn is over, or a crash ended it."""
        self._close_blocks()
        self._hosted.settle()

    def _close_blocks(self) -> None:
        for block in list(self._open.values()):
            if block is None:
                continue
            if block.framing is self._reasoning:
                reasoning = Reasoning(text="".join(block.pieces), upstream=self._upstream)
                self._close_reasoning(block, reasoning, "incomplete")
            else:
                self._close_block(block, "incomplete")
        self._open.clear()
        self._leave_message()

    def output(self) -> list[Item]:
        """The items as clients see them now, open ones with what they have so far."""
        for block in self._open.values():
            if block is not None and block.pieces:
                block.carrier[block.framing.text] = "".join(block.pieces)
        return [public(item) for item in self.items]

    # --- items -------------------------------------------------------------------------------

    def announce(self, prefix: str, fields: dict[str, Any]) -> OpenItem:
        """Say that there is an item; one that has no id among its ``fields`` is given one."""
        self._leave_message()
        index = len(self.items)
        item: Item = {"id": f"{prefix}_{self._id_suffix}{index:04x}", **fields}
        self.items.append(item)
        self._writer.write("response.output_item.added", {"output_index": index, "item": item})
        return OpenItem(index, item)

    def _leave_message(self) -> None:
        message, self._message = self._message, None
        if message is not None and not message.blocks:
            self.close_item(message)

    def close_item(self, owner: OpenItem) -> None:
        """Say that an item is whole, or will not be."""
        if "status" in owner.item:
            owner.item["status"] = owner.status
        fields = {"output_index": owner.index, "item": public(owner.item)}
        self._writer.write("response.output_item.done", fields)

    # --- blocks ------------------------------------------------------------------------------

    def _open_block(self, block_id: str, owner: OpenItem, framing: Framing) -> _OpenBlock:
        if block_id in self._open:
            raise ValueError(f"Block {block_id!r} was started twice.")
        block = self._open[block_id] = _OpenBlock(owner, framing)
        owner.blocks += 1
        return block

    def _add_part(self, block: _OpenBlock) -> None:
        owner, framing = block.owner, block.framing
        part = framing.part() if framing.part else {}
        parts: list[dict[str, Any]] = owner.item.setdefault(framing.parts, [])
        position = {"item_id": owner.item["id"], "output_index": owner.index, framing.part_index: len(parts)}
        parts.append(part)
        block.point_at(part, position)
        self._writer.write(f"{framing.part_event}.added", {**position, "part": part})

    def _close_block(self, block: _OpenBlock, status: str, text: str | None = None) -> None:
        """``text`` is the whole text where it may be another than the deltas'."""
        framing, streamed = block.framing, "".join(block.pieces)
        if text is None:
            text = streamed
        elif text != streamed and text.startswith(streamed):
            self._writer.write_delta(block.template, text[len(streamed) :])
        carrier = block.carrier
        carrier[framing.text] = text
        repeated = {name: carrier[name] for name in framing.repeated}
        self._writer.write(framing.done, {**block.position, framing.text: text, **repeated})
        if framing.part is not None:
            self._writer.write(f"{framing.part_event}.done", {**block.position, "part": carrier})
        self._release(block, status)

    def _release(self, block: _OpenBlock, status: str) -> None:
        self.release(block.owner, status)

    def release(self, owner: OpenItem, status: str = "completed") -> None:
        """Let go of an item; it is closed when nobody holds it any more."""
        owner.blocks -= 1
        if status != "completed":
            owner.status = "incomplete"
        if not owner.blocks and owner is not self._message:
            self.close_item(owner)

    # --- messages ----------------------------------------------------------------------------

    def _text_started(self, event: TextStarted) -> None:
        self._start_in_message(event, TEXT)

    def _refusal_started(self, event: RefusalStarted) -> None:
        self._start_in_message(event, REFUSAL)

    def _start_in_message(self, event: TextStarted | RefusalStarted, framing: Framing) -> None:
        if event.choice:
            self._open[event.block] = None
            return
        message = self._message
        if message is None:
            fields = {"type": "message", "status": "in_progress", "role": "assistant", "content": []}
            message = self._message = self.announce("msg", fields)
        self._add_part(self._open_block(event.block, message, framing))

    def _text_delta(self, event: TextDelta) -> None:
        block = self._open[event.block]
        if block is None:
            return
        block.pieces.append(event.text)
        if event.logprobs:
            logprobs = [_logprob(logprob) for logprob in event.logprobs]
            block.carrier["logprobs"].extend(logprobs)
            fields = {**block.position, "delta": event.text, "logprobs": logprobs}
            self._writer.write(block.framing.delta, fields)
        else:
            self._writer.write_delta(block.template, event.text)

    def _refusal_delta(self, event: RefusalDelta) -> None:
        block = self._open[event.block]
        if block is not None:
            block.pieces.append(event.text)
            self._writer.write_delta(block.template, event.text)

    def _annotation_added(self, event: AnnotationAdded) -> None:
        block = self._open[event.block]
        if block is None:
            return
        annotations: list[dict[str, Any]] = block.carrier["annotations"]
        fields = {**block.position, "annotation_index": len(annotations), "annotation": event.annotation}
        annotations.append(event.annotation)
        self._writer.write("response.output_text.annotation.added", fields)

    def _finished(self, event: TextFinished | RefusalFinished) -> None:
        block = self._open[event.block]
        del self._open[event.block]
        if block is not None:
            self._close_block(block, event.status)

    # --- reasoning ---------------------------------------------------------------------------

    def _reasoning_started(self, event: ReasoningStarted) -> None:
        if event.choice:
            self._open[event.block] = None
            return
        fields = {"type": "reasoning", "status": "in_progress", "summary": []}
        self._open_block(event.block, self.announce("rs", fields), self._reasoning)

    def _reasoning_delta(self, event: ReasoningDelta) -> None:
        block = self._open[event.block]
        if block is None:
            return
        if not block.pieces:
            self._add_part(block)  # not before there is text: reasoning may be nothing but opaque details
        block.pieces.append(event.text)
        self._writer.write_delta(block.template, event.text)

    def _reasoning_finished(self, event: ReasoningFinished) -> None:
        block = self._open[event.block]
        del self._open[event.block]
        if block is None:
            return
        reasoning = Reasoning(
            text="".join(block.pieces), details=event.details, field=event.field, upstream=self._upstream
        )
        self._close_reasoning(block, reasoning, event.status)

    def _close_reasoning(self, block: _OpenBlock, reasoning: Reasoning, status: str) -> None:
        item = block.owner.item
        if self._seals_reasoning and self._sealer is not None:
            item["encrypted_content"] = seal(reasoning, self._sealer, key=self._seal_key)
        keep(item, field=reasoning.field, details=reasoning.details, upstream=reasoning.upstream)
        if block.pieces:
            self._close_block(block, status)
        else:
            self._release(block, status)

    # --- tool calls --------------------------------------------------------------------------

    def _call_started(self, event: ToolCallStarted) -> None:
        if event.choice or event.needs_approval:
            self._open[event.block] = None
            if not event.choice:
                self._hosted.defer(event)
            return
        self._open_call(event)

    def _open_call(self, event: ToolCallStarted, approval: str | None = None) -> None:
        hosted = HOSTED.get(event.kind)
        if hosted is None:
            shape = CALLS.get(event.kind, FUNCTION)
            framing: Framing | None = shape.framing
            fields = {"type": shape.type, "status": "in_progress", "call_id": event.call_id, "name": event.name}
            if event.namespace is not None:
                fields["namespace"] = event.namespace
            owner = self.announce(shape.prefix, {**fields, shape.framing.text: ""})
            keep(owner.item, carried=event.idempotency_key is not None, approval_request_id=approval)
            self._calls[event.block] = shape, event.call_id
            self._hosted.note(event)
        else:
            framing = hosted.framing
            owner = self._hosted.announce(event, hosted, approval)
        if framing is None:
            self._open[event.block] = None
            return
        block = self._open_block(event.block, owner, framing)
        block.point_at(owner.item, {"item_id": owner.item["id"], "output_index": owner.index})

    def _call_delta(self, event: ToolCallDelta) -> None:
        block = self._open[event.block]
        if block is not None and event.arguments:
            block.pieces.append(event.arguments)
            self._writer.write_delta(block.template, event.arguments)

    def _call_finished(self, event: ToolCallFinished) -> None:
        block = self._open[event.block]
        del self._open[event.block]
        self._hosted.called(event)
        if block is not None:
            if event.provider_data:
                keep(block.owner.item, provider_data=event.provider_data, upstream=self._upstream)
            self._close_block(block, event.status, event.arguments)

    def _decided(self, event: ApprovalDecided) -> None:
        # Only now the call takes place, or does not; until then its request was all there was of it.
        if (call := self._hosted.decided(event)) is not None:
            self._open_call(call.started, event.approval_id)
            self._call_finished(ToolCallFinished(block=event.block, arguments=call.arguments))

    def _received(self, event: ItemReceived) -> None:
        fields = {name: value for name, value in event.item.items() if name != "id"}
        is_staged = "status" in fields
        owner = self.announce("item", {**fields, "status": "in_progress"} if is_staged else fields)
        owner.status = str(fields.get("status"))
        keep(owner.item, upstream=self._upstream, upstream_id=event.item.get("id"))
        self.close_item(owner)

    def _call_answered(self, event: ToolCallCompleted | ToolCallFailed) -> None:
        if self._hosted.answered(event) or event.block not in self._calls:
            return
        # The result is an item too: the next turn, and whoever continues from this response, must see it.
        shape, call_id = self._calls[event.block]
        output = event.content if isinstance(event, ToolCallCompleted) and event.content else event.output
        fields = {"type": f"{shape.type}_output", "status": "in_progress", "call_id": call_id, "output": output}
        self.close_item(self.announce(shape.output_prefix, fields))


class _Silence(FrameWriter):
    """For when only the items are wanted."""

    def write(self, type_: str, fields: dict[str, Any]) -> None:
        """Do nothing."""

    def write_delta(self, template: DeltaTemplate, delta: str) -> None:
        """Do nothing."""


def output_items(events: Iterable[RunEvent], run: str) -> list[Item]:
    """The output items of a run as its response shows them (ids, order, statuses), with their private members.

    Nothing in them is sealed: what would be is in the private members. ``events`` may be any beginning of the journal;
    blocks still open then are ``in_progress``.
    """
    builder = ItemBuilder(_Silence(), run=run)
    handlers = builder.handlers
    for event in events:
        if (handler := handlers.get(type(event))) is not None:
            handler(event)
    builder.output()
    return builder.items


def public(item: Item) -> Item:
    """The item as clients see it: without its private member."""
    return {name: value for name, value in item.items() if name != PRIVATE}


def is_abandoned(item: Item) -> bool:
    """Whether a stored item is of a turn that failed and was asked again: it was shown, and no model must see it."""
    return bool(item.get(PRIVATE, {}).get("abandoned"))


def _logprob(logprob: dict[str, Any]) -> dict[str, Any]:
    """A chat token's logprob in the Responses shape, where no member may be missing or null."""
    top = [{**other, "bytes": other.get("bytes") or []} for other in logprob.get("top_logprobs") or ()]
    return {**logprob, "bytes": logprob.get("bytes") or [], "top_logprobs": top}
