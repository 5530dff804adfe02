"""Dialect files: what is read, what goes before what, what is refused and how it is said; the page on them."""

import re
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from antiphon.config import dialect_of, load_dialects, load_settings
from antiphon.config.dialects import allowed, shipped
from antiphon.dialects import AnswerRules, ChatRules, Entry
from antiphon.errors import ConfigError
from antiphon.providers.learning import LESSONS

PAGE = Path(__file__).parents[2] / "docs" / "dialects.md"
GATEWAY = """
[[dialects]]
id = "gateway"
match.host = "LLM.example.com"
match.model = ["qwen*"]
requests.include_usage = false
requests.refuses = ["seed"]
answers.think_tags = ["think"]
answers.finish_reasons = {fertig = "stop"}
reason = "It is old."
sources = ["Q80"]
since = 2026-11-20
"""

Load = Callable[[str], tuple[Entry, ...]]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """The entries that antiphon.toml adds, or replaces."""
    monkeypatch.chdir(tmp_path)

    def load(toml: str, **files: str) -> tuple[Entry, ...]:
        Path("antiphon.toml").write_text(toml, "utf-8")
        for name, text in files.items():
            Path(f"{name}.toml").write_text(text, "utf-8")
        return tuple(entry for entry in load_dialects() if entry not in shipped())

    return load


def test_an_entry_is_read_with_all_it_says(load: Load) -> None:
    (entry,) = load(GATEWAY)
    assert (entry.id, entry.match.host, entry.match.model) == ("gateway", ("llm.example.com",), ("qwen*",))
    assert entry.requests == {"include_usage": False, "refuses": frozenset({"seed"})}
    assert entry.answers == {"think_tags": ("think",), "finish_reasons": {"fertig": "stop"}}
    assert (entry.reason, entry.sources, entry.since) == ("It is old.", ("Q80",), date(2026, 11, 20))
    assert entry.origin == "antiphon.toml"


def test_without_a_configuration_there_are_the_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_dialects() == shipped()


def test_an_entry_of_the_same_id_takes_the_place_of_the_shipped_one(load: Load) -> None:
    (entry,) = load('[[dialects]]\nid = "mistral"')
    assert (entry.answers, entry.requests) == ({}, {})
    assert len(load_dialects()) == len(shipped())


def test_files_are_read_beside_the_configuration_and_go_before_it(load: Load) -> None:
    more = "version = 1\n[[dialects]]\nid = 'a'\nrequests.files = true\n[[dialects]]\nid = 'b'"
    entries = load("dialect_files = ['more.toml']\n[[dialects]]\nid = 'c'\n[[dialects]]\nid = 'a'", more=more)
    assert [(entry.id, entry.origin) for entry in entries] == [
        ("a", "antiphon.toml"),
        ("b", "more.toml"),
        ("c", "antiphon.toml"),
    ]


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("dialects = 3", "antiphon.toml: dialects must be tables, each under [[dialects]]."),
        ("[dialects]\nid = 'a'", "antiphon.toml: dialects must be tables, each under [[dialects]]."),
        ("[[dialects]]\nreason = 'x'", "antiphon.toml: dialect number 1 has no id. Give it one,"),
        ("[[dialects]]\nid = 3", "antiphon.toml: dialect number 1 has no id."),
        ("[[dialects]]\nid = 'a'\n[[dialects]]\nid = 'a'", "antiphon.toml: dialect 'a' stands there twice."),
        ("[[dialects]]\nid = 'a'\nreasons = 'x'", "antiphon.toml: dialect 'a': reasons is not a key of a dialect. Did"),
        ("[[dialects]]\nid = 'a'\nmatch = 'x'", "antiphon.toml: dialect 'a': match is 'x', but must be a table."),
        ("[[dialects]]\nid = 'a'\nmatch.hosts = 'x'", "match.hosts is not a key of a dialect. Did you mean 'host'?"),
        ("[[dialects]]\nid = 'a'\nmatch.host = 3", "match.host: 3 is not allowed; it must be a list of text."),
        (
            "[[dialects]]\nid = 'a'\nrequests.call_id = 'keep'",
            "antiphon.toml: dialect 'a': requests.call_id is not a key of a dialect. Did you mean 'call_ids'?",
        ),
        (
            "[[dialects]]\nid = 'a'\nrequests.call_ids = 'new'",
            "requests.call_ids: 'new' is not allowed; it must be 'keep' or 'alphanumeric_9' or 'functions'.",
        ),
        ("[[dialects]]\nid = 'a'\nrequests.refuses = 'seed'", "'seed' is not allowed; it must be a list of text."),
        ("[[dialects]]\nid = 'a'\nrequests.images = 1", "1 is not allowed; it must be true or false."),
        ("[[dialects]]\nid = 'a'\nrequests.parameters = []", "requests.parameters is not a key of a dialect."),
        ("[[dialects]]\nid = 'a'\nanswers.finish_reasons = 1", "1 is not allowed; it must be a table of text."),
        ("[[dialects]]\nid = 'a'\nsince = 'x'", "since: 'x' is not allowed; it must be a date."),
        ("dialect_files = 'a.toml'", "antiphon.toml: dialect_files: 'a.toml' is not allowed; it must be a list of"),
        ("dialect_files = ['none.toml']", "none.toml cannot be read: No such file"),
        ("dialect_files = ['more.toml']", "more.toml: version is None, but must be 1, a number."),
    ],
)
def test_what_is_wrong_is_refused_with_file_entry_and_key(load: Load, toml: str, message: str) -> None:
    Path("more.toml").write_text("[[dialects]]\nid = 'a'")
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(toml)


