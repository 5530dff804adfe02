"""The process that reads files for `antiphon.retrieval.reading`: questions on stdin, answers on stdout, until EOF."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import BinaryIO

import msgspec

from antiphon.retrieval.reading import LENGTH_BYTES, Reading, answer

# What a file of a few hundred megabytes may need; without an end, one bad file could take all there is.
_MAX_MEMORY_BYTES = 8 * 1024**3


def main() -> None:
    """Answer questions until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C goes to all; who asked us ends us
    _limit_memory()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, answers)


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer the questions of one stream on the other."""
    while len(length := questions.read(LENGTH_BYTES)) == LENGTH_BYTES:
        reading = msgspec.msgpack.decode(questions.read(int.from_bytes(length)), type=Reading)
        found = msgspec.msgpack.encode(answer(reading))
        answers.write(len(found).to_bytes(LENGTH_BYTES) + found)
        answers.flush()


def _limit_memory() -> None:
    if sys.platform == "linux":
        import resource

        with contextlib.suppress(ValueError, OSError):  # a lower limit is set already
            resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))


if __name__ == "__main__":
    main()
