"""What replaying costs: opening a cassette, memory, requests a second, time to the first byte; beside vcrpy and aimock.

    uv run python bench/cassettes.py [--vcrpy PYTHON] [--aimock CLI.JS] [--json FILE]

`--vcrpy` is a Python that has vcrpy and httpx, `--aimock` the path of `dist/cli.js` of @copilotkit/aimock (npm);
what is not given is left out. Each figure comes from a process of its own; the same requests go to each, in recorded
order, as streamed chat completions of 20 chunks. Ratios are to be read, not the figures: all share the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

SIZES = (10, 1_000, 100_000)
VCRPY_SIZES = (10, 1_000)  # at 100,000 it would load for minutes
SERVED_SIZES = (10, 1_000, 100_000)
MAX_SERVED = 2_000
CHUNKS = 20
CONNECTIONS = 8

ANSWER = [f'data: {{"choices":[{{"index":0,"delta":{{"content":"word{n} "}}}}]}}\n\n' for n in range(CHUNKS - 1)] + [
    "data: [DONE]\n\n"
]


def request_body(number: int) -> bytes:
    """The request that the interaction of that number answers."""
    message = {"role": "user", "content": f"question number {number:06d} of a conversation about the weather"}
    return json.dumps({"model": "gpt-4o-mini", "stream": True, "messages": [message]}).encode()


# --- the same recording for each --------------------------------------------------------------


def write_native(path: Path, count: int) -> None:
    """A cassette."""
    from antiphon.cassettes import Chunk, Interaction, RecordedRequest, RecordedResponse
    from antiphon.cassettes.format import encode_header, encode_interaction

    headers = (("content-type", "text/event-stream"),)
    response = RecordedResponse(status=200, headers=headers, chunks=tuple(Chunk(5.0, c.encode()) for c in ANSWER))
    with path.open("wb") as file:
        file.write(encode_header())
        for number in range(count):
            url = "https://api.openai.com/v1/chat/completions"
            request = RecordedRequest(method="POST", url=url, body=request_body(number))
            file.write(encode_interaction(Interaction(id=str(number), request=request, response=response)))


def write_vcrpy(path: Path, count: int) -> None:
    """As vcrpy writes it; JSON is YAML."""
    answer = {
        "body": {"string": "".join(ANSWER)},
        "headers": {"content-type": ["text/event-stream"]},
        "status": {"code": 200, "message": "OK"},
    }
    with path.open("w") as file:
        file.write("version: 1\ninteractions:\n")
        for number in range(count):
            request = {
                "body": request_body(number).decode(),
                "headers": {},
                "method": "POST",
                "uri": "https://api.openai.com/v1/chat/completions",
            }
            file.write(f"- {json.dumps({'request': request, 'response': answer})}\n")


def write_aimock(path: Path, count: int) -> None:
    """As aimock's fixtures, which are written by hand: the text, from which it makes a stream."""
    content = "".join(f"word{n} " for n in range(CHUNKS - 1))
    fixtures = [
        {"match": {"userMessage": f"question number {number:06d}"}, "response": {"content": content}}
        for number in range(count)
    ]
    path.write_text(json.dumps({"fixtures": fixtures}))


# --- in a process of Python -------------------------------------------------------------------

CHILD = """
import json, resource, sys, time
import httpx
{imports}
path, asked = sys.argv[1], int(sys.argv[2])
bodies = [json.dumps({{"model": "gpt-4o-mini", "stream": True, "messages": [{{"role": "user", "content":
    f"question number {{n:06d}} of a conversation about the weather"}}]}}).encode() for n in range(asked)]
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
started = time.perf_counter()
with {opening} as cassette:
    opened = time.perf_counter() - started
    firsts = []
    started = time.perf_counter()
    with httpx.Client({client}) as client:
        for body in bodies:
            sent = time.perf_counter()
            with client.stream("POST", "https://api.openai.com/v1/chat/completions", content=body) as response:
                chunks = response.iter_raw()
                first = next(chunks)
                firsts.append(time.perf_counter() - sent)
                assert len(first) + sum(map(len, chunks)) > 500
    seconds = time.perf_counter() - started
firsts.sort()
print(json.dumps({{"open_s": opened, "memory_mb": peak() - before, "requests_s": asked / seconds,
    "first_byte_ms": firsts[len(firsts) // 2] * 1000}}))
"""
ANTIPHON_CHILD = CHILD.format(
    imports="from antiphon.cassettes import Cassette",
    opening="Cassette(path, allow_unplayed=True)",
    client="transport=cassette.httpx_transport()",
)
VCRPY_CHILD = CHILD.format(
    imports="import vcr",
    opening="vcr.VCR(record_mode='none', match_on=['method', 'uri', 'body']).use_cassette(path)",
    client="",
)


