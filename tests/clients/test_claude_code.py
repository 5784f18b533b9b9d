"""Claude Code itself, as a client of the real gateway: ``nox -s clients``, which installs it from npm.

It does a small task with a call of a tool, through Anthropic's own language and two others whose upstreams are played
here, and survives what happens at providers. ``CLAUDE`` names the program.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from kit.conversation import Said
from kit.fakeup import CLOSE, Fakeup, Seen, answer, error_answer, piece
from kit.providers import LANGUAGES, Language

KEY = "fwd_" + "c" * 43
PATIENCE_S = 100.0
MARK = "fwd-was-here"
CALL = Said(calls=(("Bash", {"command": f"echo {MARK}", "description": "Say it"}),))
DONE = Said("All done.")
BY_NAME = {language.name: language for language in LANGUAGES}
VARIABLES = {"openai": "OPENAI", "google": "GOOGLE", "anthropic": "ANTHROPIC"}

pytestmark = [
    pytest.mark.skipif("CLAUDE" not in os.environ, reason="nox -s clients installs Claude Code and names it in CLAUDE"),
    pytest.mark.timeout(PATIENCE_S + 30),
]


@define
class Script:
    """An upstream: it asks for one call of a tool, and ends the task when it has seen the result.

    ``troubles`` come first, one for each request.
    """

    language: Language
    troubles: list[list[Any]] = field(factory=list)
    seen: list[Seen] = field(factory=list)

    def __call__(self, one: Seen) -> list[Any]:
        self.seen.append(one)
        if self.troubles:
            return self.troubles.pop(0)
        # The command holds the mark, too: its result is where the mark is there twice.
        said = DONE if one.body.decode().count(MARK) > 1 else CALL
        if b'"Bash"' not in one.body:  # the title of the conversation
            said = DONE
        return self.told(said, stream=b'"stream":true' in one.body or "streamGenerate" in one.target)

    def told(self, said: Said, *, stream: bool) -> list[Any]:
        if not stream:
            return [answer(200, self.language.whole(said))]
        kind = self.language.kind.encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: " + kind + b"\r\ntransfer-encoding: chunked\r\n\r\n"
        return [head, *(piece(part) for part in self.language.stream(said)), b"0\r\n\r\n"]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """An empty home and working directory."""
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    file = keys / "forwarder_api_keys.txt"
    file.touch(mode=0o600)
    file.write_text(f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()} name=claude\n")
    return tmp_path


def gateway(work: Path, **env: str) -> Iterator[str]:
    """A gateway as a process; its address."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FWD_", "FORWARDER_"))}
    command = [sys.executable, "-m", "fwd_server", "--port", "0"]
    with subprocess.Popen(command, cwd=work, env={**clean, **env}, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            found = (re.search(r"listens on (http://127\.0\.0\.1:\d+)", line) for line in process.stderr)
            yield next(match[1] for match in found if match)
        finally:
            process.terminate()
            process.stderr.read()


def run_task(work: Path, script: Script) -> Any:
    """Let Claude Code do its task by way of the gateway; what it reports at the end."""
    language = script.language
    with Fakeup(script) as up:
        stem = VARIABLES[language.name]
        env = {f"{stem}_API_KEY": "sk-canary", f"{stem}_BASE_URL": up.url.removesuffix("/v1") + language.base}
        env["FWD_ALIASES"] = f"claude-*={language.name}:{language.model}"
        for url in gateway(work, **env):
            own = {
                "PATH": os.environ["PATH"],
                "HOME": str(work),
                "ANTHROPIC_BASE_URL": url,
                "ANTHROPIC_AUTH_TOKEN": KEY,
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            }
            words = ["-p", "Say that you were here.", "--output-format", "json", "--allowedTools", "Bash"]
            done = subprocess.run(
                [os.environ["CLAUDE"], *words],
                cwd=work,
                env=own,
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                stdin=subprocess.DEVNULL,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return json.loads(done.stdout)
    raise AssertionError("the gateway did not start")


@pytest.mark.parametrize("name", [*VARIABLES])
def test_a_task_with_a_tool(work: Path, name: str) -> None:
    """Its own provider's language, and two foreign ones."""
    script = Script(BY_NAME[name])
    report = run_task(work, script)
    assert report["result"] == DONE.text
    assert report["num_turns"] == 2
    assert any(MARK in one.body.decode().replace(f"echo {MARK}", "") for one in script.seen)


def cut(script: Script) -> list[Any]:
    """A stream that ends in the middle."""
    head, *pieces = script.told(CALL, stream=True)
    return [head, *pieces[:2], CLOSE]


@pytest.mark.parametrize("trouble", ["429", "529", "cut"])
def test_it_survives_what_happens_at_providers(work: Path, trouble: str) -> None:
    """Too many requests, overload, a stream that is cut: it asks again, as it would at its own provider."""
    script = Script(BY_NAME["openai"])
    first = cut(script) if trouble == "cut" else error_answer(int(trouble) if trouble == "429" else 503)
    script.troubles = [first if isinstance(first, list) else [first]]
    report = run_task(work, script)
    assert report["result"] == DONE.text
    assert len(script.seen) >= 3
