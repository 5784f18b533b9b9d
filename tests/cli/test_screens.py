"""What really stands on a terminal: commands are run in tmux, and its screen is looked at."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import frozen
from tests.cli.conftest import DONE, KEY, USAGE, FakeGateway, chunk

TMUX = shutil.which("tmux")
pytestmark = pytest.mark.skipif(
    TMUX is None and os.environ.get("CI") != "true", reason="tmux is not installed: a real terminal is needed"
)
DEADLINE_S = 10


@frozen
class Terminal:
    """A terminal of a given size; ``socket`` keeps it apart from every other tmux."""

    socket: Path

    def tmux(self, *arguments: str) -> str:
        command = [str(TMUX), "-S", str(self.socket), "-f", os.devnull, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=DEADLINE_S).stdout

    def type(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def run(self, *arguments: str) -> None:
        """Run ``fwd`` on an empty screen."""
        self.run_line(shlex.join([sys.executable, "-m", "fwd_cli", *arguments]))

    def run_line(self, line: str) -> None:
        """Run a line of shell on an empty screen; ``[exit CODE]`` follows what it leaves there."""
        Path("run.sh").write_text(f'trap : INT\n{line}\necho "[exit $?]"\nexec cat\n')
        self.tmux("respawn-pane", "-k", "sh run.sh")
        self.tmux("clear-history")

    def screen(self, *, colours: bool = False) -> str:
        """The screen and the scrollback above it."""
        text = self.tmux("capture-pane", "-p", "-S", "-", *(["-e"] if colours else []))
        return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")

    def wait_for(self, pattern: str) -> str:
        """The screen once the pattern stands there."""
        deadline = time.monotonic() + DEADLINE_S
        while not re.search(pattern, screen := self.screen()):
            assert time.monotonic() < deadline, f"{pattern!r} never came; the screen is:\n{screen}"
            time.sleep(0.02)
        return screen

    def finished(self) -> str:
        """The screen of a command that has ended."""
        return self.wait_for(r"\[exit \d+\]")


Open = Callable[..., Terminal]


@pytest.fixture
def terminal(tmp_path: Path, gateway: FakeGateway) -> Iterator[Open]:
    """Opens a terminal in the test's directory, set up for the test's gateway."""
    opened = Terminal(tmp_path / "tmux")
    environment = {"COLUMNS": "99", "LINES": "99", "FORWARDER_URL": gateway.url, "FORWARDER_KEY": KEY}

    def open_(columns: int = 60, rows: int = 20) -> Terminal:
        settings = [part for name, value in environment.items() for part in ("-e", f"{name}={value}")]
        size = ["-x", str(columns), "-y", str(rows)]
        opened.tmux("new-session", "-d", *size, *settings, "cat")
        return opened

    yield open_
    opened.tmux("kill-server")


def without_times(screen: str) -> str:
    """The screen with every duration made the same."""
    return re.sub(r"\d+(\.\d+)? m?s\b", "T", screen)


def test_an_answer_is_markdown_with_a_line_about_it(gateway: FakeGateway, terminal: Open) -> None:
    """Headings, lists and code as they are meant; model, provider, times, tokens and id below."""
    text = "# Rivers\n\n- **Rhine**\n- Po\n\n```python\nx = 1\n```\n"
    gateway.pieces = [*map(chunk, re.findall(".{1,3}", text, re.DOTALL)), USAGE, DONE]
    on = terminal(columns=100)
    on.run("call", "rivers")
    assert without_times(on.finished()) == (
        "Rivers\n\n • Rhine\n • Po\n\n x = 1\necho: via echo · T (first token T) · 3→2 tok · req_1\n[exit 0]"
    )


def test_forty_columns_and_wide_characters(gateway: FakeGateway, terminal: Open) -> None:
    """Nothing is cut off and nothing runs over the edge."""
    text = "| 名前 | about |\n|--|--|\n| 東京 | a long text about a city 🗼 |\n\nWords that must be wrapped somewhere."
    gateway.pieces = [chunk(text), DONE]
    on = terminal(columns=40)
    on.run("call", "-q", "x")
    assert on.finished() == (
        " 名前  about\n ─────────────────────────────────\n 東京  a long text about a city 🗼\n\n"
        "Words that must be wrapped somewhere.\n[exit 0]"
    )


def test_ctrl_c_keeps_what_came(gateway: FakeGateway, terminal: Open) -> None:
    """The text so far stays, the exit code is 130, nothing else is said."""
    gateway.go_on.clear()
    gateway.pieces = [chunk("So far.\n\nAnd mo"), DONE]
    on = terminal()
    on.run("call", "x")
    on.wait_for("And mo")
    on.type("C-c")
    assert on.finished() == "So far.\n\nAnd mo\n\n[exit 130]"


def test_a_long_answer_is_whole_in_the_scrollback(gateway: FakeGateway, terminal: Open) -> None:
    """A block taller than the screen shows its end while it grows, and is all there in the end."""
    gateway.go_on.clear()
    lines = [f"line {number}" for number in range(50)]
    gateway.pieces = [*(chunk(line + "\n") for line in ["```", *lines]), DONE]
    on = terminal(rows=10)
    on.run("call", "-q", "x")
    on.wait_for("line 49")
    gateway.go_on.set()
    assert [line.strip() for line in on.finished().splitlines()] == [*lines, "[exit 0]"]


def test_a_resize_in_the_middle_loses_nothing(gateway: FakeGateway, terminal: Open) -> None:
    """The answer is whole and fits the new width; what tmux moved out of reach may stand above it once more."""
    gateway.go_on.clear()
    gateway.pieces = [chunk("one two three four five six\n\nseven "), chunk("eight nine ten eleven twelve"), DONE]
    on = terminal(columns=60)
    on.run("call", "-q", "x")
    on.wait_for("twelve")
    on.tmux("resize-window", "-x", "30", "-y", "20")
    gateway.go_on.set()
    assert on.finished().endswith("one two three four five six\n\nseven eight nine ten eleven\ntwelve\n[exit 0]")


def test_hostile_text_changes_nothing_on_the_terminal(gateway: FakeGateway, terminal: Open) -> None:
    """T25: no title, no clearing, no link, no clipboard, over any split of the chunks."""
    hostile = "safe\x1b]0;owned\x07\x1b[2J\x1b[H\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\ &#x202e;end\x9b2J"
    gateway.pieces = [*map(chunk, hostile), DONE]
    on = terminal()
    on.run("call", "-q", "x")
    assert on.finished() == "safelink end\n[exit 0]"
    assert "owned" not in on.tmux("display-message", "-p", "#{pane_title}")
    assert "evil" not in on.screen(colours=True)


def test_raw_on_a_terminal_must_be_asked_for_twice(gateway: FakeGateway, terminal: Open) -> None:
    """T25: once is refused with the way to mean it."""
    gateway.pieces = [chunk("a\x1b[Cb"), DONE]
    on = terminal(columns=100)
    on.run("call", "-q", "x", "--raw")
    assert "if you mean that: --raw --raw" in on.finished()
    on.run("call", "-q", "x", "--raw", "--raw")
    on.wait_for(r"\[exit 0\]")
    assert on.screen().splitlines()[0] == "a b"


def test_a_pipe_from_the_terminal_gets_plain_text(gateway: FakeGateway, terminal: Open) -> None:
    """`| head -1` has its line, and nobody complains."""
    gateway.pieces = [chunk("# first\n"), *[chunk("more\n" * 1000)] * 100, DONE]
    on = terminal()
    on.run_line(f"{sys.executable} -m fwd_cli call x | head -1")
    assert on.finished() == "# first\n[exit 0]"


def test_an_error_before_the_first_word(gateway: FakeGateway, terminal: Open) -> None:
    """Three lines on an empty screen: no remains of a spinner."""
    gateway.status = 401
    gateway.reply = {"error": {"message": "No.", "type": "x", "param": None, "code": "invalid_api_key"}}
    on = terminal(columns=100)
    on.run("call", "x")
    assert on.finished() == (
        "error: the gateway refused the key\n"
        "  why: No. (401 invalid_api_key req_1)\n"
        "  try: fwd generate-key, then export FORWARDER_KEY=<the key>\n[exit 4]"
    )


def test_the_demo_stays_until_ctrl_c(terminal: Open) -> None:
    """On a terminal the gateway stays up, the curl line works as printed, and Ctrl-C ends it with exit code 0."""
    on = terminal(columns=120, rows=50)
    on.run("demo")
    screen = on.wait_for("It stays up until Ctrl-C[^$]*hello")
    line = screen[screen.index("curl -s") :]
    answer = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True, timeout=DEADLINE_S).stdout
    assert '"content":"hello"' in answer.replace('": "', '":"')
    on.type("C-c")
    assert on.finished().endswith("Stopped.\n[exit 0]")


def test_a_chat_with_ctrl_c_in_an_answer(gateway: FakeGateway, terminal: Open) -> None:
    """The first Ctrl-C stops the answer and nothing else; what came is kept; the second leaves."""
    gateway.reply = {"object": "list", "data": []}
    gateway.go_on.clear()
    gateway.pieces = [chunk("**So far.**\n\nAnd mo"), DONE]
    on = terminal()
    on.run("chat", "-m", "echo:")
    on.wait_for(r"\n>$")
    on.type("-l", "hi 日本")
    on.type("Enter")
    on.wait_for("And mo")
    on.type("C-c")
    on.wait_for(r"leaves\.\n\n>$")
    on.type("C-c")
    screen = re.sub(r"http://\S+", "URL", on.finished())
    assert screen == (
        "echo: at URL · /help · Ctrl-D\n> hi 日本\nSo far.\n\nAnd mo\nStopped. Ctrl-C once more leaves.\n\n>\n[exit 0]"
    )


def test_a_chat_over_forty_columns_and_a_resize(gateway: FakeGateway, terminal: Open) -> None:
    """Several lines, a wrapped one, a smaller window; the line about the answer breaks between words."""
    gateway.reply = {"object": "list", "data": []}
    gateway.pieces = [chunk("ok"), USAGE, DONE]
    on = terminal(columns=60)
    on.run("chat", "-m", "m")
    on.wait_for(r"\n>$")
    on.tmux("resize-window", "-x", "40", "-y", "20")
    on.type("-l", '"""')
    for line in ("one", "two " * 12, '"""'):
        on.type("Enter")
        on.type("-l", line)
    on.type("Enter")
    screen = without_times(on.wait_for(r"req_1\n\n>$"))
    assert gateway.requests[-1]["messages"][0]["content"] == "one\n" + "two " * 11 + "two "
    assert screen.endswith('. """\nok\necho: via echo ·\nT (first token T) · 3→2 tok ·\nreq_1\n\n>')


