"""Quirks Q01 to Q35: which piece belongs to which call, and what the calls come to."""

import re

import msgspec
import pytest
from assembly_streams import (
    STOP,
    TOOLS,
    call,
    call_ids,
    calls,
    chunk,
    failed,
    feed,
    finished,
    quirks,
    sse,
    stream,
    text,
    told_calls,
    types,
)

from antiphon.assembly import tool_calls
from antiphon.assembly.chat import ChatAssembler
from antiphon.dialects import AnswerRules, Dialect
from antiphon.events import ToolCallDelta, ToolCallFinished, ToolCallStarted

PARIS, ROME = '{"city":"Paris"}', '{"city":"Rome"}'
BOTH = [("get_weather", PARIS, "completed"), ("get_weather", ROME, "completed")]
ONE = [("get_weather", PARIS, "completed")]


def test_q01_calls_without_an_index_are_told_apart_by_id_name_and_order() -> None:
    events = stream(
        calls(call(None, "a", name="get_weather", args='{"city":')),
        calls(call(None, "a", args='"Par')),
        calls(call(args='is"}')),
        calls(call(None, "b", name="get_time", args="{}")),
        calls(call(name="read_file", args='{"path":"x"}')),
        STOP,
    )
    assert [name for name, *_ in told_calls(events)] == ["get_weather", "get_time", "read_file"]
    assert told_calls(events)[0] == ONE[0]
    assert "Q01" in quirks(events)


def test_q01_without_an_index_a_new_id_is_a_new_call_even_under_the_same_name() -> None:
    events = stream(
        calls(call(None, "a", name="get_weather", args='{"ci')), calls(call(None, "b", name="get_weather", args=ROME))
    )
    assert told_calls(events) == [("get_weather", '{"ci', "incomplete"), BOTH[1]]


def test_q02_an_index_of_null_is_no_index() -> None:
    entries = [
        {"index": None, **call(None, key, name="get_weather", args=args)} for key, args in (("a", PARIS), ("b", ROME))
    ]
    events = stream(*(calls(entry) for entry in entries), STOP)
    assert told_calls(events) == BOTH
    assert "Q02" in quirks(events)


def test_q03_calls_that_share_an_index_but_not_an_id_are_separate() -> None:
    events = stream(
        calls(call(0, "a", "get_weather", PARIS)),
        calls(call(0, "b", "get_weather", ROME)),
        calls(call(0, "c", "get_time")),
    )
    assert told_calls(events) == [*BOTH, ("get_time", "{}", "completed")]
    assert call_ids(events) == ["a", "b", "c"]
    assert "Q03" in quirks(events)


@pytest.mark.parametrize("offered", [TOOLS, {}], ids=["tools known", "tools unknown"])
def test_q03_another_name_under_another_id_is_a_second_call_even_before_the_first_has_arguments(
    offered: dict[str, object],
) -> None:
    events = stream(calls(call(0, "a", "get_time")), calls(call(0, "b", "get_weather", PARIS)), offered=offered)
    assert told_calls(events) == [("get_time", "{}", "completed"), *ONE]


def test_q03_a_second_call_of_the_same_tool_may_begin_without_arguments() -> None:
    events = stream(
        calls(call(0, "a", "get_weather", PARIS)),
        calls(call(0, "b", "get_weather", "")),
        calls(call(0, "b", args=ROME)),
    )
    assert told_calls(events) == BOTH


def test_q04_calls_that_share_everything_but_their_arguments_are_separate() -> None:
    events = stream(*(calls(call(0, name="get_weather", args=args)) for args in (PARIS, ROME)), STOP)
    assert told_calls(events) == BOTH
    assert "Q04" in quirks(events)


def test_q04_another_name_at_the_index_is_another_call() -> None:
    events = stream(calls(call(0, name="get_weather", args=PARIS)), calls(call(0, name="get_time", args="{}")))
    assert told_calls(events) == [*ONE, ("get_time", "{}", "completed")]


def test_q04_arguments_of_several_calls_in_one_text_are_split_where_each_fits_the_tool() -> None:
    chunks = [calls(call(0, "a", "get_weather", PARIS)), calls(call(0, args=ROME)), STOP]
    events = stream(*chunks, offered=TOOLS)
    assert told_calls(events) == BOTH
    assert "Q04" in quirks(events)
    assert told_calls(stream(*chunks)) == [("get_weather", PARIS + ROME, "incomplete")]


