"""How an answer gets to its reader while it arrives: live Markdown on a terminal, plain text everywhere else."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from types import TracebackType
from typing import Protocol, TextIO

from rich.console import Console, RenderableType
from rich.control import Control
from rich.segment import ControlType, Segment, Segments
from rich.spinner import Spinner
from rich.text import Text

from fwd_cli.markdown import ModelMarkdown, split_finished
from fwd_cli.notices import aside
from fwd_cli.terminal import Filter, clean_line

FRAMES_PER_SECOND = 12
SPINNER_AFTER_S = 0.3
MOST_OF_A_CORE = 0.1


class Writer(Protocol):
    """Takes an answer piece by piece; leaving its ``with`` block completes what is on the screen."""

    def write(self, text: str) -> None:
        """The next piece of the answer."""

    def think(self, text: str) -> None:
        """The next piece of what the model thinks before it answers."""

    def notify(self, text: str) -> None:
        """Something to know while there is nothing to read yet, such as a wait."""

    def __enter__(self) -> Writer: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None: ...


class PlainWriter:
    """Text as it arrives, flushed piece by piece, so that a reader of the pipe can go on with it at once.

    Thinking is left out: the reader of a pipe wants the answer.
    """

    def __init__(self, out: TextIO, *, raw: bool = False) -> None:
        self._out = out
        # Raw is asked for by name; everything else of a model's goes through the filter.
        self._pass = str if raw else Filter().feed
        self._needs_newline = False

    def write(self, text: str) -> None:
        """Write and flush what may be shown of ``text``; all of it when raw."""
        if shown := self._pass(text):
            self._out.write(shown)
            self._out.flush()
            self._needs_newline = not shown.endswith("\n")

    def think(self, text: str) -> None:
        """Nothing: only a terminal shows it."""

    def notify(self, text: str) -> None:
        """A line on standard error, for a person: a script has no use for waits, and wants errors alone there."""
        # A script that collects errors would take a wait for one.
        if sys.stderr.isatty():
            aside(text)

    def __enter__(self) -> PlainWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._needs_newline and not isinstance(error, BrokenPipeError):
            self._out.write("\n")
            self._out.flush()


class Region:
    """The lines at the bottom of a screen that are drawn again and again."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._widths: list[int] = []

    def show(self, renderable: RenderableType, *, above: RenderableType | None = None) -> None:
        """Draw ``renderable`` in place of the current lines, and ``above`` permanently over it, in one write.

        If it is taller than the screen, only its last lines are shown, because scrolled lines cannot be redrawn.
        """
        # Two lines fewer than the screen, or the terminal would scroll while it is drawn.
        lines = self._console.render_lines(renderable, pad=False)[-max(1, self._console.height - 2) :]
        with self._console:
            self._erase()
            if above is not None:
                self._console.print(above)
            self._console.print(Segments([segment for line in lines for segment in (*line, Segment.line())]), end="")
        self._widths = [Segment.get_line_length(line) for line in lines]

    def _erase(self) -> None:
        """Erase our lines, from the last to the first; one wider than a resized terminal counts as several.

        The line below them is erased too, because the terminal's ``^C`` may be there.
        """
        # A line that was as wide as the terminal takes two rows of a narrower one.
        rows = sum(max(1, -(-width // self._console.width)) for width in self._widths)
        row_up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2))
        self._console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), *row_up * rows))


