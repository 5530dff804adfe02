"""Rooms only look down, the pure ones stay pure, and time and identity come from one place.

What counts is what is written, wherever it is written: imports inside functions and under ``TYPE_CHECKING`` are where
cycles hide. The second half of the file plants violations in a small tree and sees that each one is found.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "antiphon"
SRC = Path(__file__).parents[1] / "src" / PACKAGE

# Bottom to top. A room imports from the floors below it only; rooms on one floor do not see each other.
FLOORS = [
    {"errors", "clock"},
    {"wire", "sse", "transport"},
    {"dialects"},
    {"events"},
    {"assembly", "rendering", "translation"},
    {"cassettes", "config", "sealing"},
    {"providers", "store"},
    {"retrieval"},
    {"tools"},
    {"agent"},
    {"server"},
    {"console"},
    {"cli", "testing"},
    {"pytest_plugin", "__main__"},
]
FLOOR_OF = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}

# Rooms and modules that compute: the same input gives the same output, on any machine, at any time. They see each
# other and nothing else of the package (the floors alone would let them see the clock, or `agent.machine` the loop).
PURE = {
    *("errors", "sse", "wire", "transport", "dialects", "events", "assembly", "rendering", "translation"),
    *("agent.machine", "agent.effects", "agent.limits"),
    *("agent.gate", "agent.truncation", "agent.approvals", "agent.prices", "agent.retrying"),
    *("retrieval.filters", "retrieval.terms", "retrieval.ranking"),
}

# All that a pure module may import from outside. A list of what is allowed, because a list of what is not would
# forget one: a new entry needs only to be free of I/O, clock and randomness.
PURE_LIBRARIES = {
    *("__future__", "abc", "ast", "base64", "binascii", "bisect", "codecs", "collections", "contextlib", "copy"),
    *("dataclasses", "datetime", "difflib", "enum", "functools", "graphlib", "hashlib", "heapq", "html", "http"),
    *("itertools", "json", "math", "msgspec", "numbers", "operator", "re", "reprlib", "string", "struct", "textwrap"),
    *("types", "typing", "unicodedata", "urllib.parse"),
    "calendar.timegm",  # arithmetic on a date; its neighbours print calendars
    "fnmatch.translate",  # its neighbours ask which system this is
}
IMPURE_BUILTINS = {"open", "print", "input", "breakpoint", "exec", "eval", "compile", "__import__"}

# What gives time or identity: modules, and attributes of things that a module may have for other reasons
# (`datetime.now`, `os.urandom`). An event loop gives its time by a call; a field may well be named `time`.
CLOCK_LIBRARIES = {"time", "secrets", "random", "uuid"}
CLOCK_ATTRIBUTES = {"now", "utcnow", "today", "urandom", "getrandom"}
CLOCK_CALLS = {"time"}
# Module -> why it may do so. Waiting needs no entry: `asyncio.sleep` and `asyncio.timeout` read no clock we show.
CLOCK_EXCEPTIONS: dict[str, str] = {
    "clock": "it is the one place",
}


def modules(src: Path) -> Iterator[tuple[str, Path, ast.Module]]:
    """Every module below ``src``: its dotted name without the package's, its file, its tree."""
    for path in sorted(src.rglob("*.py")):
        parts = path.relative_to(src).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, path, ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(tree: ast.Module, path: Path, src: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of all that a module imports, in whatever way it is written."""
    here = [PACKAGE, *path.relative_to(src).parts[:-1]]
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from ((node.lineno, alias.name) for alias in node.names)
            case ast.ImportFrom():
                base = here[: len(here) - node.level + 1] if node.level else []
                base = base + (node.module.split(".") if node.module else [])
                yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)
            # `import antiphon.errors` binds `antiphon`, and with it every room that anybody has imported.
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if name == PACKAGE:
                yield node.lineno, f"{PACKAGE}.{attr}"
            case ast.Call(args=[ast.Constant(value=str(name)), *_]) if _last_name(node.func) in {
                "import_module",
                "__import__",
            }:
                yield node.lineno, name


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _is_in(name: str, names: set[str]) -> bool:
    """Whether a dotted name, or anything it is inside of, is among ``names``."""
    parts = name.split(".")
    return any(".".join(parts[:end]) in names for end in range(1, len(parts) + 1))


def rooms_without_a_floor(src: Path) -> set[str]:
    return {name.split(".")[0] for name, _, _ in modules(src)} - {""} - FLOOR_OF.keys()


def looks_upward(src: Path) -> list[str]:
    """Imports of rooms on the same floor or above, and of the root package, which stands above them all."""
    found = []
    for name, path, tree in modules(src):
        room = name.split(".")[0]
        for line, target in imports(tree, path, src) if room else ():
            package, _, rest = target.partition(".")
            other = rest.split(".")[0]
            if package != PACKAGE or other in {room, "__version__"}:
                continue
            if other not in FLOOR_OF:
                found.append(f"{path}:{line}: {name} imports {target}: import from the room that defines it")
            elif FLOOR_OF[other] >= FLOOR_OF[room]:
                found.append(f"{path}:{line}: {name} looks up at {other}")
    return found


def impurities(src: Path) -> list[str]:
    """What pure modules do beyond computing."""
    found = []
    for name, path, tree in modules(src):
        if not _is_in(name, PURE):
            continue
        for line, target in imports(tree, path, src):
            package, _, rest = target.partition(".")
            if package == PACKAGE and rest != "__version__" and not _is_in(rest, PURE):
                found.append(f"{path}:{line}: {name} is pure and imports {target}, which is not")
            elif package != PACKAGE and not _is_in(target, PURE_LIBRARIES):
                found.append(f"{path}:{line}: {name} is pure and imports {target}")
        found += [f"{path}:{line}: {name} is pure and has {what}" for line, what in _impure_code(tree)]
    return found


def _impure_code(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.AsyncFunctionDef() | ast.AsyncFor() | ast.AsyncWith() | ast.Await():
                yield node.lineno, f"an {type(node).__name__}"
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                if any(part.is_async for part in node.generators):
                    yield node.lineno, "an asynchronous comprehension"
            case ast.Name(id=name, ctx=ast.Load()) if name in IMPURE_BUILTINS:
                yield node.lineno, f"{name}()"


def other_clocks(src: Path) -> list[str]:
    """Where time or identity is drawn from anything but `antiphon.clock`."""
    found = []
    for name, path, tree in modules(src):
        if name in CLOCK_EXCEPTIONS:
            continue
        for line, target in imports(tree, path, src):
            if target.split(".")[0] in CLOCK_LIBRARIES or target in {"os.urandom", "os.getrandom"}:
                found.append(f"{path}:{line}: {name} imports {target}: take a Clock or Ids instead")
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(attr=attr) if attr in CLOCK_ATTRIBUTES:
                    found.append(f"{path}:{node.lineno}: {name} uses .{attr}: take a Clock or Ids instead")
                case ast.Call(func=ast.Attribute(attr=attr)) if attr in CLOCK_CALLS:
                    found.append(f"{path}:{node.lineno}: {name} calls .{attr}(): take a Clock instead")
    return found


# --- the project ------------------------------------------------------------------------------


def test_every_room_stands_on_a_floor() -> None:
    assert rooms_without_a_floor(SRC) == set()


def test_rooms_only_look_down() -> None:
    assert looks_upward(SRC) == []


def test_pure_rooms_only_compute() -> None:
    assert impurities(SRC) == []


def test_time_and_identity_come_from_the_clock() -> None:
    assert other_clocks(SRC) == []


def test_exceptions_are_given_to_modules_that_exist() -> None:
    assert CLOCK_EXCEPTIONS.keys() <= {name for name, _, _ in modules(SRC)}


# --- the guards themselves ----------------------------------------------------------------------


def plant(tmp_path: Path, file: str, code: str) -> Path:
    src = tmp_path / PACKAGE
    path = src / file
    path.parent.mkdir(parents=True)
    path.write_text(code, encoding="utf-8")
    return src


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("sse.py", "from antiphon.events import RunStarted"),
        ("sse.py", "import antiphon.server.app"),
        ("sse.py", "from .agent.loop import execute"),
        ("store/sqlite.py", "from ..server import app"),
        ("sse.py", "def decode():\n    from antiphon.events import RunStarted"),
        ("sse.py", "async def decode():\n    if True:\n        import antiphon.events as e"),
        ("sse.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from antiphon.events import RunStarted"),
        ("assembly/chat.py", "from antiphon.rendering import responses"),
        ("store/sqlite.py", "from antiphon import providers"),
        ("server/app.py", "from antiphon import Agent"),
        ("server/app.py", "from antiphon import *"),
        ("server/app.py", "from .. import Agent"),
        ("server/app.py", "import antiphon"),
        ("sse.py", "import antiphon.errors\nrun = antiphon.agent.loop.execute"),
        ("sse.py", "import importlib\napp = importlib.import_module('antiphon.server.app')"),
        ("sse.py", "app = __import__('antiphon.server.app')"),
    ],
)
def test_a_planted_upward_import_is_found(tmp_path: Path, file: str, code: str) -> None:
    assert looks_upward(plant(tmp_path, file, code))


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("server/app.py", "from antiphon import __version__"),
        ("server/app.py", "from antiphon.agent.loop import execute\nfrom .errors import status_of\nfrom . import auth"),
        ("events.py", "import antiphon.errors\nclass Missing(antiphon.errors.NotFound): ..."),
        ("__init__.py", "from antiphon.agent import Agent"),
        ("store/sqlite.py", "import sqlite3\nfrom antiphony.server import app"),
    ],
)
def test_a_look_downward_is_not_found(tmp_path: Path, file: str, code: str) -> None:
    assert looks_upward(plant(tmp_path, file, code)) == []


def test_a_planted_room_without_a_floor_is_found(tmp_path: Path) -> None:
    assert rooms_without_a_floor(plant(tmp_path, "helpers/strings.py", "")) == {"helpers"}


@pytest.mark.parametrize(
    "code",
    [
        "async def feed(): ...",
        "class Machine:\n    def feed(self):\n        async def inner(): ...",
        "rows = (row async for row in source)",
        *(f"import {name}" for name in ("time", "os", "io", "socket", "asyncio", "threading", "pathlib", "uuid")),
        *(f"def feed():\n    from {name} import something" for name in ("random", "secrets", "os.path", "urllib")),
        "import urllib.request",
        "def feed(path):\n    return open(path)",
        "def feed():\n    print('here')",
        "from antiphon.clock import Clock",
        "from antiphon.agent.loop import execute",
    ],
)
@pytest.mark.parametrize("file", ["assembly/chat.py", "agent/machine.py", "sse.py"])
def test_a_planted_impurity_is_found(tmp_path: Path, file: str, code: str) -> None:
    assert impurities(plant(tmp_path, file, code))


def test_computing_is_not_an_impurity(tmp_path: Path) -> None:
    code = (
        "import re\nfrom urllib.parse import urlsplit\nfrom antiphon.events import RunStarted\nopened = re.compile('')"
    )
    assert impurities(plant(tmp_path, "assembly/chat.py", code)) == []


def test_rooms_that_do_things_may_do_them(tmp_path: Path) -> None:
    code = "import asyncio, pathlib\nasync def send():\n    await asyncio.sleep(1)\n    open('file')"
    src = plant(tmp_path, "providers/http.py", code)
    assert impurities(src) == other_clocks(src) == []


@pytest.mark.parametrize(
    "code",
    [
        "import time",
        "def new():\n    from uuid import uuid4",
        "import random as r",
        "from secrets import token_hex",
        "from os import urandom",
        "import os\nkey = os.urandom(16)",
        "from datetime import datetime\nstarted = datetime.now()",
        "import datetime\ndef run(clock=datetime.datetime.utcnow): ...",
        "import asyncio\nstarted = asyncio.get_running_loop().time()",
    ],
)
def test_a_planted_clock_is_found(tmp_path: Path, code: str) -> None:
    assert other_clocks(plant(tmp_path, "server/app.py", code))
