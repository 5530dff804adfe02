"""Every parameter is served or refused by name, and docs/parameters.md says so."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from antiphon.errors import InvalidRequest
from antiphon.wire.items import check_outputs
from antiphon.wire.lists import Include
from antiphon.wire.parameters import INCLUDES, PARAMETERS, refuse_unserved, table
from antiphon.wire.responses import CreateResponse, decode_request, input_items

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "parameters.md"
SPEC = ROOT.parent / "shared" / "spec"
# Parameters that no document of the API has.
OURS = {"client_metadata", "generate", "type"}


def properties(document: dict[str, Any], name: str) -> set[str]:
    schema = document["components"]["schemas"][name]
    found = set(schema.get("properties", {}))
    for part in schema.get("allOf", []):
        found |= set(part.get("properties", {}))
        if "$ref" in part:
            found |= properties(document, part["$ref"].rpartition("/")[2])
    return found


def document(name: str) -> dict[str, Any]:
    if not SPEC.exists():
        pytest.skip(f"no OpenAPI documents at {SPEC}")
    return json.loads((SPEC / name).read_text())


def refused(request: dict[str, Any], **options: Any) -> InvalidRequest:
    decoded = decode_request(json.dumps({"model": "m", "input": "hi"} | request).encode())
    with pytest.raises(InvalidRequest) as caught:
        refuse_unserved(decoded, input_items(decoded), **options)
    return caught.value


def test_every_parameter_of_both_documents_has_a_row_and_no_row_is_made_up() -> None:
    known = properties(document("openai-2.3.0.openapi.json"), "CreateResponse")
    known |= properties(document("openresponses-2026-04-24.openapi.json"), "CreateResponseBody")
    assert PARAMETERS.keys() - OURS == known


def test_every_include_of_the_document_has_a_row() -> None:
    schemas = document("openai-2.3.0.openapi.json")["components"]["schemas"]
    assert set(INCLUDES) == set(schemas["IncludeEnum"]["enum"])


def test_what_may_be_included_is_the_same_in_bodies_and_queries() -> None:
    assert set(INCLUDES) == set(get_args(Include))


def test_every_parameter_is_decoded_and_checked() -> None:
    assert set(CreateResponse.__struct_fields__) - {"raw"} == PARAMETERS.keys() - OURS


@pytest.mark.parametrize(("name", "rows"), [("parameters", PARAMETERS), ("includes", INCLUDES)])
def test_the_page_shows_the_table(name: str, rows: dict[str, Any]) -> None:
    found = re.search(f"<!-- {name} -->\n(.*)\n<!-- /{name} -->", PAGE.read_text("utf-8"), re.DOTALL)
    assert found, "run scripts/parameters"
    assert found[1] == table(rows), "run scripts/parameters"


@pytest.mark.parametrize("name", [name for name, row in PARAMETERS.items() if row.is_refused])
def test_what_is_refused_is_refused_by_its_name(name: str) -> None:
    kind = next(field.type for field in msgspec.structs.fields(CreateResponse) if field.name == name)
    value: Any = [{"type": "x"}] if "list" in str(kind) else {"id": "x"}
    assert refused({name: value}).param == name


@pytest.mark.parametrize(
    ("request_", "options", "param"),
    [
        ({"include": ["message.output_text.logprobs", "everything"]}, {}, "include[1]"),
        ({"tools": [{"type": "web_search"}]}, {"unsupported_tools": "refuse"}, "tools[0].type"),
        ({"tools": [{"type": "custom", "name": "f"}]}, {"profile": "open-responses"}, "tools[0].type"),
        (
            {"input": [{"type": "additional_tools", "tools": [{"type": "web_search"}]}]},
            {"unsupported_tools": "refuse"},
            "input[0].tools[0].type",
        ),
    ],
)
def test_what_is_inside_a_parameter_is_refused_by_its_path(
    request_: dict[str, Any], options: dict[str, Any], param: str
) -> None:
    assert refused(request_, **options).param == param


def test_a_hosted_tool_is_let_through_to_be_dropped_unless_it_is_to_be_refused() -> None:
    decoded = decode_request(b'{"model": "m", "input": "hi", "tools": [{"type": "web_search"}]}')
    refuse_unserved(decoded, input_items(decoded))


# --- outputs without a call ---------------------------------------------------------------------

CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "42"}


@pytest.mark.parametrize(
    ("items", "history"),
    [
        ([CALL, OUTPUT], []),
        ([OUTPUT], [CALL]),
        ([{**OUTPUT, "call_id": None}], []),
    ],
    ids=["beside", "before", "without an id"],
)
def test_an_output_belongs_to_a_call(items: list[dict[str, Any]], history: list[dict[str, Any]]) -> None:
    check_outputs(items, history)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (OUTPUT, "No tool call found for function call output with call_id c1."),
        (
            {**OUTPUT, "type": "custom_tool_call_output"},
            "No tool call found for custom tool call output with call_id c1.",
        ),
    ],
)
def test_an_output_without_its_call_is_refused_in_openais_words(item: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        check_outputs([item], [{**CALL, "call_id": "c2"}])
    assert caught.value.param == "input"
