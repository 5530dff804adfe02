"""A conversation about a file, as it was recorded: uploaded, indexed, asked, followed up, cited.

The model's turns are recorded, and played in strict order; where a turn was not recorded, it is made again from what
the next request repeats of it. Files get the ids that they have in the recordings.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import openai
import pytest
from fakes import FakeResponse
from whole_server import served

from antiphon.cassettes import Difference, Player, read
from antiphon.clock import RandomIds
from antiphon.transport import HttpRequest

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
OGX = CORPUS / "ogx" / "tests" / "integration" / "responses" / "recordings"
SEED = CORPUS / "seeds" / "ogx_sequential_file_search.json"
CHAIN = ("3815b01ca76d727", "08e4e3b78d3a011", "760a8f77561183c", "0b822c277d294c2")

TEXT = b"The Llama 4 Maverick model has 128 experts in its mixture of experts architecture."
QUESTIONS = (
    "How many experts does the Llama 4 Maverick model have?",
    "Can you tell me more about the architecture?",
)

pytestmark = pytest.mark.skipif(not OGX.exists(), reason=f"no recordings at {OGX}")


class Turns:
    """An upstream that gives its turns in order, and notes how each request differs from the recorded one."""

    def __init__(self, turns: list[Path | list[dict[str, Any]]]) -> None:
        self._turns = turns
        self.asked: list[dict[str, Any]] = []
        self.differences: list[set[str]] = []

    async def send(self, request: HttpRequest) -> Any:
        turn = self._turns[len(self.asked)]
        self.asked.append(json.loads(request.body))
        if isinstance(turn, Path):
            return await Player(read(turn), match="order", on_difference=self._note).send(request)
        chunks = [b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in turn]
        return FakeResponse(*chunks, b"data: [DONE]\n\n")

    def _note(self, _: int, found: Iterable[Difference]) -> None:
        self.differences.append({str(each) for each in found})

    async def close(self) -> None:
        pass


def scripted(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The chunks that an assistant's message of a request once was; its text in pieces that cut markers."""
    calls = message.get("tool_calls")
    text = message.get("content") or ""
    pieces = [{"content": text[start : start + 3]} for start in range(0, len(text), 3)]
    deltas = [{"tool_calls": calls}] if calls else pieces
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    ends = [{"index": 0, "delta": {}, "finish_reason": "tool_calls" if calls else "stop"}]
    choices = [*({"index": 0, "delta": delta, "finish_reason": None} for delta in deltas), *ends]
    return [{**head, "choices": [choice]} for choice in choices]


class Recorded(NamedTuple):
    """A recorded conversation: its turns, the id of its file, the name its search has."""

    turns: list[Path | list[dict[str, Any]]]
    file_id: str
    tool: str


def whole_chain() -> Recorded:
    return Recorded(
        [next(path for path in OGX.iterdir() if path.stem.endswith(end)) for end in CHAIN],
        "file-968934238755",
        "file_search",
    )


def seed() -> Recorded:
    messages = json.loads(SEED.read_text())["request"]["body"]["messages"]
    before = [scripted(message) for message in messages if message["role"] == "assistant"]
    return Recorded([*before, SEED], "file-753491389399", "knowledge_search")


@contextmanager
def ids_with(file_id: str) -> Iterator[None]:
    new = RandomIds.new

    def recorded(self: RandomIds, prefix: str) -> str:
        return file_id.replace("file-", "file_", 1) if prefix == "file" else new(self, prefix)

    with mock.patch.object(RandomIds, "new", recorded):
        yield


class Answer(NamedTuple):
    deltas: list[str]
    types: list[str]
    response: Any


def ask(client: openai.OpenAI, question: str, **parameters: Any) -> Answer:
    deltas, types = [], []
    with client.responses.stream(model="gpt-4o", input=question, **parameters) as stream:
        for event in stream:
            types.append(event.type.removeprefix("response."))
            if event.type == "response.output_text.delta":
                deltas.append(event.delta)
        return Answer(deltas, types, stream.get_final_response())


