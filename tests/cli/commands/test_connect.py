"""``fwd connect``."""

from __future__ import annotations

import json
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import KEY, Ended, FakeGateway, Run

from fwd_cli.commands import connect as module
from fwd_cli.commands.connect import served
from fwd_cli.errors import Failure

OWN_KEY = "fwd_" + "k" * 43
Connect = Callable[..., Ended]


@pytest.fixture
def connect(gateway: FakeGateway, fwd: Run, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Connect to a gateway that serves everything."""
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "CONTINUE_GLOBAL_DIR"):
        monkeypatch.delenv(name, raising=False)
    gateway.reply = {"paths": {"/v1/chat/completions": {}, "/v1/messages": {}, "/v1/responses": {}}}
    return lambda *words, **options: fwd("connect", *words, "--server", gateway.url, "--key", OWN_KEY, **options)


def home(path: str) -> Path:
    return Path.home() / path


@pytest.mark.parametrize("name", ["anthropic-sdk", "claude-code", "codex"])
def test_what_the_gateway_does_not_serve_is_not_set_up(connect: Connect, gateway: FakeGateway, name: str) -> None:
    """It is said, and nothing is written."""
    gateway.reply = {"paths": {"/v1/chat/completions": {}}}
    ended = connect(name, "-m", "m", "--yes")
    assert (ended.code, ended.out) == (1, "")
    assert "which the gateway at" in ended.err
    assert not Path.home().exists()


def test_this_version_of_the_gateway() -> None:
    """What is refused today is what its own description leaves out."""
    from fwd_cli.child import gateway as running_gateway

    with running_gateway({}) as running:
        assert "/v1/chat/completions" in served(running.url)


@pytest.mark.parametrize("reply", [{}, {"paths": 1}, []])
def test_an_answer_that_is_no_description(gateway: FakeGateway, reply: object) -> None:
    """Some other program listens there."""
    gateway.reply = reply  # type: ignore[assignment]
    with pytest.raises(Failure, match="no gateway answers there"):
        served(gateway.url)


def test_nobody_there() -> None:
    """Exit code 3, and what to do."""
    with pytest.raises(Failure) as raised:
        served("http://127.0.0.1:1")
    assert raised.value.code == 3


@pytest.mark.parametrize(
    ("name", "variable"),
    [("openai-sdk", "OPENAI_BASE_URL"), ("anthropic-sdk", "ANTHROPIC_BASE_URL"), ("open-webui", "OPENAI_API_BASE_URL")],
)
def test_lines_for_a_shell(connect: Connect, gateway: FakeGateway, name: str, variable: str) -> None:
    """They can be run; the key only on demand."""
    ended = connect(name)
    assert OWN_KEY not in ended.out + ended.err
    script = f"FORWARDER_KEY=mine\n{ended.out}\necho ${variable} ${variable.partition('_')[0]}_API_KEY"
    run = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    path = "" if name == "anthropic-sdk" else "/v1"
    assert run.stdout == f"{gateway.url}{path} mine\n"
    assert OWN_KEY in connect(name, "--show-key").out


def test_a_curl_line(connect: Connect, gateway: FakeGateway) -> None:
    """With a model only if one was chosen."""
    words = shlex.split(connect("curl").out)
    assert words[:3] == ["curl", "-s", f"{gateway.url}/v1/chat/completions"]
    assert "model" not in json.loads(words[-1])
    assert json.loads(shlex.split(connect("curl", "-m", "m").out)[-1])["model"] == "m"


def test_a_file_is_changed_and_given_back(connect: Connect, gateway: FakeGateway) -> None:
    """What stood there stays; the change is shown without the key; undo restores it byte for byte."""
    path = home(".claude/settings.json")
    path.parent.mkdir(parents=True)
    path.write_text('{"model": "opus",   "env": {"A": "b"}}')
    ended = connect("claude-code", "--yes")
    assert OWN_KEY not in ended.out
    assert f'+    "ANTHROPIC_BASE_URL": "{gateway.url}",' in ended.out
    assert json.loads(path.read_text()) == {
        "model": "opus",
        "env": {"A": "b", "ANTHROPIC_BASE_URL": gateway.url, "ANTHROPIC_AUTH_TOKEN": OWN_KEY},
    }
    connect("claude-code", "-m", "echo:", "--yes")
    assert json.loads(path.read_text())["env"]["ANTHROPIC_MODEL"] == "echo:"
    assert connect("claude-code", "--undo", "--yes").code == 0
    assert path.read_text() == '{"model": "opus",   "env": {"A": "b"}}'
    assert connect("claude-code", "--undo").code == 2


def test_a_file_that_was_not_there_is_gone_again(connect: Connect) -> None:
    """And its owner's alone while it is there."""
    path = home(".codex/fwd.config.toml")
    assert connect("codex", "-m", "openai:gpt-5", "--yes").code == 0
    assert 'model = "openai:gpt-5"' in path.read_text()
    assert OWN_KEY not in path.read_text()
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "is already set up" in connect("codex", "-m", "openai:gpt-5").err
    connect("codex", "--undo", "--yes")
    assert list(path.parent.iterdir()) == []


def test_in_a_pipe_nothing_is_written_without_yes(connect: Connect) -> None:
    """The change is shown."""
    ended = connect("continue", "-m", "m")
    assert "+    apiKey: fwd_***" in ended.out
    assert "Nothing was written" in ended.err
    assert not Path.home().exists()


@pytest.mark.parametrize(("typed", "there"), [(True, True), (False, False)])
def test_on_a_terminal_it_asks(connect: Connect, monkeypatch: pytest.MonkeyPatch, typed: bool, there: bool) -> None:
    """Yes writes, no does not."""
    monkeypatch.setattr(module.click, "confirm", lambda *words, **options: typed)
    monkeypatch.setattr(module, "is_terminal", lambda: True)
    connect("continue", "-m", "m")
    assert home(".continue/config.yaml").exists() is there


def test_a_model_that_is_needed(connect: Connect) -> None:
    """With where to find one."""
    assert "--model NAME" in connect("continue").err


def test_a_file_that_is_not_as_expected_is_left_alone(connect: Connect) -> None:
    """With the reason."""
    home(".claude").mkdir(parents=True)
    home(".claude/settings.json").write_text("// not JSON")
    ended = connect("claude-code", "--yes")
    assert "was left alone" in ended.err
    assert home(".claude/settings.json").read_text() == "// not JSON"


def test_undo_where_nothing_was_written(connect: Connect) -> None:
    """A program that only gets lines has no file."""
    assert "has written nothing" in connect("curl", "--undo").err


def test_an_undo_that_is_not_wanted(connect: Connect) -> None:
    """Everything stays."""
    connect("codex", "-m", "m", "--yes")
    connect("codex", "--undo")
    assert home(".codex/fwd.config.toml").exists()


def test_no_key(fwd: Run) -> None:
    """Said first."""
    assert fwd("connect", "curl").code == 4


def test_another_folder(connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the program's own variable says."""
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    connect("codex", "-m", "m", "--yes")
    assert (tmp_path / "codex" / "fwd.config.toml").exists()
    assert KEY not in (tmp_path / "codex" / "fwd.config.toml").read_text()
