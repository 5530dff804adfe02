import pytest

from antiphon.config import hash_key
from antiphon.errors import AccessDenied
from antiphon.server.auth import Keys

KEYS = {hash_key("sk-alice"): "alice", hash_key("sk-bob"): "bob"}


def test_a_key_is_an_owner() -> None:
    keys = Keys(KEYS)
    assert keys.owner("Bearer sk-alice") == "alice"
    assert keys.owner("bearer  sk-bob ") == "bob"


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic sk-alice", "sk-alice", "Bearer sk-alic", "Bearer sk-alicE", "Bearer ключ"],
)
def test_anything_else_is_denied_and_not_repeated(header: str | None) -> None:
    with pytest.raises(AccessDenied) as caught:
        Keys(KEYS).owner(header)
    assert "sk-" not in caught.value.message


def test_without_keys_everyone_is_local() -> None:
    assert Keys({}).owner(None) == Keys({}).owner("Bearer anything") == "local"


def test_callers_whose_keys_are_forwarded_are_kept_apart() -> None:
    keys = Keys({}, forward_auth=True)
    one, other = keys.owner("Bearer one"), keys.owner("Bearer other")
    assert one != other
    assert one == keys.owner("Bearer one")
    assert "one" not in one.removeprefix("key_")
    assert keys.owner(None) == "local"


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost.evil.example", "null", ""])
def test_other_hosts_web_pages_may_not_use_a_local_server_without_keys(origin: str) -> None:
    with pytest.raises(AccessDenied, match="Web pages"):
        Keys({}, local_only=True).owner(None, origin)
    assert Keys({}).owner(None, origin) == "local"
    assert Keys(KEYS, local_only=True).owner("Bearer sk-alice", origin) == "alice"


@pytest.mark.parametrize("origin", [None, "http://localhost:3000", "http://127.0.0.1", "http://[::1]:8484"])
def test_pages_of_this_machine_and_programs_may(origin: str | None) -> None:
    assert Keys({}, local_only=True).owner(None, origin) == "local"
