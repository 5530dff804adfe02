"""A transport that answers from recordings: no network, no key, the same bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from antiphon.cassettes.encodings import decoded_body
from antiphon.cassettes.endpoints import base_url
from antiphon.cassettes.format import Interaction, Kind, RecordedRequest, ToolCall
from antiphon.cassettes.loading import Held, Interactions, first_url
from antiphon.cassettes.lookup import Alike, Ambiguous, Lookup
from antiphon.cassettes.matching import Difference, differences, family, tool_request
from antiphon.cassettes.played import Pace, PlayedResponse
from antiphon.cassettes.scrubbing import Scrubber
from antiphon.cassettes.sockets import SocketPlayer
from antiphon.cassettes.volatile import Volatile
from antiphon.errors import (
    CassetteAmbiguous,
    CassetteExhausted,
    CassetteMismatch,
)
from antiphon.transport import HttpRequest, HttpResponse, WebSocket

# Told the number of an interaction.
OnDifference = Callable[[int, list[Difference]], None]

# How answers are found; a function says whether a recorded request and one that was sent are alike.
Match = Literal["body", "order", "strict"] | Alike


class Player:
    """Answers requests from a recording. Threads may share it.

    ``match="body"`` gives equal requests their answers in recorded order, whatever else is asked in between.
    ``match="order"`` gives the n-th request of a kind (same method, same operation) the n-th answer of that kind, and
    tells ``on_difference`` in what the request differs from the recorded one. ``match="strict"`` wants all requests as
    they were recorded, one after the other. A function looks for what it calls alike, where nothing is equal.

    ``volatile`` declares parts of requests that say nothing; ``scrub`` is what the recording was scrubbed with, by
    default a `Scrubber`, so that a request which holds a secret finds the recorded one, which does not.

    Chunks come as they were recorded, their delays times ``speed`` (0: at once); ``joins`` gives those that come at
    the same time in one piece. A recording without chunks or timing gives an event a chunk, ``chunk_delay_s`` apart.
    ``name`` is the file's, for messages; ``remedy`` is the command that records what is missing, ``{upstream}`` and
    ``{file}`` filled in.
    """

    def __init__(
        self,
        interactions: Iterable[Interaction] | Interactions,
        *,
        match: Match = "body",
        volatile: Iterable[str] = (),
        scrub: Callable[[Interaction], Interaction] | None = None,
        on_difference: OnDifference | None = None,
        chunk_delay_s: float = 0.0,
        speed: float = 0.0,
        joins: bool = False,
        name: str = "the recording",
        remedy: str = "antiphon serve --upstream {upstream} --record {file}",
    ) -> None:
        self._all: Interactions = interactions if isinstance(interactions, Interactions) else Held(interactions)
        self._lookup = Lookup(self._all, volatile=Volatile(volatile))
        self._sockets = SocketPlayer(self._all, speed=speed, name=name)
        self._scrub = scrub or Scrubber()
        self._on_difference = on_difference
        self._pace = Pace(speed, chunk_delay_s, joins)
        self._name = name
        self._remedy = remedy
        self._match = match
        self._lock = threading.Lock()

    @property
    def unplayed(self) -> list[Interaction]:
        """The interactions that nothing has asked for yet."""
        return [self._all[index] for index in self.unplayed_numbers()]

    def unplayed_numbers(self) -> list[int]:
        """The numbers of those interactions, in order."""
        with self._lock:
            return sorted([*self._lookup.waiting(), *self._sockets.waiting])

    def interaction(self, number: int) -> Interaction:
        """The interaction of that number, played or not."""
        return self._all[number]

    def kind(self, number: int) -> Kind:
        """The kind of the interaction of that number."""
        return self._all.kind(number)

    def take(self, request: HttpRequest) -> PlayedResponse:
        """The recorded answer to a request, for clients that do not await; see `send`.

        Raises:
            CassetteError: as `send`.
        """
        if request.header("content-encoding") is not None:
            request = msgspec.structs.replace(request, body=decoded_body(request.headers, request.body)[1])
        return PlayedResponse(self._take(request), request, self._pace)

    def take_tool(self, name: str, arguments: Any) -> ToolCall:
        """The recorded call of a tool with these arguments, a JSON value; equal calls come in recorded order.

        Raises:
            CassetteError: as `send`.
        """
        asked = tool_request(ToolCall(name=name, arguments=arguments))
        tool = self._take(HttpRequest(method=asked.method, url=asked.url, body=asked.body)).tool
        assert tool is not None  # no HTTP method is spelled as a tool's
        return tool

    async def send(self, request: HttpRequest) -> HttpResponse:
        """The recorded answer to a request.

        Raises:
            CassetteMismatch: nothing was recorded for such a request.
            CassetteExhausted: every answer to it was given already.
            CassetteAmbiguous: several were recorded that are as near to it, and nothing says which is meant.
            TransportError: the recorded call failed so.
        """
        return await self.take(request).begun()

    async def connect(self, request: HttpRequest) -> WebSocket:
        """A recorded WebSocket; see `SocketPlayer.connect`."""
        return await self._sockets.connect(request)

    async def close(self) -> None:
        """Close the file."""
        self.close_now()

    def close_now(self) -> None:
        """Close the file, for clients that do not await."""
        self._all.close()

    # --- choosing ----------------------------------------------------------------------------

    def _take(self, request: HttpRequest) -> Interaction:
        with self._lock:  # choosing and marking are one step: two calls never get the same
            try:
                index = self._find(request)
            except KeyError:
                raise self._mismatch(request) from None
            except Ambiguous as error:
                raise self._ambiguous(request, *error.pair) from None
            if index is None:
                raise CassetteExhausted(
                    f"Every answer that {self._name} holds to this {_shown(request)} was given already."
                    f" {self._advice()}"
                )
            interaction = self._lookup.give(index)
        if self._match == "order" and self._on_difference:
            recorded = self._all.asked(index)[1]
            if recorded and (found := differences(recorded, request)):
                self._on_difference(index, found)
        return interaction

    def _find(self, request: HttpRequest) -> int | None:
        if self._match == "body":
            return self._lookup.by_body(request, lambda: self._forms(request)[1:])
        if self._match == "order":
            return self._lookup.in_order(request)
        if self._match == "strict":
            return self._in_turn(request)
        return self._lookup.by_rule(self._forms(request)[-1], self._match)

    def _forms(self, request: HttpRequest) -> list[HttpRequest]:
        """The request as it is, and as it would have been written down if that is something else."""
        scrubbed = _scrubbed(request, self._scrub)
        return [request] if scrubbed is request else [request, scrubbed]

    def _in_turn(self, request: HttpRequest) -> int | None:
        index = self._lookup.next()
        if index is None:
            return None
        kept = min((self._lookup.differences(index, form) for form in self._forms(request)), key=len)
        if kept:
            raise CassetteMismatch(
                f"{self._name} has interaction {index} next, and this {_shown(request)} differs from it at"
                f" {_told(kept)}. {self._advice()}"
            )
        return index

    # --- messages ----------------------------------------------------------------------------

    def _mismatch(self, request: HttpRequest) -> CassetteMismatch:
        """The error that shows the nearest recorded request and what keeps it from matching."""
        request = self._forms(request)[-1]  # a message must not show what the file must not hold
        nearest = self._lookup.nearest(request)
        if nearest is None:
            known = ", ".join(self._lookup.families()) or "nothing"
            return CassetteMismatch(
                f"{self._name} holds no answer to a {_shown(request)}; it holds: {known}. {self._advice()}"
            )
        index, found = nearest
        what = "has no recorded request to compare with; it can only be replayed with --match order"
        if found:
            what = f"differs at {_told(found)}"
        return CassetteMismatch(
            f"{self._name} holds no answer to this {_shown(request)}. The nearest, interaction {index}, {what}."
            f" {self._advice()}"
        )

    def _ambiguous(self, request: HttpRequest, first: int, second: int) -> CassetteAmbiguous:
        found = self._lookup.between(first, second)
        return CassetteAmbiguous(
            f"{self._name} holds several answers to this {_shown(request)}, and nothing says which is meant:"
            f" interactions {first} and {second} fit alike, and differ at {_told(found)}. Send what tells them apart,"
            " or match in order."
        )

    def _advice(self) -> str:
        """The command that would fix it."""
        url = first_url(self._all)
        upstream = base_url(url) if url else "URL"
        target = self._name if self._name.endswith(".jsonl") else f"{self._name}.jsonl"
        return f"To record it: {self._remedy.replace('{upstream}', upstream).replace('{file}', target)}"


def _scrubbed(request: HttpRequest, scrub: Callable[[Interaction], Interaction]) -> HttpRequest:
    """The request as it would be written down; the same object if that changes neither its URL nor its body."""
    recorded = RecordedRequest(method=request.method, url=request.url, headers=request.headers, body=request.body)
    written = scrub(Interaction(id="", request=recorded)).request
    if written is None or (written.url, written.body) == (request.url, request.body):
        return request
    return msgspec.structs.replace(request, url=written.url, body=written.body)


def _told(found: list[Difference]) -> str:
    if not found:
        return "nothing that is compared"
    rest = f" (and in {len(found) - 1} more places)" if len(found) > 1 else ""
    return f"{found[0]}{rest}"


def _shown(request: HttpRequest) -> str:
    return " ".join(family(request))
