"""One process at a time in a data directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

from antiphon.errors import StoreLocked

if sys.platform != "win32":
    import fcntl


def lock_directory(directory: Path) -> TextIO:
    """Take the directory for this process; closing the file that is returned, or dying, lets go of it.

    On Windows there is no ``flock``: nothing is refused there, and two servers on one directory would take each
    other's running runs for interrupted ones.

    Raises:
        StoreLocked: another process has it.
    """
    file = (directory / "lock").open("a+", encoding="ascii")
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise StoreLocked(
                f"The data directory {directory} is in use by another process (pid {holder})."
                " Stop that one, or choose another data directory."
            ) from error
        except OSError:  # a file system without locks
            file.close()
            raise
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file
