"""Native cassettes changed in place: lines that stay keep their bytes, and the file is replaced whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from antiphon.cassettes.format import MAGIC, Interaction, encode_header, encode_interaction
from antiphon.cassettes.importers import native
from antiphon.errors import CassetteError, CassetteMissing


class Line(NamedTuple):
    """An interaction, and the line it stands on."""

    interaction: Interaction
    raw: bytes


def lines(path: Path) -> list[Line]:
    """The interactions of a native cassette with their lines.

    Raises:
        CassetteMissing: there is no such file.
        CassetteError: it is of another tool; converted, it can be changed.
        CassetteCorrupt, CassetteVersion: it cannot be read.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise CassetteMissing(f"There is no recording {path}.") from error
    except OSError as error:
        raise CassetteError(f"The recording {path} cannot be read: {error}") from error
    if not raw.startswith(MAGIC):
        raise CassetteError(
            f"{path} is no cassette of antiphon, and others are not changed here. Convert it:"
            f" antiphon convert {path} {path.with_suffix('.jsonl')}"
        )
    kept = [line for line in raw.splitlines(keepends=True) if line.strip() and not line.startswith(MAGIC)]
    with open(path, "rb") as file:
        found = list(native.interactions(file, str(path)))
    return [Line(interaction, line) for interaction, line in zip(found, kept, strict=False)]


def replace(path: Path, content: Iterable[Line | Interaction]) -> None:
    """Write a cassette of these; what was there stays until all is written.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(encode_header())
            for each in content:
                line = each.raw if isinstance(each, Line) else encode_interaction(each)
                file.write(line if line.endswith(b"\n") else line + b"\n")
        os.chmod(name, path.stat().st_mode if path.exists() else 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
