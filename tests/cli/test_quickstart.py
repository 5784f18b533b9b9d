"""From nothing to a talk: what ``docs/quickstart.md`` shows is typed into two real terminals, and compared.

Written anew with ``python -m tests.cli.test_quickstart > docs/quickstart.md`` where tmux is.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.test_screens import DEADLINE_S, TMUX, Terminal

DOCUMENT = Path(__file__).parents[2] / "docs" / "quickstart.md"
pytestmark = pytest.mark.skipif(
    TMUX is None and os.environ.get("CI") != "true", reason="tmux is not installed: a real terminal is needed"
)
PROMPT = r"\n\$$"
SIZE = (100, 40)

TEXT = """\
# Quick start

From nothing to a talk in under two minutes, with no provider key. What follows is what a terminal shows; a test types
it and compares. Install first: `pip install fwd-cli`, or from a checkout as the [README](../README.md) says.

In a directory of your own, `fwd init` asks up to three questions. Enter takes what is proposed: no provider yet, so
`echo` answers, which repeats what you say. Then run the gateway:

```text
{first}
```

In a second terminal, in the same directory, `fwd doctor` looks whether all is well, and `fwd chat` talks:

```text
{second}
```

Ctrl-C stops an answer, Ctrl-D leaves. With a provider key the same three commands talk with its models: run `fwd init`
again and choose it, and the gateway after that. What else there is: [the command](cli.md),
[configuration](configuration.md), [the SDK](sdk.md).
"""


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@contextmanager
def shell(folder: Path, name: str, port: int) -> Iterator[Terminal]:
    """A terminal with a shell in it, as a new user has one."""
    terminal = Terminal(folder / name)
    environment = {
        "PS1": "$ ",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "FWD_PORT": str(port),
        "FORWARDER_URL": f"http://127.0.0.1:{port}",
        "FWD_DRAIN_TIMEOUT": "1",
    }
    command = shlex.join(["env", "-u", "ENV", *map("=".join, environment.items()), "sh"])
    size = ("-x", str(SIZE[0]), "-y", str(SIZE[1]))
    terminal.tmux("new-session", "-d", *size, "-c", str(folder / "here"), command)
    try:
        terminal.wait_for(r"^\$$")
        yield terminal
    finally:
        terminal.tmux("kill-server")


def typed(terminal: Terminal, line: str, until: str) -> str:
    """The screen after a line was typed and its end has come."""
    terminal.type("-l", line)
    terminal.type("Enter")
    return waited(terminal, until)


def waited(terminal: Terminal, until: str) -> str:
    deadline = time.monotonic() + 2 * DEADLINE_S
    while not re.search(until, screen := terminal.screen()):
        assert time.monotonic() < deadline, f"{until!r} never came; the screen is:\n{screen}"
        time.sleep(0.05)
    return screen


def transcript(folder: Path) -> tuple[str, str]:
    """What the two terminals show, with what differs from time to time made the same."""
    (folder / "here").mkdir()
    port = free_port()
    with shell(folder, "one", port) as one, shell(folder, "two", port) as two:
        typed(one, "fwd init", r"\[none\]:")
        typed(one, "", PROMPT)
        first = typed(one, "fwd run-server", "Keys: 1 in")
        typed(two, "fwd doctor", r"your key[^$]*\n\$$")
        typed(two, "fwd chat", r"Ctrl-D\n>$")
        typed(two, "Hello!", r"tok[^$]*\n>$")
        second = typed(two, "/quit", r"/quit\n\$$")
        one.type("C-c")
    return steady(first, port), steady(second, port)


def steady(screen: str, port: int) -> str:
    for pattern, text in (
        (str(port), "8000"),
        (r"\b3\.1\d\.\d+\S*", "3.13.1"),
        (r"\d+(\.\d+)? m?s\b", "3 ms"),
        (r"req_\w+", "req_6fT0kYq1"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?", "2026-11-22 14:00:00"),
        (r"(?m)^\d\d:\d\d:\d\d(\.\d+)?", "14:00:00"),
    ):
        screen = re.sub(pattern, text, screen)
    return "\n".join(line.rstrip() for line in screen.splitlines()).strip("\n").removesuffix("\n$")


def document(folder: Path) -> str:
    first, second = transcript(folder)
    return TEXT.format(first=first, second=second)


def test_what_is_shown_is_what_happens(tmp_path: Path) -> None:
    """Without reading anything but what the commands print."""
    assert DOCUMENT.read_text(encoding="utf-8") == document(tmp_path)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(document(Path(place)), end="")
