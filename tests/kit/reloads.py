"""A gateway whose ``fwd.toml`` is written again and again while it answers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

PATH = "/v1/chat/completions"
WORDS = " ".join(f"w{number}" for number in range(40))


@frozen
class Target:
    """A gateway under test: its port, its process, its ``fwd.toml``, and a key for it."""

    port: int
    pid: int
    file: Path
    key: str

    def write(self, text: str) -> None:
        """A new file, at once and whole."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.file)

    def reload(self) -> None:
        """Ask for it now."""
        os.kill(self.pid, signal.SIGHUP)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, model: str, **more: Any) -> tuple[int, Any]:
        """One call over a connection of its own."""
        connection = self.connect()
        try:
            body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **more}
            connection.request("POST", PATH, json.dumps(body), self.headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def ready(self) -> Any:
        """What ``/ready`` says."""
        connection = self.connect()
        try:
            connection.request("GET", "/ready")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


@define
class Tally:
    """What callers saw: answers by status, and the texts of streams."""

    statuses: Counter[str] = field(factory=Counter)
    streams: Counter[str] = field(factory=Counter)
    slowest_s: float = 0.0


@contextmanager
def under_load(target: Target, model: str, stream_model: str, rate: float, streams: int) -> Iterator[Tally]:
    """Calls at ``rate`` a second and so many streams, each begun anew when it ends, while the block runs."""
    tally, over = Tally(), threading.Event()

    def call(every_s: float) -> None:
        connection = target.connect()
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hi"}]})
        due = time.monotonic()
        while not over.is_set():
            began = time.monotonic()
            try:
                connection.request("POST", PATH, body, target.headers)
                response = connection.getresponse()
                response.read()
                tally.statuses[str(response.status)] += 1
            except (OSError, http.client.HTTPException) as error:
                tally.statuses[type(error).__name__] += 1
                connection.close()
            tally.slowest_s = max(tally.slowest_s, time.monotonic() - began)
            due += every_s
            time.sleep(max(0.0, due - time.monotonic()))
        connection.close()

    def stream() -> None:
        body = {"model": stream_model, "messages": [{"role": "user", "content": WORDS}], "stream": True}
        while not over.is_set():
            connection = target.connect()
            try:
                connection.request("POST", PATH, json.dumps(body), target.headers)
                tally.streams[_text_of(connection.getresponse().read())] += 1
            except (OSError, http.client.HTTPException) as error:
                tally.streams[type(error).__name__] += 1
            finally:
                connection.close()

    callers = 4
    threads = [threading.Thread(target=call, args=(callers / rate,)) for _ in range(callers)]
    threads += [threading.Thread(target=stream) for _ in range(streams)]
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _text_of(body: bytes) -> str:
    """The text of a stream that ended well; else what came."""
    if not body.endswith(b"data: [DONE]\n\n"):
        return f"cut: {body[-80:]!r}"
    events = [line[6:] for line in body.splitlines() if line.startswith(b"data: {")]
    choices = [json.loads(event)["choices"] for event in events]
    return "".join(choice[0]["delta"].get("content") or "" for choice in choices if choice)


def until(true: Callable[[], bool], seconds: float = 20.0) -> float:
    """Wait until something is so; how long that took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it did not come to that"
        time.sleep(0.01)
    return time.monotonic() - began
