"""``GET /openapi.json``: what this server accepts, as an OpenAPI document made from the code that accepts it.

Paths are those of the routes, bodies and queries those of the Structs they are decoded into, and a parameter that
`antiphon.wire.parameters` refuses is not in it. Answers have the shapes of OpenAI's document, and are not repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from starlette.routing import Route

from antiphon import __version__
from antiphon.server.app import route
from antiphon.server.exchange import Exchange
from antiphon.wire import items
from antiphon.wire.chat_requests import CreateChatCompletion
from antiphon.wire.conversations import AddItems, CreateConversation, UpdateConversation
from antiphon.wire.files import CreateFile, FilesQuery
from antiphon.wire.lists import ChatListQuery, ChatMessagesQuery, IncludeQuery, ListQuery
from antiphon.wire.parameters import INCLUDES, PARAMETERS
from antiphon.wire.responses import SOURCES, CreateResponse, RetrieveQuery
from antiphon.wire.uploads import CompleteUpload, CreateUpload
from antiphon.wire.vector_stores import (
    AttachFile,
    CreateFileBatch,
    CreateVectorStore,
    SearchVectorStore,
    StoreFilesQuery,
    UpdateAttributes,
    UpdateVectorStore,
    VectorStoresQuery,
)

PATH = "/openapi.json"

Schema = dict[str, Any]
Shape = type[msgspec.Struct]

_REF = "#/components/schemas/{name}"


class _Operation(NamedTuple):
    """What a route takes: ``body`` must be sent, ``query`` may."""

    summary: str
    body: Shape | None = None
    query: Shape | None = None
    streams: bool = False
    form: tuple[str, Shape | None] | None = None  # the field of the file, and the fields beside it
    is_binary: bool = False


_RESPONSE = "/v1/responses/{response_id}"
_CONVERSATION = "/v1/conversations/{conversation_id}"
_CHAT = "/v1/chat/completions"
_FILE = "/v1/files/{file_id}"
_UPLOAD = "/v1/uploads/{upload_id}"
_STORE = "/v1/vector_stores/{vector_store_id}"
_STORE_FILE = f"{_STORE}/files/{{file_id}}"
_BATCH = f"{_STORE}/file_batches/{{batch_id}}"

# Routes that are not in it are shown by their path alone.
_OPERATIONS: dict[tuple[str, str], _Operation] = {
    ("POST", "/v1/responses"): _Operation("Make a response.", body=CreateResponse, streams=True),
    ("POST", "/v1/responses/compact"): _Operation("Make a long conversation short.", body=CreateResponse),
    ("GET", _RESPONSE): _Operation("Show a response, or stream it again.", query=RetrieveQuery, streams=True),
    ("DELETE", _RESPONSE): _Operation("Forget a response."),
    ("POST", f"{_RESPONSE}/cancel"): _Operation("Cancel a background response."),
    ("GET", f"{_RESPONSE}/input_items"): _Operation("List what a response was asked.", query=ListQuery),
    ("POST", "/v1/conversations"): _Operation("Make a conversation.", body=CreateConversation),
    ("GET", _CONVERSATION): _Operation("Show a conversation."),
    ("POST", _CONVERSATION): _Operation("Replace a conversation's metadata.", body=UpdateConversation),
    ("DELETE", _CONVERSATION): _Operation("Forget a conversation."),
    ("POST", f"{_CONVERSATION}/items"): _Operation("Add items to a conversation.", body=AddItems, query=IncludeQuery),
    ("GET", f"{_CONVERSATION}/items"): _Operation("List a conversation's items.", query=ListQuery),
    ("GET", f"{_CONVERSATION}/items/{{item_id}}"): _Operation("Show an item.", query=IncludeQuery),
    ("DELETE", f"{_CONVERSATION}/items/{{item_id}}"): _Operation("Take an item out."),
    ("POST", _CHAT): _Operation("Complete a chat.", body=CreateChatCompletion, streams=True),
    ("GET", _CHAT): _Operation("List stored chat completions.", query=ChatListQuery),
    ("GET", f"{_CHAT}/{{completion_id}}"): _Operation("Show a stored chat completion."),
    ("POST", f"{_CHAT}/{{completion_id}}"): _Operation("Replace its metadata.", body=UpdateConversation),
    ("DELETE", f"{_CHAT}/{{completion_id}}"): _Operation("Forget a stored chat completion."),
    ("GET", f"{_CHAT}/{{completion_id}}/messages"): _Operation("List its messages.", query=ChatMessagesQuery),
    ("POST", "/v1/files"): _Operation("Upload a file.", form=("file", CreateFile)),
    ("GET", "/v1/files"): _Operation("List files.", query=FilesQuery),
    ("GET", _FILE): _Operation("Show a file."),
    ("DELETE", _FILE): _Operation("Delete a file, in all vector stores too."),
    ("GET", f"{_FILE}/content"): _Operation("Download a file.", is_binary=True),
    ("POST", "/v1/uploads"): _Operation("Begin a file that comes in parts.", body=CreateUpload),
    ("POST", f"{_UPLOAD}/parts"): _Operation("Upload a part.", form=("data", None)),
    ("POST", f"{_UPLOAD}/complete"): _Operation("Make a file of the parts.", body=CompleteUpload),
    ("POST", f"{_UPLOAD}/cancel"): _Operation("Give an upload up."),
    ("POST", "/v1/vector_stores"): _Operation("Make a vector store.", body=CreateVectorStore),
    ("GET", "/v1/vector_stores"): _Operation("List vector stores.", query=VectorStoresQuery),
    ("GET", _STORE): _Operation("Show a vector store."),
    ("POST", _STORE): _Operation("Change a vector store.", body=UpdateVectorStore),
    ("DELETE", _STORE): _Operation("Delete a vector store; its files stay."),
    ("POST", f"{_STORE}/search"): _Operation("Search a vector store.", body=SearchVectorStore),
    ("POST", f"{_STORE}/files"): _Operation("Put a file into a vector store.", body=AttachFile),
    ("GET", f"{_STORE}/files"): _Operation("List the files of a vector store.", query=StoreFilesQuery),
    ("GET", _STORE_FILE): _Operation("Show a file of a vector store."),
    ("POST", _STORE_FILE): _Operation("Replace its attributes.", body=UpdateAttributes),
    ("DELETE", _STORE_FILE): _Operation("Take it out; the file stays."),
    ("GET", f"{_STORE_FILE}/content"): _Operation("Show its text."),
    ("POST", f"{_STORE}/file_batches"): _Operation("Put many files in.", body=CreateFileBatch),
    ("GET", _BATCH): _Operation("Show a batch."),
    ("POST", f"{_BATCH}/cancel"): _Operation("Give up what is not indexed yet."),
    ("GET", f"{_BATCH}/files"): _Operation("List the files of a batch.", query=StoreFilesQuery),
    ("GET", "/v1/models"): _Operation("List the models of all upstreams."),
    ("GET", "/v1/models/{model}"): _Operation("Show a model."),
    ("GET", "/metrics"): _Operation("Counts for Prometheus."),
    ("GET", PATH): _Operation("This document."),
}


class OpenApi:
    """The route of the document that describes ``routes``."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._document = msgspec.json.encode(document(routes))

    def routes(self) -> list[Route]:
        """What is served, and by what."""
        return [route("GET", PATH, self.show)]

    async def show(self, exchange: Exchange) -> None:
        """``GET /openapi.json``."""
        await exchange.respond(200, self._document)


