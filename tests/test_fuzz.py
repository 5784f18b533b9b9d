"""What ``nox -s fuzz`` asks for hours holds for its seeds, and for a few wounds of each."""

from __future__ import annotations

import random

import pytest
from fuzz.__main__ import told
from fuzz.cuts import parted, seed
from fuzz.targets import TARGETS


def wounded(data: bytes, dice: random.Random) -> bytes:
    """One byte changed, lost or doubled."""
    place = dice.randrange(len(data))
    return data[:place] + dice.choice([b"", dice.randbytes(1), data[place : place + 1] * 2]) + data[place + 1 :]


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_for_its_seeds(name: str) -> None:
    """T1, T9, T10, F26: no strange exception, one meaning however cut, nothing kept without bound."""
    dice = random.Random(name)
    for data in TARGETS[name].seeds():
        for text in (data, *(wounded(data, dice) for _ in range(5))):
            TARGETS[name].check(text)


def test_an_input_says_where_it_is_cut() -> None:
    """Its last eight bytes; whatever they are, the pieces are the whole."""
    assert parted(b"abcdef" + bytes([0, 1, 0, 3, 0, 3, 0, 6])) == (b"abcdef", [b"a", b"bc", b"", b"def", b""])
    assert parted(b"\xff") == (b"", [b"", b""])
    text, pieces = parted(seed(b"GET / HTTP/1.1\r\n\r\n"))
    assert b"".join(pieces) == text
    assert len(pieces) == 5


def test_what_libfuzzer_says_is_said_in_a_line() -> None:
    said = "#2 INITED cov: 9 ft: 9\n#80 NEW cov: 12 ft: 34 corp: 5\nDone 1234 runs in 60 second(s)\n"
    assert told(said) == "1,234 runs in 60 s, 12 edges and 34 features covered"
    assert told("") == "ended early"
