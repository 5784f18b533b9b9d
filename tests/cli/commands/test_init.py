"""``fwd init``."""

from __future__ import annotations

import io
import json
import stat
import sys
from importlib import resources
from pathlib import Path

import pytest
from dotenv import dotenv_values
from tests.cli.conftest import Run

from fwd_cli.commands import init
from fwd_cli.envfile import with_values
from fwd_server.settings import load_settings
from fwd_server.store.key_file import read_keys

KEYS = Path("keys/forwarder_api_keys.txt")


class Typing(io.StringIO):
    def isatty(self) -> bool:
        return True


def written() -> dict[str, str | None]:
    return dict(dotenv_values(".env"))


def test_without_a_terminal_it_asks_nothing(fwd: Run) -> None:
    """echo answers, a key is made, only its owner can read it, the server takes it all."""
    ended = fwd("init")
    values = written()
    assert (ended.code, ended.out, values["PROVIDERS_PRIORITY"]) == (0, "", "echo")
    assert str(values["FORWARDER_KEY"]) in KEYS.read_text()
    assert load_settings({}, {}, Path(".env").read_text()).settings.priority == ("echo",)
    if sys.platform != "win32":
        assert stat.S_IMODE(Path(".env").stat().st_mode) == 0o600


def test_three_questions(fwd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provider, its key, a model; Enter takes what is proposed."""
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda prompt: "sk-typed")
    ended = fwd("init", stdin=Typing("groq\n\n"))
    values = written()
    assert (values["GROQ_API_KEY"], values["GROQ_MODEL"]) == ("sk-typed", init.MODELS["groq"])
    assert values["PROVIDERS_PRIORITY"] == "groq"
    assert "sk-typed" not in ended.err + ended.out


def test_without_a_provider_there_is_one_question(fwd: Run) -> None:
    """Enter alone is enough to begin."""
    assert fwd("init", stdin=Typing("\n")).code == 0
    assert written()["PROVIDERS_PRIORITY"] == "echo"


def test_leaving_in_the_middle_writes_nothing(fwd: Run) -> None:
    """Ctrl-D at a question is 130."""
    assert fwd("init", stdin=Typing("")).code == 130
    assert not Path(".env").exists()


def test_a_key_from_a_pipe(fwd: Run) -> None:
    """- reads it; one that is set already is not written."""
    assert fwd("init", "--provider", "openai", "--api-key", "-", "-m", "gpt-5", stdin="sk-piped\n").code == 0
    assert (written()["OPENAI_API_KEY"], written()["OPENAI_MODEL"]) == ("sk-piped", "gpt-5")
    assert "there is no key in --api-key" in fwd("init", "--provider", "openai", "--api-key", "-", stdin="\n").err


def test_a_key_that_is_needed_and_nowhere(fwd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is named; once it is set it is enough."""
    assert "set OPENAI_API_KEY, or pipe it in" in fwd("init", "--provider", "openai").err
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    assert fwd("init", "--provider", "openai").code == 0
    assert "OPENAI_API_KEY" not in written()


def test_what_stands_there_stays(fwd: Run) -> None:
    """Comments, other names and the key; what would be replaced must be wanted."""
    fwd("init", "--provider", "ollama", "-m", "a")
    key = written()["FORWARDER_KEY"]
    Path(".env").write_text("# mine\nFWD_PORT=9000\n" + Path(".env").read_text())
    ended = fwd("init", "--provider", "ollama", "-m", "b")
    assert ".env has another OLLAMA_MODEL" in ended.err
    assert fwd("init", "--provider", "ollama", "-m", "b", "--force").code == 0
    assert Path(".env").read_text().startswith("# mine\nFWD_PORT=9000\n")
    assert (written()["OLLAMA_MODEL"], written()["FORWARDER_KEY"], len(read_keys(KEYS))) == ("b", key, 1)
    again = fwd("init", "--provider", "ollama", "-m", "b").err
    assert ".env: nothing new. Only you can read it." in again
    assert "the key, for the gateway" not in again


def test_a_second_provider_comes_after_the_first(fwd: Run) -> None:
    """And echo, whose answers are none of a model's, leaves the list."""
    fwd("init")
    fwd("init", "--provider", "ollama")
    fwd("init", "--provider", "groq", "--api-key", "k")
    assert written()["PROVIDERS_PRIORITY"] == "ollama,groq"
    fwd("init", "--provider", "none")
    assert written()["PROVIDERS_PRIORITY"] == "ollama,groq"


def test_another_keys_file_is_written_down(fwd: Run) -> None:
    """The server must find it."""
    fwd("init", "--keys-file", "elsewhere.txt")
    assert written()["FORWARDER_KEYS_FILE"] == "elsewhere.txt"


def test_a_directory_that_takes_no_file(fwd: Run) -> None:
    """Three lines."""
    Path(".env").mkdir()
    assert "error: .env cannot be written" in fwd("init").err


def test_the_proposed_models_are_known() -> None:
    """They stand in the server's table."""
    table = json.loads(resources.files("fwd_server").joinpath("models.json").read_text(encoding="utf-8"))
    known = {(model["provider"], model["id"]) for model in table["models"]}
    assert set(init.MODELS.items()) <= known


@pytest.mark.parametrize("value", ["plain", "with space", "a#b", "it's", "a\\b", "$HOME", '"'])
def test_a_value_is_read_as_it_was_written(value: str, tmp_path: Path) -> None:
    """Whatever it holds."""
    path = tmp_path / "env"
    path.write_text(with_values("export NAME=old\nOTHER=1", {"NAME": value, "NEW": value}))
    assert dotenv_values(path, interpolate=False) == {"NAME": value, "OTHER": "1", "NEW": value}
