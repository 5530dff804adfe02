"""Tools of the server whose calls go through a cassette: answered from it, or made live and written down.

On the cassette a call is a ``tool`` interaction named ``LABEL/TOOL``, the list of a server ``LABEL:tools/list``, and a
search ``file_search``. What was recorded is a `ToolResult`, or the words that the model was told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol, TypeVar

import msgspec

from antiphon.cassettes.format import ToolCall
from antiphon.cassettes.tools import ToolTape
from antiphon.errors import AntiphonError, CassetteError, ToolServerError
from antiphon.events import ErrorInfo
from antiphon.tools.base import ToolError, ToolResult, ToolServer

FILE_SEARCH = "file_search"

_Result = TypeVar("_Result")


class AnsweringTape(ToolTape, Protocol):
    """A tape that says whether it answers at all."""

    @property
    def answers(self) -> bool:
        """Whether there is a recording that calls are answered from."""
        ...


class TapedTools:
    """Which tools are answered from a cassette. ``live`` are patterns of names that are called live all the same."""

    def __init__(self, tape: AnsweringTape, *, live: Sequence[str] = ()) -> None:
        self._tape = tape
        self._live = live

    def is_recorded(self, name: str) -> bool:
        """Whether calls of this name need nothing but the recording."""
        return self._tape.answers and not any(fnmatchcase(name, pattern) for pattern in self._live)

    async def call(self, name: str, arguments: Any, make: Callable[[], Awaitable[_Result]], type_: Any) -> _Result:
        """The recorded result, or that of ``make``, which is then written down or compared.

        Raises:
            ToolError, ToolServerError: the recorded call failed so, or the live one did.
            CassetteError: it was not recorded, and is not to be made.
        """
        is_recorded = self.is_recorded(name)
        recorded = self._recorded(name, arguments, is_needed=is_recorded)
        if recorded is not None and is_recorded:
            if recorded.error is not None:
                raise _raised(name, recorded.error)
            result: _Result = msgspec.convert(recorded.result, type_)
            return result
        started_s = self._tape.began_s()
        try:
            result = await make()
        except (ToolError, ToolServerError) as error:
            self._came(name, arguments, recorded, started_s, error=_info(error))
            raise
        self._came(name, arguments, recorded, started_s, result=msgspec.to_builtins(result))
        return result

    def _recorded(self, name: str, arguments: Any, *, is_needed: bool) -> ToolCall | None:
        try:
            return self._tape.answer_tool(name, arguments)
        except CassetteError as error:
            if not is_needed:
                return None
            advice = f"To call it live, set [tools] live = [{name!r}] in antiphon.toml."
            raise type(error)(f"{error.message} {advice}") from error

    def _came(self, name: str, arguments: Any, recorded: ToolCall | None, started_s: float, **outcome: Any) -> None:
        call = ToolCall(name=name, arguments=arguments, **outcome)
        if recorded is None:
            self._tape.tool_came(call, started_s)
        else:
            self._tape.compare_tool(recorded, call)


class TapedServer:
    """A `ToolServer` on a cassette; it is connected to when something is first asked of it live."""

    def __init__(
        self, label: str, definition: dict[str, Any], connect: Callable[[], ToolServer], tools: TapedTools
    ) -> None:
        self.label = label
        self.definition = definition
        self._connect = connect
        self._tools = tools
        self._server: ToolServer | None = None
        self._listed: list[Mapping[str, Any]] | None = None

    async def list_tools(self) -> list[dict[str, Any]]:
        """See `ToolServer.list_tools`."""
        name = f"{self.label}:tools/list"
        return await self._tools.call(name, {}, lambda: self._live().list_tools(), list[dict[str, Any]])

    def remember(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """See `ToolServer.remember`."""
        self._listed = [*tools]

    async def call(self, name: str, arguments: str, *, idempotency_key: str) -> ToolResult:
        """See `ToolServer.call`. The key is new in each run, and not recorded."""

        async def make() -> ToolResult:
            return await self._live().call(name, arguments, idempotency_key=idempotency_key)

        return await self._tools.call(f"{self.label}/{name}", _value(arguments), make, ToolResult)

    async def close(self) -> None:
        """See `ToolServer.close`."""
        if self._server is not None:
            await self._server.close()

    def _live(self) -> ToolServer:
        if self._server is None:
            self._server = self._connect()
            if self._listed is not None:
                self._server.remember(self._listed)
        return self._server


def _value(arguments: str) -> Any:
    try:
        return msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        return arguments


def _info(error: Exception) -> ErrorInfo:
    code = error.code if isinstance(error, AntiphonError) else "tool_failed"
    return ErrorInfo(code=code, message=error.message if isinstance(error, AntiphonError) else str(error))


def _raised(name: str, error: ErrorInfo) -> Exception:
    if error.code == ToolServerError.code:
        label = name.partition(":")[0]
        return ToolServerError(label, error.message.removeprefix(f"MCP server {label!r}: "))
    return ToolError(error.message)
