"""What Tab completes, in a real bash too."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import KEY, FakeGateway, Run

from fwd_cli import names, options
from fwd_cli.shells import Bash
from fwd_server.settings import KNOWN

URL = "http://127.0.0.1:8000"
MODELS = ["openai:gpt-5-mini", "openai:gpt-5", "ollama:llama3:8b"]


def completed(line: str, fwd: Run, monkeypatch: pytest.MonkeyPatch, breaks: str = ":") -> list[str]:
    """What bash is offered behind a line."""
    monkeypatch.setenv("_FWD_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_BREAKS", breaks)
    return [answer.partition(",")[2] for answer in fwd().out.splitlines() if answer]


def test_without_a_cache_the_prefixes_are_offered(fwd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ones every gateway knows."""
    assert set(names.PREFIXES) == {f"{name}:" for name in KNOWN}
    assert completed("fwd call -m o", fwd, monkeypatch) == ["openai:", "openrouter:", "ollama:"]


def test_models_come_from_the_cache(fwd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bash replaces only what follows the last colon, so only that is offered; elsewhere the whole name."""
    names.remember(URL + "/", MODELS)
    assert completed("fwd chat --model openai:gpt-5-", fwd, monkeypatch) == ["gpt-5-mini"]
    assert completed("fwd call -m ollama:llama3:", fwd, monkeypatch) == ["8b"]
    assert completed("fwd call -m openai:gpt-5-", fwd, monkeypatch, breaks=" ") == ["openai:gpt-5-mini"]
    assert completed("fwd call -m ", fwd, monkeypatch) == sorted(MODELS)


@pytest.mark.parametrize("option", ["-f", "--file", "--schema", "--tools"])
def test_options_that_take_a_file_complete_files(fwd: Run, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    """The shell is told that a path is meant, and completes it itself."""
    monkeypatch.setenv("_FWD_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_LINE", f"fwd call {option} p")
    assert fwd().out == "file,p\n"


def test_each_gateway_has_its_own_models(fwd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one in use counts; the oldest of many are forgotten."""
    for number in range(names.MOST_GATEWAYS + 5):
        names.remember(f"http://host-{number}", [f"m{number}:x"])
    assert completed("fwd call --server http://host-24 -m m", fwd, monkeypatch) == ["m24:x"]
    assert names.models_of("http://host-0") == [*names.PREFIXES]


def test_whatever_lists_models_fills_the_cache(fwd: Run, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """`fwd models` and `fwd doctor`."""
    gateway.reply = {"object": "list", "data": [{"id": "groq:x"}], "status": "ready"}
    fwd("models", "--server", gateway.url, "--key", KEY)
    assert names.models_of(gateway.url) == ["groq:x"]
    gateway.reply["data"] = [{"id": "groq:y"}]
    fwd("doctor", "--server", gateway.url, "--key", KEY)
    assert names.models_of(gateway.url) == ["groq:y"]


@pytest.mark.parametrize("text", ["", "[]", '{"http://127.0.0.1:8000": 1}', "\udcff"])
def test_a_broken_cache_is_no_cache(text: str) -> None:
    """It is only a cache."""
    names.remember(URL, MODELS)
    names._cache_path().write_bytes(text.encode("utf-8", "surrogateescape"))
    assert names.models_of(URL) == [*names.PREFIXES]
    names.remember(URL, MODELS)
    assert names.models_of(URL) == sorted(MODELS)


def test_a_disk_that_does_not_want_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A command does not fail for its cache."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    names.remember(URL, MODELS)


def test_keys_come_from_the_keys_file(fwd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name and id; none without a file."""
    assert completed("fwd keys revoke w", fwd, monkeypatch) == []
    monkeypatch.delenv("_FWD_COMPLETE")
    fwd("generate-key", "--name", "web")
    assert completed("fwd keys revoke w", fwd, monkeypatch) == ["web"]


def test_an_older_script_still_works(fwd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One made before lines were handed over."""
    monkeypatch.setenv("COMP_WORDS", "fwd gen")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert Bash(options.server_option, {}, "fwd", "_FWD_COMPLETE").get_completion_args() == ([], "gen")  # type: ignore[arg-type]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_a_real_bash_completes_a_name_with_a_colon(fwd: Run, tmp_path: Path) -> None:
    """The script as it is printed, the words as bash cuts them."""
    names.remember(URL, MODELS)
    (tmp_path / "fwd").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fwd_cli "$@"\n')
    (tmp_path / "fwd").chmod(0o755)
    (tmp_path / "script").write_text(fwd("completion", "bash").out)
    typed = "fwd call --model openai:gpt-5-m"
    command = f"""
        source ./script
        COMP_LINE='{typed}' COMP_POINT={len(typed)} COMP_WORDS=(fwd call --model openai : gpt-5-m) COMP_CWORD=5
        _fwd_completion ./fwd
        echo "${{COMPREPLY[@]}}"
    """
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=30)
    assert (run.stdout, run.stderr) == ("gpt-5-mini\n", "")