@pytest.fixture(scope="module", params=[whole_chain, seed], ids=["recorded", "seed"])
def conversation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    recorded: Recorded = request.param()
    upstream = Turns(recorded.turns)
    at = tmp_path_factory.mktemp("data")
    with ids_with(recorded.file_id), served(upstream, at) as url:  # type: ignore[arg-type]
        client = openai.OpenAI(base_url=url, api_key="x", max_retries=0, timeout=30)
        store = client.vector_stores.create(name="experts").id
        named = ("test_sequential_file_search.txt", TEXT)
        placed = client.vector_stores.files.upload_and_poll(vector_store_id=store, file=named, poll_interval_ms=20)
        assert (placed.id, placed.status) == (recorded.file_id, "completed")
        search = {"type": "file_search", "vector_store_ids": [store], "name": recorded.tool}
        common = {"tools": [search], "include": ["file_search_call.results"]}
        first = ask(client, QUESTIONS[0], **common)
        second = ask(client, QUESTIONS[1], previous_response_id=first.response.id, **common)
        yield recorded, upstream, (first, second), client


def test_each_answer_searches_speaks_and_cites(conversation: Any) -> None:
    recorded, _, answers, _ = conversation
    for answer in answers:
        search, message = answer.response.output
        assert (search.type, search.status, message.type) == ("file_search_call", "completed", "message")
        assert [result.file_id for result in search.results] == [recorded.file_id]
        assert search.results[0].text == TEXT.decode()
        cited = [annotation for annotation in message.content[0].annotations if annotation.type == "file_citation"]
        assert {(each.file_id, each.filename) for each in cited} <= {
            (recorded.file_id, "test_sequential_file_search.txt")
        }
    assert "128 experts" in answers[0].response.output_text


def test_the_streamed_text_holds_no_marker_at_any_moment(conversation: Any) -> None:
    for answer in conversation[2]:
        text = ""
        for delta in answer.deltas:
            text += delta
            assert "<|" not in text
            assert "file-" not in text
        assert text == answer.response.output_text


def test_annotations_point_at_what_they_are_about(conversation: Any) -> None:
    _, _, (first, _), _ = conversation
    text, [cited, *_] = first.response.output_text, first.response.output[1].content[0].annotations
    assert text[: cited.index].rstrip().endswith("architecture")
    assert "output_text.annotation.added" in first.types


def test_progress_of_the_search_is_streamed_before_the_answer(conversation: Any) -> None:
    for answer in conversation[2]:
        progress = [kind for kind in answer.types if kind.startswith("file_search_call")]
        assert progress == [f"file_search_call.{step}" for step in ("in_progress", "searching", "completed")]
        assert answer.types.index("file_search_call.completed") < answer.types.index("output_text.delta")


def test_the_model_is_shown_what_it_called_for_under_the_name_and_the_id_it_used(conversation: Any) -> None:
    recorded, upstream, _, _ = conversation
    last = upstream.asked[-1]
    assert [tool["function"]["name"] for tool in last["tools"]] == [recorded.tool]
    roles = [message["role"] for message in last["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user", "assistant", "tool"]
    calls = [call for message in last["messages"] for call in message.get("tool_calls", ())]
    assert [call["id"] for call in calls] == [
        message["tool_call_id"] for message in last["messages"] if message["role"] == "tool"
    ]
    assert all(
        f"<|{recorded.file_id}|>" in message["content"] for message in last["messages"] if message["role"] == "tool"
    )


def test_todays_requests_differ_from_the_recorded_ones_only_in_what_is_known(conversation: Any) -> None:
    """Where a request begins to differ from the recorded one; the words of our search are our own."""
    differing = {
        difference.split(": ")[0].split(" ")[0] for found in conversation[1].differences for difference in found
    }
    assert differing <= KNOWN_DIFFERENCES


KNOWN_DIFFERENCES = {
    "$.messages[2].content",  # what the search tells the model
    "$.messages[6].content",
    "$.messages[1].tool_calls[0].index",  # a member of answers, which the recorder sent back
    "$.messages[5].tool_calls[0].index",
    "$.messages[1].content",  # "" beside a call, which we leave out
    "$.messages[5].content",
    "$.tools[0].function.description",
    "$.tools[0].function.parameters.properties.query.description",
    "$.parallel_tool_calls",  # true, as it is anyway
    "$.service_tier",
    "$.stream_options",
}
