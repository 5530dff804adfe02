"""An index embedded anew, or for the first time, while it goes on being searched."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from antiphon.errors import NotFound
from antiphon.retrieval.embedding import Embedder
from antiphon.retrieval.index import Embedded, Index

_FILES_AT_ONCE = 16


async def reembed(index: Index, embedder: Embedder, *, on_file: Callable[[str], None] | None = None) -> int:
    """Give every file vectors of this embedder; how many got some.

    Until the last one has them, the old vectors are searched, and files that are added may have vectors of either
    model. If it is interrupted, a later call goes on where it was. ``on_file`` is told the id of each file that is
    done.

    Raises:
        EmbeddingError, TransportError, ProviderError: the embedder failed; what was done stays done.
    """
    if await asyncio.to_thread(lambda: index.model) != embedder.model:
        await asyncio.to_thread(index.prepare_model, embedder.model)
    done = 0
    while files := await asyncio.to_thread(index.unembedded, embedder.model, _FILES_AT_ONCE):
        for file in files:
            vectors = await embedder.embed(file.texts)
            done += await asyncio.to_thread(index.set_vectors, file, Embedded(embedder.model, vectors))
            if on_file is not None:
                on_file(file.file_id)
    if index.model != embedder.model:
        with contextlib.suppress(NotFound):  # there was nothing to embed
            await asyncio.to_thread(index.use_model, embedder.model)
    return done
