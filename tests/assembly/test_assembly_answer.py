"""Quirks Q37 to Q82: finish reasons, content, choices, reasoning and usage."""

import msgspec
import pytest
from assembly_streams import (
    STOP,
    call,
    calls,
    chunk,
    failed,
    feed,
    finished,
    quirks,
    reasoning,
    sse,
    stream,
    text,
    told_calls,
    types,
)

from antiphon.assembly.chat import ChatAssembler, assemble, assemble_chunks
from antiphon.dialects import AnswerRules, Dialect
from antiphon.events import AnnotationAdded, ReasoningFinished, TextDelta, TextFinished, TextStarted

TEXT = ["text.started", "text.delta", "text.finished", "turn.finished"]
CALL = calls(call(0, "a", "get_time", "{}"))


# --- finish ----------------------------------------------------------------------------------


def test_q37_whole_calls_decide_and_not_the_finish_reason() -> None:
    end = finished(stream(CALL, STOP))
    assert end.finish_reason == "tool_calls"
    assert end.provider_data["finish_reason"] == "stop"
    assert "Q37" in quirks(stream(CALL, STOP))


def test_q37_a_finish_reason_of_tool_calls_without_calls_is_a_stop() -> None:
    end = finished(stream(chunk({"content": "hi"}), chunk(finish="tool_calls")))
    assert (end.finish_reason, end.provider_data["finish_reason"]) == ("stop", "tool_calls")


def test_q38_done_completes_an_answer_without_a_finish_reason() -> None:
    events = stream(chunk({"content": "hi"}))
    assert types(events) == TEXT
    assert finished(events).finish_reason == "stop"
    assert finished(events).provider_data["finish_reason"] is None
    assert "Q38" in quirks(events)
    assert finished(stream(CALL)).finish_reason == "tool_calls"


def test_q39_an_answer_that_stops_without_a_word_is_a_failure_and_its_calls_are_not_whole() -> None:
    events = stream(chunk({"content": "hi"}), CALL, chunk({"content": "ho"}), done=False)
    assert told_calls(events) == [("get_time", "{}", "incomplete")]
    assert failed(events).error.code == "truncated_stream"
    assert failed(events).retryable
    assert [event.status for event in events if isinstance(event, TextFinished)] == ["completed", "incomplete"]


def test_q40_a_finish_reason_completes_an_answer_without_done() -> None:
    assert types(stream(chunk({"content": "hi"}), STOP, done=False)) == TEXT


def test_q40_every_choice_needs_a_finish_reason_where_there_is_no_done() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "x"}}]}
    assert failed(stream(chunk({"content": "hi"}, "stop"), other, done=False)).error.code == "truncated_stream"


def test_q41_an_empty_finish_reason_is_none() -> None:
    events = stream(chunk({"content": "a"}, ""), chunk({"content": "b"}, ""), done=False)
    assert text(events) == "ab"
    assert failed(events).error.code == "truncated_stream"


def test_q42_a_finish_reason_may_come_twice() -> None:
    events = stream(
        chunk({"content": "hi"}, "stop"), chunk({"role": "assistant", "content": ""}, "stop", usage={"total_tokens": 3})
    )
    assert types(events) == TEXT
    assert finished(events).usage is not None
    assert quirks(events) == set()


def test_q43_what_comes_with_the_finish_reason_counts() -> None:
    assert text(stream(chunk({"content": "a"}), chunk({"content": "b"}, "stop"))) == "ab"


def test_q44_what_comes_after_a_finish_reason_counts() -> None:
    events = stream(chunk({"content": "a"}, "stop"), chunk({"content": "b"}), chunk({}, "stop"))
    assert text(events) == "ab"
    assert "Q44" in quirks(events)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("eos_token", "stop"),
        ("MAX_TOKENS", "length"),
        ("sensitive", "content_filter"),
        ("max_tool_calls", "max_tool_calls"),
    ],
)
def test_q45_the_words_of_others_are_understood_or_kept(word: str, reason: str) -> None:
    end = finished(stream(chunk({"content": "a"}, word)))
    assert end.finish_reason == reason
    assert end.provider_data.get("finish_reason", reason) == word


