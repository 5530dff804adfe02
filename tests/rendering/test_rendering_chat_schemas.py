"""Completions and chunks are what OpenAI's document describes."""

import functools
import json
from typing import Any

import pytest
from event_sequences import few, interleaved, run_started, turn, usages
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from test_rendering_schemas import DOCUMENTS, SPEC

from antiphon.events import Event, RunFinished
from antiphon.rendering.chat import ChatRenderer, chat_completion

pytestmark = pytest.mark.skipif(not SPEC.exists(), reason=f"no OpenAPI documents at {SPEC}")

runs_of_one_turn = st.builds(
    lambda blocks, usage, shows_usage: [
        run_started(stream_options={"include_usage": shows_usage}),
        *turn(0, *blocks, usage=usage),
        RunFinished(status="completed", finished_at_s=1),
    ],
    interleaved(0),
    usages,
    st.booleans(),
)


@functools.cache
def validator(schema: str) -> Draft202012Validator:
    document = nullables_written_out(json.loads((SPEC / DOCUMENTS["openai"]).read_text()))
    registry: Registry[Any] = Registry().with_resource("urn:doc", DRAFT202012.create_resource(document))
    return Draft202012Validator({"$ref": f"urn:doc#/components/schemas/{schema}"}, registry=registry)


def nullables_written_out(schema: Any) -> Any:
    """The document still uses OpenAPI 3.0's ``nullable`` in places, which JSON Schema does not know."""
    if isinstance(schema, list):
        return [nullables_written_out(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    known = {name: nullables_written_out(value) for name, value in schema.items() if name != "nullable"}
    return {"anyOf": [known, {"type": "null"}]} if schema.get("nullable") is True else known


def complaint(schema: str, value: dict[str, Any]) -> str | None:
    error = best_match(validator(schema).iter_errors(value))
    return error and f"{error.json_path}: {error.message}"


@few
@given(runs_of_one_turn)
def test_a_completion_is_as_described(events: list[Event]) -> None:
    completion = json.loads(json.dumps(chat_completion(events)))
    assert complaint("CreateChatCompletionResponse", completion) is None


@few
@given(runs_of_one_turn)
def test_every_chunk_is_as_described(events: list[Event]) -> None:
    for chunk in ChatRenderer().render(events):
        if b'"custom"' not in chunk:  # the document has no pieces of custom calls; OpenAI sends them all the same
            assert complaint("CreateChatCompletionStreamResponse", json.loads(chunk)) is None
