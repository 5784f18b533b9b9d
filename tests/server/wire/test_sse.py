"""Server-sent events and lines from bytes."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd_server.wire.sse import LONGEST_LINE, Event, EventDecoder, LineDecoder, LineTooLong, encode_event


def events(*pieces: bytes, longest: int = 1 << 20) -> list[Event]:
    decoder = EventDecoder(longest)
    found = [event for piece in pieces for event in decoder.feed(piece)]
    return found + decoder.close()


def collect(decoder: EventDecoder, seen: list[Event], pieces: list[bytes]) -> None:
    for piece in pieces:
        seen += decoder.feed(piece)


def one_by_one(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


MIXED = (
    b'\xef\xbb\xbf: hello\r\n\r\ndata: {"a":"\xe2\x82\xac \xe2\x80\xa8 \xf0\x9f\x98\x80"}\n\n'
    b"event: error\rdata:x\rdata: y\r\rid: 7\nretry: 10\ndata\ndata: z\n\n"
    b"event\ndata: 1\r\n\r\nunknown: 1\n\ndata: last"
)
MIXED_EVENTS = [
    Event("", '{"a":"€ \u2028 😀"}'.encode()),
    Event("error", b"x\ny"),
    Event("", b"\nz"),
    Event("", b"1"),
    Event("", b"last"),
]


def test_every_cut_gives_the_same_events() -> None:
    """Contract T10: byte order mark, CR, LF, CRLF and split characters, cut anywhere."""
    assert events(MIXED) == MIXED_EVENTS
    for at in range(len(MIXED)):
        assert events(MIXED[:at], MIXED[at:]) == MIXED_EVENTS, at
    assert events(*one_by_one(MIXED)) == MIXED_EVENTS


def mixture(seed: int) -> bytes:
    """One of the streams that providers send, in their own line ends, or in all of them, with a byte wrong or not."""
    rand = random.Random(seed)
    ends = rand.choice(((b"\n",), (b"\r\n",), (b"\r",), (b"\n", b"\r\n", b"\r")))
    said = [
        b": ping",
        b'data: {"a":"\xe2\x82\xac\xf0\x9f\x98\x80"}',
        b"event: error",
        b"data: [DONE]",
        b"junk",
        b"",
        b"data",
    ]
    lines = [rand.choice(said) for _ in range(rand.randint(3, 9))]
    data = b"".join(line + rand.choice(ends) for line in (*lines, b"")) + rand.choice((b"", b"data: last"))
    wrong = rand.randrange(len(data))
    data = (
        data if rand.random() < 0.7 else data[:wrong] + rand.choice((b"\xff", b"\x00", b"\xed\xa0\x80")) + data[wrong:]
    )
    return rand.choice((b"", b"\xef\xbb\xbf")) + data


def test_every_cut_of_200_streams() -> None:
    """Contract T10: 200 streams, every position: 0 differences, 0 crashes, whatever is wrong with them."""
    streams = [mixture(seed) for seed in range(200)]
    assert len(set(streams)) == 200
    for data in streams:
        whole = events(data)
        assert all(events(data[:at], data[at:]) == whole for at in range(len(data))), data


@given(
    st.lists(st.sampled_from([b"data: a", b"data:", b"\r", b"\n", b"\r\n", b":", b"event: e", b"\xef\xbb\xbf", b"b"]))
)
def test_a_stream_means_the_same_whole_and_in_single_bytes(parts: list[bytes]) -> None:
    """Contract T10, for every mixture of what gives the format its shape."""
    data = b"".join(parts)
    assert events(data) == events(*one_by_one(data))


@given(st.lists(st.tuples(st.sampled_from(["", "error", "ping"]), st.text(min_size=1))), st.integers(1, 50))
def test_what_is_encoded_is_decoded(sent: list[tuple[str, str]], size: int) -> None:
    """Encoding is the inverse of decoding but for the line ends inside the data."""
    data = b"".join(encode_event(text.encode(), name) for name, text in sent)
    normal = [Event(n, t.replace("\r\n", "\n").replace("\r", "\n").encode()) for n, t in sent]
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    assert events(*pieces) == [e for e in normal if e.data]


def test_an_event_is_given_as_soon_as_its_blank_line_is_there() -> None:
    """Nothing waits for the byte after a CR."""
    assert EventDecoder().feed(b"data: a\r\r") == [Event("", b"a")]


def test_a_comment_is_no_event() -> None:
    """Contract 3a: keep-alives of the provider are swallowed."""
    assert EventDecoder().feed(b": PROCESSING\n\n: PROCESSING\n\n") == []


def test_an_event_without_data_is_none() -> None:
    """An empty event says nothing, on the fast path too."""
    assert events(b"data: \n\n", b"event: ping\n\n", b"data: a\n\n") == [Event("", b"a")]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
@pytest.mark.parametrize("text", [b"a", b"data: ", b"\xe2\x80\xa8", b"a b"])
def test_whole_events_one_by_one(text: bytes, end: bytes) -> None:
    """The fast path and what follows it."""
    piece = b"data: " + text + end
    assert events(piece, piece, piece) == [Event("", text)] * 3
    assert events(piece, b"data: b\ndata: c\n\n", piece) == [Event("", text), Event("", b"b\nc"), Event("", text)]


@pytest.mark.parametrize("line", [b": no", b"id: 7", b"retry: 10", b"other: 1", b"dat: 1", b"events: 1"])
def test_other_lines_leave_an_event_alone(line: bytes) -> None:
    """Inside it too."""
    assert events(b"data: a\n" + line + b"\ndata: b\n" + line + b"\n\n") == [Event("", b"a\nb")]


@pytest.mark.parametrize(
    ("first", "event"),
    [
        (b"event: e\n", Event("e", b"a")),
        (b"event:e\n", Event("e", b"a")),
        (b"data: b\n", Event("", b"b\na")),
        (b"data:b\n", Event("", b"b\na")),
        (b": no\r", Event("", b"a")),
        (b"", Event("", b"a")),
    ],
)
def test_an_event_goes_on_in_the_next_piece(first: bytes, event: Event) -> None:
    """What looks like a whole event is none while another one is open."""
    assert events(b"data: x\n\n", first, b"data: a\n\n") == [Event("", b"x"), event]


def test_one_piece_may_have_more_than_one_line() -> None:
    """Whatever ends its lines; and a name that is no text is still a name."""
    piece = b"data: a\rdata: b\n\n"
    assert events(piece, piece) == [Event("", b"a\nb")] * 2
    assert events(b"event: \xff\ndata: a\n\n") == [Event("\ufffd", b"a")]


def test_a_line_goes_on_in_the_next_piece() -> None:
    assert events(b"data: x\n\n", b"no", b"data: a\n\n", b"data: b\n\n") == [Event("", b"x"), Event("", b"b")]


@pytest.mark.parametrize("at", range(4))
def test_a_byte_order_mark_is_no_part_of_the_first_line(at: int) -> None:
    stream = b"\xef\xbb\xbfdata: a\n\n"
    assert events(stream[:at], stream[at:]) == [Event("", b"a")]
    assert events(stream[1:]) == []


@pytest.mark.parametrize("step", [1 << 16, LONGEST_LINE + 1])
def test_a_line_is_as_long_as_an_answer(step: int) -> None:
    """Contract T9: it is gathered once, and nothing of it is kept when it is over."""
    data = b"a" * LONGEST_LINE + b"\n"
    lines = LineDecoder()
    assert [len(line) for at in range(0, len(data), step) for line in lines.feed(data[at : at + step])] == [
        LONGEST_LINE
    ]
    assert not lines
    with pytest.raises(LineTooLong):
        lines.feed(b"a" * (LONGEST_LINE + 1))


def test_a_line_in_pieces_takes_no_more_memory_than_twice_its_length() -> None:
    """Contract T9: the line, and once more what was gathered of it."""
    lines, length = LineDecoder(), 8 << 20
    tracemalloc.start()
    try:
        for _ in range(length >> 16):
            lines.feed(b"a" * (1 << 16))
        (line,) = lines.feed(b"\n")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(line) == length
    assert peak < 2.3 * length


def test_a_field_without_colon_is_empty() -> None:
    """A data line more, and a name taken back."""
    assert events(b"event: x\nevent\ndata: a\ndata\n\n") == [Event("", b"a\n")]


@pytest.mark.parametrize("pieces", [(b"data: " + b"a" * 11,), (b"data: aaaaaa", b"aaaaa"), (b"data: a\n" * 9,)])
def test_a_long_line_is_refused(pieces: tuple[bytes, ...]) -> None:
    """Contract T9, F26: neither one line nor one event grows without end."""
    with pytest.raises(LineTooLong):
        events(*pieces, longest=16)


@pytest.mark.parametrize("size", [1, 5, 100])
def test_events_before_a_long_line_are_given_first(size: int) -> None:
    """Contract F26, T10: where the bytes are cut does not decide what is seen before the failure."""
    data = b"data: a\n\ndata: " + b"b" * 20 + b"\n\n"
    seen: list[Event] = []
    with pytest.raises(LineTooLong):
        collect(EventDecoder(16), seen, [data[i : i + size] for i in range(0, len(data) + size, size)])
    assert seen == [Event("", b"a")]


def test_too_much_data_after_an_event_is_refused_later() -> None:
    """The events of the same piece are given first, then the failure, also at the end."""
    decoder = EventDecoder(16)
    assert decoder.feed(b"data: a\n\n" + b"data: b\n" * 9) == [Event("", b"a")]
    with pytest.raises(LineTooLong):
        decoder.close()


def test_nothing_is_taken_after_a_long_line() -> None:
    """Contract F26: not even a whole event, in a piece of its own, after a line that was given in one with others."""
    decoder = EventDecoder(16)
    assert decoder.feed(b"data: a\n\n" + b"b" * 20 + b"\n\n") == [Event("", b"a")]
    with pytest.raises(LineTooLong):
        decoder.feed(b"data: c\n\n")


def test_a_line_of_exactly_the_limit_passes() -> None:
    """The limit is inclusive, whole or in pieces."""
    data = b"data: " + b"a" * 10 + b"\n\n"
    assert events(data, longest=16) == events(data[:3], data[3:], longest=16) == [Event("", b"a" * 10)]


def test_the_data_of_an_event_is_as_long_as_the_limit_at_most() -> None:
    """Its lines with their ends, counted anew for every event."""
    most = b"data: 1234567\ndata: 1234567\n\n"
    assert len(events(most, most, longest=16)) == 2
    with pytest.raises(LineTooLong):
        events(b"data: 1234567\ndata: 12345678\n\n", longest=16)


def lines(*pieces: bytes) -> list[bytes]:
    splitter = LineDecoder(8)
    found = [line for piece in pieces for line in splitter.feed(piece)]
    return found + splitter.close()


def test_lines_of_json() -> None:
    """The last line needs no end."""
    data = b'{"a":1}\r\n\n"\xe2\x80\xa8"\rx'
    assert lines(data) == lines(*one_by_one(data)) == [b'{"a":1}', b"", b'"\xe2\x80\xa8"', b"x"]
    assert lines(b"\n1") == [b"", b"1"]


def test_a_long_line_of_json_is_refused_after_the_ones_before_it() -> None:
    """Contract F26."""
    splitter = LineDecoder(8)
    assert splitter.feed(b"1\n" + b"2" * 9) == [b"1"]
    with pytest.raises(LineTooLong):
        splitter.feed(b"\n")
    with pytest.raises(LineTooLong):
        splitter.close()


def test_an_event_has_a_name_only_if_given() -> None:
    """The frame of a chat chunk is one unnamed line."""
    assert encode_event(b"{}") == b"data: {}\n\n"
    assert encode_event(b"a\nb", "error") == b"event: error\ndata: a\ndata: b\n\n"
