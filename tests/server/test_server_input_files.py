"""Files that a request names by their ids: the model gets the data, what is kept is the name."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from scripted_upstream import ChatUpstream
from whole_server import served

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Asked(ChatUpstream):
    """An upstream whose last question can be looked at."""

    @property
    def parts(self) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = next(
            message["content"] for message in self.asked[-1]["messages"] if isinstance(message["content"], list)
        )
        return content


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Asked, openai.OpenAI]]:
    upstream = Asked()
    with served(upstream, tmp_path) as url:
        yield upstream, openai.OpenAI(base_url=url, api_key="x", max_retries=0)


def saying(kind: str, file_id: str) -> Any:
    parts = [{"type": "input_text", "text": "What is this?"}, {"type": kind, "file_id": file_id}]
    return [{"role": "user", "content": parts}]


def test_the_model_sees_a_stored_image_and_the_journal_its_name(world: tuple[Asked, openai.OpenAI]) -> None:
    upstream, client = world
    stored = client.files.create(file=("dot.png", PNG), purpose="vision")
    answer = client.responses.create(model="m", input=saying("input_image", stored.id))
    assert upstream.parts[1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    listed = client.responses.input_items.list(answer.id).data[0]
    assert listed.content[1].file_id == stored.id  # type: ignore[union-attr]
    client.responses.create(model="m", input="And now?", previous_response_id=answer.id)
    assert upstream.parts[1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")


def test_a_conversation_goes_on_when_a_file_of_its_beginning_was_deleted(world: tuple[Asked, openai.OpenAI]) -> None:
    upstream, client = world
    stored = client.files.create(file=("dot.png", PNG), purpose="vision")
    answer = client.responses.create(model="m", input=saying("input_image", stored.id))
    client.files.delete(stored.id)
    client.responses.create(model="m", input="And now?", previous_response_id=answer.id)
    assert f"[file {stored.id} omitted: it was deleted]" in str(upstream.asked[-1]["messages"])


def test_a_file_that_is_not_there_is_refused_by_its_place(world: tuple[Asked, openai.OpenAI]) -> None:
    _, client = world
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="m", input=saying("input_file", "file-none"))
    assert (refused.value.param, refused.value.code) == ("input[0].content[1].file_id", "file_not_found")
