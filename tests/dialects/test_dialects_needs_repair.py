"""Which dialects a client of OpenAI's chat API can speak as it is, and which need an interpreter."""

from typing import Any

import pytest

from antiphon.config.dialects import shipped
from antiphon.dialects import AnswerRules, ChatRules, Dialect, choose


@pytest.mark.parametrize(
    ("base_url", "model", "named", "needed"),
    [
        ("http://localhost:9000/v1", "gpt-oss-20b", (), False),
        ("https://api.openai.com/v1", "gpt-5", (), False),
        ("https://x.openai.azure.com/v1", "o3", (), False),
        ("https://api.x.ai/v1", "grok-4", (), False),
        ("https://openrouter.ai/api/v1", "some/model", (), False),
        ("https://api.mistral.ai/v1", "some-model", (), True),
        ("http://localhost:9000/v1", "devstral-small", (), True),
        ("http://localhost:9000/v1", "gemma-3-27b", (), True),
        ("https://api.cerebras.ai/v1", "llama", (), True),
        ("http://localhost:9000/v1", "m", ("thinking/prefilled",), True),
    ],
)
def test_a_shipped_dialect_needs_it_where_something_is_refused_or_comes_otherwise(
    base_url: str, model: str, named: tuple[str, ...], needed: bool
) -> None:
    assert choose(shipped(), base_url=base_url, model=model, named=named).needs_repair is needed


@pytest.mark.parametrize(
    ("rules", "needed"),
    [
        ({"takes": frozenset({"seed"})}, False),
        ({"refuses": frozenset({"seed"})}, True),
        ({"echo_reasoning": "allow", "echo_details": True}, False),
        ({"echo_reasoning": "require"}, True),
        ({"system_messages": "keep"}, False),
        ({"system_messages": "hoist"}, True),
        ({"schema_keywords": frozenset({"type"})}, True),
    ],
)
def test_that_more_is_taken_is_no_reason(rules: dict[str, Any], needed: bool) -> None:
    assert Dialect(requests=ChatRules(**rules), entries=("mine",)).needs_repair is needed


def test_reasoning_under_another_name_is_no_reason_but_reasoning_in_the_text_is() -> None:
    assert not Dialect(answers=AnswerRules(reasoning_fields=("thoughts",)), entries=("mine",)).needs_repair
    assert Dialect(answers=AnswerRules(think_tags=("think",)), entries=("mine",)).needs_repair
