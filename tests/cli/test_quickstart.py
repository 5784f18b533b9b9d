"""From nothing to a conversation: what ``docs/quickstart.md`` shows is typed into real terminals, and compared.

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
UNSET = ("FORWARDER_KEY", "FORWARDER_URL", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")

TEXT = """\
# Quick start

From nothing to a conversation in under two minutes, without a provider key. The transcripts below are real: a test
types every line and compares the screens. First install: `pip install fwd-cli`, or from a checkout as described in the
[README](../README.md).

In a directory of your own, `fwd init` asks up to three questions. Press Enter to accept the default: no provider yet,
so the built-in `echo` answers and repeats your message. Then run the gateway:

```text
{first}
```

In a second terminal, in the same directory, `fwd doctor` checks the setup, and `fwd chat` starts a conversation:

```text
{second}
```

Ctrl-C stops an answer, Ctrl-D leaves. To use a real provider, run `fwd init` again, choose it and enter its key, and
restart the gateway.

## A colleague's laptop

Everybody gets a key of their own. Make one where the gateway runs:

```text
{third}
```

On the laptop, `fwd login` checks and stores it. After that neither a variable nor a `.env` file is needed: the command,
and `Client()` of the SDK, use the stored address and key. (The address here is a local one; yours is where the gateway
can be reached, over https.)

```text
{fourth}
```

Next: [the command](cli.md), [configuration](configuration.md), [the SDK](sdk.md).
"""


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@contextmanager
def shell(folder: Path, name: str, columns: int = 100, **variables: str) -> Iterator[Terminal]:
    """A terminal with a shell, as a new user has one; ``folder`` is the home, and ``here`` in it the directory."""
    terminal = Terminal(folder / name)
    environment = {
        "PS1": "$ ",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        **variables,
    }
    (folder / "here").mkdir(parents=True, exist_ok=True)
    unset = [part for name in ("ENV", *UNSET) for part in ("-u", name)]
    command = shlex.join(["env", *unset, *map("=".join, environment.items()), "sh"])
    size = ("-x", str(columns), "-y", "40")
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


def transcript(folder: Path) -> list[str]:
    """What the terminals show, with everything that differs from run to run made the same."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = {"FWD_PORT": str(port), "FORWARDER_URL": url, "FWD_DRAIN_TIMEOUT": "1"}
    laptop = folder / "laptop"
    laptop.mkdir()
    with (
        shell(folder, "one", **server) as one,
        shell(folder, "two", **server) as two,
        shell(folder, "three", **server) as three,
        shell(laptop, "four", columns=300) as four,  # a path of a test is long
    ):
        typed(one, "fwd init", r"\[none\]:")
        typed(one, "", PROMPT)
        first = typed(one, "fwd run-server", "Keys: 1 in")
        typed(two, "fwd doctor", r"your key[^$]*\n\$$")
        typed(two, "fwd chat", r"Ctrl-D\n>$")
        typed(two, "Hello!", r"tok[^\n]*\n\s*>$")
        second = typed(two, "/quit", r"/quit\n\$$")
        third = typed(three, "fwd generate-key --name ana", r"model echo:\n\$$")
        key = re.search(r"(?m)^fwd_\S+$", third)
        assert key is not None
        waited(one, "Keys: 2 in")  # the gateway reads the file again within seconds
        typed(four, f"fwd login {url}", r"not shown\):$")
        typed(four, key[0], PROMPT)
        fourth = typed(four, 'fwd call "Hello!"', r"tok[^\n]*\n\s*\$$")
        one.type("C-c")
    return [steady(screen, port, laptop) for screen in (first, second, third, fourth)]


def steady(screen: str, port: int, home: Path) -> str:
    for pattern, text in (
        (re.escape(str(home)), "/home/ana"),
        (str(port), "8000"),
        (r"fwd_[A-Za-z0-9_-]{43}", "fwd_kG2vJm0y"),
        (r"\b3\.1\d\.\d+\S*", "3.13.1"),
        (r"\d+(\.\d+)? m?s\b", "3 ms"),
        (r"req_\w+", "req_6fT0kYq1"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?", "2026-11-22 14:00:00"),
        (r"(?m)^\d\d:\d\d:\d\d(\.\d+)?", "14:00:00"),
    ):
        screen = re.sub(pattern, text, screen)
    return "\n".join(line.rstrip() for line in screen.splitlines()).strip("\n").removesuffix("\n$")


def document(folder: Path) -> str:
    first, second, third, fourth = transcript(folder)
    return TEXT.format(first=first, second=second, third=third, fourth=fourth)


def test_what_is_shown_is_what_happens(tmp_path: Path) -> None:
    """Without reading anything but what the commands print, and in less than the two minutes that the page promises."""
    began = time.monotonic()
    assert DOCUMENT.read_text(encoding="utf-8") == document(tmp_path)
    assert time.monotonic() - began < 120


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(document(Path(place)), end="")
