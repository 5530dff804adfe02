"""What the server counts, in Prometheus' text format at ``GET /metrics``.

Every label has few values, all of them known here: routes, methods, statuses, upstreams of the configuration, codes of
`antiphon.errors`, ids of quirks. Names of models come from clients and can be endless; what was said is nobody's
business: neither is a label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from starlette.routing import Route

from antiphon.events import Diagnostic, RunEvent, TurnFailed, TurnFinished, TurnStarted, Usage
from antiphon.server.app import route
from antiphon.server.exchange import Exchange

PATH = "/metrics"

# From a stored response to a run at its default limit.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_COUNTED = frozenset({TurnStarted, Diagnostic, TurnFailed, TurnFinished})
_TEXT = ((b"content-type", prometheus_client.CONTENT_TYPE_LATEST.encode()),)

# When a counter began is what the process says of itself, once.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The counts of one server. Runs are counted when they end, so that a chunk costs nothing."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "antiphon_requests_total",
            "Requests answered; 499 for clients that left first.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._duration_s = Histogram(
            "antiphon_request_duration_seconds",
            "From the head of a request to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._first_event_s = Histogram(
            "antiphon_first_event_seconds",
            "From the head of a request to the first piece of a streamed answer that came from a model.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._in_flight = Gauge("antiphon_requests_in_flight", "Requests being answered now.", registry=registry)
        self._calls = Counter(
            "antiphon_upstream_calls_total", "Model calls, each attempt by itself.", ("upstream",), registry=registry
        )
        self._failures = Counter(
            "antiphon_upstream_failures_total",
            "Model calls that failed, by the code of the error; http_429 and the like where chat is passed through.",
            ("upstream", "code"),
            registry=registry,
        )
        self._tokens = Counter(
            "antiphon_tokens_total",
            "Tokens as upstreams count them; cached ones are among input, reasoning among output.",
            ("upstream", "kind"),
            registry=registry,
        )
        self._diagnostics = Counter(
            "antiphon_diagnostics_total",
            "What was repaired, inferred or dropped.",
            ("quirk", "upstream"),
            registry=registry,
        )

    def routes(self) -> list[Route]:
        """What is served, and by what."""
        return [route("GET", PATH, self.show)]

    async def show(self, exchange: Exchange) -> None:
        """``GET /metrics``."""
        await exchange.respond(200, prometheus_client.generate_latest(self._registry), _TEXT)

    def watch_in_flight(self, count: Callable[[], float]) -> None:
        """Ask ``count`` for the requests being answered, each time somebody looks."""
        self._in_flight.set_function(count)

    def request_ended(self, exchange: Exchange, status: int, took_s: float) -> None:
        """Count a request; ``status`` is that of its log line."""
        place = exchange.route or "none"
        method = exchange.method if exchange.method in _METHODS else "other"
        self._requests.labels(place, method, status).inc()
        self._duration_s.labels(place).observe(took_s)
        if exchange.first_event_s is not None:
            self._first_event_s.labels(place).observe(exchange.first_event_s)

    def call_passed_on(self, upstream: str, failure: str | None = None) -> None:
        """Count a model call that nobody here read; ``failure`` is its code."""
        self._calls.labels(upstream).inc()
        if failure is not None:
            self._failures.labels(upstream, failure).inc()

    def run_ended(self, events: Iterable[RunEvent]) -> None:
        """Count what is in the journal of a run, once it has ended, in whatever way."""
        upstream = ""
        for event in [event for event in events if type(event) in _COUNTED]:
            match event:
                case TurnStarted():
                    upstream = event.upstream
                    self._calls.labels(upstream).inc()
                case Diagnostic():
                    self._diagnostics.labels(event.quirk, upstream).inc()
                case TurnFailed():
                    self._failures.labels(upstream, event.error.code).inc()
                    self._count_tokens(upstream, event.usage)
                case TurnFinished():
                    self._count_tokens(upstream, event.usage)

    def _count_tokens(self, upstream: str, usage: Usage | None) -> None:
        if usage is None:
            return
        for kind, count in (
            ("input", usage.input_tokens),
            ("cached", usage.cached_tokens),
            ("output", usage.output_tokens),
            ("reasoning", usage.reasoning_tokens),
        ):
            self._tokens.labels(upstream, kind).inc(count)
