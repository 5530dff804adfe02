"""``antiphon scrub``: recordings that exist already are checked, or rewritten; antiphon.toml adds rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from cassette_fakes import recorded
from click.testing import CliRunner, Result

from antiphon.cassettes.writing import Writer
from antiphon.cli import main
from antiphon.config import load_scrub
from antiphon.errors import ConfigError


def file_with(path: Path, *bodies: str) -> Path:
    writer = Writer(path)
    for body in bodies:
        writer.append(recorded({"q": body}, b"1"))
    writer.close()
    return path


def scrub(*args: str | Path, **env: str) -> Result:
    return CliRunner().invoke(main, ["scrub", *map(str, args)], env=env)


def test_check_finds_secrets_and_changes_nothing(tmp_path: Path) -> None:
    path = file_with(tmp_path / "x.jsonl", "hello", "mail ada@engine.example")
    before = path.read_bytes()
    result = scrub("--check", path)
    assert (result.exit_code, path.read_bytes()) == (1, before)
    assert result.output == f"{path}: interaction 1: email\n1 files: 1 interactions with secrets\n"


def test_scrub_takes_them_out_and_leaves_other_lines(tmp_path: Path) -> None:
    path = file_with(tmp_path / "x.jsonl", "hello", "mail ada@engine.example")
    first = path.read_bytes().splitlines()[1]
    assert scrub(path).exit_code == 0
    assert b"ada@" not in path.read_bytes()
    assert path.read_bytes().splitlines()[1] == first
    assert scrub("--check", path).exit_code == 0


def test_recordings_of_other_tools_are_checked_and_not_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"status": 200, "body": "mail ada@engine.example"}')
    assert "interaction 0: email" in scrub("--check", path).output
    result = scrub(path)
    assert result.exit_code == 2
    assert "antiphon convert" in result.output


def test_values_of_variables_are_looked_for(tmp_path: Path) -> None:
    path = file_with(tmp_path / "x.jsonl", "it is abracadabra")
    assert scrub("--check", path, SOME_API_KEY="abracadabra").exit_code == 1
    assert scrub("--check", "--secret-env", "WORD", path, WORD="abracadabra").exit_code == 1
    assert scrub("--check", path).exit_code == 0


def test_rules_stand_in_antiphon_toml(tmp_path: Path) -> None:
    path = file_with(tmp_path / "x.jsonl", "EMP-123456 has ada@engine.example")
    config = tmp_path / "antiphon.toml"
    config.write_text('[scrub]\noff = ["email"]\nfields = ["ssn"]\n[scrub.patterns]\nemployee = "EMP-\\\\d{6}"\n')
    assert "interaction 0: employee\n" in scrub("--check", "--config", config, path).output
    scrub("--config", config, path)
    assert b"[scrubbed:employee] has ada@engine.example" in path.read_bytes()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[scrub]\npattern = "x"', r"scrub\.pattern is not a setting. Did you mean 'patterns'\?"),
        ("[scrub]\noff = 1", r"\[scrub\] is not as it must be: Expected `array`, got `int` - at `\$\.off`"),
        ('[scrub.patterns]\nx = "("', r"scrub\.patterns\.x: '\(' is no regular expression"),
        ("scrub = 1", "is not as it must be"),
    ],
)
def test_a_wrong_rule_is_told_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "antiphon.toml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_scrub(tmp_path / "antiphon.toml")
