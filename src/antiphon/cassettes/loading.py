"""Recordings to be played: native cassettes stay on disk and are looked up line by line, others are held in memory.

Opening a native cassette reads it once and keeps where its lines begin: 8 bytes for an interaction, however long.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar, get_args

from antiphon.cassettes.format import (
    MAGIC,
    UPSTREAM_TAG,
    Asked,
    Interaction,
    Kind,
    RecordedRequest,
    decode_answer,
    decode_asked,
    decode_interaction,
)
from antiphon.cassettes.importers import native
from antiphon.cassettes.matching import request_of, tool_request
from antiphon.cassettes.reading import read
from antiphon.errors import CassetteCorrupt, CassetteError

Decoded = TypeVar("Decoded")

_KINDS: tuple[Kind, ...] = get_args(Kind)


class Held:
    """Interactions in memory."""

    def __init__(self, interactions: Iterable[Interaction]) -> None:
        self._interactions = list(interactions)

    def __len__(self) -> int:
        return len(self._interactions)

    def __getitem__(self, index: int) -> Interaction:
        return self._interactions[index]

    def answer(self, index: int) -> Interaction:
        """The interaction, with as much as it takes to play it."""
        return self._interactions[index]

    def asked(self, index: int) -> tuple[Kind, RecordedRequest | None]:
        """The kind, and what was asked."""
        interaction = self._interactions[index]
        return interaction.kind, request_of(interaction)

    def kind(self, index: int) -> Kind:
        """The kind alone."""
        return self._interactions[index].kind

    def upstreams(self) -> list[str]:
        """The upstreams that calls are tagged with, each once."""
        return list(dict.fromkeys(each.tags[UPSTREAM_TAG] for each in self._interactions if UPSTREAM_TAG in each.tags))

    def close(self) -> None:
        """Nothing to give up."""


class Indexed:
    """The interactions of a native cassette, each read when it is needed. Threads may share it.

    Every line is checked when the file is opened, so a broken cassette is told before anything is answered from it.

    Raises:
        CassetteCorrupt, CassetteVersion: as `read` does.
    """

    def __init__(self, path: Path) -> None:
        self._name = str(path)
        self._starts = array("Q")  # of lines, and where the last one ends
        self._kinds = bytearray()
        self._numbers = array("L")  # of the same lines, counted from 1, for messages
        self._upstreams: dict[str, None] = {}
        self._last = (-1, b"")
        self._file = open(path, "rb")  # noqa: SIM115 - closed by close()
        try:
            self._index()
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> Interaction:
        return self._decoded(index, decode_interaction)

    def answer(self, index: int) -> Interaction:
        """The interaction, with as much as it takes to play it."""
        return self._decoded(index, decode_answer)

    def asked(self, index: int) -> tuple[Kind, RecordedRequest | None]:
        """The kind, and what was asked."""
        asked = self._decoded(index, decode_asked)
        return asked.kind, asked.request if asked.tool is None else tool_request(asked.tool)

    def kind(self, index: int) -> Kind:
        """The kind alone."""
        return _KINDS[self._kinds[index]]

    def upstreams(self) -> list[str]:
        """The upstreams that calls are tagged with, each once."""
        return list(self._upstreams)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _decoded(self, index: int, decode: Callable[[bytes], Decoded]) -> Decoded:
        try:
            return decode(self._line(index))
        except ValueError as error:
            raise CassetteCorrupt(
                f"{self._name}:{self._numbers[index]}: the interaction is unreadable: {error}"
            ) from error

    def _line(self, index: int) -> bytes:
        number, line = self._last  # a line is usually wanted twice: to be found, and to be given
        if number != index:
            start, end = self._starts[index], self._starts[index + 1]
            line = os.pread(self._file.fileno(), end - start, start).partition(b"\n")[0]
            self._last = index, line
        return line

    def _index(self) -> None:
        for start, number, asked in native.decoded_lines(self._file, self._name, _checked):
            self._starts.append(start)
            self._numbers.append(number)
            self._kinds.append(_KINDS.index(asked.kind))
            if upstream := asked.tags.get(UPSTREAM_TAG):
                self._upstreams[upstream] = None
        self._starts.append(self._file.tell())


def _checked(line: bytes) -> Asked:
    """What was asked in a line that can be read."""
    line.decode()  # the decoder passes over strings of the response unseen
    if b'"base64"' in line:
        decode_interaction(line)  # and over what is in the wrong alphabet
    return decode_asked(line)


# Interactions by number.
Interactions = Held | Indexed


def first_url(interactions: Interactions) -> str | None:
    """Where the first HTTP request went."""
    for index in range(len(interactions)):
        kind, request = interactions.asked(index)
        if kind == "http" and request is not None:
            return request.url
    return None


def load(path: str | Path) -> Interactions:
    """The interactions of a recording by number, whichever tool made it.

    Raises:
        CassetteError: as `read` does.
    """
    try:
        with open(path, "rb") as file:
            is_native = file.read(len(MAGIC)) == MAGIC
        return Indexed(Path(path)) if is_native else Held(read(path))
    except FileNotFoundError:
        return Held(read(path))  # which says so
    except OSError as error:
        raise CassetteError(f"The recording {path} cannot be read: {error}") from error
