"""The settings of a request as its Response object shows them: every required field, and null only where allowed.

The rules are the ``ResponseResource`` of Open Responses 2026-04-24, the stricter of the two documents: it refuses
null for sampling settings, tools and the like, and a function tool must show all of its members.
"""

from __future__ import annotations

from typing import Any

# What OpenAI uses where the request says nothing (or null).
_DEFAULTS: dict[str, Any] = {
    "background": False,
    "frequency_penalty": 0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1,
    "text": {},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1,
    "truncation": "disabled",
}
# Shown only if they were sent: no document requires them.
_OPTIONAL = ("prompt", "prompt_cache_retention", "user")


def echoed(request: dict[str, Any]) -> dict[str, Any]:
    """The fields of a Response object that repeat its request."""
    shown = {name: default if (sent := request.get(name)) is None else sent for name, default in _DEFAULTS.items()}
    shown["reasoning"] = {"effort": None, "summary": None, **shown["reasoning"]}
    shown["text"] = _text(shown["text"])
    if isinstance(choice := shown["tool_choice"], dict) and choice.get("type") == "allowed_tools":
        shown["tool_choice"] = {"mode": "auto", **choice}
    shown["tools"] = [_tool(tool) for tool in shown["tools"]]
    shown.update((name, request[name]) for name in _OPTIONAL if request.get(name) is not None)
    conversation = request.get("conversation")
    if conversation is not None:
        shown["conversation"] = {"id": conversation if isinstance(conversation, str) else conversation["id"]}
    return shown


def _text(text: dict[str, Any]) -> dict[str, Any]:
    text_format = text.get("format") or {"type": "text"}
    if text_format.get("type") == "json_schema":
        text_format = {"description": None, "strict": False, **text_format}
        if text_format["strict"] is None:
            text_format["strict"] = False
    return {**text, "format": text_format}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": None, **tool}
