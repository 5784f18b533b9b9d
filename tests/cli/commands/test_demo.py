"""``fwd demo``: against the real server, as somebody would run it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from attrs import evolve
from tests.cli.conftest import Run

from fwd_cli.child import Gateway
from fwd_cli.commands.demo import curl_line, ending_cleanly, keep_up, provider_keys, run_all, settings
from fwd_cli.errors import ExitCode, Failure
from fwd_cli.steps import STEPS, Untrue

Start = Callable[..., "subprocess.Popen[str]"]


@contextmanager
def ended(code: int) -> Iterator[Gateway]:
    """A gateway whose process has ended."""
    with subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"]) as process:
        process.wait()
        yield Gateway("http://127.0.0.1:1", "fwd_x", 0.1, process)


def test_off_a_terminal_it_shows_every_call_and_ends(fwd: Run) -> None:
    """Each call with what it proves, exit code 0, nothing left running."""
    done = fwd("demo")
    assert (done.code, done.err) == (0, "")
    for step in STEPS:
        assert step.title in done.out
        assert f"✓ {step.proves}" in done.out
    assert "No provider key is set" in done.out
    assert done.out.endswith(f"All {len(STEPS)} calls did what they claim.\n")


def test_providers_with_a_key_are_named_and_their_keys_are_not(fwd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On, but never called; S12: the key itself is nowhere."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    done = fwd("demo", "--no-stay")
    assert done.code == 0
    assert "never called here: openai (OPENAI_API_KEY)" in done.out
    assert "sk-canary" not in done.out + done.err


def test_a_call_that_does_not_do_what_it_claims_fails_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    """It is shown with what was claimed."""

    def lie(gateway: Gateway, show: Callable[[str], None]) -> None:
        raise Untrue("found nothing instead")

    with ended(0) as gateway, pytest.raises(Failure) as caught:
        run_all([evolve(STEPS[0], run=lie)], gateway)
    assert (caught.value.code, caught.value.why) == (1, "see: JSON")
    assert f"found nothing instead\n   ✗ claimed: {STEPS[0].proves}" in capsys.readouterr().out


def test_a_gateway_that_ends_while_it_should_stay_is_an_error() -> None:
    """Nobody waits for something that is gone."""
    with ended(3) as gateway, pytest.raises(Failure) as caught:
        keep_up(gateway)
    assert caught.value.code is ExitCode.SERVER
    assert "code 3" in caught.value.why


def test_the_curl_line_is_a_call(fwd: Run) -> None:
    """Address, key and body, for a shell."""
    line = curl_line("http://127.0.0.1:1", "fwd_x")
    assert line.startswith("curl -s http://127.0.0.1:1/v1/chat/completions ")
    assert "'Authorization: Bearer fwd_x'" in line


def test_the_first_provider_in_the_list_is_one_that_refuses() -> None:
    """The fallback is real: a connection is tried and refused."""
    assert settings(9)["CLOSED_BASE_URL"] == "http://127.0.0.1:9/v1"
    assert settings(9)["PROVIDERS_PRIORITY"] == "closed,echo"


def test_without_keys_nothing_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is set."""
    monkeypatch.setattr(os, "environ", {"GROQ_API_KEY": "gsk", "OPENAI_API_KEY": ""})
    assert provider_keys() == {"GROQ_API_KEY": "gsk"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without a signal")
def test_sigterm_takes_the_gateway_along(start: Start) -> None:
    """Whoever ends the demo ends its child, too."""
    process = start("demo", "--stay")
    assert process.stdout is not None
    url = next(line for line in process.stdout if line.startswith("A gateway")).split()[5].rstrip(",")
    for line in process.stdout:
        if line.startswith("curl"):
            break
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    from fwd_cli.child import is_ready

    assert not is_ready(int(url.rpartition(":")[2]))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without a signal")
def test_sigterm_unwinds_and_is_put_back() -> None:
    """Inside the block it is an orderly end, after it what it was before."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end, ending_cleanly():
        signal.raise_signal(signal.SIGTERM)
    assert end.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_ends_the_stay(capsys: pytest.CaptureFixture[str]) -> None:
    """Not an error: it is how one leaves."""

    class Interrupted(subprocess.Popen[bytes]):
        def wait(self, timeout: float | None = None) -> int:
            raise KeyboardInterrupt

    with ended(0) as gateway:
        process = Interrupted([sys.executable, "-c", "pass"])
        keep_up(evolve(gateway, process=process))
        subprocess.Popen.wait(process)
    assert capsys.readouterr().out.endswith("Stopped.\n")