def test_q05_indices_may_start_anywhere_and_have_gaps() -> None:
    events = stream(calls(call(3, "a", "get_weather", PARIS)), calls(call(1, "b", "get_weather", ROME)), STOP)
    assert told_calls(events) == BOTH


def test_q06_a_known_id_is_followed_where_the_index_is_only_a_position_in_the_chunk() -> None:
    events = stream(
        calls(call(0, "a", "get_weather", '{"city":'), call(1, "b", "get_weather", '{"city":')),
        calls(call(0, "b", args='"Rome"}')),
        calls(call(0, "a", args='"Paris"}')),
    )
    assert told_calls(events) == BOTH
    assert "Q06" in quirks(events)


def test_q07_all_calls_of_one_chunk_are_read() -> None:
    events = stream(calls(call(0, "a", "get_weather", PARIS), call(1, "b", "get_weather", ROME)), STOP)
    assert told_calls(events) == BOTH
    assert quirks(events) == {"Q37"}


def test_q08_fragments_of_two_calls_may_alternate() -> None:
    events = stream(
        calls(call(0, "a", "get_weather"), call(1, "b", "get_weather")),
        *(
            calls(call(index, args=args))
            for index, args in [(0, '{"ci'), (1, '{"city"'), (0, 'ty":"Paris"}'), (1, ':"Rome"}')]
        ),
        STOP,
        offered=TOOLS,
    )
    assert told_calls(events) == BOTH
    starts = [place for place, event in enumerate(events) if isinstance(event, ToolCallStarted)]
    ends = [place for place, event in enumerate(events) if isinstance(event, ToolCallFinished)]
    last_delta = max(place for place, event in enumerate(events) if isinstance(event, ToolCallDelta))
    assert max(starts) < last_delta < min(ends)


@pytest.mark.parametrize("missing", [{}, {"id": None}, {"id": ""}], ids=["absent", "null", "empty"])
def test_q09_q11_a_call_without_an_id_gets_one_that_is_safe_and_always_the_same(missing: dict[str, str]) -> None:
    entries = [{"index": n, "function": {"name": "get_time", "arguments": "{}"}, **missing} for n in (0, 1)]
    events = stream(calls(*entries), STOP, turn=2)
    ids = call_ids(events)
    assert len(set(ids)) == 2
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", call_id) for call_id in ids)
    assert ids == call_ids(stream(calls(*entries), STOP, turn=2))
    assert "Q09" in quirks(events)


def test_q10_empty_strings_are_absent() -> None:
    events = stream(
        calls(call(0, "a", "get_weather", '{"city"')),
        calls(call(0, "", "", ':"Par')),
        calls(call(0, "", "", 'is"}')),
        STOP,
    )
    assert told_calls(events) == ONE
    assert call_ids(events) == ["a"]


def test_q12_id_type_and_name_on_every_chunk_are_taken_once() -> None:
    pieces = ['{"city"', ":", '"Paris"', "}"]
    events = stream(*(calls({**call(0, "a", "get_weather", args), "type": "function"}) for args in pieces), STOP)
    assert told_calls(events) == ONE
    assert call_ids(events) == ["a"]


def test_q12_a_whole_call_that_is_sent_twice_is_one_call() -> None:
    events = stream(calls(call(0, "a", "get_weather", PARIS)), calls(call(0, "a", "get_weather", PARIS)), STOP)
    assert told_calls(events) == ONE
    assert "Q12" in quirks(events)


def test_q12_arguments_that_are_sent_again_without_a_name_are_taken_once() -> None:
    assert told_calls(stream(calls(call(0, "a", "get_weather", PARIS)), calls(call(0, args=PARIS)), STOP)) == ONE


def test_q13_an_id_that_changes_after_the_first_chunk_continues_the_call() -> None:
    events = stream(
        calls(call(0, "a", "get_weather", "")),
        calls(call(0, "b", args='{"city":')),
        calls(call(0, "b", args='"Paris"}')),
    )
    assert told_calls(events) == ONE
    assert call_ids(events) == ["a"]
    assert "Q13" in quirks(events)


