"""What really stands on a terminal: commands are run in tmux, and its screen is looked at."""

from __future__ import annotations

import json
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
from tests.cli.conftest import DONE, KEY, USAGE, FakeGateway, answer, chunk

import fwd_client.testing

TMUX = shutil.which("tmux")
pytestmark = pytest.mark.skipif(
    TMUX is None and os.environ.get("CI") != "true", reason="tmux is not installed: a real terminal is needed"
)
DEADLINE_S = 30  # for a condition that comes within a second where nothing else runs


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
    screen = on.wait_for("It runs until Ctrl-C[^$]*hello")
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
    on.wait_for(r"leave\.\n\n>$")
    on.type("C-c")
    screen = re.sub(r"http://\S+", "URL", on.finished())
    assert screen == (
        "echo: at URL · /help · Ctrl-D\n> hi 日本\nSo far.\n\nAnd mo\n"
        "Stopped. Press Ctrl-C again to leave.\n\n>\n[exit 0]"
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
    assert screen.endswith("✓ your key: it can use 0 models\n[exit 1]")


def test_enter_while_an_answer_streams_leaves_no_copies(gateway: FakeGateway, terminal: Open) -> None:
    """What is typed is not shown: an Enter would scroll the block that is redrawn, and leave its old lines behind."""
    gateway.go_on.clear()
    gateway.pieces = [chunk("one\ntwo\n"), chunk("three"), DONE]
    on = terminal()
    on.run("call", "-q", "x")
    on.wait_for("three")
    on.type("Enter", "a", "Enter")
    gateway.go_on.set()
    assert on.finished().startswith("one two three\n[exit 0]")


def test_what_is_typed_ahead_in_a_chat_is_the_next_message(gateway: FakeGateway, terminal: Open) -> None:
    """Enter is Enter, whenever it is pressed: two messages typed ahead are two messages."""
    gateway.reply = {"object": "list", "data": []}
    gateway.go_on.clear()
    gateway.pieces = [chunk("ok"), DONE]
    on = terminal()
    on.run("chat", "-q", "-m", "m")
    on.wait_for(r"\n>$")
    on.type("-l", "first")
    on.type("Enter")
    on.wait_for("ok")
    for line in ("second", "/quit"):
        on.type("-l", line)
        on.type("Enter")
    gateway.go_on.set()
    on.finished()
    contents = [request["messages"][-1]["content"] for request in gateway.requests if "messages" in request]
    assert contents == ["first", "second"]


def test_thinking_is_dimmed_and_can_be_hidden(gateway: FakeGateway, terminal: Open) -> None:
    """It stands above the answer while and after it streams; a pipe and --no-thinking leave it out."""
    thought = json.loads(chunk("").removeprefix(b"data: "))
    thought["choices"][0]["delta"] = {"reasoning_content": "Let me see.\nYes\x1b[2J."}
    gateway.pieces = [b"data: " + json.dumps(thought).encode() + b"\n\n", chunk("**42**"), DONE]
    on = terminal()
    on.run("call", "-q", "x")
    assert on.finished() == "Let me see.\nYes.\n\n42\n[exit 0]"
    assert re.search(r"\x1b\[[0-9;]*2[0-9;]*mLet me see", on.screen(colours=True))
    on.run("call", "-q", "x", "--no-thinking")
    assert on.finished() == "42\n[exit 0]"
    on.run_line(f"{sys.executable} -m fwd_cli call -q x | cat")
    assert on.finished() == "**42**\n[exit 0]"


def test_a_wait_is_told(gateway: FakeGateway, terminal: Open) -> None:
    """Why, where, how long, which try; nothing of it stays once the answer is there."""
    gateway.status = 429
    gateway.headers |= {"retry-after": "7"}
    gateway.reply = {"error": {"message": "Slow.", "type": "x", "param": None, "code": "rate_limit_exceeded"}}
    gateway.headers["x-fwd-provider"] = "openai"
    on = terminal(columns=80)
    on.run("call", "x")
    on.wait_for(r"rate limit at openai: again in 7\.00 s \(1 of 2\), Ctrl-C stops")
    on.type("C-c")
    assert on.finished().endswith("[exit 130]")


@pytest.mark.parametrize(
    ("colours", "inline"), [("0;15", "34"), ("15;0", "36"), ("", "35")], ids=["light", "dark", "unknown"]
)
def test_inline_code_is_readable_on_the_background(
    gateway: FakeGateway, terminal: Open, colours: str, inline: str
) -> None:
    """Blue on light, cyan on dark, magenta where the terminal does not say; never on a background of its own."""
    gateway.pieces = [chunk("say `x` now"), DONE]
    on = terminal()
    on.run_line(f"COLORFGBG='{colours}' {sys.executable} -m fwd_cli call -q hi")
    assert on.finished().startswith("say x now")
    (attributes,) = re.findall(r"\x1b\[([0-9;]*)mx", on.screen(colours=True))
    assert inline in attributes.split(";")
    assert "40" not in attributes.split(";")


def test_a_tool_is_approved_or_not(gateway: FakeGateway, terminal: Open) -> None:
    """Each call is asked about; what was typed ahead does not answer; a no goes to the model."""
    Path("tools.py").write_text("def weather(city: str) -> str:\n    return 'sunny in ' + city\n")
    fake = fwd_client.testing.FakeGateway()
    for city in ("Rome", "Oslo"):
        fake.call_tool("weather", city=city)
    fake.say("So it is.")
    on = terminal(columns=80)
    with fake.serve() as url:
        on.run("call", "-q", "hi", "--server", url, "-k", fake.key, "--tools", "tools.py", "--approve")
        on.wait_for(r"Run weather\(city='Rome'\)\? \[y/N\]")
        on.type("y", "Enter")
        on.wait_for(r"Run weather\(city='Oslo'\)\? \[y/N\]")
        on.type("Enter")
        assert on.finished() == (
            "Run weather(city='Rome')? [y/N] y\nweather(city='Rome') → 'sunny in Rome'\n"
            "Run weather(city='Oslo')? [y/N]\nSo it is.\n[exit 0]"
        )
    assert fake.requests[-1].json["messages"][-1]["content"] == "Error: The user did not allow this call."


def test_a_tool_is_approved_in_a_chat(terminal: Open) -> None:
    """The answer to the question is seen as it is typed, though a chat holds the keys for its prompt."""
    Path("tools.py").write_text("def weather(city: str) -> str:\n    return 'sunny in ' + city\n")
    fake = fwd_client.testing.FakeGateway()
    fake.call_tool("weather", city="Rome")
    fake.say("So it is.")
    on = terminal(columns=80)
    with fake.serve() as url:
        on.run("chat", "-q", "--server", url, "-k", fake.key, "--tools", "tools.py", "--approve")
        on.wait_for("(?m)^> *$")
        on.type("How is Rome?", "Enter")
        on.wait_for(r"Run weather\(city='Rome'\)\? \[y/N\]")
        on.type("y", "Enter")
        on.wait_for("So it is")
        on.type("C-d")
        shown = on.finished()
    assert "Run weather(city='Rome')? [y/N] y\nweather(city='Rome') → 'sunny in Rome'\nSo it is." in shown
    assert fake.requests[-1].json["messages"][-1]["content"] == "sunny in Rome"


def test_login_and_then_a_call_from_anywhere(gateway: FakeGateway, terminal: Open) -> None:
    """The key is asked for and not shown; afterwards neither variable nor flag is needed, here and in the SDK."""
    gateway.reply = {"object": "list", "data": [{"id": "echo:"}]}
    on = terminal(columns=300)
    without = f"unset FORWARDER_URL FORWARDER_KEY; {sys.executable}"
    on.run_line(f"{without} -m fwd_cli login {gateway.url}/v1")
    on.wait_for("not shown")
    on.type("-l", KEY)
    on.type("Enter")
    screen = re.sub(r"http://\S+?(?=[,\s])", "URL", on.finished()).replace(str(Path.cwd()), "~")
    assert screen == (
        "Your key for the gateway (not shown):\n"
        "Stored in ~/config/fwd/config.toml: URL, profile default; it can use 1 model.\n\n"
        "Next:\n  fwd chat\n[exit 0]"
    )
    on.run_line(f"{without} -m fwd_cli call -q hi")
    assert on.finished() == "Hello.\n[exit 0]"
    gateway.reply = answer("Hello.")
    on.run_line(f"{without} -c 'from fwd_client import Client; print(Client().ask(\"hi\"))'")
    assert on.finished() == "Hello.\n[exit 0]"


def test_models_fit_eighty_columns(gateway: FakeGateway, terminal: Open) -> None:
    """One line each: letters for abilities, a mark for who knows the model, and what both mean."""
    known = {"context": 1_050_000, "prices": {"input": 0.075, "output": 10}, "abilities": ["tools", "vision"]}
    gateway.reply = {
        "object": "list",
        "data": [
            {"id": "openai:gpt-5-mini", "fwd": {**known, "listed": "provider"}},
            {"id": "anthropic:claude-haiku-4-5-20251001", "fwd": {**known, "context": 200000, "listed": "table"}},
            {"id": "groq:mine", "fwd": {"listed": "configured"}},
        ],
    }
    on = terminal(columns=80)
    on.run("models")
    assert on.finished() == (
        "model                                context   $ in  $ out  can      by\n"
        "openai:gpt-5-mini                      1.05M  0.075  10.00  t·v····  ✓\n"
        "anthropic:claude-haiku-4-5-20251001     200k  0.075  10.00  t·v····  ○\n"
        "groq:mine                                                            ✎\n"
        "can: t tools, r reasoning, v vision, j JSON Schema, p PDF, a audio, c prompt\n"
        "cache · by: ✓ listed by the provider, ○ known from the built-in table, ✎ named\n"
        "in the settings · $ per million tokens\n[exit 0]"
    )