def measured(python: str, code: str, path: Path, asked: int) -> dict[str, float]:
    """What a process of its own measured."""
    done = subprocess.run([python, "-c", textwrap.dedent(code), str(path), str(asked)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{path.name}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


# --- over HTTP --------------------------------------------------------------------------------


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def cpu_s(pid: int) -> float:
    """The time on a CPU that a process and its children have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


class Connection:
    """One connection, kept alive: each answer is read to the end of its chunked body before the next is asked for.

    Plain sockets, and requests made before: a client that is slower than a server measures itself.
    """

    def __init__(self, port: int, requests: list[bytes]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = iter(requests)
        self._sent_s: float | None = 0.0
        self._tail = b""

    def ask(self) -> bool:
        """Send the next request; False where there is none."""
        request = next(self._requests, None)
        if request is None:
            return False
        self._tail, self._sent_s = b"", time.perf_counter()
        self.socket.sendall(request)
        return True

    def hear(self, firsts: list[float]) -> bool:
        """Take what came; True where the answer is complete."""
        data = self.socket.recv(1 << 18)
        if self._sent_s is not None:
            firsts.append(time.perf_counter() - self._sent_s)
            self._sent_s = None
            assert b" 200 " in data[:20], data
        assert data, "the server hung up"
        self._tail = (self._tail + data)[-8:]
        return self._tail.endswith(b"\r\n0\r\n\r\n")


def request_of(number: int) -> bytes:
    """The request of that number, as it goes over the wire."""
    body = request_body(number)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
    return f"{head}authorization: Bearer x\r\ncontent-type: application/json\r\n\r\n".encode() + body


def load(port: int, count: int) -> tuple[float, list[float]]:
    """So many requests over a few connections: seconds, and those to each first byte."""
    firsts: list[float] = []
    selector = selectors.DefaultSelector()
    for start in range(CONNECTIONS):
        connection = Connection(port, [request_of(number) for number in range(start, count, CONNECTIONS)])
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    started = time.perf_counter()
    asking = [key.data for key in selector.get_map().values() if key.data.ask()]
    left = len(asking)
    while left:
        for key, _ in selector.select():
            if key.data.hear(firsts) and not key.data.ask():
                selector.unregister(key.fd)
                key.data.socket.close()
                left -= 1
    return time.perf_counter() - started, firsts


def memory_mb(pid: int) -> float:
    """The most memory that a process had at once."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def served(command: list[str], port: int, count: int) -> dict[str, float]:
    """What a server measured like, that this command starts."""
    started = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(5_000):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.02)
        opened = time.perf_counter() - started
        before = cpu_s(server.pid)
        seconds, firsts = load(port, count)
        used, memory = cpu_s(server.pid) - before, memory_mb(server.pid)
    finally:
        server.terminate()
        server.wait()
    return {
        "open_s": opened,  # from its start to its first connection
        "memory_mb": memory,
        "requests_s": count / seconds,
        "first_byte_ms": statistics.median(firsts) * 1000,  # of the head, here
        "cpu_ms_a_request": used / count * 1000,
    }


# --- the run ----------------------------------------------------------------------------------


def run(vcrpy: str | None, aimock: str | None, directory: Path) -> dict[str, dict[str, float]]:
    """All figures by what was measured."""
    results: dict[str, dict[str, float]] = {}
    for size in SIZES:
        path = directory / f"native-{size}.jsonl"
        write_native(path, size)
        results[f"Antiphon, {size:,}"] = measured(sys.executable, ANTIPHON_CHILD, path, min(size, 1_000))
        if vcrpy and size in VCRPY_SIZES:
            path = directory / f"vcrpy-{size}.yaml"
            write_vcrpy(path, size)
            results[f"vcrpy, {size:,}"] = measured(vcrpy, VCRPY_CHILD, path, size)
    for size in SERVED_SIZES:
        native, count = directory / f"native-{size}.jsonl", min(size, MAX_SERVED)
        ours = [sys.executable, "-m", "antiphon", "replay", str(native), "--log-level", "error", "--port"]
        results[f"antiphon replay, {size:,}"] = served([*ours, str(port := free_port())], port, count)
        if aimock:
            write_aimock(fixtures := directory / "aimock.json", size)
            theirs = ["node", aimock, "-f", str(fixtures), "--log-level", "silent", "-c", "6", "-p"]
            results[f"aimock, {size:,}"] = served([*theirs, str(port := free_port())], port, count)
    return results


def ratios(results: dict[str, dict[str, float]]) -> dict[str, float]:
    """How many times as fast: requests a second, and for servers CPU time a request too."""
    found = {}
    for size in VCRPY_SIZES:
        if f"vcrpy, {size:,}" in results:
            ours, theirs = results[f"Antiphon, {size:,}"], results[f"vcrpy, {size:,}"]
            found[f"vcrpy, {size:,}: requests a second"] = ours["requests_s"] / theirs["requests_s"]
            found[f"vcrpy, {size:,}: opening"] = theirs["open_s"] / ours["open_s"]
    for size in SERVED_SIZES:
        if theirs := results.get(f"aimock, {size:,}", {}):
            ours = results[f"antiphon replay, {size:,}"]
            found[f"aimock, {size:,}: requests a second"] = ours["requests_s"] / theirs["requests_s"]
            if size >= 1_000:  # below, a clock tick is too long
                found[f"aimock, {size:,}: CPU a request"] = theirs["cpu_ms_a_request"] / ours["cpu_ms_a_request"]
    return found


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="What replaying costs, beside vcrpy and aimock.")
    parser.add_argument("--vcrpy", metavar="PYTHON", help="a Python with vcrpy and httpx")
    parser.add_argument("--aimock", metavar="CLI.JS", help="dist/cli.js of @copilotkit/aimock")
    parser.add_argument("--json", metavar="FILE", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        results = run(arguments.vcrpy, arguments.aimock, Path(directory))
    columns = ["open_s", "memory_mb", "requests_s", "first_byte_ms", "cpu_ms_a_request"]
    print(f"{'':<26}" + "".join(f"{column:>18}" for column in columns))
    for name, figures in results.items():
        shown: list[Any] = [f"{figures[column]:.3f}" if column in figures else "" for column in columns]
        print(f"{name:<26}" + "".join(f"{figure:>18}" for figure in shown))
    for name, ratio in ratios(results).items():
        print(f"times {name}: {ratio:.1f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"results": results, "ratios": ratios(results)}, indent=2))


if __name__ == "__main__":
    main()
