"""What the pages for operators say is done as it stands there: every command and every configuration."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from kit import certificates
from kit.machine import Machine, Unit, page_blocks

from fwd_server import __version__

UNIT = page_blocks("deployment", "ini", "systemd")[0]
NEEDED = ("nginx", "caddy", "systemd-analyze", "openssl", "curl")


@pytest.fixture(autouse=True)
def _programs() -> None:
    """`.ci/run` installs them."""
    missing = [name for name in NEEDED if shutil.which(name, path="/usr/sbin:/usr/bin:/bin:/usr/local/bin") is None]
    if missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"missing: {', '.join(missing)}; .ci/run installs them")
        pytest.skip(f"missing: {', '.join(missing)}")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """One that is installed, with one key and the built-in provider."""
    made = Machine(tmp_path)
    made.install()
    yield made
    made.stop()


@pytest.fixture
def key(machine: Machine) -> str:
    """The key that `fwd init` made."""
    found = re.search(r"FORWARDER_KEY=(\S+)", (machine.home / ".env").read_text())
    assert found is not None
    return found[1]


@pytest.fixture
def unit(machine: Machine) -> Unit:
    """The gateway, started as the unit says."""
    return machine.start_unit(machine.write(UNIT).read_text())


@pytest.fixture
def front(machine: Machine) -> dict[str, str]:
    """Certificates for whatever stands in front, and the settings for it; what a client must trust."""
    made = certificates.folder(machine.root)
    (machine.root / "etc/ssl/gateway").mkdir(parents=True)
    shutil.copy(made / "good.crt", machine.root / "etc/ssl/gateway/fullchain.pem")
    shutil.copy(made / "good.key", machine.root / "etc/ssl/gateway/privkey.pem")
    machine.append_settings(page_blocks("deployment", "sh", "nginx")[0])
    return {"cafile": str(made / "ca.crt")}


@frozen
class Answer:
    """The status, the provider that the gateway names, and when each line came, in monotonic seconds."""

    status: int
    provider: str | None
    lines: list[tuple[float, bytes]]


def post(machine: Machine, key: str, body: dict[str, Any], cafile: str, source: str = "127.0.0.1") -> Answer:
    """A call through what is in front."""
    connection = http.client.HTTPSConnection(
        "localhost",
        machine.ports["443"],
        timeout=20,
        source_address=(source, 0),
        context=ssl.create_default_context(cafile=cafile),
    )
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with contextlib.closing(connection):
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        lines = [(time.monotonic(), line) for line in response]
        return Answer(response.status, response.getheader("x-fwd-provider"), lines)


def ask(text: str, model: str = "echo:", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def check_front(machine: Machine, key: str, cafile: str) -> None:
    """Pieces of a stream come one by one, large bodies pass, and the gateway knows who called."""
    streamed = post(machine, key, ask("a b c d e f g h i j", "echo:slow?rate=10", stream=True), cafile, "127.0.0.2")
    times = [at for at, line in streamed.lines if b'"content"' in line]
    assert len(times) >= 5
    assert times[-1] - times[0] > 0.2, "the pieces were collected"
    large = post(machine, key, ask("x" * (9 << 20), max_tokens=1), cafile)
    assert (large.status, large.provider) == (200, "echo")
    assert post(machine, "fwd_wrong", ask("Hi"), cafile, "127.0.0.3").status == 401
    peers = {call["peer"]: call["status"] for call in access_lines(machine) if "peer" in call}
    assert peers["127.0.0.2"] == 200
    assert peers["127.0.0.3"] == 401


def access_lines(machine: Machine) -> list[dict[str, Any]]:
    """The lines of requests so far, once the last one is written."""
    time.sleep(0.3)
    lines = map(json.loads, (machine.root / "journal").read_text().splitlines())
    return [line for line in lines if line["logger"] == "fwd.access"]


# -- deployment


def test_the_unit_is_valid_starts_reloads_and_stops(machine: Machine, unit: Unit) -> None:
    """Its commands run as systemd runs them; what only systemd can do is verified by its own tool."""
    verify = page_blocks("deployment", "sh", "systemd")[0]
    assert machine.sh(verify) == ""
    assert (machine.root / "systemctl.log").read_text().splitlines() == ["daemon-reload", "enable --now fwd"]
    assert f"fwd-cli=={__version__}" in (machine.root / "pip.log").read_text()
    path = machine.root / "etc/systemd/system/fwd.service"
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(path)], capture_output=True, text=True
    )
    assert rated.returncode == 0, rated.stdout
    before = len(access_lines(machine))
    unit.reload()
    machine.append_settings("FWD_LOG_LEVEL=info\n")
    assert machine.sh("curl -fs http://127.0.0.1:8000/ready")
    assert len(access_lines(machine)) > before
    assert "The settings were read again" in (machine.root / "journal").read_text()
    assert unit.stop() == 0
    assert not (machine.root / "run/fwd/health").exists()


def test_nginx(machine: Machine, front: dict[str, str], key: str) -> None:
    """Streaming, large bodies, addresses of callers."""
    machine.write(page_blocks("deployment", "nginx", "nginx")[0])
    machine.start_unit(machine.write(UNIT).read_text())
    with machine.nginx():
        machine.sh(page_blocks("deployment", "sh", "nginx")[1])
        check_front(machine, key, **front)


def test_caddy(machine: Machine, front: dict[str, str], key: str) -> None:
    """The same, but for the certificate, which cannot come from an authority in public here."""
    config = machine.write(page_blocks("deployment", "caddy", "Caddy")[0])
    files = " ".join(str(machine.root / "etc/ssl/gateway" / name) for name in ("fullchain.pem", "privkey.pem"))
    alone = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"
    config.write_text(alone + config.read_text().replace(" {\n", f" {{\n\ttls {files}\n", 1))
    machine.sh(page_blocks("deployment", "sh", "Caddy")[0])
    machine.start_unit(machine.write(UNIT).read_text())
    with machine.running("caddy", "run", "--config", str(config), "--adapter", "caddyfile"):
        check_front(machine, key, **front)


def test_tls_end_to_end(machine: Machine, front: dict[str, str], key: str) -> None:
    """nginx and the command check the gateway's certificate; with another authority nothing passes."""
    authority, models = page_blocks("deployment", "sh", "TLS end to end")[1:]
    folder = machine.root / "etc/fwd"
    folder.mkdir()
    machine.sh(authority, folder)
    machine.append_settings(page_blocks("deployment", "sh", "TLS end to end")[0].replace("0.0.0.0", "127.0.0.1"))
    (secure,) = page_blocks("deployment", "nginx", "TLS end to end")
    config = page_blocks("deployment", "nginx", "nginx")[0].replace(":8000", ":8443")
    assert config.count("proxy_pass http://fwd;") == 1
    machine.write(config.replace("proxy_pass http://fwd;", secure))
    shutil.copy(folder / "ca.pem", machine.root / "etc/nginx/ca.pem")
    machine.start_unit(machine.write(UNIT).read_text())
    with machine.nginx():
        assert post(machine, key, ask("Hi"), **front).status == 200
    shutil.copy(front["cafile"], machine.root / "etc/nginx/ca.pem")
    with machine.nginx():
        assert post(machine, key, ask("Hi"), **front).status == 502
    assert "echo:" in machine.sh(models, folder, FORWARDER_KEY=key)


