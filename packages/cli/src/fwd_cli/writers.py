"""How an answer gets to its reader while it comes: live Markdown on a terminal, plain text everywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TextIO

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
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


class _Tail:
    """The last lines of something, as many as fit below each other on the screen."""

    def __init__(self, inner: RenderableType, after_blank: bool) -> None:
        self._inner = inner
        self._after_blank = after_blank

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._inner, options, pad=False)
        if self._after_blank:
            lines.insert(0, [])
        for line in lines[-max(1, console.height - 2) :]:
            yield from line
            yield Segment.line()


class MarkdownView:
    """An answer on a terminal: finished blocks are printed for good, the growing one is redrawn below them.

    Nothing happens between :meth:`write` and :meth:`frame`; who calls ``frame`` decides how often the screen changes.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._started = clock()
        self._filter = Filter()
        self._lock = threading.Lock()
        self._incoming = ""
        self._growing = ""
        self._printed = False
        self._spinner = Spinner("dots")
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def start(self) -> None:
        """Take the bottom of the screen."""
        self._live.start()

    def write(self, text: str) -> None:
        """The next piece of the answer; shown at the next frame."""
        with self._lock:
            self._incoming += self._filter.feed(text)

    def frame(self) -> None:
        """Bring the screen up to date; does nothing when nothing changed."""
        with self._lock:
            incoming, self._incoming = self._incoming, ""
        if incoming:
            self._draw(incoming)
        elif not self._growing and not self._printed and self._clock() - self._started > SPINNER_AFTER_S:
            self._live.update(self._spinner, refresh=True)

    def _draw(self, incoming: str) -> None:
        finished, self._growing = split_finished(self._growing + incoming)
        printed_before = self._printed
        self._printed = printed_before or bool(finished.strip())
        self._live.update(_Tail(ModelMarkdown(self._growing), self._printed))
        if finished.strip():
            self._print(finished, printed_before)
        else:
            self._live.refresh()

    def _print(self, text: str, after_blank: bool) -> None:
        if after_blank:
            self._console.print()
        self._console.print(ModelMarkdown(text))

    def finish(self) -> None:
        """Give the bottom of the screen back and leave the whole answer in the scrollback."""
        self._live.stop()
        rest, self._growing, self._incoming = self._growing + self._incoming, "", ""
        if rest.strip():
            self._print(rest, self._printed)
            self._printed = True


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