@pytest.mark.parametrize("word", ["error", "network_error", "MALFORMED_FUNCTION_CALL"])
def test_q45_a_finish_reason_that_means_an_error_is_a_failure(word: str) -> None:
    events = stream(chunk({"content": "a"}), CALL, chunk(finish=word))
    assert failed(events).retryable
    assert failed(events).error.upstream_code == word
    assert told_calls(events) == [("get_time", "{}", "incomplete")]


def test_q45_a_dialect_may_add_words() -> None:
    german = Dialect(answers=AnswerRules(finish_reasons={"fertig": "stop"}))
    assert finished(stream(chunk({"content": "a"}, "fertig"), dialect=german)).finish_reason == "stop"


def test_q46_an_empty_answer_is_told_of_and_fails_where_the_dialect_says_so() -> None:
    assert "Q46" in quirks(stream(chunk(), STOP))
    assert failed(stream(chunk(), STOP, dialect=Dialect(answers=AnswerRules(empty_answer_fails=True)))).retryable


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_text_that_was_cut_off_is_incomplete(reason: str) -> None:
    [finish] = [event for event in stream(chunk({"content": "a"}, reason)) if isinstance(event, TextFinished)]
    assert finish.status == "incomplete"


# --- content and choices ---------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [{"content": ""}, {"content": None}, {}])
def test_q47_a_text_opens_with_its_first_character(nothing: dict[str, object]) -> None:
    assert types(stream(chunk(nothing), CALL, chunk(nothing), STOP))[0] == "tool_call.started"


def test_q48_content_may_be_a_list_of_parts() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}, {"type": "text", "text": "m"}]},
        {"type": "text", "text": "Hi"},
        {"type": "reference", "reference_ids": [1]},
        " there",
    ]
    events = stream(chunk({"content": parts}), STOP)
    assert (reasoning(events), text(events)) == ("Hmm", "Hi there")
    assert [event.field for event in events if isinstance(event, ReasoningFinished)] == ["content[].thinking"]
    assert finished(events).provider_data["choices"]["0"]["content_parts"] == {"reference": parts[2]}
    assert "Q48" in quirks(events)


def test_q49_q50_the_role_is_not_looked_at() -> None:
    events = stream(*(chunk({"role": role, "content": "a"}) for role in ("", "assistant", "assistant", None)), STOP)
    assert types(events) == ["text.started", *["text.delta"] * 4, "text.finished", "turn.finished"]


def test_q51_id_and_model_are_the_first_that_are_not_empty() -> None:
    filters = [{"prompt_index": 0}]
    first = {"choices": [], "id": "", "model": "", "created": 0, "prompt_filter_results": filters}
    end = finished(stream(first, chunk({"content": "a"}), {**chunk({}, "stop"), "id": "c2"}))
    assert (end.upstream_id, end.upstream_model) == ("c1", "m")
    assert end.provider_data["prompt_filter_results"] == filters


@pytest.mark.parametrize("choices", [{"choices": None}, {}, {"choices": []}])
def test_q52_an_answer_without_choices_is_a_failure(choices: dict[str, object]) -> None:
    assert (
        failed(stream({"id": "c1", "object": "chat.completion.chunk", **choices})).error.code
        == "upstream_protocol_error"
    )
    assert failed(assemble(msgspec.json.encode({"id": "c1", **choices}))).error.code == "upstream_protocol_error"


def test_q52_words_instead_of_choices_are_told() -> None:
    assert failed(assemble(b'{"message":"model is loading"}')).error.message == "model is loading"


