"""Python functions as tools: their schema from types and docstring, their arguments checked, their failures told."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Annotated, Any, Generic, ParamSpec, TypeVar, cast, get_origin, get_type_hints, overload

import msgspec

from antiphon.errors import UsageError
from antiphon.tools.base import ToolError, ToolResult
from antiphon.tools.docstrings import parse_docstring
from antiphon.tools.results import as_result
from antiphon.tools.schemas import BadSchema, convert, json_schema, validator

DEFAULT_TIMEOUT_S = 300.0

P = ParamSpec("P")
R = TypeVar("R")
Deps = TypeVar("Deps")

# Keyword constraints of `annotated_types` and `pydantic.Field`, which `msgspec.Meta` knows by the same names.
_CONSTRAINTS = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern", "description")


class ToolContext(msgspec.Struct, Generic[Deps], frozen=True, kw_only=True):
    """What a tool may know of its call: a parameter with this type is filled in, and not shown to the model.

    ``idempotency_key`` is the same each time this very call is run; ``deps`` is what was given to the run.
    """

    run: str
    call_id: str
    name: str
    idempotency_key: str
    deps: Deps


class FunctionTool(Generic[P, R]):
    """A function that a model may call, and still the function for everybody else; made by `tool`.

    ``parameters`` is the JSON Schema that the model is shown. A tool that is ``read_only`` or ``idempotent`` may be run
    again when nobody knows whether it was; one that ``needs_approval`` runs when somebody has agreed.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        read_only: bool = False,
        idempotent: bool = False,
        needs_approval: bool = False,
    ) -> None:
        self.function = function
        self.name: str = name or str(getattr(function, "__name__", ""))
        if not self.name.replace("-", "_").isidentifier():
            raise UsageError(f"{self.name!r} is no name for a tool. Give it one: tool(name=...).")
        docstring = parse_docstring(inspect.getdoc(function) or "")
        self.description = docstring.description if description is None else description
        self.timeout_s = timeout_s
        self.read_only = read_only
        self.idempotent = idempotent
        self.needs_approval = needs_approval
        hints = _hints(function, self.name)
        self._context = next((key for key, hint in hints.items() if _is_context(hint)), None)
        if parameters is None:
            self._arguments: type[msgspec.Struct] | None = _arguments(function, self.name, hints, docstring.parameters)
            self.parameters = _parameters(self._arguments, function, self.name)
        else:
            self._arguments, self.parameters = None, dict(parameters)
            _check_schema(self.parameters, self.name)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The function itself."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tool {self.name}>"

    @property
    def definition(self) -> dict[str, Any]:
        """The tool as the Responses API describes it."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
            "strict": False,  # what does not fit is told to the model by us
        }

    async def run(self, arguments: str, context: ToolContext[Any]) -> ToolResult:
        """Run a call; what the model is told of what `call` gives.

        Raises:
            ToolError: as `call`.
        """
        return as_result(await self.call(arguments, context))

    async def call(self, arguments: str, context: ToolContext[Any]) -> Any:
        """What the function gives. One that is not async runs in a thread of its own.

        After ``timeout_s`` an async function is cancelled; a thread cannot be, and is left behind.

        Raises:
            ToolError: the arguments do not fit, or it took too long; or the tool says so.
        """
        values = self._values(arguments)
        if self._context is not None:
            values[self._context] = context
        call = partial(cast("Callable[..., Any]", self.function), **values)
        is_async = inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(
            getattr(self.function, "__call__", None)  # noqa: B004 - its function is wanted, not whether it has one
        )
        try:
            async with asyncio.timeout(self.timeout_s) as timeout:
                value = await (call() if is_async else _in_thread(call))
                if inspect.isawaitable(value):
                    value = await value
        except TimeoutError:
            if not timeout.expired():
                raise
            raise ToolError(f"{self.name} took longer than its limit of {self.timeout_s:g} s.") from None
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise  # the run is given up
            raise ToolError(f"{self.name} was cancelled by something that it waited for.") from None
        return value

    def _values(self, arguments: str) -> dict[str, Any]:
        """The arguments by parameter, those left out not among them."""
        try:
            value = msgspec.json.decode(arguments or "{}")
            if self._arguments is not None:
                fitting = convert(value, self._arguments)
                found = {key: getattr(fitting, key) for key in fitting.__struct_fields__}
                return {key: each for key, each in found.items() if each is not msgspec.UNSET}
            for wrong in validator(msgspec.json.encode(self.parameters)).iter_errors(value):
                raise ValueError(wrong.message)
            return dict(value)
        except (ValueError, TypeError, RecursionError) as error:
            raise ToolError(f"{self.name} was not run: its arguments are wrong. {error}") from None


@overload
def tool(function: Callable[P, R], /) -> FunctionTool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    timeout_s: float | None = DEFAULT_TIMEOUT_S,
    read_only: bool = False,
    idempotent: bool = False,
    needs_approval: bool = False,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...


def tool(function: Any = None, /, **options: Any) -> Any:
    """Make a function a tool: ``@tool``, or ``@tool(...)`` with options.

    The name, the description and the schema come from the function: its types (with constraints of `msgspec.Meta`,
    `annotated_types` or `pydantic.Field` in ``Annotated``), defaults and docstring. ``parameters`` is a JSON Schema by
    hand instead; the arguments then come as they were decoded. ``timeout_s`` is how long a call may take.

    Raises:
        UsageError: a parameter has no type, or one that JSON cannot hold.
    """
    return partial(FunctionTool, **options) if function is None else FunctionTool(function)


# --- from signature to schema ----------------------------------------------------------------


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    target = function
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        target = getattr(function, "func", None) or type(function).__call__
    try:
        return get_type_hints(target, include_extras=True)
    except NameError as error:
        raise UsageError(
            f"A type of the tool {name!r} is not to be found: {error}. Define it at the top of its module."
        ) from error


def _arguments(
    function: Callable[..., Any], name: str, hints: Mapping[str, Any], described: Mapping[str, str]
) -> type[msgspec.Struct]:
    """A class whose fields are the parameters; those with a default may be missing."""
    fields: list[Any] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise UsageError(f"The tool {name!r} has {parameter}: a model gives its arguments by name, one for each.")
        if parameter.name not in hints:
            raise UsageError(f"The parameter {parameter.name!r} of the tool {name!r} has no type. Annotate it.")
        if _is_context(hints[parameter.name]):
            continue
        kind = _with_meta(hints[parameter.name], described.get(parameter.name))
        is_required = parameter.default is parameter.empty
        fields.append(
            (parameter.name, kind) if is_required else (parameter.name, kind | msgspec.UnsetType, msgspec.UNSET)
        )
    return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)


def _with_meta(hint: Any, description: str | None) -> Any:
    """The type with its constraints as msgspec writes them, and a description."""
    found: dict[str, Any] = {"description": description} if description else {}
    metadata = getattr(hint, "__metadata__", ())
    for each in metadata:
        if isinstance(each, str):
            found["description"] = each
        for constraint in (each, *getattr(each, "metadata", ())):
            given = {key: getattr(constraint, key, None) for key in _CONSTRAINTS}
            found |= {key: value for key, value in given.items() if isinstance(value, int | float | str)}
    kind = hint.__origin__ if metadata else hint
    return Annotated[kind, msgspec.Meta(**found)] if found else kind


def _parameters(arguments: type[msgspec.Struct], function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        schema = json_schema(arguments)
    except BadSchema as error:
        raise UsageError(f"The tool {name!r} cannot be offered to a model. {error}") from error
    del schema["title"]  # the tool's name says it
    schema.pop("additionalProperties", None)  # not every upstream takes it; what is too much is refused here
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in schema["properties"] and parameter.default is not parameter.empty:
            try:
                schema["properties"][parameter.name]["default"] = msgspec.to_builtins(parameter.default)
            except TypeError:
                continue  # not for the model to know
    return schema


def _check_schema(schema: dict[str, Any], name: str) -> None:
    try:
        validator(msgspec.json.encode(schema))
    except BadSchema as error:
        raise UsageError(f"The parameters of the tool {name!r} are not a JSON Schema: {error}") from error


def _is_context(hint: Any) -> bool:
    return (get_origin(hint) or hint) is ToolContext


# --- running ---------------------------------------------------------------------------------


def _in_thread(call: Callable[[], R]) -> Awaitable[R]:
    """The call in a daemon thread, which may outlive its limit without keeping the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()

    def settle(value: R | None, error: BaseException | None) -> None:
        if future.done():
            return  # given up
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast(R, value))

    def work() -> None:
        value, error = None, None
        try:
            value = call()
        except BaseException as raised:  # noqa: BLE001 - it is raised again where the call is awaited
            # What ends a thread, or an iterator, must not end the loop, nor can a future hold it.
            is_plain = isinstance(raised, Exception) and not isinstance(raised, StopIteration)
            error = raised if is_plain else RuntimeError(f"{type(raised).__name__}: {raised}")
        try:
            loop.call_soon_threadsafe(settle, value, error)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True, name="antiphon-tool").start()
    return future
