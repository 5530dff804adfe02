"""What each provider and model does differently: types and pure look-up. Data, never ``if "deepseek" in model``.

This room reads no files: whoever reads the data hands over mappings already parsed.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How one upstream and model differ from OpenAI's own chat completions, as far as answers go.

    ``reasoning_fields`` are the names reasoning text comes under, the first non-empty one wins (Q62, Q63).
    ``think_tags`` are tags that may open the text, such as ``think`` for ``<think>`` (Q66); ``starts_in_thinking``
    says that the prompt template has already opened the first of them (Q67). ``finish_reasons`` adds to the table
    of finish reasons (Q45). ``mends_argument_tail`` cuts markup off behind whole arguments (Q26).
    ``tool_markup`` names the ways in which tool calls may be written into the text (Q27): ``hermes``, ``dsml``,
    ``calling_tool``. ``empty_answer_fails`` makes an answer without any output a failure that may be retried (Q46).
    """

    name: str = "openai"
    reasoning_fields: tuple[str, ...] = ("reasoning_content", "reasoning")
    think_tags: tuple[str, ...] = ()
    starts_in_thinking: bool = False
    finish_reasons: Mapping[str, str] = {}
    mends_argument_tail: bool = False
    tool_markup: tuple[str, ...] = ()
    empty_answer_fails: bool = False


OPENAI = Dialect()
