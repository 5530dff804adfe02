import asyncio
import re
from pathlib import Path
from typing import Any

from asgi_client import Reply, ask
from fakes import FakeProvider, FakeResponse
from prometheus_client.parser import text_string_to_metric_families

from antiphon.agent.loop import Target
from antiphon.agent.runner import Runner
from antiphon.clock import CountingIds, FakeClock
from antiphon.config import hash_key
from antiphon.errors import ConnectFailed
from antiphon.events import Diagnostic, ErrorInfo, TurnFailed, TurnFinished, Usage
from antiphon.server.app import App
from antiphon.server.auth import Keys
from antiphon.server.chat import Chat
from antiphon.server.metrics import Metrics
from antiphon.server.passthrough import Passthrough
from antiphon.server.responses import Responses
from antiphon.store.sqlite import SqliteStore
from antiphon.testing import text_turn

DOCS = Path(__file__).parents[2] / "docs" / "diagnostics.md"
HI = {"model": "m", "input": "hi"}


class Server:
    """An application with metrics over one scripted provider."""

    def __init__(self, provider: FakeProvider, keys: Keys | None = None) -> None:
        clock, ids, self.metrics = FakeClock(), CountingIds(), Metrics()

        def resolve(model: str) -> list[Target]:
            return [Target(provider, model)] * 2  # a second attempt for what may be tried again

        store = SqliteStore.open(None, clock=clock)
        runner = Runner(store=store, resolve=resolve, clock=clock, ids=ids, on_ended=self.metrics.run_ended)
        passthrough = Passthrough(resolve, provider, ids, on_call=self.metrics.call_passed_on)
        routes = [
            *Responses(runner, store).routes(),
            *Chat(runner, passthrough, resolve).routes(),
            *self.metrics.routes(),
        ]
        answered = self.metrics.request_ended
        self.app = App(routes, keys=keys or Keys({}), clock=clock, ids=ids, on_answered=answered)
        self.metrics.watch_in_flight(self.app.in_flight)

    def ask(self, method: str, path: str, body: Any = b"", **options: Any) -> Reply:
        return asyncio.run(ask(self.app, method, path, body, **options))

    def samples(self) -> dict[str, float]:
        """What a scrape reads, by name and labels (in order of their names), without times and the process."""
        text = self.ask("GET", "/metrics").body.decode()
        return {
            " ".join([sample.name, *sample.labels.values()]): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith("antiphon_") and not sample.name.endswith(("_bucket", "_sum"))
        }


def turn_with(*events: Any, usage: Usage | None = None) -> list[list[Any]]:
    """A script for a provider: accepted, then these, then the end."""
    return [[], [*events, TurnFinished(turn=0, finish_reason="stop", usage=usage)]]


def test_a_run_is_counted_with_what_was_mended_and_used() -> None:
    mended = Diagnostic(quirk="Q38", seen="secret", done="inferred")
    usage = Usage(input_tokens=7, output_tokens=5, cached_tokens=3, reasoning_tokens=2)
    server = Server(FakeProvider("local", turns=[turn_with(mended, mended, usage=usage)]))
    assert server.ask("POST", "/v1/responses", {**HI, "stream": True}).status == 200
    samples = server.samples()
    assert samples["antiphon_diagnostics_total Q38 local"] == 2
    assert samples["antiphon_upstream_calls_total local"] == 1
    assert [samples[f"antiphon_tokens_total {kind} local"] for kind in ("input", "cached", "output", "reasoning")] == [
        *(7, 3, 5, 2)
    ]
    assert samples["antiphon_requests_total POST /v1/responses 200"] == 1
    assert samples["antiphon_request_duration_seconds_count /v1/responses"] == 1
    assert samples["antiphon_first_event_seconds_count /v1/responses"] == 1


def test_a_failed_call_is_counted_by_its_code_for_each_attempt() -> None:
    failure = TurnFailed(turn=0, error=ErrorInfo(code="rate_limit_exceeded", message="secret"), retryable=True)
    server = Server(FakeProvider("local", turns=[[[failure]], [[failure]]]))
    assert server.ask("POST", "/v1/responses", HI).status == 429
    samples = server.samples()
    assert samples["antiphon_upstream_failures_total rate_limit_exceeded local"] == 2
    assert samples["antiphon_upstream_calls_total local"] == 2
    assert samples["antiphon_requests_total POST /v1/responses 429"] == 1
    assert "antiphon_first_event_seconds_count /v1/responses" not in samples


def test_what_is_passed_through_is_counted_by_its_status() -> None:
    answers: list[Any] = [FakeResponse(b"data: [DONE]\n\n"), FakeResponse(b"{}", status=503), ConnectFailed("no")]
    server = Server(FakeProvider("local", answers=answers))
    for status in (200, 502):  # the second by both targets
        assert server.ask("POST", "/v1/chat/completions", {"model": "m"}).status == status
    samples = server.samples()
    assert samples["antiphon_upstream_calls_total local"] == 3
    assert samples["antiphon_upstream_failures_total http_503 local"] == 1
    assert samples["antiphon_upstream_failures_total upstream_connect_failed local"] == 1
    assert samples["antiphon_requests_total POST /v1/chat/completions 200"] == 1
    assert samples["antiphon_first_event_seconds_count /v1/chat/completions"] == 1


def test_no_client_can_make_a_label() -> None:
    server = Server(FakeProvider("local", turns=[text_turn("hi")]))
    for number in range(3):
        server.ask("POST", f"/v1/secret-{number}")
        server.ask(f"SECRET{number}", "/v1/responses")
        server.ask("GET", f"/v1/responses/secret-{number}")
    server.ask("POST", "/v1/responses", {"model": "secret-model", "input": "secret"})
    text = server.ask("GET", "/metrics").body.decode()
    assert "secret" not in text.lower()
    samples = server.samples()
    assert samples["antiphon_requests_total POST none 404"] == 3
    assert samples["antiphon_requests_total other none 405"] == 3
    assert samples["antiphon_requests_total GET /v1/responses/{response_id} 404"] == 3


def test_the_requests_in_flight_are_those_being_answered_now() -> None:
    server = Server(FakeProvider())
    assert server.samples()["antiphon_requests_in_flight"] == 1, "the one that asks"


def test_metrics_need_a_key_where_everything_does() -> None:
    server = Server(FakeProvider(), keys=Keys({hash_key("sk-1"): "one"}))
    assert server.ask("GET", "/metrics").status == 401
    reply = server.ask("GET", "/metrics", key="sk-1")
    assert (reply.status, reply.headers["content-type"].partition(";")[0]) == (200, "text/plain")


def test_every_metric_is_documented_with_its_labels() -> None:
    rows = dict(re.findall(r"^\| `(antiphon_\w+)` \| (.*?) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    counted = [each for each in vars(Metrics()).values() if hasattr(each, "_labelnames")]
    names = {each: next(iter(each.collect())) for each in counted}
    assert rows == {
        family.name + ("_total" if family.type == "counter" else ""): ", ".join(
            f"`{name}`" for name in each._labelnames
        )
        for each, family in names.items()
    }
