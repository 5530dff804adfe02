"""The Vector Stores API: its requests as checked Structs, and the objects that answer them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from antiphon.errors import InvalidRequest
from antiphon.wire.bodies import decode_body
from antiphon.wire.lists import Limit, Order
from antiphon.wire.responses import Metadata

FileStatus = Literal["in_progress", "completed", "cancelled", "failed"]
StoreStatus = Literal["expired", "in_progress", "completed"]
ErrorCode = Literal["server_error", "unsupported_file", "invalid_file"]
Ranker = Literal["none", "auto", "default-2024-11-15"]

Label = Annotated[str, Meta(max_length=64)]
Attribute = Annotated[str, Meta(max_length=512)] | bool | int | float
Attributes = Annotated[dict[Label, Attribute], Meta(max_length=16)]

CHOICES = {
    "order": get_args(Order),
    "filter": get_args(FileStatus),
    "anchor": ("last_active_at",),
    "ranker": get_args(Ranker),
    "type": ("auto", "static", "contextual"),
}

MAX_FILES_AT_ONCE = 2000


# --- how files are cut into chunks -----------------------------------------------------------


class StaticSizes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of chunks; the overlap is at most half of the size."""

    max_chunk_size_tokens: Annotated[int, Meta(ge=100, le=4096)]
    chunk_overlap_tokens: Annotated[int, Meta(ge=0)]


class AutoChunking(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="auto"):
    """The sizes that are usual."""


class StaticChunking(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="static"):
    """Sizes that the client chose."""

    static: StaticSizes


class ContextualChunking(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="contextual"
):
    """Chunks that are indexed with their document's title and their headings. OpenAI has no such strategy."""

    contextual: StaticSizes | None = None


Chunking = AutoChunking | StaticChunking | ContextualChunking

USUAL_SIZES = StaticSizes(max_chunk_size_tokens=800, chunk_overlap_tokens=400)


def sizes_of(chunking: Chunking) -> StaticSizes:
    """The sizes of a strategy, in numbers."""
    match chunking:
        case StaticChunking(static=sizes):
            return sizes
        case ContextualChunking(contextual=StaticSizes() as sizes):
            return sizes
    return USUAL_SIZES


def shown_chunking(chunking: Chunking) -> dict[str, Any]:
    """A strategy as a file in a vector store shows it: in numbers, and what OpenAI does not know as ``other``."""
    if isinstance(chunking, ContextualChunking):
        return {"type": "other"}
    return {"type": "static", "static": msgspec.structs.asdict(sizes_of(chunking))}


# --- requests --------------------------------------------------------------------------------


class StoreExpiration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """After how many days without use a store is emptied."""

    anchor: Literal["last_active_at"]
    days: Annotated[int, Meta(ge=1, le=365)]


