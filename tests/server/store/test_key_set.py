"""The lines of the key file, and which presented keys they allow."""

from __future__ import annotations

import hashlib
import math
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd_server.store import key_set as keyset
from fwd_server.store.key_set import BadLine, KeySet, parse, parse_line, read_expiry

KEY = "fwd_" + "k" * 43
OTHER = "fwd_" + "o" * 43
NOW = 1_800_000_000.0


def digest_of(key: str) -> str:
    """The digest of a key as it may stand in the file."""
    return hashlib.sha256(key.encode()).hexdigest()


def found(text: str, key: str, now: float = NOW) -> bool:
    """Whether a file with this text allows a key."""
    return parse(text.encode()).keys.find(key, now) is not None


def test_a_key_stands_in_clear_or_as_its_digest() -> None:
    """Both kinds of line allow the key itself (design section 4, T15)."""
    assert found(f"{KEY}\n", KEY)
    assert found(f"sha256:{digest_of(KEY)}\n", KEY)
    assert found(f"sha256:{digest_of(KEY).upper()}", KEY)
    assert not found(f"{KEY}\n", OTHER)


def test_a_stored_digest_is_no_key() -> None:
    """Contract S9: presenting what the file holds is refused."""
    text = f"sha256:{digest_of(KEY)}\n"
    assert not found(text, f"sha256:{digest_of(KEY)}")
    assert not found(text, digest_of(KEY))


def test_blank_lines_and_comments_are_no_keys() -> None:
    """A comment may follow a key too; either line end will do, and the last one may be missing."""
    text = f"\ufeff# keys\r\n\r\n  {KEY}  name=web  # the web app\r\n\t# {OTHER}\r\n{OTHER}"
    parsed = parse(text.encode())
    assert parsed.alerts == ()
    assert [(entry.name, entry.line) for entry in parsed.keys.entries.values()] == [("web", 3), ("", 5)]


def test_options_say_whose_key_it_is_and_for_how_long() -> None:
    """In any order."""
    entry = parse_line(f"{KEY} expires=2027-01-31 name=web")
    assert entry is not None
    assert (entry.name, entry.expires) == ("web", read_expiry("2027-01-31"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2027-01-31", 1_801_440_000),
        ("2027-02-01T00:00:00Z", 1_801_440_000),
        ("2027-02-01t02:00:00+02:00", 1_801_440_000),
        ("2027-01-31T23:59:59.5z", 1_801_439_999.5),
        ("2028-02-29", 1_835_481_600),
        ("9999-12-31", 253_402_300_800),
    ],
)
def test_an_expiry_is_the_end_of_a_day_or_a_moment(text: str, seconds: float) -> None:
    """A date means the end of that day in UTC; a time is RFC 3339."""
    assert read_expiry(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2027-1-31",
        "2027-02-30",
        "31.01.2027",
        "2027-01-31T12:00:00",
        "2027-01-31T12:00:60Z",
        "2027-01-31T25:00:00Z",
        "２０２７-01-31",
        "9999-12-31T00:00:00+99:00",
    ],
)
def test_what_is_no_expiry_is_refused(text: str) -> None:
    """A time without its zone, too."""
    with pytest.raises(BadLine, match="expires is a date such as"):
        parse_line(f"{KEY} expires={text}")


def test_a_key_is_refused_from_its_expiry_on() -> None:
    """To the second, and not before."""
    text = f"{KEY} expires=2027-01-31"
    assert found(text, KEY, 1_801_439_999.9)
    assert not found(text, KEY, 1_801_440_000)


@pytest.mark.parametrize(
    "bad",
    [
        "fwd_short",
        "fwd_" + "k" * 21,
        "sk-" + "k" * 48,
        "sha256:" + "0" * 63,
        "sha256:",
        f"{KEY} web",
        f"{KEY} name=",
        f"{KEY} name=a=b",
        f"{KEY} name={'n' * 65}",
        f"{KEY} name=a name=b",
        f"{KEY} expires=",
        f"{KEY} expires=tomorrow",
        f"{KEY} model=gpt-*",
        f"{KEY}{OTHER[:4]}é",
    ],
)
def test_a_bad_line_is_skipped_with_an_alert_that_names_its_number(bad: str) -> None:
    """Contract D8, S25; nothing of the line is quoted, for it may be a key with a slip in it."""
    parsed = parse(f"# one\n{bad}\n{OTHER}\n".encode())
    (alert,) = parsed.alerts
    assert alert.startswith("line 2 is skipped: ")
    assert KEY[4:] not in alert
    assert bad[7:] not in alert or bad == "sha256:"
    assert (len(parsed.keys), parsed.keys.find(KEY, NOW)) == (1, None)


def test_bytes_that_are_no_text_are_a_bad_line() -> None:
    """And only that line."""
    parsed = parse(b"\xff\xfe\x00\n" + KEY.encode())
    assert parsed.alerts == ("line 1 is skipped: it is not UTF-8",)
    assert len(parsed.keys) == 1


def test_of_two_lines_with_one_key_the_first_counts() -> None:
    """In clear or as a digest, it is the same key."""
    parsed = parse(f"{KEY} name=a\n\nsha256:{digest_of(KEY)} name=b\n".encode())
    assert parsed.alerts == ("line 3 is skipped: the same key is already in line 1",)
    assert [entry.name for entry in parsed.keys.entries.values()] == ["a"]


