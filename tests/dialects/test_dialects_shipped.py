"""Each shipped entry, by its id: one place where it applies, and what it changes there."""

import shutil
import subprocess
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict, replace

from antiphon.config.dialects import SHIPPED, shipped
from antiphon.dialects import OPENAI, AnswerRules, ChatRules, Dialect, choose

ROOT = Path(__file__).parents[2]
BY_ID = {entry.id: entry for entry in shipped()}

REASONING_FIRST = ("reasoning", "reasoning_content")

# id -> where it applies, and all its fields, each with what goes only with it. An empty URL means anywhere,
# an empty model any.
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "openai": (
        "https://api.openai.com/v1",
        "gpt-4o",
        {"system_messages": "keep", "takes": "verbosity", "responses": "full"},
    ),
    "openai/reasoning": (
        "https://api.openai.com/v1",
        "gpt-5.2",
        {"max_tokens_key": "max_completion_tokens", "developer_role": "developer"},
    ),
    "openai/sampling": ("https://x.openai.azure.com/openai/v1", "o4-mini", {"refuses": "temperature"}),
    "azure": ("https://x.openai.azure.com/openai/v1", "gpt-4o", {"takes": "prompt_cache_key", "responses": "full"}),
    "azure/reasoning": (
        "https://x.openai.azure.com/openai/v1",
        "gpt-5-mini",
        {"max_tokens_key": "max_completion_tokens"},
    ),
    "openrouter": (
        "https://openrouter.ai/api/v1",
        "",
        {"reasoning_fields": REASONING_FIRST, "echo_reasoning": "allow", "echo_details": True},
    ),
    "vercel": (
        "https://ai-gateway.vercel.sh/v1",
        "",
        {"reasoning_fields": REASONING_FIRST, "echo_reasoning": "allow", "echo_details": True},
    ),
    "avian": ("https://api.avian.io/v1", "", {"echo_reasoning": "allow"}),
    "groq/gpt-oss": ("https://api.groq.com/openai/v1", "openai/gpt-oss-20b", {"tool_choices": "auto"}),
    "cerebras": ("https://api.cerebras.ai/v1", "", {"refuses": "parallel_tool_calls"}),
    "mistral": ("https://api.mistral.ai/v1", "open-mixtral", {"call_ids": "alphanumeric_9"}),
    "deepseek": ("https://api.deepseek.com", "deepseek-chat", {"response_format": "json_object"}),
    "moonshot": ("https://api.moonshot.ai/v1", "moonshot-v1", {"tool_choices": "auto"}),
    "zai": ("https://api.z.ai/api/paas/v4", "glm-4.7", {"echo_reasoning": "allow"}),
    "xai": ("https://api.x.ai/v1", "grok-4", {"echo_reasoning": "allow"}),
    "gemini": (
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "gemini-3-pro",
        {"schema_keywords": "anyOf", "refuses": "top_k"},
    ),
    "dashscope": (
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "qwen-max",
        {"files": False, "system_messages": "hoist"},
    ),
    "dashscope/thinking": (
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        "qwen3.5-plus",
        {"tool_choices": "auto"},
    ),
    "minimax": ("https://api.minimax.io/v1", "abab", {"system_messages": "hoist"}),
    "snowflake": ("https://org-account.snowflakecomputing.com/api/v2/cortex/v1", "", {"strict_tools": False}),
    "huggingface": ("https://router.huggingface.co/v1", "", {"think_tags": ("think",)}),
    "bedrock-mantle": ("https://bedrock-mantle.us-east-2.api.aws/v1", "", {"echo_reasoning": "allow"}),
    "llama.cpp": ("http://localhost:8080/v1", "", {"system_messages": "hoist", "echo_reasoning": "allow"}),
    "ollama": (
        "http://box:11434/v1",
        "",
        {"reasoning_fields": REASONING_FIRST, "system_messages": "hoist", "echo_reasoning": "allow"},
    ),
    "vllm": ("http://127.0.0.1:8000/v1", "", {"reasoning_fields": REASONING_FIRST}),
    "mistral/call-ids": ("", "vendor/Devstral-Small", {"call_ids": "alphanumeric_9"}),
    "kimi/call-ids": ("", "moonshotai/Kimi-K2-Instruct", {"call_ids": "functions"}),
    "kimi/thinking": ("", "moonshotai/kimi-k2.5", {"echo_reasoning": "require"}),
    "deepseek/thinking": ("", "deepseek-v4-flash", {"echo_reasoning": "require"}),
    "deepseek/tool-choice": ("", "deepseek-reasoner", {"tool_choices": "auto"}),
    "deepseek/argument-tail": ("", "deepseek-ai/DeepSeek-V4", {"mends_argument_tail": True}),
    "qwen/system-first": ("", "Qwen/Qwen3.6-27B", {"system_messages": "hoist"}),
    "gemma/alternation": ("", "google/gemma-3-27b-it", {"system_messages": "hoist", "merge_users": True}),
    "minimax/think-tags": ("", "MiniMax-M2.5", {"think_tags": ("think", "thinking")}),
    "qwq/think-tags": ("", "Qwen/QwQ-32B", {"think_tags": ("think",)}),
    **{
        f"written-calls/{name}": ("", "", {"tool_markup": (markup,)})
        for name, markup in [
            *((name, name) for name in ("hermes", "glm", "kimi", "minimax", "lfm")),
            ("deepseek", "dsml"),
            ("calling-tool", "calling_tool"),
        ]
    },
    "thinking/prefilled": ("", "", {"think_tags": ("think",), "starts_in_thinking": True}),
}