def document(routes: Iterable[Route]) -> Schema:
    """The OpenAPI 3.1 document of these routes, and of its own."""
    paths: dict[str, Schema] = {}
    for method, path in (*_methods(routes), ("GET", PATH)):
        operation = _OPERATIONS.get((method, path), _Operation(f"{method} {path}"))
        paths.setdefault(path, {})[method.lower()] = _described(path, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Antiphon",
            "version": __version__,
            "description": "The OpenAI APIs over any model. Paths under /v1 that are not listed go to the upstream.",
        },
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}, {}],
    }


def _methods(routes: Iterable[Route]) -> Iterable[tuple[str, str]]:
    for each in routes:
        # A route without methods passes everything on.
        for method in sorted((each.methods or set()) - {"HEAD"}):
            yield method, re.sub(r":\w+}", "}", each.path)


def _described(path: str, operation: _Operation) -> Schema:
    whole: Schema = {"application/json": {"schema": {"type": "object"}}}
    if path == "/metrics":
        whole = {"text/plain": {"schema": {"type": "string"}}}
    if operation.is_binary:
        whole = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    if operation.streams:
        whole["text/event-stream"] = {"schema": {"type": "string"}}
    error = {
        "description": "Refused.",
        "content": {"application/json": {"schema": {"$ref": _REF.format(name="Error")}}},
    }
    described: Schema = {
        "summary": operation.summary,
        "parameters": [*_path_parameters(path), *_query_parameters(operation.query)],
        "responses": {"200": {"description": "Done.", "content": whole}, "4XX": error, "5XX": error},
    }
    if operation.body is not None:
        schema = {"$ref": _REF.format(name=operation.body.__name__)}
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if operation.form is not None:
        described["requestBody"] = {"required": True, "content": {"multipart/form-data": _form(*operation.form)}}
    return described