@pytest.mark.parametrize("index", [0, None])
def test_q14_a_new_id_on_every_fragment_does_not_start_calls(index: int | None) -> None:
    pieces = [calls(call(index, f"id{n}", "", letter)) for n, letter in enumerate(PARIS[1:])]
    assert told_calls(stream(calls(call(index, "a", "get_weather", "{")), *pieces, STOP)) == ONE


def test_q14_a_call_that_never_gets_a_name_is_never_announced() -> None:
    events = stream(calls(call(0, "a", args=PARIS)), STOP)
    assert told_calls(events) == []
    assert "Q14" in quirks(events)


def test_q15_a_name_repeated_on_some_chunks_is_taken_once() -> None:
    events = stream(
        calls(call(0, "a", "get_weather", '{"city":')),
        calls(call(0, args='"Par')),
        calls(call(0, name="get_weather", args='is"}')),
    )
    assert told_calls(events) == ONE
    assert "Q15" in quirks(events)


def test_q15_a_name_repeated_after_the_whole_arguments_changes_nothing() -> None:
    events = stream(calls(call(0, "a", "get_weather", PARIS)), calls(call(0, "a", "get_weather", "")), STOP)
    assert told_calls(events) == ONE


def test_q16_a_name_sent_in_pieces_is_joined() -> None:
    for ids in (("a", "a"), ("a", None), ("a", "b")):
        events = stream(
            calls(call(0, ids[0], "get_wea")), calls(call(0, ids[1], "ther")), calls(call(0, args=PARIS)), offered=TOOLS
        )
        assert told_calls(events) == ONE
        assert "Q16" in quirks(events)


def test_q16_a_name_that_is_restated_longer_replaces_its_beginning() -> None:
    offered = {"get": {}, "get_weather": {}}
    events = stream(calls(call(0, "a", "get")), calls(call(0, "a", "get_weather", PARIS)), offered=offered)
    assert told_calls(events) == ONE


def test_q16_pieces_of_a_name_are_joined_even_where_the_tools_are_unknown() -> None:
    events = stream(calls(call(0, "a", "get_wea")), calls(call(0, "a", "ther")), calls(call(0, args=PARIS)), STOP)
    assert told_calls(events) == ONE


def test_q16_a_call_is_announced_as_soon_as_its_name_can_only_be_one_tool() -> None:
    def announced(name: str, **options: object) -> bool:
        return bool(told_calls_so_far(sse(calls(call(0, "a", name)), done=False), **options))

    assert announced("get_weather", offered=TOOLS)
    assert not announced("get_weather", offered={**TOOLS, "get_weather_at": {}})
    assert not announced("get_wea", offered=TOOLS)
    assert not announced("get_weather")


def told_calls_so_far(data: bytes, **options: object) -> list[ToolCallStarted]:
    return [event for event in ChatAssembler(**options).feed(data) if isinstance(event, ToolCallStarted)]  # type: ignore[arg-type]


@pytest.mark.parametrize("index", [0, None])
def test_q17_arguments_before_the_name_are_kept_for_it(index: int | None) -> None:
    events = stream(
        calls(call(index, args='{"city":')),
        calls(call(index, args='"Par')),
        calls(call(index, "a", "get_weather", 'is"}')),
        STOP,
    )
    assert told_calls(events) == ONE
    assert "Q17" in quirks(events)


@pytest.mark.parametrize("arguments", [{"city": "Paris"}, ["a"], 5, True])
def test_q18_arguments_that_are_not_text_are_encoded(arguments: object) -> None:
    events = stream(calls(call(0, "a", "get_weather", arguments)), STOP)
    assert told_calls(events)[0][1] in (PARIS, '["a"]', "5", "true")
    assert "Q18" in quirks(events)


def test_q19_arguments_of_null_or_none_at_all_are_an_empty_object() -> None:
    entries = [{"index": 0, "id": "a", "function": {"name": "get_time", "arguments": None}}, call(1, "b", "get_time")]
    assert told_calls(stream(calls(*entries), STOP)) == [("get_time", "{}", "completed")] * 2