def test_a_file_cut_anywhere_allows_nothing_but_its_keys_and_their_beginnings() -> None:
    """A half-written digest is a bad line; a half-written key is one of 128 bits and more, or a bad line (D8, S25)."""
    whole = f"{KEY} name=web expires=2027-01-31\nsha256:{digest_of(OTHER)}\n".encode()
    beginnings = [KEY[:length] for length in range(26, len(KEY) + 1)]
    for cut in range(len(whole) + 1):
        entries = parse(whole[:cut]).keys.entries.values()
        assert {entry.digest for entry in entries} <= {keyset.fingerprint(key) for key in (*beginnings, OTHER)}


@given(st.binary(max_size=400))
def test_no_bytes_break_the_parser(data: bytes) -> None:
    """Every line is a key, a comment, blank, or named in an alert."""
    parsed = parse(data)
    assert len(parsed.keys) + len(parsed.alerts) <= data.count(b"\n") + 1


@given(
    st.integers(16, 256),
    st.from_regex(r"[A-Za-z0-9._-]{0,64}", fullmatch=True),
    st.dates().map(str) | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z") | st.just(""),
)
def test_a_line_is_read_as_it_was_written(length: int, name: str, expires: str) -> None:
    """For keys of every length, with and without options."""
    key = f"fwd_{secrets.token_urlsafe(length)}"
    entry = parse_line(keyset.line(key, name=name, expires=expires))
    assert entry is not None
    assert entry.digest == keyset.fingerprint(key)
    assert entry.name == name
    assert entry.expires == (read_expiry(expires) if expires else math.inf)


@pytest.mark.parametrize(
    ("key", "name", "expires"),
    [
        ("fwd_short", "", ""),
        (KEY, "a b", ""),
        (KEY, "a\nb", ""),
        (KEY, "", "soon"),
        (f"{KEY}\n{OTHER}", "", ""),
        (f"#{KEY}", "", ""),
        (KEY, "#", ""),
        ("", "", ""),
    ],
)
def test_a_line_that_could_not_be_read_again_is_not_made(key: str, name: str, expires: str) -> None:
    """So nothing but one key gets into the file."""
    with pytest.raises(BadLine):
        keyset.line(key, name=name, expires=expires)


def test_an_admin_key_is_no_users_key_even_as_a_digest() -> None:
    """Contract T32: in clear its line is skipped; a digest tells nothing, so the key itself is refused."""
    key = f"fwd_adm_{'a' * 43}"
    (hardened, count) = keyset.hardened(f"{key} name=boss\n".encode())
    found = parse(hardened)
    assert (count, len(found.keys), found.alerts) == (1, 1, ())
    assert found.keys.find(key, NOW) is None


def test_keys_that_begin_alike_are_two() -> None:
    """S4: what is looked up is the whole SHA-256 digest, never a beginning of the key or of the digest."""
    ours, other = f"fwd_{'k' * 60}a", f"fwd_{'k' * 60}b"
    found = parse(f"{ours} name=web\n".encode()).keys
    assert (found.find(other, NOW), [len(digest) for digest in found.entries]) == (None, [32])


def test_any_text_may_be_presented() -> None:
    """A header may hold anything; a lone surrogate is no reason to fail."""
    assert KeySet().find("\ud800é\x00", NOW) is None


def test_no_digest_and_no_key_is_in_the_text_of_a_key_set() -> None:
    """Contract S9, T16."""
    keys = parse(f"{KEY}\n".encode()).keys
    assert KEY not in repr(keys)
    assert digest_of(KEY) not in repr([*keys.entries.values()])
    assert repr(keyset.fingerprint(KEY)) not in repr(keys)


def test_a_file_is_listed_without_its_keys() -> None:
    """Digests and options for its owner; a line that is skipped says why, a comment is none."""
    text = (
        f"\ufeff# keys\n{KEY} name=web expires=2027-01-31\nsha256:{digest_of(OTHER)}\n{OTHER} nmae=x\nfwd_short\n\xff\n"
    )
    found = keyset.listed(text.encode("latin-1", "ignore"))
    assert [(line.id, line.line, line.hashed, line.name, bool(line.problem)) for line in found] == [
        (digest_of(KEY)[:8], 2, False, "web", False),
        (digest_of(OTHER)[:8], 3, True, "", False),
        (digest_of(OTHER)[:8], 4, False, "", True),
    ]
    assert KEY not in repr(found)


def test_a_revoked_key_is_gone_from_every_line() -> None:
    """In clear, as a digest and from a line that is skipped; the rest stays as it was, byte for byte."""
    lines = ["# all", f"{KEY} name=web", f"{OTHER}\r", f"sha256:{digest_of(KEY)}", f"{KEY} nmae=x", "", f"# {KEY}"]
    after, count = keyset.without("\n".join(lines).encode(), {keyset.fingerprint(KEY)})
    assert (after.decode(), count) == (f"# all\n{OTHER}\r\n\n# {KEY}", 3)


def test_a_hardened_file_holds_no_key() -> None:
    """T15: a grep for 1,000 issued keys finds none of them, and every one is still good."""
    keys = [f"fwd_{secrets.token_urlsafe(32)}" for _ in range(1_000)]
    text = "".join(f"{key} name=n{number}  # {key}\n" for number, key in enumerate(keys))
    after, count = keyset.hardened(f"#{KEY}\n{text}".encode())
    assert count == 2_001
    assert not any(key.encode() in after for key in [KEY, *keys])
    parsed = parse(after)
    assert parsed.alerts == ()
    assert [parsed.keys.find(key, NOW).name for key in keys] == [f"n{number}" for number in range(1_000)]  # type: ignore[union-attr]


def test_hardening_twice_changes_nothing_more() -> None:
    """What is no key stays: a name that looks like one, a longer word."""
    text = f"sha256:{digest_of(KEY)} name=fwd_{'n' * 43}\nx{KEY}\nfwd_{'k' * 1025}\n".encode()
    assert keyset.hardened(text) == (text, 0)
