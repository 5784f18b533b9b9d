"""Where a value comes from, and what is said about one that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fwd_server.settings import SettingRow, Settings, SettingsError, describe_settings, load_settings
from fwd_server.values.provider_info import provider_info
from fwd_server.values.timeouts import Timeouts


def problems(env: Mapping[str, str], flags: Mapping[str, str] | None = None, dotenv: str = "") -> list[str]:
    """The lines of the error that these values make."""
    with pytest.raises(SettingsError) as caught:
        load_settings(flags or {}, env, dotenv)
    return str(caught.value).splitlines()


def test_nothing_set_gives_the_defaults() -> None:
    """And they are those of the class itself."""
    loaded = load_settings({}, {})
    assert loaded.settings == Settings()
    assert loaded.warnings == ()
    assert {source for source, _ in loaded.sources.values()} == {"default"}


def test_flags_win_over_the_environment_and_that_over_dotenv() -> None:
    """Design section 4; each value remembers its source."""
    dotenv = "FWD_HOST=::1\nFWD_WORKERS=2\nFWD_PORT=1\n"
    loaded = load_settings({"FWD_PORT": "3"}, {"FWD_PORT": "2", "FWD_WORKERS": "4"}, dotenv)
    assert (loaded.settings.port, loaded.settings.workers, loaded.settings.host) == (3, 4, "::1")
    assert loaded.sources["FWD_PORT"] == ("flag --port", "3")
    assert loaded.sources["FWD_WORKERS"] == ("environment", "4")
    assert loaded.sources["FWD_HOST"] == (".env line 1", "::1")


def test_a_setting_without_an_option_of_its_own_may_be_a_flag_too() -> None:
    """It goes by its variable's name then."""
    assert load_settings({"FWD_ECHO": "no"}, {}).sources["FWD_ECHO"] == ("flag FWD_ECHO", "false")


def test_an_empty_value_does_not_hide_the_next_source() -> None:
    """Empty, or blank, is unset."""
    assert load_settings({"FWD_PORT": ""}, {"FWD_PORT": "  "}, "FWD_PORT=7\n").settings.port == 7


def test_every_type_of_value_arrives() -> None:
    """Durations, sizes, flags, choices, lists and paths."""
    env = {"FWD_SSE_KEEPALIVE": "0", "FWD_IDLE_TIMEOUT": "250ms", "FWD_MAX_BODY": "500KB", "FWD_ECHO": "off"}
    env |= {"FWD_LOG_FORMAT": "JSON", "FWD_TRUSTED_PROXIES": "10.0.0.0/8", "FORWARDER_KEYS_FILE": "/k/f.txt"}
    settings = load_settings({}, env).settings
    assert (settings.sse_keepalive, settings.idle_timeout, settings.max_body) == (0, 0.25, 500_000)
    assert (settings.echo, settings.log_format, str(settings.trusted_proxies[0])) == (False, "json", "10.0.0.0/8")
    assert settings.keys_file.as_posix() == "/k/f.txt"


def test_a_bad_value_is_named_with_its_source_and_what_is_allowed() -> None:
    """Name, where it came from, what was found, what is allowed: for a flag, a variable and a line."""
    assert problems({}, {"FWD_PORT": "80a"}) == [
        "FWD_PORT (flag --port): found '80a'; allowed: a whole number, from 0 to 65535"
    ]
    assert problems({"FWD_SSE_KEEPALIVE": "2h"}) == [
        "FWD_SSE_KEEPALIVE (environment): found '2h'; allowed: a duration such as 30, 30s, 500ms or 5m, from 0 to 1h"
    ]
    assert problems({}, dotenv="\nFWD_LOG_LEVEL=loud\n") == [
        "FWD_LOG_LEVEL (.env line 2): found 'loud'; allowed: one of debug, info, warning, error"
    ]


def test_all_problems_are_found_at_once() -> None:
    """Nobody corrects one value to meet the next."""
    env = {"FWD_PORT": "x", "FWD_WORKERS": "0", "OPENAI_BASE_URL": "nowhere", "PROVIDERS_PRIORITY": "closedai"}
    assert {line.split()[0] for line in problems(env)} == set(env)


def test_a_long_value_is_cut_and_control_characters_are_escaped() -> None:
    """A message is one line of bearable length."""
    (line,) = problems({"FWD_PORT": "\x1b[2J\n" + "9" * 500})
    assert "\x1b" not in line
    assert len(line) < 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_API_KEY", "sk canary"),
        ("OPENAI_API_KEY", '"sk-canary"'),
        ("OPENAI_API_KEY", "sk-canary\r\nx: y"),
        ("GROQ_API_KEY", "fwd_canary"),
        ("OPENAI_BASE_URL", "https://user:canary@host/v1"),
        ("OPENAI_BASE_URL", "https://host/v1?key=canary"),
    ],
)
def test_a_secret_is_never_shown_in_a_problem(name: str, value: str) -> None:
    """Contract S12, T16: neither a key nor a password in an address."""
    (line,) = problems({name: value})
    assert line.startswith(f"{name} (environment): found a value that is not shown; allowed: ")
    assert "canary" not in line


