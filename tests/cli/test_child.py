"""A gateway in a child process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fwd_cli.child import HOST, closed_port, environment_of, gateway, is_ready, not_ready, stop
from fwd_cli.errors import ExitCode, Failure


def test_a_closed_port_refuses() -> None:
    """Taken, so that nobody else gets it, but without anybody who listens."""
    with closed_port() as port, socket.socket() as other:
        with pytest.raises(ConnectionRefusedError):
            other.connect((HOST, port))
        with pytest.raises(OSError, match="in use"), socket.create_server((HOST, port)):
            pass


def test_a_gateway_is_ready_and_gone_afterwards() -> None:
    """It answers inside the block, and nothing listens after it."""
    with gateway({}) as running:
        port = int(running.url.rpartition(":")[2])
        assert is_ready(port)
        assert running.key.startswith("fwd_")
        assert running.ready_s > 0
    assert running.process.returncode is not None
    assert not is_ready(port)


def test_a_gateway_that_cannot_start_says_why() -> None:
    """The last line of its log is the reason."""
    with pytest.raises(Failure) as caught, gateway({"FWD_PORT": "-1"}):
        pass
    assert caught.value.code is ExitCode.SERVER
    assert caught.value.why


def test_a_silent_end_is_said_too(tmp_path: Path) -> None:
    """No reason is given when there is none."""
    log = tmp_path / "log"
    log.write_text("\n")
    assert not_ready(log).why == "its log is empty"


def test_provider_keys_are_handed_on_and_settings_are_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is set for another gateway does not reach this one."""
    monkeypatch.setattr(os, "environ", {"OPENAI_API_KEY": "sk-x", "FWD_PORT": "1", "PROVIDERS_PRIORITY": "x"})
    environment = environment_of({"FWD_ECHO": "true"}, tmp_path, 7)
    assert environment == {
        "OPENAI_API_KEY": "sk-x",
        "FWD_HOST": HOST,
        "FWD_PORT": "7",
        "FWD_LOG_FORMAT": "text",
        "FORWARDER_KEYS_FILE": str(tmp_path / "keys"),
        "FWD_ECHO": "true",
    }


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to ignore")
def test_a_process_that_will_not_end_is_ended() -> None:
    """Asked first, then not asked."""
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        stop(process, within_s=0.05)
    assert process.returncode == -9
