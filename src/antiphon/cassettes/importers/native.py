"""Our own format, read line by line: a file of any size opens at once and costs the memory of one interaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import BinaryIO, TypeVar

from antiphon.cassettes.format import (
    MAGIC,
    Interaction,
    decode_header,
    decode_interaction,
    is_newer_minor,
    unknown_kind,
)
from antiphon.errors import CassetteCorrupt

log = logging.getLogger("antiphon.cassettes")


Decoded = TypeVar("Decoded")


def interactions(file: BinaryIO, name: str) -> Iterator[Interaction]:
    """The interactions of an open cassette; ``name`` is for errors. See `decoded_lines`."""
    return (interaction for _, _, interaction in decoded_lines(file, name, decode_interaction))


def decoded_lines(file: BinaryIO, name: str, decode: Callable[[bytes], Decoded]) -> Iterator[tuple[int, int, Decoded]]:
    """Where each interaction begins, the number of its line, and what ``decode`` makes of it; ``name`` is for errors.

    A torn last line is logged as a warning. Header lines may stand anywhere, so that two cassettes joined with ``cat``
    are one. In a file of a newer minor version, interactions of a kind that is not known here are passed over, with a
    warning.

    Raises:
        CassetteCorrupt: a line is unreadable, or there is no interaction in it at all.
        CassetteVersion: it was written by a newer version.
    """
    count, end, is_newer = 0, 0, False
    for number, line in enumerate(file, start=1):
        where = f"{name}:{number}"
        start, end = end, end + len(line)
        if line.startswith(MAGIC):
            is_newer = is_newer_minor(decode_header(line, where))
            continue
        if number == 1:
            raise CassetteCorrupt(f"{where}: the header line of the cassette is missing.")
        if not line.strip():
            continue
        try:
            decoded = decode(line)
        except ValueError as error:
            if is_newer and (kind := unknown_kind(line)):
                log.warning("%s: an interaction of the kind %r is passed over; upgrade to read it.", where, kind)
                continue
            if line.endswith(b"\n"):
                raise CassetteCorrupt(f"{where}: the interaction is unreadable: {error}") from error
            log.warning("%s: the last line is torn, as after a crash while recording; it is left out.", where)
            continue
        count += 1
        yield start, number, decoded
    if not count:
        raise CassetteCorrupt(f"{name}: the cassette holds no interaction.")
