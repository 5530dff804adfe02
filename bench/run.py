"""CPU per chunk of Antiphon and its neighbours, all in front of the same upstream, interleaved in one run.

See bench/README.md for what the figures mean. Linux only: CPU time is read from ``/proc/PID/task/*/schedstat``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BENCH = Path(__file__).parent
BUILD = BENCH / "build"
PYTHON = sys.executable
BASELINES = ("nginx", "byte pump")

CHAT_BODY = {
    "model": "fake-model",
    "stream": True,
    "stream_options": {"include_usage": True},
    "messages": [{"role": "user", "content": "Say something."}],
}
RESPONSES_BODY = {"model": "fake-model", "stream": True, "input": "Say something."}


class Target(NamedTuple):
    """Something that stands before the upstream. The command may name {port}, {upstream} and {dir}."""

    name: str
    command: tuple[str, ...]
    path: str = "/v1/chat/completions"
    body: dict[str, Any] = CHAT_BODY


class Shape(NamedTuple):
    """How streams come: 100 chunks each, ``per_write`` at a time, ``delay_us`` between writes, to so many clients."""

    name: str
    clients: int
    delay_us: int
    per_write: int
    window_s: float


class Measurement(NamedTuple):
    """One target under one shape, once."""

    us_per_chunk: float
    first_byte_p50_ms: float
    latency_p99_ms: float
    streams_per_s: float


ANTIPHON = (
    str(Path(PYTHON).parent / "antiphon"),
    *("serve", "--upstream", "http://127.0.0.1:{upstream}/v1"),
    *("--host", "127.0.0.1", "--port", "{port}", "--data-dir", "{dir}/data"),
)

RECORDER = (
    str(Path(PYTHON).parent / "antiphon"),
    *("record", "--upstream", "http://127.0.0.1:{upstream}", "--cassette", "{dir}/run.jsonl"),
    *("--port", "{port}", "--log-level", "warning"),
)

TARGETS = [
    Target("nginx", ("nginx", "-p", "{dir}", "-c", "{dir}/nginx.conf")),
    Target("byte pump", (PYTHON, str(BENCH / "byte_pump.py"), "{port}", "{upstream}")),
    Target("Antiphon, chat passthrough", ANTIPHON),
    Target("Antiphon, proxy", (PYTHON, str(BENCH / "live_proxy.py"), "{port}", "{upstream}")),
    Target("Antiphon, proxy that records", RECORDER),
    Target("Antiphon, /v1/responses", ANTIPHON, path="/v1/responses", body=RESPONSES_BODY),
    Target("Starlette + openai SDK", (PYTHON, str(BENCH / "gateway_starlette.py"), "{port}", "{upstream}")),
]

CHUNKS = 100
SHAPES = [
    Shape("paced16", clients=16, delay_us=20_000, per_write=1, window_s=1.5),
    Shape("fast64", clients=64, delay_us=5_000, per_write=1, window_s=0.9),
    Shape("burst16", clients=16, delay_us=0, per_write=CHUNKS, window_s=0.8),
    Shape("sat16", clients=16, delay_us=0, per_write=1, window_s=0.8),
]


class CannotRun(Exception):
    """What is missing on this machine, and how to get it; or what a target did instead of answering."""


# --- processes ----------------------------------------------------------------------------------


def build(name: str) -> Path:
    """The compiled program, made again only if its source is newer.

    Raises:
        CannotRun: there is no C compiler.
    """
    source, program = BENCH / f"{name}.c", BUILD / name
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    candidates = (os.environ.get("CC", ""), "gcc", "cc", "clang")
    compiler = next((found for candidate in candidates if (found := shutil.which(candidate))), None)
    if compiler is None:
        raise CannotRun("no C compiler found: install gcc (on Debian: apt install gcc libc6-dev), or set CC")
    BUILD.mkdir(exist_ok=True)
    subprocess.run([compiler, "-O2", "-o", program, source], check=True)
    return program


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started inside runs on that core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A server: started, waited for until it listens, ended with the block."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.port = port
        self._log = log
        with log.open("wb") as output:
            self._popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def wait_until_listening(self, limit_s: float = 20.0) -> None:
        """Return as soon as a connection is accepted.

        Raises:
            CannotRun: it ended first, or took too long; with its last words.
        """
        give_up = time.monotonic() + limit_s
        while time.monotonic() < give_up and self._popen.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        raise CannotRun(f"does not listen: {self._last_words()}")

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace").strip()[-500:] or "no output"

    def cpu_ns(self) -> int:
        """Time on a CPU so far, of all threads that are alive.

        Raises:
            CannotRun: the process has ended.
        """
        if self._popen.poll() is not None:
            raise CannotRun(f"ended with {self._popen.returncode}: {self._last_words()}")
        total = 0
        for task in Path(f"/proc/{self._popen.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a thread may end while we look
                total += int((task / "schedstat").read_text().split()[0])
        return total

    def stop(self) -> None:
        """Ask it to end; after two seconds, end it."""
        self._popen.terminate()
        try:
            self._popen.wait(2)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


class Running(NamedTuple):
    """A target that has answered."""

    target: Target
    process: Process
    body: Path


def start(target: Target, upstream_port: int, directory: Path, core: int) -> Running:
    """Start a target on its core and see that it answers.

    Raises:
        CannotRun: it is not installed, or does not listen.
    """
    directory.mkdir()
    port = free_port()
    fill = {"port": port, "upstream": upstream_port, "dir": directory}
    command = [part.format(**fill) for part in target.command]
    executable = shutil.which(command[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if executable is None:
        raise CannotRun(f"{command[0]} is not installed")
    config = (BENCH / "nginx.conf").read_text()
    for key, value in fill.items():
        config = config.replace(f"@{key.upper()}@", str(value))
    (directory / "nginx.conf").write_text(config)
    body = directory / "body.json"
    body.write_text(json.dumps(target.body))
    with on_core(core):
        process = Process([executable, *command[1:]], port, directory / "log")
    try:
        process.wait_until_listening()
    except CannotRun:
        process.stop()
        raise
    return Running(target, process, body)


# --- measuring ----------------------------------------------------------------------------------


def upstream_chunks(port: int, **shape: int) -> int:
    """How many chunks the upstream has sent; with arguments, its shape is set too."""
    query = "&".join(f"{key}={value}" for key, value in shape.items())
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/ctl?{query}") as answer:
        sent: int = json.load(answer)["chunks"]
        return sent


def measure(running: Running, shape: Shape, upstream_port: int, load: Path) -> Measurement:
    """Put load on a target until the window is over and every stream has ended.

    Raises:
        CannotRun: an answer was not 200, was cut, or did not bring every chunk.
    """
    sent = upstream_chunks(upstream_port, n=CHUNKS, d=shape.delay_us, k=shape.per_write)
    cpu_ns = running.process.cpu_ns()
    request = [str(running.process.port), running.target.path, str(running.body)]
    command = [str(load), *request, str(shape.clients), str(shape.window_s)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CannotRun(done.stderr.strip())
    figures = json.loads(done.stdout)
    cpu_ns = running.process.cpu_ns() - cpu_ns
    sent = upstream_chunks(upstream_port) - sent
    if figures["errors"] or figures["chunks"] != sent:
        raise CannotRun(f"{shape.name}: {sent} chunks sent, {done.stdout.strip()} {done.stderr.strip()[:500]}")
    return Measurement(
        us_per_chunk=cpu_ns / 1000 / sent,
        first_byte_p50_ms=figures["first_byte_p50_ms"],
        latency_p99_ms=figures["latency_p99_ms"],
        streams_per_s=figures["requests"] / figures["seconds"],
    )


Results = dict[str, dict[str, list[Measurement]]]  # shape -> target -> one measurement for each repetition


def measure_all(targets: list[Running], shapes: list[Shape], repeats: int, upstream_port: int, load: Path) -> Results:
    """Every target under every shape, interleaved: what disturbs the machine disturbs all of them."""
    results: Results = {shape.name: {} for shape in shapes}
    failed: set[str] = set()
    for running in targets:
        warm_up = SHAPES[-1]._replace(clients=4, window_s=0.3)
        with reported(running.target.name, failed):
            measure(running, warm_up, upstream_port, load)
    for repetition in range(repeats):
        for shape in shapes:
            progress(f"repetition {repetition + 1} of {repeats}: {shape.name}")
            turn = repetition % len(targets)
            for running in targets[turn:] + targets[:turn]:
                name = running.target.name
                if name not in failed:
                    with reported(name, failed):
                        measured = measure(running, shape, upstream_port, load)
                        results[shape.name].setdefault(name, []).append(measured)
    progress("")
    return {
        shape: {name: runs for name, runs in by_target.items() if name not in failed}
        for shape, by_target in results.items()
    }


@contextlib.contextmanager
def reported(name: str, failed: set[str]) -> Iterator[None]:
    """A target that cannot run is named, and left out; the others go on."""
    try:
        yield
    except CannotRun as error:
        failed.add(name)
        print(f"left out: {name}: {error}", file=sys.stderr)


# --- showing ------------------------------------------------------------------------------------


def progress(text: str) -> None:
    """Show what is going on, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def spread(values: list[float]) -> str:
    """Median with least and greatest, to three significant digits or the point."""
    return "{} ({}-{})".format(*(figure(value) for value in (statistics.median(values), min(values), max(values))))


