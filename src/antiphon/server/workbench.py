"""What a coding agent may look at: recordings below one directory, and the runs of one data directory.

Every method gives plain JSON values and is one tool; its docstring is what the agent is told. Nothing here writes, or
leaves this machine, apart from `replay_run` without a cassette.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from antiphon.cassettes import Chunk, Interaction, Player, RecordedRequest, RecordedResponse, read
from antiphon.cassettes.diffing import compared, report
from antiphon.cassettes.verifying import verify
from antiphon.cassettes.view import describe, model_of
from antiphon.config import Settings
from antiphon.errors import CassetteError, TransportError, UsageError
from antiphon.events import RunEvent, RunFinished, RunStarted
from antiphon.rendering.chat import chat_completion
from antiphon.rendering.listing import listed
from antiphon.rendering.responses import response_object
from antiphon.server.rerunning import rerun
from antiphon.store.archive import Archive, ArchivedRun, answered_text
from antiphon.transport import HttpRequest

# What one answer may fill of an agent's context, in characters of each text, and in interactions or runs.
MAX_CHARS = 20_000
MAX_LISTED = 200
_MAX_EXCERPT_CHARS = 200

Json = dict[str, Any]


class Workbench:
    """The tools. ``root`` is where recordings are; ``archive`` has the runs, if there are any.

    ``settings`` gives those of the server, with a cassette to replay from or None; a replay needs them.
    """

    def __init__(
        self, root: Path, *, archive: Archive | None = None, settings: Callable[[Path | None], Settings] | None = None
    ) -> None:
        self._root = root.resolve()
        self._archive = archive
        self._settings = settings

    # --- recordings --------------------------------------------------------------------------

    def list_interactions(self, path: str, start: int = 0, count: int = 50) -> Json:
        """List what a recording holds, an entry for each interaction: endpoint, model, status, tokens, duration.

        Takes cassettes of Antiphon, go-vcr, vcrpy and OGX, HAR files and chunk logs. `start` is the index of the first,
        `count` how many.
        """
        return self._page(path, start, count, _listed)

    def inspect_cassette(self, path: str, start: int = 0, count: int = 20) -> Json:
        """Show what the models in a recording said: choices or response, usage, and what was wrong with each stream.

        Streams are put together. `start` is the index of the first interaction, `count` how many.
        """
        return self._page(path, start, count, describe)

    def show_interaction(self, path: str, number: int, max_chars: int = MAX_CHARS) -> Json:
        """Show one interaction of a recording whole: request and answer with headers and bodies, and its timing.

        Interactions are numbered from 0. Bodies are cut after `max_chars` characters.
        """
        found = list(itertools.islice(read(self._file(path)), number, number + 1)) if number >= 0 else []
        if not found:
            raise UsageError(f"{path} has no interaction {number}; they are numbered from 0.")
        return {"file": path, "interaction": number, **_shown(found[0], min(max_chars, MAX_CHARS))}

    def diff_cassettes(self, a: str, b: str) -> Json:
        """Compare two recordings of the same thing: the first divergence, then each interaction that differs.

        Ids, dates and token counts are not compared.
        """
        found = compared(self._file(a), self._file(b))
        text = "\n".join(line.plain for line in report(found))
        equal = sum(each.is_equal for each in found)
        return {"equal": equal, "different": len(found) - equal, "report": _cut(text, MAX_CHARS)}

    def verify_cassette(self, path: str) -> Json:
        """Check that a recording is readable and whole, that its streams are streams, and that no key is in it."""
        findings = [
            {"interaction": number, "level": level, "message": message}
            for number, level, message in verify(self._file(path))
        ]
        return {"is_fit": not any(each["level"] == "problem" for each in findings), "findings": findings}

    async def replay_cassette(
        self, path: str, body: dict[str, Any], endpoint: str = "/v1/chat/completions", method: str = "POST"
    ) -> Json:
        """Ask a recording a request, as a test would in a replay: its answer, or why nothing fits.

        Where nothing fits, the nearest recorded request is named, with the JSON path at which yours differs. `body` is
        the JSON body of the request.
        """
        headers = (("content-type", "application/json"),)
        url, sent = f"http://replay.invalid{endpoint}", msgspec.json.encode(body)
        player = Player(list(read(self._file(path))), name=path)
        try:
            answer = await player.send(HttpRequest(method=method.upper(), url=url, headers=headers, body=sent))
            chunks = tuple([Chunk(0.0, chunk) async for chunk in answer.chunks()])
        except (CassetteError, TransportError) as error:
            return {"is_answered": False, "why": error.message}
        played = Interaction(
            id="",
            request=RecordedRequest(method=method.upper(), url=url, headers=headers, body=sent),
            response=RecordedResponse(status=answer.status, headers=answer.headers, chunks=chunks),
        )
        shown = _shown(played, MAX_CHARS)
        return {"is_answered": True, "answer": shown["answer"], **describe(played)}

    # --- runs --------------------------------------------------------------------------------

    def search_runs(
        self,
        query: str | None = None,
        model: str | None = None,
        status: str | None = None,
        since: str | None = None,
        limit: int = 20,
    ) -> Json:
        """Find stored runs, newest first: responses and chat completions that a server has kept.

        `query` is a text that was asked or answered. `model` is a name, or a pattern such as `gpt-*`. `status` is
        `completed`, `incomplete`, `failed`, `cancelled` or `in_progress`. `since` is a date or a time in ISO 8601.
        """
        archive = self._runs()
        since_s = None if since is None else _seconds(since)
        found = archive.search(query, model=model, status=status, since_s=since_s, limit=min(limit, MAX_LISTED))
        return {"runs": [_summary(run, archive) for run in found]}

    def show_run(self, id: str, with_events: bool = False) -> Json:  # noqa: A002 - as the API calls it
        """Show a stored run: what it was asked, the response, and what was mended in the upstream's streams.

        `with_events` adds its journal: every event of the run but the pieces of texts, in order.
        """
        archive = self._runs()
        run = archive.find(id)
        events = archive.events(run)
        shown = {
            **_summary(run, archive),
            "input": [listed(item) for item in archive.input_items(run)],
            "request": next((event.request for event in events if isinstance(event, RunStarted)), None),
            "response": response_of(run, events),
            "error": next((event.error for event in events if isinstance(event, RunFinished)), None),
        }
        if with_events:
            shown["events"] = [event for event in events if not type(event).__name__.endswith("Delta")]
        value: Json = msgspec.to_builtins(shown)
        return value

    async def replay_run(
        self,
        id: str,  # noqa: A002 - as the API calls it
        model: str | None = None,
        cassette: str | None = None,
    ) -> Json:
        """Run a stored run again, and set both outputs side by side.

        With `cassette` the upstream's answers come from that recording, and nothing is asked. Without it, the upstream
        of the configuration is asked, which may cost money; `model` asks another model. Nothing is stored.
        """
        archive = self._runs()
        run = archive.find(id)
        if self._settings is None:
            raise UsageError("There is no configuration to run it with. Start with --config FILE.")
        settings = self._settings(None if cassette is None else self._file(cassette))
        return await rerun(archive, run, settings, model=model)

    # --- what they share ---------------------------------------------------------------------

    def _file(self, path: str) -> Path:
        """The file of that name; nothing outside the root, whatever links lead there."""
        found = (self._root / path).resolve()
        if not found.is_relative_to(self._root):
            raise UsageError(f"{path} is outside of {self._root}, which is all that can be read here (--root).")
        return found

    def _runs(self) -> Archive:
        if self._archive is None:
            raise UsageError("No runs can be read here. Start with --data-dir DIR.")
        return self._archive

    def _page(self, path: str, start: int, count: int, show: Callable[[Interaction], Json]) -> Json:
        first, count = max(start, 0), max(1, min(count, MAX_LISTED))
        some = list(itertools.islice(enumerate(read(self._file(path))), first, first + count + 1))
        shown = [{"interaction": index, **show(each)} for index, each in some[:count]]
        return {"file": path, "interactions": shown, "next_start": first + count if len(some) > count else None}


def response_of(run: ArchivedRun, events: list[RunEvent]) -> Json:
    """The object that a client of the run's API gets."""
    return chat_completion(events) if run.api == "chat" else response_object(events)


