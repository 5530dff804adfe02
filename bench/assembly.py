"""What it costs to make events of a recorded chat stream, against the least and against the most that is usual.

The least is one untyped ``msgspec.json.decode`` of each chunk's data; the most is the ``openai`` SDK, with its own
reader of server-sent events and its own accumulator. All take the same streams in the same process, interleaved; see
bench/README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import msgspec
import openai
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from antiphon.assembly.chat import ChatAssembler
from antiphon.cassettes import read
from antiphon.cassettes.endpoints import endpoint, is_stream
from antiphon.events import RunFinished, RunStarted, TurnStarted
from antiphon.rendering.responses import ResponsesRenderer, sse
from antiphon.sse import SSEDecoder

RECORDINGS = Path(__file__).parents[1] / "examples" / "recordings"
GENERATED_CHUNKS = 1000
WINDOW_S = 0.05  # how long a target is measured at a time, at the least

STARTED = RunStarted(run="resp_" + "0" * 32, created_at_s=0, model="m", request={"model": "m"})
TURN = TurnStarted(turn=0, interaction="int_0", upstream="u", model="m")
ENDED = RunFinished(status="completed", finished_at_s=1)
CLIENT = openai.OpenAI(api_key="none", base_url="http://bench.test/v1")

AIM_FLOOR, AIM_SDK = 4.0, 20.0


class Stream(NamedTuple):
    """A chat stream: its bodies as they are read off a socket, and the data of its chunks for the floor."""

    name: str
    bodies: list[list[bytes]]
    chunks: list[bytes]


class Target(NamedTuple):
    """Something that takes a stream from its reads to its end."""

    name: str
    take: Callable[[Stream], None]


# --- streams ------------------------------------------------------------------------------------


def envelope(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """A chunk as OpenAI sends it."""
    return {
        "id": "chatcmpl-9fK3n2QxT8Zb7LwYcVd1Rr0Ms4HpE",
        "object": "chat.completion.chunk",
        "created": 1763670000,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        "usage": None,
        "obfuscation": "aB3x",
    }


def text_chunks() -> Iterator[dict[str, Any]]:
    """An answer in text, a token a chunk."""
    yield envelope({"role": "assistant", "content": "", "refusal": None})
    for number in range(GENERATED_CHUNKS):
        yield envelope({"content": f" token{number % 100}"})
    yield envelope({}, "stop")


def reasoning_chunks() -> Iterator[dict[str, Any]]:
    """Thoughts, then an answer, with both fields on every delta as DeepSeek has it."""
    for number in range(GENERATED_CHUNKS):
        thinks = number < GENERATED_CHUNKS // 2
        yield envelope({"content": None if thinks else " word", "reasoning_content": " hm" if thinks else None})
    yield envelope({"content": "", "reasoning_content": None}, "stop")


def call_chunks() -> Iterator[dict[str, Any]]:
    """Two parallel calls, their arguments in small pieces."""
    yield envelope({"role": "assistant", "content": None})
    for index in range(2):
        function = {"name": f"write_{index}", "arguments": ""}
        yield envelope(
            {"tool_calls": [{"index": index, "id": f"call_{index}", "type": "function", "function": function}]}
        )
        for piece in ['{"text":"', *[" words"] * (GENERATED_CHUNKS // 2 - 2), '"}']:
            yield envelope({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield envelope({}, "tool_calls")


def generated(name: str, chunks: Iterator[dict[str, Any]]) -> tuple[str, list[bytes]]:
    """A stream of chunks as one body."""
    return name, [b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"]


def recorded(path: Path) -> Iterator[bytes]:
    """The bodies of the chat streams in a recording, as far as it kept them as bytes."""
    for interaction in read(path):
        response = interaction.response
        is_chat = interaction.fidelity != "parsed" and endpoint(interaction) == "/chat/completions"
        if is_chat and response and response.status == 200 and is_stream(response):
            yield response.body


def streams(paths: list[Path]) -> Iterator[Stream]:
    """What is measured, each with every event in a read of its own, as live models send them, and in large reads."""
    files = paths or sorted(path for path in RECORDINGS.rglob("*") if path.suffix in {".yaml", ".json"})
    bodies = [
        generated("text", text_chunks()),
        generated("reasoning", reasoning_chunks()),
        generated("tool calls", call_chunks()),
        ("recordings", [body for path in files for body in recorded(path)]),
    ]
    for name, each in bodies:
        chunks = [event.data for body in each for event in SSEDecoder().feed(body) if event.data[:1] == b"{"]
        for shape, cut in (("an event a read", by_event), ("16 kB reads", by_size)):
            yield Stream(f"{name}, {shape}", [list(cut(body)) for body in each], chunks)


def by_event(body: bytes) -> Iterator[bytes]:
    """The body cut behind each event."""
    *events, rest = body.split(b"\n\n")
    yield from (event + b"\n\n" for event in events)
    if rest:
        yield rest


def by_size(body: bytes) -> Iterator[bytes]:
    """The body cut as a busy socket cuts it."""
    return (body[at : at + 16384] for at in range(0, len(body), 16384))


# --- targets ------------------------------------------------------------------------------------


def decode_only(stream: Stream) -> None:
    """The floor: nothing but the JSON of each chunk, already cut out of its stream."""
    for data in stream.chunks:
        DECODE(data)


DECODE = msgspec.json.decode


def assemble(stream: Stream) -> None:
    """Bytes to events."""
    for body in stream.bodies:
        assembler = ChatAssembler()
        for data in body:
            assembler.feed(data)
        assembler.finish()


def assemble_and_render(stream: Stream) -> None:
    """Bytes to events to the bytes of a Responses stream."""
    for body in stream.bodies:
        assembler, renderer = ChatAssembler(), ResponsesRenderer()
        sse(renderer.render([STARTED, TURN]))
        for data in body:
            sse(renderer.render(assembler.feed(data)))
        sse(renderer.render([*assembler.finish(), ENDED]))


def accumulate_with_the_sdk(stream: Stream) -> None:
    """Bytes to the SDK's snapshot."""
    for body in stream.bodies:
        response = httpx2.Response(200, content=iter(body), request=httpx2.Request("POST", "http://bench.test"))
        state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
        for chunk in openai.Stream(cast_to=ChatCompletionChunk, response=response, client=CLIENT):
            state.handle_chunk(chunk)


