"""``[mcp_servers]`` and ``[egress]`` in antiphon.toml."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from antiphon.config import EgressSettings, McpServerSettings, Settings, load_settings
from antiphon.errors import ConfigError
from antiphon.wire.hosted import ApprovalFilter, ToolFilter

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(toml: str, env: Mapping[str, str] | None = None, **flags: str) -> Settings:
        path = tmp_path / "antiphon.toml"
        path.write_text(toml, "utf-8")
        return load_settings({"upstream": "http://localhost/v1", **flags}, env or {}, path)

    return load


def test_a_server_behind_a_url_and_one_of_a_command(load: Load) -> None:
    settings = load(
        """
        [mcp_servers.docs]
        url = "https://mcp.example.com/mcp"
        authorization_env = "DOCS_TOKEN"
        allowed_tools = ["search"]
        require_approval = "never"
        timeout_s = 20

        [mcp_servers.git]
        command = "uvx"
        args = ["mcp-server-git"]
        env = { HOME = "/srv" }
        allowed_tools = { read_only = true }
        require_approval = { never = { tool_names = ["log"] } }

        [egress]
        allow = ["10.0.0.0/8", "tools.internal"]
        """,
        {"DOCS_TOKEN": " secret-token "},
    )
    assert settings.mcp_servers["docs"] == McpServerSettings(
        name="docs",
        url="https://mcp.example.com/mcp",
        authorization_env="DOCS_TOKEN",
        authorization="secret-token",
        allowed_tools=("search",),
        require_approval="never",
        timeout_s=20.0,
    )
    assert settings.mcp_servers["git"].allowed_tools == ToolFilter(read_only=True)
    assert settings.mcp_servers["git"].require_approval == ApprovalFilter(never=ToolFilter(tool_names=("log",)))
    assert settings.egress == EgressSettings(allow=("10.0.0.0/8", "tools.internal"))


def test_no_server_and_no_exception_is_the_default(load: Load) -> None:
    settings = load("")
    assert (settings.mcp_servers, settings.egress.allow) == ({}, ())


def test_the_secrets_of_a_server_are_in_no_repr(load: Load) -> None:
    settings = load(
        """
        [mcp_servers.a]
        url = "https://user:s3cret-a@h/mcp?key=s3cret-b"
        headers = { x-key = "s3cret-c" }
        authorization = "s3cret-d"
        [mcp_servers.b]
        command = "x"
        args = ["--key", "s3cret-e"]
        env = { KEY = "s3cret-f" }
        """
    )
    assert "s3cret" not in repr(settings)
    assert "https://***h/mcp***" in repr(settings)


def test_a_replay_needs_no_token(load: Load) -> None:
    toml = "[mcp_servers.a]\nurl = 'http://h'\nauthorization_env = 'NOT_SET'"
    assert load(toml, replay="cassette.jsonl").mcp_servers["a"].authorization is None


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("mcp_servers = 1", "mcp_servers is 1, but must be a table"),
        ("mcp_servers.a = 1", r"mcp_servers\.a must be a table"),
        ("[mcp_servers.'a b']\nurl = 'http://h'", "the name must begin with a letter"),
        ("[mcp_servers.a]", "has neither url and command"),
        ("[mcp_servers.a]\nurl = 'http://h'\ncommand = 'x'", "has both url and command"),
        ("[mcp_servers.a]\nurl = 'http://h'\nname = 'x'", r"mcp_servers\.a\.name is not a setting"),
        ("[mcp_servers.a]\nurl = 'http://h'\nallowed_tool = []", "Did you mean 'allowed_tools'"),
        ("[mcp_servers.a]\nurl = 'ftp://h'", r"a\.url must be a URL such as"),
        ("[mcp_servers.a]\nurl = 'http://h:x'", r"a\.url must be a URL such as"),
        ("[mcp_servers.a]\nurl = 'http://h'\nargs = ['x']", r"a\.args means nothing beside url"),
        ("[mcp_servers.a]\ncommand = 'x'\nallow_private = true", r"a\.allow_private means nothing beside command"),
        ("[mcp_servers.a]\nurl = 'http://h'\nheaders = {'a b' = 'c'}", r"a\.headers: 'a b' is no header name"),
        ("[mcp_servers.a]\nurl = 'http://h'\ntimeout_s = 0", r"mcp_servers\.a\.timeout_s: Expected `float` > 0"),
        ("[mcp_servers.a]\nurl = 'http://h'\nrequire_approval = 'ask'", r"mcp_servers\.a\.require_approval: "),
        ("[mcp_servers.a]\nurl = 'http://h'\nauthorization_env = 'NO'", "names the variable NO, which is not set"),
        ("[mcp_servers.a]\nurl = 'http://h'\nauthorization_env = 'sk-key'", "not shown: it may be a token"),
        ("[mcp_servers.a]\nurl = 'http://h'\nauthorization_env = 'T'\nauthorization = 'u'", "exclude each other"),
        ("egress = 1", "egress must be a table"),
        ("[egress]\nallowed = []", r"egress\.allowed is not a setting. Did you mean 'allow'"),
        ("[egress]\nallow = 'x'", r"egress\.allow: Expected `array`"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(load: Load, toml: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(toml, {"T": "token"})
