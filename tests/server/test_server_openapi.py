"""Our own OpenAPI document: it has every route, and what it says is true."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from asgi_client import ask
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from scripted_upstream import ChatUpstream
from test_server_compliance import SCENARIOS
from test_server_malformed import BODIES
from whole_server import served, whole_app

from antiphon.server import openapi
from antiphon.wire.parameters import PARAMETERS


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Any:
    async def main() -> Any:
        async with whole_app(ChatUpstream(), tmp_path_factory.mktemp("data")) as app:
            return (await ask(app, "GET", openapi.PATH)).json

    return asyncio.run(main())


def validator(document: Any, schema: str) -> Draft202012Validator:
    registry: Registry[Any] = Registry().with_resource("urn:ours", DRAFT202012.create_resource(document))
    return Draft202012Validator({"$ref": f"urn:ours#/components/schemas/{schema}"}, registry=registry)


def test_every_route_is_described_and_every_description_has_its_route(document: Any) -> None:
    shown = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert shown == openapi._OPERATIONS.keys()


def test_every_schema_of_it_is_one(document: Any) -> None:
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    text = json.dumps(document)
    for name in {each.partition('"')[0] for each in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"]


def test_a_response_has_the_parameters_that_are_served(document: Any) -> None:
    properties = document["components"]["schemas"]["CreateResponse"]["properties"]
    assert properties.keys() <= PARAMETERS.keys()
    assert not [name for name in properties if PARAMETERS[name].is_refused]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_is_accepted_fits_it(document: Any, scenario: str) -> None:
    assert not [*validator(document, "CreateResponse").iter_errors({"model": "m", **SCENARIOS[scenario]})]


# What only the state of the server, or other parts of the request, make wrong.
BY_CIRCUMSTANCE = {
    *("a file's id", "an output of no call", "a foreign compaction", "a reference to nothing"),
    *("an unknown previous response", "an unknown conversation", "an unknown model", "a choice of no tool"),
    *("11 MB", "many items", "an unknown part", "an image of nothing", "a file of nothing"),
}


@pytest.mark.parametrize(
    "name", [name for name, (body, _, _) in BODIES.items() if isinstance(body, dict) and name not in BY_CIRCUMSTANCE]
)
def test_what_is_refused_does_not_fit_it(document: Any, name: str) -> None:
    assert [*validator(document, "CreateResponse").iter_errors(BODIES[name][0])]


@pytest.mark.slow
def test_nothing_that_can_be_made_up_from_it_breaks_the_server(tmp_path: Path) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="uv sync --group suites")
    with served(ChatUpstream(), tmp_path) as url:
        host = url.removesuffix("/v1")
        for result in schemathesis.openapi.from_url(f"{host}{openapi.PATH}").get_all_operations():
            _probe(result.ok(), host)


def _probe(operation: Any, host: str) -> None:
    from schemathesis import GenerationMode

    @given(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE) | operation.as_strategy())
    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=[*HealthCheck])
    def probe(case: Any) -> None:
        answer = case.call(base_url=host)
        assert answer.status_code < 500, (case.as_curl_command(), answer.text)
        if answer.status_code >= 400:
            error = answer.json()["error"]
            assert error["message"]
            assert set(error) == {"message", "type", "param", "code"}

    probe()
