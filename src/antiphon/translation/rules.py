"""What chat upstreams refuse in a request, as data. The ids are rows of the catalogue of quirks (Q100 to Q112)."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

# Not parameters of Responses: who sends them knows the server behind.
EXTRA_PARAMETERS = frozenset(
    {"stop", "seed", "logit_bias", "top_k", "min_p", "repetition_penalty", "chat_template_kwargs"}
)
# Parameters of Chat Completions that most servers take.
COMMON_PARAMETERS = EXTRA_PARAMETERS | frozenset(
    {
        "frequency_penalty",
        "logprobs",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "temperature",
        "tool_choice",
        "top_logprobs",
        "top_p",
        "user",
    }
)
# OpenAI takes these too; strict servers answer 400 or 422 to names they do not know (Q112).
OPENAI_PARAMETERS = COMMON_PARAMETERS | {
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "verbosity",
}
# Reasoning models of OpenAI answer 400 to these.
_SAMPLING_PARAMETERS = {"temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs"}


class ChatRules(Struct, frozen=True, kw_only=True):
    """How a chat request for one upstream and model must look; the defaults are what most servers accept.

    The values that are not plain:

    ``system_messages``: ``merge`` joins those at the head into one, ``hoist`` also moves later ones there, ``demote``
    makes later ones user messages, ``keep`` changes nothing.
    ``call_ids``: ``keep``, Mistral's nine letters and digits, or Kimi's ``functions.name:0``.
    ``empty_content``: what stands in an assistant message that only calls tools.
    ``echo_reasoning``: ``require`` also fills a gap, since such servers refuse a tool call without its reasoning.
    ``tool_choices``: ``modes`` means auto, none and required, but no single function; ``auto`` only the first two.
    ``response_format``: the most that the upstream can be held to; what is beyond it, the model is told.
    ``schema_keywords``: the only JSON Schema keywords allowed in parameters; None means all.
    """

    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # Q100
    developer_role: Literal["system", "developer"] = "system"  # Q101
    system_messages: Literal["merge", "hoist", "demote", "keep"] = "merge"  # Q102
    merge_users: bool = False  # Q102: roles must alternate
    tool_content: Literal["text", "parts"] = "text"  # Q103
    tool_choices: Literal["all", "modes", "auto"] = "all"  # Q105
    parameters: frozenset[str] = COMMON_PARAMETERS  # Q106, Q112
    response_format: Literal["json_schema", "json_object", "text"] = "json_schema"  # Q106
    include_usage: bool = True  # Q106: stream_options
    strict_tools: bool = True  # Q106: the `strict` of a function
    schema_keywords: frozenset[str] | None = None  # Q107
    max_name_length: int = 64  # Q108
    images: bool = True  # Q109
    files: bool = True  # Q109
    call_ids: Literal["keep", "alphanumeric_9", "functions"] = "keep"  # Q31, Q32
    max_call_id_length: int = 64  # Q34
    empty_content: Literal["omit", "null", "empty"] = "omit"  # Q111
    echo_reasoning: Literal["require", "allow", "forbid"] = "forbid"  # Q70, Q71
    echo_details: bool = False  # Q64: `reasoning_details`, to the upstream they came from


DEFAULT_RULES = ChatRules()

# Gemini's schema is a protobuf message: an unknown keyword is an error (LibreChat#13850 probed the list live).
_GEMINI_KEYWORDS = frozenset(
    {
        "anyOf",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maximum",
        "minItems",
        "minimum",
        "nullable",
        "properties",
        "required",
        "title",
        "type",
    }
)

# By the name of the dialect; what is not here follows the defaults.
RULES: dict[str, ChatRules] = {
    "openai-reasoning": ChatRules(
        max_tokens_key="max_completion_tokens",
        developer_role="developer",
        system_messages="keep",
        parameters=OPENAI_PARAMETERS - _SAMPLING_PARAMETERS,
    ),
    "mistral": ChatRules(call_ids="alphanumeric_9", empty_content="empty"),
    "kimi-k2": ChatRules(call_ids="functions", echo_reasoning="require"),
    "deepseek": ChatRules(echo_reasoning="require", tool_choices="auto", response_format="json_object"),
    "llama.cpp": ChatRules(echo_reasoning="allow", system_messages="hoist"),
    "gemma": ChatRules(system_messages="hoist", merge_users=True),
    "openrouter": ChatRules(echo_reasoning="allow", echo_details=True),
    "gemini": ChatRules(schema_keywords=_GEMINI_KEYWORDS, strict_tools=False),
}
