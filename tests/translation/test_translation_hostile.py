"""Whatever passes the door can be translated: no item of a client, nor a stored one, breaks a later request."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from antiphon.config.dialects import shipped
from antiphon.dialects import ChatRules, Dialect
from antiphon.errors import InvalidRequest
from antiphon.translation import to_chat
from antiphon.wire.items import ITEM_TYPES, TOOL_TYPES
from antiphon.wire.responses import CreateResponse, decode_request, input_items

fields = st.sampled_from(
    ["call_id", "id", "name", "arguments", "input", "output", "content", "role", "text", "summary", "status", "tools"]
    + ["namespace", "action", "encrypted_content", "antiphon", "details", "field", "upstream", "provider_data", "error"]
    + ["parameters", "description", "format", "definition", "syntax", "strict", "mode", "image_url", "detail"]
)
values = st.recursive(
    st.sampled_from([None, True, 5, 0.5, "", "a", "{}", "incomplete", "reasoning", "content", 2**70]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(fields, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(fields, values, max_size=5)


def typed(kinds: list[str], **sound: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of these types whose fields are random, some of them made sound so that the door lets them pass."""
    mended = st.sets(st.sampled_from(sorted(sound))).map(lambda names: {name: sound[name] for name in names})
    return st.tuples(objects, mended, st.sampled_from(kinds)).map(
        lambda made: {**made[0], **made[1], "type": made[2]},
    )


items = typed(
    sorted(ITEM_TYPES),
    call_id="c1",
    name="f",
    arguments="{}",
    input="",
    output="",
    role="assistant",
    content=[],
    summary=[],
    encrypted_content="x",
    id="x",
    namespace=None,
    tools=[],
)
tools = typed([*TOOL_TYPES, "web_search"], name="f", parameters=None, description=None, format=None, tools=[])
choices = st.sampled_from(["auto", "required"]) | typed(["function", "custom", "allowed_tools", "mcp"], name="f")
every_rules = st.sampled_from([ChatRules(), *(structs.replace(ChatRules(), **each.requests) for each in shipped())])


def accepted(body: dict[str, Any]) -> CreateResponse | None:
    try:
        return decode_request(json.dumps(body).encode())
    except InvalidRequest:
        return None


@given(st.lists(items, min_size=1, max_size=4), st.lists(tools, max_size=3), st.none() | choices, every_rules)
def test_what_the_door_lets_pass_can_be_translated_and_sent(
    sent: list[dict[str, Any]], offered: list[dict[str, Any]], choice: Any, rules: ChatRules
) -> None:
    sound = [item for item in sent if accepted({"model": "m", "input": [item]})]
    fitting = [tool for tool in offered if accepted({"model": "m", "input": [], "tools": [tool]})]
    request = accepted({"model": "m", "input": sound, "tools": fitting, "tool_choice": choice})
    if request is None:  # the choice
        request = CreateResponse(model="m", input=sound, tools=fitting)
    call = to_chat(request, input_items(request), model="up", dialect=Dialect(requests=rules), upstream="u")
    assert json.loads(json.dumps(call.body))["messages"]
