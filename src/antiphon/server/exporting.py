"""A stored run as files: a cassette, and a test that fails until the behaviour changes."""

from __future__ import annotations

import pprint
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from antiphon.agent.exporting import StoredRun, rebuilt, recorded, stored_run
from antiphon.cassettes import Interaction, RecordedRequest, Scrubber, read
from antiphon.cassettes.endpoints import base_url, operation
from antiphon.cassettes.writing import Writer
from antiphon.clock import SystemClock
from antiphon.config import DEFAULT_UPSTREAM, Settings, dialect_of
from antiphon.dialects import Dialect
from antiphon.errors import UsageError
from antiphon.rendering.responses import response_object
from antiphon.server.answering import respond, said
from antiphon.store.sqlite import SqliteStore

# Where a run was asked whose upstream nothing tells: ``.invalid`` never resolves (RFC 6761).
UNKNOWN_URL = "http://recorded.invalid/v1"

# Of a stored request, what is about the server it was sent to, or about how it was given.
_LEFT_OUT = frozenset({"previous_response_id", "conversation", "background", "store", "stream", "stream_options"})


class Export(NamedTuple):
    """A run to be written: its interactions, and the request that leads to its last answer."""

    run: StoredRun
    interactions: list[Interaction]
    request: dict[str, Any]
    answer: list[dict[str, Any]]
    upstream: str
    upstream_api: str
    api_key_env: str | None

    @property
    def fidelity(self) -> str:
        """What is known of the upstream's answers."""
        return next(each.fidelity for each in self.interactions if each.kind == "http")


async def gather(settings: Settings, owner: str, response_id: str, recording: Path | None) -> Export:
    """A stored response, as it can be exported; nothing of it is a secret by its looks.

    Raises:
        NotFound, Conflict, StoreError, CassetteError, UsageError: it is not there, not over, or not in the recording.
    """
    store = SqliteStore.read(settings.data_dir, clock=SystemClock())
    try:
        run = await stored_run(store, owner, response_id)
    finally:
        await store.close()
    if recording is not None:
        interactions = recorded(run, read(recording))
    else:
        interactions = rebuilt(run, dialect_of=partial(_dialect, settings), base_url_of=partial(_base_url, settings))
    scrub = Scrubber(
        [each.api_key for each in settings.upstreams.values() if each.api_key],
        **msgspec.structs.asdict(settings.scrub),
    )
    interactions = [scrub(each) for each in interactions]
    asked = next(each.request for each in interactions if each.request is not None)
    last = run.turns[-1].started.upstream
    return Export(
        run=run,
        interactions=interactions,
        request=_scrubbed(_request(run), scrub),
        answer=_scrubbed(said(response_object(run.events)), scrub),
        upstream=base_url(asked.url),
        upstream_api="responses" if operation(asked.url) == "/responses" else "chat",
        api_key_env=settings.upstreams[last].api_key_env if last in settings.upstreams else None,
    )


def _dialect(settings: Settings, upstream: str, model: str) -> Dialect:
    return dialect_of(settings, upstream if upstream in settings.upstreams else DEFAULT_UPSTREAM, model)


def _base_url(settings: Settings, upstream: str) -> str:
    found = settings.upstreams.get(upstream)
    return UNKNOWN_URL if found is None else found.base_url


def _request(run: StoredRun) -> dict[str, Any]:
    """The request for the last turn: all that came before it is its input, the results of the server's tools too."""
    started, call = run.turns[-1].started, run.turns[-1].call
    written = {name: value for name, value in run.started.request.items() if name not in _LEFT_OUT}
    if call.request.tool_choice is not None:
        written["tool_choice"] = call.request.tool_choice
    return {**written, "model": started.model, "input": call.items}


def _scrubbed(value: Any, scrub: Scrubber) -> Any:
    """A JSON value as it may be written down."""
    request = RecordedRequest(method="POST", url="", body=msgspec.json.encode(value))
    written = scrub(Interaction(id="", request=request)).request
    assert written is not None
    return msgspec.json.decode(written.body)