def test_secrets_are_masked_wherever_settings_are_shown() -> None:
    """Contract S12, T16."""
    loaded = load_settings({}, {"OPENAI_API_KEY": "sk-canary"})
    assert loaded.settings.providers["openai"].api_key is not None
    assert loaded.settings.providers["openai"].api_key.reveal() == "sk-canary"
    assert SettingRow("OPENAI_API_KEY", "***", "environment") in describe_settings(loaded)
    assert "canary" not in repr(loaded)


def test_every_setting_stands_in_the_description() -> None:
    """``--check`` shows them all, those of FWD_COMPAT too, with values as they would be written."""
    env = {"FWD_COMPAT": "vllm", "VLLM_BASE_URL": "http://localhost:9000/v1/"}
    rows = {row.name: row for row in describe_settings(load_settings({}, env))}
    assert rows["VLLM_BASE_URL"] == SettingRow("VLLM_BASE_URL", "http://localhost:9000/v1", "environment")
    assert rows["VLLM_API_KEY"] == SettingRow("VLLM_API_KEY", "", "default")
    assert rows["FWD_MAX_BODY"] == SettingRow("FWD_MAX_BODY", "10MiB", "default")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("FWD_PROT", "; did you mean FWD_PORT?"),
        ("FWD_LOGLEVEL", "; did you mean FWD_LOG_LEVEL?"),
        ("FWD_ZZZZZZ", ""),
    ],
)
def test_an_unknown_name_is_reported_with_the_nearest_known_one(name: str, hint: str) -> None:
    """Once, wherever it stands."""
    expected = (f"{name} is not a setting of fwd and is not read{hint}",)
    assert load_settings({}, {name: "1"}, f"{name}=2\n").warnings == expected


def test_names_of_the_sdk_and_the_cli_are_known() -> None:
    """FWD_LOG is theirs; nobody is told to correct it."""
    assert load_settings({}, {"FWD_LOG": "debug", "FORWARDER_KEY": "fwd_x", "PATH": "/bin"}).warnings == ()


def test_an_empty_line_of_dotenv_is_a_warning() -> None:
    """The file's warnings are the settings' too."""
    assert load_settings({}, {}, "FWD_ECHO=\n").warnings == ("FWD_ECHO (.env line 1) is empty and treated as not set",)


def test_attempts_are_three_or_the_length_of_the_list() -> None:
    """Contract G1; a number that is set stays."""
    env = {f"{name}_API_KEY": "k" for name in ("OPENAI", "GROQ", "ANTHROPIC")}
    env |= {f"{name}_MODEL": "m" for name in ("OPENAI", "GROQ", "ANTHROPIC")}
    env["PROVIDERS_PRIORITY"] = "openai,groq,anthropic,echo"
    loaded = load_settings({}, env)
    assert loaded.settings.attempts == 4
    assert loaded.sources["FWD_ATTEMPTS"] == ("default", "4")
    assert load_settings({}, {**env, "FWD_ATTEMPTS": "2"}).settings.attempts == 2
    assert load_settings({}, {"PROVIDERS_PRIORITY": "echo"}).settings.attempts == 3


@pytest.mark.parametrize(
    ("env", "url"), [({}, "https://api.mistral.ai/v1"), ({"MISTRAL_BASE_URL": "http://m/v1"}, "http://m/v1")]
)
def test_a_server_of_compat_that_is_known_has_its_address(env: dict[str, str], url: str) -> None:
    """A row of the compatible codec says where it is; like any provider on the internet it is off without a key."""
    provider = load_settings({}, {"FWD_COMPAT": "mistral", **env}).settings.providers["mistral"]
    assert provider.base_url == url
    assert provider.info.key_required
    assert not provider_info("local").key_required


def test_servers_of_compat_have_the_three_variables_of_a_provider() -> None:
    """A dash in the name is an underscore in the variables."""
    env = {"FWD_COMPAT": "my-box", "MY_BOX_BASE_URL": "http://localhost:9/v1", "MY_BOX_MODEL": "m"}
    provider = load_settings({}, env).settings.providers["my-box"]
    assert (provider.name, provider.base_url, provider.model) == ("my-box", "http://localhost:9/v1", "m")
    assert provider.api_key is None


@pytest.mark.parametrize("names", ["openai", "echo", "a-b,a_b", "a,a"])
def test_a_compat_name_must_be_new_and_its_variables_its_own(names: str) -> None:
    """Known providers and two names with the same variables are refused."""
    (line,) = problems({"FWD_COMPAT": names, "A_BASE_URL": "http://x", "A_B_BASE_URL": "http://x"})
    assert line.startswith("FWD_COMPAT (environment): found '")
    assert "allowed: names that differ from each other and from openai, " in line