class MarkdownView:
    """An answer on a terminal: finished blocks are printed for good, the growing one is redrawn below them.

    Thinking comes before it, dimmed and as plain text. Nothing happens between :meth:`write` and :meth:`frame`; the
    caller of ``frame`` decides how often the screen changes.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._region = Region(console)
        self._spinner = Spinner("dots")
        self._clock = clock
        self._started = clock()
        self._filter = Filter()
        self._thought_filter = Filter()
        # Pieces come from the thread that reads, frames are drawn in another.
        self._lock = threading.Lock()
        self._incoming: list[tuple[bool, str]] = []
        self._growing = ""
        self._is_thinking = False
        self._printed = False
        self._notice = ""

    def start(self) -> None:
        """Take the bottom of the screen."""
        # A cursor that jumps with every frame is hard to look at.
        self._console.show_cursor(False)

    def write(self, text: str) -> None:
        """The next piece of the answer; shown at the next frame."""
        self._receive(False, self._filter.feed(text))

    def think(self, text: str) -> None:
        """The next piece of thinking; shown at the next frame."""
        self._receive(True, self._thought_filter.feed(text))

    def notify(self, text: str) -> None:
        """Show this beside the spinner until the answer begins."""
        self._notice = clean_line(text)

    def _receive(self, is_thinking: bool, text: str) -> None:
        if text:
            with self._lock:
                self._incoming.append((is_thinking, text))

    def frame(self) -> None:
        """Bring the screen up to date; does nothing when nothing changed."""
        pieces = self._take_incoming()
        if pieces:
            self._draw_pieces(pieces)
        elif not self._growing and not self._printed and (self._notice or self._is_slow()):
            self._spinner.update(text=Text(self._notice, style="dim"))
            self._region.show(self._spinner)

    def _is_slow(self) -> bool:
        return self._clock() - self._started > SPINNER_AFTER_S

    def finish(self) -> None:
        """Leave the whole answer in the scrollback, and the bottom of the screen to others."""
        self._draw_pieces(self._take_incoming())
        self._commit_growing()
        self._console.show_cursor(True)

    def _take_incoming(self) -> list[tuple[bool, str]]:
        with self._lock:
            pieces, self._incoming = self._incoming, []
        return pieces

    def _draw_pieces(self, pieces: list[tuple[bool, str]]) -> None:
        """Show pieces in their order; where thinking turns into an answer, or back, the former is finished."""
        for is_thinking, run in groupby(pieces, key=itemgetter(0)):
            # A thought that is over cannot grow, so it may go into the scrollback.
            if is_thinking is not self._is_thinking:
                self._commit_growing()
            self._is_thinking = is_thinking
            text = self._growing + "".join(piece for _, piece in run)
            finished, self._growing = _split_lines(text) if is_thinking else split_finished(text)
            self._show(finished, self._growing)

    def _commit_growing(self) -> None:
        growing, self._growing = self._growing, ""
        self._show(growing, "")

    def _show(self, finished: str, growing: str) -> None:
        above = None
        if finished.strip():
            above = self._rendered(finished)
            self._printed = True
        self._region.show(self._rendered(growing), above=above)

    def _rendered(self, text: str) -> RenderableType:
        if self._is_thinking and text.strip():
            # Not as Markdown: half a thought is rarely well formed.
            return Text(text.strip("\n"), style="dim italic")
        return ModelMarkdown(text, after_blank=self._printed)


def _split_lines(text: str) -> tuple[str, str]:
    """Thinking cut in two: its whole lines, which cannot change any more, and the last one, which may grow."""
    cut = text.rfind("\n") + 1
    return text[:cut], text[cut:]


class LiveWriter:
    """A :class:`MarkdownView` with a thread that calls for frames: at most 12 a second, at most a tenth of a core."""

    def __init__(self, view: MarkdownView, clock: Callable[[], float] = time.monotonic) -> None:
        self._view = view
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run_frames, name="fwd-frames", daemon=True)

    def write(self, text: str) -> None:
        """The next piece of the answer."""
        self._view.write(text)

    def think(self, text: str) -> None:
        """The next piece of thinking."""
        self._view.think(text)

    def notify(self, text: str) -> None:
        """Something to know while there is nothing to read yet."""
        self._view.notify(text)

    def __enter__(self) -> LiveWriter:
        self._view.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._stop.set()
        # Or a last frame could be drawn over the finished answer.
        self._thread.join()
        self._view.finish()

    def _run_frames(self) -> None:
        pause = 1 / FRAMES_PER_SECOND
        while not self._stop.wait(pause):
            # A long table takes longer to draw than a frame should last.
            pause = pause_after(self._timed_frame())

    def _timed_frame(self) -> float:
        started = self._clock()
        self._view.frame()
        return self._clock() - started


def pause_after(cost_s: float) -> float:
    """How long to wait after a frame that took ``cost_s``, so that drawing takes at most a tenth of a core."""
    return max(1 / FRAMES_PER_SECOND, cost_s / MOST_OF_A_CORE)


def open_writer(out: TextIO, console: Console, *, raw: bool = False) -> Writer:
    """The writer that suits ``out``: live Markdown where ``console`` is a terminal that can redraw, else plain text."""
    # A dumb terminal, as in some editors, cannot move its cursor.
    if raw or not console.is_terminal or console.is_dumb_terminal or not out.isatty():
        return PlainWriter(out, raw=raw)
    return LiveWriter(MarkdownView(console))
