"""``fwd.toml`` that changes while the gateway answers (RT1 to RT6): the real process, with one and with two workers."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable

import pytest
from kit.fakeup import Fakeup, completion, error_answer, json_answer
from kit.reloads import WORDS, Target, under_load, until

from .conftest import KEY, PROVIDER_KEY, Gateway

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGHUP"),
    pytest.mark.usefixtures("default_hangup"),
]
Start = Callable[..., Gateway]
GOOD = '[models]\nsmart = "echo:"\nslow = "echo:slow"\n'
OTHER = '[models]\nsmart = "echo:"\nslow = "echo:slow"\nfast = "echo:"\n'


def target_of(gateway: Gateway) -> Target:
    return Target(gateway.port, gateway.process.pid, gateway.cwd / "fwd.toml", KEY)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_reloads_under_load_fail_no_call_and_cut_no_stream(start_gateway: Start, workers: str) -> None:
    """RT1: 60 reloads in 6 s; every stream is the same to the byte, and all workers serve by the last file."""
    gateway = start_gateway("--workers", workers, config=GOOD)
    target = target_of(gateway)
    with under_load(target, "smart", "echo:slow?rate=100", rate=50, streams=6) as tally:
        for number in range(60):
            target.write(f"# {number}\n" + (GOOD if number % 2 else OTHER))
            target.reload()
            time.sleep(0.1)
    assert set(tally.statuses) == {"200"}
    assert set(tally.streams) == {WORDS}
    assert sum(tally.statuses.values()) > 100
    target.write(OTHER)
    target.reload()
    until(lambda: [target.ask("fast")[0] for _ in range(8)] == [200] * 8)
    assert gateway.stop() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_change_is_taken_by_itself_and_at_once_when_asked(start_gateway: Start, workers: str) -> None:
    """RT4: on all workers within 2.5 s of the write, and within half a second of SIGHUP."""
    gateway = start_gateway("--workers", workers, config=GOOD)
    target = target_of(gateway)
    target.write(OTHER)
    assert (
        until(lambda: [target.ask("fast")[0] for _ in range(8)] == [200] * 8) < 2.5 + 1.0
    )  # and what eight calls take
    assert "models.fast" in gateway.wait_for("read again")
    target.write(GOOD)
    target.reload()
    assert until(lambda: [target.ask("fast")[0] for _ in range(4)] == [404] * 4) < 0.5 + 0.5
    assert gateway.stop() == 0


def test_a_call_sees_one_table(start_gateway: Start) -> None:
    """RT2: model, key and header differ together; the upstream sees no mixture, whenever a call falls."""
    files = {}
    with Fakeup(lambda seen: [json_answer(completion())]) as up:
        for name in ("one", "two"):
            files[name] = (
                f'[providers.openai]\nbase_url = "{up.url}"\nkeys = ["env:KEY_{name.upper()}"]\n'
                f'headers = {{ x-team = "{name}" }}\n[models]\nsmart = "openai:{name}"\n'
            )
        keys = {"KEY_ONE": f"{PROVIDER_KEY}-one", "KEY_TWO": f"{PROVIDER_KEY}-two"}
        gateway = start_gateway("--workers", "2", config=files["one"], **keys)
        target = target_of(gateway)
        with under_load(target, "smart", "echo:", rate=80, streams=0) as tally:
            for number in range(40):
                target.write(files["two" if number % 2 else "one"])
                target.reload()
                time.sleep(0.1)
        assert gateway.stop() == 0
    seen = {(one.json["model"], one.headers["x-team"], one.headers["authorization"][-3:]) for one in up.seen}
    assert set(tally.statuses) == {"200"}
    assert seen == {("one", "one", "one"), ("two", "two", "two")}


BAD = [
    ('[models]\nsmart = "echo:"\nslow = 3\n', 3),
    ("[models\n", 1),
    ('[models]\nsmart = "nobody"\n', 2),
    ('[models]\nsmart = "echo:"\nsmart = "echo:"\n', 3),
    ('[model]\nsmart = "echo:"\n', 1),
    ('[models.smart]\ndeployments = ["echo:"]\nweight = 1\n', 3),
    ('[models.smart]\ndeployments = ["echo:"]\nbalance = "fair"\n', 3),
    ('[models.smart]\ndeployments = ["echo:"]\nsticky = true\n', 3),
    ('[models.smart]\ndeployments = ["echo:"]\nattempts = 0\n', 3),
    ('[models.smart]\ndeployments = []\n', 2),
    ('[models.smart]\ndeployments = ["echo:"]\nfallback = ["nowhere"]\n', 3),
    ('[models.smart]\ndeployments = ["echo:"]\non.bad_weather = ["echo:"]\n', 3),
    ('[models.smart]\ndeployments = ["echo:"]\ndeny = ["model"]\n', 3),
    ('[models.smart]\ndeployments = ["echo:"]\ndefaults = { temperature = "hot" }\n', 3),
    ('[models.smart]\n\n\naliases = ["a"]\ndeployments = ["echo:"]\n[models.a]\ndeployments = ["echo:"]\n', 4),
    ('[[models.smart.deployments]]\nto = "echo:"\nweight = -1\n', 3),
    ('[[models.smart.deployments]]\nto = "echo:"\nrpm = "many"\n', 3),
    ('[[models.smart.deployments]]\nto = "echo:"\ntier = 1.5\n', 3),
    ('[[models.smart.deployments]]\nto = "echo:"\nprice = { input = -1 }\n', 3),
    ('[[models.smart.deployments]]\nto = "echo:"\nheaders = { authorization = "x" }\n', 3),
    ('[[models.smart.deployments]]\nto = "echo:"\nkeys = ["none"]\n', 3),
    ('[[models.smart.deployments]]\nto = "echo:"\nweight = 0\n', 1),
    ('[providers.openai]\nkeys = ["env:NOBODY_HAS_THIS"]\n', 2),
    ('[providers.openai]\nrotate = "round"\n', 2),
    ('[providers.openai]\nbase_url = "ftp://x"\n', 2),
    ('[providers.box]\nlabels = ["x"]\n', 1),
    ('[providers.box]\ntype = "opneai"\n', 2),
    ('[settings]\nattempts = "many"\n', 2),
    ('[settings]\n# a comment\natempts = 2\n', 3),
    ('[routing]\nonly_listed = "yes"\n', 2),
]  # fmt: skip


def test_a_bad_file_changes_nothing_and_says_the_line(start_gateway: Start) -> None:
    """RT3: thirty bad files over a good one; readiness is degraded until it is fixed."""
    gateway = start_gateway(config=GOOD)
    target = target_of(gateway)
    assert len(BAD) == 30
    lines = []
    for text, _ in BAD:
        target.write(text)
        target.reload()
        said = json.loads(gateway.wait_for("The new settings cannot be used"))["message"]
        lines.append(int(re.search(r"fwd\.toml(?::| line )(\d+)", said)[1]))  # type: ignore[index]
        assert target.ask("smart")[0] == 200
        ready = target.ready()
        assert ready["status"] == "degraded"
        assert "was not taken" in ready["degraded"][0]
    assert lines == [line for _, line in BAD]
    target.write(OTHER)
    target.reload()
    until(lambda: target.ready()["status"] == "ready")
    assert target.ask("fast")[0] == 200
    target.file.unlink()
    gateway.wait_for("the file is gone")
    assert target.ask("fast")[0] == 200, "the last good table stays"
    assert target.ready()["status"] == "degraded"
    assert gateway.stop() == 0


def test_cooldowns_and_connections_outlive_a_reload(start_gateway: Start) -> None:
    """RT5: a key at rest still rests, and no connection is made anew; also where nothing or a setting changed."""

    def answer(seen: object) -> list[object]:
        model = seen.json["model"]  # type: ignore[attr-defined]
        return [error_answer(429, retry_after="300")] if model == "busy" else [json_answer(completion())]

    with Fakeup(answer) as up:  # type: ignore[arg-type]
        gateway = start_gateway(OPENAI_API_KEY=PROVIDER_KEY, OPENAI_BASE_URL=up.url, config=GOOD)
        target = target_of(gateway)
        assert target.ask("openai:busy")[0] == 429
        assert target.ask("openai:good")[0] == 200
        connections = up.connections
        env = gateway.cwd / ".env"
        env.touch(mode=0o600)
        for change in ("nothing", "a setting", "the file"):
            if change == "a setting":
                env.write_text("FWD_ATTEMPTS=2\n")
            elif change == "the file":
                target.write(OTHER)
            target.reload()
            gateway.wait_for("read again")
            (rest,) = target.ready()["cooling_down"]
            assert (rest["provider"], rest["model"], rest["key"]) == ("openai", "busy", "OPENAI_API_KEY")
            assert 200 < rest["seconds"] <= 300
            assert target.ask("openai:good")[0] == 200
        assert up.connections == connections
        assert gateway.stop() == 0


def test_a_setting_that_is_mistyped_is_named_at_a_reload_too(start_gateway: Start) -> None:
    """As at the start: with the name that was probably meant."""
    gateway = start_gateway()
    env = gateway.cwd / ".env"
    env.touch(mode=0o600)
    env.write_text("FWD_ATEMPTS=2\n")
    target_of(gateway).reload()
    assert "FWD_ATTEMPTS" in gateway.wait_for("FWD_ATEMPTS")
    assert gateway.stop() == 0


def test_a_socket_of_the_file_stays_until_a_restart(start_gateway: Start) -> None:
    """Section 3: the other settings are taken, and the line is named."""
    gateway = start_gateway(config="[settings]\nworkers = 1\n" + GOOD)
    target = target_of(gateway)
    target.write("[settings]\nworkers = 2\nattempts = 2\n" + OTHER)
    target.reload()
    assert "line 2" in gateway.wait_for("until a restart")
    until(lambda: target.ask("fast")[0] == 200)
    assert gateway.stop() == 0
