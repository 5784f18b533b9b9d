"""The processes of a measurement: started, pinned to a core, watched, and ended. Linux only: it reads /proc."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import Factory, define, frozen

from bench.load import HEADERS, KEY, PATH, body_of

ROOT: Final = Path(__file__).parent.parent
GATEWAY_CORE: Final = 0
LOAD_CORE: Final = 1
START_S: Final = 60.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_STOP_S: Final = 10.0


@define
class System:
    """Something that is measured: where it listens, and which processes it is made of."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    path: str = PATH
    headers: Mapping[str, str] = Factory(dict)
    prefix: str = "openai:"
    ready_s: float = 0.0
    log: Path = Path(os.devnull)

    def pids(self) -> list[int]:
        """The process and all below it."""
        return list(_process_tree(self.process.pid))

    def cpu_s(self) -> float:
        """User and system time of all its processes until now."""
        return sum(_cpu_s(pid) for pid in self.pids())

    def loop_s(self) -> float:
        """CPU seconds of the main thread so far, which the event loop runs in."""
        pid = self.process.pid
        return _cpu_s(pid, f"task/{pid}/stat")

    def rss(self) -> int:
        """Memory of all its processes now, in bytes."""
        return sum(int(_read_proc(pid, "statm").split()[1]) * _PAGE for pid in self.pids())


def _read_proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def _cpu_s(pid: int, name: str = "stat") -> float:
    fields = _read_proc(pid, name).rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _process_tree(pid: int) -> Iterator[int]:
    yield pid
    for child in _read_proc(pid, f"task/{pid}/children").split():
        yield from _process_tree(int(child))


def raise_fd_limit() -> None:
    """Raise the limit of open files to the hard limit; processes started later inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def pin_command(core: int | None, command: Sequence[str]) -> list[str]:
    """The command, on one core where that can be."""
    if core is None or not shutil.which("taskset") or (os.cpu_count() or 1) <= core:
        return list(command)
    return ["taskset", "-c", str(core), *command]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def run_process(command: Sequence[str], **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the duration of the block."""
    with subprocess.Popen(command, cwd=more.pop("cwd", ROOT), **more) as process:
        try:
            yield process
        finally:
            if process.stdin:
                process.stdin.close()
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def run_upstream() -> Iterator[System]:
    """The canned provider, in a process of its own."""
    command = pin_command(LOAD_CORE, [sys.executable, "-m", "bench.upstream"])
    with run_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield System("direct", int(process.stdout.readline()), process)
        process.stdout.close()


@frozen
class GatewayPlace:
    """Where the gateway under test comes from, and where it runs."""

    python: str
    folder: Path
    upstream_port: int


@contextmanager
def run_gateway(
    place: GatewayPlace,
    *,
    workers: int = 1,
    core: int | None = GATEWAY_CORE,
    program: Sequence[str] = ("fwd_server",),
    wrapper: Sequence[str] = (),
    key_options: str = "",
    **env: str,
) -> Iterator[System]:
    """fwd as people run it: keys, validation, routing, receipts, usage, ledger and a JSON log line for each request.

    ``key_options`` are limits and budgets of the one key.
    """
    folder = place.folder / f"gateway-{time.monotonic_ns()}"
    folder.mkdir(mode=0o700)
    keys = folder / "keys"
    keys.touch(mode=0o600)
    keys.write_text(f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()} name=bench {key_options}\n")
    command = pin_command(core, [*wrapper, place.python, "-m", *program, "--port", "0", "--workers", str(workers)])
    log = folder / "log"
    started = time.monotonic()
    with (
        log.open("wb") as out,
        run_process(
            command, cwd=folder, env=_gateway_environment(place, keys) | env, stderr=out, stdout=out
        ) as process,
    ):
        port = _read_port(log, process)
        wait_until_answers(port)
        yield System("fwd", port, process, ready_s=time.monotonic() - started, log=log)


def instrumented_program(*options: str, without: Sequence[str] = ()) -> dict[str, Any]:
    """What ``gateway`` needs to run it under ``bench.instrumented``, with some pieces of the call path switched off."""
    names = [word for name in without for word in ("--without", name)]
    return {"program": ("bench.instrumented", *options, *names, "--"), "PYTHONPATH": str(ROOT)}


def _gateway_environment(place: GatewayPlace, keys: Path) -> dict[str, str]:
    url = f"http://127.0.0.1:{place.upstream_port}"
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return inherited | {
        "FORWARDER_KEYS_FILE": str(keys),
        "FWD_LOG_FORMAT": "json",
        "FWD_LEDGER": "false",  # it has a measure of its own, B11
        "OPENAI_API_KEY": "sk-bench",
        "OPENAI_BASE_URL": f"{url}/v1",
        "ANTHROPIC_API_KEY": "sk-bench",
        "ANTHROPIC_BASE_URL": f"{url}/v1",
        "GOOGLE_API_KEY": "sk-bench",
        "GOOGLE_BASE_URL": f"{url}/v1beta",
        "OLLAMA_BASE_URL": url,
    }


