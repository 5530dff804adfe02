"""What an upstream accepts in a request: what `antiphon.translation` goes by.

The ids are rows of the catalogue of quirks.
"""

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
    ``responses``: how much of the Responses API an upstream takes that is asked over it: ``full`` is freeform tools and
    images in the outputs of tools as well, ``functions`` is what most servers have.
    ``takes`` and ``refuses`` add to `COMMON_PARAMETERS` and take away from them, in this order: strict servers answer
    400 or 422 to names they do not know.
    """

    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # Q100
    developer_role: Literal["system", "developer"] = "system"  # Q101
    system_messages: Literal["merge", "hoist", "demote", "keep"] = "merge"  # Q102
    merge_users: bool = False  # Q102: roles must alternate
    tool_content: Literal["text", "parts"] = "text"  # Q103
    tool_choices: Literal["all", "modes", "auto"] = "all"  # Q105
    takes: frozenset[str] = frozenset()  # Q106, Q112
    refuses: frozenset[str] = frozenset()  # Q106, Q112
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
    responses: Literal["full", "functions"] = "functions"  # R25

    @property
    def parameters(self) -> frozenset[str]:
        """The names of the parameters that may be sent."""
        return (COMMON_PARAMETERS | self.takes) - self.refuses