def test_q53_q55_where_one_choice_was_asked_for_everything_belongs_to_it() -> None:
    other = {
        "choices": [
            {"index": 7, "delta": {"tool_calls": [call(0, "a", "get_time", "{}")]}, "finish_reason": "tool_calls"}
        ]
    }
    events = stream(chunk({"content": "hi"}), other, n=1)
    assert {event.choice for event in events if isinstance(event, TextStarted)} == {0}
    assert finished(events).finish_reason == "tool_calls"
    assert finished(events).other_finish_reasons == {}
    assert "Q53" in quirks(events)


def test_q54_choices_are_kept_apart() -> None:
    def part(index: int, content: str, finish: str | None = None) -> dict[str, object]:
        return {"choices": [{"index": index, "delta": {"content": content}, "finish_reason": finish}]}

    events = stream(part(0, "a"), part(1, "x"), part(0, "b", "stop"), part(1, "y", "length"))
    blocks = {event.block: event.choice for event in events if isinstance(event, TextStarted)}
    said = [(blocks[event.block], event.text) for event in events if isinstance(event, TextDelta)]
    assert said == [(0, "a"), (1, "x"), (0, "b"), (1, "y")]
    assert (finished(events).finish_reason, finished(events).other_finish_reasons) == ("stop", {1: "length"})


def test_q56_ids_that_change_and_dates_that_are_missing_do_not_matter() -> None:
    assert (
        text(stream({**chunk({"content": "a"}), "id": "x"}, {**chunk({"content": "b"}, "stop"), "created": 0})) == "ab"
    )


def test_q57_what_nobody_knows_survives_once_with_its_last_value() -> None:
    noise = [{**chunk({"content": "a", "token_id": n}), "latency": n, "sla": None} for n in range(5)]
    noise[3]["choices"][0]["stop_reason"] = 7
    end = finished(
        stream({**noise[0], "moderation": {"ok": True}, "service_tier": "flex"}, *noise, {**STOP, "moderation": None})
    )
    assert end.provider_data == {
        "latency": 4,
        "moderation": {"ok": True},
        "service_tier": "flex",
        "choices": {"0": {"stop_reason": 7, "delta": {"token_id": 4}}},
    }


def test_q57_what_is_kept_does_not_grow_without_end() -> None:
    end = finished(stream(*({**chunk({f"d{n}": n}), f"k{n}": n} for n in range(2000)), STOP))
    assert len(end.provider_data) < 300
    assert len(end.provider_data["choices"]["0"]["delta"]) < 300


def test_q58_a_refusal_is_a_block_of_its_own() -> None:
    events = stream(
        chunk({"refusal": None, "content": None}), chunk({"refusal": "I "}), chunk({"refusal": "won't"}), STOP
    )
    assert types(events) == ["refusal.started", "refusal.delta", "refusal.delta", "refusal.finished", "turn.finished"]


def test_q59_citations_are_flattened_and_belong_to_the_text() -> None:
    late = {
        "annotations": [
            {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 1, "end_index": 2}}
        ]
    }
    events = stream(chunk({"content": "hi"}), chunk(late), STOP)
    [added] = [event for event in events if isinstance(event, AnnotationAdded)]
    assert added.annotation == {"type": "url_citation", "url": "u", "title": "t", "start_index": 1, "end_index": 2}
    assert types(events)[-3:] == ["annotation.added", "text.finished", "turn.finished"]


def test_q59_citations_before_the_text_wait_for_it_and_those_without_one_are_kept() -> None:
    early = chunk({"annotations": [{"type": "url_citation", "url": "u"}]})
    assert types(stream(early, chunk({"content": "a"}), STOP))[:3] == ["text.started", "annotation.added", "text.delta"]
    events = stream(early, CALL, STOP)
    assert finished(events).provider_data["choices"]["0"]["annotations"][0]["url"] == "u"
    assert "Q59" in quirks(events)


@pytest.mark.parametrize("kind", [None, 7, ["url_citation"]])
def test_q59_a_citation_that_does_not_say_its_type_is_one_of_a_url(kind: object) -> None:
    events = stream(chunk({"content": "hi", "annotations": [{"type": kind, "url": "u"}]}), STOP)
    [added] = [event.annotation for event in events if isinstance(event, AnnotationAdded)]
    assert added == {"type": "url_citation", "url": "u", "title": "", "start_index": 0, "end_index": 0}


