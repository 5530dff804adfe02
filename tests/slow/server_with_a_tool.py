"""The real server with one tool of its own: ``server_with_a_tool.py UPSTREAM DATA_DIR LOG``.

Each run of the tool writes its idempotency key into the log before it takes effect.
"""

import asyncio
import sys
from pathlib import Path

from antiphon.agent.acting import Tool
from antiphon.agent.effects import ToolCall
from antiphon.config import load_settings
from antiphon.server.serving import serve

TOOL_S = 0.03


def main(upstream: str, data_dir: str, log: str) -> None:
    def note(key: str) -> None:
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{key}\n")

    async def step(call: ToolCall) -> str:
        note(call.idempotency_key)
        await asyncio.sleep(TOOL_S)
        return "done"

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    settings = load_settings({"upstream": upstream, "data_dir": data_dir, "port": 0}, {})
    serve(settings, say=say, tools={"step": Tool(step)})


if __name__ == "__main__":
    main(*sys.argv[1:])
