"""Content parts of messages and tool outputs, as chat messages take them."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.dialects.requests import ChatRules
from antiphon.translation.notes import Notes

ChatPart = dict[str, Any]

_TEXTS = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})
_CHAT_DETAILS = frozenset({"auto", "low", "high"})


def chat_parts(content: Any, rules: ChatRules, notes: Notes) -> list[ChatPart]:
    """Content as chat parts; what the upstream cannot see becomes a word about it."""
    if isinstance(content, str):
        return [_text(content)]
    if not isinstance(content, list):
        return [_text(msgspec.json.encode(content).decode())]
    return [_chat_part(part, rules, notes) if isinstance(part, dict) else _text(str(part)) for part in content]


def seen_parts(content: str | list[ChatPart], rules: ChatRules, notes: Notes) -> list[ChatPart]:
    """The content of a chat message, all as it is but for what the upstream cannot see."""
    if isinstance(content, str):
        return [_text(content)]
    return [_seen_part(part, rules, notes) for part in content]


def with_markers(content: Any) -> Any:
    """A model's content with the markers of files that were cut out of it and made annotations.

    A model that sees that it cited goes on citing.
    """
    return [_marked(part) for part in content] if isinstance(content, list) else content


def _marked(part: Any) -> Any:
    if not isinstance(part, dict) or not isinstance(part.get("text"), str):
        return part
    text = part["text"]
    annotations = part.get("annotations")
    cited = [each for each in annotations if isinstance(each, dict)] if isinstance(annotations, list) else []
    places = [(each["index"], each["file_id"]) for each in cited if _is_placed(each, len(text))]
    for index, file_id in sorted(places, key=lambda place: place[0], reverse=True):
        text = f"{text[:index]} <|{file_id}|>{text[index:]}"
    return {**part, "text": text} if places else part


def _is_placed(annotation: dict[str, Any], length: int) -> bool:
    index = annotation.get("index")
    is_ours = annotation.get("type") == "file_citation" and isinstance(annotation.get("file_id"), str)
    return is_ours and type(index) is int and 0 <= index <= length


def collapsed(parts: list[ChatPart], *, joint: str = "\n") -> str | list[ChatPart]:
    """One string where all parts are text, which every server takes; else the parts."""
    if all(part["type"] == "text" for part in parts):
        return joint.join(part["text"] for part in parts)
    return parts


def _chat_part(part: dict[str, Any], rules: ChatRules, notes: Notes) -> ChatPart:
    match part:
        case {"type": str(kind), "text": str(text)} if kind in _TEXTS:
            return _text(text)
        case {"type": "refusal", "refusal": str(text)}:
            return _text(text)
        case {"type": "input_image"}:
            return _image(part, rules, notes)
        case {"type": "input_file"}:
            return _file(part, rules, notes)
        case {"type": "input_audio", "input_audio": dict(audio)}:
            return {"type": "input_audio", "input_audio": audio}
        case {"type": "input_video" | "computer_screenshot" as kind}:
            return _unseen(kind, notes)
    return _text(msgspec.json.encode(part).decode())  # a tool's output may be any list of objects


def _seen_part(part: ChatPart, rules: ChatRules, notes: Notes) -> ChatPart:
    match part:
        case {"type": "refusal", "refusal": str(text)}:
            return _text(text)
        case {"type": "image_url"} if not rules.images:
            return _unseen("image", notes)
        case {"type": "file", "file": dict(file)} if not rules.files:
            return _unseen(f"file {file.get('filename') or ''}".rstrip(), notes)
    return part


def _image(part: dict[str, Any], rules: ChatRules, notes: Notes) -> ChatPart:
    url = part.get("image_url")
    if not rules.images or not isinstance(url, str):
        return _unseen("image", notes)
    image = {"url": url}
    if part.get("detail") in _CHAT_DETAILS:
        image["detail"] = part["detail"]
    return {"type": "image_url", "image_url": image}


def _file(part: dict[str, Any], rules: ChatRules, notes: Notes) -> ChatPart:
    # Never an id: upstreams keep their files for an account, which all who ask here may share.
    file = {key: part[key] for key in ("file_data", "filename") if part.get(key)}
    if not rules.files or "file_data" not in file:
        return _unseen(f"file {part.get('filename') or part.get('file_url') or ''}".rstrip(), notes)
    return {"type": "file", "file": file}


def _unseen(what: str, notes: Notes) -> ChatPart:
    notes.add("Q109", seen=what, done="replaced by a line of text: the upstream cannot take it")
    return _text(f"[{what} omitted: this model cannot read it]")


def _text(text: str) -> ChatPart:
    return {"type": "text", "text": text}
