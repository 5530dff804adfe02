"""A dialect is chosen by rules, and the rules are data that says why."""

import re
import tomllib
from pathlib import Path

import pytest

from antiphon import dialects
from antiphon.dialects import OPENAI, Dialect, Rule, choose, parse
from antiphon.errors import ConfigError

SHIPPED = Path(dialects.__file__).with_name("dialects.toml")


def rule(**fields: object) -> Rule:
    entry = {"name": "n", "quirk": "Q66", "reason": "r", "source": "s", "set": {"think_tags": ["think"]}, **fields}
    return parse({"version": 1, "dialect": [entry]}, origin="here")[0]


def test_without_a_rule_that_matches_everybody_speaks_as_openai_does() -> None:
    assert choose([rule(model="qwq*")], host="api.openai.com", model="gpt-5") is OPENAI


def test_a_rule_is_chosen_by_upstream_and_model() -> None:
    chosen = [rule(upstream="*.example.com", model="*qwq*")]
    assert choose(chosen, host="API.Example.com", model="Qwen/QwQ-32B") == Dialect(name="n", think_tags=("think",))
    assert choose(chosen, host="example.org", model="QwQ") is OPENAI
    assert choose(chosen, host="api.example.com", model="gpt") is OPENAI


def test_later_rules_win_over_earlier_ones_and_leave_the_rest() -> None:
    later = rule(name="mine", set={"think_tags": [], "mends_argument_tail": True})
    dialect = choose([rule(set={"think_tags": ["a"], "empty_answer_fails": True}), later], host="", model="")
    assert dialect == Dialect(name="n+mine", think_tags=(), empty_answer_fails=True, mends_argument_tail=True)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "version is None"),
        ({"version": 2}, "reads version 1"),
        ({"version": 1, "dialect": {}}, r"\[\[dialect\]\]"),
        ({"version": 1, "dialect": [{"name": "n"}]}, "number 1: .*quirk"),
        ({"version": 1, "dialect": [{"name": "n", "quirk": "", "reason": "", "source": "", "set": {"x": 1}}]}, "set.x"),
        (
            {"version": 1, "dialect": [{"name": "n", "quirk": "", "reason": "", "source": "", "set": {"name": "x"}}]},
            "set.name",
        ),
        (
            {
                "version": 1,
                "dialect": [{"name": "n", "quirk": "", "reason": "", "source": "", "set": {"think_tags": 1}}],
            },
            "think_tags",
        ),
    ],
)
def test_a_file_that_is_wrong_is_named_with_the_place(table: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=f"mine.toml.*{words}"):
        parse(table, origin="mine.toml")


def test_the_shipped_rules_are_rules_that_say_why() -> None:
    rules = parse(tomllib.loads(SHIPPED.read_text()), origin=SHIPPED.name)
    assert len({rule.name for rule in rules}) == len(rules) > 0
    assert all(re.fullmatch(r"Q\d+", rule.quirk) and rule.reason and rule.source for rule in rules)


@pytest.mark.parametrize(
    ("host", "model", "setting"),
    [
        ("localhost", "qwen/qwq-32b", {"think_tags": ("think",)}),
        ("api.minimax.io", "MiniMax-M2.5", {"think_tags": ("think",)}),
        ("router.huggingface.co", "deepseek-ai/DeepSeek-R1", {"think_tags": ("think",)}),
        ("localhost", "deepseek-v4-flash", {"mends_argument_tail": True}),
    ],
)
def test_each_shipped_rule_is_for_somebody(host: str, model: str, setting: dict[str, object]) -> None:
    rules = parse(tomllib.loads(SHIPPED.read_text()), origin=SHIPPED.name)
    dialect = choose(rules, host=host, model=model)
    assert {name: getattr(dialect, name) for name in setting} == setting
    assert choose([rule for rule in rules if not rule.matches(host, model)], host=host, model=model) is OPENAI
