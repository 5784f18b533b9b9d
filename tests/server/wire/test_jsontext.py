"""One reader and one writer for the JSON that travels."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd_server.values.errors import BadRequest
from fwd_server.wire.jsontext import (
    MAX_DEPTH,
    WRITABLE_DEPTH,
    LongInteger,
    dumps,
    is_plain,
    loads,
    parse_object,
    replace_halves,
)

BOM = "\ufeff".encode()
scalars = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(scalars, inner, max_size=4),
)


def test_an_object_is_read_as_it_is() -> None:
    """Unknown fields, at any depth, are there."""
    assert parse_object(b'{"a":{"b":[1,{"c":null}]},"x":1.5}') == {"a": {"b": [1, {"c": None}]}, "x": 1.5}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b"{", r"line 1, column 2"),
        (b'{\n "a": tru}', "line 2"),
        (b"[1]", "an array"),
        (b'"x"', "a string"),
        (b"true", "a boolean"),
        (b"null", "null"),
        (b"12", "a number"),
        (b'{"a":NaN}', "not valid JSON"),
        (b'{"a":1e999}', "not valid JSON"),
        (b'{"a":"\\ud800"}', "not valid JSON"),
        (b'{"a":"\xff"}', "not valid JSON"),
    ],
)
def test_what_is_no_object_says_what_it_is(body: bytes, said: str) -> None:
    """L6, T5: strict, and clear about it."""
    with pytest.raises(BadRequest, match=said) as caught:
        parse_object(body)
    assert caught.value.status == 400


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_ends_at_the_limit(opening: bytes, closing: bytes) -> None:
    """L5: 64 levels are allowed, 65 are not."""

    def nested(levels: int) -> bytes:
        return b'{"x":' + opening * (levels - 1) + b"1" + closing * (levels - 1) + b"}"

    assert parse_object(nested(MAX_DEPTH))
    with pytest.raises(BadRequest, match="more than 64 levels"):
        parse_object(nested(MAX_DEPTH + 1))


def test_many_brackets_side_by_side_are_not_deep() -> None:
    """L5: width is not depth."""
    assert len(parse_object(b'{"x":[' + b",".join([b"{}"] * 200) + b"]}")["x"]) == 200


@pytest.mark.parametrize("name", ["model", "stream", "max_tokens", "max_completion_tokens"])
def test_a_name_that_decides_is_given_once(name: str) -> None:
    """L6: two of them, and two readers could disagree."""
    with pytest.raises(BadRequest, match="more than once") as caught:
        parse_object(f'{{"{name}":1,"a":{{}},"{name}":2}}'.encode())
    assert caught.value.param == name


def test_the_same_name_deeper_down_is_no_repetition() -> None:
    """L6: only the top level decides."""
    body = b'{"tools":[{"model":"a"},{"model":"b"}],"model":"c"}'
    assert parse_object(body)["model"] == "c"


@pytest.mark.parametrize("written", [b'{"a":[[1]]}', '{"a":[[1]]}', b'"[[[["', "5"])
def test_what_others_wrote_is_read_as_it_is(written: bytes | str) -> None:
    assert loads(written) == orjson.loads(written)


@pytest.mark.parametrize("as_text", [True, False])
def test_what_could_not_be_written_again_is_no_json(as_text: bool) -> None:
    """L5, F20: orjson reads more levels than it writes."""

    def nested(levels: int) -> bytes | str:
        written = b"[" * levels + b"]" * levels
        return written.decode() if as_text else written

    assert orjson.dumps(loads(nested(WRITABLE_DEPTH)))
    with pytest.raises(orjson.JSONDecodeError, match="more than 128 levels"):
        loads(nested(WRITABLE_DEPTH + 1))


@given(value=values)
def test_what_is_written_is_what_was_read(value: Any) -> None:
    """Law 4: integers of any length, doubles and every Unicode scalar survive, written by us or by Python."""
    assert loads(dumps(value)) == value
    assert loads(json.dumps(value)) == value
    assert loads(json.dumps(value, ensure_ascii=False)) == value
    assert parse_object(dumps({"x": value}))["x"] == value


@given(
    digits=st.one_of(
        st.integers(2**63 - 2, 2**64 + 2).map(str),
        st.integers(10**19, 10**40).map(str),
        st.integers(4290, 4400).map(lambda length: "7" * length),
    ),
    sign=st.sampled_from(["", "-"]),
    as_text=st.booleans(),
)
def test_an_integer_keeps_its_digits(digits: str, sign: str, as_text: bool) -> None:
    """Around each limit: 64 bits with and without a sign, and the 4,300 digits that Python converts."""
    written = f'{{"a":[{sign}{digits},"x"],"b":1.5}}'
    assert dumps(loads(written if as_text else written.encode())).decode() == written
    assert dumps(parse_object(written.encode())).decode() == written


def test_a_very_long_integer_is_no_number_to_count_with() -> None:
    """Converting it would take quadratic time."""
    assert loads(b"1" + b"0" * 5000) == LongInteger("1" + "0" * 5000)
    with pytest.raises(BadRequest, match="infinity"):
        parse_object(b'{"a":' + b"1" * 5000 + b',"b":1e999}')


@pytest.mark.parametrize("bad", [b"NaN", b"Infinity", b"1e999", b"[1,]", b"'x'", b'"\x00"'])
def test_the_slow_reader_is_as_strict(bad: bytes) -> None:
    """F20: half a character elsewhere does not open the door for what is not JSON."""
    with pytest.raises(orjson.JSONDecodeError):
        loads(b'["\\ud83d",' + bad + b"]")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r'"\ud83d"', "\ufffd"),
        (r'"\uDE00a"', "\ufffda"),
        (r'"a\ud83db"', "a\ufffdb"),
        (r'"\ude00\ud83d"', "\ufffd\ufffd"),
        (r'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (r'{"\ud83d":[["\ude00"]]}', {"\ufffd": [["\ufffd"]]}),
    ],
)
def test_half_a_character_is_replaced(written: str, read: Any) -> None:
    """It can be read and written; its bytes cannot be passed on. With ``keep_halves`` the other half may follow."""
    assert loads(written) == read
    assert replace_halves(loads(written, keep_halves=True)) == read
    assert loads(dumps(loads(written, keep_halves=True))) == read
    assert not is_plain(written.encode())


@pytest.mark.parametrize("written", [b'{"a":1}', b'{"a":18446744073709551616}', rb'{"a":"\ud83d"}'])
def test_a_byte_order_mark_is_skipped_once(written: bytes) -> None:
    """https://www.rfc-editor.org/rfc/rfc8259#section-8.1; a second one is not JSON."""
    assert loads(BOM + written) == loads(written) == loads((BOM + written).decode())
    assert not is_plain(BOM + written)
    with pytest.raises(orjson.JSONDecodeError):
        loads(BOM + BOM + written)
    assert parse_object(BOM + b'{"a":"\xef\xbb\xbf"}') == {"a": "\ufeff"}


def test_what_json_does_not_know_is_not_written() -> None:
    with pytest.raises(TypeError, match="object"):
        dumps({"a": object(), "b": 2**70})