def test_unix_sockets(machine: Machine, front: dict[str, str], key: str) -> None:
    """The drop-in, and nginx in front of the socket."""
    unit = machine.write(UNIT).read_text()
    drop_in = machine.write(page_blocks("deployment", "ini", "Unix sockets")[0])
    machine.sh("systemd-analyze verify /etc/systemd/system/fwd.service")
    (upstream,) = page_blocks("deployment", "nginx", "Unix sockets")
    site = page_blocks("deployment", "nginx", "nginx")[0]
    machine.write(re.sub(r"(?s)upstream fwd \{.*?\}\n", upstream, site))
    machine.start_unit(unit + drop_in.read_text())
    assert (machine.root / "run/fwd/gateway.sock").stat().st_mode & 0o777 == 0o660
    assert '"ready"' in machine.sh(page_blocks("deployment", "sh", "Unix sockets")[0])
    with machine.nginx():
        assert post(machine, key, ask("Hi"), **front).status == 200


# -- upgrading and backup


def test_upgrading_and_going_back(machine: Machine, unit: Unit) -> None:
    """The new version reads the settings first; the link decides which one starts."""
    new, check = page_blocks("upgrading", "sh", "Install beside the old version")[:2]
    switch = page_blocks("upgrading", "sh", "Install beside the old version")[2]
    machine.sh(new)
    assert "PROVIDERS_PRIORITY" in machine.sh(check)
    assert "ready" in machine.sh(switch)
    assert (machine.root / "opt/fwd").resolve().name == "fwd-0.2.0"
    machine.sh(page_blocks("upgrading", "sh", "Go back")[0])
    assert (machine.root / "opt/fwd").resolve().name == "fwd-0.1.0"
    assert (machine.root / "systemctl.log").read_text().splitlines() == ["restart fwd"] * 2


