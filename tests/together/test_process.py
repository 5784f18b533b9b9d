"""The gateway as its operator meets it: starting, checking, changing keys, stopping."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import KEY, PROVIDER_KEY, Gateway

Start = Callable[..., Gateway]


def ask(gateway: Gateway, body: Any, key: str = KEY, timeout: float = 20) -> http.client.HTTPConnection:
    """The connection of a call that has been sent."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=timeout)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    connection.request("POST", "/v1/chat/completions", data, headers)
    return connection


def post(gateway: Gateway, body: Any, key: str = KEY, timeout: float = 20) -> tuple[int, bytes]:
    """One call over a connection of its own."""
    connection = ask(gateway, body, key, timeout)
    try:
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def hello(model: str = "echo:", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "a b c d e f g h"}], **more}


def run(*flags: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the server's command to its end."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FWD_", "FORWARDER_"))}
    return subprocess.run(
        [sys.executable, "-m", "fwd_server", *flags],
        cwd=cwd,
        env={**clean, **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


# -- starting


def test_nothing_configured_starts_and_says_what_to_do(start_gateway: Start) -> None:
    """R9: no keys, no .env: 401 for everybody, and the command that helps."""
    gateway = start_gateway(keys="")
    gateway.wait_for("fwd generate-key")
    assert post(gateway, hello())[0] == 401


def test_check_prints_settings_and_their_sources_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"GROQ_API_KEY={PROVIDER_KEY}\n")
    (tmp_path / ".env").chmod(0o600)
    done = run("--check", "--port", "9000", cwd=tmp_path, OPENAI_API_KEY=PROVIDER_KEY)
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert done.returncode == 0
    assert "9000" in rows["FWD_PORT"]
    assert "--port" in rows["FWD_PORT"]
    assert "environment" in rows["OPENAI_API_KEY"]
    assert ".env line 1" in rows["GROQ_API_KEY"]
    assert PROVIDER_KEY not in done.stdout + done.stderr


def test_every_bad_setting_is_named_at_once(tmp_path: Path) -> None:
    """Design, *Settings*: name, where it came from, what was found, what is allowed; 78."""
    (tmp_path / ".env").write_text("FWD_ATTEMPTS=many\n")
    done = run("--port", "high", cwd=tmp_path, PROVIDERS_PRIORITY="opnai")
    assert done.returncode == 78
    for said in ("FWD_ATTEMPTS", ".env line 1", "many", "FWD_PORT", "--port", "high", "PROVIDERS_PRIORITY", "opnai"):
        assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_standard_error_is_no_crash(tmp_path: Path) -> None:
    """`2>&-`: nobody is told, and the exit code is the same."""
    command = [*("sh", "-c", 'exec "$0" -m fwd_server --port none 2>&-'), sys.executable]
    assert subprocess.run(command, cwd=tmp_path, timeout=60, check=False).returncode == 78


def test_a_name_that_is_no_text_is_reported(start_gateway: Start) -> None:
    """Half a character in a variable's name reaches the log as an escape, and stops nothing."""
    gateway = start_gateway(**{"FWD_\udcff": "1"})
    assert any("FWD_\\udcff" in line for line in gateway.lines)


def test_a_taken_port_is_said(tmp_path: Path, gateway: Gateway) -> None:
    """Where, why, and what to do about it."""
    done = run("--port", str(gateway.port), cwd=tmp_path)
    assert done.returncode == 70
    assert "Cannot listen" in done.stderr
    assert "choose another address" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_name_is_reported_with_the_nearest(tmp_path: Path) -> None:
    done = run("--check", cwd=tmp_path, FWD_PROT="1")
    assert "FWD_PROT" in done.stderr
    assert "FWD_PORT" in done.stderr


def test_a_world_writable_key_file_stops_the_start(tmp_path: Path) -> None:
    """T14."""
    path = tmp_path / "keys.txt"
    path.write_text(KEY + "\n")
    path.chmod(0o666)
    done = run("--port", "0", cwd=tmp_path, FORWARDER_KEYS_FILE=str(path))
    assert done.returncode == 78
    assert "chmod" in done.stderr
    assert "Traceback" not in done.stderr


# -- bad input


def test_bad_input_is_one_line_and_the_right_status(start_gateway: Start) -> None:
    """T37: each a clear error, nothing in the log but one line."""
    gateway = start_gateway()
    gateway.wait_for("Keys: 1 in")
    before = len(gateway.lines)
    big = b'{"model":"echo:","messages":[{"role":"user","content":"' + b"x" * (20 << 20) + b'"}]}'
    found = [
        post(gateway, b'{"model": "echo:", "messages": ['),
        post(gateway, {"model": "echo:"}),
        post(gateway, hello(temperature="hot")),
        post(gateway, big),
        post(gateway, hello("nonsense")),
        post(gateway, hello(), key="fwd_wrong"),
    ]
    gateway.wait_for('"status":401')
    assert [status for status, _ in found] == [400, 400, 400, 413, 404, 401]
    assert all(json.loads(body)["error"]["message"] for _, body in found)
    assert len(gateway.lines) - before == len(gateway.requests()) == len(found)


def test_a_huge_prompt_goes_through(gateway: Gateway) -> None:
    """9 MB of words arrive; echo says the first MiB of them again, and why it stopped."""
    text = "wörd 👋 " * 800_000
    status, body = post(gateway, {"model": "echo:", "messages": [{"role": "user", "content": text}]})
    assert status == 200
    (choice,) = json.loads(body)["choices"]
    assert choice["finish_reason"] == "length"
    assert text.startswith(choice["message"]["content"])
    assert len(choice["message"]["content"].encode()) > (1 << 20) - 4


# -- keys


def test_keys_change_while_it_runs(start_gateway: Start) -> None:
    """D8, R7: a half-written line is skipped by its number, a new key works, a removed one does not."""
    gateway = start_gateway()
    path = gateway.cwd / "keys" / "forwarder_api_keys.txt"
    new = "fwd_" + "n" * 43
    with path.open("a") as file:
        file.write(f"sha256:12\n{new} name=new\n")
    assert "line 2" in gateway.wait_for("line 2")
    assert post(gateway, hello(), key=new)[0] == 200
    path.write_text(f"{new} name=new\n")
    gateway.wait_for("Keys: 1 in")
    assert post(gateway, hello())[0] == 401
    assert KEY not in "".join(gateway.lines)
    assert new not in "".join(gateway.lines)


def test_the_id_in_a_log_line_revokes_the_key(start_gateway: Start) -> None:
    """One identifier (contract S12): calls and refusals log the name and the id that `fwd keys` lists and revokes."""
    nameless = "fwd_" + "n" * 43
    gateway = start_gateway(PROVIDERS_PRIORITY="echo", keys=f"{KEY} name=web\n{nameless}\n")
    for key in (KEY, nameless):
        assert (post(gateway, hello(), key)[0], post(gateway, hello(temperature="hot"), key)[0]) == (200, 400)
    gateway.wait_for('"status":400')
    gateway.wait_for('"status":400')
    fwd = [sys.executable, "-m", "fwd_cli", "keys"]
    listed = subprocess.run([*fwd, "list", "--json"], cwd=gateway.cwd, capture_output=True, text=True, check=True)
    names = {found["id"]: found.get("name") for found in map(json.loads, listed.stdout.splitlines())}
    lines = [(found["key"], found["key_id"]) for found in gateway.requests()[:4]]
    web, other = names
    assert lines == [("web", web), ("web", web), (other, other), (other, other)]
    assert list(names.values()) == ["web", None]
    subprocess.run([*fwd, "revoke", lines[2][1]], cwd=gateway.cwd, capture_output=True, check=True)
    assert nameless not in (gateway.cwd / "keys/forwarder_api_keys.txt").read_text()


def test_a_refused_call_logs_its_model_and_its_field(start_gateway: Start) -> None:
    """A caller's own mistake is found by what it asked for; what is no JSON, or no text, names no model."""
    gateway = start_gateway(PROVIDERS_PRIORITY="echo")
    bodies = (hello("gpt-x", temperature="hot"), hello(7), b"{", hello("m" * 999, messages=7), b"[" * 5000)  # type: ignore[arg-type]
    assert [post(gateway, body)[0] for body in bodies] == [400] * 5
    for _ in bodies:
        gateway.wait_for('"status":400')
    lines = [(found.get("requested_model"), found.get("param")) for found in gateway.requests()]
    assert lines == [("gpt-x", "temperature"), (None, "model"), (None, None), ("m" * 200, "messages"), (None, None)]


# -- stopping


def start_stream(gateway: Gateway, model: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """A stream that has begun."""
    connection = ask(gateway, hello(model, stream=True))
    response = connection.getresponse()
    response.read1(10)
    return connection, response


def test_a_stop_lets_what_runs_finish(start_gateway: Start) -> None:
    """SIGTERM: no new connections, the stream to its [DONE], exit code 0."""
    gateway = start_gateway()
    connection, response = start_stream(gateway, "echo:slow?rate=10")
    gateway.process.send_signal(signal.SIGTERM)
    gateway.wait_for("1 requests are still running")
    with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as the system words it
        socket.create_connection(("127.0.0.1", gateway.port), 1).recv(1)
    assert response.read().endswith(b"data: [DONE]\n\n")
    connection.close()
    assert gateway.process.wait(10) == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_streams_with_an_event(start_gateway: Start, second: signal.Signals) -> None:
    """D14: every open stream gets EV(shutdown)."""
    gateway = start_gateway()
    connection, response = start_stream(gateway, "echo:slow?rate=1")
    gateway.process.send_signal(signal.SIGINT)
    gateway.wait_for("1 requests are still running")
    gateway.process.send_signal(second)
    text = response.read()
    connection.close()
    assert b'"code":"shutdown"' in text
    assert b"[DONE]" not in text
    assert gateway.process.wait(10) == 0


def test_the_end_of_the_drain_time_is_the_end(start_gateway: Start) -> None:
    gateway = start_gateway(FWD_DRAIN_TIMEOUT="0.2")
    connection, response = start_stream(gateway, "echo:stall?after=1")
    assert gateway.stop() == 0
    assert b'"code":"shutdown"' in response.read()
    connection.close()


def test_a_call_in_one_piece_is_told_too(start_gateway: Start) -> None:
    """D14: 503 shutdown, which SDKs retry elsewhere."""
    gateway = start_gateway(FWD_DRAIN_TIMEOUT="0.2")
    connection = ask(gateway, hello("echo:slow?ttft=30s"))
    assert post(gateway, hello())[0] == 200  # what came after it is answered, so it has been read
    assert gateway.stop() == 0
    response = connection.getresponse()
    assert response.status == 503
    assert json.loads(response.read())["error"]["code"] == "shutdown"
    connection.close()


def test_an_idle_gateway_stops_at_once(start_gateway: Start) -> None:
    gateway = start_gateway()
    post(gateway, hello())
    assert gateway.stop(5) == 0
    assert gateway.lines[-1].count("Stopped.") == 1


def test_a_stopped_process_goes_on_where_it_was(start_gateway: Start) -> None:
    """A laptop's lid: SIGSTOP and SIGCONT in the middle of a stream lose nothing."""
    gateway = start_gateway()
    connection, response = start_stream(gateway, "echo:slow?rate=20")
    gateway.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    gateway.process.send_signal(signal.SIGCONT)
    assert response.read().endswith(b"data: [DONE]\n\n")
    connection.close()


def test_reload_starts_again_when_a_file_changes(start_gateway: Start, tmp_path: Path) -> None:
    """`--reload`, for development: a changed .env is a new start with its settings."""
    gateway = start_gateway("--reload", dotenv="FWD_ECHO=true\n")
    (gateway.cwd / ".env").write_text("PROVIDERS_PRIORITY=echo\n")
    for moment in range(1, 100):  # the watcher compares with what it saw first, and looks twice a second
        os.utime(gateway.cwd / ".env", (moment, moment))
        if any("Without a model: echo" in line for line in gateway.lines):
            break
        time.sleep(0.2)
    gateway.wait_for("Without a model: echo")
    gateway.wait_for("Keys:")
    assert any("modified; restarting" in line for line in gateway.lines)  # the last line of the old one
    assert gateway.stop() == 0
