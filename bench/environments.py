"""Environments for one run: the gateway on another Python, and other gateways, each with nothing but its packages."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.processes import ROOT

PACKAGES: Final = ("packages/client", "packages/server", "packages/cli")
_LOCKED: Final = "requirements/tests.txt"  # also pins what the command and the SDK need
_INSTALL_S: Final = 900.0


def find_uv() -> str:
    """The program uv: on the path, beside this Python, or in its package. Raises RuntimeError."""
    beside = Path(sys.executable).with_name("uv")
    found = shutil.which("uv") or (str(beside) if beside.exists() else None)
    if found is None and importlib.util.find_spec("uv"):
        from uv import find_uv_bin

        found = str(find_uv_bin())
    if found is None:
        raise RuntimeError("uv is not installed: it makes the environments that are measured (pip install uv)")
    return found


def has_fwd(python: str) -> bool:
    """Whether fwd can be imported there."""
    done = subprocess.run([python, "-c", "import fwd_cli, fwd_server"], capture_output=True, cwd="/", check=False)
    return done.returncode == 0


def gateway_python(python: str, folder: Path) -> str:
    """``python`` if fwd is installed there, else that of a new environment made from it, with this checkout in it.

    Raises RuntimeError.
    """
    if has_fwd(python):
        return python
    packages = [str(ROOT / package) for package in PACKAGES]
    return make_environment(python, folder / "fwd", ["--constraint", str(ROOT / _LOCKED), *packages])


def make_environment(python: str, folder: Path, packages: Sequence[str]) -> str:
    """A new environment with these packages; its Python. Raises RuntimeError."""
    uv = find_uv()
    run_installer([uv, "venv", "--quiet", "--python", python, str(folder)])
    made = str(folder / "bin" / "python")
    run_installer([uv, "pip", "install", "--quiet", "--python", made, *packages])
    return made


def make_node_environment(folder: Path, package: str) -> str:
    """A folder with an npm package; its programs' folder. Raises RuntimeError."""
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("npm is not installed")
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps({"private": True}))  # else npm looks for one further up
    run_installer([npm, "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(folder), package])
    return str(folder / "node_modules" / ".bin")


def run_installer(command: Sequence[str]) -> None:
    """Run a command that installs something. Raises RuntimeError with its last words."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{Path(command[0]).name} took more than {_INSTALL_S:g} s") from error
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed: {(done.stdout + done.stderr).strip()[-1000:]}")
