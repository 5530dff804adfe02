"""Recordings: their format, what reads foreign ones, what writes and what replays them."""

from antiphon.cassettes.cassette import Cassette
from antiphon.cassettes.endpoints import endpoint
from antiphon.cassettes.format import Chunk, Interaction, RecordedRequest, RecordedResponse, ToolCall
from antiphon.cassettes.loading import load
from antiphon.cassettes.matching import Difference
from antiphon.cassettes.player import Player
from antiphon.cassettes.reading import read
from antiphon.cassettes.recorder import Recorder
from antiphon.cassettes.scrubbing import Scrubber

__all__ = [
    "Cassette",
    "Chunk",
    "Difference",
    "Interaction",
    "Player",
    "RecordedRequest",
    "RecordedResponse",
    "Recorder",
    "Scrubber",
    "ToolCall",
    "endpoint",
    "load",
    "read",
]
