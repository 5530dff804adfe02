"""What can be set: plain values, made by `antiphon.config.loading`. Secrets are in no ``repr``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from antiphon.config.mcp import EgressSettings, McpServerSettings
from antiphon.config.scrub import ScrubSettings
from antiphon.dialects import Entry
from antiphon.sse import DEFAULT_MAX_EVENT_BYTES

# Fields that are shown as ***.
SECRET = frozenset({"api_key", "headers", "seal_keys"})

NotEmpty = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]

Repair = Literal["auto", "always", "never"]
Api = Literal["chat", "responses"]


class UpstreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A server that answers model calls. ``base_url`` ends where ``/chat/completions`` begins, without a slash.

    ``api`` is what it is asked over: ``responses`` is the Responses API itself, at ``/responses``.
    ``models`` are the names it takes, as `fnmatch` patterns. ``dialect`` names the dialects it speaks, instead of
    looking for them by its host. ``repair`` is that of `Settings`, if None. ``read_timeout_s`` is the longest silence,
    not the length of an answer: a model that loads its weights says nothing for minutes.
    """

    name: str
    base_url: NotEmpty
    api: Api = "chat"
    api_key_env: NotEmpty | None = None
    api_key: NotEmpty | None = None
    models: tuple[NotEmpty, ...] = ("*",)
    headers: dict[NotEmpty, str] = {}
    dialect: tuple[NotEmpty, ...] = ()
    repair: Repair | None = None
    connect_timeout_s: Seconds = 10.0
    read_timeout_s: Seconds = 600.0

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """The fields, secrets covered: headers may hold keys as well."""
        fields = {field: getattr(self, field) for field in self.__struct_fields__}
        return [(field, "***" if field in SECRET and value else value) for field, value in fields.items()]

    def __repr__(self) -> str:
        return f"UpstreamSettings({', '.join(f'{field}={value!r}' for field, value in self.__rich_repr__())})"


class ModelRoute(msgspec.Struct, frozen=True, kw_only=True):
    """What an alias stands for. ``fallbacks`` are asked in order, each as ``upstream/model``."""

    upstream: NotEmpty
    model: NotEmpty
    fallbacks: tuple[NotEmpty, ...] = ()


Profile = Literal["openai", "open-responses"]
ReasoningEvents = Literal["summary", "raw"]
UnsupportedTools = Literal["drop", "refuse"]


class OwnerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the responses of one owner are shown; None leaves it to the server's own setting."""

    profile: Profile | None = None
    reasoning_events: ReasoningEvents | None = None


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What one run, one request and one upstream event may use up."""

    max_turns: Count = 64
    max_tool_calls: Count = 128
    max_attempts: Count = 1
    max_format_retries: Annotated[int, Meta(ge=0)] = 1
    max_repeats: Count | None = None
    retry_wait_s: Seconds = 1.0
    max_retry_wait_s: Seconds = 60.0
    timeout_s: Seconds = 3600.0
    max_background_runs: Count = 32
    max_body_bytes: Count = 32 * 1024 * 1024
    max_event_bytes: Count = DEFAULT_MAX_EVENT_BYTES


class FileSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the bytes of files are kept, and how many. ``url`` None is the data directory.

    ``max_total_bytes`` is for all files of one owner together.
    """

    url: NotEmpty | None = None
    max_file_bytes: Count = 512 * 1024 * 1024
    max_total_bytes: Count = 100 * 1024**3


class RetrievalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How files are indexed and searched.

    ``embeddings`` is the model that makes vectors; None searches by words alone. ``rewrite`` is the model that makes
    queries of a question where a search asks for that.
    """

    embeddings: NotEmpty | None = None
    rewrite: NotEmpty | None = None
    dimensions: Count | None = None
    max_concurrent_files: Count = 4
    file_timeout_s: Seconds = 120.0


class ToolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How tools of the server are treated in a replay: those whose names fit one of ``live`` are called all the same.

    Names are ``LABEL/TOOL``, ``LABEL:tools/list`` and ``file_search``; patterns are those of `fnmatch`.
    """

    live: tuple[NotEmpty, ...] = ()


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set; made by `load_settings`.

    ``api_keys`` maps `hash_key` of each key to its owner: the keys themselves are not kept. ``repair`` is about chat
    completions: whether they are passed through as bytes (``never``), or read, mended and written again (``always``);
    ``auto`` does that only where it is needed. ``dialects`` are the shipped entries and the user's, in order of
    precedence. ``seal_keys`` are secrets, the newest first.
    """

    upstreams: dict[str, UpstreamSettings]
    data_dir: Path
    models: dict[str, ModelRoute] = {}
    host: NotEmpty = "127.0.0.1"
    port: Port = 8484
    api_keys: dict[str, str] = {}
    no_auth: bool = False
    forward_auth: bool = False
    record: Path | None = None
    replay: Path | None = None
    auto: Path | None = None
    refresh: Path | None = None
    match: Literal["body", "order"] = "body"
    on_interruption: Literal["retry", "fail"] = "retry"
    repair: Repair = "auto"
    dialects: tuple[Entry, ...] = ()
    profile: Profile = "openai"
    reasoning_events: ReasoningEvents = "summary"
    unsupported_tools: UnsupportedTools = "drop"
    owners: dict[str, OwnerSettings] = {}
    seal_keys: tuple[str, ...] = ()
    limits: LimitSettings = LimitSettings()
    files: FileSettings = FileSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    scrub: ScrubSettings = ScrubSettings()
    mcp_servers: dict[str, McpServerSettings] = {}
    egress: EgressSettings = EgressSettings()
    tools: ToolSettings = ToolSettings()

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """The fields, secrets covered."""
        fields = {field: getattr(self, field) for field in self.__struct_fields__}
        return [(field, "***" if field in SECRET and value else value) for field, value in fields.items()]

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{field}={value!r}' for field, value in self.__rich_repr__())})"
