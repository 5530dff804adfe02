"""Verbs that keep recordings in order."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from antiphon.cli.common import EXIT_NOT_STARTED, EXIT_SOME_FAILED, explained, warn


@click.command()
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
@click.option(
    "--to", type=click.Choice(["native", "go-vcr", "vcrpy"]), default="native", show_default=True, help="The format."
)
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def convert(source: str, target: str, to: str, force: bool) -> None:
    """Write a recording of any known tool in the native format, or in that of go-vcr or vcrpy.

    What the other format has no place for (tools, WebSockets, chunks and their times) is left out, and said.
    """
    from antiphon.cassettes import read
    from antiphon.cassettes.exporting import write
    from antiphon.errors import UsageError

    with explained(EXIT_NOT_STARTED):
        if Path(target).exists() and not force:
            raise UsageError(f"{target} is there already. Name another file, or use --force.")
        interactions = list(read(source))
        try:
            left_out = write(Path(target), interactions, to)  # type: ignore[arg-type]
        except OSError as error:
            raise UsageError(f"Cannot write {target}: {error.strerror}.") from error
    for line in left_out:
        warn(f"left out: {line}")
    click.echo(f"{target}: {len(interactions)} interactions")


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--secret-env", "names", metavar="NAME", multiple=True, help="A variable whose value must not be in it.")
@click.option("--quiet", is_flag=True, help="Only problems, no notes.")
def verify(files: tuple[str, ...], names: tuple[str, ...], quiet: bool) -> None:
    """Check that recordings are readable and whole, that their streams are streams, and that no key is in them.

    The values of all *_API_KEY variables are looked for. The exit code is 1 where there is a problem; notes, such as
    calls that were cut, are none.
    """
    from antiphon.cassettes.verifying import verify as findings

    secrets = [value for name, value in os.environ.items() if name.endswith("_API_KEY") or name in names]
    failed = False
    with _progress("verifying", len(files)) as progress:
        for done, file in enumerate(files):
            progress(done, len(files))
            for number, level, message in findings(file, secrets=secrets):
                failed = failed or level == "problem"
                if level == "problem" or not quiet:
                    where = file if number is None or message.startswith(file) else f"{file}: interaction {number}"
                    click.echo(f"{level}: {message if message.startswith(file) else f'{where}: {message}'}")
    click.echo(f"{len(files)} files: {'there are problems' if failed else 'no problem'}")
    if failed:
        sys.exit(EXIT_SOME_FAILED)


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--duplicates", is_flag=True, help="Drop what has the request and the answer of one before.")
@click.option("--failed", is_flag=True, help="Drop what was cut, or answered with an error.")
@click.option("--drop", metavar="N,N-M", help="Drop these, by index.")
@click.option("--dry-run", is_flag=True, help="Say what would go.")
def prune(file: str, duplicates: bool, failed: bool, drop: str | None, dry_run: bool) -> None:
    """Drop interactions of a cassette by rule. What a run never asked for: antiphon run --prune."""
    from antiphon.cassettes import pruning
    from antiphon.errors import UsageError

    with explained(EXIT_NOT_STARTED):
        if not (duplicates or failed or drop):
            raise UsageError("Say what to drop: --duplicates, --failed or --drop 0,2-4.")
        gone = pruning.prune(
            Path(file),
            duplicates=duplicates,
            failed=failed,
            drop=pruning.parse_indices(drop) if drop else (),
            dry_run=dry_run,
        )
    for each in gone:
        click.echo(str(each))
    click.echo(f"{len(gone)} interactions {'would go' if dry_run else 'are gone'}")


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--upstream", metavar="URL", help="Whom to ask.  [default: where each call was recorded]")
@click.option("--api-key-env", metavar="NAME", help="The variable that holds the upstream's key.")
@click.option("--keep-words", is_flag=True, help="Replace only what changed its form, not what has other words.")
def refresh(file: str, upstream: str | None, api_key_env: str | None, keep_words: bool) -> None:
    """Ask every request of a cassette again; replace only what changed, and show the drift.

    Drift is: other words, another shape (fields, types, events, tools, finish reasons), or another status. An error
    never replaces an answer.
    """
    from antiphon.errors import ConfigError
    from antiphon.server.asking import refresh as ask_all
    from antiphon.server.upstreams import parse

    with explained(EXIT_NOT_STARTED), _progress("asking", 1) as progress:
        if upstream:
            parse(upstream)
        if api_key_env and not os.environ.get(api_key_env):
            raise ConfigError(f"--api-key-env names the variable {api_key_env}, which is not set.")
        api_key = os.environ[api_key_env] if api_key_env else None
        drifts = ask_all(Path(file), upstream=upstream, api_key=api_key, keep_words=keep_words, on_progress=progress)
    for each in drifts:
        if each.drift != "same":
            click.echo(str(each))
    same = sum(each.drift == "same" for each in drifts)
    click.echo(f"{same} of {len(drifts)} interactions are as they were")


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--check", is_flag=True, help="Change nothing; the exit code is 1 where there is a secret.")
@click.option("--secret-env", "names", metavar="NAME", multiple=True, help="A variable whose value must not be in it.")
@click.option("--config", metavar="FILE", help="Where [scrub] stands.  [default: antiphon.toml, if there is one]")
def scrub(files: tuple[str, ...], check: bool, names: tuple[str, ...], config: str | None) -> None:
    """Take secrets out of cassettes: keys, tokens, cookies, addresses, cards, and what [scrub] in antiphon.toml adds.

    The values of all *_API_KEY variables are looked for too. With --check, recordings of other tools can be looked at
    as well. Which secret it was is not shown, only its kind.
    """
    import msgspec

    from antiphon.cassettes import Scrubber, rescrubbing
    from antiphon.config import load_scrub

    found = 0
    with explained(EXIT_NOT_STARTED):
        secrets = [value for name, value in os.environ.items() if name.endswith("_API_KEY") or name in names]
        rules = load_scrub(Path(config) if config else None)
        scrubber = Scrubber(secrets, **msgspec.structs.asdict(rules))
        for file in files:
            for number, kinds in (rescrubbing.check if check else rescrubbing.scrub)(Path(file), scrubber):
                found += 1
                click.echo(f"{file}: interaction {number}: {', '.join(kinds)}{'' if check else ', taken out'}")
    click.echo(f"{len(files)} files: {found or 'no'} interactions with secrets")
    if found and check:
        sys.exit(EXIT_SOME_FAILED)


@contextlib.contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, gone at the end, where somebody looks; gives what takes the count done and the whole."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done, total: bar.update(task, completed=done, total=total)
