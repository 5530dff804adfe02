"""Two models, of which the first is down: the second answers, and nobody waits. The models are scripts."""

from __future__ import annotations

from antiphon import Agent, Model
from antiphon.clock import FakeClock
from antiphon.events import ErrorInfo, ModelEvent, TurnFailed, TurnStarted
from antiphon.testing import ScriptedProvider, text_turn


def overloaded(retry_after_s: float | None = None) -> list[list[ModelEvent]]:
    """A call that the upstream turns away."""
    error = ErrorInfo(code="upstream_unavailable", message="overloaded", retry_after_s=retry_after_s)
    return [[TurnFailed(turn=0, error=error, retryable=True)]]


def main() -> None:
    """Ask both, then one that wants us to wait."""
    # With models of yours: Agent(["groq/llama-3.3-70b-versatile", "mistral/mistral-small-latest"])
    first = Model("first", provider=ScriptedProvider(overloaded(), name="one"))
    second = Model("second", provider=ScriptedProvider(text_turn("Here I am."), name="two"))
    result = Agent([first, second]).run_sync("Is anybody there?")
    print(result.output, [event.upstream for event in result.events if isinstance(event, TurnStarted)])

    clock = FakeClock()  # so that this example does not wait
    patient = Agent("m", provider=ScriptedProvider(overloaded(20.0), text_turn("Back again.")), clock=clock)
    print(patient.run_sync("Hello?").output, f"after {clock.slept_s[0] // 10:.0f}0 s or a little more")


if __name__ == "__main__":
    main()
