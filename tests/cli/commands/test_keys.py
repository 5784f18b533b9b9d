"""``fwd keys``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.cli.conftest import Run

KEYS = Path("keys/forwarder_api_keys.txt")


def made(fwd: Run, *options: str) -> str:
    return fwd("generate-key", *options).out.strip()


def test_keys_are_listed_without_their_secrets(fwd: Run) -> None:
    """Id, name, expiry, how it is stored; a line that is skipped says why."""
    key = made(fwd, "--name", "web", "--expires", "2999-01-31")
    made(fwd, "--expires", "2999-01-31T12:00:00Z")
    KEYS.write_text(KEYS.read_text() + f"{key} nmae=x\n")
    out = fwd("keys", "list").out
    rows = [line.split("\t")[1:] for line in out.splitlines()]
    assert rows[0] == ["web", "2999-01-31", "plain text", ""]
    assert rows[1] == ["", "2999-01-31T12:00:00Z", "plain text", ""]
    assert rows[2][3].startswith("line 3 is skipped: only name=")
    assert key[4:] not in out


def test_json_is_one_key_a_line(fwd: Run) -> None:
    """For programs; an expired key says so."""
    made(fwd, "--name", "web")
    KEYS.write_text(KEYS.read_text().rstrip() + " expires=2020-01-31\n")
    (facts,) = map(json.loads, fwd("keys", "list", "--json").out.splitlines())
    assert (facts["name"], facts["expires"], facts["expired"], facts["hashed"]) == ("web", "2020-01-31", True, False)
    assert "\texpired\n" in fwd("keys", "list").out


def test_a_key_is_revoked_by_name_or_id(fwd: Run) -> None:
    """The others stay."""
    made(fwd, "--name", "web")
    kept = made(fwd, "--name", "app")
    made(fwd)
    ids = {line.split("\t")[1]: line.split("\t")[0] for line in fwd("keys", "list").out.splitlines()}
    assert fwd("keys", "revoke", "web", ids[""]).out.startswith(f"Revoked web ({ids['web']}), {ids['']}")
    assert KEYS.read_text() == f"{kept} name=app\n"
    (facts,) = map(json.loads, fwd("keys", "revoke", "app", "--json").out.splitlines())
    assert facts["name"] == "app"
    assert "fwd generate-key" in fwd("keys", "list").err


def test_a_key_is_revoked_by_every_form_it_is_shown_in(fwd: Run) -> None:
    """What a log line, a list or a leak shows can be pasted: the id, six or more digits of the digest, the key."""
    for form in (
        lambda key, facts: key,
        lambda key, facts: facts["id"],
        lambda key, facts: hashlib.sha256(key.encode()).hexdigest(),
        lambda key, facts: facts["id"][:6].upper(),
    ):
        key = made(fwd)
        (facts,) = map(json.loads, fwd("keys", "list", "--json").out.splitlines())
        assert fwd("keys", "revoke", form(key, facts)).code == 0
        assert KEYS.read_text() == ""


def test_a_name_belongs_to_one_key(fwd: Run) -> None:
    """A second key of the same name is refused: its line in the log would say nothing, and it could not be revoked."""
    made(fwd, "--name", "web")
    before = KEYS.read_text()
    ended = fwd("generate-key", "--name", "web")
    assert (ended.code, ended.out, KEYS.read_text()) == (1, "", before)
    assert ended.err.startswith("error: there is already a key named web\n")
    assert "fwd keys revoke web" in ended.err


def test_what_is_ambiguous_is_not_revoked(fwd: Run) -> None:
    """No such key, or a name that two lines share: nothing changes, and the ids are listed."""
    made(fwd, "--name", "web")
    KEYS.write_text(KEYS.read_text() + f"fwd_{'k' * 43} name=web\n")
    before = KEYS.read_text()
    assert "there is no key 'app'" in fwd("keys", "revoke", "app", "web").err
    ended = fwd("keys", "revoke", "web")
    assert (ended.code, KEYS.read_text()) == (2, before)
    assert "2 keys match 'web'; choose by id: " in ended.err


def test_hardening(fwd: Run) -> None:
    """T15: the keys are gone from the file; a second time there is nothing to do."""
    made(fwd)
    assert fwd("keys", "harden").out == "Replaced 1 by their digests.\n"
    assert "fwd_" not in KEYS.read_text()
    assert fwd("keys", "harden").out == "No key was in plain text.\n"
    assert fwd("keys", "harden", "--json").out == '{"hardened": 0}\n'


def test_a_file_that_is_not_there(fwd: Run) -> None:
    """Three lines."""
    for command in (["list"], ["revoke", "x"], ["harden"]):
        ended = fwd("keys", *command)
        assert ended.code == 1
        assert "No such file or directory: keys/forwarder_api_keys.txt" in ended.err
