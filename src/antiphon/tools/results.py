"""What a function gave, as a model is told it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from antiphon.tools.base import ToolResult
from antiphon.tools.schemas import to_text

R = TypeVar("R", covariant=True)

_PARTS = frozenset({"input_text", "input_image", "input_file", "input_audio"})


class StopRun(Generic[R]):
    """What a tool returns to end the run: its value is the run's answer, and no model is asked again.

    The calls beside it are still answered.
    """

    def __init__(self, value: R) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"StopRun({self.value!r})"


def as_result(value: Any) -> ToolResult:
    """What a model is told of a function's value: text as it is, images and files as such, all else as JSON.

    An image is what `antiphon.image` makes, alone or in a list with texts and others.

    Raises:
        TypeError: there is no JSON for it.
    """
    if isinstance(value, StopRun):
        value = value.value
    if isinstance(value, ToolResult):
        return value
    parts = value if isinstance(value, list | tuple) else [value]
    if not any(map(_is_part, parts)) or not all(isinstance(part, str) or _is_part(part) for part in parts):
        return ToolResult(output=to_text(value))
    content = [{"type": "input_text", "text": part} if isinstance(part, str) else dict(part) for part in parts]
    return ToolResult(output="\n".join(map(_in_words, content)), content=content)


def _is_part(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("type") in _PARTS


def _in_words(part: Mapping[str, Any]) -> str:
    """A part for those who see only text."""
    return str(part["text"]) if part["type"] == "input_text" else f"[{str(part['type']).removeprefix('input_')}]"
