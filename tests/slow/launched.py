"""A server in a process of its own, which a test can kill."""

from __future__ import annotations

import asyncio
import re
from asyncio.subprocess import PIPE, Process


async def launch(*arguments: str) -> tuple[Process, str]:
    """Start a server that prints where it listens; its process, and the URL of its API."""
    process = await asyncio.create_subprocess_exec(*arguments, stdout=PIPE)
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    found = re.search(r"http://\S+", line)
    assert found, line
    return process, f"{found[0]}/v1"
