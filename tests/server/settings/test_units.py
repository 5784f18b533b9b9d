"""Durations, sizes, addresses and lists, as people write them."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd_server.settings import units
from fwd_server.settings.units import (
    KINDS,
    Address,
    BaseUrl,
    HeaderText,
    Host,
    HostNames,
    Model,
    Names,
    Networks,
    allowed_text,
)


def refuses(read: Callable[[str], object], text: str) -> bool:
    """Whether ``read`` raises ValueError, and nothing else."""
    try:
        read(text)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("30s", 30), ("500ms", 0.5), ("5m", 300), ("1h", 3600), ("0", 0), ("1.5", 1.5), ("2 m", 120)],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    """A bare number is seconds; ms, s, m and h are units."""
    assert units.read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1d", "1e3", "nan", "inf", "1m30s", "٣", "1.", "1,5"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Only plain ASCII numbers with one known unit are durations."""
    assert refuses(units.read_duration, text)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0"), (90, "90s"), (600, "10m"), (86_400, "24h"), (0.25, "250ms")])
def test_a_duration_is_written_in_its_largest_exact_unit(seconds: float, text: str) -> None:
    """So that a default reads as a person would write it."""
    assert units.write_duration(seconds) == text


@given(st.floats(0.001, 86_400))
def test_a_written_duration_is_read_as_the_same(seconds: float) -> None:
    """Reading undoes writing, for any float in range."""
    assert units.read_duration(units.write_duration(seconds)) == pytest.approx(seconds, rel=1e-12)


@given(st.integers(0, 86_400_000))
def test_whole_milliseconds_are_kept_exactly(milliseconds: int) -> None:
    """Reading undoes writing to the bit for every whole number of milliseconds."""
    seconds = milliseconds / 1000
    assert units.read_duration(units.write_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("10MiB", 10 * 2**20), ("500KB", 500_000), ("1048576", 2**20), ("1 gib", 2**30), ("7B", 7)]
)
def test_a_size_is_read_in_bytes(text: str, size: int) -> None:
    """KB is 1000 bytes, KiB is 1024; case does not matter."""
    assert units.read_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.5MB", "10M", "ten"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """A size is a whole number with a known unit."""
    assert refuses(units.read_size, text)


@given(st.integers(0, 2**40))
def test_a_written_size_is_read_as_the_same(size: int) -> None:
    """Reading undoes writing, and 10 MiB is written as such."""
    assert units.read_size(units.write_size(size)) == size
    assert units.write_size(10 * 2**20) == "10MiB"


@pytest.mark.parametrize(("text", "flag"), [("true", True), ("YES", True), ("1", True), ("off", False), ("No", False)])
def test_a_flag_takes_the_usual_spellings(text: str, flag: bool) -> None:
    """And is written as true or false."""
    assert units.read_flag(text) is flag
    assert units.read_flag(units.write_flag(flag)) is flag


@pytest.mark.parametrize("text", ["", "maybe", "2", "tru"])
def test_what_is_no_flag_is_refused(text: str) -> None:
    """A misspelt true is not false."""
    assert refuses(units.read_flag, text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("http://localhost:11434", "http://localhost:11434"),
        ("http://[::1]:8000/x//", "http://[::1]:8000/x"),
    ],
)
def test_a_base_url_loses_its_trailing_slashes(text: str, url: str) -> None:
    """With or without one, it is the same address."""
    assert units.read_base_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "api.openai.com/v1",
        "ftp://host/v1",
        "file:///etc/passwd",
        "https://",
        "https:///v1",
        "https://user:secret@host/v1",
        "https://host/v1?key=1",
        "https://host/v1#a",
        "https://host:99999/",
        "https://host:0/",
        "https://ho st/",
        "https://host/\nx",
        "http://[::1",
    ],
)
def test_an_address_with_more_or_less_than_host_and_path_is_refused(text: str) -> None:
    """No user, no password, no query, no fragment, and never without a host (contract S11)."""
    assert refuses(units.read_base_url, text)


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("[::1]", True),
        ("LOCALHOST", True),
        ("a.localhost", True),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback_is_told_from_other_machines(host: str, here: bool) -> None:
    """By address where it is one, else by name."""
    assert units.is_loopback(host) is here


@pytest.mark.parametrize(("host", "all_"), [("0.0.0.0", True), ("::", True), ("127.0.0.1", False), ("any", False)])
def test_the_address_that_stands_for_all_is_known(host: str, all_: bool) -> None:
    """0.0.0.0 and :: reach this machine too."""
    assert units.is_everywhere(host) is all_


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (Host, "[::1]", "::1"),
        (Host, "0.0.0.0", "0.0.0.0"),
        (Address, "0.0.0.0:9000", Address("0.0.0.0", 9000)),
        (Address, "[::1]:0", Address("::1", 0)),
        (Address, "/run/fwd/health", Address(path=Path("/run/fwd/health"))),
        (Model, "meta/llama-3:free", "meta/llama-3:free"),
        (Model, "echo:fail?status=429&retry_after=2", "echo:fail?status=429&retry_after=2"),
        (Names, " openai, ,my-box ", ("openai", "my-box")),
        (HostNames, "Gate.Example.com,[::1]", ("gate.example.com", "::1")),
        (Networks, "10.1.2.3/8,::1", (ip_network("10.0.0.0/8"), ip_network("::1"))),
        (HeaderText, "My app (beta)", "My app (beta)"),
        (int, "0042", 42),
        (Literal["off", "public"], "Public", "public"),
    ],
)
def test_the_converter_reads_by_type(type_: object, text: str, value: object) -> None:
    """And what it writes back is read as the same value."""
    converter = units.build_converter()
    read = converter.structure(text, type_)  # type: ignore[arg-type]
    written = converter.unstructure(read, unstructure_as=type_)
    assert read == value
    assert converter.structure(written, type_) == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (Host, "http://x"),
        (Host, "x:80"),
        (Address, "9000"),
        (Address, "::1:9000"),
        (Address, "localhost:65536"),
        (Address, "localhost:"),
        (Model, "a b"),
        (Model, "m" * 129),
        (Names, "OpenAI"),
        (Names, "1st"),
        (Networks, "10.0.0.0/33"),
        (HeaderText, "a\r\nb"),
        (HeaderText, "é"),
        (int, "8_000"),
        (Literal["off", "public"], "all"),
    ],
)
def test_the_converter_refuses_what_does_not_fit(type_: object, text: str) -> None:
    """Every refusal is a ValueError, whatever the type."""
    converter = units.build_converter()
    assert refuses(lambda text: converter.structure(text, type_), text)  # type: ignore[arg-type]


def test_every_type_says_what_is_allowed() -> None:
    """An optional one says the same; a choice lists its members."""
    assert allowed_text(Literal["a", "b"]) == "one of a, b"
    assert allowed_text(BaseUrl | None) == KINDS[BaseUrl].allowed
    assert all(kind.allowed for kind in KINDS.values())
