"""``python -m bench.instrumented OPTIONS -- WORDS``: the gateway's own program, prepared for a measurement.

--stretch 100     its periodic work comes that many times more rarely
--without NAME    a piece of the call path is switched off (``bench.pieces``); may be given again
--profile FILE    each second SIGUSR1 appends to FILE which functions of fwd_server ran since the one before it

Runs in the gateway's process, so it imports nothing that the gateway's environment may lack.
"""

from __future__ import annotations

import argparse
import importlib
import json
import opcode
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

from bench.pieces import switch_off

# Module constants, in seconds, by which the gateway does something now and then whether or not there are calls.
# A program that runs under callgrind is some 50 times slower, so without this each call would pay 50 times its share.
# They must be looked up in their module each time they are used.
PERIODS: Final = (
    ("fwd_server.process.serve", "POLL_S"),
    ("fwd_server.http1.server.listener", "_TICK_S"),
)
_RESUME: Final = opcode.opmap.get("RESUME")  # since Python 3.11
_RESUME_KIND: Final = 3  # of its argument: 0 where a function begins, 1 to 3 where it goes on after yield or await


def stretch_periods(factor: float) -> None:
    """Let periodic work come ``factor`` times more rarely.

    A constant that is no longer there is named on standard error and costs accuracy only: ``bench.instructions``
    measures what an idle gateway still does, and subtracts it.
    """
    for module, name in PERIODS:
        holder = importlib.import_module(module)
        if hasattr(holder, name):
            setattr(holder, name, getattr(holder, name) * factor)
        else:
            sys.stderr.write(f"bench: {module}.{name} is gone; bring PERIODS in bench/instrumented.py up to date\n")


def is_resumed(frame: FrameType) -> bool:
    """Whether a ``call`` event is about a generator or coroutine that goes on, rather than a function that begins.

    The profiler reports both alike. Before Python 3.11 a frame that has not begun has no last instruction; since then
    the instruction RESUME says which of the two it is.
    """
    if _RESUME is None:
        return frame.f_lasti >= 0
    code = frame.f_code.co_code
    return code[frame.f_lasti] == _RESUME and bool(code[frame.f_lasti + 1] & _RESUME_KIND)


class CallProfile:
    """Counts the calls of functions under ``root`` while it is on, those of the event loop's thread by themselves."""

    def __init__(self, root: Path) -> None:
        self._root = f"{root}{os.sep}"
        self._main = threading.get_ident()
        self._on = False
        self._starts: Counter[CodeType] = Counter()
        self._resumes: Counter[CodeType] = Counter()
        self._elsewhere: Counter[CodeType] = Counter()

    def start(self) -> None:
        """Forget what was counted and count from now on."""
        for counter in (self._starts, self._resumes, self._elsewhere):
            counter.clear()
        self._on = True
        sys.setprofile(self.note)

    def stop(self) -> dict[str, list[tuple[str, str, int, int]]]:
        """Stop counting. By thread: file, function, line and count of each function, most often called first."""
        sys.setprofile(None)
        self._on = False
        counters = {"starts": self._starts, "resumes": self._resumes, "other_threads": self._elsewhere}
        return {name: [(*self._place(code), n) for code, n in c.most_common()] for name, c in counters.items()}

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        """For ``sys.setprofile`` and ``threading.setprofile``."""
        if event != "call" or not self._on or not frame.f_code.co_filename.startswith(self._root):
            return
        if threading.get_ident() != self._main:
            self._elsewhere[frame.f_code] += 1
        elif is_resumed(frame):
            self._resumes[frame.f_code] += 1
        else:
            self._starts[frame.f_code] += 1

    def _place(self, code: CodeType) -> tuple[str, str, int]:
        name: str = getattr(code, "co_qualname", code.co_name)  # Python 3.10 has only the short one
        return code.co_filename.removeprefix(self._root), name, code.co_firstlineno


def profile_into(path: str) -> None:
    """Answer each SIGUSR1 with a line: an empty one when counting begins, JSON when it ends."""
    import fwd_server

    profile = CallProfile(Path(fwd_server.__file__).parent)
    threading.setprofile(profile.note)  # of threads that start later, such as the one that writes the log
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    counting = False

    def toggle(*_: object) -> None:
        nonlocal counting
        line = json.dumps(profile.stop()) if counting else ""
        counting = not counting
        os.write(file, f"{line}\n".encode())
        if counting:
            profile.start()

    signal.signal(signal.SIGUSR1, toggle)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the process, then run the gateway. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.instrumented", description=__doc__.splitlines()[0])
    parser.add_argument("--stretch", type=float, default=1.0)
    parser.add_argument("--without", action="append", default=[], metavar="NAME")
    parser.add_argument("--profile", metavar="FILE")
    parser.add_argument("words", nargs="*", help="for fwd-server, behind --")
    options = parser.parse_args(arguments)
    stretch_periods(options.stretch)
    for name in options.without:
        switch_off(name)
    if options.profile:
        profile_into(options.profile)
    from fwd_server.process.main import main as run_server

    return run_server(options.words)


if __name__ == "__main__":
    sys.exit(main())
