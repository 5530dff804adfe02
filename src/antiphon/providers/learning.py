"""What an upstream's refusal teaches about the requests it accepts.

Servers say no to a parameter, a role or a form of message with 400 or 422 and a sentence that names it. `learn` finds
in `LESSONS` what the sentence means for the rules of requests; who asks again with these rules is accepted, or learns
the next thing. Pure: what was learned is kept by the provider.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from antiphon.dialects import ChatRules

_REFUSED = frozenset({400, 422})
# Chat templates that raise an error are told of by llama.cpp and Ollama as a failure of their own.
_REFUSED_BY_TEMPLATE = _REFUSED | {500}

# Other words than "too large" or "at most": a value that is wrong teaches nothing about its name.
_NOT_ACCEPTED = re.compile(
    r"unsupported|not (?:be )?support|n't support|not (?:be )?(?:permitted|allowed|accepted|recogni[sz]ed)|forbid"
    r"|unknown|unrecogni[sz]ed|unexpected|no such|extra (?:input|field)|invalid (?:parameter|argument|field)|remove"
)

# What an upstream says is searched with patterns; nobody needs this much to say no.
_MAX_WORDS_CHARS = 16 * 1024

# Parameters without which an answer is still an answer to the question.
_DISPENSABLE = (
    *("parallel_tool_calls", "reasoning_effort", "verbosity", "chat_template_kwargs"),
    *("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"),
    *("logit_bias", "logprobs", "top_logprobs", "seed"),
    *("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier"),
    "include",  # of the Responses API: what seals reasoning is refused for models that have none
)
# The same, where the Responses API has them within another: how a refusal names it, and the rules.
_NESTED = {
    "reasoning.effort": "reasoning_effort",
    "reasoning.summary": "reasoning_summary",
    "text.verbosity": "verbosity",
}

# JSON Schema 2020-12, and what OpenAPI adds: what remains when an upstream has named the keywords it does not know.
_SCHEMA_KEYWORDS = frozenset(
    {
        *("$anchor", "$comment", "$defs", "$id", "$ref", "$schema", "additionalProperties", "allOf", "anyOf", "const"),
        *("contains", "contentEncoding", "contentMediaType", "default", "definitions", "dependentRequired"),
        *("dependentSchemas", "deprecated", "description", "else", "enum", "examples", "exclusiveMaximum"),
        *("exclusiveMinimum", "format", "if", "items", "maxContains", "maxItems", "maxLength", "maxProperties"),
        *("maximum", "minContains", "minItems", "minLength", "minProperties", "minimum", "multipleOf", "not"),
        *("nullable", "oneOf", "pattern", "patternProperties", "prefixItems", "properties", "propertyNames"),
        *("readOnly", "required", "then", "title", "type", "unevaluatedItems", "unevaluatedProperties"),
        *("uniqueItems", "writeOnly"),
    }
)


class Refusal(NamedTuple):
    """A request that was refused: its body and rules, and what the upstream said, in lower case."""

    words: str
    body: Mapping[str, Any]
    rules: ChatRules

    def says(self, pattern: str) -> bool:
        """Whether the upstream's words hold the pattern."""
        return re.search(pattern, self.words) is not None

    def refuses(self, name: str) -> bool:
        """Whether the upstream's words name something as not accepted."""
        return self.says(rf"(?<![\w-]){re.escape(name)}(?![\w-])") and _NOT_ACCEPTED.search(self.words) is not None

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The chat messages that were sent."""
        return [message for message in self.body.get("messages") or [] if isinstance(message, dict)]


class Lesson(NamedTuple):
    """One row: what may be read from a refusal. ``read`` gives values of fields, or nothing."""

    quirk: str
    meaning: str
    read: Callable[[Refusal], dict[str, Any]]
    statuses: frozenset[int] = _REFUSED


def _stream_options(refusal: Refusal) -> dict[str, Any]:
    named = "stream_options" in refusal.body and refusal.says("stream_options|include_usage")
    return {"include_usage": False} if named else {}


def _max_tokens(refusal: Refusal) -> dict[str, Any]:
    if "max_tokens" in refusal.body and refusal.refuses("max_tokens") and refusal.says("max_completion_tokens"):
        return {"max_tokens_key": "max_completion_tokens"}
    if "max_completion_tokens" in refusal.body and refusal.refuses("max_completion_tokens"):
        return {"max_tokens_key": "max_tokens"}
    return {}


def _developer(refusal: Refusal) -> dict[str, Any]:
    sent = any(message.get("role") == "developer" for message in refusal.messages)
    return {"developer_role": "system"} if sent and refusal.says(r"\bdeveloper\b|[\].\d]\.role\b") else {}


def _system_first(refusal: Refusal) -> dict[str, Any]:
    if not refusal.says(
        r"system (?:message|role|prompt)s? must (?:be|come) (?:at the (?:beginning|start)|(?:the )?first)"
    ):
        return {}
    return {"system_messages": "hoist"}


def _alternation(refusal: Refusal) -> dict[str, Any]:
    told = refusal.says(r"roles must alternate|alternate user/assistant")
    return {"system_messages": "hoist", "merge_users": True} if told else {}


def _tool_content(refusal: Refusal) -> dict[str, Any]:
    sent = any(
        message.get("role") == "tool" and isinstance(message.get("content"), list) for message in refusal.messages
    )
    return {"tool_content": "text"} if sent and refusal.says(r"\bcontent\b.*\bstr(?:ing)?\b") else {}


def _tool_choice(refusal: Refusal) -> dict[str, Any]:
    choice = refusal.body.get("tool_choice")
    if choice in (None, "auto", "none") or not refusal.refuses("tool_choice"):
        return {}
    only_named = isinstance(choice, dict) and not refusal.says("required|this tool_choice")
    return {"tool_choices": "modes" if only_named else "auto"}


def _parameters(refusal: Refusal) -> dict[str, Any]:
    named = {name for name in _DISPENSABLE if name in refusal.body and refusal.refuses(name)}
    named |= {name for dotted, name in _NESTED.items() if _has(refusal.body, dotted) and refusal.refuses(dotted)}
    if refusal.body.get("tool_choice") == "auto" and refusal.refuses("tool_choice"):
        named.add("tool_choice")  # which is auto where none is given
    return {"refuses": refusal.rules.refuses | named} if named else {}


def _has(body: Mapping[str, Any], dotted: str) -> bool:
    outer, _, inner = dotted.partition(".")
    return isinstance(found := body.get(outer), Mapping) and inner in found


def _strict(refusal: Refusal) -> dict[str, Any]:
    sent = any("strict" in (tool.get("function") or tool) for tool in refusal.body.get("tools") or [])
    return {"strict_tools": False} if sent and refusal.refuses("strict") else {}


def _schema_keywords(refusal: Refusal) -> dict[str, Any]:
    named = set(
        re.findall(r'unknown name \\*"([\w$]+)\\*" at \\*\'[\w.]*(?:tools|function_declarations)\b', refusal.words)
    )
    known = refusal.rules.schema_keywords or _SCHEMA_KEYWORDS
    left = frozenset(keyword for keyword in known if keyword.lower() not in named)
    return {"schema_keywords": left} if left != known else {}


def _call_ids(refusal: Refusal) -> dict[str, Any]:
    return {"call_ids": "alphanumeric_9"} if refusal.says("a-z, a-z, 0-9, with a length of 9") else {}


def _call_id_length(refusal: Refusal) -> dict[str, Any]:
    found = re.search(r"tool_call(?:s\[\d+\]\.|_)id.*?maximum length (\d+)", refusal.words)
    return {"max_call_id_length": int(found[1])} if found and int(found[1]) >= 9 else {}


def _reasoning_missing(refusal: Refusal) -> dict[str, Any]:
    told = refusal.says(r"reasoning_content\b.*\b(?:missing|must be (?:passed|provided|present)|required)") or (
        refusal.says(r"\b(?:missing|requires?)\b.*\breasoning_content")
    )
    return {"echo_reasoning": "require"} if told else {}


def _reasoning_unwanted(refusal: Refusal) -> dict[str, Any]:
    sent = {key for message in refusal.messages for key in message if key.startswith("reasoning")}
    if "reasoning_details" in sent and refusal.refuses("reasoning_details"):
        return {"echo_details": False}
    return {"echo_reasoning": "forbid"} if any(refusal.refuses(key) for key in sent) else {}


LESSONS: tuple[Lesson, ...] = (
    Lesson("Q80", "it takes no stream_options", _stream_options),
    Lesson("Q100", "it wants the other name for the limit of tokens", _max_tokens),
    Lesson("Q101", "it does not know the role developer", _developer),
    Lesson("Q102", "it wants the system message first", _system_first, _REFUSED_BY_TEMPLATE),
    Lesson("Q102", "it wants user and assistant to alternate", _alternation, _REFUSED_BY_TEMPLATE),
    Lesson("Q103", "it wants a tool's output as text", _tool_content),
    Lesson("Q105", "it cannot be made to call a tool", _tool_choice),
    Lesson("Q106", "it takes no such parameter", _parameters),
    Lesson("Q106", "it takes no strict functions", _strict),
    Lesson("Q107", "it does not know a keyword of JSON Schema", _schema_keywords),
    Lesson("Q31", "it wants call ids of nine letters and digits", _call_ids),
    Lesson("Q34", "it wants shorter call ids", _call_id_length),
    Lesson("Q70", "it wants its reasoning back", _reasoning_missing),
    Lesson("Q71", "it does not want its reasoning back", _reasoning_unwanted),
)


class Learned(NamedTuple):
    """What a refusal taught: values of fields of `ChatRules`, and the lessons they come from."""

    rules: dict[str, Any]
    lessons: tuple[Lesson, ...]


def learn(status: int, answer: bytes, body: Mapping[str, Any], rules: ChatRules) -> Learned | None:
    """What to change in the rules after an upstream refused a request, or None if its words teach nothing new."""
    words = " ".join(" ".join(_said(_decoded(answer)))[:_MAX_WORDS_CHARS].lower().split())
    refusal = Refusal(words, body, rules)
    changed: dict[str, Any] = {}
    lessons = []
    for lesson in LESSONS:
        if status not in lesson.statuses:
            continue
        read = {name: value for name, value in lesson.read(refusal).items() if getattr(rules, name) != value}
        if read:
            changed |= read
            lessons.append(lesson)
    return Learned(changed, tuple(lessons)) if changed else None


def _decoded(answer: bytes) -> Any:
    try:
        return msgspec.json.decode(answer)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return answer[:8192].decode("utf-8", "replace")


def _said(value: Any, depth: int = 0) -> Iterator[str]:
    """All texts of an error, in order. FastAPI repeats the request under ``input``, which says nothing about it."""
    if isinstance(value, str):
        yield value[:8192]
    elif isinstance(value, list) and depth < 8:
        for each in value[:64]:
            yield from _said(each, depth + 1)
    elif isinstance(value, dict) and depth < 8:
        for key, each in value.items():
            if key not in ("input", "ctx", "url"):
                yield from _said(each, depth + 1)
