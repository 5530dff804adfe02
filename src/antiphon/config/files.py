"""What reading settings and reading dialects have in common."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from antiphon.errors import ConfigError


def read_toml(path: Path) -> dict[str, Any]:
    """The whole of a TOML file.

    Raises:
        ConfigError: it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for who wrote ``name``: the known name that it looks like, or all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."
