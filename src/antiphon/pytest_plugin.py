"""The pytest plugin: a fixture that answers a test's calls from a cassette named after the test.

pytest imports this module at its start, also where no test uses it, so it imports the package inside its hooks only.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from antiphon.cassettes import Cassette

MODES = ("replay", "record", "auto", "refresh", "live")

_FIXTURE = "cassette"
_MARKER_LINE = (
    "cassette(file=None, *, mode='replay', match='body', volatile=(), speed=0.0, allow_unplayed=False, scrub=None):"
    " how the fixture `cassette` of this test plays and records; without a file, it is named after the test"
)
_OPTIONS = ("mode", "match", "volatile", "speed", "allow_unplayed", "scrub")

_has_failed = pytest.StashKey[bool]()
_owned = pytest.StashKey[set[Path]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options on the command line. None of them can be set by a variable of the environment."""
    group = parser.getgroup("cassettes", "recorded calls (antiphon)")
    group.addoption(
        "--cassette-mode",
        choices=MODES,
        help="How cassettes are used: replay (the default) asks nobody; record, auto (only what is missing) and refresh"
        " (only what changed) ask the world; live records nothing.",
    )
    group.addoption(
        "--cassette-orphans",
        action="store_true",
        help="Add a test that fails if there are cassettes which no test owns. Needs whole files, not single tests.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", _MARKER_LINE)


@pytest.fixture(name=_FIXTURE)
def cassette_fixture(request: pytest.FixtureRequest) -> Iterator[Cassette]:
    """The cassette of this test: ``cassettes/<module>/<test>.jsonl`` beside it, or what the marker says.

    A test that passes, but did not ask for all that was recorded, or asked for what was not, fails.
    """
    from antiphon.cassettes import Cassette
    from antiphon.errors import AntiphonError

    item = request.node
    path, options = _file(item), _options(item)
    mode = item.config.getoption("--cassette-mode") or options.pop("mode", "replay")
    options.pop("mode", None)
    try:
        options.setdefault("scrub", _scrubber(item.config.rootpath))
        cassette = Cassette(path, mode, remedy=f"pytest '{item.nodeid}' --cassette-mode=auto", **options)
    except AntiphonError as error:
        pytest.fail(error.message, pytrace=False)
    yield cassette
    try:
        cassette.close(check=not item.stash.get(_has_failed, False))
    except AntiphonError as error:
        pytest.fail(error.message, pytrace=False)
    for drift in cassette.drifts:
        item.add_report_section("teardown", "cassette", str(drift))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note whether the test itself failed: what its cassette has to say then comes second."""
    report = yield
    if call.when in ("setup", "call") and report.failed:
        item.stash[_has_failed] = True
    return report


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse a marker without the fixture: it would do nothing, and look as if it did."""
    if item.get_closest_marker(_FIXTURE) and _FIXTURE not in getattr(item, "fixturenames", ()):
        pytest.fail(
            f"{item.nodeid} is marked with a cassette and does not use it: take the fixture `cassette`, and give its"
            " transport to your client.",
            pytrace=False,
        )


# --- which file ------------------------------------------------------------------------------


def _file(item: pytest.Item) -> Path:
    marker = item.get_closest_marker(_FIXTURE)
    if marker and (marker.args or "file" in marker.kwargs):
        return item.path.parent / str(marker.args[0] if marker.args else marker.kwargs["file"])
    name = item.nodeid.partition("::")[2].replace("::", ".")
    return item.path.parent / "cassettes" / item.path.stem / f"{_safe(name)}.jsonl"


def _safe(name: str) -> str:
    """A name of a file on any system; two tests whose names differ in what is replaced get different ones."""
    safe = re.sub(r"[^\w.\[\]=,+-]", "-", name)
    if safe == name and len(name) <= 120:
        return name
    from hashlib import blake2b

    return f"{safe[:100]}-{blake2b(name.encode(), digest_size=4).hexdigest()}"


def _options(item: pytest.Item) -> dict[str, Any]:
    marker = item.get_closest_marker(_FIXTURE)
    given = {} if marker is None else {name: value for name, value in marker.kwargs.items() if name != "file"}
    unknown = sorted(given.keys() - set(_OPTIONS))
    if unknown or (marker and len(marker.args) > 1):
        pytest.fail(
            f"@pytest.mark.cassette takes a file and {', '.join(_OPTIONS)}; not {', '.join(unknown) or 'two files'}.",
            pytrace=False,
        )
    return given


def _scrubber(root: Path) -> Any:
    """What takes secrets out, by the rules of the project's antiphon.toml if it has one."""
    import msgspec

    from antiphon.cassettes import Scrubber
    from antiphon.config import load_scrub

    path = root / "antiphon.toml"
    return Scrubber(**msgspec.structs.asdict(load_scrub(path))) if path.exists() else Scrubber()


# --- cassettes without a test ----------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the test for orphans, as an item: so it runs once under pytest-xdist too. Deselection comes later."""
    if not config.getoption("--cassette-orphans"):
        return
    single = [arg for arg in config.args if "::" in arg]
    if single:
        raise pytest.UsageError(f"--cassette-orphans needs whole files, and {single[0]} is a single test.")
    using = [item for item in items if _FIXTURE in getattr(item, "fixturenames", ())]
    item = OrphanCheck.from_parent(session, name="cassette-orphans", nodeid="cassette-orphans")
    item.stash[_owned] = {_file(each) for each in using}
    item.modules = {each.path for each in items}
    items.append(item)


class OrphanCheck(pytest.Item):
    """Fails if there is a cassette that no test owns, in the directories of the modules that were collected."""

    modules: set[Path]

    def runtest(self) -> None:
        """Look at every file below the ``cassettes`` directories."""
        owned = self.stash[_owned]
        orphans = sorted(path for path in self._candidates() if path not in owned)
        if orphans:
            names = "\n".join(f"    {path.relative_to(self.config.rootpath)}" for path in orphans)
            pytest.fail(f"{len(orphans)} cassettes belong to no test; delete them:\n{names}", pytrace=False)

    def _candidates(self) -> Iterator[Path]:
        for directory in {path.parent for path in self.modules}:
            for folder in (directory / "cassettes").glob("*/"):
                module = directory / f"{folder.name}.py"
                if module in self.modules or not module.exists():
                    yield from folder.glob("*.jsonl")

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where it stands in reports."""
        return self.config.rootpath, None, "cassettes without a test"
