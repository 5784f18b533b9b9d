"""One class gives the setting, the option and the documents their names."""

from __future__ import annotations

from collections import Counter

from attrs import fields

from fwd_server.providers import PROVIDERS
from fwd_server.settings import KNOWN, Settings, documented_variables, timeout_variables
from fwd_server.settings.schema import TIMES, own_variables
from fwd_server.values.timeouts import Timeouts


def test_every_name_of_the_design_is_documented() -> None:
    """Design section 4, letter by letter."""
    names = {variable.name for variable in documented_variables()}
    providers = ("OPENAI", "ANTHROPIC", "GOOGLE", "GROQ", "OPENROUTER", "OLLAMA")
    assert names >= {f"{name}_{what}" for name in providers for what in ("API_KEY", "BASE_URL", "MODEL")}
    assert names >= {"PROVIDERS_PRIORITY", "FORWARDER_KEYS_FILE", "ECHO_MODEL"}
    own = "HOST PORT WORKERS LOG_LEVEL LOG_FORMAT ATTEMPTS FALLBACK_EXPLICIT ECHO COMPAT ALLOWED_HOSTS"
    assert names >= {f"FWD_{name}" for name in f"{own} TRUSTED_PROXIES FETCH_IMAGES".split()}


def test_every_provider_has_its_settings() -> None:
    """The featured ones of the table; the others appear once something names them."""
    assert tuple(Settings().providers) == KNOWN
    assert set(KNOWN) < set(PROVIDERS)


def test_no_variable_and_no_option_stands_twice() -> None:
    """A name means one thing."""
    names = Counter(variable.name for variable in documented_variables())
    options = Counter(variable.option for variable in documented_variables() if variable.option)
    assert set(names.values()) == {1}
    listening = ["--host", "--port", "--workers", "--uds", "--health-listen", "--ssl-certfile", "--ssl-keyfile"]
    assert options == Counter([*listening, "--config", "--log-level", "--log-format"])


def test_every_default_is_a_value_that_could_be_written() -> None:
    """What is shown as default reads back as the default, and stands in its own bounds."""
    for variable in documented_variables():
        shown = variable.display_text(variable.default)
        assert not shown or variable.read_text(shown) == variable.default, variable.name


def test_every_variable_has_help_and_says_what_is_allowed() -> None:
    """One sentence, with its full stop."""
    assert all(variable.help.endswith(".") and variable.allowed for variable in documented_variables())


def test_a_field_of_settings_is_called_as_its_variable() -> None:
    """So that one name is enough to find the other."""
    for variable in own_variables():
        name = variable.name.lower()
        assert name.removeprefix("fwd_").removeprefix("forwarder_").removeprefix("providers_") == variable.field


def test_the_times_of_providers_are_those_of_an_attempt() -> None:
    """Five of them, by the same names, with the same defaults."""
    assert [f"{what}_s" for what in TIMES] == [field.name for field in fields(Timeouts)]
    assert Settings().timeouts == Timeouts()


def test_every_provider_has_the_times_of_all_under_its_own_name() -> None:
    """One family, documented once: only what differs stands in the documents as well."""
    names = [variable.name for variable in timeout_variables("my-box")]
    assert names == [f"FWD_MY_BOX_{what.upper()}_TIMEOUT" for what in TIMES]
    of_one = {variable.name for name in KNOWN for variable in timeout_variables(name)}
    assert of_one & {variable.name for variable in documented_variables()} == {"FWD_OLLAMA_FIRST_EVENT_TIMEOUT"}
