"""Which tools of a server may be called, and which only after somebody has agreed: the API's ways to say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from antiphon.errors import InvalidRequest

# What the API takes: names, or a filter of `tool_names` and `read_only`; for approvals also "always" and "never", and
# filters under these words.
Allowed = Sequence[str] | Mapping[str, Any] | None
Approval = str | Mapping[str, Any] | None

_FILTER = {"tool_names", "read_only"}
_WHEN = ("always", "never")


class Permissions:
    """What ``allowed_tools`` and ``require_approval`` mean for each tool.

    A tool that both filters of ``require_approval`` name needs approval, and so does one that neither names. A server's
    word that a tool is read-only is believed only where a filter asks for it.

    Raises:
        InvalidRequest: they are of no shape that the API knows.
    """

    def __init__(self, allowed_tools: Allowed = None, require_approval: Approval = "always") -> None:
        self._allowed = _filter(allowed_tools, "allowed_tools")
        if require_approval is None or require_approval == "always":
            require_approval = {"always": {}}
        elif require_approval == "never":
            require_approval = {"never": {}}
        if not isinstance(require_approval, Mapping) or not set(require_approval) <= set(_WHEN):
            raise InvalidRequest(
                f"require_approval is {require_approval!r}, but must be 'always', 'never', or an object of filters"
                " under these words.",
                param="require_approval",
            )
        self._approval = {
            when: _filter(require_approval[when], f"require_approval.{when}")
            for when in _WHEN
            if require_approval.get(when) is not None
        }

    def allows(self, name: str, annotations: Mapping[str, Any] | None = None) -> bool:
        """Whether a tool may be called, and is listed."""
        return _matches(self._allowed, name, annotations)

    def needs_approval(self, name: str, annotations: Mapping[str, Any] | None = None) -> bool:
        """Whether somebody must agree to each call of a tool."""
        if "always" in self._approval and _matches(self._approval["always"], name, annotations):
            return True
        return not ("never" in self._approval and _matches(self._approval["never"], name, annotations))


def _filter(value: Any, param: str) -> dict[str, Any]:
    """A filter with its parts checked; one that is empty matches every tool."""
    found = {"tool_names": value} if isinstance(value, Sequence) and not isinstance(value, str) else value
    if found is None:
        return {}
    if not isinstance(found, Mapping) or not set(found) <= _FILTER:
        raise InvalidRequest(
            f"{param} must be a list of names, or an object with tool_names and read_only.", param=param
        )
    names = found.get("tool_names")
    if names is not None and (isinstance(names, str) or not all(isinstance(name, str) for name in names)):
        raise InvalidRequest(f"{param}.tool_names must be a list of names.", param=param)
    if not isinstance(found.get("read_only"), bool | None):
        raise InvalidRequest(f"{param}.read_only must be true or false.", param=param)
    return {key: value for key, value in found.items() if value is not None}


def _matches(wanted: Mapping[str, Any], name: str, annotations: Mapping[str, Any] | None) -> bool:
    if "tool_names" in wanted and name not in wanted["tool_names"]:
        return False
    is_read_only = (annotations or {}).get("readOnlyHint") is True
    return "read_only" not in wanted or wanted["read_only"] == is_read_only