def test_a_key_beside_the_entries_of_a_file_is_refused(load: Load) -> None:
    Path("more.toml").write_text("version = 1\n[[dialect]]\nid = 'a'")
    with pytest.raises(
        ConfigError, match=r"more.toml: dialect is not a key of a dialect file. Did you mean 'dialects'"
    ):
        load("dialect_files = ['more.toml']")


# --- upstreams -------------------------------------------------------------------------------


def settings(upstream: str, toml: str = "") -> Any:
    Path("antiphon.toml").write_text(f"{toml}\n[upstreams.up]\n{upstream}", "utf-8")
    return load_settings({}, {})


def test_the_dialect_of_an_upstream_is_that_of_its_host(load: Load) -> None:
    found = dialect_of(settings("base_url = 'https://api.mistral.ai/v1'"), "up", "m")
    assert found.requests.call_ids == "alphanumeric_9"


@pytest.mark.parametrize("named", ["'mistral'", "['vllm', 'mistral']"])
def test_an_upstream_may_name_its_dialects(load: Load, named: str) -> None:
    found = dialect_of(settings(f"base_url = 'http://elsewhere/v1'\ndialect = {named}"), "up", "m")
    assert found.requests.call_ids == "alphanumeric_9"


def test_an_upstream_may_name_an_entry_of_the_user(load: Load) -> None:
    found = dialect_of(settings("base_url = 'http://elsewhere/v1'\ndialect = 'gateway'", GATEWAY), "up", "m")
    assert found.requests.include_usage is False


@pytest.mark.parametrize("named", ["'mistrall'", "['mistrall']"])
def test_a_dialect_that_is_not_there_is_refused_with_the_nearest(load: Load, named: str) -> None:
    with pytest.raises(ConfigError, match=r"upstreams.up.dialect: there is no dialect 'mistrall'. .*'mistral'"):
        settings(f"base_url = 'http://elsewhere/v1'\ndialect = {named}")


# --- the page --------------------------------------------------------------------------------


def rows(chapter: str) -> dict[str, list[str]]:
    text = PAGE.read_text("utf-8").partition(f"\n## {chapter}\n")[2].partition("\n## ")[0]
    return {
        name: [cell.strip() for cell in cells.split(" | ")]
        for name, cells in re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.M)
    }


@pytest.mark.parametrize(
    ("chapter", "struct"), [("Fields of `answers`", AnswerRules), ("Fields of `requests`", ChatRules)]
)
def test_the_page_has_every_field_with_what_is_allowed_and_its_default(chapter: str, struct: Any) -> None:
    found, hints = rows(chapter), get_type_hints(struct)
    assert list(found) == list(struct.__struct_fields__)
    for name, cells in found.items():
        assert cells[0] == allowed(hints[name])
        assert cells[1] == shown(getattr(struct(), name))


def shown(default: Any) -> str:
    if default is None:
        return "all"
    if isinstance(default, tuple | frozenset | Mapping):
        return ", ".join(f"`{value}`" for value in default) or "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def test_the_page_has_every_lesson() -> None:
    text = PAGE.read_text("utf-8").partition("\n## What is learned")[2].partition("\n## ")[0].replace("`", "")
    assert re.findall(r"^\| (Q\d+) \| (.*) \| .* \|$", text, re.M) == [(row.quirk, row.meaning) for row in LESSONS]


def test_the_examples_of_the_page_work(load: Load) -> None:
    upstream, own = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    Path("antiphon.toml").write_text(upstream)
    assert dialect_of(load_settings({}, {}), "local", "m").entries == ("llama.cpp", "thinking/prefilled")
    (entry,) = load(own, gateway="version = 1")
    assert entry.id == "our-gateway"
