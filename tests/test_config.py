"""Settings: what goes before what, what is refused and how it is said, and which upstream a model goes to."""

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.config import (
    EgressSettings,
    FileSettings,
    LimitSettings,
    McpServerSettings,
    ModelRoute,
    RetrievalSettings,
    Route,
    Settings,
    ToolSettings,
    UpstreamSettings,
    hash_key,
    load_settings,
    route,
)
from antiphon.errors import ConfigError, ModelNotFound

URL = "http://localhost:8080/v1"
DOCS = Path(__file__).parents[1] / "docs" / "configuration.md"

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load settings in an empty directory; ``toml`` becomes its antiphon.toml, and an upstream is there by default."""
    monkeypatch.chdir(tmp_path)

    def load(toml: str = "", env: Mapping[str, str] | None = None, **flags: Any) -> Settings:
        Path("antiphon.toml").write_text(toml, "utf-8")
        if "upstream" not in flags and "[upstreams." not in toml:
            flags["upstream"] = URL
        return load_settings(flags, env or {})

    return load


# --- what goes before what -------------------------------------------------------------------


def test_one_line_is_enough_to_start(load: Load) -> None:
    settings = load(upstream=URL, env={"XDG_DATA_HOME": "/data"})
    assert settings.upstreams == {"default": UpstreamSettings(name="default", base_url=URL)}
    assert (settings.host, settings.data_dir, settings.api_keys) == ("127.0.0.1", Path("/data/antiphon"), {})
    assert route(settings, "any/model") == [Route("default", "any/model")]


def test_no_file_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({"upstream": URL}, {}).upstreams["default"].base_url == URL


def test_flags_go_before_variables_before_the_file_before_defaults(load: Load) -> None:
    toml, env = "port = 1\nmatch = 'order'", {"ANTIPHON_PORT": "2", "ANTIPHON_HOST": "127.0.0.2"}
    assert load(toml, env, port=3).port == 3
    assert load(toml, env, port=None).port == 2
    assert load(toml, env | {"ANTIPHON_PORT": ""}).port == 1
    assert load("").port == Settings(upstreams={}, data_dir=Path()).port
    assert (load(toml, env).host, load(toml, env).match) == ("127.0.0.2", "order")


def test_a_flag_that_is_false_was_not_given(load: Load) -> None:
    assert load("no_auth = true", no_auth=False).no_auth is True
    assert load("no_auth = true", {"ANTIPHON_NO_AUTH": "false"}).no_auth is False


def test_another_file_can_be_named_and_its_paths_begin_beside_it(load: Load, tmp_path: Path) -> None:
    other = tmp_path / "etc" / "other.toml"
    other.parent.mkdir()
    other.write_text('data_dir = "data"\nrecord = "/abs.jsonl"')
    settings = load_settings({"upstream": URL}, {}, other)
    assert (settings.data_dir, settings.record) == (other.parent / "data", Path("/abs.jsonl"))
    assert load_settings({"upstream": URL, "data_dir": Path("here")}, {}, other).data_dir == Path("here")


def test_the_upstream_of_a_flag_goes_before_those_of_the_file(load: Load) -> None:
    settings = load("[upstreams.default]\nbase_url = 'http://a'\n[upstreams.b]\nbase_url = 'http://b'", upstream=URL)
    assert [(name, upstream.base_url) for name, upstream in settings.upstreams.items()] == [
        ("default", URL),
        ("b", "http://b"),
    ]


# --- secrets ---------------------------------------------------------------------------------


def test_the_key_of_an_upstream_comes_from_its_variable(load: Load) -> None:
    settings = load(upstream=URL, api_key_env="UP_KEY", env={"UP_KEY": "sk-secret\n"})
    assert settings.upstreams["default"].api_key == "sk-secret"


def test_the_key_of_one_upstream_never_goes_to_another(load: Load) -> None:
    env = {"ANTIPHON_UPSTREAM": "http://mine", "ANTIPHON_API_KEY_ENV": "UP_KEY", "UP_KEY": "sk-secret"}
    assert load_settings({}, env).upstreams["default"].api_key == "sk-secret"
    assert load(upstream="http://other", env=env).upstreams["default"].api_key is None


def test_secrets_are_in_no_repr_and_no_message(load: Load) -> None:
    toml = "[upstreams.a]\nbase_url = 'http://a'\napi_key = 'sk-secret'\nheaders = {x-key = 'sk-secret'}"
    settings = load(toml, {"ANTIPHON_API_KEYS": "sk-secret"})
    assert settings.upstreams["a"].api_key == "sk-secret"
    assert "sk-secret" not in f"{settings!r} {settings.upstreams['a'].__rich_repr__()}"
    for wrong in (
        "[upstreams.a]\nbase_url = 'http://a'\napi_key = ['sk-secret']",
        "[upstreams.a]\nbase_url = 'http://a'\nheaders = {x = ['sk-secret']}",
        "[upstreams.a]\nbase_url = 'http://a'\nheaders = {x = \"sk-secret\\n\"}",
        "[upstreams.a]\nbase_url = 'http://a'\napi_key_env = 'sk-secret'",
        "[upstreams.a]\nbase_url = 'http://me:sk-secret@a'",
        "[upstreams.a]\nbase_url = 'ftp://me:sk-secret@a'",
    ):
        with pytest.raises(ConfigError) as caught:
            load(wrong)
        assert "sk-secret" not in str(caught.value)


def test_callers_keys_are_kept_as_hashes_with_their_owners(load: Load) -> None:
    keys = load(env={"ANTIPHON_API_KEYS": "ada=sk-1, ada=sk-2,abc==,bob=x=="}).api_keys
    bare = hash_key("abc==")
    assert keys == {hash_key("sk-1"): "ada", hash_key("sk-2"): "ada", bare: f"key_{bare[:32]}", hash_key("x=="): "bob"}


@pytest.mark.parametrize("keys", [",", " ", "sk-1,", "sk-1, sk 2", "sk-1,bob=sk-1", "sk-1,bob=s k"])
def test_unclear_callers_keys_are_refused_by_position(load: Load, keys: str) -> None:
    with pytest.raises(ConfigError, match=r"ANTIPHON_API_KEYS: entry [12] ") as caught:
        load(env={"ANTIPHON_API_KEYS": keys})
    assert "sk" not in str(caught.value)


# --- who may listen where --------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_keys(load: Load, host: str) -> None:
    assert load(host=host).host == host


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.2", "example.org", "localhost.example.org", "::ffff:1.2.3.4"]
)
def test_any_other_address_needs_keys_or_no_auth(load: Load, host: str) -> None:
    with pytest.raises(ConfigError, match=rf"{re.escape(repr(host))}.*ANTIPHON_API_KEYS.*--no-auth"):
        load(host=host, forward_auth=True)
    assert load(host=host, no_auth=True).host == host
    assert load(host=host, env={"ANTIPHON_API_KEYS": "sk-1"}).host == host


def test_keys_and_no_auth_contradict_each_other(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"ANTIPHON_API_KEYS.*no_auth"):
        load(no_auth=True, env={"ANTIPHON_API_KEYS": "sk-1"})


# --- recordings ------------------------------------------------------------------------------


def test_no_variable_switches_replay_on(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"ANTIPHON_REPLAY is 'tape\.jsonl'.*--replay FILE"):
        load(env={"ANTIPHON_REPLAY": "tape.jsonl"})
    env = {"ANTIPHON_CONFIG": "other.toml", "ANTIPHON_RECORD": ""}
    Path("other.toml").write_text('replay = "tape.jsonl"')
    assert load(env=env).replay is None


def test_replay_needs_neither_an_upstream_nor_its_key(load: Load) -> None:
    upstreams = load_settings({"replay": "tape.jsonl"}, {}).upstreams
    assert upstreams["default"].base_url.endswith("/v1")
    assert load(upstream=URL, api_key_env="NOT_SET", replay="tape.jsonl").replay == Path("tape.jsonl")


def test_recording_and_replaying_at_once_is_refused(load: Load) -> None:
    with pytest.raises(ConfigError, match="ANTIPHON_RECORD and --replay exclude each other"):
        load(replay="a", env={"ANTIPHON_RECORD": "b"})


# --- what is refused, and how it is said -----------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("prot = 1", r"antiphon\.toml: prot is not a setting. Did you mean 'port'?"),
        ("zzz = 1", r"antiphon\.toml: zzz is not a setting. There are: host, .*limits"),
        ("api_keys = 'a'", r"antiphon\.toml: api_keys is not a setting"),
        ("[limits]\nmax_turn = 1", r"antiphon\.toml: limits\.max_turn is not a setting. Did you mean 'max_turns'?"),
        ("[limits]\nmax_turns = 0", r"antiphon\.toml: limits\.max_turns: 0 is not allowed; it must be a whole number"),
        ("limits = 3", r"antiphon\.toml: limits is 3, but must be a table"),
        ("port = '80'", r"antiphon\.toml: port: '80' is not allowed; it must be a number from 0"),
        ("port = 65536", r"antiphon\.toml: port: 65536 is not allowed"),
        ("match = 'Body'", r"antiphon\.toml: match: 'Body' is not allowed; it must be 'body' or 'order'"),
        ("replay = ''", r"antiphon\.toml: replay: '' is not allowed; it must be a path"),
        ("data_dir = 7", r"antiphon\.toml: data_dir: 7 is not allowed; it must be a path"),
        ("port = 1\nport = 2\nhost = 3", r"antiphon\.toml is not valid TOML: .*line 2"),
        ("[upstreams.'a/b']\nbase_url = 'http://a'", "upstream 'a/b' must be of letters"),
        ("[upstreams.a]\nmodels = ['x']", r"upstreams\.a\.base_url is missing; it must be a URL"),
        ("[upstreams.a]\nbase_url = 'http://a'\nmodels = 'x'", r"upstreams\.a\.models: 'x' is not allowed"),
        ("[upstreams.a]\nbase_url = 'http://a'\nbaseurl = 'x'", r"upstreams\.a\.baseurl .* mean 'base_url'"),
        ("[upstreams.a]\nbase_url = 'http://a'\nname = 'x'", r"upstreams\.a\.name is not a setting"),
        ("[upstreams.a]\nbase_url = 'http://a'\nread_timeout_s = 0", r"read_timeout_s: 0 .* seconds above 0"),
        ("[upstreams.a]\nbase_url = 'http://a'\nheaders = {'a b' = 'c'}", r"upstreams\.a\.headers: 'a b' is no header"),
        ("[upstreams.a]\nbase_url = 'http://a'\napi_key_env = 'NO'", r"a\.api_key_env names the variable NO, which"),
        ("[upstreams.a]\nbase_url = 'http://a'\napi_key_env = 'UP'\napi_key = 'k'", "exclude each other"),
        ("[models.x]\nmodel = 'm'", r"models\.x\.upstream is missing"),
        ("[models.x]\nupstream = 'defalt'\nmodel = 'm'", r"no upstream 'defalt'. Did you mean 'default'?"),
        ("[models.x]\nupstream = 'default'\nmodel = 'm'\nfallbacks = ['m']", "'m' is not allowed; .*'upstream/model'"),
        ("[models.x]\nupstream = 'default'\nmodel = 'm'\nfallbacks = ['q/m']", "no upstream 'q'. There are: default"),
    ],
)
def test_the_file_is_checked_to_the_last_key(load: Load, toml: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(toml, {"UP": "k"})


def test_flags_and_variables_are_named_in_their_errors(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"^ANTIPHON_PORT: 'many' is not allowed; it must be a number"):
        load(env={"ANTIPHON_PORT": "many"})
    with pytest.raises(ConfigError, match=r"^--port: 99999 is not allowed"):
        load(port=99999)
    with pytest.raises(ConfigError, match=r"^--upstream: 'localhost:8080' is not allowed; it must be a URL"):
        load(upstream="localhost:8080")
    with pytest.raises(ConfigError, match=r"^--api-key-env names the variable NO, which is not set"):
        load(api_key_env="NO")
    with pytest.raises(ConfigError, match=r"^ANTIPHON_RECORD: 'null' is not allowed; it must be a path"):
        load(env={"ANTIPHON_RECORD": "null"})
    with pytest.raises(ConfigError, match=r"^--prot is not a setting. Did you mean 'port'"):
        load(prot=1)


def test_a_key_without_its_upstream_is_refused(load: Load) -> None:
    with pytest.raises(ConfigError, match="--api-key-env is set, but there is no --upstream"):
        load("[upstreams.a]\nbase_url = 'http://a'", api_key_env="UP", env={"UP": "k"})


def test_no_upstream_is_refused_with_the_ways_to_give_one(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"--upstream http.*ANTIPHON_UPSTREAM.*\[upstreams\.NAME\]"):
        load_settings({}, {})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml cannot be read: No such file"):
        load_settings({"upstream": URL}, {}, tmp_path / "gone.toml")
    (tmp_path / "latin.toml").write_bytes(b'host = "\xe9"')
    with pytest.raises(ConfigError, match=r"latin\.toml is not valid TOML"):
        load_settings({"upstream": URL}, {}, tmp_path / "latin.toml")


@pytest.mark.parametrize(
    ("url", "base_url"),
    [
        ("http://h/v1/", "http://h/v1"),
        (" https://h ", "https://h"),
        ("http://[::1]:80/openai//", "http://[::1]:80/openai"),
        ("HTTPS://H/v1", "HTTPS://H/v1"),
    ],
)
def test_a_base_url_keeps_its_path_and_loses_its_last_slash(load: Load, url: str, base_url: str) -> None:
    assert load(upstream=url).upstreams["default"].base_url == base_url


@pytest.mark.parametrize(
    "url",
    ["", "h/v1", "ftp://h", "http://", "http:///v1", "http://h:x", "http://h:0", "http://[::1", "http://h?key=1"]
    + ["http://h/#x", "http://me@h", "http://h/v1/chat/completions", "http://h/v1/chat/completions/"],
)
def test_what_is_no_base_url_is_refused(load: Load, url: str) -> None:
    with pytest.raises(ConfigError, match=r"^antiphon\.toml: upstreams\.a\.base_url: "):
        load(f"[upstreams.a]\nbase_url = '{url}'")


scalars = st.sampled_from([0, -1, 80, 0.5, True, False, "", "a", "http://a", "body", "a/b"])
names = st.sampled_from(["a", "default", "base_url", "models", "headers", "upstream", "model", "fallbacks"])
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner), max_leaves=6)
keys = st.sampled_from(["host", "port", "data_dir", "match", "replay", "upstreams", "models", "limits"])


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name} = {as_toml(inner)}' for name, inner in value.items())}}}"
    return f"[{', '.join(map(as_toml, value))}]" if isinstance(value, list) else json.dumps(value)


@given(st.dictionaries(keys, values))
def test_whatever_a_file_says_is_taken_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, toml: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "drawn.toml"
    path.write_text("\n".join(f"{name} = {as_toml(value)}" for name, value in toml.items()))
    with contextlib.suppress(ConfigError):  # anything else is a fault of ours
        load_settings({"upstream": URL, "no_auth": True}, {}, path)


# --- which upstream a model goes to ----------------------------------------------------------


@pytest.fixture
def routed() -> Settings:
    return Settings(
        data_dir=Path(),
        upstreams={
            "local": UpstreamSettings(name="local", base_url=URL, models=("qwen*", "gpt-oss-20b")),
            "groq": UpstreamSettings(name="groq", base_url=URL, models=("qwen-max", "openai/*")),
        },
        models={
            "fast": ModelRoute(upstream="local", model="qwen3", fallbacks=("groq/qwen/qwen3-32b", "local/x")),
            "groq/odd": ModelRoute(upstream="local", model="odd"),
        },
    )


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("fast", [("local", "qwen3"), ("groq", "qwen/qwen3-32b"), ("local", "x")]),
        ("groq/odd", [("local", "odd")]),  # an alias goes before a prefix
        ("groq/qwen3", [("groq", "qwen3")]),  # a prefix before the patterns, and without asking them
        ("groq/openai/gpt-oss", [("groq", "openai/gpt-oss")]),
        ("qwen-max", [("local", "qwen-max")]),  # the first of two
        ("openai/gpt-oss", [("groq", "openai/gpt-oss")]),
    ],
)
def test_a_model_goes_where_alias_prefix_or_pattern_say(
    routed: Settings, model: str, expected: list[tuple[str, str]]
) -> None:
    assert route(routed, model) == expected


@pytest.mark.parametrize("model", ["", "QWEN3", "groq", "groq/", "gpt-oss-120b", "other/qwen3"])
def test_a_model_that_nobody_takes_is_answered_with_those_known(routed: Settings, model: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        route(routed, model)
    assert caught.value.known == ("fast", "groq/odd", "qwen*", "gpt-oss-20b", "qwen-max", "openai/*")


# --- owners and seals ------------------------------------------------------------------------


def test_an_owner_has_settings_of_its_own(load: Load) -> None:
    owners = load('[owners.ada]\nprofile = "open-responses"\n').owners
    assert (owners["ada"].profile, owners["ada"].reasoning_events) == ("open-responses", None)
    with pytest.raises(ConfigError, match=r"owners\.ada\.profile: 'strict' is not allowed"):
        load('[owners.ada]\nprofile = "strict"\n')


def test_seal_keys_are_taken_newest_first_and_shown_nowhere(load: Load) -> None:
    new, old = "n" * 32, "o" * 32
    settings = load(env={"ANTIPHON_SEAL_KEYS": f"{new}, {old}"})
    assert settings.seal_keys == (new, old)
    assert new not in repr(settings)


@pytest.mark.parametrize("value", ["hunter2", "x" * 32 + ",", "x" * 32 + ", hunter2"])
def test_a_seal_key_that_can_be_guessed_is_refused_without_being_shown(load: Load, value: str) -> None:
    with pytest.raises(ConfigError, match=r"key \d is shorter") as caught:
        load(env={"ANTIPHON_SEAL_KEYS": value})
    assert value not in caught.value.message


# --- the documentation -----------------------------------------------------------------------


def test_every_setting_is_documented_with_its_default() -> None:
    docs = DOCS.read_text("utf-8")
    rows: dict[str, str] = {}
    for name, row in re.findall(r"^\| `(\w+)` \|(.*)\|$", docs, re.MULTILINE):
        rows[name] = rows.get(name, "") + row  # two tables may each have a setting of one name
    chapters = {"upstreams", "models", "limits", "dialects", "owners", "scrub", "files", "retrieval"}
    chapters |= {"mcp_servers", "egress", "tools"}
    of_settings = (Settings, UpstreamSettings, ModelRoute, LimitSettings, McpServerSettings, EgressSettings)
    for struct in (*of_settings, FileSettings, RetrievalSettings, ToolSettings):
        for field in msgspec.structs.fields(struct):
            if struct is Settings and field.name in chapters:
                assert f"[{field.name}" in docs  # a chapter of its own
                continue
            assert field.name in rows
            if isinstance(field.default, str | int | float):
                shown = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
                assert f"`{shown.lower()}`" in rows[field.name], field.name


def test_every_variable_of_the_documentation_is_read(load: Load) -> None:
    values = {"PORT": "1", "NO_AUTH": "true", "FORWARD_AUTH": "true", "MATCH": "order", "UPSTREAM": "http://u"}
    values |= {"PROFILE": "open-responses", "REASONING_EVENTS": "raw", "UNSUPPORTED_TOOLS": "refuse"}
    values |= {"REPAIR": "never", "ON_INTERRUPTION": "fail"}
    documented = set(re.findall(r"ANTIPHON_(\w+)", DOCS.read_text())) - {"API_KEYS", "API_KEY_ENV", "SEAL_KEYS"}
    documented.remove("UPSTREAM_API")  # tried where upstreams by their usual names are
    assert documented == {*values, "HOST", "DATA_DIR", "RECORD"}
    before = load_settings({"upstream": URL}, {})
    for name in documented - {"UPSTREAM"}:
        env = {f"ANTIPHON_{name}": values.get(name, "127.0.0.9")}
        assert getattr(load(env=env), name.lower()) != getattr(before, name.lower())


def test_the_example_of_the_documentation_works(load: Load) -> None:
    (toml,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    settings = load(toml, {"GROQ_API_KEY": "k"})
    assert route(settings, "fast") == [Route("local", "gpt-oss-20b"), Route("groq", "openai/gpt-oss-20b")]
    assert route(settings, "groq/llama-3.3-70b") == [Route("groq", "llama-3.3-70b")]
