"""Stored items are what clients see, plus one private member for the upstream that made them."""

import json
from typing import Any

import msgspec
from event_sequences import RUN, SEALER, call, few, run, run_started, runs, say, think, turn
from hypothesis import given
from hypothesis import strategies as st

from antiphon.events import Event, ReasoningDelta, ReasoningStarted, ToolCallFinished, ToolCallStarted
from antiphon.rendering.items import PRIVATE, output_items, public
from antiphon.rendering.responses import ResponsesRenderer, response_object
from antiphon.wire.reasoning import Reasoning, seal

SIGNED = [{"type": "reasoning.encrypted", "data": "b3BhcXVl", "index": 0}]
ASKED = {"include": ["reasoning.encrypted_content"]}


def unsealed(content: str) -> Reasoning:
    return msgspec.json.decode(SEALER.open("reasoning", content), type=Reasoning)


def shown(events: list[Event]) -> dict[str, Any]:
    return response_object(events, sealer=SEALER)


@few
@given(runs())
def test_no_client_ever_sees_a_private_member(events: list[Event]) -> None:
    shown = [json.loads(frame.data) for frame in ResponsesRenderer().render(events)]
    for event in shown:
        event.get("response", {}).pop("antiphon", None)  # the diagnostics of the response, which are for clients
    assert f'"{PRIVATE}":' not in json.dumps(shown)


def test_public_takes_the_private_member_off_and_leaves_the_item_alone() -> None:
    item: dict[str, Any] = {"id": "rs_1", "type": "reasoning", PRIVATE: {"field": "reasoning"}}
    assert public(item) == {"id": "rs_1", "type": "reasoning"}
    assert PRIVATE in item


def test_reasoning_items_keep_what_their_upstream_wants_back() -> None:
    (item,) = output_items(run(*think("0.0", "Hm", details=SIGNED, field="reasoning")), RUN)
    assert item[PRIVATE] == {"field": "reasoning", "details": SIGNED, "upstream": "local"}
    assert "encrypted_content" not in item


def test_calls_keep_their_provider_data() -> None:
    data = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
    started = ToolCallStarted(block="0.0", call_id="c", name="f")
    (item,) = output_items(run(started, ToolCallFinished(block="0.0", arguments="{}", provider_data=data)), RUN)
    assert item[PRIVATE] == {"provider_data": data, "upstream": "local"}
    (item,) = output_items(run(*call("0.0", "{}")), RUN)
    assert PRIVATE not in item


def test_messages_have_nothing_private() -> None:
    (item,) = output_items(run(*say("0.0", "Hi")), RUN)
    assert item == public(item)


def test_items_of_a_turn_can_be_had_without_the_start_of_the_run() -> None:
    events = turn(0, *say("0.0", "Hi"), *call("0.1", "{}"))
    assert output_items(events, RUN) == output_items([run_started(), *events], RUN)


# --- encrypted_content -----------------------------------------------------------------------


def test_encrypted_content_is_there_only_if_the_request_asks_for_it() -> None:
    for asked, present in ((ASKED, True), ({"include": []}, False), ({}, False)):
        (item,) = shown(run(*think("0.0", "Hm"), **asked))["output"]
        assert ("encrypted_content" in item) is present


def test_reasoning_without_details_is_sealed_too_so_that_it_survives_a_stateless_round_trip() -> None:
    (item,) = shown(run(*think("0.0", "H", "m", field="reasoning"), **ASKED))["output"]
    assert unsealed(item["encrypted_content"]) == Reasoning(text="Hm", field="reasoning", upstream="local")


def test_reasoning_that_is_nothing_but_details_has_no_summary_part() -> None:
    (item,) = shown(run(*think("0.0", details=SIGNED), **ASKED))["output"]
    assert item["summary"] == []
    assert unsealed(item["encrypted_content"]) == Reasoning(details=SIGNED, upstream="local")


def test_reasoning_that_was_cut_is_sealed_as_far_as_it_came() -> None:
    events = run(ReasoningStarted(block="0.0"), ReasoningDelta(block="0.0", text="H"), **ASKED)
    (item,) = shown(events)["output"]
    assert item["status"] == "incomplete"
    assert unsealed(item["encrypted_content"]) == Reasoning(text="H", upstream="local")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.sampled_from("abc"), values, max_size=3),
    max_leaves=5,
)
reasonings = st.builds(
    Reasoning,
    text=st.text(st.characters(exclude_categories=["Cs"])),
    details=st.lists(st.dictionaries(st.sampled_from("xyz"), json_values), max_size=2),
    field=st.none() | st.just("reasoning_content"),
    upstream=st.none() | st.just("local"),
)


@few
@given(reasonings)
def test_unsealing_gives_back_what_was_sealed(reasoning: Reasoning) -> None:
    assert unsealed(seal(reasoning, SEALER)) == reasoning
    assert seal(reasoning, SEALER) == seal(reasoning, SEALER)


def test_without_a_sealer_nothing_is_sealed() -> None:
    (item,) = response_object(run(*think("0.0", "Hm"), **ASKED))["output"]
    assert "encrypted_content" not in item
