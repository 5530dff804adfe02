"""What a docstring says of a function and its parameters, in the styles of Google, NumPy and Sphinx."""

from __future__ import annotations

import re
from typing import NamedTuple

_SPHINX = re.compile(r":(\w+)(?: [^:]*?)??(?: \**(\w+))?:\s*(.*)")
_SECTION = re.compile(
    r"(Args|Arguments|Parameters|Returns?|Raises|Yields?|Examples?|Notes?|Warnings?|Attributes|See Also|References):?"
)
_PARAMETER_SECTIONS = ("Args", "Arguments", "Parameters")
_SPHINX_PARAMETERS = ("param", "parameter", "arg", "argument")
_GOOGLE_PARAMETER = re.compile(r"\**(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_NUMPY_PARAMETER = re.compile(r"\**(\w+)\s*(?::.*)?")


class Docstring(NamedTuple):
    """The text up to the first section, and what is said of each parameter."""

    description: str
    parameters: dict[str, str]


def parse_docstring(text: str) -> Docstring:
    """Read a docstring whose indentation is cleaned, as `inspect.getdoc` gives it."""
    description: list[str] = []
    parameters: dict[str, list[str]] = {}
    section, current, margin, is_numpy = "", "", 0, False
    lines = text.splitlines() or [""]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        stripped, indentation = line.strip(), len(line) - len(line.lstrip())
        if not indentation and (head := _section(stripped, following)):
            section, current = head, ""
            is_numpy, margin = _is_rule(following), -1
        elif not indentation and (field := _SPHINX.match(stripped)):
            section, current = "sphinx", field[2] if field[1] in _SPHINX_PARAMETERS and field[2] else ""
            if current:
                parameters[current] = [field[3]]
        elif not section:
            description.append(line)
        elif not stripped or _is_rule(line):
            continue
        elif section in _PARAMETER_SECTIONS and indentation == (margin := indentation if margin < 0 else margin):
            found = (_NUMPY_PARAMETER if is_numpy else _GOOGLE_PARAMETER).fullmatch(stripped)
            current = found[1] if found else ""
            if found:
                parameters[current] = ["" if is_numpy else found[2]]
        elif current:
            parameters[current].append(stripped)
    said = {name: " ".join(part for part in parts if part) for name, parts in parameters.items()}
    return Docstring("\n".join(description).strip(), {name: each for name, each in said.items() if each})


def _section(line: str, following: str) -> str | None:
    """The name of the section that a line heads."""
    found = _SECTION.fullmatch(line)
    return found[1] if found and (line.endswith(":") or _is_rule(following)) else None


def _is_rule(line: str) -> bool:
    return len(line.strip()) >= 3 and not line.strip().strip("-")
