"""What docs/sdk.md and docs/errors.md say about the SDK is what the SDK does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from fwd_client._errors import BY_CODE, BY_STATUS, class_for

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "sdk.md").read_text(encoding="utf-8")


def test_table_of_codes() -> None:
    """Every row names the class that is raised for its codes, and every code the SDK knows is in a row."""
    rows = re.findall(r"^\| (\d[\d, ]*) \| (.+?) \| `(\w+)` \|", (DOCS / "errors.md").read_text("utf-8"), re.MULTILINE)
    listed = [
        (int(status), code, name)
        for statuses, codes, name in rows
        for status in statuses.split(", ")
        for code in re.findall(r"`(\w+)`", codes) or [None]
    ]
    assert [row for row in listed if class_for(row[0], row[1]).__name__ != row[2]] == []
    assert BY_CODE.keys() - {code for _, code, _ in listed} == set()


def test_table_of_statuses() -> None:
    """Every status with its class."""
    rows = dict(re.findall(r"^\| (\d{3}) \| `(\w+)` \|$", PAGE, re.MULTILINE))
    assert rows == {str(status): kind.__name__ for status, kind in BY_STATUS.items()}


def test_weight() -> None:
    """A client loads at most a third of the modules that `import openai` loads."""
    ours, theirs = (
        int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for code in (
            "from fwd_client import Client; Client(); import sys; print(len(sys.modules))",
            "import openai, sys; print(len(sys.modules))",
        )
    )
    assert ours <= theirs / 3
