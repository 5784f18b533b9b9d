"""``python -m bench.instrumented OPTIONS -- WORDS``: the gateway's own program, prepared for a measurement.

--stretch 50    its periodic work comes that many times more rarely

Runs in the gateway's process, so it imports nothing that the gateway's environment may not have.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Final

# Module constants, in seconds, by which the gateway does something now and then whether or not there are calls.
# A program that runs under callgrind is some 50 times slower, so without this each call would pay 50 times its share.
PERIODS: Final = (
    ("fwd_server.process.serve", "POLL_S"),
    ("fwd_server.http1.server.listener", "_TICK_S"),
)


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the process, then run the gateway. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.instrumented", description=__doc__.splitlines()[0])
    parser.add_argument("--stretch", type=float, default=1.0)
    parser.add_argument("words", nargs="*", help="for fwd-server, behind --")
    options = parser.parse_args(arguments)
    stretch_periods(options.stretch)
    from fwd_server.process.main import main as run_server

    return run_server(options.words)


if __name__ == "__main__":
    sys.exit(main())
