"""A server as the pages for operators describe one, in a folder: their commands run in it as written.

Only what would change the real machine is replaced: paths, ports and host names are those of the folder, and programs
that need a systemd, another user or a package index note what they are asked, after checking that they could be.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import define, field

DOCS: Final = Path(__file__).parents[2] / "docs"
FOLDERS: Final = ("/opt/fwd", "/var/lib", "/var/backups", "/usr/local/bin", "/run/fwd", "/etc/")
PROGRAMS: Final = {
    # The user is ours, so is everything else; without a command, sudo opens a shell.
    "sudo": """
while [ "${1#-}" != "$1" ]; do case $1 in *u) shift 2 ;; *) shift ;; esac; done
[ $# = 0 ] || exec "$@"
""",
    "useradd": """
for word; do case $word in --*) /usr/sbin/useradd --help | grep -q -- "$word" || exit 2 ;; esac; done
mkdir -p "$(echo "$*" | sed 's/.*--home-dir \\([^ ]*\\).*/\\1/')"
""",
    "chown": 'for last; do :; done; [ -e "$last" ]',
    # The test starts and stops the gateways itself: a command that restarts one waits for it.
    "systemctl": """
echo "$*" >> "$MACHINE/systemctl.log"
[ "$*" != "reload nginx" ] || kill -HUP "$(cat "$MACHINE/nginx.pid")"
case $* in restart*@*) until [ -e "$MACHINE/$2" ]; do sleep 0.1; done ;; esac
""",
    "journalctl": 'cat "$MACHINE/journal"',
    "nginx": 'exec /usr/sbin/nginx -q -c "$MACHINE/nginx.conf" -p "$MACHINE" "$@"',
    "pip": 'echo "$*" >> "$MACHINE/pip.log"',
    "python3": """