def test_a_restart_behind_nginx_fails_no_call(machine: Machine, front: dict[str, str], key: str) -> None:
    """R2 across versions: two gateways, restarted one after the other while calls come."""
    template = UNIT
    (change,) = page_blocks("upgrading", "diff", "Without a refused call")
    for old, new in re.findall(r"(?m)^-(?!--)(.*)\n\+(.*)$", change):
        assert template.count(old) == 1, old
        template = template.replace(old, new)
    path = machine.write(template.replace("fwd.service", "fwd@.service", 1))
    machine.sh("systemd-analyze verify /etc/systemd/system/fwd@8001.service")
    (upstream,) = page_blocks("upgrading", "nginx", "Without a refused call")
    site = page_blocks("deployment", "nginx", "nginx")[0]
    machine.write(re.sub(r"(?s)upstream fwd \{.*?\}\n", upstream, site))
    ports = [str(machine.ports[name]) for name in ("8001", "8002")]
    units = {port: machine.start_unit(path.read_text(), port) for port in ports}
    (machine.root / "systemctl.log").touch()
    stopped, statuses = threading.Event(), []

    def call() -> None:
        while not stopped.is_set():
            statuses.append(post(machine, key, ask("a b c", "echo:slow?rate=20"), **front).status)

    with machine.nginx():
        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        (block,) = page_blocks("upgrading", "sh", "Without a refused call")
        operator = threading.Thread(target=machine.sh, args=(block,))
        operator.start()
        for port in ports:
            wait_until(lambda port=port: f"restart fwd@{port}" in (machine.root / "systemctl.log").read_text())
            assert units[port].stop() == 0
            machine.start_unit(path.read_text(), port)
            (machine.root / f"fwd@{port}").touch()
        operator.join(20)
        time.sleep(0.5)
        stopped.set()
        for caller in callers:
            caller.join(20)
    assert len(statuses) > 20
    assert set(statuses) == {200}


def test_backup_and_restore(machine: Machine, unit: Unit, key: str) -> None:
    """What was lost comes back, usage too, and a key in the archive is only a digest."""
    assert machine.sh('fwd call "Hello" --model echo:', FORWARDER_KEY=key).startswith("Hello")
    wait_until(lambda: "echo:" in machine.sh("fwd usage --by model"))
    machine.sh(page_blocks("backup", "sh", "Make one")[0])
    keys = machine.home / "keys/forwarder_api_keys.txt"
    assert key not in keys.read_text()
    assert unit.stop() == 0
    shutil.rmtree(machine.home)
    machine.sh(page_blocks("backup", "sh", "Restore it")[0], machine.root)
    assert keys.stat().st_mode & 0o777 == 0o600
    machine.start_unit(machine.placed(UNIT))
    assert "echo:" in machine.sh("fwd usage --by model")
    assert machine.sh('fwd call "Hello" --model echo:', FORWARDER_KEY=key).startswith("Hello")


# -- the team's first day


