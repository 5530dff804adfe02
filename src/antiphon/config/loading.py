"""Settings from flags, ``ANTIPHON_*`` variables, ``antiphon.toml`` and defaults, in this order of precedence.

Whatever is wrong is refused before anything starts, with the place it stands, its value and what is allowed there.
Secrets are the exception: they are in no message.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_type_hints
from urllib.parse import urlsplit

import msgspec

from antiphon.config.allowed import ALLOWED
from antiphon.config.dialects import check_entries, read_entries, with_users
from antiphon.config.files import nearest, read_toml
from antiphon.config.keys import parse_api_keys, parse_seal_keys
from antiphon.config.mcp import check_egress, check_mcp_servers
from antiphon.config.presets import presets
from antiphon.config.scrub import check_scrub
from antiphon.config.settings import (
    SECRET,
    FileSettings,
    LimitSettings,
    ModelRoute,
    OwnerSettings,
    RetrievalSettings,
    Settings,
    ToolSettings,
    UpstreamSettings,
)
from antiphon.dialects import Entry
from antiphon.errors import ConfigError

TOML_NAME = "antiphon.toml"

# The name of the upstream that ``--upstream`` or ANTIPHON_UPSTREAM gives; it comes before those of antiphon.toml.
DEFAULT_UPSTREAM = "default"

# Where a replay looks for nothing: ``.invalid`` never resolves (RFC 6761), and only the path is matched.
_REPLAY_BASE_URL = "http://replay.invalid/v1"

_TABLES = (
    *("upstreams", "models", "limits", "dialects", "dialect_files", "owners", "scrub"),
    *("files", "retrieval", "mcp_servers", "egress", "tools"),
)
# How a cassette is used; one of them at a time.
_CASSETTES = ("record", "replay", "auto", "refresh")

# Tables that hold settings and nothing else.
_SETTINGS_TABLES: dict[str, type[msgspec.Struct]] = {
    "limits": LimitSettings,
    "files": FileSettings,
    "retrieval": RetrievalSettings,
    "tools": ToolSettings,
}

_SCALARS = (
    *("host", "port", "data_dir", *_CASSETTES, "match", "repair", "on_interruption"),
    *("no_auth", "forward_auth", "profile", "reasoning_events", "unsupported_tools"),
)
_UPSTREAM_FLAGS = {"upstream": "base_url", "api_key_env": "api_key_env", "upstream_api": "api"}

# A variable is set for a whole machine and forgotten: production must never be answered from a recording because of
# one. For the same reason none can name the configuration file, which may say `replay`.
_VARIABLES = tuple(name for name in (*_SCALARS, *_UPSTREAM_FLAGS) if name not in ("replay", "auto", "refresh"))


class _Given(NamedTuple):
    """A value somebody set, and where. Without ``toml_dir`` it is text, and paths begin in the current directory."""

    value: Any
    source: str
    toml_dir: Path | None = None


class _Table(NamedTuple):
    """A table of antiphon.toml; ``prefix`` is its own name with a dot, empty for the whole file."""

    path: Path
    values: dict[str, Any]
    prefix: str = ""

    def table(self, name: str) -> _Table:
        """The table within, empty if it is not there."""
        values = self.values.get(name, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{self.path}: {self.prefix}{name} is {values!r}, but must be a table.")
        return _Table(self.path, values, f"{self.prefix}{name}.")

    def given(
        self, known: Iterable[str], *, required: Iterable[str] = (), tables: Iterable[str] = ()
    ) -> dict[str, _Given]:
        """The values of the table; ``tables`` are left out."""
        given = {
            name: _Given(value, f"{self.path}: {self.prefix}{name}", self.path.parent)
            for name, value in self.values.items()
        }
        for name in given:
            _check_name(name, (*known, *tables), given[name].source)
        for name in required:
            if name not in given:
                raise ConfigError(f"{self.path}: {self.prefix}{name} is missing; it must be {ALLOWED[name]}.")
        return {name: given[name] for name in given if name not in tables}


Built = TypeVar("Built", bound=msgspec.Struct)


# --- loading ---------------------------------------------------------------------------------


def load_settings(flags: Mapping[str, Any], env: Mapping[str, str], toml_path: Path | None = None) -> Settings:
    """Put the settings together and check them.

    ``flags`` has the names of `Settings`, and ``upstream`` and ``api_key_env`` for a single upstream; a flag that is
    None or False was not given, nor was a variable that is empty. ``toml_path`` None means ``antiphon.toml`` in the
    current directory, if there is one.

    Raises:
        ConfigError: something is wrong; the message says where, with which value, and what is allowed.
    """
    toml = _read_toml(toml_path)
    given = toml.given(_SCALARS, tables=_TABLES) | _from_flags_and_env(flags, env)
    used = [given[name].source for name in _CASSETTES if name in given]
    if len(used) > 1:
        raise ConfigError(f"{' and '.join(used)} exclude each other. Drop one of them.")
    dialects = _dialects(toml)
    upstreams = _upstreams(toml.table("upstreams"), given, env)
    _check_dialects(upstreams, dialects, toml.path)
    settings = _build(
        Settings,
        {name: given[name] for name in _SCALARS if name in given},
        data_dir=_default_data_dir(env),
        upstreams=upstreams,
        dialects=dialects,
        models=_models(toml.table("models"), upstreams),
        **{
            name: _build(struct, toml.table(name).given(struct.__struct_fields__))
            for name, struct in _SETTINGS_TABLES.items()
        },
        api_keys=parse_api_keys(env.get("ANTIPHON_API_KEYS", "")),
        owners=_owners(toml.table("owners")),
        seal_keys=parse_seal_keys(env.get("ANTIPHON_SEAL_KEYS", "")),
        scrub=check_scrub(toml.values.get("scrub", {}), toml.path),
        mcp_servers=check_mcp_servers(
            toml.values.get("mcp_servers", {}), toml.path, env, needs_keys="replay" not in given
        ),
        egress=check_egress(toml.values.get("egress", {}), toml.path),
    )
    _check_access(settings)
    return settings


def load_dialects(toml_path: Path | None = None) -> tuple[Entry, ...]:
    """The shipped dialect entries and the user's, in order of precedence; ``toml_path`` as for `load_settings`.

    Raises:
        ConfigError: a file is wrong; the message names file, entry and key.
    """
    return _dialects(_read_toml(toml_path))


def load_data_dir(env: Mapping[str, str], toml_path: Path | None = None) -> Path:
    """Where runs are kept, for those who only look at them; ``toml_path`` as for `load_settings`.

    Raises:
        ConfigError: the configuration cannot be read, or names no path.
    """
    given = _read_toml(toml_path).given(_SCALARS, tables=_TABLES) | _from_flags_and_env({}, env)
    data_dir: Path = _checked("data_dir", Path, given["data_dir"]) if "data_dir" in given else _default_data_dir(env)
    return data_dir


def _from_flags_and_env(flags: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, _Given]:
    for name in ("replay", "auto"):
        if value := env.get(f"ANTIPHON_{name.upper()}"):
            raise ConfigError(
                f"ANTIPHON_{name.upper()} is {value!r}, but no variable can switch replay on."
                f' Use --{name} FILE, or {name} = "FILE" in {TOML_NAME}.'
            )
    variables = {name: f"ANTIPHON_{name.upper()}" for name in _VARIABLES}
    if flags.get("upstream"):
        # That key, and what is said of it, belongs to the variables' upstream, and must not go to another.
        del variables["api_key_env"], variables["upstream_api"]
    by_env = {name: _Given(env[variable], variable) for name, variable in variables.items() if env.get(variable)}
    by_flag = {name: _Given(value, f"--{name.replace('_', '-')}") for name, value in flags.items()}
    for name, given in by_flag.items():
        _check_name(name, (*_SCALARS, *_UPSTREAM_FLAGS), given.source)
    return by_env | {
        name: given for name, given in by_flag.items() if given.value is not None and given.value is not False
    }


def _read_toml(path: Path | None) -> _Table:
    if path is None:
        path = Path(TOML_NAME)
        if not path.exists():
            return _Table(path, {})
    return _Table(path, read_toml(path))


def _check_name(name: str, known: Iterable[str], source: str) -> None:
    if name not in known:
        raise ConfigError(f"{source} is not a setting. {nearest(name, known)}")


def _build(struct: type[Built], given: Mapping[str, _Given], **fields: Any) -> Built:
    """The struct of ``fields`` and of the given values, which go first and are checked against their fields' types."""
    hints = get_type_hints(struct, include_extras=True)
    return struct(**fields | {name: _checked(name, hints[name], value) for name, value in given.items()})