[ "$1 $2" = "-m venv" ] || exec "$PYTHON" "$@"
mkdir -p "$3/bin" && ln -s "$FWD" "$3/bin/fwd" && ln -s "$MACHINE/bin/pip" "$3/bin/pip"
""",
}
NGINX: Final = """\
{user}worker_processes 1;
daemon off;
pid {root}/nginx.pid;
error_log {root}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {root}/tmp;
    proxy_temp_path {root}/tmp;
    fastcgi_temp_path {root}/tmp;
    uwsgi_temp_path {root}/tmp;
    scgi_temp_path {root}/tmp;
    include {root}/etc/nginx/conf.d/*.conf;
}}
"""


def page_blocks(page: str, language: str, heading: str = "") -> list[str]:
    """The blocks of a page in a language, below a heading if one is given, up to the next one of its level."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    if heading:
        section = re.search(rf"(?ms)^## (?:\d+\. )?{re.escape(heading)}$(.*?)(?=^## |\Z)", text)
        assert section is not None, f"{page}.md has no heading {heading!r}"
        text = section[1]
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", text)


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@define
class Machine:
    """The folder, and the programs that run for it."""

    root: Path
    ports: dict[str, int] = field(factory=dict)
    _running: list[subprocess.Popen[bytes]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        for name in ("bin", "tmp", "run/fwd", "etc/nginx/conf.d", "etc/caddy", "etc/systemd/system", "var/backups"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "usr/local/bin").mkdir(parents=True)
        (self.root / "journal").touch()
        for name, text in PROGRAMS.items():
            (self.root / "bin" / name).write_text(f"#!/bin/sh\n{text.strip()}\n")
            (self.root / "bin" / name).chmod(0o755)
        self.ports = {number: free_port() for number in ("8000", "8001", "8002", "8443", "443")}

    @property
    def home(self) -> Path:
        """The working directory of the service."""
        return self.root / "var/lib/fwd"

    def placed(self, text: str) -> str:
        """``text`` of a page with the paths, ports and names of this machine."""
        for folder in FOLDERS:
            text = re.sub(rf"(?<![\w./]){re.escape(folder)}", f"{self.root}{folder}", text)
        text = text.replace("//gateway.example", f"//localhost:{self.ports['443']}")
        text = text.replace("gateway.example {", f"localhost:{self.ports['443']} {{")
        text = re.sub(r"\bgateway\.(example|internal)\b", "localhost", text)
        text = text.replace("listen 443", f"listen 127.0.0.1:{self.ports['443']}")
        return re.sub(r"(?<=[:=@ ])(800[012]|8443)\b", lambda found: str(self.ports[found[1]]), text)

    @property
    def environment(self) -> dict[str, str]:
        programs = f"{self.root}/bin:{Path(sys.executable).parent}:/usr/sbin:{os.environ['PATH']}"
        fwd = shutil.which("fwd", path=programs)
        assert fwd is not None
        own = {
            "PATH": programs,
            "FWD": fwd,
            "PYTHON": sys.executable,
            "MACHINE": str(self.root),
            "HOME": str(self.root),
            "FORWARDER_URL": f"http://127.0.0.1:{self.ports['8000']}",
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("FWD_", "FORWARDER_"))}
        return {**clean, **own}

    def sh(self, block: str, cwd: Path | None = None, stdin: str = "", **env: str) -> str:
        """Type a block of a page; what it prints. It must succeed."""
        done = subprocess.run(
            ["bash", "-ec", self.placed(block)],
            cwd=cwd or self.home,
            env={**self.environment, **env},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{block}\nexit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def write(self, config: str) -> Path:
        """Write a configuration of a page to the file that its first line names."""
        name = re.match(r"# (/\S+)\n", config)
        assert name is not None, config
        path = Path(self.placed(name[1]))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.placed(config))
        return path

    def append_settings(self, lines: str) -> None:
        """Add lines of a page to ``.env``."""
        with (self.home / ".env").open("a") as file:
            file.write(self.placed(lines))

    def install(self) -> None:
        """Install as the page says, with a first key and without a provider."""
        install, prepare = page_blocks("deployment", "sh", "Install")
        self.sh(install, self.root)
        self.sh(prepare)
        self.append_settings(f"FWD_PORT={self.ports['8000']}\n")

    # -- programs that run

    def start_unit(self, unit: str, instance: str = "") -> Unit:
        """Start a service as systemd would: its directories, environment and commands, one after the other."""
        started = Unit.parse(unit.replace("%i", instance))
        (self.root / "run" / started.value("RuntimeDirectory")).mkdir(exist_ok=True)
        environment = {"PATH": os.environ["PATH"], **started.environment}
        with (self.root / "journal").open("ab") as journal:
            started.process = subprocess.Popen(
                shlex.split(started.value("ExecStart")),
                cwd=started.value("WorkingDirectory"),
                env=environment,
                stderr=journal,
            )
        self._running.append(started.process)
        for command in started.commands("ExecStartPost"):
            subprocess.run(shlex.split(command), check=True, timeout=60)
        return started

    @contextlib.contextmanager
    def running(self, *command: str) -> Iterator[None]:
        """A program in front of the gateway, once it listens; stopped at the end of the block."""
        process = subprocess.Popen(command, env=self.environment, stderr=subprocess.DEVNULL)
        try:
            wait_for_port(self.ports["443"])
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)

    @contextlib.contextmanager
    def nginx(self) -> Iterator[None]:
        """The real nginx with the files of ``conf.d``."""
        # Started by root, its workers would be somebody else, who may not enter the folder.
        user = "user root root;\n" if os.geteuid() == 0 else ""
        (self.root / "nginx.conf").write_text(NGINX.format(root=self.root, user=user))
        with self.running("nginx"):
            yield

    def stop(self) -> None:
        """Stop what still runs."""
        for process in self._running:
            if process.poll() is None:
                process.terminate()
            process.wait(20)


@define
class Unit:
    """A unit file, and the process that was started from it."""

    settings: list[tuple[str, str]]
    process: subprocess.Popen[bytes] = field(init=False)

    @classmethod
    def parse(cls, text: str) -> Unit:
        """Every ``Name=value``; names may come several times."""
        return cls(re.findall(r"(?m)^(\w+)=(.*)$", text))

    def commands(self, name: str) -> list[str]:
        """All values of a setting."""
        return [value for found, value in self.settings if found == name]

    def value(self, name: str) -> str:
        """The last value of a setting."""
        return self.commands(name)[-1]

    @property
    def environment(self) -> dict[str, str]:
        pairs = (pair for line in self.commands("Environment") for pair in shlex.split(line))
        return dict(pair.split("=", 1) for pair in pairs)

    def reload(self) -> None:
        """What ``systemctl reload`` does."""
        command = self.value("ExecReload").replace("$MAINPID", str(self.process.pid))
        subprocess.run(shlex.split(command), check=True)

    def stop(self) -> int:
        """What ``systemctl stop`` does; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(float(self.value("TimeoutStopSec")))


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < deadline, f"nothing listens on {port}"
        time.sleep(0.05)