def figure(value: float) -> str:
    """A number without digits that mean nothing."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def ratios(measured: list[Measurement], baseline: list[Measurement]) -> list[float]:
    """CPU per chunk against the baseline's of the same repetition."""
    return [one.us_per_chunk / base.us_per_chunk for one, base in zip(measured, baseline, strict=True)]


def table(shape: Shape, by_target: dict[str, list[Measurement]]) -> str:
    """One shape's figures as text."""
    pace = f"{shape.delay_us / 1000:g} ms between writes" if shape.delay_us else "no delay"
    row = "  {:<28}{:>22}{:>22}{:>22}{:>15}{:>11}".format
    lines = [
        f"{shape.name}: {shape.clients} clients, {shape.per_write} of {CHUNKS} chunks a write, {pace}",
        row("median (min-max)", "us/chunk", "x nginx", "x byte pump", "first byte ms", "streams/s"),
    ]
    for name, measured in by_target.items():
        cpu = spread([one.us_per_chunk for one in measured])
        against = [
            spread(ratios(measured, by_target[baseline])) if baseline in by_target else "-" for baseline in BASELINES
        ]
        first_byte_ms = figure(statistics.median(one.first_byte_p50_ms for one in measured))
        rate = figure(statistics.median(one.streams_per_s for one in measured))
        lines.append(row(name, cpu, *against, first_byte_ms, rate))
    return "\n".join(lines)


