"""Q27: tool calls written as text, where a dialect says which markup to look for; and all that is none."""

import json
import time
from typing import Any

import pytest
from assembly_streams import STOP, TOOLS, chunk, finished, stream, told_calls
from assembly_streams import text as told_text
from hypothesis import given
from hypothesis import strategies as st

from antiphon.assembly.markup import MARKUPS, MarkupReader, WrittenCall
from antiphon.dialects import AnswerRules, Dialect
from antiphon.dialects.answers import ToolMarkup
from antiphon.events import Diagnostic, ModelEvent

OFFERED: dict[str, Any] = {
    "get_weather": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    "read": {},
}
PARIS: dict[str, Any] = {"city": "Paris", "days": 3}


def dsml(bars: str, word: str, space: str = "") -> str:
    tag = f"{bars}DSML{bars}"
    return (
        f'<{tag}{word}>\n<{tag}{space}invoke name="get_weather">\n'
        f'<{tag}{space}parameter name="city" string="true">Paris</{tag}{space}parameter>\n'
        f'<{tag}{space}parameter name="days" string="false">3</{tag}{space}parameter>\n'
        f"</{tag}{space}invoke>\n</{tag}{word}>"
    )


# The same call in each markup.
WRITTEN: list[tuple[ToolMarkup, str]] = [
    ("hermes", '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}\n</tool_call>'),
    ("hermes", '<tool_call>{"name": "get_weather", "parameters": {"city": "Paris", "days": 3}}</tool_call>'),
    (
        "hermes",
        '<tool_call>[{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\", \\"days\\": 3}"}]</tool_call>',
    ),
    (
        "hermes",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n</parameter>\n"
        "</function>\n</tool_call>",
    ),
    (
        "glm",
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n<arg_key>days</arg_key>\n"
        "<arg_value>3</arg_value>\n</tool_call>",
    ),
    *(("dsml", dsml(*variant)) for variant in (("｜", "tool_calls"), ("|", "tool_calls"), ("｜｜", " calls", " "))),
    (
        "kimi",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
        '{"city": "Paris", "days": 3}<|tool_call_end|><|tool_calls_section_end|>',
    ),
    (
        "minimax",
        '<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Paris</parameter>\n'
        '<parameter name="days">3</parameter>\n</invoke>\n</minimax:tool_call>',
    ),
    (
        "minimax",
        ']<]minimax[>[<tool_call>\n]<]minimax[>[<invoke name="get_weather">]<]minimax[>[<city>Paris</city>'
        "]<]minimax[>[<days>3</days>]<]minimax[>[</invoke>\n]<]minimax[>[</tool_call>",
    ),
    ("lfm", '<|tool_call_start|>[get_weather(city="Paris", days=3)]<|tool_call_end|>'),
    ("calling_tool", '[Calling tool: get_weather({"city": "Paris", "days": 3})]'),
]
EVERY = tuple(MARKUPS)


def split(*texts: str, names: tuple[ToolMarkup, ...] = EVERY, cut: bool = False) -> list[str | WrittenCall]:
    """What becomes of a text, its neighbouring pieces of text joined."""
    splitter = MarkupReader(names, OFFERED)
    pieces = [piece for text in texts for piece in splitter.feed(text)] + splitter.flush(cut=cut)
    joined: list[str | WrittenCall] = []
    for piece in pieces:
        if joined and isinstance(piece, str) and isinstance(joined[-1], str):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def arguments(piece: str | WrittenCall) -> Any:
    assert isinstance(piece, WrittenCall)
    return json.loads(piece.arguments)


@pytest.mark.parametrize(("name", "text"), WRITTEN)
def test_q27_a_call_is_read_from_each_markup(name: ToolMarkup, text: str) -> None:
    before, call, after = split(f"Let me see.\n\n{text}\n\nDone.", names=(name,))
    assert (before, after) == ("Let me see.", "\n\n\n\nDone.")
    assert isinstance(call, WrittenCall)
    assert (call.name, json.loads(call.arguments)) == ("get_weather", PARIS)
    assert call.call_id == ("functions.get_weather:0" if name == "kimi" else "")


def test_q27_every_markup_is_tried() -> None:
    assert {name for name, _ in WRITTEN} == set(MARKUPS)


