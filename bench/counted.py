"""``python -m bench.counted FILE WORDS``: the command fwd, which on SIGUSR1 appends its number of tasks to FILE."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from fwd_cli.__main__ import main


def count_into(path: str) -> None:
    """Answer each SIGUSR1 with a line."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    signal.signal(signal.SIGUSR1, lambda *_: os.write(file, b"%d\n" % len(asyncio.all_tasks())))


if __name__ == "__main__":
    count_into(sys.argv.pop(1))
    sys.exit(main())