def _checked(name: str, hint: Any, given: _Given) -> Any:
    def to_path(_: type, value: Any) -> Path:
        if not value or not isinstance(value, str | Path):
            raise ValueError
        return (given.toml_dir or Path()) / os.path.expanduser(value)

    if str(given.value).lower() == "null":  # which msgspec takes for None where text is converted
        raise _refused(name, given)
    try:
        return msgspec.convert(given.value, hint, strict=given.toml_dir is not None, dec_hook=to_path)
    except msgspec.ValidationError as error:
        raise _refused(name, given) from error


def _refused(name: str, given: _Given) -> ConfigError:
    hidden = name in SECRET or "@" in str(given.value)  # a URL may hold a password
    value = "its value" if hidden else repr(given.value)
    return ConfigError(f"{given.source}: {value} is not allowed; it must be {ALLOWED[name]}.")


def _default_data_dir(env: Mapping[str, str]) -> Path:
    """Where programs keep a user's data (XDG Base Directory Specification)."""
    home = os.path.expanduser("~")
    if home == "~":  # some containers run as a user that nobody knows
        return Path("antiphon-data")
    return Path(env.get("XDG_DATA_HOME") or Path(home) / ".local" / "share") / "antiphon"


# --- upstreams and models --------------------------------------------------------------------