def test_q20_a_call_with_empty_arguments_is_whole() -> None:
    events = stream(calls(call(0, "a", "get_time", "")), chunk(finish="tool_calls"))
    assert told_calls(events) == [("get_time", "{}", "completed")]
    assert "Q20" in quirks(events)


def test_q21_arguments_that_come_at_once_give_one_delta() -> None:
    events = stream(calls(call(0, "a", "get_weather", PARIS)), chunk(finish="tool_calls"))
    assert types(events) == ["tool_call.started", "tool_call.delta", "tool_call.finished", "turn.finished"]
    assert quirks(events) == set()


def test_q22_arguments_of_the_first_delta_count() -> None:
    events = stream(calls(call(0, "a", "get_weather", '{"')), calls(call(0, args='city":"Paris"}')), STOP)
    assert told_calls(events) == ONE


@pytest.mark.parametrize(
    "arguments",
    [
        '"{\\"city\\":\\"Paris\\"}"',
        '{"name":"get_weather","arguments":{"city":"Paris"}}',
        '{"arguments":"{\\"city\\":\\"Paris\\"}"}',
    ],
)
def test_q23_arguments_encoded_twice_are_unwrapped_where_that_fits_the_tool(arguments: str) -> None:
    events = stream(calls(call(0, "a", "get_weather", arguments)), STOP, offered=TOOLS)
    assert told_calls(events) == ONE
    assert "Q23" in quirks(events)
    assert told_calls(stream(calls(call(0, "a", "get_weather", arguments)), STOP))[0][1] == arguments


def test_q24_the_word_null_is_an_empty_object() -> None:
    events = stream(calls(call(0, "a", "get_time", "null")), STOP)
    assert told_calls(events) == [("get_time", "{}", "completed")]
    assert "Q24" in quirks(events)


@pytest.mark.parametrize("reason", ["length", "stop", "tool_calls"])
def test_q25_arguments_that_were_cut_off_are_never_whole(reason: str) -> None:
    events = stream(calls(call(0, "a", "get_weather", '{"city":"Pa')), chunk(finish=reason))
    assert told_calls(events) == [("get_weather", '{"city":"Pa', "incomplete")]
    assert finished(events).finish_reason == reason
    assert "Q25" in quirks(events)


def test_q25_a_call_cut_off_before_its_arguments_is_not_a_call_without_arguments() -> None:
    events = stream(calls(call(0, "a", "get_time", "")), chunk(finish="length"), offered=TOOLS)
    assert told_calls(events) == [("get_time", "", "incomplete")]


def test_q26_markup_behind_the_arguments_makes_the_call_incomplete_unless_the_dialect_cuts_it_off() -> None:
    chunks = [calls(call(0, "a", "get_weather", PARIS + "</｜DSML｜parameter>")), STOP]
    events = stream(*chunks)
    assert told_calls(events)[0][2] == "incomplete"
    assert "Q26" in quirks(events)
    assert told_calls(stream(*chunks, dialect=Dialect(answers=AnswerRules(mends_argument_tail=True)))) == ONE


def test_q28_deltas_without_anything_in_them_change_nothing() -> None:
    empty = {**chunk({}), "tool_call_generating": True}
    events = stream(chunk({"content": "a"}), empty, empty, chunk({"content": "b"}), STOP)
    assert text(events) == "ab"
    assert types(events) == ["text.started", "text.delta", "text.delta", "text.finished", "turn.finished"]


def test_q29_a_legacy_function_call_is_a_tool_call() -> None:
    events = stream(
        chunk({"function_call": {"name": "get_weather", "arguments": ""}}),
        chunk({"function_call": {"arguments": PARIS}, "content": None}),
        chunk({"function_call": None}, "function_call"),
    )
    assert told_calls(events) == ONE
    assert finished(events).finish_reason == "tool_calls"
    assert "Q29" in quirks(events)


@pytest.mark.parametrize("nothing", [None, [], {}, "", 0])
def test_q30_tool_calls_of_null_or_none_are_absent(nothing: object) -> None:
    events = stream(chunk({"content": "hi", "tool_calls": nothing}), STOP)
    assert types(events) == ["text.started", "text.delta", "text.finished", "turn.finished"]


