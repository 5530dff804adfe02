"""A model's answer as events: whatever an upstream sends, one correct stream, and a word on what was mended."""

from antiphon.assembly.chat import ChatAssembler, assemble, assemble_chunks
from antiphon.assembly.errors import UpstreamFailure, read_error

__all__ = ["ChatAssembler", "UpstreamFailure", "assemble", "assemble_chunks", "read_error"]
