"""What an MCP tool gave, as a model can be sent it; and what filters say of a tool."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import InvalidRequest
from antiphon.tools.base import ToolError, ToolResult
from antiphon.tools.mcp import Permissions, results
from antiphon.tools.mcp.results import cut, to_result


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def image(data: str) -> dict[str, Any]:
    return {"type": "image", "data": data, "mimeType": "image/png"}


@given(st.text(), st.integers(min_value=0, max_value=20))
def test_a_cut_text_is_the_beginning_of_the_whole_and_says_so(words: str, limit: int) -> None:
    kept, _, note = cut(words, limit).rpartition("\n[Cut here: ")
    size = len(words.encode("utf-8", "replace"))
    if size <= limit:
        assert cut(words, limit) == words
    else:
        assert words.startswith(kept)
        assert limit - 3 <= len(kept.encode()) <= limit
        assert f"the result has {size:,} bytes, and the limit is {limit}" in note


@given(st.lists(st.sampled_from([text("a" * 30), image("b" * 20), image("c" * 200)]), max_size=12))
def test_parts_never_outgrow_their_limits_together(content: list[dict[str, Any]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "MAX_MEDIA_BYTES", 120)
        result = to_result({"content": content}, max_text_bytes=100)
    media = [len(part["image_url"]) for part in result.content if part["type"] == "input_image"]
    left_out = sum("was left out" in part.get("text", "") for part in result.content)
    assert sum(media) <= 120
    assert len(media) + left_out == (sum(each["type"] == "image" for each in content) if result.content else 0)
    assert len(result.output) < 250


def test_several_texts_are_lines_of_one() -> None:
    assert to_result({"content": [text("a"), text("b")]}) == ToolResult(output="a\nb")


def test_nothing_is_an_empty_text() -> None:
    assert to_result({"content": []}) == ToolResult(output="")


def test_an_image_alone_is_named_in_the_output() -> None:
    assert to_result({"content": [image("iVBO")]}).output == "[image, image/png]"


def test_an_unknown_kind_of_content_is_shown_as_json() -> None:
    assert to_result({"content": [{"type": "hologram", "of": "a cat"}]}).output == '{"type":"hologram","of":"a cat"}'


def test_a_resource_that_is_an_image_is_one() -> None:
    resource = {"uri": "file:///a.png", "mimeType": "image/png", "blob": "iVBO"}
    (part,) = to_result({"content": [{"type": "resource", "resource": resource}]}).content
    assert part["image_url"] == "data:image/png;base64,iVBO"


@pytest.mark.parametrize(("structured", "kept"), [(None, []), ([1], [{"result": [1]}]), ({"a": 1}, [{"a": 1}])])
def test_structured_content_is_an_object(structured: Any, kept: list[Any]) -> None:
    assert to_result({"content": [text("x")], "structuredContent": structured}).results == kept


def test_structured_content_beyond_the_limit_is_not_kept() -> None:
    result = to_result({"content": [], "structuredContent": {"a": "b" * 100}}, max_text_bytes=20)
    assert result.results == []
    assert "Cut here" in result.output


def test_a_failure_without_words_has_some() -> None:
    with pytest.raises(ToolError, match="did not say why"):
        to_result({"content": [], "isError": True})


# --- permissions -----------------------------------------------------------------------------

READS = {"readOnlyHint": True}


@pytest.mark.parametrize(
    ("allowed", "name", "annotations", "may"),
    [
        (None, "a", None, True),
        (["a"], "a", None, True),
        (["a"], "b", READS, False),
        ([], "a", None, False),
        ({"tool_names": ["a"]}, "b", None, False),
        ({"read_only": True}, "a", READS, True),
        ({"read_only": True}, "a", {"readOnlyHint": False}, False),
        ({"read_only": True}, "a", None, False),
        ({"read_only": True, "tool_names": ["a"]}, "b", READS, False),
    ],
)
def test_what_may_be_called(allowed: Any, name: str, annotations: Any, may: bool) -> None:
    assert Permissions(allowed).allows(name, annotations) is may


@pytest.mark.parametrize(
    ("approval", "name", "annotations", "needed"),
    [
        (None, "a", READS, True),
        ("always", "a", READS, True),
        ("never", "a", None, False),
        ({"never": {"tool_names": ["a"]}}, "a", None, False),
        ({"never": {"tool_names": ["a"]}}, "b", None, True),
        ({"never": {"read_only": True}}, "a", READS, False),
        ({"never": {"read_only": True}}, "a", None, True),
        ({"always": {"tool_names": ["a"]}, "never": {"read_only": True}}, "a", READS, True),
        ({"always": {"tool_names": ["a"]}, "never": {"read_only": True}}, "b", READS, False),
        ({"always": None, "never": ["a"]}, "a", None, False),
        ({}, "a", None, True),
    ],
)
def test_what_needs_approval(approval: Any, name: str, annotations: Any, needed: bool) -> None:
    assert Permissions(None, approval).needs_approval(name, annotations) is needed


@pytest.mark.parametrize(
    ("allowed", "approval", "param"),
    [
        ("a", "always", "allowed_tools"),
        ({"names": ["a"]}, "always", "allowed_tools"),
        ({"tool_names": "a"}, "always", "allowed_tools"),
        ([1], "always", "allowed_tools"),
        ({"read_only": "yes"}, "always", "allowed_tools"),
        (None, "sometimes", "require_approval"),
        (None, {"often": {}}, "require_approval"),
        (None, {"never": 1}, "require_approval.never"),
    ],
)
def test_a_filter_of_another_shape_is_refused(allowed: Any, approval: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Permissions(allowed, approval)
    assert refused.value.param == param
