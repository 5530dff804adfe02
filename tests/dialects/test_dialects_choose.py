"""Entries that match are laid over each other in order; names go before hosts."""

from typing import Any

import pytest

from antiphon.dialects import ChatRules, Dialect, Entry, Match, choose, matching

HOST = Entry(id="up", match=Match(host=("*.example.com",)), requests={"call_ids": "functions", "images": False})
PORT = Entry(id="local", match=Match(host=("localhost:8080",)), requests={"files": False})
BOTH = Entry(id="up/big", match=Match(host=("*.example.com",), model=("big-*",)), requests={"images": True})
MODEL = Entry(id="fam/think", match=Match(model=("*/fam", "fam")), answers={"think_tags": ("think",)})
NAMED = Entry(id="named", answers={"starts_in_thinking": True})
ENTRIES = (HOST, PORT, BOTH, MODEL, NAMED)


def ids(base_url: str = "http://elsewhere", model: str = "m", **named: Any) -> list[str]:
    return [entry.id for entry in matching(ENTRIES, base_url=base_url, model=model, **named)]


def test_nothing_is_different_where_nothing_is_known() -> None:
    assert choose(ENTRIES, base_url="http://elsewhere/v1", model="m") == Dialect()


@pytest.mark.parametrize(
    ("base_url", "model", "expected"),
    [
        ("https://api.example.com/v1", "m", ["up"]),
        ("https://API.Example.com:8443/v1", "BIG-1", ["up", "up/big"]),
        ("https://example.com/v1", "m", []),
        ("https://example.com.evil.org/v1", "m", []),
        ("http://evil.org/api.example.com", "m", []),
        ("http://localhost:8080/v1", "m", ["local"]),
        ("http://localhost:8081/v1", "m", []),
        ("http://localhost", "m", []),
        ("http://elsewhere", "fam", ["fam/think"]),
        ("http://elsewhere", "vendor/FAM", ["fam/think"]),
        ("http://elsewhere", "big-1", []),
        ("", "fam", ["fam/think"]),
    ],
)
def test_all_patterns_of_an_entry_have_to_match(base_url: str, model: str, expected: list[str]) -> None:
    assert ids(base_url, model) == expected


def test_later_entries_override_single_fields() -> None:
    dialect = choose(ENTRIES, base_url="https://api.example.com", model="big-1")
    assert dialect.requests == ChatRules(call_ids="functions", images=True)
    assert dialect.entries == ("up", "up/big")
    assert not choose(ENTRIES, base_url="https://api.example.com", model="m").requests.images


def test_an_entry_without_patterns_applies_where_it_is_named() -> None:
    assert ids() == []
    assert choose(ENTRIES, base_url="http://elsewhere", model="m", named=["named"]).answers.starts_in_thinking


def test_a_named_family_counts_as_being_at_its_host_and_no_other_host_is_looked_at() -> None:
    assert ids(model="big-1", named=["up"]) == ["up", "up/big"]
    assert ids(model="m", named=["up"]) == ["up"]
    assert ids(model="m", named=["up/big"]) == ["up/big"]
    assert ids("http://localhost:8080", model="fam", named=["up"]) == ["up", "fam/think"]


def test_what_is_named_beside_its_kind_of_server_leaves_the_host_as_it_is() -> None:
    assert ids("http://localhost:8080", named=["named"]) == ["local", "named"]
    assert ids("http://localhost:8080", named=["fam/think"]) == ["local", "fam/think"]
    assert ids("http://localhost:8080", named=["up", "named"]) == ["up", "named"]
