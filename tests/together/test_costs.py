"""``docs/costs.md``: its console lines, typed one after the other into a shell beside a real gateway."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from kit.fakeup import Fakeup, completion, json_answer

from .conftest import Gateway

DOCUMENT = (Path(__file__).parents[2] / "docs" / "costs.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n(.*?)```", DOCUMENT, re.DOTALL)
TAKEN_S = 10.0


def lines_of(block: str) -> list[tuple[str, str]]:
    """The commands of a block, each with what it prints: ``...`` stands for anything."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(command, expected) for command, _, expected in (part.partition("\n") for part in parts)]


def matches(expected: str, printed: str) -> bool:
    pattern = r".*".join(re.escape(piece) for piece in expected.strip().split("..."))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def test_the_web_team_and_its_five_dollars(start_gateway: Callable[..., Gateway]) -> None:
    """From a new key to its refusal, with the command line alone; under three minutes, most of which is waiting."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 1000, "total_tokens": 2000}
    with Fakeup(lambda seen: [json_answer({**completion(), "usage": usage})]) as up:
        gateway = start_gateway(OPENAI_API_KEY="sk-x", OPENAI_BASE_URL=up.url)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = {"PATH": path, "HOME": str(gateway.cwd), "FORWARDER_URL": gateway.url}
        key = ""
        for command, expected in [line for block in BLOCKS for line in lines_of(block)]:
            if command.startswith("export FORWARDER_KEY="):
                env["FORWARDER_KEY"] = key = (gateway.cwd / "web.key").read_text().strip()
                gateway.wait_for("Keys: 2 in", TAKEN_S)
                continue
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=gateway.cwd,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,  # a reader sees both
                text=True,
                timeout=60,
                check=False,
            )
            assert matches(expected, done.stdout), f"$ {command}\n{done.stdout}"
        assert key
        assert [seen.json["model"] for seen in up.seen] == ["gpt-5-mini"]