def test_q30_tool_calls_that_are_no_list_are_told_of() -> None:
    assert "Q30" in quirks(stream(chunk({"content": "hi", "tool_calls": "none"}), STOP))


def test_q32_ids_of_any_form_are_kept() -> None:
    assert call_ids(stream(calls(call(0, "functions.get_time:0", "get_time", "{}")), STOP)) == ["functions.get_time:0"]


def test_q33_no_two_calls_of_an_answer_have_one_id() -> None:
    events = stream(calls(call(0, "a", "get_weather", PARIS)), calls(call(1, "a", "get_weather", ROME)), STOP)
    assert told_calls(events) == BOTH
    assert len(set(call_ids(events))) == 2
    assert "Q33" in quirks(events)
    assert [event.provider_data for event in events if isinstance(event, ToolCallFinished)][1] == {"id": "a"}


def test_q35_unknown_fields_of_a_call_are_kept_for_the_upstream() -> None:
    signature = {"google": {"thought_signature": "abc"}}
    entry = {**call(0, "a", "get_weather", PARIS), "extra_content": signature}
    entry["function"]["strict"] = True
    [finish] = [event for event in stream(calls(entry), STOP) if isinstance(event, ToolCallFinished)]
    assert finish.provider_data == {"extra_content": signature, "function": {"strict": True}}


def test_a_custom_tool_call_has_text_for_arguments() -> None:
    entry = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "apply_patch", "input": "*** Begin"}}
    events = stream(calls(entry), STOP)
    assert told_calls(events) == [("apply_patch", "*** Begin", "completed")]
    assert [event.kind for event in events if isinstance(event, ToolCallStarted)] == ["custom"]


def test_text_is_closed_when_a_call_is_announced_and_a_later_text_is_a_new_block() -> None:
    events = stream(
        chunk({"content": "a"}),
        calls(call(0, "a", "get_weather", "{")),
        chunk({"content": "b"}),
        calls(call(0, args='"city":1}')),
    )
    assert types(events) == [
        *["text.started", "text.delta", "text.finished", "tool_call.started", "tool_call.delta"],
        *["text.started", "text.delta", "tool_call.delta", "text.finished", "tool_call.finished", "turn.finished"],
    ]


def test_in_a_whole_message_each_entry_is_a_call_of_its_own() -> None:
    entries = [call(None, "x", "get_weather", PARIS), call(0, "x", "get_weather", PARIS)]
    body = {"choices": [{"message": {"tool_calls": entries}, "finish_reason": "tool_calls"}]}
    assert told_calls(feed(msgspec.json.encode(body))) == [*ONE, *ONE]


def test_too_many_calls_end_the_turn_with_a_clear_error() -> None:
    chunks = [
        calls(*(call(n, f"i{n}", "get_time", "{}") for n in range(block, block + 100))) for block in range(0, 2000, 100)
    ]
    error = failed(stream(*chunks)).error
    assert error.code == "limit_exceeded"
    assert "1024" in error.message


def test_every_row_of_the_table_has_a_quirk_and_a_meaning() -> None:
    assert all(re.fullmatch(r"Q\d\d", row.quirk) and row.meaning for row in tool_calls.ROWS)
    assert len({row.meaning for row in tool_calls.ROWS}) == len(tool_calls.ROWS)


def test_q15_a_name_on_every_one_of_many_chunks_costs_no_more_for_a_long_call() -> None:
    """Twenty thousand pieces: minutes, if each of them were held against all before it."""
    pieces = [calls(call(0, "a", "get_weather", piece)) for piece in ['{"city":"', *["}{ "] * 20_000, '"}']]
    [(_, arguments, status)] = told_calls(stream(*pieces, STOP))
    assert (len(arguments), status) == (60_011, "completed")


def test_q33_an_id_of_an_earlier_turn_is_not_given_to_a_new_call() -> None:
    body = b'{"choices":[{"message":{"tool_calls":[{"id":"functions.f:0","function":{"name":"f","arguments":"{}"}}]}}]}'
    assembler = ChatAssembler(turn=1, used_call_ids=["functions.f:0"])
    started = next(event for event in assembler.feed(body) + assembler.finish() if isinstance(event, ToolCallStarted))
    assert started.call_id != "functions.f:0"
