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
