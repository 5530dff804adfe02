"""The gateway that many teams write: a Starlette route that asks with the openai SDK and sends its objects on.

Usage: python gateway_starlette.py PORT UPSTREAM_PORT
"""

import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

PORT, UPSTREAM_PORT = int(sys.argv[1]), int(sys.argv[2])
client = AsyncOpenAI(base_url=f"http://127.0.0.1:{UPSTREAM_PORT}/v1", api_key="sk-bench")


async def events(stream: AsyncStream[ChatCompletionChunk]) -> AsyncIterator[str]:
    """The stream's chunks as server-sent events."""
    async for chunk in stream:
        yield f"data: {chunk.model_dump_json(exclude_unset=True)}\n\n"
    yield "data: [DONE]\n\n"


async def chat_completions(request: Request) -> Response:
    """``POST /v1/chat/completions``, streamed or not."""
    body: dict[str, Any] = await request.json()
    answer = await client.chat.completions.create(**body)
    if body.get("stream"):
        return StreamingResponse(events(answer), media_type="text/event-stream")
    return JSONResponse(answer.model_dump(mode="json", exclude_unset=True))


app = Starlette(routes=[Route("/v1/chat/completions", chat_completions, methods=["POST"])])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", access_log=False)
