"""Which model an agent asks: by name, as an object to share, one after the other, and at what price."""

import asyncio
import json
from typing import Any

import pytest

from antiphon import Agent, Limits, Model, Price, RunFailed, Step, Upstream, models
from antiphon.clock import FakeClock
from antiphon.errors import ConfigError, UsageError
from antiphon.events import ErrorInfo, ModelEvent, TurnFailed, TurnStarted
from antiphon.providers.responses import ResponsesProvider
from antiphon.testing import ScriptedProvider, text_turn, tool_turn
from antiphon.transport import HttpRequest

PRICE = Price(input_usd_per_1m=1.0, output_usd_per_1m=10.0)


def down(retryable: bool = True) -> list[list[ModelEvent]]:
    return [[TurnFailed(turn=0, error=ErrorInfo(code="upstream_unavailable", message="down"), retryable=retryable)]]


def asked(result: Any) -> list[tuple[str, str]]:
    return [(event.upstream, event.model) for event in result.events if isinstance(event, TurnStarted)]


# --- by name -------------------------------------------------------------------------------------


def test_a_name_may_begin_with_the_usual_name_of_its_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk")
    (model,) = Agent("groq/openai/gpt-oss-20b").models
    assert model.upstream is not None
    assert (model.name, model.upstream.name) == ("openai/gpt-oss-20b", "groq")
    assert model.upstream.base_url == "https://api.groq.com/openai/v1"


def test_with_a_url_the_whole_name_is_the_model_s() -> None:
    (model,) = Agent("groq/llama", base_url="http://localhost:1/v1").models
    assert model.upstream is not None
    assert (model.name, model.upstream.name) == ("groq/llama", "localhost:1")


def test_who_set_another_base_url_for_openai_gets_names_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:8484/v1")
    (model,) = Agent("openai/gpt-oss-20b").models
    assert model.upstream is not None
    assert (model.name, model.upstream.base_url) == ("openai/gpt-oss-20b", "http://localhost:8484/v1")


def test_a_key_that_is_missing_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISTRAL_API_KEY", raising=False)
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    with pytest.raises(UsageError, match="MISTRAL_API_KEY is not set"):
        Agent("mistral/mistral-small-latest")
    with pytest.raises(ConfigError, match="AZURE_OPENAI_ENDPOINT"):
        Upstream("azure", api_key="k")


def test_what_is_neither_a_name_nor_a_url_is_refused() -> None:
    with pytest.raises(UsageError, match="'grok'"):
        Upstream("grok")


@pytest.mark.parametrize("given", [{"base_url": "http://a.invalid"}, {"provider": ScriptedProvider()}])
def test_a_model_says_itself_where_it_is(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="Model says itself"):
        Agent(Model("m", provider=ScriptedProvider()), **given)


# --- as an object --------------------------------------------------------------------------------


def test_agents_may_share_a_model() -> None:
    model = Model("m", provider=ScriptedProvider(text_turn("a"), text_turn("b")))
    assert [Agent(model).run_sync("hi").text, Agent(model, instructions="x").run_sync("hi").text] == ["a", "b"]


def test_an_upstream_that_speaks_the_responses_api_is_asked_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[HttpRequest] = []

    class Up(Upstream):
        def _connect(self) -> Any:
            provider = super()._connect()
            assert isinstance(provider, ResponsesProvider)
            provider._transport = FakeTransport()
            return provider

    class FakeTransport:
        async def send(self, request: HttpRequest) -> Any:
            requests.append(request)
            return Answer()

        async def close(self) -> None:
            pass

    class Answer:
        status, headers = 200, ()

        async def chunks(self) -> Any:
            said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
            whole = {"type": "response.completed", "response": {"status": "completed", "output": [said]}}
            yield b"data: " + json.dumps(whole).encode() + b"\n\n"

        async def close(self) -> None:
            pass

    agent = Agent(Up("http://localhost:1/v1", api="responses").model("m"))
    assert agent.run_sync("hi").text == "hi"
    assert requests[0].url == "http://localhost:1/v1/responses"
    with pytest.raises(UsageError, match="'chat' or 'responses'"):
        Upstream("http://localhost:1", api="messages")  # type: ignore[arg-type]


def test_what_a_model_can_is_known_without_asking_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "k")
    deepseek = Model("deepseek/deepseek-reasoner").capabilities
    assert (deepseek.answer_format, deepseek.forced_tools, deepseek.reasoning_echo) == ("json_object", "auto", True)
    plain = Model("m", provider=ScriptedProvider()).capabilities
    assert (plain.answer_format, plain.images, plain.parallel_tools) == ("json_schema", True, True)


