"""What docs/sdk.md says about the SDK is what the SDK does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from fwd_client._errors import BY_CODE, BY_STATUS

PAGE = (Path(__file__).parents[2] / "docs" / "sdk.md").read_text(encoding="utf-8")


def test_table_of_codes() -> None:
    """Every code with its class, and none besides."""
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| `(\w+)` \| .+ \|$", PAGE, re.MULTILINE))
    assert rows == {code: kind.__name__ for code, kind in BY_CODE.items()}


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
