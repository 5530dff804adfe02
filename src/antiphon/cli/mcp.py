"""``antiphon mcp``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from antiphon.cli.common import EXIT_NOT_STARTED, explained, warn


@click.command()
@click.option(
    "--root", metavar="DIR", default=".", show_default=True, help="Where recordings are; nothing outside is read."
)
@click.option("--data-dir", metavar="DIR", help="Whose runs can be searched.  [default: that of the configuration]")
@click.option("--owner", metavar="NAME", help="Show only the runs of this owner.")
@click.option("--config", metavar="FILE", help="The configuration.  [default: antiphon.toml, if there is one]")
@click.option("--http", "port", type=click.IntRange(1, 65535), metavar="PORT", help="Listen here, instead of on stdin.")
def mcp(root: str, data_dir: str | None, owner: str | None, config: str | None, port: int | None) -> None:
    """Serve recordings and stored runs to coding agents, over the Model Context Protocol.

    Speaks over stdin and stdout, as clients start it, or with --http at http://127.0.0.1:PORT/mcp for whoever is on
    this machine. Looks only, but for replay_run, which asks the upstream of the configuration.
    """
    from antiphon.config import Settings, load_data_dir, load_settings
    from antiphon.errors import ConfigError
    from antiphon.server.mcp import build
    from antiphon.server.workbench import Workbench
    from antiphon.store.archive import Archive

    path = Path(config) if config else None
    # A server's keys are for its clients; nobody is one here.
    env = {name: value for name, value in os.environ.items() if name != "ANTIPHON_API_KEYS"}

    def settings(cassette: Path | None) -> Settings:
        return load_settings({"data_dir": data_dir, "replay": None if cassette is None else str(cassette)}, env, path)

    with explained(EXIT_NOT_STARTED):
        if not Path(root).is_dir():
            raise ConfigError(f"--root: {root!r} is no directory.")
        directory = Path(data_dir) if data_dir else load_data_dir(env, path)
        server = build(Workbench(Path(root), archive=Archive(directory, owner=owner), settings=settings))
        if port is None:
            server.run("stdio")
        else:
            warn(f"http://127.0.0.1:{port}/mcp")
            server.run("streamable-http", host="127.0.0.1", port=port)