def test_the_models_of_an_upstream_are_those_it_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = ScriptedProvider(name="llama")
    monkeypatch.setattr(Upstream, "_connect", lambda _: provider)
    assert asyncio.run(models("ollama")) == ["llama"]
    assert asyncio.run(Upstream("http://localhost:1").models()) == ["llama"]


# --- fallbacks and retries -----------------------------------------------------------------------


def test_a_model_that_fails_before_anything_was_seen_is_followed_by_the_next() -> None:
    one = ScriptedProvider(down(), name="one")
    two = ScriptedProvider(text_turn("hi"), name="two")
    clock = FakeClock()
    result = Agent([Model("a", provider=one), Model("b", provider=two)], clock=clock).run_sync("hi")
    assert (result.text, asked(result), clock.slept_s) == ("hi", [("one", "a"), ("two", "b")], [])


def test_a_model_call_is_made_three_times_by_default_and_no_tool_again() -> None:
    ran = []

    def buy() -> str:
        ran.append(1)
        return "bought"

    provider = ScriptedProvider(tool_turn(("c1", "buy", "{}")), down(), down(), text_turn("done", turn=1))
    clock = FakeClock()
    result = Agent("m", provider=provider, tools=[buy], clock=clock).run_sync("?")
    assert (result.text, len(ran), len(clock.slept_s)) == ("done", 1, 2)


def test_what_asking_again_would_not_help_is_not_asked_again() -> None:
    with pytest.raises(RunFailed):
        Agent("m", provider=ScriptedProvider(down(retryable=False), text_turn("hi")), clock=FakeClock()).run_sync("?")


def test_an_agent_without_any_model_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a model"):
        Agent([])


# --- prices --------------------------------------------------------------------------------------


def test_what_a_run_cost_is_known_where_prices_are() -> None:
    provider = ScriptedProvider(text_turn("a", "b"), text_turn("c"))
    agent = Agent("m", provider=provider, prices={"m": PRICE})
    assert agent.run_sync("hi").cost_usd == pytest.approx((10 * 1 + 2 * 10) / 1_000_000)
    assert Agent("m", provider=provider).run_sync("hi").cost_usd is None


def test_cached_input_has_a_price_of_its_own() -> None:
    from antiphon.events import Usage

    usage = Usage(input_tokens=1_000_000, cached_tokens=400_000, output_tokens=100_000)
    assert PRICE.cost_usd(usage) == 2.0
    cheap = Price(input_usd_per_1m=1.0, output_usd_per_1m=10.0, cached_usd_per_1m=0.5)
    assert cheap.cost_usd(usage) == pytest.approx(1.8)


def test_a_run_ends_before_a_turn_that_it_cannot_pay() -> None:
    dear = Price(input_usd_per_1m=100_000.0, output_usd_per_1m=0.0)
    provider = ScriptedProvider(*[tool_turn((f"c{n}", "look", f'{{"n": {n}}}'), turn=n) for n in range(9)])
    limits = Limits(max_cost_usd=2.5)

    def look(n: int) -> int:
        return n

    result = Agent(Model("m", provider=provider, price=dear), tools=[look], limits=limits).run_sync("?")
    assert (result.status, result.reason, len(provider.calls)) == ("incomplete", "max_cost_usd", 3)
    assert result.cost_usd == 3.0


def test_a_limit_of_cost_wants_prices() -> None:
    with pytest.raises(UsageError, match="the price of 'm'"):
        Agent("m", provider=ScriptedProvider(), limits=Limits(max_cost_usd=1.0))


def test_a_hook_may_not_leave_for_a_model_without_a_price() -> None:
    def leave(step: Step) -> None:
        step.model = "other"

    agent = Agent(
        "m", provider=ScriptedProvider(), prices={"m": PRICE}, limits=Limits(max_cost_usd=1.0), before_step=leave
    )
    with pytest.raises(RunFailed) as failed:
        agent.run_sync("?")
    assert "the price of 'other'" in str(failed.value.__cause__)


def test_tokens_and_costs_are_told_by_model_and_those_of_sub_agents_too() -> None:
    inner = Agent("small", provider=ScriptedProvider(text_turn("7")), prices={"small": PRICE})
    outer = Agent(
        "big",
        provider=ScriptedProvider(tool_turn(("c1", "ask", '{"task": "?"}')), text_turn("It is 7.", turn=1)),
        tools=[inner.as_tool("ask", "Knows.")],
        prices={"big": PRICE},
    )
    result = outer.run_sync("?")
    assert {model: usage.total_tokens for model, usage in result.usage_by_model.items()} == {"big": 22, "small": 11}
    assert result.usage.total_tokens == 22
    assert [run.text for run in result.sub_runs] == ["7"]
    assert result.cost_usd == pytest.approx((20 + 20 + 10 + 10) / 1_000_000)
