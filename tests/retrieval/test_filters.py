from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import InvalidRequest
from antiphon.retrieval.attributes import AttributeTable
from antiphon.retrieval.filters import MAX_COMPARISONS, MAX_DEPTH, compile_filter, matches

FILE = {"region": "eu", "year": 2023, "draft": False, "score": 0.5}


def wants(filter: dict[str, Any], attributes: dict[str, Any] = FILE) -> bool:  # noqa: A002
    return matches(compile_filter(filter), attributes)


@pytest.mark.parametrize(
    ("operator", "key", "value", "expected"),
    [
        ("eq", "region", "eu", True),
        ("eq", "region", "us", False),
        ("ne", "region", "us", True),
        ("ne", "missing", "us", True),
        ("gt", "year", 2022, True),
        ("gt", "year", 2023, False),
        ("gte", "year", 2023, True),
        ("lt", "score", 1, True),
        ("lte", "score", 0.5, True),
        ("gt", "region", "de", True),
        ("gt", "region", 3, False),
        ("lt", "missing", 3, False),
        ("in", "region", ["us", "eu"], True),
        ("in", "year", ["2023"], False),
        ("nin", "region", ["us"], True),
        ("nin", "missing", ["us"], True),
        ("eq", "draft", False, True),
        ("eq", "draft", 0, False),
        ("eq", "year", 2023.0, True),
    ],
)
def test_each_operator_compares_like_with_like(operator: str, key: str, value: Any, expected: bool) -> None:
    assert wants({"type": operator, "key": key, "value": value}) is expected


def test_compounds_nest() -> None:
    eu = {"type": "eq", "key": "region", "value": "eu"}
    old = {"type": "lt", "key": "year", "value": 2000}
    assert wants({"type": "and", "filters": [eu, {"type": "or", "filters": [old, eu]}]})
    assert not wants({"type": "and", "filters": [eu, {"type": "and", "filters": [old, eu]}]})


def test_no_filter_wants_every_file() -> None:
    assert compile_filter(None) is None
    assert matches(None, {})


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "eq", "key": "a", "value": 1}
    for _ in range(depth):
        found = {"type": "and", "filters": [found]}
    return found


@pytest.mark.parametrize(
    ("wire", "param"),
    [
        ("region", "filters"),
        ([], "filters"),
        ({"type": "like", "key": "a", "value": "b"}, "filters.type"),
        ({"type": ["eq"], "key": "a", "value": "b"}, "filters.type"),
        ({"key": "a", "value": "b"}, "filters.type"),
        ({"type": "eq", "value": "b"}, "filters.key"),
        ({"type": "eq", "key": "a", "value": None}, "filters.value"),
        ({"type": "eq", "key": "a", "value": ["b"]}, "filters.value"),
        ({"type": "in", "key": "a", "value": "b"}, "filters.value"),
        ({"type": "in", "key": "a", "value": [{}]}, "filters.value"),
        ({"type": "eq", "key": "a", "value": "b", "also": 1}, "filters.also"),
        ({"type": "and", "filters": []}, "filters.filters"),
        ({"type": "and", "filters": [{"type": "nope"}]}, "filters.filters[0].type"),
        ({"type": "in", "key": "a", "value": list(range(MAX_COMPARISONS + 1))}, "filters"),
    ],
)
def test_what_is_no_filter_is_refused_where_it_is_wrong(wire: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        compile_filter(wire)
    assert refused.value.param == param


def test_nesting_has_an_end() -> None:
    compile_filter(nested(MAX_DEPTH - 1))
    with pytest.raises(InvalidRequest, match="nested"):
        compile_filter(nested(MAX_DEPTH))


values = st.one_of(
    st.sampled_from(["a", "b", "", "1", 0, 1, 2, 0.5, True, False, 2**60, 2**60 + 1]), st.integers(-3, 3), st.text()
)
keys = st.sampled_from(["k", "l", "m"])
comparisons = st.one_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["eq", "ne", "gt", "gte", "lt", "lte"]), "key": keys, "value": values}
    ),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["in", "nin"]), "key": keys, "value": st.lists(values, min_size=1, max_size=4)}
    ),
)
filters = st.recursive(
    comparisons,
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["and", "or"]), "filters": st.lists(inner, min_size=1, max_size=3)}
    ),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(keys, values), max_size=40), filters)
def test_columns_judge_as_each_file_alone_would_be_judged(files: list[dict[str, Any]], wire: dict[str, Any]) -> None:
    table = AttributeTable()
    for attributes in files:
        table.append(attributes)
    wanted = compile_filter(wire)
    assert wanted is not None
    assert table.mask(wanted).tolist() == [matches(wanted, attributes) for attributes in files]


@given(st.lists(st.dictionaries(keys, values), min_size=1), st.dictionaries(keys, values), filters)
def test_replaced_attributes_leave_nothing_behind(
    files: list[dict[str, Any]], other: dict[str, Any], wire: dict[str, Any]
) -> None:
    table = AttributeTable()
    for attributes in files:
        table.append(attributes)
    table.replace(0, other)
    wanted = compile_filter(wire)
    assert wanted is not None
    assert table.mask(wanted).tolist()[0] == matches(wanted, other)