def as_json(results: Results) -> dict[str, Any]:
    """Every single measurement, and where and when it was made."""
    return {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": sys.version.split()[0],
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "shapes": [shape._asdict() for shape in SHAPES],
        "results": {
            shape: {name: [one._asdict() for one in measured] for name, measured in by_target.items()}
            for shape, by_target in results.items()
        },
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="CPU per chunk, as ratios to nginx and a byte pump."
    )
    parser.add_argument("--repeats", type=int, default=3, help="repetitions of everything (default: %(default)s)")
    parser.add_argument(
        "--longer", type=float, default=1.0, metavar="FACTOR", help="make every window that much longer"
    )
    parser.add_argument(
        "--shape", action="append", choices=[shape.name for shape in SHAPES], help="only this one (repeatable)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every measurement to this file")
    return parser.parse_args()


def run(options: argparse.Namespace) -> Results:
    """Start everything, measure, stop everything."""
    upstream_program, load = build("fastup"), build("fastload")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("only one core: target, upstream and load share it, and the figures are worth little", file=sys.stderr)
    os.sched_setaffinity(0, {cores[-1]})  # and with it the upstream and the load client
    chosen = [shape for shape in SHAPES if not options.shape or shape.name in options.shape]
    shapes = [shape._replace(window_s=shape.window_s * options.longer) for shape in chosen]
    with tempfile.TemporaryDirectory(prefix="antiphon-bench-") as scratch, contextlib.ExitStack() as cleanup:
        directory = Path(scratch)
        upstream_port = free_port()
        upstream = Process([str(upstream_program), str(upstream_port)], upstream_port, directory / "upstream.log")
        cleanup.callback(upstream.stop)
        upstream.wait_until_listening()
        targets: list[Running] = []
        for number, target in enumerate(TARGETS):
            with reported(target.name, set()):
                running = start(target, upstream_port, directory / str(number), cores[0])
                cleanup.callback(running.process.stop)
                targets.append(running)
        return measure_all(targets, shapes, options.repeats, upstream_port, load)


def main() -> int:
    """Measure and show; 1 if a target of ours could not be measured."""
    options = arguments()
    if sys.platform != "linux":
        print("scripts/bench needs Linux: it reads CPU time from /proc", file=sys.stderr)
        return 2
    started = time.monotonic()
    try:
        results = run(options)
    except CannotRun as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 2
    for shape in SHAPES:
        if shape.name in results:
            print(table(shape, results[shape.name]), end="\n\n")
    print(f"{options.repeats} repetitions in {time.monotonic() - started:.0f} s, load average {os.getloadavg()[0]:.1f}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(as_json(results), indent=1) + "\n")
    measured = set.intersection(*(set(by_target) for by_target in results.values()))
    return 0 if {target.name for target in TARGETS if target.command is ANTIPHON} <= measured else 1


if __name__ == "__main__":
    sys.exit(main())