class CreateVectorStore(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/vector_stores``."""

    file_ids: Annotated[list[str], Meta(max_length=500)] | None = None
    name: str | None = None
    description: str | None = None
    expires_after: StoreExpiration | None = None
    chunking_strategy: Chunking | None = None
    metadata: Metadata | None = None


class UpdateVectorStore(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/vector_stores/{id}``; what is left out stays."""

    name: str | UnsetType | None = UNSET
    expires_after: StoreExpiration | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class AttachFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/vector_stores/{id}/files``, and a file of a batch."""

    file_id: str
    chunking_strategy: Chunking | None = None
    attributes: Attributes | None = None


class CreateFileBatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/vector_stores/{id}/file_batches``: ids that share the rest, or files with their own."""

    file_ids: Annotated[list[str], Meta(min_length=1, max_length=MAX_FILES_AT_ONCE)] | None = None
    files: Annotated[list[AttachFile], Meta(min_length=1, max_length=MAX_FILES_AT_ONCE)] | None = None
    chunking_strategy: Chunking | None = None
    attributes: Attributes | None = None


class UpdateAttributes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/vector_stores/{id}/files/{file_id}``; they take the place of what was there."""

    attributes: Attributes | None


class RankingOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How results are ranked, and which are good enough."""

    ranker: Ranker = "auto"
    score_threshold: Annotated[float, Meta(ge=0, le=1)] = 0.0


class SearchVectorStore(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/vector_stores/{id}/search``; ``filters`` are checked by who compiles them."""

    query: str | Annotated[list[str], Meta(min_length=1)]
    rewrite_query: bool = False
    max_num_results: Annotated[int, Meta(ge=1, le=50)] = 10
    filters: dict[str, Any] | None = None
    ranking_options: RankingOptions | None = None

    @property
    def queries(self) -> list[str]:
        """All that is asked for."""
        return [self.query] if isinstance(self.query, str) else self.query


class VectorStoresQuery(Struct, frozen=True, kw_only=True):
    """Which page of the list of vector stores."""

    limit: Limit = 20
    order: Order = "desc"
    after: str | None = None
    before: str | None = None


class StoreFilesQuery(VectorStoresQuery, frozen=True, kw_only=True):
    """Which page of the files of a store or of a batch: those of the status ``filter``."""

    filter: FileStatus | None = None


def decode_vector_store_request(body: bytes, shape: type[Any]) -> Any:
    """The checked body of a request about vector stores.

    Raises:
        InvalidRequest: see `decode_body`; or chunks overlap by more than half, or it is not said once which files.
    """
    request = decode_body(body, shape, choices=CHOICES)
    if isinstance(request, CreateVectorStore | AttachFile | CreateFileBatch):
        _check_overlap(request.chunking_strategy, "chunking_strategy")
    if isinstance(request, CreateFileBatch):
        _check_files(request)
    return request


def attached_files(request: CreateFileBatch) -> list[AttachFile]:
    """The files of a batch, each with what is its own."""
    if request.files is not None:
        return request.files
    return [
        AttachFile(file_id=file_id, chunking_strategy=request.chunking_strategy, attributes=request.attributes)
        for file_id in request.file_ids or ()
    ]


def _check_files(request: CreateFileBatch) -> None:
    if (request.file_ids is None) == (request.files is None):
        raise InvalidRequest("Give either 'file_ids' or 'files'.", param="file_ids", code="invalid_request")
    for position, file in enumerate(request.files or ()):
        _check_overlap(file.chunking_strategy, f"files[{position}].chunking_strategy")


def _check_overlap(chunking: Chunking | None, path: str) -> None:
    if chunking is None or isinstance(chunking, AutoChunking):
        return
    sizes = sizes_of(chunking)
    most = sizes.max_chunk_size_tokens // 2
    if sizes.chunk_overlap_tokens > most:
        kind = "static" if isinstance(chunking, StaticChunking) else "contextual"
        param = f"{path}.{kind}.chunk_overlap_tokens"
        raise InvalidRequest(
            f"Invalid '{param}': chunks may overlap by at most half of 'max_chunk_size_tokens', which is {most}, but"
            f" got {sizes.chunk_overlap_tokens} instead.",
            param=param,
            code="integer_above_max_value",
        )


# --- answers ---------------------------------------------------------------------------------


class FileCounts(Struct, frozen=True, kw_only=True):
    """How many files are in which state."""

    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    total: int = 0


class VectorStore(Struct, frozen=True, kw_only=True):
    """A vector store: files that can be searched."""

    id: str
    created_at: int
    name: str
    usage_bytes: int
    file_counts: FileCounts
    status: StoreStatus
    last_active_at: int
    expires_at: int | None = None
    expires_after: StoreExpiration | UnsetType = UNSET
    description: str | UnsetType = UNSET
    metadata: dict[str, str] = {}
    object: Literal["vector_store"] = "vector_store"


class FileError(Struct, frozen=True, kw_only=True):
    """Why a file could not be indexed."""

    code: ErrorCode
    message: str


class VectorStoreFile(Struct, frozen=True, kw_only=True):
    """A file in a vector store."""

    id: str
    usage_bytes: int
    created_at: int
    vector_store_id: str
    status: FileStatus
    last_error: FileError | None
    chunking_strategy: dict[str, Any]
    attributes: dict[str, Attribute] = {}
    object: Literal["vector_store.file"] = "vector_store.file"


class FileBatch(Struct, frozen=True, kw_only=True):
    """Files that were put into a vector store together."""

    id: str
    created_at: int
    vector_store_id: str
    status: FileStatus
    file_counts: FileCounts
    object: Literal["vector_store.files_batch"] = "vector_store.files_batch"


class SearchResult(Struct, frozen=True, kw_only=True):
    """A chunk that was found."""

    file_id: str
    filename: str
    score: float
    attributes: dict[str, Attribute]
    content: list[dict[str, str]]


def search_page(queries: Sequence[str], results: Sequence[SearchResult]) -> dict[str, Any]:
    """All results of a search; there is no second page."""
    return {
        "object": "vector_store.search_results.page",
        "search_query": queries,
        "data": results,
        "has_more": False,
        "next_page": None,
    }


def content_page(text: str) -> dict[str, Any]:
    """The text of a file, as it was taken out of it."""
    return {
        "object": "vector_store.file_content.page",
        "data": [{"type": "text", "text": text}],
        "has_more": False,
        "next_page": None,
    }