def _upstreams(tables: _Table, given: Mapping[str, _Given], env: Mapping[str, str]) -> dict[str, UpstreamSettings]:
    """All upstreams by name, in order of precedence."""
    needs_keys = "replay" not in given
    forwards = "forward_auth" in given
    upstreams = {}
    single = {field: given[name] for name, field in _UPSTREAM_FLAGS.items() if name in given}
    if "base_url" in single:
        name = single["base_url"].value if single["base_url"].value in presets() else DEFAULT_UPSTREAM
        single = _with_preset(name, single, env, forwards=forwards)
        upstreams[name] = _upstream(name, single, env, needs_keys=needs_keys)
    elif single:
        first = next(iter(single.values()))
        raise ConfigError(f"{first.source} is set, but there is no --upstream that it is for.")
    known = [field for field in UpstreamSettings.__struct_fields__ if field != "name"]
    for name in tables.values:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise ConfigError(
                f"{tables.path}: the name of upstream {name!r} must be of letters, digits, '.', '_', '-'."
            )
        fields = tables.table(name).given(known, required=[] if name in presets() else ["base_url"])
        fields = _with_preset(name, fields, env, forwards=forwards)
        if name not in upstreams:
            upstreams[name] = _upstream(name, fields, env, needs_keys=needs_keys)
    if not upstreams and "replay" in given:
        return {DEFAULT_UPSTREAM: UpstreamSettings(name=DEFAULT_UPSTREAM, base_url=_REPLAY_BASE_URL)}
    if not upstreams:
        raise ConfigError(
            "There is no upstream. Give one, such as --upstream http://localhost:8080/v1, in ANTIPHON_UPSTREAM, or"
            f" as [upstreams.NAME] in {TOML_NAME}."
        )
    return upstreams


def _with_preset(
    name: str, given: Mapping[str, _Given], env: Mapping[str, str], *, forwards: bool
) -> dict[str, _Given]:
    """The fields of an upstream with those of the preset that its name or its base URL means, if there is one."""
    found = given.get("base_url")
    preset = presets().get(name if found is None else str(found.value))
    if preset is None:
        return dict(given)
    source = f"the upstream {preset.name!r}" if found is None else found.source
    filled = {**given, "base_url": _Given(preset.url(env), source)}
    if preset.key_env and not {"api_key", "api_key_env"} & given.keys() and (env.get(preset.key_env) or not forwards):
        filled["api_key_env"] = _Given(preset.key_env, source)
    return filled


