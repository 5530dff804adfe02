"""``[scrub]`` in antiphon.toml: what is a secret here besides what always is one, and what is none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from antiphon.config.files import nearest, read_toml
from antiphon.errors import ConfigError


class ScrubSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of `antiphon.cassettes.Scrubber`.

    ``patterns`` are regular expressions by name; what their group ``secret`` matches is taken out, or all that they
    match. ``fields`` are names of members of JSON and of forms, ``keep_headers`` names of headers, ``off`` names of
    patterns that are not looked for.
    """

    patterns: dict[str, str] = {}
    fields: tuple[str, ...] = ()
    keep_headers: tuple[str, ...] = ()
    off: tuple[str, ...] = ()


def load_scrub(toml_path: Path | None = None) -> ScrubSettings:
    """The rules of a configuration file; None means ``antiphon.toml`` in the current directory, if there is one.

    Raises:
        ConfigError: the file is wrong; the message says where.
    """
    path = toml_path or Path("antiphon.toml")
    if toml_path is None and not path.exists():
        return ScrubSettings()
    return check_scrub(read_toml(path).get("scrub", {}), path)


def check_scrub(table: Any, path: Path) -> ScrubSettings:
    """The settings of a ``[scrub]`` table.

    Raises:
        ConfigError: it has an unknown key, a wrong value, or a pattern that is no regular expression.
    """
    if isinstance(table, dict):
        for name in table.keys() - set(ScrubSettings.__struct_fields__):
            raise ConfigError(
                f"{path}: scrub.{name} is not a setting. {nearest(name, ScrubSettings.__struct_fields__)}"
            )
    try:
        settings = msgspec.convert(table, ScrubSettings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: [scrub] is not as it must be: {error}.") from error
    for name, text in settings.patterns.items():
        try:
            re.compile(text)
        except re.error as error:
            raise ConfigError(f"{path}: scrub.patterns.{name}: {text!r} is no regular expression: {error}.") from error
    return settings