@pytest.mark.parametrize(("name", "text"), WRITTEN)
def test_q27_white_space_around_calls_is_no_text(name: ToolMarkup, text: str) -> None:
    assert [type(piece) for piece in split(f"\n{text}\n\n", names=(name,))] == [WrittenCall]
    assert split(f" {text}\n\nDone.", names=(name,))[1:] == ["Done."]


@pytest.mark.parametrize(("name", "text"), WRITTEN)
def test_q27_several_calls_are_several(name: ToolMarkup, text: str) -> None:
    assert [type(piece) for piece in split(f"{text}\n{text}", names=(name,))] == [WrittenCall, WrittenCall]


@pytest.mark.parametrize(("name", "text"), WRITTEN)
def test_q27_a_markup_that_no_dialect_names_is_text(name: ToolMarkup, text: str) -> None:
    others = tuple(other for other in MARKUPS if other != name)
    assert split(text, names=others) == [text]
    assert split(text, names=()) == [text]


@pytest.mark.parametrize(("name", "text"), WRITTEN)
def test_q27_a_tool_that_was_not_offered_is_never_called(name: ToolMarkup, text: str) -> None:
    quoted = f"Write: {text.replace('get_weather', 'format_disk')} and wait."
    assert split(quoted, names=(name,)) == [quoted]


@pytest.mark.parametrize(("name", "text"), WRITTEN)
def test_q27_of_a_text_that_was_cut_no_call_is_taken(name: ToolMarkup, text: str) -> None:
    torn = text[:-3]
    assert split(torn, names=(name,), cut=True) == [torn]


@pytest.mark.parametrize(("name", "text"), [WRITTEN[0], WRITTEN[3], WRITTEN[4], WRITTEN[5], WRITTEN[-3]])
def test_q27_the_last_closing_marker_may_be_missing(name: ToolMarkup, text: str) -> None:
    without = text[: text.rindex("</")].rstrip()
    assert arguments(split(without, names=(name,))[0]) == PARIS


@pytest.mark.parametrize(
    "text",
    [
        "a < b, [x] and ]<]",
        "Use <tool_call> to call tools.",
        "<tool_call>",
        "<tool_call>not a call</tool_call>",
        "<tool_call>{}</tool_call>",
        '<tool_call>{"name": 3}</tool_call>',
        '<tool_call>{"name": "read", "arguments": {"a": 1}</tool_call>',
        '<｜DSML｜tool_calls>\n<｜DSML｜invoke name="record_item {\ncategory: Dexes',
        "<|tool_calls_section_begin|><|tool_calls_section_end|>",
        "[Calling tool: read",
        "[Calling tool: read]",
        "[Calling tool: read(1)]",
        "<minimax:tool_call><read></read></minimax:tool_call>",
        "<|tool_call_start|>[read(1)]<|tool_call_end|>",
        "<|tool_call_start|>[read(a=open('b'))]<|tool_call_end|>",
        "<|tool_call_start|>[read(**{})]<|tool_call_end|>",
        "<|tool_call_start|>[read<|tool_call_end|>",
    ],
)
def test_q27_what_only_looks_like_a_call_stays_the_text_it_is(text: str) -> None:
    assert split(f"See:  {text}  \n") == [f"See:  {text}  \n"]


def test_q27_a_marker_that_is_only_mentioned_holds_nothing_back() -> None:
    splitter = MarkupReader(EVERY, OFFERED)
    assert splitter.feed("The tag <tool_call> (see") == ["The tag", " <tool_call> ", "(see"]


def test_q27_a_closing_marker_in_a_string_does_not_end_the_call() -> None:
    text = '<tool_call>{"name": "read", "arguments": {"a": "</tool_call>"}}</tool_call>'
    assert [arguments(piece) for piece in split(text)] == [{"a": "</tool_call>"}]
    assert [arguments(piece) for piece in split('[Calling tool: read({"a": ")]"})]')] == [{"a": ")]"}]


def test_q27_a_schema_says_what_is_text() -> None:
    glm = "<tool_call>get_weather<arg_key>city</arg_key><arg_value>{}</arg_value></tool_call>"
    assert arguments(split(glm)[0]) == {"city": "{}"}
    untyped = glm.replace("get_weather", "read").replace("</tool_call>", glm.partition("get_weather")[2])
    untyped = untyped.replace("city", "a", 1).replace("city", "b").replace("{}</arg_value></", "x</arg_value></")
    assert arguments(split(untyped)[0]) == {"a": {}, "b": "x"}