def test_q60_the_sources_of_an_answer_become_citations_of_its_text() -> None:
    sources = {"citations": ["u", "v"], "search_results": [{"url": "u", "title": "T"}]}
    events = stream({**chunk({"content": "hi"}), **sources}, {**STOP, **sources})
    urls = [
        (event.annotation["url"], event.annotation["title"]) for event in events if isinstance(event, AnnotationAdded)
    ]
    assert urls == [("u", "T"), ("v", "")]
    assert "Q60" in quirks(events)


def test_q61_log_probabilities_go_with_their_text_and_older_shapes_are_kept() -> None:
    entry = {"token": "hi", "logprob": -0.1}
    new, old = chunk({"content": "hi"}), chunk({"content": "ho"})
    new["choices"][0]["logprobs"] = {"content": [entry], "refusal": None}
    old["choices"][0]["logprobs"] = {"token_logprobs": [-0.1]}
    events = stream(new, old, STOP)
    assert [event.logprobs for event in events if isinstance(event, TextDelta)] == [[entry], []]
    assert finished(events).provider_data["choices"]["0"]["logprobs"] == {"token_logprobs": [-0.1]}


def test_q61_log_probabilities_of_a_wrong_shape_are_not_shown() -> None:
    odd = chunk({"content": "hi"}, "stop")
    odd["choices"][0]["logprobs"] = {"content": [{"token": "hi", "top_logprobs": [7]}]}
    events = stream(odd)
    assert [event.logprobs for event in events if isinstance(event, TextDelta)] == [[]]
    assert finished(events).provider_data["choices"]["0"]["logprobs"] == odd["choices"][0]["logprobs"]


# --- reasoning -------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_q62_q63_reasoning_comes_under_several_names(field: str) -> None:
    events = stream(chunk({field: "Hm"}), chunk({field: "m"}), chunk({"content": "Hi"}), STOP)
    assert reasoning(events) == "Hmm"
    assert [event.field for event in events if isinstance(event, ReasoningFinished)] == [field]
    assert types(events)[:4] == ["reasoning.started", "reasoning.delta", "reasoning.delta", "reasoning.finished"]


def details(*fragments: dict[str, object], **delta: object) -> dict[str, object]:
    return chunk({**delta, "reasoning_details": list(fragments)})


def test_q64_fragments_of_reasoning_details_are_put_together_again() -> None:
    events = stream(
        details({"type": "reasoning.text", "index": 0, "text": "H", "format": "f"}),
        details({"type": "reasoning.text", "index": 0, "text": "m", "signature": None}),
        details(
            {"type": "reasoning.text", "index": 0, "signature": "sig"},
            {"type": "reasoning.encrypted", "index": 0, "data": "xyz"},
        ),
        chunk({"content": "Hi"}),
        STOP,
    )
    [finish] = [event for event in events if isinstance(event, ReasoningFinished)]
    assert reasoning(events) == "Hm"
    assert finish.field == "reasoning_details"
    assert finish.details == [
        {"type": "reasoning.text", "index": 0, "text": "Hm", "format": "f", "signature": "sig"},
        {"type": "reasoning.encrypted", "index": 0, "data": "xyz"},
    ]


def test_q65_reasoning_in_two_fields_is_shown_once() -> None:
    fragment = {"type": "reasoning.text", "index": 0, "text": "Hm"}
    assert reasoning(stream(details(fragment, reasoning="Hm"), details(fragment), STOP)) == "Hm"
    events = stream(chunk({"reasoning": "Hm", "reasoning_content": "Hm"}), STOP)
    assert reasoning(events) == "Hm"
    assert "Q65" in quirks(events)


