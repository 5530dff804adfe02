"""Upstreams by their usual names, as data: ``groq`` is a base URL, and the variable that its key is usually in."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import msgspec

from antiphon.errors import ConfigError

_VARIABLE = re.compile(r"\$\{(\w+)\}")


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream that many people use. ``key_env`` is None for servers on one's own machine, which want no key."""

    name: str
    base_url: str
    key_env: str | None = None

    def url(self, env: Mapping[str, str]) -> str:
        """Its base URL.

        Raises:
            ConfigError: a variable that the URL stands on is not set.
        """

        def value(found: re.Match[str]) -> str:
            if not (given := env.get(found[1], "").strip()):
                raise ConfigError(f"The upstream {self.name!r} is found by the variable {found[1]}, which is not set.")
            return given.rstrip("/")

        return _VARIABLE.sub(value, self.base_url)


@cache
def presets() -> Mapping[str, Preset]:
    """All presets, by name."""
    table = tomllib.loads((files("antiphon.config") / "presets.toml").read_text("utf-8"))
    return {name: Preset(name=name, **fields) for name, fields in table["presets"].items()}
