"""How an answer gets to its reader while it comes."""

from __future__ import annotations

import io
import re
import threading
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from fwd_cli.writers import LiveWriter, MarkdownView, PlainWriter, open_writer, pause_after

DOCUMENT = """\
# Title

A paragraph with *emphasis*, `code`
and a [link](http://x/).

- one
- two
  - nested

1. first
2. second

---

| a | b |
|---|---|
| 1 | 2 |

> quoted
> twice

```python
def f():

    return 1
```
The end."""


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def console_on(out: io.StringIO, height: int = 24) -> Console:
    return Console(file=out, width=40, height=height, force_terminal=True, color_system=None, legacy_windows=False)


def screen(raw: str) -> str:
    """What stands on an endless terminal after ``raw``: it knows moving up, erasing a line, and going to its start."""
    lines, row = [""], 0
    for control, number, action, text in re.findall(r"(\x1b\[\??(\d*)([A-Za-z])|\r|\n)|([^\x1b\r\n]+)", raw):
        if text:
            lines[row] += text
        elif control == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif action == "A":
            row -= int(number)
        elif action == "K":
            lines[row] = ""
    return "\n".join(line.rstrip() for line in lines).strip()


def whole(text: str) -> str:
    from fwd_cli.markdown import ModelMarkdown

    out = io.StringIO()
    console_on(out).print(ModelMarkdown(text))
    return screen(out.getvalue())


def show(pieces: list[str], height: int = 24) -> str:
    out = Terminal()
    view = MarkdownView(console_on(out, height))
    view.start()
    for piece in pieces:
        view.write(piece)
        view.frame()
    view.finish()
    return screen(out.getvalue())


def test_plain_text_is_flushed_piece_by_piece_and_ends_with_a_newline() -> None:
    """What reads a pipe gets every piece at once."""
    flushed: list[str] = []

    class Pipe(io.StringIO):
        def flush(self) -> None:
            flushed.append(self.getvalue())

    out = Pipe()
    with PlainWriter(out) as writer:
        writer.write("a\x1b[1")
        writer.write("mb")
    assert flushed == ["a", "ab", "ab\n"]


def test_raw_text_passes_unfiltered_and_complete_lines_stay_as_they_are() -> None:
    """--raw is what the model sent."""
    out = io.StringIO()
    with PlainWriter(out, raw=True) as writer:
        writer.write("a\x1b[1mb\n")
    assert out.getvalue() == "a\x1b[1mb\n"


def test_a_closed_pipe_is_not_written_to_again() -> None:
    """The error that ends the command is the one of the pipe, not one of our last newline."""
    out = io.StringIO()
    writer = PlainWriter(out)
    writer.write("a")
    writer.__exit__(BrokenPipeError, BrokenPipeError(), None)
    assert out.getvalue() == "a"


def test_the_screen_at_the_end_is_the_whole_answer() -> None:
    """Drawn character by character, the screen ends as if the answer had been printed at once."""
    assert show(list(DOCUMENT)) == whole(DOCUMENT)


def test_an_answer_longer_than_the_screen_is_complete_in_the_scrollback() -> None:
    """Only the end of a long block fits while it grows; all of it is left."""
    text = "```\n" + "".join(f"line {number}\n" for number in range(60)) + "```\n"
    assert show(re.findall(".{1,7}", text, re.DOTALL), height=10) == whole(text)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, len(DOCUMENT)), max_size=12))
def test_any_cut_ends_in_the_same_screen(cuts: list[int]) -> None:
    """Where the chunks were cut makes no difference to what stands there in the end."""
    cuts = [0, *sorted(cuts), len(DOCUMENT)]
    assert show([DOCUMENT[a:b] for a, b in pairwise(cuts)]) == whole(DOCUMENT)


def test_finished_blocks_are_printed_once() -> None:
    """The cost of a frame is that of the last block: what is finished is not drawn again."""
    out = Terminal()
    view = MarkdownView(console_on(out))
    view.start()
    for number in range(30):
        view.write(f"paragraph {number}\n\n")
        view.frame()
    view.finish()
    assert len(re.findall(r"paragraph 3\b", out.getvalue())) <= 3


def test_a_frame_without_news_draws_nothing() -> None:
    """No flicker while the model thinks."""
    out = Terminal()
    view = MarkdownView(console_on(out))
    view.start()
    view.write("text")
    view.frame()
    before = out.getvalue()
    view.frame()
    assert out.getvalue() == before
    view.finish()


def test_a_spinner_comes_after_300_ms_and_goes_with_the_first_text() -> None:
    """Somebody who waits sees that something happens; somebody who does not, sees nothing."""
    now = [0.0]
    out = Terminal()
    view = MarkdownView(console_on(out), lambda: now[0])
    view.start()
    view.frame()
    assert "⠋" not in out.getvalue()
    now[0] = 0.31
    view.frame()
    assert "⠋" in out.getvalue()
    view.write("there")
    view.finish()
    assert screen(out.getvalue()) == "there"


def test_an_answer_without_text_leaves_nothing() -> None:
    """An error before the first word finds an empty screen."""
    assert show([]) == ""


@pytest.mark.parametrize(("cost_s", "pause_s"), [(0.0, 1 / 12), (0.001, 1 / 12), (0.05, 0.5)])
def test_drawing_takes_at_most_a_tenth_of_a_core(cost_s: float, pause_s: float) -> None:
    """A frame that was dear is followed by a longer pause; none is shorter than a twelfth of a second."""
    assert pause_after(cost_s) == pytest.approx(pause_s)


def test_a_live_writer_draws_without_being_asked() -> None:
    """The screen follows what was written although nobody calls for a frame."""
    drawn = threading.Event()

    class View(MarkdownView):
        def frame(self) -> None:
            super().frame()
            drawn.set()

    out = Terminal()
    with LiveWriter(View(console_on(out))) as writer:
        writer.write("hello")
        drawn.clear()
        assert drawn.wait(10)
    assert screen(out.getvalue()) == "hello"


def test_the_writer_suits_the_place() -> None:
    """Live Markdown on a terminal only; a dumb one, a pipe and --raw get plain text."""
    terminal, pipe = Terminal(), io.StringIO()
    assert isinstance(open_writer(terminal, console_on(terminal)), LiveWriter)
    assert isinstance(open_writer(terminal, console_on(terminal), raw=True), PlainWriter)
    assert isinstance(open_writer(pipe, Console(file=pipe)), PlainWriter)
    assert isinstance(open_writer(pipe, console_on(pipe)), PlainWriter)
