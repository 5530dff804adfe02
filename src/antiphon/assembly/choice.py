"""One choice of an answer: what its chunks add, in what order, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from antiphon.assembly import citations, finish
from antiphon.assembly.calls import ToolCalls
from antiphon.assembly.emission import Emission
from antiphon.assembly.markup import MarkupReader, WrittenCall
from antiphon.assembly.speech import Speech
from antiphon.assembly.thinking import ThinkSplitter
from antiphon.dialects.answers import AnswerRules

_CHOICE_KEYS = frozenset({"index", "delta", "message", "finish_reason", "logprobs", "usage", "error", "text"})
_DELTA_KEYS = frozenset(
    {"role", "content", "refusal", "tool_calls", "function_call", "annotations", "reasoning_details"}
)
_SHORT_WAY = frozenset({"index", "delta", "finish_reason", "logprobs"})
_MAX_KEPT_KEYS = 256


class Ending(NamedTuple):
    """How a choice ended: our finish reason, the upstream's own word, and whether anything came of it."""

    reason: str
    word: str | None
    has_output: bool
    only_reasoning: bool


class Choice:
    """State of one choice, from its first chunk to the end of the stream."""

    __slots__ = (
        "_delta_keys",
        "_emission",
        "_is_short_way_shut",
        "_markup",
        "_rules",
        "_shown_field",
        "_text_fields",
        "_think",
        "calls",
        "extra",
        "finish_reason",
        "speech",
    )

    def __init__(self, index: int, emission: Emission, rules: AnswerRules, offered: Mapping[str, Any]) -> None:
        self._emission = emission
        self._rules = rules
        self._delta_keys = _DELTA_KEYS.union(rules.reasoning_fields)
        self._text_fields = frozenset({"content", "refusal", *rules.reasoning_fields})
        self._think: ThinkSplitter | None = None
        if rules.think_tags:
            self._think = ThinkSplitter(rules.think_tags, starts_in_thinking=rules.starts_in_thinking)
        self._markup = MarkupReader(rules.tool_markup, offered) if rules.tool_markup and offered else None
        self.speech = Speech(index, emission)
        self.calls = ToolCalls(index, emission, rules, offered, self.speech.close)
        self._shown_field: str | None = None  # where the reasoning text is read from, if there are several (Q65)
        self._is_short_way_shut = self._think is not None or self._markup is not None
        self.finish_reason: str | None = None
        self.extra: dict[str, Any] = {}

    def take_more(self, choice: dict[str, Any]) -> bool:
        """The short way for most chunks: more of what is open, be it text, reasoning or arguments, and nothing else.

        Gives the same events as `take`; False, and nothing done, if there is anything else to look at.
        """
        delta = choice.get("delta")
        if self._is_short_way_shut or type(delta) is not dict or choice.get("finish_reason") or choice.get("logprobs"):
            return False
        if not _SHORT_WAY.issuperset(choice):
            for key, value in choice.items():
                if value is not None and key not in _SHORT_WAY:
                    return False
        speech = self.speech
        field = speech.field if speech.field in self._text_fields else None
        text = delta.get(field)
        if not text:
            field = "tool_calls"
        if len(delta) > 1:
            if not self._delta_keys.issuperset(delta):
                return False
            for key, value in delta.items():
                if value and key != field and key != "role":
                    return False
        if not text:
            calls = delta.get("tool_calls")
            return type(calls) is list and len(calls) == 1 and self.calls.take_more(calls[0])
        if type(text) is not str:
            return False
        speech.say_more(text)
        return True

    def repeated(self, delta: dict[str, Any]) -> tuple[str, str, Callable[[str], None]]:
        """Of a delta that `take_more` took: the field that has the text, the text, and what takes more of the same."""
        speech = self.speech
        text = delta.get(speech.field) if speech.field in self._text_fields else None
        if speech.field and text:
            return speech.field, text, speech.say_more
        return self.calls.repeated(delta["tool_calls"][0])

    def take(self, choice: dict[str, Any]) -> None:
        """Take one chunk's part for this choice; the delta counts before the finish reason (Q43)."""
        delta, whole = choice.get("delta"), False
        if type(delta) is not dict:
            delta, whole = choice.get("message"), True
        if self.finish_reason is not None and delta:
            self._note_late(delta)
        logprobs = self._logprobs(choice.get("logprobs"))
        if type(delta) is dict:
            self._take_delta(delta, whole, logprobs)
        if not _CHOICE_KEYS.issuperset(choice):
            self._keep(self.extra, choice, _CHOICE_KEYS)
        reason = choice.get("finish_reason")
        if type(reason) is str and reason:
            self.finish_reason = reason
            self._is_short_way_shut = True  # from here on, `take` tells of what still comes

    def _note_late(self, delta: object) -> None:
        if type(delta) is dict and any(value for key, value in delta.items() if key != "role"):
            self._emission.note("Q44", delta, "went on after a finish reason")

    def _take_delta(self, delta: dict[str, Any], whole: bool, logprobs: list[dict[str, Any]]) -> None:
        self._take_reasoning(delta)
        content = delta.get("content")
        if content or logprobs:
            self._take_content(content, logprobs)
        refusal = delta.get("refusal")
        if refusal and type(refusal) is str:
            self.speech.say("refusal", refusal, "refusal")
        calls = delta.get("tool_calls")
        if calls:
            self._take_calls(calls, whole)
        legacy = delta.get("function_call")
        if legacy and type(legacy) is dict:
            self._emission.note("Q29", legacy, "read function_call as a tool call")
            self.calls.take([{"index": 0, "function": legacy}], whole=False)
        annotations = delta.get("annotations")
        if annotations and type(annotations) is list:
            for annotation in annotations:
                if type(annotation) is dict:
                    self.speech.annotate(citations.flatten(annotation))
        if not self._delta_keys.issuperset(delta):
            self._keep(self.extra.setdefault("delta", {}), delta, self._delta_keys)

    def _take_calls(self, calls: object, whole: bool) -> None:
        if type(calls) is dict:
            self._emission.note("Q01", calls, "read one tool call that was not in a list")
            calls = [calls]
        if type(calls) is list:
            self.calls.take(calls, whole=whole)
        else:
            self._emission.note("Q30", calls, "ignored tool calls that are no list")

    def _take_reasoning(self, delta: dict[str, Any]) -> None:
        speech, field, text = self.speech, None, ""
        for name in self._rules.reasoning_fields:
            seen = _part_text(delta.get(name))
            if seen:
                if field is None:
                    field, text = name, seen
                else:
                    done = "the same" if seen == text else "another"
                    self._emission.note("Q65", seen, f"{done} reasoning in a second field: left out")
        details = delta.get("reasoning_details")
        fragments = [part for part in details if type(part) is dict] if type(details) is list else []
        if field is None and self._shown_field in (None, "reasoning_details"):
            text, field = _shown(fragments), "reasoning_details"
        if text:
            self._shown_field = self._shown_field or field
            speech.say("reasoning", text, field)
        for fragment in fragments:
            speech.add_detail(fragment)

    def _take_content(self, content: object, logprobs: list[dict[str, Any]]) -> None:
        if type(content) is list:
            self._emission.note("Q48", content, "read a list of content parts")
            for part in content:
                self._take_part(part)
        elif type(content) is dict:
            self._take_part(content)
        elif type(content) is str and (content or self.speech.kind == "text"):
            self._take_text(content, logprobs)
        elif logprobs:
            self.extra["logprobs"] = logprobs
        elif content is not None:
            self._emission.note("Q48", content, "ignored content that is neither text nor a list")

    def _take_text(self, text: str, logprobs: list[dict[str, Any]]) -> None:
        if self._think is not None:
            self._say_split(self._think.feed(text))
            if self._think.state == "text":
                self._think = None
                self._is_short_way_shut = self._markup is not None or self.finish_reason is not None
        elif self._markup is not None:
            if logprobs:
                self._emission.note("Q27", text, "left out log probabilities: calls are looked for in this text")
            self._say_marked_up(self._markup.feed(text))
        elif logprobs:
            self.speech.say_text(text, logprobs)
        else:
            self.speech.say("text", text, "content")

    def _say_split(self, pieces: list[tuple[bool, str]]) -> None:
        for is_reasoning, text in pieces:
            if is_reasoning:
                self._emission.note("Q66", text, "took tagged text for reasoning")
                self.speech.say("reasoning", text, "think")
            elif self._markup is not None:
                self._say_marked_up(self._markup.feed(text))
            else:
                self.speech.say("text", text, "content")

    def _say_marked_up(self, pieces: list[str | WrittenCall]) -> None:
        for piece in pieces:
            if isinstance(piece, str):
                self.speech.say("text", piece, "content")
            else:
                self._emission.note("Q27", piece, "took markup in the text for a tool call")
                self.calls.add(piece.name, piece.arguments, piece.call_id)

    def _take_part(self, part: object) -> None:
        if type(part) is str:
            part = {"type": "text", "text": part}
        if type(part) is not dict:
            return
        kind = part.get("type")
        if kind == "thinking":
            if text := _part_text(part.get("thinking")):
                self.speech.say("reasoning", text, "content[].thinking")
        elif kind == "refusal":
            if text := _part_text(part.get("refusal")):
                self.speech.say("refusal", text)
        elif text := _part_text(part.get("text")):
            self._take_text(text, [])
        elif kind not in ("text", "output_text"):
            parts = self.extra.setdefault("content_parts", {})
            if len(parts) < _MAX_KEPT_KEYS:
                parts[str(kind)] = part

    def _logprobs(self, seen: object) -> list[dict[str, Any]]:
        if type(seen) is not dict:
            return []
        content = seen.get("content")
        if type(content) is list and all(_is_logprob(entry) for entry in content):
            return content
        if any(value for value in seen.values()):
            self.extra["logprobs"] = seen  # an older shape, or a refusal's (Q61)
        return []

    def _keep(self, kept: dict[str, Any], seen: dict[str, Any], known: frozenset[str]) -> None:
        """Keep what nobody here knows: the last value of each key (Q57)."""
        for key, value in seen.items():
            if key not in known and value is not None and (key in kept or len(kept) < _MAX_KEPT_KEYS):
                kept[key] = value

    @property
    def finish_word(self) -> str | None:
        """Our word for the finish reason so far; None if there was none."""
        return finish.normalise(self.finish_reason, self._rules.finish_reasons)

    @property
    def is_empty(self) -> bool:
        """Nothing was said and nothing was called."""
        return not (self.speech.has_said or self.calls)

    def end(self, *, failed: bool = False) -> Ending:
        """Close what is open and say how it ended; ``failed`` if the stream did."""
        word = self.finish_word
        cut = failed or word in finish.CUT
        if self._think is not None:
            self._say_split(self._think.flush())
        if self._markup is not None:
            self._say_marked_up(self._markup.flush(cut=cut))
        self.speech.close("incomplete" if cut else "completed")
        whole_calls = self.calls.finish(cut=cut, failed=failed)
        unclaimed = self.speech.unclaimed_annotations()
        if unclaimed:
            self._emission.note("Q59", unclaimed, "kept citations of no text in provider_data")
            self.extra["annotations"] = unclaimed[:_MAX_KEPT_KEYS]
        return Ending(
            reason=finish.decide(word, whole_calls=whole_calls, any_calls=bool(self.calls)),
            word=self.finish_reason,
            has_output=not self.is_empty,
            only_reasoning=self.speech.has_said == {"reasoning"} and not self.calls,
        )


def _is_logprob(seen: object) -> bool:
    """Whether it has the shape that OpenAI gives to a token's log probability."""
    if type(seen) is not dict:
        return False
    top = seen.get("top_logprobs")
    return not top or (type(top) is list and all(type(other) is dict for other in top))


def _part_text(seen: object) -> str:
    """The text of a part: a string, or a list of parts that have text."""
    if type(seen) is str:
        return seen
    if type(seen) is list:
        return "".join(part["text"] for part in seen if type(part) is dict and type(part.get("text")) is str)
    return ""


def _shown(fragments: list[dict[str, Any]]) -> str:
    """What of opaque parts is meant to be read."""
    texts = (part.get("text") or part.get("summary") for part in fragments)
    return "".join(text for text in texts if type(text) is str)
