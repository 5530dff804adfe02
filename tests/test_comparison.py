"""The page that sets us beside others says nothing of us that no test shows."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "comparison.md"
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split(" | "))
    for line in PAGE.read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| | ")
]
_LINK = re.compile(r"\[(test_\w+)\]\((\.\./tests/[\w/]+\.py)\)")


@cache
def names_in(path: Path) -> set[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, functions)}


def test_the_page_has_a_cell_for_each_of_us_in_every_row() -> None:
    assert len(ROWS) > 50
    assert all(len(row) == 5 and all(row) for row in ROWS)
    assert len({row[0] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_is_said_of_us_is_shown_by_a_test_or_is_a_no(row: tuple[str, ...]) -> None:
    links = _LINK.findall(row[1])
    assert links or re.match(r"no\b", row[1])
    for name, path in links:
        assert name in names_in((PAGE.parent / path).resolve())
