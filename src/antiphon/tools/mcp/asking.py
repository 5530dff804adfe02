"""What is asked of a server in an open session, and how its answers are told apart.

This module imports mcp, so nothing imports it before an MCP server is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import mcp_types as types
from mcp.client.session import ClientSession
from mcp.shared.exceptions import MCPError
from pydantic import TypeAdapter, ValidationError

from antiphon.tools.mcp.failures import Answered, Exchange, Refusal, Unanswered, is_expired, readable
from antiphon.tools.mcp.http import exchange
from antiphon.tools.mcp.session import Session

# A server that leads from page to page without end must not hold us.
MAX_PAGES = 100

IDEMPOTENCY_KEY = "antiphon/idempotencyKey"

# How long an answer may take that is on its way: the package is told of a refusal a little later than we are.
_ARRIVAL_S = 1.0
# Between two questions whether a call is done, for servers that answer with a state to come back with.
_WAIT_S = (0.05, 1.0)

_CALLED: TypeAdapter[types.CallToolResult | types.InputRequiredResult] = TypeAdapter(
    types.CallToolResult | types.InputRequiredResult
)

T = TypeVar("T")
Question = Callable[[ClientSession], Awaitable[T]]


async def ask(session: Session, question: Question[T]) -> T:
    """The answer to a question.

    Raises:
        Answered: the server answered with an error of the protocol.
        Unanswered: it did not.
        Exception: the session cannot be opened.
    """
    client = await session.opened()
    own = Exchange()
    token = exchange.set(own)
    try:
        asked = asyncio.ensure_future(question(client))
    finally:
        exchange.reset(token)
    others = [asyncio.ensure_future(own.refused()), asyncio.ensure_future(session.ended())]
    try:
        await asyncio.wait([asked, *others], return_when=asyncio.FIRST_COMPLETED)
        done, _ = await asyncio.wait([asked], timeout=_ARRIVAL_S)
        if not done:
            raise await _unanswered("the connection was lost", own, session, is_lost=True)
        return await asked
    except MCPError as error:
        is_told = own.refusal is not None and _is_told(error, own.refusal)
        if not is_told and (own.refusal is not None or error.code == types.CONNECTION_CLOSED):
            raise await _unanswered(str(error), own, session, is_lost=session.is_over) from error
        raise Answered(_words(error)) from error
    except ValidationError as error:
        raise Answered(f"Its answer does not follow the protocol: {error.errors()[0]['msg']}.") from error
    finally:
        for task in (asked, *others):
            task.cancel()
        await asyncio.gather(asked, *others, return_exceptions=True)


async def _unanswered(words: str, own: Exchange, session: Session, *, is_lost: bool) -> Unanswered:
    if session.is_over:
        await session.gone(_ARRIVAL_S)
        words = readable(session.failure) if session.failure else words
    return Unanswered(words, own.refusal, is_lost=is_lost)


async def list_tools(client: ClientSession) -> list[dict[str, Any]]:
    """All tools, page by page, as `ToolServer.list_tools` gives them; their schemas as they were sent."""
    tools: list[types.Tool] = []
    cursor, seen = None, set[str]()
    for _ in range(MAX_PAGES):
        page = await client.list_tools(params=types.PaginatedRequestParams(cursor=cursor) if cursor else None)
        tools += page.tools
        cursor = page.next_cursor
        if not cursor or cursor in seen:
            break
        seen.add(cursor)
    return [_listed(tool) for tool in tools]


async def call_tool(
    client: ClientSession, *, name: str, arguments: dict[str, Any], idempotency_key: str
) -> dict[str, Any]:
    """The result of a call, as the protocol writes it. A call that the server does in steps is waited for.

    Not `ClientSession.call_tool`: it lists the tools again for each tool that it has not seen listed, and throws away
    the result of a call that was made when that does not fit the server's own description of it.
    """
    state, wait_s = None, _WAIT_S[0]
    meta = cast(types.RequestParamsMeta, {IDEMPOTENCY_KEY: idempotency_key})
    while True:
        request = types.CallToolRequest(
            params=types.CallToolRequestParams(name=name, arguments=arguments, request_state=state, _meta=meta)
        )
        try:
            result = await client.send_request(request, _CALLED)
        except MCPError as error:
            if error.code != types.HEADER_MISMATCH or state is not None:
                raise
            await list_tools(client)  # which arguments are sent as headers too is learnt from the listing
            result = await client.send_request(request, _CALLED)
        if isinstance(result, types.CallToolResult):
            return result.model_dump(by_alias=True, mode="json", exclude_none=True)
        if result.input_requests:
            wanted = "; ".join(_wanted(each) for each in result.input_requests.values())
            raise Answered(f"{name} was not finished: it asks for what cannot be given here ({wanted}).")
        await asyncio.sleep(wait_s)
        state, wait_s = result.request_state, min(wait_s * 2, _WAIT_S[1])


def _listed(tool: types.Tool) -> dict[str, Any]:
    annotations = tool.annotations
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.input_schema,
        "annotations": annotations.model_dump(by_alias=True, mode="json", exclude_none=True) if annotations else None,
    }


def _is_told(error: MCPError, refusal: Refusal) -> bool:
    """Whether the server's own error came with the refusal: some put it in the body of a 400."""
    return refusal.status == 400 and not is_expired(refusal) and error.message == refusal.words


def _words(error: MCPError) -> str:
    urls = [each.get("url") for each in _elicitations(error.data)]
    return " ".join([error.message, *(f"Go to {url} first." for url in urls if url)])


def _elicitations(data: Any) -> list[dict[str, Any]]:
    found = data.get("elicitations") if isinstance(data, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _wanted(request: types.InputRequest) -> str:
    params = request.params
    about = getattr(params, "message", None)
    url = getattr(params, "url", None)
    return ": ".join(str(part) for part in (request.method, about, url) if part)
