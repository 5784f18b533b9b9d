"""A gateway on a loopback socket that answers as it is told, and ways to run ``fwd`` against it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TextIO

import pytest
from attrs import define, field

KEY = "fwd_test-key"


def chunk(text: str | None = None, *, finish: str | None = None, **fields: Any) -> bytes:
    """One event of a stream."""
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "echo:", "choices": [choice]}
    return b"data: " + json.dumps({**body, **fields}).encode() + b"\n\n"


USAGE = chunk(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})
DONE = b"data: [DONE]\n\n"


def answer(text: str | None, **message: Any) -> dict[str, Any]:
    """A whole answer."""
    said = {"role": "assistant", "content": text, **message}
    finish = "tool_calls" if "tool_calls" in message else "stop"
    usage = {"prompt_tokens": 1200, "completion_tokens": 2, "total_tokens": 1202}
    choices = [{"index": 0, "message": said, "finish_reason": finish}]
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "echo:", "choices": choices, "usage": usage}


@define
class FakeGateway:
    """Answers with what ``reply`` and ``pieces`` say, and keeps what it was sent."""

    url: str = ""
    status: int = 200
    reply: dict[str, Any] = field(factory=lambda: answer("Hello."))
    pieces: list[bytes] = field(factory=lambda: [chunk("Hell"), chunk("o."), chunk(finish="stop"), USAGE, DONE])
    headers: dict[str, str] = field(
        factory=lambda: {"x-request-id": "req_1", "x-fwd-provider": "echo", "x-fwd-model": "echo:"}
    )
    requests: list[dict[str, Any]] = field(factory=list)
    headers_sent: list[dict[str, str]] = field(factory=list)
    go_on: threading.Event = field(factory=threading.Event)
    next_reply: Callable[[], dict[str, Any]] | None = None


def _handler(gateway: FakeGateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            gateway.headers_sent.append({name.lower(): value for name, value in self.headers.items()})
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            told = {"path": self.path, "key": self.headers["authorization"], "dry_run": self.headers["x-fwd-dry-run"]}
            gateway.requests.append({**{name: value for name, value in told.items() if value}, **body})
            if body.get("stream") and gateway.status == 200:
                self._stream()
            else:
                reply = gateway.next_reply() if gateway.next_reply else gateway.reply
                self._send(gateway.status, json.dumps(reply).encode())

        def do_GET(self) -> None:
            gateway.requests.append({"path": self.path, "key": self.headers["authorization"]})
            self._send(gateway.status, json.dumps(gateway.reply).encode())

        def _head(self, status: int, kind: str) -> None:
            self.send_response(status)
            for name, value in {**gateway.headers, "content-type": kind, "connection": "close"}.items():
                self.send_header(name, value)
            self.end_headers()

        def _send(self, status: int, body: bytes) -> None:
            self._head(status, "application/json")
            self.wfile.write(body)

        def _stream(self) -> None:
            self._head(200, "text/event-stream")
            for piece in gateway.pieces:
                if piece == DONE:
                    gateway.go_on.wait(30)
                try:
                    self.wfile.write(piece)
                except OSError:
                    return

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """A gateway that answers at once; clear ``go_on`` to hold back the end of a stream."""
    fake = FakeGateway()
    fake.go_on.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    fake.go_on.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def clean_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and an environment without settings of ours or of colour."""
    monkeypatch.chdir(tmp_path)
    for name, folder in (
        ("XDG_CACHE_HOME", "cache"),
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_STATE_HOME", "state"),
        ("HOME", "home"),
    ):
        monkeypatch.setenv(name, str(tmp_path / folder))
    for name in list(os.environ):
        if name.startswith(
            ("FWD_", "FORWARDER_", "PROVIDERS_", "OPENAI_", "COMP_", "NO_COLOR", "FORCE_COLOR", "CLICOLOR")
        ):
            monkeypatch.delenv(name)
    return tmp_path


@define
class Ended:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def fwd(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in this process; standard input is empty, a text (in a file), or a stream."""
    from fwd_cli.__main__ import main

    def run(*args: str, stdin: str | io.StringIO | None = None) -> Ended:
        if isinstance(stdin, io.StringIO):
            return run_with(args, stdin)
        Path("stdin").write_text(stdin or "")
        with open(os.devnull if stdin is None else "stdin") as opened:
            return run_with(args, opened)

    def run_with(args: tuple[str, ...], stdin: TextIO) -> Ended:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        code = main(args)
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return run


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command line in a process of its own; whatever still runs at the end is ended."""
    started: list[subprocess.Popen[str]] = []

    def run(*args: str, **options: Any) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "fwd_cli", *args]
        process = subprocess.Popen(
            command, text=True, **{"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": pipe, **options}
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()
