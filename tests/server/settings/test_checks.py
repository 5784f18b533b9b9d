"""Values that cannot be used together stop the start, with one line each."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fwd_server.settings import SettingsError, load_settings


def problems(env: Mapping[str, str]) -> list[str]:
    """The lines of the error that these values make; none when they can be used."""
    try:
        load_settings({}, env)
    except SettingsError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "GOOGLE_API_KEY", "OLLAMA_API_KEY"])
def test_a_key_of_a_gateway_is_no_key_of_a_provider(name: str) -> None:
    """Design section 4: a provider key that begins with ``fwd_`` stops the start."""
    (line,) = problems({name: "fwd_secret"})
    assert line.startswith(f"{name} (environment): found a value that is not shown; ")
    assert line.endswith("allowed: a key of the provider, not one of a gateway (fwd_...)")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/v1"),
        ("127.0.0.1", "http://localhost:8000"),
        ("127.0.0.1", "http://LOCALHOST:8000/"),
        ("127.0.0.1", "http://localhost.:8000/"),
        ("::1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://[::1]:8000/v1"),
        ("127.0.0.1", "http://0.0.0.0:8000"),
        ("gate.example.com", "https://Gate.example.com:8000"),
    ],
)
def test_the_gateways_own_address_is_no_provider(host: str, url: str) -> None:
    """Design section 4: a base URL that is our own address stops the start, however it is spelt."""
    (line,) = problems({"FWD_HOST": host, "OPENAI_BASE_URL": url})
    assert line.startswith("OPENAI_BASE_URL (environment): found 'http")
    assert line.endswith("allowed: an address other than the gateway's own")


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("127.0.0.1", "8000", "http://localhost:8001"),
        ("10.0.0.1", "8000", "http://localhost:8000"),
        ("127.0.0.1", "8000", "http://10.0.0.1:8000"),
        ("127.0.0.1", "0", "http://localhost"),
    ],
)
def test_another_address_or_port_is_fine(host: str, port: str, url: str) -> None:
    """An upstream beside the gateway on the same machine is common."""
    assert problems({"FWD_HOST": host, "FWD_PORT": port, "OPENAI_BASE_URL": url}) == []


def test_the_default_port_of_a_scheme_counts() -> None:
    """``http://localhost`` is port 80."""
    assert problems({"FWD_PORT": "80", "OLLAMA_BASE_URL": "http://localhost"}) != []


def test_a_compat_server_needs_an_address() -> None:
    """The message names the variable and why it is needed; a bad address is told once."""
    (line,) = problems({"FWD_COMPAT": "vllm"})
    assert line.startswith("VLLM_BASE_URL (needed by FWD_COMPAT, environment): found nothing; allowed: the address of")
    assert len(problems({"FWD_COMPAT": "vllm", "VLLM_BASE_URL": "nowhere"})) == 1


@pytest.mark.parametrize("name", ["openai", "groq", "vllm"])
def test_an_entry_of_the_list_without_a_model_is_named(name: str) -> None:
    """One message for each entry, with the variables to set."""
    env = {"FWD_COMPAT": "vllm", "VLLM_BASE_URL": "http://x", "PROVIDERS_PRIORITY": name}
    variable = f"{name.upper()}_MODEL"
    (line,) = problems({**env, f"{name.upper()}_API_KEY": "k"})
    assert line.startswith(f"PROVIDERS_PRIORITY (environment): found {name!r} without {variable}; ")
    assert line.endswith(f"allowed: providers that are set up: set {variable}")


def test_an_entry_of_the_list_without_key_and_model_is_one_message() -> None:
    """Both variables are named."""
    (line,) = problems({"PROVIDERS_PRIORITY": "openai"})
    assert "'openai' without OPENAI_API_KEY and OPENAI_MODEL;" in line


def test_a_variable_with_a_problem_of_its_own_is_not_missed_again() -> None:
    """A bad model is one problem, not two."""
    env = {"PROVIDERS_PRIORITY": "openai", "OPENAI_API_KEY": "k", "OPENAI_MODEL": "a b"}
    (line,) = problems(env)
    assert line.startswith("OPENAI_MODEL ")


def test_ollama_and_compat_servers_may_stand_in_the_list_without_a_key() -> None:
    """Echo without anything, unless it is off."""
    env = {"FWD_COMPAT": "vllm", "VLLM_BASE_URL": "http://x", "VLLM_MODEL": "m", "OLLAMA_MODEL": "llama3:8b"}
    env["PROVIDERS_PRIORITY"] = "ollama,vllm,echo"
    assert problems(env) == []
    (line,) = problems({**env, "FWD_ECHO": "false"})
    assert "'echo' without FWD_ECHO=true;" in line


def test_an_unknown_or_repeated_entry_of_the_list_is_named() -> None:
    """With the names that are allowed."""
    unknown, repeated = problems({"PROVIDERS_PRIORITY": "closedai,echo,echo"})
    names = "openai, anthropic, google, groq, openrouter, ollama, echo"
    assert unknown == f"PROVIDERS_PRIORITY (environment): found 'closedai'; allowed: names from {names}"
    assert repeated == "PROVIDERS_PRIORITY (environment): found 'echo' more than once; allowed: each name once"


@pytest.mark.parametrize(
    ("name", "model", "fine"),
    [
        ("OPENAI_MODEL", "gpt-5", True),
        ("OPENAI_MODEL", "openai:gpt-5", True),
        ("OPENAI_MODEL", "openai:", False),
        ("OPENAI_MODEL", "groq:llama", False),
        ("OPENROUTER_MODEL", "deepseek/deepseek-r1:free", True),
        ("OLLAMA_MODEL", "llama3:8b", True),
        ("ECHO_MODEL", "echo:", True),
        ("ECHO_MODEL", "echo:slow?ttft=500ms&rate=50", True),
    ],
)
def test_a_default_model_has_its_own_prefix_or_none(name: str, model: str, fine: bool) -> None:
    """A colon inside a name is no prefix; another provider's prefix is a mistake."""
    assert (problems({name: model}) == []) is fine


def test_an_attempt_has_no_more_time_than_the_call() -> None:
    """One deadline over the whole chain (G1): a provider's own total is within it."""
    (line,) = problems({"FWD_TOTAL_TIMEOUT": "5m", "FWD_OLLAMA_TOTAL_TIMEOUT": "30m"})
    allowed = "allowed: at most FWD_TOTAL_TIMEOUT, which is 5m"
    assert line == f"FWD_OLLAMA_TOTAL_TIMEOUT (environment): found 30m; {allowed}"
    assert problems({"FWD_TOTAL_TIMEOUT": "1h", "FWD_OLLAMA_TOTAL_TIMEOUT": "30m"}) == []
    assert len(problems({"FWD_TOTAL_TIMEOUT": "soon", "FWD_OLLAMA_TOTAL_TIMEOUT": "30m"})) == 1


@pytest.mark.parametrize(
    ("url", "key", "warned"),
    [
        ("http://gpu-box:8080/v1", "k", True),
        ("http://localhost:8080/v1", "k", False),
        ("https://gpu-box/v1", "k", False),
        ("http://gpu-box:8080/v1", "", False),
    ],
)
def test_a_key_over_plain_http_to_another_machine_is_warned_about(url: str, key: str, warned: bool) -> None:
    """The start goes on; whoever runs the gateway may trust the wire."""
    expected = "OPENAI_BASE_URL is plain http: OPENAI_API_KEY is sent unencrypted to gpu-box; use https"
    warnings = load_settings({}, {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": key}).warnings
    assert warnings == ((expected,) if warned else ())