# --- the files -------------------------------------------------------------------------------


def write_cassette(target: Path, interactions: Sequence[Interaction], *, force: bool) -> None:
    """Write the interactions as a new cassette.

    Raises:
        UsageError: the file is there already, or cannot be written.
    """
    if target.exists() and not force:
        raise UsageError(f"{target} is there already. Name another file, or use --force.")
    target.unlink(missing_ok=True)
    writer = Writer(target)
    try:
        for each in interactions:
            writer.append(each)
    except OSError as error:
        raise UsageError(f"Cannot write {target}: {error.strerror}.") from error
    finally:
        writer.close()


def write_test(cassette: Path, export: Export, *, force: bool) -> Path:
    """Write the test beside its cassette, after seeing that the cassette gives the answer that was stored.

    Raises:
        UsageError: it does not; or the file is there already.
    """
    target = cassette.with_name(f"test_{re.sub(r'[^0-9A-Za-z_]', '_', cassette.stem)}.py")
    if target.exists() and not force:
        raise UsageError(f"{target} is there already. Name another file, or use --force.")
    options: Options = {
        "upstream": export.upstream,
        "upstream_api": None if export.upstream_api == "chat" else export.upstream_api,
        "profile": None if export.run.started.profile == "openai" else export.run.started.profile,
    }
    settled, bad = _settled(cassette, export, options)
    target.write_text(_source(cassette, export, settled, bad), encoding="utf-8")
    return target


Options = dict[str, str | None]


def _settled(cassette: Path, export: Export, options: Options) -> tuple[Options, list[dict[str, Any]]]:
    """The options under which a replay gives the stored answer (found by its body, or else in order), and what it
    says."""
    answer: dict[str, Any] = {}
    tried: tuple[Options, ...] = ({}, {"match": "order"})
    for more in tried:
        answer = respond(export.request, cassette, **options | more)  # type: ignore[arg-type]
        shown = said(answer)
        if shown and shown == export.answer[-len(shown) :]:
            return options | more, shown
    raise UsageError(
        f"{cassette} was written, but a server that replays it does not give the stored answer, so there is no test:"
        f" {_why(answer)}"
    )


def _why(answer: Mapping[str, Any]) -> str:
    error = answer.get("error")
    return error["message"] if error else f"it says {said(answer)}."


def _source(cassette: Path, export: Export, options: Options, bad: list[dict[str, Any]]) -> str:
    run = export.run.started
    when = datetime.fromtimestamp(run.created_at_s, UTC).date().isoformat()
    given = "".join(f", {name}={value!r}" for name, value in options.items() if value and name != "upstream")
    key = f", api_key_env={export.api_key_env!r}" if export.api_key_env else ""
    return _TEMPLATE.format(
        run=run.run,
        when=when,
        name=re.sub(r"[^0-9A-Za-z_]", "_", run.run),
        cassette=cassette.name,
        upstream=export.upstream,
        request=_literal(export.request),
        bad=_literal(bad),
        given=given,
        key=key,
    )


def _literal(value: Any) -> str:
    return pprint.pformat(value, width=116, sort_dicts=False)


_TEMPLATE = '''"""The response {run}, as it was on {when}. This test fails until the behaviour changes.

Made by `antiphon export`. It needs no network and no key: the model's answers come from {cassette}. After a change of
REQUEST, let the model answer what is not recorded yet:

    pytest --cassette-mode=auto {{this file}}
"""

from pathlib import Path

import pytest

from antiphon.testing import respond, said

CASSETTE = Path(__file__).with_name({cassette!r})
UPSTREAM = {upstream!r}

# What led to the bad answer; what came before it is in the input.
REQUEST = {request}

# What must not come back.
BAD = {bad}


def test_{name}(pytestconfig: pytest.Config) -> None:
    mode = pytestconfig.getoption("--cassette-mode", None) or "replay"
    response = respond(REQUEST, CASSETTE, mode=mode, upstream=UPSTREAM{given}{key})

    # TODO: say what is wanted, for example: assert said(response)[0]["text"] == "…"
    assert said(response) != BAD
'''