def values(dialect: Dialect) -> dict[str, Any]:
    return asdict(dialect.answers) | asdict(dialect.requests)


@pytest.mark.parametrize("name", CASES)
def test_a_shipped_entry_changes_what_it_says_where_it_says(name: str) -> None:
    (base_url, model, expected), entry = CASES[name], BY_ID[name]
    named = () if entry.match.host or entry.match.model else (name,)
    others = [other for other in BY_ID.values() if other is not entry]
    there = values(choose(shipped(), base_url=base_url, model=model, named=named))
    without = values(choose(others, base_url=base_url, model=model, named=named))
    assert expected.keys() == {*entry.answers, *entry.requests}
    for field, value in expected.items():
        assert there[field] != without[field]
        assert value in there[field] if isinstance(there[field], frozenset) else value == there[field]


def test_no_case_is_left_of_an_entry_that_is_gone() -> None:
    assert CASES.keys() == BY_ID.keys()


@pytest.mark.parametrize("entry", BY_ID.values(), ids=BY_ID)
def test_a_shipped_entry_sets_something_and_says_why_since_when_and_by_whom(entry: Any) -> None:
    assert entry.answers or entry.requests
    assert entry.reason.endswith(".")
    assert entry.since is not None
    assert date(2025, 1, 1) < entry.since <= date(2026, 12, 31)
    assert any(source.startswith("Q") and source[1:].isdigit() for source in entry.sources)
    replace(AnswerRules(), **entry.answers)
    replace(ChatRules(), **entry.requests)


def test_no_shipped_entry_reads_tool_calls_from_text_unless_it_is_named() -> None:
    """Text that only quotes a call must never become one (Q27)."""
    assert not [e.id for e in BY_ID.values() if e.answers.get("tool_markup") and (e.match.host or e.match.model)]


def test_openai_itself_is_the_plain_dialect_as_far_as_answers_go() -> None:
    assert choose(shipped(), base_url="https://api.openai.com/v1", model="gpt-5").answers == OPENAI.answers


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv") is None, reason="uv, which builds the wheel, is not installed")
def test_the_wheel_has_the_data(tmp_path: Path) -> None:
    subprocess.run(["uv", "build", "--wheel", "--out-dir", tmp_path], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"antiphon/dialects/data/{name}" for name in SHIPPED} <= names
