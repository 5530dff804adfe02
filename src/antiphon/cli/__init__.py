"""The ``antiphon`` command: each verb is one call into a room.

Everything heavy is imported inside the verb that needs it, so that ``--help`` is there at once.
"""

from __future__ import annotations

import click

from antiphon import __version__
from antiphon.cli import dialects, export, fork, keep, look, mcp, proxy, serve


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="antiphon")
def main() -> None:
    """Speak the OpenAI APIs over any model; every run is a journal."""


_VERBS = (
    dialects.dialects,
    *(serve.serve, mcp.mcp, proxy.record, proxy.replay, proxy.run, fork.fork, export.export),
    *(look.inspect, look.ls, look.show, look.diff),
    *(keep.convert, keep.verify, keep.prune, keep.refresh, keep.scrub),
)
for _verb in _VERBS:
    main.add_command(_verb)
