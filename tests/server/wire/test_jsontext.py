"""One strict reader for callers' JSON."""

from __future__ import annotations

import orjson
import pytest

from fwd_server.values.errors import BadRequest
from fwd_server.wire.jsontext import MOST_DEPTH, WRITABLE_DEPTH, loads, parse_object


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

    assert parse_object(nested(MOST_DEPTH))
    with pytest.raises(BadRequest, match="deeper than 64"):
        parse_object(nested(MOST_DEPTH + 1))


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
    with pytest.raises(orjson.JSONDecodeError, match="deeper than 128"):
        loads(nested(WRITABLE_DEPTH + 1))