THINK = Dialect(answers=AnswerRules(think_tags=("think", "thinking")))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_q66_tagged_reasoning_is_taken_out_of_the_text_wherever_chunks_cut_it(size: int) -> None:
    whole = "\n<think>\nHm <b> </thin\n</think>\n\nHi </think>"
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    events = stream(*(chunk({"content": piece}) for piece in pieces), STOP, dialect=THINK)
    assert (reasoning(events).strip(), text(events)) == ("Hm <b> </thin", "Hi </think>")
    assert "Q66" in quirks(events)
    assert text(stream(*(chunk({"content": piece}) for piece in pieces), STOP)) == whole


def test_q67_a_dialect_may_say_that_the_opening_tag_is_never_sent() -> None:
    dialect = Dialect(answers=AnswerRules(think_tags=("think",), starts_in_thinking=True))
    events = stream(chunk({"content": "Hm</th"}), chunk({"content": "ink>Hi"}), STOP, dialect=dialect)
    assert (reasoning(events), text(events)) == ("Hm", "Hi")


@pytest.mark.parametrize("answer", ["Use <think>x</think> tags", "<thin", "<", " \n"])
def test_q68_a_tag_within_the_text_is_text(answer: str) -> None:
    events = stream(*(chunk({"content": letter}) for letter in answer), STOP, dialect=THINK)
    assert (reasoning(events), text(events)) == ("", answer)


def test_q69_an_answer_of_reasoning_alone_is_told_of() -> None:
    assert "Q69" in quirks(stream(chunk({"reasoning": "Hm"}), STOP))


def test_q72_opaque_reasoning_without_text_is_not_dropped() -> None:
    encrypted = {"type": "reasoning.encrypted", "data": "xyz", "id": "r1"}
    alone = stream(details(encrypted, tool_calls=[call(0, "a", "get_time", "{}")]), STOP)
    assert types(alone)[:3] == ["reasoning.started", "reasoning.finished", "tool_call.started"]
    late = stream(chunk({"content": "a"}), details(encrypted), chunk({"content": "b"}), STOP)
    assert types(late)[1:6] == ["text.delta", "text.delta", "text.finished", "reasoning.started", "reasoning.finished"]
    for events in (alone, late):
        assert [event.details for event in events if isinstance(event, ReasoningFinished)] == [[encrypted]]


def test_q73_null_and_empty_neither_open_nor_close_a_block() -> None:
    thinking = [chunk({"reasoning_content": piece, "content": None}) for piece in ("", "H", "m")]
    answering = [chunk({"reasoning_content": None, "content": piece}) for piece in ("", "H", "i")]
    events = stream(*thinking, *answering, STOP)
    assert types(events) == [
        *["reasoning.started", "reasoning.delta", "reasoning.delta", "reasoning.finished"],
        *["text.started", "text.delta", "text.delta", "text.finished", "turn.finished"],
    ]


def test_q74_each_switch_between_reasoning_and_text_opens_a_block() -> None:
    events = stream(chunk({"content": "a"}), chunk({"reasoning": "b"}), chunk({"content": "c"}), STOP)
    assert [name for name in types(events) if name.endswith("started")] == [
        "text.started",
        "reasoning.started",
        "text.started",
    ]


# --- usage -----------------------------------------------------------------------------------

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_tokens_details": {"cached_tokens": 4}}


@pytest.mark.parametrize(
    "chunks",
    [
        [STOP, {"choices": [], "usage": USAGE}],
        [{**STOP, "usage": USAGE}],
        [{**STOP, "usage": USAGE}, {"choices": [], "usage": USAGE}],
        [
            chunk({"content": "b"}, usage={**USAGE, "completion_tokens": 2, "total_tokens": 12}),
            {**STOP, "usage": USAGE},
        ],
        [{**STOP, "usage": USAGE}, {"choices": [], "usage": None}],
        [{"choices": [{**STOP["choices"][0], "usage": USAGE}]}],
    ],
    ids=["Q75 alone", "Q76 on the finish", "Q77 both", "Q78 cumulative", "Q57 null", "within the choice"],
)
def test_q75_to_q78_usage_is_never_added_up(chunks: list[dict[str, object]]) -> None:
    usage = finished(stream(chunk({"content": "a"}), *chunks)).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens, usage.cached_tokens) == (10, 5, 15, 4)
    assert usage.raw == USAGE


