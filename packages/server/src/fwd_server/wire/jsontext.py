"""The one reader and the one writer of JSON that travels: what is only passed on arrives as it was.

``parse_object`` reads what callers send, strictly (contract L5, L6, T5): everything that decides (keys, routing,
forwarding) reads the same object, so two readers can never disagree about what a body says. ``loads`` reads what
providers send, and ``dumps`` writes for both.

Integers of any length keep their digits. orjson reads those beyond 64 bits as floats and refuses to write them;
msgspec does neither, and accepts the same documents (compared over 600,000 mutated ones), so it does the reading.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn, cast

import msgspec
import orjson

from fwd_server.values.errors import BadRequest

# Deeper than any real call; recursion in a codec must end long before Python's limit.
MAX_DEPTH: Final = 64
# orjson writes 254 levels; half of those leave room for what we put around a value.
WRITABLE_DEPTH: Final = 128
# Fields that decide about routing or money: if one is repeated, the call is refused. All parsers keep the last of two
# equal names, but what the caller meant by the first is anybody's guess.
_ONCE: Final = ("model", "stream", "max_tokens", "max_completion_tokens")
_QUOTED: Final = tuple((name, f'"{name}"'.encode()) for name in _ONCE)
# One decoder for all: making one costs more than reading a short body.
_DECODER: Final = msgspec.json.Decoder()
_BOM: Final = b"\xef\xbb\xbf"
# Python converts no more digits than this, because the conversion takes quadratic time.
_MOST_DIGITS: Final = 4300
_HALF: Final = re.compile("[\ud800-\udfff]")
_ESCAPED_HALF: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class LongInteger:
    """An integer with more than 4,300 digits: nobody counts with it, it is only passed on.

    Not an attrs class: msgspec would write one as an object, without asking how.
    """

    __slots__ = ("digits",)

    def __init__(self, digits: str) -> None:
        self.digits = digits

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LongInteger) and self.digits == other.digits

    def __hash__(self) -> int:
        return hash(self.digits)


def parse_object(body: bytes) -> dict[str, Any]:
    """Read a caller's JSON object. Raises BadRequest that says what was found and where."""
    body = skip_byte_order_mark(body)
    value = _load_callers(body)
    if not isinstance(value, dict):
        raise BadRequest(f"The body must be a JSON object, not {_describe_type(value)}.")
    # Counting bytes is fast and never too low, so the slow walk is needed for few documents.
    if _count_brackets(body) > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise BadRequest(f"The body is nested more than {MAX_DEPTH} levels deep.")
    if any(name in value and body.count(quoted) > 1 for name, quoted in _QUOTED):
        _refuse_repeated(body)
    return cast("dict[str, Any]", value)


def loads(written: bytes | str, *, keep_halves: bool = False) -> Any:
    """Read JSON that can be written again. Raises orjson.JSONDecodeError, for more than 128 levels too (F20, F27).

    A character escaped as two halves (``\\ud83d\\ude00``) of which one is missing becomes U+FFFD, because some servers
    cut answers between the two. With ``keep_halves`` it stays, for a stream in which the other half may follow.
    """
    data = skip_byte_order_mark(written.encode("utf-8", "surrogatepass") if isinstance(written, str) else written)
    try:
        value = _decode_json(data)
    except orjson.JSONDecodeError:
        if not _ESCAPED_HALF.search(data):
            raise
        value = _decode_in_python(data)
        value = value if keep_halves else replace_halves(value)
    if _count_brackets(data) > WRITABLE_DEPTH and _deeper_than(value, WRITABLE_DEPTH):
        raise _decode_error(f"nested more than {WRITABLE_DEPTH} levels deep")
    return value


def dumps(value: object) -> bytes:
    """Write compact JSON in UTF-8. Integers keep their digits, and a half of a character becomes U+FFFD.

    Raises TypeError for what JSON does not know.
    """
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer of more than 64 bits, or half a character: both are rare
        return msgspec.json.encode(replace_halves(value), enc_hook=_write_integer)


def skip_byte_order_mark(data: bytes) -> bytes:
    """A JSON text may begin with one, which says nothing: https://www.rfc-editor.org/rfc/rfc8259#section-8.1."""
    return data.removeprefix(_BOM)


def is_plain(data: bytes) -> bool:
    """Whether the bytes of a document that ``loads`` read may go out as they are: no mark, and no escaped halves."""
    return not (data.startswith(_BOM) or b"\\ud" in data or b"\\uD" in data)


def join_halves(text: str) -> str:
    """``text`` with halves that belong together as one character, and U+FFFD for each half that stays alone."""
    if not _HALF.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def replace_halves(value: Any) -> Any:
    """The same at any depth of a value, in names too."""
    if isinstance(value, str):
        return join_halves(value)
    if isinstance(value, dict):
        return {replace_halves(name): replace_halves(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [replace_halves(item) for item in value]
    return value


def _load_callers(body: bytes) -> Any:
    if not body:
        raise BadRequest("The body is empty; it must be a JSON object.")
    try:
        return _decode_json(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(
            f"The body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from None


def _decode_json(data: bytes) -> Any:
    try:
        return _DECODER.decode(data)
    except msgspec.ValidationError:  # a number: too many digits, or beyond a double
        return _decode_in_python(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        orjson.loads(data)  # fails too, and says in which line and column
        raise _decode_error(str(error)) from None  # only the depth: orjson takes 1,024 levels


def _decode_in_python(data: bytes) -> Any:
    """The slow reader, for what the fast one cannot hold: very long integers and halves of characters."""
    try:
        return json.loads(
            data.decode(), parse_int=_read_integer, parse_float=_read_float, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        raise orjson.JSONDecodeError(error.msg, error.doc, error.pos) from None
    except (ValueError, RecursionError) as error:
        orjson.loads(data)  # says where, if it refuses the same
        raise _decode_error(str(error)) from None


def _read_integer(digits: str) -> int | LongInteger:
    return int(digits) if len(digits) <= _MOST_DIGITS else LongInteger(digits)


def _read_float(written: str) -> float:
    value = float(written)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number is outside the range of a double")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _write_integer(value: object) -> msgspec.Raw:
    if isinstance(value, LongInteger):
        return msgspec.Raw(value.digits.encode())
    raise TypeError(f"Type is not JSON serializable: {type(value).__name__}")


def _decode_error(reason: str) -> orjson.JSONDecodeError:
    return orjson.JSONDecodeError(reason, "", 0)


def _describe_type(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _count_brackets(written: bytes) -> int:
    """At least as many as there are levels: a quick look that spares the long one."""
    return written.count(b"{") + written.count(b"[")


def _deeper_than(value: object, levels: int) -> bool:
    # Level by level instead of by recursion, which a document could make as deep as it likes.
    nodes: list[Any] = [value]
    for _ in range(levels):
        nodes = [
            child
            for node in nodes
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not nodes:
            return False
    return True


def _refuse_repeated(body: bytes) -> None:
    # The hook runs for every object, the outermost last: only its pairs count.
    pairs: list[tuple[str, Any]] = []

    def keep(found: list[tuple[str, Any]]) -> None:
        nonlocal pairs
        pairs = found

    json.loads(body, object_pairs_hook=keep, parse_int=str, parse_float=str)
    names = [name for name, _ in pairs]
    for name in _ONCE:
        if names.count(name) > 1:
            raise BadRequest(f"'{name}' is given more than once.", param=name)
