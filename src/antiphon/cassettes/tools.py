"""Calls of Python functions as interactions: recorded, replayed, or made live and compared with what was recorded."""

from __future__ import annotations

import builtins
import functools
import inspect
import typing
from collections.abc import Callable, Collection
from typing import Any, Protocol

import msgspec

from antiphon.cassettes.format import ToolCall
from antiphon.cassettes.matching import Difference
from antiphon.errors import ToolFailed, UsageError
from antiphon.events import ErrorInfo


class ToolTape(Protocol):
    """What a tool asks of a cassette."""

    def answer_tool(self, name: str, arguments: Any) -> ToolCall | None:
        """The recorded call, or None where it is to be made live."""
        ...

    def began_s(self) -> float:
        """The time now."""
        ...

    def tool_came(self, call: ToolCall, started_s: float) -> None:
        """A live call that nothing was recorded of is over."""
        ...

    def compare_tool(self, recorded: ToolCall, live: ToolCall) -> None:
        """A live call is over that was recorded before."""
        ...


class Tool:
    """A function, and how its calls are written down.

    ``ignored`` parameters are neither written down nor compared: contexts, connections. ``errors`` are classes of the
    user's own that recorded failures are raised as; built-in ones are known.

    Raises:
        UsageError: it is a generator, whose results come one by one.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        is_live: bool = False,
        ignored: Collection[str] = (),
        errors: Collection[type[Exception]] = (),
    ) -> None:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise UsageError(f"The tool {function!r} is a generator; a tool that is recorded returns its result whole.")
        self.function = function
        self.name = name or str(getattr(function, "__name__", type(function).__name__))
        self.is_live = is_live
        self._ignored = frozenset(ignored)
        self._signature = inspect.signature(function)
        self._result_type = _result_type(function)
        self._errors = {_code(each): each for each in errors}

    def recorded_by(self, tape: ToolTape) -> Callable[..., Any]:
        """The function with the same signature whose calls go through a cassette."""
        function = self.function
        if _is_async(function):

            async def call_async(*args: Any, **kwargs: Any) -> Any:
                call = _Call(self, tape, args, kwargs)
                if call.is_answered:
                    return call.answer()
                try:
                    result = await function(*args, **kwargs)
                except Exception as error:
                    call.failed(error)
                    raise
                return call.finished(result)

            return functools.update_wrapper(call_async, function)

        def call_sync(*args: Any, **kwargs: Any) -> Any:
            call = _Call(self, tape, args, kwargs)
            if call.is_answered:
                return call.answer()
            try:
                result = function(*args, **kwargs)
            except Exception as error:
                call.failed(error)
                raise
            return call.finished(result)

        return functools.update_wrapper(call_sync, function)

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name, defaults filled in, as JSON values."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return {
            name: self._json(value, f"takes as {name!r}", f"Name it among those to ignore: ignore=[{name!r}].")
            for name, value in bound.arguments.items()
            if name not in self._ignored
        }

    def result(self, value: Any) -> Any:
        """What it returned, as a JSON value."""
        return self._json(value, "returned", "Return what msgspec can encode.")

    def typed(self, value: Any) -> Any:
        """A recorded result as the type that the function says it returns, if it says."""
        if self._result_type is None:
            return value
        try:
            return msgspec.convert(value, self._result_type, strict=False, dec_hook=_from_model)
        except (msgspec.ValidationError, TypeError, NotImplementedError):
            return value  # the function's annotation is a promise that it did not keep

    def raised(self, error: ErrorInfo) -> Exception:
        """A recorded failure as the exception it was."""
        kind = self._errors.get(error.code) or getattr(builtins, error.code, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                return kind(error.message)
            except TypeError:  # its constructor wants more than a message
                pass
        return ToolFailed(f"The recorded call of {self.name} ended in {error.code}: {error.message}")

    def _json(self, value: Any, what: str, advice: str) -> Any:
        try:
            return msgspec.json.decode(msgspec.json.encode(value, enc_hook=_to_builtins))
        except (TypeError, ValueError, NotImplementedError) as error:
            raise UsageError(
                f"The tool {self.name} {what} something that is no JSON value: {error}. {advice}"
            ) from None


class _Call:
    """One call of a tool."""

    def __init__(self, tool: Tool, tape: ToolTape, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._tool = tool
        self._tape = tape
        self._arguments = tool.arguments(args, kwargs)
        self._recorded = tape.answer_tool(tool.name, self._arguments)
        self._started_s = tape.began_s()

    @property
    def is_answered(self) -> bool:
        return self._recorded is not None and not self._tool.is_live

    def answer(self) -> Any:
        assert self._recorded is not None
        if self._recorded.error is not None:
            raise self._tool.raised(self._recorded.error)
        return self._tool.typed(self._recorded.result)

    def finished(self, result: Any) -> Any:
        self._came(self._tool.result(result), None)
        return result

    def failed(self, error: Exception) -> None:
        only_text = len(error.args) == 1 and isinstance(error.args[0], str)
        message = error.args[0] if only_text else str(error)
        self._came(None, ErrorInfo(code=_code(type(error)), message=message))

    def _came(self, result: Any, error: ErrorInfo | None) -> None:
        call = ToolCall(name=self._tool.name, arguments=self._arguments, result=result, error=error)
        if self._recorded is None:
            self._tape.tool_came(call, self._started_s)
        else:
            self._tape.compare_tool(self._recorded, call)


class Divergence(msgspec.Struct, frozen=True):
    """A live call of a tool that gave something else than the recorded one, and where."""

    recorded: ToolCall
    live: ToolCall
    differences: list[Difference]

    def __str__(self) -> str:
        arguments = msgspec.json.encode(self.live.arguments).decode()
        shown = "; ".join(str(each) for each in self.differences[:3])
        more = f"; and {len(self.differences) - 3} more" if len(self.differences) > 3 else ""
        return f"{self.live.name}({arguments}) gave something else live than when it was recorded: {shown}{more}"


def _is_async(function: Callable[..., Any]) -> bool:
    """Whether its call is awaited; an object may be called by an async method."""
    return any(inspect.iscoroutinefunction(each) for each in (function, type(function).__call__))


def _code(error: type[BaseException]) -> str:
    return error.__qualname__ if error.__module__ == "builtins" else f"{error.__module__}.{error.__qualname__}"


def _result_type(function: Callable[..., Any]) -> Any:
    try:
        return typing.get_type_hints(function).get("return")
    except (NameError, TypeError):  # an annotation that only a type checker resolves, or a callable without any
        return None


def _to_builtins(value: Any) -> Any:
    """pydantic's models, which msgspec does not know; by what they have, so that it is not imported."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise NotImplementedError(f"objects of type {type(value).__name__} cannot be encoded")


def _from_model(kind: type, value: Any) -> Any:
    if hasattr(kind, "model_validate"):
        return kind.model_validate(value)
    raise NotImplementedError
