"""Quirk Q27: tool calls that were written as text."""

import msgspec
import pytest
from assembly_streams import STOP, TOOLS, chunk, finished, quirks, stream, text, told_calls
from hypothesis import given
from hypothesis import strategies as st

from antiphon.assembly.markup import MARKUPS, MarkupReader
from antiphon.dialects import AnswerRules, Dialect

WRITTEN = {
    "hermes": '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
    "hermes with a function": (
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>"
    ),
    "dsml": (
        '<｜DSML｜tool_calls>\n<｜DSML｜invoke name="get_weather">\n'
        '<｜DSML｜parameter name="city" string="true">Paris</｜DSML｜parameter>\n'
        "</｜DSML｜invoke>\n</｜DSML｜tool_calls>"
    ),
    "calling_tool": '[Calling tool: get_weather({"city":"Paris"})]',
}


def answer(content: str, markup: str, size: int = 1) -> list[object]:
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    dialect = Dialect(answers=AnswerRules(tool_markup=(markup.split()[0],)))
    return stream(*(chunk({"content": piece}) for piece in pieces), STOP, offered=TOOLS, dialect=dialect)  # type: ignore[return-value]


@pytest.mark.parametrize("markup", WRITTEN)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_q27_a_call_written_as_text_is_a_call_where_the_dialect_says_so(markup: str, size: int) -> None:
    events = answer(f"Well.{WRITTEN[markup]} <done", markup, size)
    [(name, arguments, status)] = told_calls(events)  # type: ignore[arg-type]
    assert (name, msgspec.json.decode(arguments), status) == ("get_weather", {"city": "Paris"}, "completed")
    assert text(events) == "Well. <done"  # type: ignore[arg-type]
    assert finished(events).finish_reason == "tool_calls"  # type: ignore[arg-type]
    assert "Q27" in quirks(events)  # type: ignore[arg-type]


@pytest.mark.parametrize("markup", WRITTEN)
def test_q27_without_a_dialect_markup_is_text(markup: str) -> None:
    events = stream(chunk({"content": WRITTEN[markup]}), STOP, offered=TOOLS)
    assert text(events) == WRITTEN[markup]
    assert told_calls(events) == []


@pytest.mark.parametrize(
    "content",
    [
        "<tool_call>no json</tool_call>",
        '<tool_call>{"name":"unknown_tool"}</tool_call>',
        '<tool_call>{"name":"get_ti',
        "<tool_c",
        "<<tool",
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_q27_markup_that_is_no_call_stays_text(content: str, size: int) -> None:
    events = answer(content, "hermes", size)
    assert text(events) == content  # type: ignore[arg-type]
    assert told_calls(events) == []  # type: ignore[arg-type]


@given(
    st.lists(st.sampled_from([*WRITTEN.values(), "<tool_call>", "</tool_call>", "<", "[Calling", ")]", "a"])), st.data()
)
def test_what_is_read_does_not_depend_on_how_the_text_was_cut(parts: list[str], data: st.DataObject) -> None:
    content = "".join(parts)

    def read(pieces: list[str]) -> list[object]:
        reader = MarkupReader(MARKUPS, TOOLS)
        found: list[object] = []
        for item in [*(item for piece in pieces for item in reader.feed(piece)), reader.flush()]:
            if isinstance(item, str) and found and isinstance(found[-1], str):
                found[-1] += item
            elif item:
                found.append(item)
        return found

    at = data.draw(st.integers(0, len(content)))
    assert read([content[:at], content[at:]]) == read(list(content)) == read([content])
