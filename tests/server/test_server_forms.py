"""Forms with files are read while they come, however they are cut, and nothing of a bad one is kept."""

import asyncio
import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.clock import FakeClock
from antiphon.errors import AntiphonError, InvalidRequest, RequestTooLarge
from antiphon.server.exchange import ClientGone, Exchange
from antiphon.server.forms import MAX_BESIDE_BYTES, Form, receive_form, safe_filename
from antiphon.store.blobs import LocalBlobs

BOUNDARY = b"frontier"
MAX_BYTES = 100_000


def part(name: str, data: bytes, *, filename: str | None = None, media_type: str = "") -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    head = f'Content-Disposition: form-data; name="{name}"{named}\r\n'.encode()
    if media_type:
        head += f"Content-Type: {media_type}\r\n".encode()
    return b"--%b\r\n%b\r\n%b\r\n" % (BOUNDARY, head, data)


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--%b--\r\n" % BOUNDARY


FILE = part("file", b"tea", filename="a.txt", media_type="text/plain; charset=utf-8")
WHOLE = body(part("purpose", b"user_data"), FILE)


def receive(
    directory: Path,
    pieces: list[bytes],
    *,
    content_type: str = "multipart/form-data; boundary=frontier",
    declared: int | None = None,
    leaves: bool = False,
) -> tuple[Form, bytes]:
    """The form that these pieces are, and what was kept of the file."""
    waiting: list[dict[str, Any]] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    waiting.append({"type": "http.disconnect"} if leaves else {"type": "http.request"})

    async def next_message() -> dict[str, Any]:
        return waiting.pop(0)

    headers = [(b"content-type", content_type.encode())]
    if declared is not None:
        headers.append((b"content-length", b"%d" % declared))
    scope: Any = {"type": "http", "method": "POST", "headers": headers}
    exchange = Exchange(scope, next_message, None, id="req", max_body_bytes=1, clock=FakeClock())  # type: ignore[arg-type]
    blobs = LocalBlobs(directory)

    async def main() -> tuple[Form, bytes]:
        try:
            form = await receive_form(exchange, blobs, "blob_ab", file_field="file", max_bytes=MAX_BYTES)
        except BaseException:
            assert [name async for name in blobs.names(before_s=2.0**40)] == []
            raise
        return form, b"".join([piece async for piece in blobs.read("blob_ab")])

    return asyncio.run(main())


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(max_size=300) | st.sampled_from([b"\r\n--frontie", b"--frontier", b"\r\n", b"\r\n--frontier"[:-1]]),
    cuts=st.lists(st.integers(0, 700), max_size=30),
    file_first=st.booleans(),
)
def test_a_form_is_the_same_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cuts: list[int], file_first: bool
) -> None:
    parts = [part("purpose", b"user_data"), part("file", data, filename="a.bin")]
    whole = body(*(reversed(parts) if file_first else parts))
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[start:end] for start, end in pairwise(edges)]
    form, kept = receive(tmp_path_factory.mktemp("blobs"), pieces)
    assert kept == data
    assert form.fields == {"purpose": "user_data"}
    assert form.file == ("a.bin", "", len(data), hashlib.sha256(data).hexdigest())


def test_what_a_part_says_of_itself_is_kept(tmp_path: Path) -> None:
    form, _ = receive(tmp_path, [WHOLE])
    assert form.file is not None
    assert (form.file.filename, form.file.media_type) == ("a.txt", "text/plain")


@pytest.mark.parametrize("cut", range(0, len(WHOLE) - 4, 7))
def test_a_form_that_ends_too_early_is_refused(tmp_path: Path, cut: int) -> None:
    with pytest.raises(InvalidRequest):
        receive(tmp_path, [WHOLE[:cut]])
    with pytest.raises(ClientGone):
        receive(tmp_path, [WHOLE[:cut]], leaves=True)


def test_a_form_that_says_it_is_too_large_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(RequestTooLarge, match=r"has 2,147,483,648 bytes, but a file may have 100,000. Nothing"):
        receive(tmp_path, [], declared=2**31, leaves=True)


REFUSED: dict[str, tuple[bytes, type[AntiphonError], str]] = {
    "a file that is too large": (
        body(part("file", b"x" * (MAX_BYTES + 1), filename="a")),
        RequestTooLarge,
        "100,000",
    ),
    "too much beside it": (body(part("a", b"x" * (MAX_BESIDE_BYTES + 1)), FILE), RequestTooLarge, "fields"),
    "too many fields": (body(*(part(f"f{n}", b"x") for n in range(99)), FILE), InvalidRequest, "64 fields"),
    "two files": (body(FILE, FILE), InvalidRequest, "more than one 'file'"),
    "no file": (body(part("purpose", b"x")), InvalidRequest, "Missing required parameter: 'file'"),
    "no form": (b'{"purpose": "user_data"}', InvalidRequest, "cannot be read"),
    "endless headers": (b"--frontier\r\n" + b"a" * 100_000, InvalidRequest, "cannot be read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_form_is_refused_and_nothing_of_it_kept(tmp_path: Path, name: str) -> None:
    whole, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        receive(tmp_path, [whole])
    with pytest.raises(error, match=words):
        receive(tmp_path / "cut", [whole[start : start + 5000] for start in range(0, len(whole), 5000)])


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=a"])
def test_what_is_no_form_is_told_what_one_is(tmp_path: Path, content_type: str) -> None:
    with pytest.raises(InvalidRequest, match="multipart/form-data; boundary="):
        receive(tmp_path, [WHOLE], content_type=content_type)


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [("", "file"), ("a\x00b\r\n.txt", "ab.txt"), ("/", "file"), ("x/y.md", "y.md"), ("a" * 300, "a" * 255)],
)
def test_a_name_is_made_safe(given_name: str, kept: str) -> None:
    assert safe_filename(given_name) == kept
