"""What an MCP tool gave, as a model can be sent it; and what is said of a server."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import UsageError
from antiphon.tools.base import ToolError, ToolResult
from antiphon.tools.mcp import MCPServer, results
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


# --- what is said of a server ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "label"),
    [
        ({"url": "https://user:pass@mcp.example.com:8443/mcp"}, "mcp_example_com"),
        ({"url": "http://127.0.0.1/mcp"}, "mcp_127_0_0_1"),
        ({"command": "/usr/bin/my-server"}, "my-server"),
        ({"command": "npx", "args": ["-y", "@scope/server-files", "/srv"]}, "server-files"),
        ({"command": "python", "args": ["tools/lab.py"], "name": "other"}, "other"),
    ],
)
def test_a_server_has_a_label_that_the_api_takes(where: dict[str, Any], label: str) -> None:
    assert MCPServer(**where).label == label


def test_what_is_shown_of_a_server_holds_no_secret() -> None:
    server = MCPServer(
        url="https://user:pass@h.example/s/key?k=secret", headers={"x": "secret"}, authorization="secret"
    )
    assert repr(server) == "<MCP server h_example: https://h.example>"


def test_filters_decide_as_in_the_api() -> None:
    server = MCPServer(
        url="http://h", allowed_tools={"tool_names": ["a", "b"]}, require_approval={"never": {"read_only": True}}
    )
    listed = [{"name": "a", "annotations": {"readOnlyHint": True}}, {"name": "b", "annotations": None}]
    assert [server.tool.needs_approval(tool) for tool in listed] == [False, True]
    server.remember([*listed, {"name": "c", "annotations": {"idempotentHint": True}}])
    assert (server.may_repeat("a"), server.may_repeat("b"), server.may_repeat("c")) == (True, False, False)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"url": "http://h", "command": "x"},
        {"url": "http://h", "name": "a b"},
        {"url": "http://h", "allowed_tools": "a"},
        {"url": "http://h", "allowed_tools": {"names": ["a"]}},
        {"url": "http://h", "require_approval": "sometimes"},
    ],
)
def test_options_of_another_shape_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):  # or InvalidRequest, which is one
        MCPServer(**options)
