"""``.env`` files, with the line of each value."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fwd_server.settings.envfile import read_dotenv


def test_values_come_with_their_lines() -> None:
    """Blank lines, comments, quotes and ``export`` do not disturb the count."""
    file = read_dotenv("# keys\n\nA=1\n\nexport B='two words'\nC=\"x\ny\" # why\n\n\nD = 4")
    assert file.values == {"A": ("1", 3), "B": ("two words", 5), "C": ("x\ny", 6), "D": ("4", 10)}
    assert file.warnings == ()


def test_nothing_is_replaced_in_a_value() -> None:
    """``${NAME}`` and ``$NAME`` are part of a secret, not a reference."""
    assert read_dotenv("A=1\nKEY=x${A}$A\n").values["KEY"] == ("x${A}$A", 2)


def test_a_byte_order_mark_is_not_part_of_the_first_name() -> None:
    """Editors on Windows write one."""
    assert read_dotenv("\ufeffA=1\r\nB=2\r\n").values == {"A": ("1", 1), "B": ("2", 2)}


def test_an_empty_value_counts_as_not_set_and_is_warned_about() -> None:
    """With and without the equals sign."""
    file = read_dotenv("A=\nB\n")
    assert file.values == {}
    assert file.warnings == (
        "A (.env line 1) is empty and treated as not set",
        "B (.env line 2) is empty and treated as not set",
    )


def test_a_line_that_cannot_be_read_is_named_and_not_quoted() -> None:
    """It may hold a secret."""
    file = read_dotenv("A=1\nmy secret key\nB=2\n")
    assert file.values == {"A": ("1", 1), "B": ("2", 3)}
    assert file.warnings == (".env line 2 cannot be read; allowed: NAME=value, or # and a comment",)


def test_the_last_line_of_a_name_wins_with_a_warning() -> None:
    """As python-dotenv has it, but not silently."""
    file = read_dotenv("A=1\nA=2\n")
    assert file.values == {"A": ("2", 2)}
    assert file.warnings == ("A (.env line 2) was set in line 1 already",)


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever a file holds, there is an answer, and every line number is one of the file."""
    lines = text.count("\n") + text.count("\r") + 1
    assert all(1 <= line <= lines for _, line in read_dotenv(text).values.values())