def _form(file_field: str, fields: Shape | None) -> Schema:
    properties: Schema = {file_field: {"type": "string", "format": "binary"}}
    required = [file_field]
    if fields is not None:
        _, components = msgspec.json.schema_components([fields], ref_template=_REF)
        beside = components[fields.__name__]
        properties |= beside["properties"]
        required += beside["required"]
    return {"schema": {"type": "object", "properties": properties, "required": required}}


def _path_parameters(path: str) -> list[Schema]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _query_parameters(query: Shape | None) -> list[Schema]:
    if query is None:
        return []
    (_,), components = msgspec.json.schema_components([query], ref_template=_REF)
    schemas = components[query.__name__]["properties"]
    shown = []
    for name, schema in schemas.items():
        parameter: Schema = {"name": name, "in": "query", "schema": _without_null(schema)}
        if name == "metadata":
            parameter |= {"style": "deepObject", "explode": True}
        shown.append(parameter)
    return shown


def _without_null(schema: Schema) -> Schema:
    """A query can leave a parameter out, and cannot say null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    return kinds[0] if len(kinds) == 1 else {name: value for name, value in schema.items() if name != "default"}


def _schemas() -> dict[str, Schema]:
    shapes = {
        each for each in (*items.ITEM_TYPES.values(), *items.TOOL_TYPES.values(), *items.CHOICE_TYPES.values()) if each
    }
    operations = _OPERATIONS.values()
    bodies = {operation.body for operation in operations if operation.body is not None}
    bodies |= {operation.form[1] for operation in operations if operation.form and operation.form[1]}
    _, schemas = msgspec.json.schema_components([*bodies, *shapes], ref_template=_REF)
    for body in (CreateResponse, CreateChatCompletion):
        del schemas[body.__name__]["properties"]["raw"]
    response = schemas["CreateResponse"]["properties"]
    for name, parameter in PARAMETERS.items():
        if parameter.is_refused:
            del response[name]
    schemas["Item"] = {"anyOf": [_typed(kind, shape) for kind, shape in items.ITEM_TYPES.items()]}
    schemas["Item"]["anyOf"].append({"$ref": _REF.format(name="Message")})  # a message may leave its type out
    schemas["Tool"] = {
        "anyOf": [_typed(kind, shape) for kind, shape in items.TOOL_TYPES.items()]
        + [_typed(kind, None) for kind in _HOSTED_TOOLS]
    }
    schemas["ToolChoice"] = {"anyOf": [_typed(kind, shape) for kind, shape in items.CHOICE_TYPES.items()]}
    some_items = {"type": "array", "items": {"$ref": _REF.format(name="Item")}}
    response["input"] = {"anyOf": [{"type": "string"}, some_items, {"type": "null"}]}
    response["tools"] = _or_null({"type": "array", "items": {"$ref": _REF.format(name="Tool")}})
    response["tool_choice"]["anyOf"][1] = {"$ref": _REF.format(name="ToolChoice")}
    response["include"] = _or_null({"type": "array", "items": {"enum": [*INCLUDES]}})
    # A model must be told something.
    schemas["CreateResponse"]["anyOf"] = [
        {"required": [source], "properties": {source: {"not": {"type": "null"}}}}
        for source in SOURCES
        if source in response
    ]
    schemas["AddItems"]["properties"]["items"]["items"] = {"$ref": _REF.format(name="Item")}
    schemas["Error"] = _ERROR
    return schemas


_HOSTED_TOOLS = ("web_search", "code_interpreter", "image_generation")
_ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


def _typed(kind: str, shape: Shape | None) -> Schema:
    named: Schema = {"type": "object", "properties": {"type": {"const": kind}}, "required": ["type"]}
    return named if shape is None else {"allOf": [{"$ref": _REF.format(name=shape.__name__)}, named]}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}
