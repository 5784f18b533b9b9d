"""How an answer gets to its reader while it comes: live Markdown on a terminal, plain text everywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TextIO

from rich.console import Console, RenderableType
from rich.control import Control
from rich.segment import ControlType, Segment, Segments
from rich.spinner import Spinner

from fwd_cli.markdown import ModelMarkdown, split_finished
from fwd_cli.terminal import Filter

FRAMES_PER_SECOND = 12
SPINNER_AFTER_S = 0.3
MOST_OF_A_CORE = 0.1


class Writer(Protocol):
    """Takes an answer piece by piece; leaving its ``with`` block completes what is on the screen."""

    def write(self, text: str) -> None:
        """The next piece of the answer."""

    def __enter__(self) -> Writer: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None: ...


class PlainWriter:
    """Text as it comes, flushed piece by piece, so that whatever reads the pipe can go on with it at once."""

    def __init__(self, out: TextIO, *, raw: bool = False) -> None:
        self._out = out
        self._pass = str if raw else Filter().feed
        self._needs_newline = False

    def write(self, text: str) -> None:
        """Write and flush what may be shown of ``text``; all of it when raw."""
        if shown := self._pass(text):
            self._out.write(shown)
            self._out.flush()
            self._needs_newline = not shown.endswith("\n")

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
        """Draw ``renderable`` instead of what stands here, and ``above`` over it, for good; all in one write.

        Of more lines than fit on the screen the last ones are shown: what has scrolled away cannot be redrawn.
        """
        lines = self._console.render_lines(renderable, pad=False)[-max(1, self._console.height - 2) :]
        with self._console:
            self._erase()
            if above is not None:
                self._console.print(above)
            self._console.print(Segments([segment for line in lines for segment in (*line, Segment.line())]), end="")
        self._widths = [Segment.get_line_length(line) for line in lines]

    def _erase(self) -> None:
        """Back to the first of our lines; one that is wider than the terminal has become counts as several.

        The line below them is erased too: the terminal's ``^C`` may stand there.
        """
        rows = sum(max(1, -(-width // self._console.width)) for width in self._widths)
        row_up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2))
        self._console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), *row_up * rows))


class MarkdownView:
    """An answer on a terminal: finished blocks are printed for good, the growing one is redrawn below them.

    Nothing happens between :meth:`write` and :meth:`frame`; who calls ``frame`` decides how often the screen changes.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._region = Region(console)
        self._spinner = Spinner("dots")
        self._clock = clock
        self._started = clock()
        self._filter = Filter()
        self._lock = threading.Lock()
        self._incoming = ""
        self._growing = ""
        self._printed = False

    def start(self) -> None:
        """Take the bottom of the screen."""
        self._console.show_cursor(False)

    def write(self, text: str) -> None:
        """The next piece of the answer; shown at the next frame."""
        with self._lock:
            self._incoming += self._filter.feed(text)

    def frame(self) -> None:
        """Bring the screen up to date; does nothing when nothing changed."""
        incoming = self._take()
        if incoming:
            finished, self._growing = split_finished(self._growing + incoming)
            self._show(finished, self._growing)
        elif not self._growing and not self._printed and self._clock() - self._started > SPINNER_AFTER_S:
            self._region.show(self._spinner)

    def finish(self) -> None:
        """Leave the whole answer in the scrollback, and the bottom of the screen to others."""
        self._show(self._growing + self._take(), "")
        self._console.show_cursor(True)

    def _take(self) -> str:
        with self._lock:
            incoming, self._incoming = self._incoming, ""
        return incoming

    def _show(self, finished: str, growing: str) -> None:
        above = None
        if finished.strip():
            above = ModelMarkdown(finished, after_blank=self._printed)
            self._printed = True
        self._region.show(ModelMarkdown(growing, after_blank=self._printed), above=above)


class LiveWriter:
    """A :class:`MarkdownView` with a thread that calls for frames: at most 12 a second, at most a tenth of a core."""

    def __init__(self, view: MarkdownView, clock: Callable[[], float] = time.monotonic) -> None:
        self._view = view
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fwd-frames", daemon=True)

    def write(self, text: str) -> None:
        """The next piece of the answer."""
        self._view.write(text)

    def __enter__(self) -> LiveWriter:
        self._view.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._view.finish()

    def _run(self) -> None:
        pause = 1 / FRAMES_PER_SECOND
        while not self._stop.wait(pause):
            pause = pause_after(self._timed_frame())

    def _timed_frame(self) -> float:
        started = self._clock()
        self._view.frame()
        return self._clock() - started


def pause_after(cost_s: float) -> float:
    """How long to wait after a frame that took ``cost_s``, so that drawing takes at most a tenth of a core."""
    return max(1 / FRAMES_PER_SECOND, cost_s / MOST_OF_A_CORE)


def open_writer(out: TextIO, console: Console, *, raw: bool = False) -> Writer:
    """The writer that suits ``out``: live Markdown where ``console`` is a terminal that can redraw, else plain."""
    if raw or not console.is_terminal or console.is_dumb_terminal or not out.isatty():
        return PlainWriter(out, raw=raw)
    return LiveWriter(MarkdownView(console))
