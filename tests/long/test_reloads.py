"""RT1, RT2 and RT4 with their whole numbers: the short forms are in tests/together/test_reload.py."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kit.fakeup import Fakeup, completion, json_answer
from kit.reloads import WORDS, Target, under_load, until

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("default_hangup")]
KEY = "fwd_" + "r" * 43
GOOD = '[models]\nsmart = "echo:"\n'
OTHER = GOOD + 'fast = "echo:"\n'
Start = Callable[..., Target]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts gateways; they are stopped at the end."""
    running: list[subprocess.Popen[str]] = []

    def begin(config: str, *flags: str, **env: str) -> Target:
        (tmp_path / "fwd.toml").write_text(config)
        keys = tmp_path / "keys.txt"
        keys.touch(mode=0o600)
        keys.write_text(f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()} name=test\n")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("FWD_", "FORWARDER_"))}
        process = subprocess.Popen(
            [sys.executable, "-m", "fwd_server", "--port", "0", *flags],
            cwd=tmp_path,
            env={**clean, "FORWARDER_KEYS_FILE": str(keys), "FWD_LEDGER": "false", **env},
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stderr is not None
        while not (found := re.search(r"listens on http://127\.0\.0\.1:(\d+)", process.stderr.readline())):
            assert process.poll() is None
        threading.Thread(target=process.stderr.read, daemon=True).start()
        return Target(int(found[1]), process.pid, tmp_path / "fwd.toml", KEY)

    yield begin
    for process in running:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.mark.parametrize("workers", ["1", "4"])
def test_a_thousand_reloads_in_a_minute(start: Start, workers: str) -> None:
    """RT1: under 100 calls a second and 20 streams, no error, every stream the same to the byte."""
    target = start(GOOD, "--workers", workers)
    began = time.monotonic()
    with under_load(target, "smart", "echo:slow?rate=50", rate=100, streams=20) as tally:
        for number in range(1000):
            target.write(f"# {number}\n" + (GOOD if number % 2 else OTHER))
            target.reload()
            time.sleep(max(0.0, began + 0.06 * (number + 1) - time.monotonic()))
    print(dict(tally.statuses), f"{sum(tally.streams.values())} streams, slowest call {tally.slowest_s:.3f} s")
    assert set(tally.statuses) == {"200"}
    assert set(tally.streams) == {WORDS}


def test_ten_thousand_calls_see_one_table_each(start: Start) -> None:
    """RT2: over 200 reloads no mixture of model, key and header reaches the upstream."""
    with Fakeup(lambda seen: [json_answer(completion())]) as up:
        files = [
            f'[providers.openai]\nbase_url = "{up.url}"\nkeys = ["env:KEY_{name.upper()}"]\n'
            f'headers = {{ x-team = "{name}" }}\n[models]\nsmart = "openai:{name}"\n'
            for name in ("one", "two")
        ]
        target = start(files[0], KEY_ONE="sk-canary-one", KEY_TWO="sk-canary-two")
        reloads = 0
        with under_load(target, "smart", "echo:", rate=200, streams=0) as tally:
            while sum(tally.statuses.values()) < 10_000:
                reloads += 1
                target.write(files[reloads % 2])
                target.reload()
                time.sleep(0.2)
        seen = {(one.json["model"], one.headers["x-team"], one.headers["authorization"][-3:]) for one in up.seen}
    assert reloads >= 200
    assert set(tally.statuses) == {"200"}
    assert seen == {("one", "one", "one"), ("two", "two", "two")}


def test_fifty_changes_reach_four_workers_in_time(start: Start) -> None:
    """RT4: within 2.5 s of the write, and what the calls take that look."""
    target = start(GOOD, "--workers", "4")
    slowest = 0.0
    for number in range(50):
        name = f"model-{number}"
        target.write(GOOD + f'{name} = "echo:"\n')
        slowest = max(slowest, until(lambda name=name: [target.ask(name)[0] for _ in range(16)] == [200] * 16))
    print(f"slowest {slowest:.2f} s")
    assert slowest < 2.5 + 0.5
