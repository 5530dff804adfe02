"""Content-encodings are undone chunk by chunk, whatever the chunks are."""

from __future__ import annotations

import gzip
import zlib
from itertools import pairwise

import brotli
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antiphon.cassettes import Chunk, Interaction, RecordedResponse
from antiphon.cassettes.encodings import decoded, decoded_body, undo, zstd
from antiphon.events import ErrorInfo


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


ENCODERS = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress, "zstd": zstd.compress}
CASES = [*ENCODERS.items(), ("deflate", raw_deflate)]


def answer(encoding: str, *chunks: bytes, error: ErrorInfo | None = None) -> Interaction:
    return Interaction(
        id="1",
        response=RecordedResponse(
            status=200,
            headers=(("content-encoding", encoding), ("content-length", "9"), ("content-type", "a/b")),
            chunks=tuple(Chunk(10.0, chunk) for chunk in chunks),
            error=error,
        ),
    )


@pytest.mark.parametrize(("encoding", "encode"), CASES)
@example(data=b"", cuts=[1])
@example(data=b"abc", cuts=[1, 2, 3])
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=6))
def test_however_an_encoded_body_is_cut_it_decodes_to_the_same(encoding, encode, data, cuts) -> None:  # type: ignore[no-untyped-def]
    whole = encode(data)
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    assert b"".join(undo(encoding, [whole[start:end] for start, end in pairwise(places)])) == data


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_members_one_after_the_other_are_one_body(encoding: str) -> None:
    encode = ENCODERS[encoding]
    assert undo(encoding, [encode(b"one") + encode(b"two")]) == [b"onetwo"]


def test_a_chunk_that_holds_nothing_gives_its_delay_to_the_next() -> None:
    whole = gzip.compress(b"abc", mtime=0)
    found = decoded(answer("gzip", whole[:5], whole[5:])).response
    assert found is not None
    assert found.chunks == (Chunk(20.0, b"abc"),)
    assert found.headers == (("content-type", "a/b"),)
    assert found.content_encoding == "gzip"


def test_encodings_on_encodings_are_undone_from_the_outside() -> None:
    found = decoded(answer("gzip, br", brotli.compress(gzip.compress(b"abc", mtime=0)))).response
    assert found is not None
    assert (found.body, found.content_encoding) == (b"abc", "gzip, br")


@pytest.mark.parametrize("body", [b"plain", gzip.compress(b"abc" * 99, mtime=0)[:-9]])
def test_what_cannot_be_decoded_stays_as_it_is(body: bytes) -> None:
    for encoding in ("gzip", "br", "zstd", "deflate", "rot13"):
        broken = answer(encoding, body)
        assert decoded(broken) == broken


def test_a_body_that_was_cut_is_decoded_as_far_as_it_goes() -> None:
    lost = ErrorInfo(code="upstream_connection_lost", message="cut")
    found = decoded(answer("gzip", gzip.compress(b"abc" * 1000, mtime=0)[:-8], error=lost)).response
    assert found is not None
    assert found.body.startswith(b"abcabc")


def test_a_request_that_is_not_encoded_is_not_touched() -> None:
    assert decoded_body((), b"abc") == ("", b"abc")
    assert decoded_body((("content-encoding", "identity"),), b"abc") == ("", b"abc")
    assert decoded_body((("content-encoding", "br"),), b"abc") == ("", b"abc")
    assert decoded_body((("content-encoding", "br"),), brotli.compress(b"abc")) == ("br", b"abc")
