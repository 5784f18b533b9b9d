"""``fwd generate-key``."""

from __future__ import annotations

import json
import re
import stat
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from fwd_cli.commands.generate_key import _next_steps

FILE = Path("keys/forwarder_api_keys.txt")


def test_the_key_is_alone_on_stdout_and_stands_in_the_file(fwd: Run) -> None:
    """256 random bits behind fwd_; the words about it, without the key, on stderr."""
    ended = fwd("generate-key")
    key = ended.out.strip()
    assert ended.code == 0
    assert re.fullmatch(r"fwd_[A-Za-z0-9_-]{43}", key)
    assert key in FILE.read_text()
    assert key not in ended.err
    assert "fwd run-server" in ended.err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_file_and_directory_are_private(fwd: Run) -> None:
    """0600 in 0700, from the first byte on."""
    fwd("generate-key")
    assert stat.S_IMODE(FILE.stat().st_mode) == 0o600
    assert stat.S_IMODE(FILE.parent.stat().st_mode) == 0o700


def test_a_second_key_is_added(fwd: Run) -> None:
    """The first one stays."""
    keys = [fwd("generate-key").out.strip(), fwd("generate-key").out.strip()]
    assert keys[0] != keys[1]
    assert all(key in FILE.read_text() for key in keys)


def test_length_is_the_number_of_random_bytes(fwd: Run) -> None:
    """48 bytes are 64 characters; fewer than 16 bytes are refused."""
    assert len(fwd("generate-key", "--length", "48").out.strip()) == 4 + 64
    assert fwd("generate-key", "--length", "15").code == 2


def test_name_and_expiry_stand_behind_the_key(fwd: Run) -> None:
    """The line is for people: key, name, expiry."""
    key = fwd("generate-key", "--name", "web", "--expires", "2099-01-31").out.strip()
    assert f"{key} name=web expires=2099-01-31" in FILE.read_text().splitlines()


@pytest.mark.parametrize(
    "option",
    [
        ("--name", "two words"),
        ("--name", "x\ny"),
        ("--name", ""),
        ("--expires", "soon"),
        ("--expires", "2001-01-31"),
        ("--expires", "2001-01-31T00:00:00Z"),
        ("--expires", "2099-01-31T00:00:00"),
    ],
)
def test_what_the_file_could_not_hold_is_refused(fwd: Run, option: tuple[str, str]) -> None:
    """No key is made, no file is written."""
    assert fwd("generate-key", *option).code == 2
    assert not FILE.exists()


def test_a_key_may_expire_today_and_at_a_time_to_come(fwd: Run) -> None:
    """A date is the end of that day."""
    now = datetime.now(timezone.utc)
    assert fwd("generate-key", "--expires", now.date().isoformat()).code == 0
    later = (now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert fwd("generate-key", "--expires", later).code == 0


def test_json(fwd: Run) -> None:
    """For programs: the key and where it is stored."""
    ended = fwd("generate-key", "--json", "--name", "web", "--keys-file", "other")
    value = json.loads(ended.out)
    assert value["key"] in Path("other").read_text()
    assert (value["name"], value["keys_file"], ended.err) == ("web", "other", "")


@pytest.mark.skipif(sys.platform == "win32", reason="making links needs rights there")
def test_a_link_is_refused(fwd: Run) -> None:
    """A key is never written through a link somebody else laid."""
    Path("link").symlink_to("elsewhere")
    ended = fwd("generate-key", "--keys-file", "link")
    assert (ended.code, ended.out) == (1, "")
    assert not Path("elsewhere").exists()
    assert "link" in ended.err.splitlines()[1]


def test_the_export_line_is_ready_for_somebody_who_sees_the_key_anyway() -> None:
    """On a terminal the line can be copied as it is; elsewhere the key is not repeated."""
    assert "export FORWARDER_KEY=fwd_x" in _next_steps("fwd_x", FILE, shown=True)
    assert "fwd_x" not in _next_steps("fwd_x", FILE, shown=False)
