"""File markers in a model's text, cut out as it streams, and made annotations. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from antiphon.events import ModelEvent


class FileCitations:
    """Passes the events of one turn on, without the markers in its texts.

    ``files`` says which ids may be cited: id -> filename.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        raise NotImplementedError

    def let_through(self, events: list[ModelEvent]) -> list[ModelEvent]:
        """What of these events goes on; the very list where nothing changes."""
        raise NotImplementedError
