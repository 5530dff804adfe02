"""What was sealed opens for its owner, unchanged, under any key that is still there; and for nobody else."""

import base64
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import ConfigError, InvalidRequest
from antiphon.sealing import KEY_FILE, Keyring, open_keyring
from antiphon.wire.items import PRIVATE
from antiphon.wire.sealed import PREFIX, opened, sealed_summary, summary_of

OLD, NEW = "the old secret", "the new secret"
ALICE = Keyring([NEW, OLD]).sealer("alice")


@given(st.binary())
def test_what_was_sealed_opens_to_the_same(content: bytes) -> None:
    sealed = ALICE.seal("reasoning", content)
    assert sealed.startswith(PREFIX)
    assert ALICE.open("reasoning", sealed) == content
    assert ALICE.seal("reasoning", content) == sealed  # a run is rendered more than once


@given(st.binary(min_size=1), st.data())
def test_no_bit_can_be_changed(content: bytes, data: st.DataObject) -> None:
    head, _, encoded = ALICE.seal("reasoning", content).rpartition(".")
    sealed = bytearray(base64.urlsafe_b64decode(encoded))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ValueError, match="changed"):
        ALICE.open("reasoning", f"{head}.{base64.urlsafe_b64encode(sealed).decode()}")


@given(st.text())
def test_what_is_not_sealed_is_a_value_error_and_nothing_else(text: str) -> None:
    for content in (text, PREFIX + text, f"{PREFIX}{Keyring([NEW]).newest}.{text}"):
        with pytest.raises(ValueError, match="it was"):
            ALICE.open("reasoning", content)


def test_nothing_opens_for_another_owner_or_as_another_kind() -> None:
    sealed = ALICE.seal("reasoning", b"thoughts")
    with pytest.raises(ValueError, match="another owner"):
        Keyring([NEW]).sealer("bob").open("reasoning", sealed)
    with pytest.raises(ValueError, match="changed"):
        ALICE.open("compaction", sealed)


def test_keys_rotate() -> None:
    before = Keyring([OLD]).sealer("alice").seal("reasoning", b"thoughts")
    assert ALICE.open("reasoning", before) == b"thoughts"
    assert ALICE.seal("reasoning", b"thoughts", key=Keyring([OLD]).newest) == before  # an old run reads as before
    assert ALICE.seal("reasoning", b"thoughts") != before
    with pytest.raises(ValueError, match="does not have"):
        Keyring([NEW]).sealer("alice").open("reasoning", before)


def test_a_secret_is_made_once_and_only_its_user_can_read_it(tmp_path: Path) -> None:
    first = open_keyring((), tmp_path, new_secret="one")
    second = open_keyring((), tmp_path, new_secret="two")
    assert first.newest == second.newest
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert open_keyring(("three",), tmp_path, new_secret="four").newest != first.newest


def test_a_key_file_that_is_empty_or_not_there_to_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).touch()
    with pytest.raises(ConfigError, match="is empty"):
        open_keyring((), tmp_path, new_secret="one")
    with pytest.raises(ConfigError, match="cannot be used"):
        open_keyring((), tmp_path / "nowhere", new_secret="one")


# --- items at the door --------------------------------------------------------------------------


def reasoning(content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": content, **more}


def test_what_was_sealed_becomes_the_items_private_member() -> None:
    (item,) = opened([reasoning(ALICE.seal("reasoning", b'{"text":"Hm"}'))], ALICE)
    assert item[PRIVATE] == {"text": "Hm"}
    (item,) = opened([{"type": "compaction", "encrypted_content": sealed_summary("They met.", ALICE)}], ALICE)
    assert summary_of(item).endswith("They met.")


def test_a_client_cannot_bring_private_members_of_its_own() -> None:
    forged = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", PRIVATE: {"provider_data": {}}}
    assert PRIVATE not in opened([forged], ALICE)[0]
    assert PRIVATE not in opened([reasoning(None, antiphon={"details": []})], ALICE)[0]


@pytest.mark.parametrize("content", ["gAAAA of another server", "antiphon1.eyJ0ZXh0IjoiSG0ifQ==", "", None])
def test_reasoning_that_others_sealed_is_left_as_it_is(content: Any) -> None:
    item = reasoning(content)
    assert opened([item], ALICE) == [item]


@pytest.mark.parametrize(
    "item",
    [
        reasoning(PREFIX + "00000000.AAAA"),
        reasoning(Keyring([NEW]).sealer("bob").seal("reasoning", b"{}")),
        {"type": "compaction", "encrypted_content": "gAAAA of another server"},
        {"type": "compaction", "encrypted_content": ALICE.seal("reasoning", b"{}")},
    ],
)
def test_what_cannot_be_opened_is_refused(item: dict[str, Any]) -> None:
    for sealer in (ALICE, None):
        with pytest.raises(InvalidRequest) as caught:
            opened([{"type": "message", "role": "user", "content": "hi"}, item], sealer)
        assert (caught.value.reason, caught.value.param) == ("invalid_encrypted_content", "input[1].encrypted_content")