def _read_port(log: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"listens on http://127\.0\.0\.1:(\d+)", log.read_text())
        if found:
            return int(found[1])
        time.sleep(0.005)
    raise RuntimeError(f"the gateway did not start:\n{log.read_text()}")


def wait_until_answers(
    port: int, path: str = "/health", process: subprocess.Popen[bytes] | None = None, seconds: float = START_S
) -> None:
    """Wait until something listens there and answers with HTTP, whatever the status. Raises RuntimeError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (process is None or process.poll() is None):
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
                if connection.recv(16).startswith(b"HTTP/1.1 "):
                    return
        except OSError:
            pass
        time.sleep(0.005)
    raise RuntimeError(f"nothing answers on port {port}")


_NGINX: Final = """
daemon off; {user} worker_processes 1; error_log {folder}/error.log warn; pid {folder}/pid; worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off; client_max_body_size 16m; client_body_buffer_size 2m; keepalive_requests 100000000;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    upstream provider {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
        }}
    }}
}}
"""


@contextmanager
def run_nginx(place: GatewayPlace) -> Iterator[System | None]:
    """nginx as a plain reverse proxy, the floor; None where it is not installed."""
    program = shutil.which("nginx")
    if program is None:
        yield None
        return
    folder = place.folder / f"nginx-{time.monotonic_ns()}"
    folder.mkdir()
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    text = _NGINX.format(user=user, folder=folder, port=port, upstream=place.upstream_port)
    (folder / "conf").write_text(text)
    command = [program, "-p", str(folder), "-c", str(folder / "conf"), "-e", str(folder / "error.log")]
    with run_process(pin_command(GATEWAY_CORE, command)) as process:
        wait_until_answers(port)
        yield System("nginx", port, process)


def run_load(system: System, what: str, **options: Any) -> dict[str, Any]:
    """Run one of the loads of ``bench.load`` on the other core; what it saw."""
    own = {"model": system.prefix + "bench", "path": system.path, "headers": json.dumps(dict(system.headers))}
    flags = own | options
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    command = pin_command(LOAD_CORE, [sys.executable, "-m", "bench.load", what, str(system.port), *words])
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def hold_streams(system: System, **options: Any) -> Iterator[int]:
    """Streams that stay open for the duration of the block; how many."""
    words = [w for n, v in options.items() for w in ([f"--{n}"] if v is True else [f"--{n}", str(v)])]
    command = pin_command(LOAD_CORE, [sys.executable, "-m", "bench.load", "hold", str(system.port), *words])
    with run_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["open"])
        process.stdout.close()


_WRK: Final = """
wrk.method = "POST"
wrk.path = "%(path)s"
wrk.body = io.open("%(body)s"):read("*a")
%(headers)s
function done(summary, latency, requests)
  local errors = summary.errors
  io.stderr:write(string.format(
    '{"requests": %%d, "seconds": %%f, "failed": %%d, "latency": {"p50": %%f, "p99": %%f, "max": %%f}}',
    summary.requests, summary.duration / 1e6, errors.connect + errors.read + errors.write + errors.status
    + errors.timeout, latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
"""


def run_calls(system: System, folder: Path, *, connections: int = 32, seconds: int = 2, **body: Any) -> dict[str, Any]:
    """Calls in a closed loop from some connections, by wrk where it is installed."""
    program = shutil.which("wrk")
    model = str(body.pop("model", system.prefix + "bench"))
    if program is None:
        return run_load(system, "calls", connections=connections, seconds=seconds, model=model, **body)
    (folder / "body").write_bytes(body_of(model, **body))
    headers = "\n".join(f'wrk.headers["{n}"] = "{v}"' for n, v in (HEADERS | dict(system.headers)).items())
    script = folder / "calls.lua"
    script.write_text(_WRK % {"path": system.path, "body": folder / "body", "headers": headers})
    url = f"http://127.0.0.1:{system.port}"
    # wrk gives up after 2 s, which 32 connections to a slow peer reach on a busy machine.
    command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), url]
    done = subprocess.run(pin_command(LOAD_CORE, command), capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stderr)
    return found


def describe_machine() -> dict[str, Any]:
    """The machine: its CPU, cores, memory and kernel."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PHYS_PAGES") * _PAGE
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "kernel": platform.release(),
    }


_BUILD: Final = """
import os, platform, sys, sysconfig
args = sysconfig.get_config_var("CONFIG_ARGS") or ""
how = "with PGO" if "--enable-optimizations" in args else "configured without --enable-optimizations"
if sys.base_prefix == "/usr":  # sysconfig describes the shared library there, not the program, which is optimised
    how = "as Debian builds it, with PGO and LTO" if os.path.exists("/etc/debian_version") else "the distribution's"
print(f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}, {how}")
"""


def describe_python(python: str) -> str:
    """Which Python the gateway runs on, and how it was built."""
    return subprocess.run([python, "-c", _BUILD], capture_output=True, text=True, check=True).stdout.strip()


def read_output(*command: str) -> str:
    """What a program says on its standard output and error; nothing where it is missing."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()