def test_arrow_up_and_tab_in_a_chat(gateway: FakeGateway, terminal: Open) -> None:
    """What was typed comes again, also in the next chat; Tab completes commands and models."""
    gateway.reply = {"object": "list", "data": [{"id": "echo:json"}]}
    gateway.pieces = [chunk("ok"), DONE]
    on = terminal()
    for _ in range(2):
        on.run("chat", "-q")
        on.wait_for(r"\n>$")
        on.type("-l", "/mo")
        on.type("Tab")
        on.wait_for("> /model$")
        on.type("-l", " ec")
        on.type("Tab")
        on.wait_for("> /model echo:json$")
        on.type("Enter")
        on.wait_for(r"Model: echo:json\.\n\n>$")
        on.type("Up")
        on.wait_for("> /model echo:json$")
        on.type("C-c", "C-d")
        on.finished()


def test_the_doctor_over_forty_columns(gateway: FakeGateway, terminal: Open) -> None:
    """Words stay whole, marks stand in front, and nothing runs over the edge."""
    gateway.reply = {"status": "ready", "object": "list", "data": [], "providers": []}
    on = terminal(columns=40, rows=40)
    on.run("doctor", "--offline")
    screen = on.finished()
    assert max(map(len, screen.splitlines())) <= 40
    assert (
        "✗ keys file: there is no\n"
        "  keys/forwarder_api_keys.txt: a server\n"
        "  started here would refuse every call\n"
        "    try: fwd generate-key\n"
    ) in screen
    assert screen.endswith("✓ your key: it reaches 0 models\n[exit 1]")
