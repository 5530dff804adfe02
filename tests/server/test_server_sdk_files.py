"""Files and uploads as the openai package sees them, over a real socket."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from scripted_upstream import ChatUpstream
from whole_server import served

TEXT = b"Tea is a drink. Coffee is another.\n" * 40


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    data_dir = tmp_path_factory.mktemp("data")
    (data_dir / "antiphon.toml").write_text("[files]\nmax_file_bytes = 3000000\nmax_total_bytes = 9000000\n")
    with served(ChatUpstream(), data_dir) as url, openai.OpenAI(base_url=url, api_key="x", max_retries=0) as client:
        yield client


def test_a_file_is_uploaded_shown_read_and_deleted(client: openai.OpenAI) -> None:
    made = client.files.create(file=("tea.txt", TEXT), purpose="user_data")
    assert made.id.startswith("file-")
    assert (made.bytes, made.filename, made.purpose, made.object) == (len(TEXT), "tea.txt", "user_data", "file")
    assert (made.status, made.expires_at) == ("processed", None)
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).read() == TEXT
    assert client.files.wait_for_processing(made.id) == made
    deleted = client.files.delete(made.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (made.id, True, "file")
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError, match=f"File with id '{made.id}' not found"):
            call(made.id)


def test_a_file_is_streamed_back(client: openai.OpenAI, tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    made = client.files.create(file=io.BytesIO(data), purpose="assistants")
    with client.files.with_streaming_response.content(made.id) as response:
        assert response.headers["content-length"] == str(len(data))
        assert b"".join(response.iter_bytes()) == data
    with client.files.with_streaming_response.content(made.id) as response:
        response.stream_to_file(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data


def test_a_part_of_a_file_can_be_asked_for(client: openai.OpenAI) -> None:
    made = client.files.create(file=("digits", b"0123456789"), purpose="user_data")
    for asked, answered in {"bytes=2-4": b"234", "bytes=7-": b"789", "bytes=-2": b"89", "bytes=8-99": b"89"}.items():
        raw = client.files.with_raw_response.content(made.id, extra_headers={"range": asked})
        assert (raw.status_code, raw.content) == (206, answered)
    raw = client.files.with_raw_response.content(made.id, extra_headers={"range": "bytes=2-4"})
    assert raw.headers["content-range"] == "bytes 2-4/10"
    raw = client.files.with_raw_response.content(made.id, extra_headers={"range": "lines=1-2"})
    assert (raw.status_code, raw.content) == (200, b"0123456789")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Grüße \U0001f642.md", "Grüße \U0001f642.md"),
        ("../../etc/passwd", "passwd"),
        ("C:\\docs\\plan.txt", "plan.txt"),
        ('"quoted".txt', "%22quoted%22.txt"),  # as the SDK writes it
        ("a" * 400 + ".txt", "a" * 251 + ".txt"),
    ],
)
def test_names_of_files_are_kept_without_paths(client: openai.OpenAI, sent: str, kept: str) -> None:
    made = client.files.create(file=(sent, b"x"), purpose="user_data")
    assert made.filename == kept
    assert client.files.content(made.id).read() == b"x"
    client.files.delete(made.id)


def test_files_are_listed_in_pages(client: openai.OpenAI) -> None:
    for each in client.files.list():
        client.files.delete(each.id)
    made = [client.files.create(file=(f"{n}.txt", b"x"), purpose="user_data").id for n in range(5)]
    other = client.files.create(file=("batch.jsonl", b"{}"), purpose="batch")
    assert [each.id for each in client.files.list(limit=2, order="asc")] == [*made, other.id]
    assert [each.id for each in client.files.list(limit=2)] == [other.id, *made[::-1]]
    assert [each.id for each in client.files.list(purpose="batch")] == [other.id]
    assert [each.id for each in client.files.list(after=made[3], order="asc")] == [made[4], other.id]
    page = client.files.list(limit=2, order="asc")
    assert (page.has_more, page.data[-1].id) == (True, made[1])
    with pytest.raises(openai.NotFoundError):
        client.files.list(after="file-0")


def test_a_file_may_be_given_an_end(client: openai.OpenAI) -> None:
    expires = {"anchor": "created_at", "seconds": 3600}
    made = client.files.create(file=("a", b"x"), purpose="user_data", expires_after=expires)
    assert made.expires_at == made.created_at + 3600
    batch = client.files.create(file=("a", b"x"), purpose="batch")
    assert batch.expires_at == batch.created_at + 30 * 86_400
    with pytest.raises(openai.BadRequestError, match=r"Invalid 'expires_after.seconds': expected an integer >= 3600"):
        client.files.create(file=("a", b"x"), purpose="user_data", expires_after={**expires, "seconds": 5})


def test_wrong_files_are_refused_in_words(client: openai.OpenAI) -> None:
    create = client.files.create
    with pytest.raises(openai.BadRequestError, match=r"The file 'empty.txt' is empty") as caught:
        create(file=("empty.txt", b""), purpose="user_data")
    assert (caught.value.code, caught.value.param) == ("empty_file", "file")
    with pytest.raises(openai.BadRequestError, match="Supported values are: 'assistants', 'batch'"):
        create(file=("a", b"x"), purpose="nonsense")
    with pytest.raises(openai.BadRequestError, match="Missing required parameter: 'purpose'"):
        create(file=("a", b"x"), purpose=openai.omit)
    with pytest.raises(openai.BadRequestError, match="Unknown parameter: 'colour'"):
        create(file=("a", b"x"), purpose="user_data", extra_body={"colour": "mauve"})
    with pytest.raises(openai.APIStatusError, match="may have 3,000,000") as too_large:
        create(file=("a", b"x" * 3_100_000), purpose="user_data")
    assert too_large.value.status_code == 413


def test_the_files_of_an_owner_have_a_limit_together(client: openai.OpenAI) -> None:
    made = []
    with pytest.raises(openai.APIStatusError, match="together they may take 9,000,000") as caught:
        for _ in range(5):
            made.append(client.files.create(file=("a", b"x" * 2_500_000), purpose="user_data").id)
    assert caught.value.status_code == 413
    assert len(made) >= 2
    for file_id in made:
        client.files.delete(file_id)
    client.files.delete(client.files.create(file=("a", b"x" * 2_500_000), purpose="user_data").id)


# --- uploads ----------------------------------------------------------------------------------


def test_an_upload_comes_in_parts_and_in_any_order(client: openai.OpenAI) -> None:
    upload = client.uploads.create(bytes=9, filename="tea.txt", mime_type="text/plain", purpose="assistants")
    assert (upload.status, upload.object, upload.file) == ("pending", "upload", None)
    assert upload.expires_at == upload.created_at + 3600
    parts = {data: client.uploads.parts.create(upload.id, data=data).id for data in (b"ghi", b"abc", b"def")}
    completed = client.uploads.complete(
        upload.id,
        part_ids=[parts[b"abc"], parts[b"def"], parts[b"ghi"]],
        md5=hashlib.md5(b"abcdefghi").hexdigest(),
    )
    assert completed.status == "completed"
    assert completed.file is not None
    assert (completed.file.filename, completed.file.bytes) == ("tea.txt", 9)
    assert client.files.content(completed.file.id).read() == b"abcdefghi"


def test_a_large_file_is_uploaded_in_chunks(client: openai.OpenAI, tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "large.bin").write_bytes(data)
    made = client.uploads.upload_file_chunked(
        file=tmp_path / "large.bin", mime_type="text/plain", purpose="assistants", part_size=300_000
    )
    assert made.file is not None
    assert client.files.content(made.file.id).read() == data
    client.files.delete(made.file.id)


def test_wrong_uploads_are_refused_in_words(client: openai.OpenAI) -> None:
    uploads = client.uploads
    told = {"filename": "a", "mime_type": "text/plain", "purpose": "assistants"}
    with pytest.raises(openai.APIStatusError, match="The upload would have 2,147,483,648 bytes") as caught:
        uploads.create(bytes=2**31, **told)
    assert caught.value.status_code == 413
    upload = uploads.create(bytes=4, **told)
    part = uploads.parts.create(upload.id, data=b"abc")
    with pytest.raises(openai.BadRequestError, match="would have 5 bytes, but it was created with 4"):
        uploads.parts.create(upload.id, data=b"de")
    with pytest.raises(openai.BadRequestError, match="The parts have 3 bytes together"):
        uploads.complete(upload.id, part_ids=[part.id])
    last = uploads.parts.create(upload.id, data=b"d")
    with pytest.raises(openai.BadRequestError, match=r"Invalid 'part_ids\[1\]': there is no part 'part_0'"):
        uploads.complete(upload.id, part_ids=[part.id, "part_0"])
    with pytest.raises(openai.BadRequestError, match="Check their order"):
        uploads.complete(upload.id, part_ids=[last.id, part.id], md5=hashlib.md5(b"abcd").hexdigest())
    assert uploads.complete(upload.id, part_ids=[part.id, last.id]).status == "completed"
    with pytest.raises(openai.BadRequestError, match="is completed"):
        uploads.parts.create(upload.id, data=b"x")


def test_a_cancelled_upload_takes_no_more(client: openai.OpenAI) -> None:
    upload = client.uploads.create(bytes=4, filename="a", mime_type="text/plain", purpose="assistants")
    client.uploads.parts.create(upload.id, data=b"abc")
    assert client.uploads.cancel(upload.id).status == "cancelled"
    for call in (
        lambda: client.uploads.parts.create(upload.id, data=b"d"),
        lambda: client.uploads.complete(upload.id, part_ids=["part_1"]),
        lambda: client.uploads.cancel(upload.id),
    ):
        with pytest.raises(openai.BadRequestError, match="is cancelled"):
            call()
    with pytest.raises(openai.NotFoundError):
        client.uploads.cancel("upload_0")
