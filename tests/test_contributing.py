"""The recipes of CONTRIBUTING.md, applied to a copy of the server as they stand there: each ends in an answer."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import fwd_server

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PACKAGE = Path(fwd_server.__file__).parent

# Calls the copy and prints what came back. A process of its own, because the copy has the name of the original.
CALLER = """
import asyncio, hashlib, json, logging, sys, tempfile
from pathlib import Path

import httpx
from kit.gateways import gateway

KEY = "fwd_" + "r" * 43
lines = []
handler = logging.Handler()
handler.emit = lambda record: lines.append(record.getMessage())
logging.getLogger("fwd.app").addHandler(handler)
logging.getLogger("fwd.app").setLevel(logging.INFO)


async def main(requests):
    answers = []
    folder = Path(tempfile.mkdtemp(dir=sys.argv[2]))
    # A key without a name, as the README makes it: a recipe must not depend on names.
    (folder / "keys.txt").write_text(f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}\\n")
    (folder / "keys.txt").chmod(0o600)
    async with gateway(folder, KEY) as at:
        async with httpx.AsyncClient(base_url=at.url, headers={"Authorization": f"Bearer {KEY}"}) as client:
            for path, body in requests:
                answer = await client.post(path, json=body)
                answers.append([answer.status_code, dict(answer.headers), answer.text])
    return {"answers": answers, "log": lines}


print(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))
"""


def recipe(heading: str) -> str:
    """The section of a recipe."""
    match = re.search(rf"^### {heading}\n(.*?)(?=^##)", TEXT, re.DOTALL | re.MULTILINE)
    assert match is not None, heading
    return match[1]


def apply(heading: str, folder: Path) -> Path:
    """A copy of the server with the recipe's file in it and its lines added; returns where to import it from."""
    shutil.copytree(PACKAGE, folder / "fwd_server", ignore=shutil.ignore_patterns("__pycache__"))
    section = recipe(heading)
    files = re.findall(r"```python\n# (\S+)\n(.*?)```", section, re.DOTALL)
    changes = re.findall(r"```diff\n--- (\S+)\n(.*?)```", section, re.DOTALL)
    assert (len(files), len(changes)) == (1, 2), "one new file, two changed lines"
    for name, code in files:
        assert not (folder / "fwd_server" / name).exists()
        (folder / "fwd_server" / name).write_text(code, encoding="utf-8")
    for name, change in changes:
        path = folder / "fwd_server" / name
        before = "".join(line[1:] for line in change.splitlines(keepends=True) if line[0] == " ")
        after = "".join(line[1:] for line in change.splitlines(keepends=True))
        code = path.read_text(encoding="utf-8")
        assert code.count(before) == 1, f"{name} no longer has exactly one {before!r}"
        path.write_text(code.replace(before, after), encoding="utf-8")
    return folder


def serve(folder: Path, *requests: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """What the copy answers, and what it logs."""
    path = os.pathsep.join((str(folder), str(ROOT / "tests")))
    # The copy is not measured: its lines would count as lines of the server that no test enters.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CALLER, json.dumps(requests), str(folder)],
        env={**environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


CHAT = ("/v1/chat/completions", {"model": "echo:", "messages": [{"role": "user", "content": "Hi there"}]})


def test_another_caller_language(tmp_path: Path) -> None:
    """Whole, streamed, and refused, each in its own words; the first language stays as it was."""
    ask = {"model": "echo:", "text": "Hi there"}
    requests = [("/v1/upper", ask), ("/v1/upper", {**ask, "stream": True}), ("/v1/upper", {"text": 1}), CHAT]
    whole, streamed, refused, chat = serve(apply("Another caller language", tmp_path), *requests)["answers"]
    assert json.loads(whole[2]) == {"text": "HI THERE"}
    assert streamed[1]["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in streamed[2].splitlines()]
    assert "".join(line.get("text", "") for line in lines) == "HI THERE"
    assert lines[-1] == {"end": True}
    assert (refused[0], json.loads(refused[2])["error"]) == (400, "'text' must be a string.")
    assert json.loads(chat[2])["choices"][0]["message"]["content"] == "Hi there"


def test_a_policy(tmp_path: Path) -> None:
    """Three calls are served, whole or streamed; the fourth learns when to come back."""
    streamed = (CHAT[0], {**CHAT[1], "stream": True})
    answers = serve(apply("A policy", tmp_path), CHAT, streamed, CHAT, CHAT)["answers"]
    assert [status for status, *_ in answers] == [200, 200, 200, 429]
    assert 0 < int(answers[3][1]["retry-after"]) <= 60
    assert "3 calls a minute" in answers[3][2]


def test_an_observer(tmp_path: Path) -> None:
    """It hears of both calls, and adds them up."""
    result = serve(apply("An observer", tmp_path), CHAT, CHAT)
    assert [status for status, *_ in result["answers"]] == [200, 200]
    first, second = (int(re.findall(r"has used (\d+) tokens", line)[0]) for line in result["log"] if "used" in line)
    assert second == 2 * first > 0
