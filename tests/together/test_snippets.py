"""The lines that the status page offers work as they stand."""

from __future__ import annotations

import asyncio
import html
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from tests.together.gateway import KEY, gateway


def snippet(page: str, label: str) -> str:
    """The code under a label, as people copy it."""
    found = re.search(rf'aria-label="{label}"><code>(.*?)</code>', page, re.DOTALL)
    assert found is not None
    return html.unescape(found[1])


async def run(folder: Path, label: str, *program: str) -> str:
    """What a snippet of a gateway's page prints when ``program`` runs it in a new terminal."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(folder), "FORWARDER_KEY": KEY}
    async with gateway(folder) as server:
        page = (await server.ask("GET", "/")).body.decode()
        process = await asyncio.create_subprocess_exec(
            *program,
            snippet(page, label),
            cwd=folder,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, printed.decode()
    return printed.decode()


def test_python_snippet(tmp_path: Path) -> None:
    """OpenAI's own SDK, in a new interpreter."""
    assert asyncio.run(run(tmp_path, "Python", sys.executable, "-c")) == "Hello\n"


def test_command_line_snippet(tmp_path: Path) -> None:
    """The command, with an argument and with a pipe."""
    printed = asyncio.run(run(tmp_path, "Command line", "sh", "-ec"))
    assert printed.startswith("Hello")
    assert '"chat.completion"' in printed


@pytest.mark.skipif(not shutil.which("curl") and os.environ.get("CI") != "true", reason="needs curl")
def test_curl_snippet(tmp_path: Path) -> None:
    """The first line anybody tries."""
    assert '"content":"Hello"' in asyncio.run(run(tmp_path, "curl", "sh", "-ec")).replace('": "', '":"')
