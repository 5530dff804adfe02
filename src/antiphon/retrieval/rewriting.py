"""Search queries that a model makes of a question."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from antiphon.assembly.errors import read_error
from antiphon.clock import Ids
from antiphon.errors import InvalidEvent
from antiphon.providers.base import Provider
from antiphon.retrieval.failures import provider_error

MAX_QUERIES = 3

_PROMPT = (
    "Write search queries that find passages answering the user's message in a collection of documents. Keep names,"
    f" numbers and technical terms as they are. Give one to {MAX_QUERIES} short queries, each on a line of its own, in"
    " the language of the message, and nothing else."
)

# What models put before the lines of a list, and around them.
_MARK = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")


class ModelRewriter:
    """Asks a model over Chat Completions; gives its queries, none if it has none."""

    def __init__(self, provider: Provider, model: str, ids: Ids) -> None:
        self._provider = provider
        self._model = model
        self._ids = ids

    async def __call__(self, query: str) -> list[str]:
        """Queries for a question, the best first.

        Raises:
            ProviderError, TransportError, InvalidEvent: the model gave no answer.
        """
        messages = [{"role": "system", "content": _PROMPT}, {"role": "user", "content": query}]
        response = await self._provider.forward(
            "POST",
            "/chat/completions",
            msgspec.json.encode({"model": self._model, "messages": messages}),
            interaction=self._ids.new("int"),
            headers=(("content-type", "application/json"),),
        )
        try:
            body = b"".join([chunk async for chunk in response.chunks()])
        finally:
            await response.close()
        if response.status != 200:
            failure = read_error(response.status, response.headers, body)
            raise provider_error(failure, "The model that rewrites queries was not to be had")
        return _lines(_content(body))


def _content(body: bytes) -> str:
    try:
        content: Any = msgspec.json.decode(body)["choices"][0]["message"]["content"]
    except (msgspec.DecodeError, KeyError, IndexError, TypeError) as error:
        raise InvalidEvent(f"The model that rewrites queries answered with something else: {error!r}.") from error
    return content if isinstance(content, str) else ""


def _lines(content: str) -> list[str]:
    found = (_MARK.sub("", line).strip().strip('"').strip() for line in content.splitlines())
    return [line for line in found if line][:MAX_QUERIES]
