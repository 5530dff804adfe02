"""What a coding agent sees of recordings and of stored runs, and what it cannot reach."""

import asyncio
import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from asgi_client import ask
from scripted_upstream import ChatUpstream
from whole_server import whole_app

from antiphon.cassettes import Recorder
from antiphon.clock import SystemClock
from antiphon.config import Settings, load_settings
from antiphon.errors import CassetteError, ConfigError, NotFound, StoreError, UsageError
from antiphon.server import wiring
from antiphon.server.workbench import Workbench
from antiphon.store.archive import Archive

RECORDINGS = Path(__file__).parents[2] / "examples" / "recordings"
TOOLS = "multi_tool_streaming.yaml"
OTHER = "ogx_streaming_multi_turn_tool_execution.json"

WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}


@pytest.fixture
def bench() -> Workbench:
    return Workbench(RECORDINGS)


# --- recordings ------------------------------------------------------------------------------


def test_a_recording_is_listed_by_what_was_asked(bench: Workbench) -> None:
    listed = bench.list_interactions(TOOLS)
    assert listed["next_start"] is None
    first = listed["interactions"][0]
    assert (first["endpoint"], first["model"], first["status"]) == ("/chat/completions", "gpt-4o-mini", 200)
    assert first["usage"]["total_tokens"] == 156


def test_a_list_goes_on_where_it_stopped(bench: Workbench) -> None:
    first = bench.inspect_cassette(TOOLS, count=1)
    rest = bench.inspect_cassette(TOOLS, start=first["next_start"])
    assert [each["interaction"] for each in first["interactions"] + rest["interactions"]] == [0, 1]


def test_what_a_model_said_is_put_together(bench: Workbench) -> None:
    (choice,) = bench.inspect_cassette(TOOLS, count=1)["interactions"][0]["choices"]
    assert [call["name"] for call in choice["tool_calls"]] == ["add", "multiply"]


def test_an_interaction_is_shown_with_its_bodies_cut(bench: Workbench) -> None:
    shown = bench.show_interaction(TOOLS, 0, max_chars=20)
    assert shown["request"]["method"] == "POST"
    assert shown["request"]["body"].startswith('{"messages":[{"conte… [')
    assert shown["answer"]["body"].endswith(" more characters]")


@pytest.mark.parametrize("number", [-1, 2])
def test_an_interaction_that_is_not_there_is_refused(bench: Workbench, number: int) -> None:
    with pytest.raises(UsageError, match="numbered from 0"):
        bench.show_interaction(TOOLS, number)


def test_two_recordings_are_compared_to_their_first_divergence(bench: Workbench) -> None:
    assert bench.diff_cassettes(TOOLS, TOOLS)["report"] == "No difference in 2 interactions."
    different = bench.diff_cassettes(TOOLS, OTHER)
    assert different["report"].startswith("First divergence: interaction 0 / 0")
    assert different["equal"] == 0


def test_a_recording_that_is_cut_is_not_fit(tmp_path: Path, bench: Workbench) -> None:
    assert bench.verify_cassette(TOOLS) == {"is_fit": True, "findings": []}
    (tmp_path / "torn.yaml").write_text((RECORDINGS / TOOLS).read_text()[:2000])
    assert not Workbench(tmp_path).verify_cassette("torn.yaml")["is_fit"]


def test_a_recorded_request_gets_its_answer_and_another_is_told_the_nearest(bench: Workbench) -> None:
    shown = bench.show_interaction(TOOLS, 0)
    body = json.loads(shown["request"]["body"])
    answered = asyncio.run(bench.replay_cassette(TOOLS, body))
    assert answered["is_answered"]
    assert answered["choices"] == bench.inspect_cassette(TOOLS, count=1)["interactions"][0]["choices"]
    missed = asyncio.run(bench.replay_cassette(TOOLS, {**body, "temperature": 0.123}))
    assert not missed["is_answered"]
    assert "interaction 0, differs at $.temperature" in missed["why"]


@pytest.mark.parametrize("path", ["../README.md", "/etc/passwd", "x/../../../pyproject.toml", "link/pyproject.toml"])
def test_nothing_outside_of_the_root_is_read(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(RECORDINGS.parents[1])
    with pytest.raises(UsageError, match="is outside of"):
        Workbench(root).inspect_cassette(path)


def test_a_file_that_is_not_there_is_named(bench: Workbench) -> None:
    with pytest.raises(CassetteError, match=r"nothing\.jsonl"):
        bench.list_interactions("nothing.jsonl")


# --- runs ------------------------------------------------------------------------------------


class Served:
    """A data directory in which a server has kept a few runs; ``ids`` are theirs."""

    def __init__(self, directory: Path, ids: dict[str, str]) -> None:
        self.directory, self.ids = directory, ids

    def bench(self, **archive: Any) -> Workbench:
        def settings(cassette: Path | None) -> Settings:
            flags = {"upstream": "http://upstream.invalid/v1", "replay": cassette and str(cassette)}
            return load_settings(flags, {}, self.directory / "antiphon.toml")

        return Workbench(self.directory, archive=Archive(self.directory, **archive), settings=settings)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Served:
    directory = tmp_path_factory.mktemp("data")
    upstream = Recorder(ChatUpstream("Forty degrees."), directory / "run.jsonl", clock=SystemClock())

    async def main() -> dict[str, str]:
        async with whole_app(upstream, directory, keys="ada=k1,bob=k2") as app:  # type: ignore[arg-type]

            async def create(path: str = "/v1/responses", key: str = "k1", **body: Any) -> str:
                return str((await ask(app, "POST", path, body, key=key)).json["id"])

            first = await create(model="gpt-a", input="How hot is it in Florence?")
            ids = {
                "first": first,
                "second": await create(model="gpt-a", input="And in 100% of Rome?", previous_response_id=first),
                "calls": await create(model="gpt-b", input="Look it up", tools=[WEATHER], tool_choice="required"),
                "bob's": await create(key="k2", model="gpt-a", input="Florence, too"),
                "chat": await create(
                    "/v1/chat/completions", model="c", store=True, messages=[{"role": "user", "content": "Pisa?"}]
                ),
            }
            # Also while the server is using it.
            assert len(Workbench(directory, archive=Archive(directory)).search_runs()["runs"]) == 5
            return ids

    return Served(directory, asyncio.run(main()))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["chat", "bob's", "calls", "second", "first"]),
        ({"query": "florence"}, ["bob's", "first"]),
        ({"query": "100% of"}, ["second"]),
        ({"query": "forty DEGREES"}, ["chat", "bob's", "second", "first"]),
        ({"query": "pisa"}, ["chat"]),
        ({"query": "nowhere"}, []),
        ({"model": "gpt-b"}, ["calls"]),
        ({"model": "gpt-*", "limit": 2}, ["bob's", "calls"]),
        ({"status": "failed"}, []),
        ({"since": "2000-01-01", "model": "c"}, ["chat"]),
        ({"since": "2999-01-01T00:00:00Z"}, []),
    ],
)
def test_runs_are_found_by_what_was_said(kept: Served, asked: dict[str, Any], found: list[str]) -> None:
    names = {id_: name for name, id_ in kept.ids.items()}
    assert [names[run["id"]] for run in kept.bench().search_runs(**asked)["runs"]] == found


