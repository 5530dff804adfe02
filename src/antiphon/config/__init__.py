"""What can be set, and where it is read: flags, variables, antiphon.toml, dialect files."""

from antiphon.config.keys import hash_key
from antiphon.config.loading import DEFAULT_UPSTREAM, load_data_dir, load_dialects, load_settings
from antiphon.config.mcp import EgressSettings, McpServerSettings
from antiphon.config.routing import Route, dialect_of, route
from antiphon.config.scrub import ScrubSettings, load_scrub
from antiphon.config.settings import (
    FileSettings,
    LimitSettings,
    ModelRoute,
    OwnerSettings,
    Profile,
    ReasoningEvents,
    Repair,
    RetrievalSettings,
    Settings,
    ToolSettings,
    UnsupportedTools,
    UpstreamSettings,
)

__all__ = [
    "DEFAULT_UPSTREAM",
    "EgressSettings",
    "FileSettings",
    "LimitSettings",
    "McpServerSettings",
    "ModelRoute",
    "OwnerSettings",
    "Profile",
    "ReasoningEvents",
    "Repair",
    "RetrievalSettings",
    "Route",
    "ScrubSettings",
    "Settings",
    "ToolSettings",
    "UnsupportedTools",
    "UpstreamSettings",
    "dialect_of",
    "hash_key",
    "load_data_dir",
    "load_dialects",
    "load_scrub",
    "load_settings",
    "route",
]
