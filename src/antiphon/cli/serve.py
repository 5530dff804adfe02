"""``antiphon serve``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from antiphon.cli.common import EXIT_NOT_STARTED, explained, say


@click.command()
@click.option(
    "--upstream",
    metavar="URL|NAME",
    help="Where Chat Completions are answered, such as http://localhost:8080/v1, or a usual name such as groq.",
)
@click.option("--api-key-env", metavar="NAME", help="The variable that holds the upstream's key.")
@click.option("--upstream-api", metavar="API", help="What the upstream is asked over: chat (the default) or responses.")
@click.option("--record", metavar="FILE", help="Write every call of the upstream to a cassette.")
@click.option("--replay", metavar="FILE", help="Answer from a recording instead of an upstream.")
@click.option("--auto", metavar="FILE", help="Answer from a cassette, and record what it does not hold.")
@click.option("--refresh", metavar="FILE", help="Ask the upstream; replace in a cassette what changed.")
@click.option(
    "--match",
    type=click.Choice(["body", "order"]),
    help="How a replay finds its answers: by equal requests (default), or in recorded order, saying what differs.",
)
@click.option(
    "--repair",
    type=click.Choice(["auto", "always", "never"]),
    help="Whether chat completions are mended on their way, or passed through: auto (default) mends where needed.",
)
@click.option(
    "--chunk-delay-ms", type=click.FloatRange(min=0), default=0.0, help="Pace of replays whose recording has no timing."
)
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes any free one.  [default: 8484]")
@click.option("--data-dir", metavar="DIR", help="Where responses are kept.  [default: ~/.local/share/antiphon]")
@click.option(
    "--profile",
    type=click.Choice(["openai", "open-responses"]),
    help="Names of events: OpenAI's (default), or those of Open Responses and nothing else.",
)
@click.option(
    "--reasoning-events",
    type=click.Choice(["summary", "raw"]),
    help="Show reasoning as a summary (default), or as raw text.",
)
@click.option("--config", metavar="FILE", help="The configuration.  [default: antiphon.toml, if there is one]")
@click.option("--no-auth", is_flag=True, help="Listen beyond this machine without keys (ANTIPHON_API_KEYS).")
@click.option("--forward-auth", is_flag=True, help="Give each client's own key to the upstream.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def serve(config: str | None, chunk_delay_ms: float, log_level: str, **flags: Any) -> None:
    """Serve the Responses and Chat Completions APIs over an upstream.

    Settings come from these flags, then ANTIPHON_* variables, then antiphon.toml. Keys of clients are set by
    ANTIPHON_API_KEYS (key,owner=key,...).
    """
    from antiphon.config import load_settings
    from antiphon.server.serving import configure_logging
    from antiphon.server.serving import serve as serve_until_stopped

    configure_logging(log_level)
    with explained(EXIT_NOT_STARTED):
        settings = load_settings(flags, os.environ, Path(config) if config else None)
        serve_until_stopped(settings, say=say, chunk_delay_s=chunk_delay_ms / 1000)