def test_runs_of_one_owner_are_all_there_is_for_who_may_see_no_other(kept: Served) -> None:
    bench = kept.bench(owner="bob")
    assert [run["id"] for run in bench.search_runs()["runs"]] == [kept.ids["bob's"]]
    with pytest.raises(NotFound):
        bench.show_run(kept.ids["first"])


def test_a_run_is_shown_with_its_input_and_its_response(kept: Served) -> None:
    shown = kept.bench().show_run(kept.ids["second"])
    assert shown["previous_response_id"] == kept.ids["first"]
    assert shown["input"][0]["content"] == [{"type": "input_text", "text": "And in 100% of Rome?"}]
    assert shown["response"]["output"][0]["content"][0]["text"] == "Forty degrees."
    assert "events" not in shown


def test_the_journal_of_a_run_is_shown_without_the_pieces_of_texts(kept: Served) -> None:
    events = kept.bench().show_run(kept.ids["calls"], with_events=True)["events"]
    types = [event["type"] for event in events]
    assert types[0] == "run.started"
    assert types[-1] == "run.finished"
    assert "tool_call.finished" in types
    assert not [each for each in types if each.endswith(".delta")]


def test_a_chat_completion_is_shown_as_one(kept: Served) -> None:
    shown = kept.bench().show_run(kept.ids["chat"])
    assert shown["response"]["choices"][0]["message"]["content"] == "Forty degrees."


def test_a_time_that_is_none_is_refused(kept: Served) -> None:
    with pytest.raises(UsageError, match="'yesterday' is no time"):
        kept.bench().search_runs(since="yesterday")


def test_a_directory_without_a_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="There is no database"):
        Workbench(tmp_path, archive=Archive(tmp_path)).search_runs()
    assert list(tmp_path.iterdir()) == []


# --- again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["first", "second", "calls", "chat"])
def test_a_run_is_replayed_from_its_cassette_with_what_came_before_it(kept: Served, name: str) -> None:
    again = asyncio.run(kept.bench().replay_run(kept.ids[name], cassette="run.jsonl"))
    assert again["is_same"], again
    assert again["first_difference"] is None


def test_another_model_is_asked_and_both_answers_are_told(kept: Served) -> None:
    upstream = ChatUpstream("Thirty.")
    with mock.patch.object(wiring, "_live", return_value=upstream):
        again = asyncio.run(kept.bench().replay_run(kept.ids["second"], model="gpt-z"))
    assert [body["model"] for body in upstream.asked] == ["gpt-z"]
    assert [message["content"] for message in upstream.asked[0]["messages"]] == [
        *("How hot is it in Florence?", "Forty degrees.", "And in 100% of Rome?")
    ]
    texts = [again[side]["output"][0]["content"][0]["text"] for side in ("before", "now")]
    assert (texts, again["is_same"], again["first_difference"]) == (["Forty degrees.", "Thirty."], False, 0)


def test_a_replay_without_a_recorded_answer_says_what_is_missing(kept: Served) -> None:
    again = asyncio.run(kept.bench().replay_run(kept.ids["first"], model="gpt-z", cassette="run.jsonl"))
    assert again["status"] == 422
    assert "differs at $.model" in again["error"]["message"]


def test_nothing_is_stored_of_a_replay(kept: Served) -> None:
    before = len(kept.bench().search_runs()["runs"])
    asyncio.run(kept.bench().replay_run(kept.ids["first"], cassette="run.jsonl"))
    assert len(kept.bench().search_runs()["runs"]) == before


def test_a_replay_needs_a_configuration(kept: Served) -> None:
    bench = Workbench(kept.directory, archive=Archive(kept.directory))
    with pytest.raises(UsageError, match="There is no configuration"):
        asyncio.run(bench.replay_run(kept.ids["first"]))


def test_a_configuration_that_is_wrong_is_told(kept: Served) -> None:
    def settings(cassette: Path | None) -> Settings:
        return load_settings({}, {}, kept.directory / "antiphon.toml")

    bench = Workbench(kept.directory, archive=Archive(kept.directory), settings=settings)
    with pytest.raises(ConfigError, match="There is no upstream"):
        asyncio.run(bench.replay_run(kept.ids["first"]))
