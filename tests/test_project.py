"""What is said in more than one place is said alike: versions, dependencies, licences, error codes."""

import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import antiphon
from antiphon import errors

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DEPENDENCIES_PAGE = ROOT / "docs" / "dependencies.md"
RECORDINGS = ROOT / "examples" / "recordings"
# Where it is more than the package's own with underscores.
IMPORT_NAMES = {"pyyaml": "yaml", "python-docx": "docx", "backports.zstd": "backports.zstd"}


class Requirement(NamedTuple):
    name: str
    cap: str | None


def requirements() -> list[Requirement]:
    groups = PYPROJECT["dependency-groups"].values()
    lines = [
        *PYPROJECT["project"]["dependencies"],
        *(line for extra in PYPROJECT["project"]["optional-dependencies"].values() for line in extra),
        *(line for group in groups for line in group if isinstance(line, str)),
        *PYPROJECT["build-system"]["requires"],
    ]
    return [parse(line) for line in lines]


def parse(line: str) -> Requirement:
    specifier = line.partition(";")[0]
    name = re.match(r"[\w.-]+", specifier)
    cap = re.search(r"<[\w.]+", specifier)
    assert name, line
    return Requirement(name.group(), cap and cap.group())


def documented() -> dict[str, list[str]]:
    """The rows of the page's tables: package -> the other cells."""
    rows = re.findall(r"^\| `([\w.-]+)` \|(.*)\|$", DEPENDENCIES_PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}


def files_of_the_tree() -> Iterator[Path]:
    for directory, subdirectories, names in os.walk(ROOT):
        skipped = {name for name in subdirectories if name.startswith(".") and name != ".ci"}
        subdirectories[:] = set(subdirectories) - skipped - {"__pycache__", "build", "dist", "results"}
        yield from (Path(directory, name) for name in names if name != ".git")


def leaves(root: type[errors.AntiphonError]) -> Iterator[type[errors.AntiphonError]]:
    below = root.__subclasses__()
    if not below:
        yield root
    for error in below:
        yield from leaves(error)


# --- dependencies -------------------------------------------------------------------------------


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_every_dependency_has_a_cap(requirement: Requirement) -> None:
    assert requirement.cap


def test_a_dependency_without_a_cap_is_noticed() -> None:
    assert parse("msgspec>=0.20") == ("msgspec", None)
    assert parse("uvloop>=0.21,<1; sys_platform != 'win32'") == ("uvloop", "<1")


def test_every_dependency_is_on_its_page_with_its_cap_and_nothing_else_is() -> None:
    in_tables = {name: cells[0].strip("`") for name, cells in documented().items()}
    assert in_tables == {name: cap for name, cap in requirements() if name != "hatchling"}
    assert "`hatchling` (`<2`," in DEPENDENCIES_PAGE.read_text(encoding="utf-8")


@pytest.mark.skipif(not (ROOT / "src/antiphon/cli/__init__.py").exists(), reason="there is no command line yet")
def test_the_command_line_starts_without_what_only_some_commands_need() -> None:
    runtime = {parse(line).name for line in PYPROJECT["project"]["dependencies"]}
    eager = {name for name, cells in documented().items() if cells[3] in {"always", "by the command line"}}
    later = sorted(IMPORT_NAMES.get(name, name.replace("-", "_")) for name in runtime - eager)
    assert {"aiohttp", "starlette", "uvicorn"} <= set(later)
    code = f"import sys, antiphon.cli; print(*(name for name in {later} if name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


# --- versions -----------------------------------------------------------------------------------


def test_the_version_is_the_same_everywhere() -> None:
    newest = re.search(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest
    assert antiphon.__version__ == PYPROJECT["project"]["version"] == newest.group(1)


# --- what is shipped ----------------------------------------------------------------------------


def test_the_notice_names_every_shipped_recording() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    shipped = [path for path in RECORDINGS.rglob("*") if path.is_file() and path.name != "README.md"]
    assert shipped
    assert [path for path in shipped if path.relative_to(ROOT).as_posix() not in notice] == []


def test_the_package_holds_the_source_and_no_recordings() -> None:
    assert PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["src/antiphon"]}
    assert [path for path in (ROOT / "src").rglob("*") if path.suffix in {".yaml", ".jsonl"}] == []


def test_no_file_names_the_machine_it_was_written_on() -> None:
    paths = [b"/" + name + b"/" for name in (b"work", b"root")]
    assert [path for path in files_of_the_tree() if any(found in path.read_bytes() for found in paths)] == []


@pytest.mark.parametrize("script", ["setup", "test", "demo", "bench", "prove-rows", "../.ci/run"])
def test_scripts_can_be_run_by_any_shell(script: str) -> None:
    path = ROOT / "scripts" / script
    assert os.access(path, os.X_OK)
    assert path.read_text(encoding="utf-8").startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", path], check=True)


# --- errors -------------------------------------------------------------------------------------


def test_every_error_that_is_raised_has_a_code_of_its_own() -> None:
    codes = Counter(error.__dict__.get("code", f"{error.__name__} has none") for error in leaves(errors.AntiphonError))
    assert [code for code, count in codes.items() if count > 1 or " " in code] == []


def test_every_error_stands_in_the_tree_at_the_head_of_its_file() -> None:
    drawn = re.findall(r"^ {4}[ │├└─]*(\w+)", errors.__doc__ or "", re.MULTILINE)
    defined = [
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    ]
    assert drawn == defined