def _upstream(name: str, given: Mapping[str, _Given], env: Mapping[str, str], *, needs_keys: bool) -> UpstreamSettings:
    if "dialect" in given and isinstance(given["dialect"].value, str):
        given = {**given, "dialect": given["dialect"]._replace(value=[given["dialect"].value])}
    upstream = _build(UpstreamSettings, given, name=name)
    api_key = upstream.api_key
    if upstream.api_key_env:
        source = given["api_key_env"].source
        if api_key:
            raise ConfigError(f"{source} and api_key exclude each other. Drop one of them.")
        api_key = env.get(upstream.api_key_env, "").strip() or None
        if needs_keys and not api_key:
            # Some put the key itself there; it must not be shown.
            name = upstream.api_key_env if upstream.api_key_env.isupper() else "(not shown: it may be a key)"
            raise ConfigError(f"{source} names the variable {name}, which is not set. Set it, or name another.")
    for header, value in upstream.headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", header) or not value.isprintable():
            raise ConfigError(f"{given['headers'].source}: {header!r} is no header name, or its value is not one line.")
    return msgspec.structs.replace(upstream, base_url=_base_url(given["base_url"]), api_key=api_key)


def _base_url(given: _Given) -> str:
    url = str(given.value).strip()
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        usable = False
    if not usable:
        raise _refused("base_url", given)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            f"{given.source}: the URL of {parts.hostname} has credentials, a query or a fragment, which would show in"
            " logs and recordings. Use api_key_env or headers for what is secret."
        )
    for path in ("/chat/completions", "/responses"):
        if parts.path.rstrip("/").endswith(path):
            raise ConfigError(f"{given.source}: {url!r} goes too far; leave out {path}.")
    return url.rstrip("/")


def _models(tables: _Table, upstreams: Mapping[str, UpstreamSettings]) -> dict[str, ModelRoute]:
    routes = {}
    for alias in tables.values:
        given = tables.table(alias).given(ModelRoute.__struct_fields__, required=["upstream", "model"])
        routes[alias] = _build(ModelRoute, given)
        _check_upstream(routes[alias].upstream, upstreams, given["upstream"].source)
        for fallback in routes[alias].fallbacks:
            upstream, _, model = fallback.partition("/")
            if not model:
                raise ConfigError(
                    f"{given['fallbacks'].source}: {fallback!r} is not allowed; it must be 'upstream/model'."
                )
            _check_upstream(upstream, upstreams, given["fallbacks"].source)
    return routes


def _dialects(toml: _Table) -> tuple[Entry, ...]:
    """All dialect entries: the shipped ones, those of named files, those that stand in antiphon.toml itself."""
    paths = toml.values.get("dialect_files", [])
    if not isinstance(paths, list) or not all(isinstance(path, str) and path for path in paths):
        raise _refused("dialect_files", _Given(paths, f"{toml.path}: dialect_files"))
    users: list[Entry] = []
    for path in paths:
        users += read_entries(toml.path.parent / os.path.expanduser(path))
    return with_users([*users, *check_entries(toml.values.get("dialects", []), toml.path)])


def _check_dialects(upstreams: Mapping[str, UpstreamSettings], dialects: tuple[Entry, ...], path: Path) -> None:
    known = {entry.id for entry in dialects} | {entry.id.partition("/")[0] for entry in dialects if entry.match.host}
    for upstream in upstreams.values():
        for name in upstream.dialect:
            if name not in known:
                hint = nearest(name, sorted(known))
                raise ConfigError(f"{path}: upstreams.{upstream.name}.dialect: there is no dialect {name!r}. {hint}")


def _check_upstream(name: str, upstreams: Mapping[str, UpstreamSettings], source: str) -> None:
    if name not in upstreams:
        raise ConfigError(f"{source}: there is no upstream {name!r}. {nearest(name, upstreams)}")


# --- who may call ----------------------------------------------------------------------------


def _owners(tables: _Table) -> dict[str, OwnerSettings]:
    return {
        name: _build(OwnerSettings, tables.table(name).given(OwnerSettings.__struct_fields__)) for name in tables.values
    }


def _check_access(settings: Settings) -> None:
    if settings.api_keys and settings.no_auth:
        raise ConfigError("ANTIPHON_API_KEYS is set, but no_auth lets everyone in. Take one of them away.")
    if not (settings.api_keys or settings.no_auth or _is_loopback(settings.host)):
        raise ConfigError(
            f"Listening on {settings.host!r} would let in anyone who reaches it. Set ANTIPHON_API_KEYS, or listen on"
            " 127.0.0.1, or give --no-auth if that is what you want."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"