# --- whatever the cuts ---------------------------------------------------------------------------

snippets = st.sampled_from(
    [text for _, text in WRITTEN]
    + [
        "Hi ",
        "\n\n",
        " " * 70,
        "<",
        "<tool_call>",
        "</tool_call>",
        "{",
        '"',
        "]<]minimax[>[",
        "[Calling tool: ",
        ")]",
        "read(",
        "}",
    ]
)
texts = st.lists(snippets, max_size=6).map("".join)


@given(texts, st.data())
def test_q27_events_do_not_depend_on_how_the_text_was_cut(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert split(*pieces) == split(text) == split(*text)


@given(texts)
def test_q27_what_is_no_call_is_given_unchanged_and_in_order(text: str) -> None:
    assert "".join(piece for piece in split(text, names=()) if isinstance(piece, str)) == text
    at = 0
    for piece in split(text):
        if isinstance(piece, str):
            at = text.index(piece.strip(), at) + len(piece.strip())


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "read", "arguments": {"a": "' + "</tool_call>" * 50_000,
        "<minimax:tool_call>" + '<invoke name="read">' * 50_000 + "</minimax:tool_call>",
        "<minimax:tool_call>" + '<invoke name="read"><a>' * 50_000 + "</invoke></minimax:tool_call>",
        "<tool_call>read" + "<arg_key>" * 50_000 + "</tool_call>",
        "<" * 500_000,
        "\n" * 500_000,
        "<tool_call> " * 50_000,
        "[Calling tool: " * 5_000,
        "<tool_call>[" + "[" * 50_000 + "</tool_call>",
        "<|tool_call_start|>[read(a=" + "-" * 50_000 + "1)]<|tool_call_end|>",
    ],
)
def test_q27_no_text_costs_much_more_than_its_length(text: str) -> None:
    started = time.process_time()
    split(text)
    split(*(text[at : at + 1000] for at in range(0, len(text), 1000)))
    assert time.process_time() - started < 2


# --- in an answer --------------------------------------------------------------------------------

HERMES = Dialect(answers=AnswerRules(tool_markup=("hermes",), think_tags=("think",)))
CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'


def answer(*texts: str, finish: Any = STOP, offered: Any = TOOLS, **options: Any) -> list[ModelEvent]:
    return stream(*(chunk({"content": text}) for text in texts), finish, dialect=HERMES, offered=offered, **options)


def test_q27_a_written_call_is_a_call_like_any_other() -> None:
    events = answer("I look.\n<tool", CALL[5:50], CALL[50:])
    assert told_text(events) == "I look."
    assert told_calls(events) == [("get_weather", '{"city":"Paris"}', "completed")]
    assert finished(events).finish_reason == "tool_calls"
    assert "Q27" in [event.quirk for event in events if isinstance(event, Diagnostic)]


def test_q27_an_answer_cut_by_its_limit_has_no_written_call() -> None:
    events = answer(CALL[:-12], finish=chunk(finish="length"))
    assert (told_calls(events), told_text(events)) == ([], CALL[:-12])


def test_q27_a_connection_that_was_lost_has_no_written_call() -> None:
    events = stream(chunk({"content": CALL[:-12]}), dialect=HERMES, offered=TOOLS, done=False)
    assert (told_calls(events), told_text(events)) == ([], CALL[:-12])


def test_q27_log_probabilities_of_a_text_with_calls_are_left_out_and_it_is_told() -> None:
    said = {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [{"token": "a"}]}}]}
    marked = Dialect(answers=AnswerRules(tool_markup=("hermes",)))
    told = [event.done for event in stream(said, STOP, dialect=marked, offered=TOOLS) if isinstance(event, Diagnostic)]
    assert any("log probabilities" in done for done in told)


def test_q27_without_offered_tools_nothing_is_looked_for() -> None:
    assert told_text(answer(CALL, offered={})) == CALL


def test_q27_a_call_in_tagged_reasoning_is_only_a_thought() -> None:
    events = answer(f"<think>I could {CALL}</think>No.")
    assert (told_calls(events), told_text(events)) == ([], "No.")


def test_q27_white_space_behind_a_marker_that_is_only_mentioned_is_text_however_it_comes() -> None:
    text = '[Calling tool: \n\n<tool_call>{"name": "read", "arguments": {}}</tool_call>'
    assert split(*text) == split(text)
    assert split(text)[0] == "[Calling tool: \n\n"