FLOOR = Target("msgspec.json.decode", decode_only)
ASSEMBLY = Target("assembly", assemble)
RENDERED = Target("assembly + rendering", assemble_and_render)
SDK = Target("openai SDK", accumulate_with_the_sdk)
TARGETS = [FLOOR, ASSEMBLY, RENDERED, SDK]


# --- measuring ----------------------------------------------------------------------------------


def us_per_chunk(target: Target, stream: Stream) -> float:
    """CPU of this thread for one chunk, the stream taken as often as the window asks."""
    gc.collect()
    began_ns, rounds, took_ns = time.thread_time_ns(), 0, 0
    while took_ns < WINDOW_S * 1e9:
        target.take(stream)
        rounds += 1
        took_ns = time.thread_time_ns() - began_ns
    return took_ns / 1000 / rounds / len(stream.chunks)


Results = dict[str, dict[str, list[float]]]


def measure(measured: list[Stream], repeats: int) -> Results:
    """Microseconds a chunk, by stream and target; what disturbs the machine disturbs all targets."""
    results: Results = {stream.name: {target.name: [] for target in TARGETS} for stream in measured}
    order = random.Random(7)
    for stream in measured:
        usable = []
        for target in TARGETS:  # once before it counts
            with contextlib.suppress(Exception):
                target.take(stream)
                usable.append(target)
        for _ in range(repeats):
            for target in order.sample(usable, len(usable)):
                results[stream.name][target.name].append(us_per_chunk(target, stream))
    return results


def ratio(over: list[float], under: list[float]) -> list[float]:
    """One ratio for each repetition, in order of size."""
    return sorted(one / other for one, other in zip(over, under, strict=False))


def shown(ratios: list[float]) -> str:
    """Median and range."""
    if not ratios:
        return "-"
    return f"{statistics.median(ratios):.1f} [{ratios[0]:.1f}–{ratios[-1]:.1f}]"


def table(results: Results) -> str:
    """The figures for people."""
    lines = [
        f"{'stream':<30}{'target':<24}{'µs/chunk':>9}{'chunks/s':>12}  {'x floor':<18}{'SDK x':<18}",
        f"{'':<30}{'':<24}{'':>9}{'':>12}  {f'aim ≤ {AIM_FLOOR:.0f}':<18}{f'aim ≥ {AIM_SDK:.0f}':<18}",
    ]
    for name, by_target in results.items():
        for target, figures in by_target.items():
            if not figures:
                lines.append(f"{name:<30}{target:<24} cannot read this stream")
                continue
            us = statistics.median(figures)
            against = shown(ratio(figures, by_target[FLOOR.name]))
            sdk = shown(ratio(by_target[SDK.name], figures))
            lines.append(f"{name:<30}{target:<24}{us:>9.2f}{1e6 / us:>12,.0f}  {against:<18}{sdk:<18}")
        lines.append("")
    return "\n".join(lines)


def missed(results: Results) -> list[str]:
    """Where assembly is not what it aims at."""
    found = []
    for name, by_target in results.items():
        floor = statistics.median(ratio(by_target[ASSEMBLY.name], by_target[FLOOR.name]))
        sdk = ratio(by_target[SDK.name], by_target[ASSEMBLY.name])
        if floor > AIM_FLOOR:
            found.append(f"{name}: {floor:.1f} x the floor")
        if sdk and statistics.median(sdk) < AIM_SDK:
            found.append(f"{name}: the SDK takes {statistics.median(sdk):.1f} x as long")
    return found


def main() -> int:
    """Measure and show; 1 if an aim was missed and ``--check`` asks."""
    parser = argparse.ArgumentParser(prog="scripts/bench assembly", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recording", nargs="*", type=Path, help="recordings to use instead of those in examples/")
    parser.add_argument("--repeats", type=int, default=7, help="repetitions of everything (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if the aim is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every measurement to this file")
    options = parser.parse_args()
    results = measure(list(streams(options.recording)), options.repeats)
    print(table(results))
    for line in missed(results):
        print(f"missed: {line}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if options.check and missed(results) else 0


if __name__ == "__main__":
    sys.exit(main())
