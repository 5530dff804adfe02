"""Whether a recording can be relied on: it is readable, whole, its streams are streams, and no key is in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from antiphon.assembly.chat import ChatAssembler
from antiphon.cassettes.endpoints import EVENT_STREAM, JSON_LINES, endpoint, is_stream, media_type
from antiphon.cassettes.format import Interaction, RecordedResponse
from antiphon.cassettes.patterns import NAMES
from antiphon.cassettes.reading import read
from antiphon.cassettes.scrubbing import SECRET_HEADERS, Scrubber
from antiphon.cassettes.view import responses_object
from antiphon.errors import CassetteError
from antiphon.events import TurnFailed
from antiphon.sse import SSEDecoder

_ENDED = frozenset({"completed", "incomplete", "failed", "cancelled"})


class Finding(NamedTuple):
    """What is the matter with an interaction, or with the file where ``number`` is None.

    A ``problem`` makes the recording unfit; a ``note`` is what one should know, such as a call that was cut.
    """

    number: int | None
    level: Literal["problem", "note"]
    message: str


def verify(path: str | Path, *, secrets: Iterable[str] = ()) -> Iterator[Finding]:
    """Everything that is the matter with a recording; ``secrets`` are values that must not be in it."""
    scrubber = Scrubber([each for each in secrets if each], off=(*NAMES, "fields"))  # what is like one: scrub --check
    try:
        for index, interaction in enumerate(read(path)):
            for level, message in _findings(interaction, scrubber):
                yield Finding(index, level, message)
    except CassetteError as error:
        yield Finding(None, "problem", error.message)


Findings = Iterator[tuple[Literal["problem", "note"], str]]


def _findings(interaction: Interaction, scrubber: Scrubber) -> Findings:
    yield from _secrets(interaction, scrubber)
    response = interaction.response
    if response is None:
        return
    if response.error is not None:
        yield "note", f"the call ended early: {response.error.code}"
        return
    if response.status is not None and response.status >= 400:
        yield "note", f"the upstream answered {response.status}"
    elif is_stream(response):
        yield from _stream(interaction, response)
    elif media_type(response) == "application/json" and response.body:
        try:
            msgspec.json.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield "problem", f"the body is not the JSON that its content-type says: {error}"


def _secrets(interaction: Interaction, scrubber: Scrubber) -> Findings:
    for side in (interaction.request, interaction.response):
        for name in sorted({name for name, _ in side.headers} & SECRET_HEADERS) if side else ():
            yield "problem", f"the header {name} is in it"
    if _without_headers(scrubber(interaction)) != _without_headers(interaction):
        yield "problem", "a known secret is in it, in the URL or a body"


def _without_headers(interaction: Interaction) -> Interaction:
    replace = msgspec.structs.replace
    request, response = interaction.request, interaction.response
    return replace(
        interaction,
        request=None if request is None else replace(request, headers=()),
        response=None if response is None else replace(response, headers=()),
    )


def _stream(interaction: Interaction, response: RecordedResponse) -> Findings:
    kind, name = media_type(response), endpoint(interaction)
    if kind in JSON_LINES:
        payloads = [line for line in response.body.split(b"\n") if line.strip()]
    elif kind == EVENT_STREAM:
        decoder = SSEDecoder()
        payloads = [event.data for event in [*decoder.feed(response.body), *decoder.flush()]]
        if not payloads and response.body.strip() and not response.body.lstrip().startswith(b":"):
            yield "problem", "the body is no event stream"
    else:
        return
    if name in _JSON_ENDPOINTS:
        bad = next((each for each in payloads if not _is_json(each)), None)
        if bad is not None:
            yield "problem", f"an event is not JSON: {bad[:40]!r}"
            return
    if name == "/chat/completions":
        assembler = ChatAssembler()
        events = [event for chunk in response.chunks for event in assembler.feed(chunk.data)] + assembler.finish()
        if failed := next((event for event in events if isinstance(event, TurnFailed)), None):
            yield "problem", f"the stream is not whole: {failed.error.message}"
    elif name == "/responses" and responses_object(response).get("status") not in _ENDED:
        yield "problem", "the stream is not whole: it has no terminal event"


_JSON_ENDPOINTS = frozenset({"/chat/completions", "/responses", "/messages", "streamGenerateContent"})


def _is_json(data: bytes) -> bool:
    if data == b"[DONE]" or not data:
        return True
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