@pytest.mark.parametrize("names", ["Vllm", "1x", "a b", "x" * 33, "é"])
def test_a_compat_name_is_lower_case_ascii(names: str) -> None:
    """It becomes a prefix and a part of variable names."""
    (line,) = problems({"FWD_COMPAT": names})
    assert line.startswith("FWD_COMPAT (environment): found ")


@pytest.mark.parametrize(
    "provider", ["openai", "anthropic", "google", "groq", "openrouter", "ollama", "echo", "my-box"]
)
def test_every_time_can_be_set_for_one_provider(provider: str) -> None:
    """By its name, those of FWD_COMPAT too; the other providers keep the times of all."""
    env = {f"FWD_{what}_TIMEOUT": "50" for what in ("CONNECT", "FIRST_BYTE", "FIRST_EVENT", "IDLE", "TOTAL")}
    env |= {"FWD_COMPAT": "my-box,other", "MY_BOX_BASE_URL": "http://x", "OTHER_BASE_URL": "http://y"}
    stem = provider.upper().replace("-", "_")
    own = zip(("CONNECT", "FIRST_BYTE", "FIRST_EVENT", "IDLE", "TOTAL"), range(1, 6), strict=True)
    loaded = load_settings({}, {**env, **{f"FWD_{stem}_{what}_TIMEOUT": str(seconds) for what, seconds in own}})
    assert loaded.settings.providers[provider].timeouts == Timeouts(1, 2, 3, 4, 5)
    assert loaded.settings.providers["other"].timeouts == Timeouts(50, 50, 50, 50, 50)
    assert loaded.warnings == ()


def test_ollama_may_load_a_model_whatever_the_others_may() -> None:
    """Its default is its own; a setting of its own changes it."""
    assert (
        load_settings({}, {"FWD_FIRST_EVENT_TIMEOUT": "9"}).settings.providers["ollama"].timeouts.first_event_s == 300
    )
    set_for_it = load_settings({}, {"FWD_OLLAMA_FIRST_EVENT_TIMEOUT": "90"}).settings
    assert set_for_it.providers["ollama"].timeouts.first_event_s == 90


def test_the_first_byte_may_take_as_long_as_the_rest() -> None:
    """0 is no limit: by default, and for one provider where there is one for the others."""
    assert load_settings({}, {}).settings.providers["groq"].timeouts.first_byte_s is None
    settings = load_settings({}, {"FWD_FIRST_BYTE_TIMEOUT": "20", "FWD_OLLAMA_FIRST_BYTE_TIMEOUT": "0"}).settings
    assert [settings.providers[name].timeouts.first_byte_s for name in ("groq", "ollama")] == [20, None]


def test_times_of_one_provider_are_described_when_they_are_its_own() -> None:
    """--check stays readable: what follows the times of all is said there."""
    loaded = load_settings({}, {"FWD_GROQ_IDLE_TIMEOUT": "9"})
    times = [row for row in describe_settings(loaded) if row.name.startswith(("FWD_GROQ", "FWD_OPENAI_", "FWD_OLLAMA"))]
    assert times == [
        SettingRow("FWD_GROQ_IDLE_TIMEOUT", "9s", "environment"),
        SettingRow("FWD_OLLAMA_FIRST_EVENT_TIMEOUT", "5m", "default"),
    ]
    assert SettingRow("FWD_OPENAI_IDLE_TIMEOUT", "", "default") in describe_settings(loaded, every=True)


def test_a_misspelled_time_of_a_provider_is_reported() -> None:
    """The nearest name is one of the family."""
    (warning,) = load_settings({}, {"FWD_GROK_IDLE_TIMEOUT": "9"}).warnings
    assert warning.endswith("did you mean FWD_GROQ_IDLE_TIMEOUT?")


def test_a_time_of_a_provider_that_cannot_be_used_is_a_problem() -> None:
    """As every setting's: found, allowed, and where from."""
    (line,) = problems({"FWD_GROQ_IDLE_TIMEOUT": "0"})
    allowed = "allowed: a duration such as 30, 30s, 500ms or 5m, from 1ms to 24h"
    assert line == f"FWD_GROQ_IDLE_TIMEOUT (environment): found '0'; {allowed}"


def test_a_compat_name_whose_times_are_other_settings_is_refused() -> None:
    """FWD_CLIENT_IDLE_TIMEOUT is the time of callers' connections."""
    (line,) = problems({"FWD_COMPAT": "client", "CLIENT_BASE_URL": "http://x"})
    assert line.startswith("FWD_COMPAT (environment): found 'client'; ")


def test_ollama_is_mentioned_by_any_variable_of_its_name() -> None:
    """Design section 4: any ``OLLAMA_*``, from whatever source."""
    assert load_settings({}, {"OLLAMA_HOST": "0.0.0.0"}).settings.providers["ollama"].mentioned
    assert load_settings({}, {}, "OLLAMA_MODEL=llama3:8b\n").settings.providers["ollama"].mentioned
    assert not load_settings({}, {"OLLAMA_MODEL": ""}).settings.providers["ollama"].mentioned
