"""``[mcp_servers.NAME]`` and ``[egress]`` in antiphon.toml: servers whose tools requests may use by name, and where the
URLs of requests may lead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from antiphon.config.files import nearest
from antiphon.errors import ConfigError
from antiphon.wire.hosted import ApprovalFilter, ToolFilter

NotEmpty = Annotated[str, Meta(min_length=1)]
Seconds = Annotated[float, Meta(gt=0)]

Kind = TypeVar("Kind", bound=msgspec.Struct)

# Fields that are shown as ***.
_SECRET = frozenset({"authorization", "headers", "env", "args"})

# What the API takes as a label; a name here can stand for one.
_NAME = r"[A-Za-z][A-Za-z0-9_-]{0,63}"


class McpServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server whose tools a request may use by its name: behind a ``url``, or a ``command`` that is started.

    ``authorization_env`` names the variable that holds its token. ``require_approval`` is for requests that do not say.
    ``timeout_s`` limits a call. ``allow_private`` lets the URL lead to this machine and this network.
    """

    name: str
    url: NotEmpty | None = None
    command: NotEmpty | None = None
    args: tuple[str, ...] = ()
    env: dict[NotEmpty, str] = {}
    headers: dict[NotEmpty, str] = {}
    authorization_env: NotEmpty | None = None
    authorization: NotEmpty | None = None
    allowed_tools: tuple[str, ...] | ToolFilter | None = None
    require_approval: Literal["always", "never"] | ApprovalFilter = "always"
    timeout_s: Seconds = 300.0
    allow_private: bool = False

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """The fields, secrets covered: arguments and the URL may hold keys as well."""
        fields = {field: getattr(self, field) for field in self.__struct_fields__}
        fields["url"] = self.url and re.sub(r"(?<=://)[^/]*@|\?.*", "***", self.url)
        return [(field, "***" if field in _SECRET and value else value) for field, value in fields.items()]

    def __repr__(self) -> str:
        return f"McpServerSettings({', '.join(f'{field}={value!r}' for field, value in self.__rich_repr__())})"


class EgressSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where URLs that a request names may lead, besides public addresses: addresses, networks and host names."""

    allow: tuple[NotEmpty, ...] = ()


def check_mcp_servers(
    tables: Any, path: Path, env: Mapping[str, str], *, needs_keys: bool = True
) -> dict[str, McpServerSettings]:
    """The servers of ``[mcp_servers]`` by name, with their tokens taken from the variables they name.

    Without ``needs_keys`` such a variable may be missing, as in a replay.

    Raises:
        ConfigError: one has an unknown key or a wrong value; no message shows a secret.
    """
    if not isinstance(tables, dict):
        raise ConfigError(f"{path}: mcp_servers is {tables!r}, but must be a table.")
    servers = {name: _server(name, table, f"{path}: mcp_servers.{name}") for name, table in tables.items()}
    return {name: _with_authorization(server, path, env, needs_keys) for name, server in servers.items()}


def check_egress(table: Any, path: Path) -> EgressSettings:
    """The settings of an ``[egress]`` table; whether its entries can be understood is for who uses them.

    Raises:
        ConfigError: it has an unknown key or a wrong value.
    """
    return _converted({} if table is None else table, EgressSettings, f"{path}: egress")


def _server(name: str, table: Any, at: str) -> McpServerSettings:
    if not re.fullmatch(_NAME, name):
        raise ConfigError(f"{at}: the name must begin with a letter, and be of letters, digits, '_' and '-'.")
    if isinstance(table, dict):
        if "name" in table:
            raise ConfigError(f"{at}.name is not a setting. Its name is {name!r}.")
        table = {**table, "name": name}
    server = _converted(table, McpServerSettings, at)
    if (server.url is None) == (server.command is None):
        raise ConfigError(f"{at} has {'both' if server.url else 'neither'} url and command; it must have one of them.")
    unused = ("args", "env") if server.url else ("headers", "authorization", "authorization_env", "allow_private")
    for field in unused:
        if getattr(server, field):
            raise ConfigError(f"{at}.{field} means nothing beside {'url' if server.url else 'command'}. Drop it.")
    if server.url is not None:
        _check_url(server.url, at)
    _check_headers(server.headers, at)
    return server


def _with_authorization(
    server: McpServerSettings, path: Path, env: Mapping[str, str], needs_keys: bool
) -> McpServerSettings:
    if server.authorization_env is None:
        return server
    at = f"{path}: mcp_servers.{server.name}"
    if server.authorization:
        raise ConfigError(f"{at}.authorization_env and authorization exclude each other. Drop one of them.")
    token = env.get(server.authorization_env, "").strip() or None
    if needs_keys and token is None:
        # Some put the token itself there; it must not be shown.
        shown = server.authorization_env if server.authorization_env.isupper() else "(not shown: it may be a token)"
        raise ConfigError(f"{at}.authorization_env names the variable {shown}, which is not set. Set it.")
    return msgspec.structs.replace(server, authorization=token)


def _check_url(url: str, at: str) -> None:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        is_usable = False
    if not is_usable:
        raise ConfigError(f"{at}.url must be a URL such as https://example.com/mcp.")


def _check_headers(headers: Mapping[str, str], at: str) -> None:
    for header, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", header) or not value.isprintable():
            raise ConfigError(f"{at}.headers: {header!r} is no header name, or its value is not one line.")


def _converted(table: Any, kind: type[Kind], at: str) -> Kind:
    if not isinstance(table, dict):
        raise ConfigError(f"{at} must be a table.")
    known = [field for field in kind.__struct_fields__ if field != "name"]
    for name in table:
        if name not in kind.__struct_fields__:
            raise ConfigError(f"{at}.{name} is not a setting. {nearest(name, known)}")
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        words, _, place = str(error).partition(" - at `$")
        raise ConfigError(f"{at}{place.rstrip('`')}: {words}.") from error
