"""JSON in pieces, and JSON that is nearly right."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.agent.partial import NOTHING, PartialJson, mended

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=10
)
objects = st.dictionaries(st.text(max_size=4), values, max_size=4)


def read(*pieces: str) -> Any:
    partial = PartialJson()
    for piece in pieces:
        partial.feed(piece)
    return partial.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", NOTHING),
        ("{", {}),
        ('{"na', {}),
        ('{"name"', {}),
        ('{"name":', {}),
        ('{"name": "A', {"name": "A"}),
        ('{"name": "A\\', {"name": "A"}),
        ('{"name": "A\\u00', {"name": "A"}),
        ('{"name": "A\\u00e9', {"name": "Aé"}),
        ('{"name": "Ada", ', {"name": "Ada"}),
        ('{"name": "Ada", "age": 3', {"name": "Ada"}),
        ('{"name": "Ada", "age": 36,', {"name": "Ada", "age": 36}),
        ('{"tags": ["a", "b', {"tags": ["a", "b"]}),
        ('{"tags": [[1, 2], [3', {"tags": [[1, 2], []]}),
        ('{"a": tr', {}),
        ('{"a": true}', {"a": True}),
        ('["x:,{", "}"', ["x:,{", "}"]),
    ],
)
def test_what_is_certain_so_far(text: str, value: Any) -> None:
    assert read(text) == value
    assert read(*text) == value


@given(objects, st.booleans(), st.lists(st.integers(0, 10_000), max_size=6))
def test_the_whole_text_is_the_whole_value_however_it_was_cut(value: Any, ascii_only: bool, places: list[int]) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    assert read(*(text[start:end] for start, end in itertools.pairwise(edges))) == value


@settings(deadline=None)
@given(objects)
def test_what_was_certain_stays_and_only_grows(value: dict[str, Any]) -> None:
    text, partial = json.dumps(value), PartialJson()
    seen: set[str] = set()
    for character in text:
        partial.feed(character)
        if partial.value is not NOTHING:
            assert seen <= partial.value.keys() <= value.keys()
            seen = set(partial.value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('```\n{"a": 1,}\n```\n', '{"a": 1}'),
        ('{"a": [1, 2,], }', '{"a": [1, 2] }'),
        ('{"a": ",]"', '{"a": ",]"}'),
        ('{"a": {"b": [1, {"c": 2}', '{"a": {"b": [1, {"c": 2}]}}'),
        ('{"a": 1,', '{"a": 1}'),
    ],
)
def test_what_is_nearly_right_is_mended(text: str, meant: str) -> None:
    assert mended(text) == meant


@pytest.mark.parametrize(
    "text", ['{"a": 1}', "", "no", '{"a": "cut', '{"a":', '{"a": 1}}', "{'a': 1}", '{"a": 1} and more', "[,]x"]
)
def test_what_is_right_or_was_cut_is_left_as_it_is(text: str) -> None:
    assert mended(text) is None


@given(st.text('{}[],:"\\ a1\n`', max_size=20))
def test_mending_gives_json_or_nothing(text: str) -> None:
    read(text)
    if (found := mended(text)) is not None:
        json.loads(found)
