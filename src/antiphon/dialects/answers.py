"""What an upstream's answers may look like beyond OpenAI's own: what `antiphon.assembly` goes by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

ToolMarkup = Literal["hermes", "glm", "dsml", "kimi", "minimax", "lfm", "calling_tool"]


class AnswerRules(Struct, frozen=True, kw_only=True):
    """How the answers of one upstream and model are to be read; the defaults hold for most.

    ``reasoning_fields`` are the names reasoning text comes under, the first non-empty one wins (Q62, Q63).
    ``think_tags`` are tags that may open the text, such as ``think`` for ``<think>`` (Q66); ``starts_in_thinking``
    says that the prompt template has already opened the first of them (Q67). ``finish_reasons`` adds to the table
    of finish reasons (Q45). ``mends_argument_tail`` cuts markup off behind whole arguments (Q26). ``tool_markup`` are
    the markups in which a tool call may stand in the text (Q27). ``empty_answer_fails`` makes an answer without any
    output a failure that may be retried (Q46).
    """

    reasoning_fields: tuple[str, ...] = ("reasoning_content", "reasoning")
    think_tags: tuple[str, ...] = ()
    starts_in_thinking: bool = False
    finish_reasons: Mapping[str, str] = {}
    mends_argument_tail: bool = False
    tool_markup: tuple[ToolMarkup, ...] = ()
    empty_answer_fails: bool = False
