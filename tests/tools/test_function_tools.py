"""A Python function as a tool: what the model is shown of it, and what becomes of what the model sends."""

import asyncio
import contextvars
import threading
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import annotated_types
import msgspec
import pydantic
import pytest

from antiphon.errors import UsageError
from antiphon.tools.base import ToolError
from antiphon.tools.docstrings import parse_docstring
from antiphon.tools.function import FunctionTool, ToolContext, tool

CONTEXT = ToolContext(run="resp_1", call_id="c1", name="f", idempotency_key="resp_1/0.0", deps=None)


class Place(pydantic.BaseModel):
    """A place."""

    city: str
    near: "Place | None" = None


@dataclass
class Span:
    days: int = 1


class Unit(msgspec.Struct):
    name: Literal["C", "F"]


def run(made: FunctionTool[..., Any], arguments: str) -> str:
    return asyncio.run(made.run(arguments, CONTEXT)).output


def test_the_schema_is_that_of_the_signature_with_defaults_constraints_and_words() -> None:
    @tool
    def forecast(
        city: Annotated[str, "the city"],
        days: Annotated[int, pydantic.Field(ge=1, le=7)] = 3,
        unit: Literal["C", "F"] | None = None,
        tags: Annotated[list[str], annotated_types.MaxLen(2)] = [],  # noqa: B006 - not changed
    ) -> str:
        """Say what the weather will be.

        Args:
            city: is overridden by the annotation
            days: how many,
                today included
        """
        return ""

    properties = forecast.parameters["properties"]
    assert forecast.description == "Say what the weather will be."
    assert forecast.parameters["required"] == ["city"]
    assert properties["city"] == {"type": "string", "description": "the city"}
    assert properties["days"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 7,
        "default": 3,
        "description": "how many, today included",
    }
    assert properties["unit"]["anyOf"] == [{"enum": ["C", "F"], "type": "string"}, {"type": "null"}]
    assert properties["tags"]["maxItems"] == 2


def test_arguments_come_as_the_types_that_were_asked_for() -> None:
    seen: list[Any] = []

    @tool
    def look(place: Place, span: Span, unit: Unit, others: dict[str, Place], *, again: bool = True) -> None:
        seen.extend([place, span, unit, others, again])

    arguments = '{"place": {"city": "a", "near": {"city": "b"}}, "span": {}, "unit": {"name": "C"}, "others": {}}'
    assert run(look, arguments) == "null"
    assert seen == [Place(city="a", near=Place(city="b")), Span(1), Unit("C"), {}, True]
    assert "Place" in look.parameters["$defs"]


def test_a_number_that_came_as_text_is_read_and_a_text_stays_one() -> None:
    @tool
    def show(number: int, text: str) -> list[Any]:
        return [number, text]

    assert run(show, '{"number": "3", "text": "3"}') == '[3,"3"]'


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("{", "truncated"),
        ("[]", "object"),
        ("{}", "missing required field `place`"),
        ('{"place": {"city": 3}}', "valid string"),
        ('{"place": {"city": "x"}, "depth": 1}', "unknown field `depth`"),
        ("[" * 5000, "recursion"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place_and_nothing_runs(arguments: str, told: str) -> None:
    @tool
    def look(place: Place) -> None:
        raise AssertionError

    with pytest.raises(ToolError, match=rf"(?is)^look was not run: its arguments are wrong\..*{told}"):
        run(look, arguments)


def test_a_schema_by_hand_is_checked_as_it_stands() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "multipleOf": 5}}, "required": ["n"]}

    @tool(parameters=schema, description="By hand")
    def step(**values: Any) -> Any:
        return values

    assert step.definition == {
        "type": "function",
        "name": "step",
        "description": "By hand",
        "parameters": schema,
        "strict": False,
    }
    assert run(step, '{"n": 10, "more": 1}') == '{"n":10,"more":1}'
    with pytest.raises(ToolError, match="multiple of 5"):
        run(step, '{"n": 11}')


def test_a_function_that_is_not_async_runs_beside_the_loop_and_keeps_context_variables() -> None:
    variable = contextvars.ContextVar("variable", default="")

    @tool
    def where() -> list[Any]:
        return [variable.get(), threading.current_thread() is threading.main_thread()]

    variable.set("kept")
    assert run(where, "") == '["kept",false]'


def test_methods_and_objects_that_can_be_called_are_tools_too() -> None:
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def add(self, n: int) -> int:
            self.count += n
            return self.count

        async def __call__(self, n: int) -> int:
            return n

    counter = Counter()
    assert run(FunctionTool(counter.add), '{"n": 2}') == "2"
    assert run(FunctionTool(counter, name="same"), '{"n": 3}') == "3"


def test_a_call_beyond_its_time_is_given_up_whether_async_or_not() -> None:
    let_go = threading.Event()

    async def forever() -> None:
        await asyncio.Event().wait()

    def stuck() -> None:
        let_go.wait()

    try:
        for function in (forever, stuck):
            with pytest.raises(ToolError, match=f"{function.__name__} took longer than its limit of 0.01 s"):
                run(FunctionTool(function, timeout_s=0.01), "")
    finally:
        let_go.set()


def test_a_timeout_within_a_tool_is_its_own_error() -> None:
    @tool
    async def ask() -> None:
        raise TimeoutError("the database")

    with pytest.raises(TimeoutError, match="the database"):
        run(ask, "")


@pytest.mark.parametrize("raised", [StopIteration("x"), SystemExit("x"), KeyError("x")])
def test_whatever_a_thread_ends_with_is_an_error_of_the_tool(raised: BaseException) -> None:
    @tool(timeout_s=5)
    def end() -> None:
        raise raised

    with pytest.raises((RuntimeError, KeyError), match="x"):
        run(end, "")


def test_a_tool_that_cancels_itself_does_not_cancel_the_run() -> None:
    @tool
    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(ToolError, match="give_up was cancelled"):
        run(give_up, "")


def no_type(x) -> None: ...  # type: ignore[no-untyped-def]


def many(*x: int) -> None: ...


def no_json(x: threading.Thread) -> None: ...


@pytest.mark.parametrize(
    ("function", "told"),
    [(no_type, "'x'.*has no type"), (many, "by name"), (no_json, "Thread"), (lambda: 1, "no name for a tool")],
)
def test_a_function_that_no_model_can_call_is_refused_when_it_is_made_a_tool(function: Any, told: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){told}"):
        tool(function)


@pytest.mark.parametrize(
    "text",
    [
        "Does it.\n\nArgs:\n    x (int): the x\n        and more\n    **y: the y\n\nReturns:\n    z: no parameter",
        "Does it.\n\nParameters\n----------\nx : int\n    the x\n    and more\ny\n    the y\n\nReturns\n-------\nz",
        "Does it.\n\n:param int x: the x\n    and more\n:param y: the y\n:returns: z",
    ],
    ids=["google", "numpy", "sphinx"],
)
def test_docstrings_of_every_style_describe_the_parameters(text: str) -> None:
    assert parse_docstring(text) == ("Does it.", {"x": "the x and more", "y": "the y"})


def test_a_docstring_without_sections_is_all_description() -> None:
    text = "Notes: none.\n\nargs: are said here, in prose"
    assert parse_docstring(text) == (text, {})
