"""The native format: what is written is read, and what cannot be read is never taken for empty."""

from __future__ import annotations

import logging
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cassette_fakes import recorded
from hypothesis import given
from hypothesis import strategies as st

from antiphon.cassettes import Chunk, Interaction, RecordedRequest, RecordedResponse, ToolCall, read
from antiphon.cassettes.format import TOOL, decode_interaction, encode_header, encode_interaction
from antiphon.errors import CassetteCorrupt, CassetteError, CassetteMissing, CassetteVersion
from antiphon.events import ErrorInfo

LINE = encode_interaction(recorded({"model": "m"}, b"data: 1\n\n"))

_texts = st.text(max_size=20)
_bodies = st.binary(max_size=40) | _texts.map(str.encode)
_delays_ms = st.floats(min_value=0, max_value=1e6, allow_nan=False)
_headers = st.lists(st.tuples(_texts, _texts), max_size=3).map(tuple)
_errors = st.none() | st.builds(ErrorInfo, code=_texts, message=_texts)
_json = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _texts, lambda each: st.lists(each))
_requests = st.builds(RecordedRequest, method=_texts, url=_texts, headers=_headers, body=_bodies)
_responses = st.builds(
    RecordedResponse,
    status=st.none() | st.integers(100, 599),
    headers=_headers,
    chunks=st.lists(st.builds(Chunk, _delays_ms, _bodies), max_size=5).map(tuple),
    delay_ms=_delays_ms,
    error=_errors,
)
_common: dict[str, Any] = {
    "id": _texts,
    "fidelity": st.sampled_from(["wire", "body", "parsed"]),
    "started_at": st.none()
    | st.integers(0, 10**9).map(lambda s: datetime.fromtimestamp(0, UTC) + timedelta(seconds=s)),
    "duration_ms": st.none() | _delays_ms,
    "tags": st.dictionaries(_texts, _texts, max_size=2),
}
_interactions = st.builds(
    Interaction, kind=st.just("http"), request=st.none() | _requests, response=_responses, **_common
) | st.builds(
    Interaction,
    kind=st.just("tool"),
    tool=st.builds(ToolCall, name=_texts, arguments=_json, result=_json, error=_errors),
    **_common,
)


@given(_interactions)
def test_what_is_written_is_read(interaction: Interaction) -> None:
    line = encode_interaction(interaction)
    assert decode_interaction(line) == interaction
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")


def test_text_stays_readable_and_only_broken_chunks_become_base64() -> None:
    half = "é".encode()[:1]
    line = encode_interaction(recorded({}, "data: é\n\n".encode(), half))
    assert '[0.0,"data: é\\n\\n"]' in line.decode()
    assert '[0.0,{"base64":"ww=="}]' in line.decode()


def test_the_header_names_this_version_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert f"{project['name']}/{project['version']}" == TOOL


def cassette(tmp_path: Path, *lines: bytes) -> Path:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"".join(lines))
    return path


def test_a_torn_last_line_is_reported_and_survived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = cassette(tmp_path, encode_header(), LINE, LINE[:-20])
    with caplog.at_level(logging.WARNING):
        assert len(list(read(path))) == 1
    assert f"{path}:3: the last line is torn" in caplog.text


def test_a_last_line_without_its_line_end_is_whole(tmp_path: Path) -> None:
    assert len(list(read(cassette(tmp_path, encode_header(), LINE, LINE[:-1])))) == 2


def test_fields_and_minor_versions_of_the_future_are_read(tmp_path: Path) -> None:
    header = b'{"antiphon_cassette":"1.7","tool":"other","mood":"good"}\n'
    line = LINE.replace(b'"kind"', b'"colour":{"a":[1]},"kind"')
    assert list(read(cassette(tmp_path, header, line))) == [decode_interaction(LINE)]


def test_joined_cassettes_are_one(tmp_path: Path) -> None:
    assert len(list(read(cassette(tmp_path, encode_header(), LINE, encode_header(), LINE)))) == 2


@pytest.mark.parametrize(
    ("content", "line"),
    [
        pytest.param(b"", 1, id="empty"),
        pytest.param(b"   \n\n", 1, id="blank"),
        pytest.param(encode_header()[:20], 1, id="header cut"),
        pytest.param(b'{"antiphon_cassette":1}\n', 1, id="header of another type"),
        pytest.param(b'{"antiphon_cassette":"new"}\n', 1, id="version that is none"),
        pytest.param(LINE, 1, id="no header"),
        pytest.param(LINE + LINE, 1, id="no header, two lines"),
        pytest.param(b"\xef\xbb\xbf" + encode_header() + LINE, 1, id="byte order mark"),
        pytest.param(encode_header() + LINE[:30] + b"\n" + LINE, 2, id="line cut in the middle of the file"),
        pytest.param(encode_header() + LINE + b"\xff" + LINE, 3, id="not UTF-8"),
        pytest.param(encode_header() + LINE.replace(b"data", b"d\xffta"), 2, id="not UTF-8 inside a string"),
        pytest.param(encode_header() + LINE.replace(b'"http"', b'"smtp"'), 2, id="unknown kind"),
        pytest.param(encode_header() + LINE.replace(b"200", b'"ok"'), 2, id="status of another type"),
        pytest.param(encode_header() + b'{"id":"","kind":"http","fidelity":"wire"}\n', 2, id="no response"),
        pytest.param(encode_header() + b'{"id":"","kind":"tool","fidelity":"wire"}\n', 2, id="no tool"),
        pytest.param(encode_header() + LINE.replace(b'"data: 1\\n\\n"', b'{"base64":"%"}'), 2, id="malformed base64"),
    ],
)
def test_an_unreadable_cassette_names_file_and_line(tmp_path: Path, content: bytes, line: int) -> None:
    path = cassette(tmp_path, content)
    with pytest.raises(CassetteCorrupt) as raised:
        list(read(path))
    assert str(raised.value).startswith(f"{path}:{line}: ")


@pytest.mark.parametrize("content", [encode_header(), encode_header() + LINE[:40]])
def test_a_cassette_with_nothing_in_it_is_not_empty_but_broken(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CassetteCorrupt, match="holds no interaction"):
        list(read(cassette(tmp_path, content)))


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = cassette(tmp_path, b'{"antiphon_cassette":"2.0"}\n', LINE)
    with pytest.raises(CassetteVersion, match=r"run\.jsonl:1: the cassette has format 2\.0"):
        list(read(path))


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CassetteMissing, match="nowhere"):
        list(read(tmp_path / "nowhere.jsonl"))


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(CassetteError, match="cannot be read"):
        list(read(tmp_path))


def test_the_first_interaction_is_given_before_the_rest_is_read(tmp_path: Path) -> None:
    interactions = read(cassette(tmp_path, encode_header(), LINE, b"broken\n", LINE))
    assert next(interactions) == decode_interaction(LINE)
