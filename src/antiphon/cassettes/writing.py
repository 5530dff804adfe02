"""Appends interactions to a cassette, each as one write, so that a crash can tear the last line and nothing else."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from antiphon.cassettes.format import MAGIC, Interaction, decode_header, decode_interaction, encode_header
from antiphon.cassettes.format import encode_interaction as encode
from antiphon.errors import CassetteCorrupt

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)

log = logging.getLogger("antiphon.cassettes")


class Writer:
    """The end of a cassette file. Opening an existing cassette continues it.

    Raises:
        CassetteCorrupt: the file exists and is no cassette; nothing is written into foreign files.
        CassetteVersion: it was written by a newer version.
        OSError: the file exists and cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._file: int | None = None
        if self._path.exists():
            self._continue()

    def append(self, interaction: Interaction) -> None:
        """Write one line; the first one brings the header, so that a file never holds the header alone.

        Raises:
            OSError: it could not be written; the file is as it was before.
        """
        line = encode(interaction)
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, _APPEND, 0o666)
        size = os.fstat(self._file).st_size
        data = line if size else encode_header() + line
        try:
            written = os.write(self._file, data)
            if written < len(data):
                raise OSError(f"only {written} of {len(data)} bytes were written")
        except OSError:
            os.ftruncate(self._file, size)  # half a line in the middle would spoil what comes after it
            raise

    def close(self) -> None:
        """Close the file. A later `append` opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _continue(self) -> None:
        """Check the header, and cut off what a crash left of a last line."""
        with open(self._path, "rb") as file:
            first = file.readline()
            if not first:
                return
            if not first.startswith(MAGIC):
                raise CassetteCorrupt(
                    f"{self._path}:1: not a cassette of antiphon, so nothing is appended to it. Record to another file."
                )
            decode_header(first, f"{self._path}:1")
            start, last = _last_line(self._path)
        if last.endswith(b"\n"):
            return
        try:
            decode_interaction(last)
        except ValueError:
            log.warning("%s: the last line is torn, as after a crash while recording; it is cut off.", self._path)
            os.truncate(self._path, start)
        else:
            with open(self._path, "ab") as file:
                file.write(b"\n")


def _last_line(path: Path) -> tuple[int, bytes]:
    """Where the last line starts, and the line with its line end if it has one."""
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        start, tail = end, b""
        while start and b"\n" not in tail[:-1]:
            step = min(start, 1 << 16)
            start -= step
            file.seek(start)
            tail = file.read(step) + tail
        cut = tail.rfind(b"\n", 0, len(tail) - 1) + 1
        return start + cut, tail[cut:]