def test_q79_zeros_never_stand_in_for_numbers() -> None:
    zeros = {"total_tokens": 0, "total_characters": 0}
    usage = finished(
        stream(chunk({"content": "a"}, usage=zeros), {**STOP, "usage": USAGE}, {"choices": [], "usage": zeros})
    ).usage
    assert usage is not None
    assert (usage.total_tokens, usage.raw) == (15, USAGE)


def test_q81_vendors_put_usage_and_caches_elsewhere() -> None:
    usage = finished(
        stream(chunk({"content": "a"}, x_groq={"usage": {"prompt_tokens": 3, "queue_time": 0.1}}), STOP)
    ).usage
    assert usage is not None
    assert (usage.input_tokens, usage.total_tokens, usage.raw) == (3, 3, {})
    for cached in ({"prompt_cache_hit_tokens": 4}, {"cached_tokens": 4}, {"cache_read_input_tokens": 4}):
        usage = finished(stream({**chunk({"content": "a"}, "stop"), "usage": {"prompt_tokens": 9, **cached}})).usage
        assert usage is not None
        assert usage.cached_tokens == 4


def test_q82_timings_are_kept() -> None:
    assert finished(stream(chunk({"content": "a"}, "stop", timings={"ms": 1}))).provider_data["timings"] == {"ms": 1}


@pytest.mark.parametrize(
    "broken", [{"prompt_tokens": "9"}, {"prompt_tokens": -1}, {"prompt_tokens_details": [1]}, {"total_tokens": 2**70}]
)
def test_usage_of_another_type_counts_nothing(broken: dict[str, object]) -> None:
    usage = finished(stream({**chunk({"content": "a"}, "stop"), "usage": broken})).usage
    assert usage is not None
    assert (usage.input_tokens, usage.total_tokens) == (0, 0)


# --- whole bodies and logs -------------------------------------------------------------------


def test_a_whole_answer_gives_the_same_kind_of_events() -> None:
    message = {"role": "assistant", "content": "Hi", "reasoning_content": "Hm", "annotations": [], "refusal": None}
    body = {"id": "c1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": USAGE}
    events = assemble(msgspec.json.encode(body), turn=3)
    assert types(events) == ["reasoning.started", "reasoning.delta", "reasoning.finished", *TEXT]
    assert events[0].block == "3.0"  # type: ignore[union-attr]
    assert finished(events).turn == 3
    assert assemble(b" \n" + msgspec.json.encode(body)) == assemble(msgspec.json.encode(body))


def test_logged_chunks_need_no_done() -> None:
    assert finished(assemble_chunks([chunk({"content": "hi"}), STOP])).finish_reason == "stop"
    assert failed(assemble_chunks([chunk({"content": "hi"})])).error.code == "truncated_stream"
    assert failed(assemble_chunks([])).error.code == "upstream_protocol_error"


def test_nothing_comes_after_the_end() -> None:
    assembler = ChatAssembler()
    assert finished(assembler.feed(sse(chunk({"content": "a"}), STOP)))
    assert assembler.feed(sse(chunk({"content": "b"}))) == assembler.finish() == []
    assert feed(sse(STOP), sse(chunk({"content": "b"})))[-1] == finished(stream(STOP))


def test_logged_chunks_that_no_journal_could_hold_are_mended_or_refused() -> None:
    assert text(assemble_chunks([chunk({"content": "a\ud83d"}), STOP])) == "a�"  # type: ignore[list-item]
    for value in (object(), {object(): 1}):
        assert failed(assemble_chunks([chunk({"content": value})])).error.code == "invalid_event"  # type: ignore[list-item]


def test_reasoning_may_be_a_list_of_parts() -> None:
    assert reasoning(stream(chunk({"reasoning": [{"text": "H"}, {"text": "m"}]}), STOP)) == "Hm"
