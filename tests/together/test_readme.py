"""What the README says works as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import KEY, Gateway

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", README, re.DOTALL)
CURL = [code for language, code in BLOCKS if language == "sh" and code.startswith("curl")]
PYTHON = [code for language, code in BLOCKS if language == "python"]


@pytest.fixture
def follow(gateway: Gateway) -> Callable[..., str]:
    """Runs a program as a reader would, but for the port; what it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {"PATH": path, "HOME": str(gateway.cwd), "FORWARDER_KEY": KEY, "FORWARDER_URL": gateway.url}

    def run(*program: str) -> str:
        program = tuple(word.replace("http://127.0.0.1:8000", gateway.url) for word in program)
        done = subprocess.run(
            program, env=env, cwd=gateway.cwd, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("code", CURL, ids=["with a model", "without"])
def test_curl_lines(follow: Callable[..., str], code: str) -> None:
    """As written, the one without `model` too."""
    said = follow("sh", "-c", code)
    assert "Hello" in re.sub(r'"}.*?"content":"|\n', "", said) or said.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("code", PYTHON, ids=["openai", "fwd_client"])
def test_python_snippets(follow: Callable[..., str], code: str) -> None:
    """The official SDK and ours."""
    assert follow(sys.executable, "-c", code).startswith("Hello")


def test_shell_lines(follow: Callable[..., str]) -> None:
    """`fwd call` with an argument and with a pipe."""
    assert follow("sh", "-c", 'fwd call "hello" --model echo:') == "hello\n"
    assert follow("sh", "-c", "echo hi | fwd call -") == "hi\n"


def test_the_two_commands_are_on_the_first_screen() -> None:
    """Design section 6, word for word."""
    first = "\n".join(README.splitlines()[:24])
    start = "python3 -m venv .venv && .venv/bin/pip install -q nox && .venv/bin/nox"
    assert f"{start} -s demo\n" in first
    assert f"{start}\n" in first
