"""A stored run, run again by the same application, from a cassette or over an upstream; nothing of it is kept."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec

from antiphon.config import Settings
from antiphon.errors import UsageError
from antiphon.events import RunStarted
from antiphon.rendering.chat import chat_completion
from antiphon.rendering.items import public
from antiphon.rendering.responses import response_object
from antiphon.store.archive import Archive, ArchivedRun

# What of a request is about where its history is and how its answer travels. The history is put into the input.
_LEFT_OUT = ("previous_response_id", "conversation", "background", "stream", "stream_options", "input")
# Tools that would be run for real.
_HOSTED = frozenset({"mcp", "file_search"})


async def rerun(archive: Archive, run: ArchivedRun, settings: Settings, *, model: str | None = None) -> dict[str, Any]:
    """What the run gives now, beside what it gave: both outputs, their usage, and the first output that differs.

    Raises:
        UsageError: the run used tools of servers, which would have effects again.
        ConfigError, CassetteError, StoreError: it cannot be run so.
    """
    events = archive.events(run)
    started = next((event for event in events if isinstance(event, RunStarted)), None)
    if started is None:
        raise UsageError(f"The journal of {run.run!r} is empty: there is nothing to run again.")
    request = {key: value for key, value in started.request.items() if key not in _LEFT_OUT}
    if hosted := sorted({tool.get("type") for tool in request.get("tools") or ()} & _HOSTED):
        raise UsageError(
            f"{run.run!r} used tools of the server ({', '.join(hosted)}), which would be run for real once more."
        )
    # What is stored is asked of the upstream in its own way, and this store is gone at the end.
    request |= {"store": True, "model": model or started.model}
    if run.api == "chat":
        before, path = chat_completion(events), "/v1/chat/completions"
    else:
        before, path = response_object(events), "/v1/responses"
        request["input"] = [public(item) for item in archive.asked_items(run)]
    status, now = await _ask(settings, path, request)
    if status >= 400:
        return {"status": status, "error": now.get("error", now), "before": _said(before)}
    told, tells = _said(before), _said(now)
    return {
        "is_same": told["output"] == tells["output"],
        "first_difference": _first_difference(told["output"], tells["output"]),
        "before": told,
        "now": tells,
    }


async def _ask(settings: Settings, path: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The answer of the application that these settings describe, with an empty memory and no keys."""
    import httpx2

    from antiphon.server.wiring import open_app

    with tempfile.TemporaryDirectory(prefix="antiphon-") as directory:
        alone = msgspec.structs.replace(settings, data_dir=Path(directory), record=None, api_keys={}, no_auth=False)
        async with open_app(alone) as app:
            transport = httpx2.ASGITransport(app=app, client=("127.0.0.1", 0))
            async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=None) as client:
                answer = await client.post(path, json=request)
    return answer.status_code, answer.json()


def _said(answer: dict[str, Any]) -> dict[str, Any]:
    """What of an answer can be compared: texts and calls in order, without ids."""
    if "choices" in answer:
        said = [_without_ids(choice.get("message") or {}) for choice in answer["choices"]]
    else:
        said = [_without_ids(item) for item in answer.get("output") or ()]
    return {"model": answer.get("model"), "status": answer.get("status"), "output": said, "usage": answer.get("usage")}


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_ids(each) for key, each in value.items() if key not in ("id", "call_id")}
    return [_without_ids(each) for each in value] if isinstance(value, list) else value


def _first_difference(before: list[Any], now: list[Any]) -> int | None:
    differing = (index for index, pair in enumerate(zip(before, now, strict=False)) if pair[0] != pair[1])
    shorter = min(len(before), len(now))
    return next(differing, None if len(before) == len(now) else shorter)
