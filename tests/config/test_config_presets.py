"""Upstreams by their usual names: the name is enough, and its key goes where the name says."""

import re
from pathlib import Path
from typing import Any

import pytest

from antiphon.config import Settings, load_settings
from antiphon.config.presets import presets
from antiphon.errors import ConfigError

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"


def load(tmp_path: Path, toml: str = "", env: dict[str, str] | None = None, **flags: Any) -> Settings:
    path = tmp_path / "antiphon.toml"
    path.write_text(toml)
    return load_settings({"data_dir": str(tmp_path), **flags}, env or {}, path)


def test_a_name_in_the_place_of_a_url_is_enough(tmp_path: Path) -> None:
    (upstream,) = load(tmp_path, env={"GROQ_API_KEY": "gsk"}, upstream="groq").upstreams.values()
    assert (upstream.name, upstream.base_url, upstream.api_key) == ("groq", "https://api.groq.com/openai/v1", "gsk")


@pytest.mark.parametrize("table", ["[upstreams.groq]", '[upstreams.fast]\nbase_url = "groq"'])
def test_a_table_may_be_named_so_or_name_it(tmp_path: Path, table: str) -> None:
    (upstream,) = load(tmp_path, table, {"GROQ_API_KEY": "gsk"}).upstreams.values()
    assert (upstream.base_url, upstream.api_key) == ("https://api.groq.com/openai/v1", "gsk")


def test_a_key_of_its_own_goes_before_the_usual_one(tmp_path: Path) -> None:
    toml = '[upstreams.groq]\napi_key_env = "OURS"'
    assert load(tmp_path, toml, {"OURS": "a", "GROQ_API_KEY": "b"}).upstreams["groq"].api_key == "a"


def test_a_table_with_a_url_of_its_own_does_not_get_the_usual_key(tmp_path: Path) -> None:
    toml = '[upstreams.groq]\nbase_url = "http://elsewhere.invalid/v1"'
    assert load(tmp_path, toml, {"GROQ_API_KEY": "gsk"}).upstreams["groq"].api_key is None


def test_a_key_that_is_not_there_is_asked_for_unless_clients_bring_theirs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="GROQ_API_KEY, which is not set"):
        load(tmp_path, upstream="groq")
    assert load(tmp_path, upstream="groq", forward_auth=True).upstreams["groq"].api_key is None
    assert load(tmp_path, upstream="ollama").upstreams["ollama"].base_url == "http://localhost:11434/v1"


def test_azure_is_found_by_its_endpoint(tmp_path: Path) -> None:
    env = {"AZURE_OPENAI_ENDPOINT": "https://me.openai.azure.com/", "AZURE_OPENAI_API_KEY": "k"}
    assert (
        load(tmp_path, env=env, upstream="azure").upstreams["azure"].base_url == "https://me.openai.azure.com/openai/v1"
    )
    with pytest.raises(ConfigError, match="AZURE_OPENAI_ENDPOINT, which is not set"):
        load(tmp_path, upstream="azure")


def test_what_is_said_of_the_variables_upstream_does_not_go_to_another(tmp_path: Path) -> None:
    env = {"ANTIPHON_UPSTREAM_API": "responses"}
    assert load(tmp_path, env=env, upstream="http://a.invalid").upstreams["default"].api == "chat"
    env["ANTIPHON_UPSTREAM"] = "http://b.invalid"
    assert load(tmp_path, env=env).upstreams["default"].api == "responses"


def test_the_page_has_every_name_with_its_url_and_its_key() -> None:
    rows = re.findall(
        r"^\| `([\w.]+)` \| `((?:https?|\$)[^`]*)` \| `?(\w+)`? \|$", DOCS.read_text("utf-8"), re.MULTILINE
    )
    assert rows == [(each.name, each.base_url, each.key_env or "none") for each in presets().values()]