def _summary(run: ArchivedRun, archive: Archive) -> Json:
    events = archive.events(run)
    return {
        "id": run.run,
        "owner": run.owner,
        "api": run.api,
        "model": run.model,
        "status": run.status,
        "created_at": _iso(run.created_at_s),
        "finished_at": _iso(run.finished_at_s),
        "previous_response_id": run.parent,
        "conversation": run.conversation,
        "answered": _cut(answered_text(events), _MAX_EXCERPT_CHARS),
    }


def _listed(interaction: Interaction) -> Json:
    said = describe(interaction)
    return {
        "kind": interaction.kind,
        "method": interaction.request.method if interaction.request else None,
        "endpoint": said["endpoint"],
        "status": said["status"],
        "model": model_of(interaction) or None,
        "stream": said["stream"],
        "usage": said["usage"],
        "duration_ms": interaction.duration_ms,
        "was_cut": bool(interaction.response and interaction.response.error),
        "known": interaction.fidelity,
    }


def _shown(interaction: Interaction, max_chars: int) -> Json:
    request, response = interaction.request, interaction.response
    shown: Json = {"kind": interaction.kind, "known": interaction.fidelity, "duration_ms": interaction.duration_ms}
    if request is not None:
        body = _text(request.body, max_chars)
        shown["request"] = {"method": request.method, "url": request.url, "headers": request.headers, "body": body}
    if response is not None:
        shown["answer"] = {
            "status": response.status,
            "headers": response.headers,
            "body": _text(response.body, max_chars),
            "delay_ms": response.delay_ms,
            "chunks": len(response.chunks),
            "error": response.error,
        }
    if interaction.tool is not None:
        shown["tool"] = interaction.tool
    if interaction.websocket is not None:
        shown["frames"] = list(itertools.islice(_frames(interaction), MAX_LISTED))
    value: Json = msgspec.to_builtins(shown)
    return value


def _frames(interaction: Interaction) -> Iterator[Json]:
    for frame in interaction.websocket.frames if interaction.websocket else ():
        yield {"from": frame.sender, "data": _text(frame.data, _MAX_EXCERPT_CHARS)}


def _text(data: bytes | str, max_chars: int) -> str:
    return _cut(data if isinstance(data, str) else data.decode("utf-8", "replace"), max_chars)


def _cut(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else f"{text[:max_chars]}… [{len(text) - max_chars:,} more characters]"


def _iso(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _seconds(time: str) -> int:
    try:
        parsed = datetime.fromisoformat(time)
    except ValueError as error:
        raise UsageError(f"{time!r} is no time; write it as 2026-11-28 or 2026-11-28T10:00:00Z.") from error
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())