@pytest.mark.timeout(300)
def test_the_first_day(machine: Machine, front: dict[str, str]) -> None:
    """From nothing to ten people with keys, in the order of the page; the first answer within two minutes."""
    began, first_answer = time.monotonic(), 0.0
    (machine.home / ".env").unlink()
    shutil.rmtree(machine.home / "keys")
    machine.sh(page_blocks("first-day", "sh", "Install the gateway")[0])
    out = machine.sh("\n".join(page_blocks("first-day", "sh", "Connect a provider")[0].splitlines()[:1]))
    assert "fwd run-server" in out
    machine.append_settings(f"FWD_PORT={machine.ports['8000']}\n" + page_blocks("deployment", "sh", "nginx")[0])
    machine.write(page_blocks("deployment", "nginx", "nginx")[0])
    machine.sh(page_blocks("first-day", "sh", "Start it, with TLS in front")[0])
    machine.start_unit(machine.write(UNIT).read_text())
    assert "✗" not in machine.sh(page_blocks("first-day", "sh", "Connect a provider")[0].splitlines()[1])
    make, harden = page_blocks("first-day", "sh", "Make ten keys")
    listed = machine.sh(make)
    people = dict(line.split() for line in (machine.home / "new-keys.txt").read_text().splitlines())
    assert len(people) == 10
    assert all(name in listed for name in people)
    machine.sh(harden)
    assert not (machine.home / "new-keys.txt").exists()
    with machine.nginx():
        wait_until(lambda: post(machine, people["jonas"], ask("Hi"), **front).status == 200)
        for name in ("ana", "jonas"):
            laptop = machine.root / "laptops" / name
            laptop.mkdir(parents=True)
            trust = {"HOME": str(laptop), "SSL_CERT_FILE": front["cafile"], "FORWARDER_URL": ""}
            steps = page_blocks("first-day", "sh", "On each laptop")[0]
            steps = steps.replace("fwd login", "fwd login --key -")  # a test cannot be asked
            assert "Hello!" in machine.sh(steps, laptop, stdin=people[name] + "\n", **trust)
            first_answer = first_answer or time.monotonic()
        assert first_answer - began < 120
        assert {post(machine, secret, ask("Hi"), **front).status for secret in people.values()} == {200}
        (program,) = page_blocks("first-day", "python", "In your programs")
        (laptop / "program.py").write_text(machine.placed(program))
        shown = machine.sh(f"{sys.executable} program.py", laptop, FORWARDER_KEY=people["ana"], **trust)
        assert shown.strip() == "Hello"
        wait_until(lambda: all(name in machine.sh("fwd usage") for name in people))
        used = machine.sh(page_blocks("first-day", "sh", "See who calls")[0])
        assert "echo:" in used
        assert all(used.count(name) >= 2 for name in people), "in the usage, and with its budget"
        machine.sh(page_blocks("first-day", "sh", "Somebody leaves")[0])
        wait_until(lambda: post(machine, people["ben"], ask("Hi"), **front).status == 401)
        assert post(machine, people["ana"], ask("Hi"), **front).status == 200


def wait_until(happened: Callable[[], bool]) -> None:
    """A gateway reads its key file within two seconds (R7); other programs take their time, too."""
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.2)


# -- security and troubleshooting


@pytest.mark.parametrize("page", ["security", "troubleshooting"])
def test_every_command_of_the_page(machine: Machine, unit: Unit, key: str, page: str) -> None:
    """With the gateway running, in its directory, with the key that `fwd init` put into .env."""
    machine.sh("fwd generate-key --name ana")
    time.sleep(2)
    blocks = page_blocks(page, "sh")
    assert len(blocks) > 1
    for block in blocks:
        assert machine.sh(block)


def test_what_is_visible_without_a_key(machine: Machine, unit: Unit, key: str) -> None:
    """The table of security.md: details of /ready are for keys and for this machine."""
    through = "-H 'X-Forwarded-For: 192.0.2.1'"
    assert json.loads(machine.sh(f"curl -s {through} http://127.0.0.1:8000/ready")) == {"status": "ready"}
    seen = machine.sh(f"curl -s {through} -H 'Authorization: Bearer {key}' http://127.0.0.1:8000/ready")
    assert "echo" in seen
    assert machine.sh(f"curl -s -o /dev/null -w '%{{http_code}}' {through} http://127.0.0.1:8000/v1/models") == "401"
