"""Contract 3c as data: what a provider does to a call, and what its caller must see of that.

A fault has four cells: a JSON answer without and with fallback, a stream without and with fallback. None stands for
a cell that cannot be. ``play`` gives the steps of a provider for one request, in its own language.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from email.utils import formatdate
from typing import Any, Final

from attrs import evolve, frozen
from kit.dialects import PROVIDERS, Dialect
from kit.fakeup import CLOSE, RESET, WAIT_FOR_CLOSE, Seen, piece
from kit.loopup import HALF_CLOSE, READ_ALL, Step

from fwd_server.wire.sse import LONGEST_LINE

BODY_LIMIT: Final = 4 << 20  # of an answer, in these tests: the gateway's own is 64 MiB
CONNECT_S: Final = 5.0
IDLE_S: Final = 60.0
TOTAL_S: Final = 600.0
STREAM_S: Final = 1800.0
SILENCE_S: Final = 20.0  # longer than the 15 s after which a keep-alive comment goes out


@frozen
class Fails:
    """A status of its own. ``retry_after`` is a range of whole seconds."""

    status: int
    code: str | None
    tries: int = 1
    retry_after: tuple[int, int] | None = None
    should_retry: bool | None = None
    attempts: tuple[tuple[str, int | None, str], ...] | None = None  # provider, status and code, where they differ

    def __str__(self) -> str:
        return f"{self.status} `{self.code}`" if self.code else str(self.status)


@frozen
class Breaks:
    """A stream that ends with an error event (G5), after ``text`` was said ("partial") or nothing ("")."""

    code: str
    text: str = "partial"
    tries: int = 1
    attempts: tuple[tuple[str, int | None, str], ...] | None = None

    def __str__(self) -> str:
        return f"EV(`{self.code}`)"


@frozen
class Answers:
    """An answer with 200: the provider's own, or that of the fallback. ``text`` names what it says."""

    by: str = "own"
    text: str = "text"
    finish: str = "stop"
    tries: int = 1

    def __str__(self) -> str:
        return "B" if self.by == "spare" else "its own answer"


Outcome = Fails | Breaks | Answers | None
Cells = tuple[Outcome, Outcome, Outcome, Outcome]
Seconds = tuple[float, float, float, float]
Play = Callable[[Dialect, bool, Seen], Iterable[Step]]
B: Final = Answers("spare", tries=2)


def before(status: int, code: str | None, **more: Any) -> Cells:
    """A failure that comes before the commit, whatever was asked for: another provider answers."""
    fails = Fails(status, code, **more)
    return (fails, B, fails, B)


def final(status: int, code: str | None) -> Cells:
    """A failure that ends the call, fallback or not."""
    fails = Fails(status, code)
    return (fails, fails, fails, fails)


def after(code: str, whole: Cells | None = None) -> Cells:
    """A stream that breaks once it has committed; ``whole`` says what the same is to a JSON answer."""
    json_cells = whole[:2] if whole else (None, None)
    return (*json_cells, Breaks(code), Breaks(code))


def only_streams(cells: Cells) -> Cells:
    """The cells of streams."""
    return (None, None, *cells[2:])


def only_json(cells: Cells) -> Cells:
    """The cells of JSON answers."""
    return (*cells[:2], None, None)


@frozen
class Fault:
    """One way to fail. ``stage`` is where it plays; ``seconds`` is how long each cell takes, where that is said.

    ``why`` says to whoever reads the table why the providers that are left out are.
    """

    row: str
    name: str
    cells: Callable[[Dialect], Cells]
    play: Play = lambda dialect, stream, seen: ()
    stage: str = "main"
    seconds: Callable[[Dialect], Seconds] | None = None
    providers: tuple[str, ...] = PROVIDERS
    requests: int | None = None  # that the provider sees; as many as it is tried where it is not said
    silent: int = 0  # retries nobody is told of (F6)
    why: str = ""

    @property
    def id(self) -> str:
        return f"{self.row}-{self.name}"


# -- bytes


def whole(body: bytes, status: int = 200, media: str = "application/json", **headers: str) -> bytes:
    """A whole answer, and the end of the connection."""
    lines = [f"HTTP/1.1 {status} X", f"content-type: {media}", f"content-length: {len(body)}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def begun(dialect: Dialect) -> bytes:
    """The head of a stream."""
    lines = f"content-type: {dialect.media}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\n" + lines.encode()


END: Final = b"0\r\n\r\n"


def pieces(frames: Iterable[bytes]) -> list[Step]:
    """Frames as pieces of a chunked body."""
    return [piece(frame) for frame in frames]


def good(dialect: Dialect, stream: bool) -> list[Step]:
    """What a provider says when nothing is wrong."""
    return [begun(dialect), *pieces(dialect.stream), END] if stream else [whole(dialect.answer)]


# -- plays


def error(status: int, **headers: str) -> Play:
    """An error in the provider's own words."""

    def play(dialect: Dialect, stream: bool, seen: Seen) -> list[Step]:
        return [whole(dialect.failure(status), status, **headers)]

    return play


def says(*steps: Step) -> Play:
    """The same steps, whatever was asked."""
    return lambda dialect, stream, seen: steps


def body(data: bytes, media: str = "application/json", **headers: str) -> Play:
    """An answer with 200 and this body."""
    return says(whole(data, media=media, **headers))


def opened(*steps: Step) -> Play:
    """Streams: the frames before the content, then these steps. JSON: the head, then these steps."""

    def play(dialect: Dialect, stream: bool, seen: Seen) -> list[Step]:
        if stream:
            return [begun(dialect), *pieces(dialect.opening), *steps]
        return [whole(dialect.answer)[: -len(dialect.answer)], *steps]

    return play


def halfway(*steps: Step) -> Play:
    """Streams: some content, then these steps. JSON: half an answer, then these steps."""

    def play(dialect: Dialect, stream: bool, seen: Seen) -> list[Step]:
        if stream:
            return [begun(dialect), *pieces((*dialect.opening, *dialect.content)), *steps]
        return [whole(dialect.answer)[: -len(dialect.answer) // 2], *steps]

    return play


def framed(data: bytes, *, committed: bool) -> Play:
    """A stream with ``data`` as a frame of it, before or after its content."""

    def play(dialect: Dialect, stream: bool, seen: Seen) -> list[Step]:
        said = (*dialect.opening, *dialect.content) if committed else dialect.opening
        return [begun(dialect), *pieces((*said, dialect.frame(data))), *pieces(dialect.ending), END]

    return play


def long_line(*, committed: bool) -> Play:
    """A stream with a frame longer than any; made when it is played, for it is 64 MiB."""

    def play(dialect: Dialect, stream: bool, seen: Seen) -> Iterable[Step]:
        return framed(b'"' + b"x" * (LONGEST_LINE + 4096), committed=committed)(dialect, stream, seen)

    return play


def inside(name: str, *, committed: bool = False) -> Play:
    """An error object inside a 200."""

    def play(dialect: Dialect, stream: bool, seen: Seen) -> Iterable[Step]:
        failure = dialect.inside[name].body
        return framed(failure, committed=committed)(dialect, stream, seen) if stream else [whole(failure)]

    return play


def out_of_money(dialect: Dialect, stream: bool, seen: Seen) -> list[Step]:
    status, said = dialect.out_of_money
    return [whole(json.dumps(said).encode(), status)]


def no_context(dialect: Dialect, stream: bool, seen: Seen) -> list[Step]:
    return [whole(json.dumps(dialect.no_context).encode(), 400)]


def limited(dialect: Dialect, stream: bool, seen: Seen) -> list[Step]:
    headers, said = dialect.limited
    kept = {name: value for name, value in headers.items() if name != "content-type"}
    return [whole(json.dumps(said).encode(), 429, **kept)]


def limited_until(dialect: Dialect, stream: bool, seen: Seen) -> list[Step]:
    now = time.time()
    dates = {"date": formatdate(now, usegmt=True), "retry_after": formatdate(now + 30, usegmt=True)}
    return [whole(dialect.failure(429), 429, **dates)]


def endless(dialect: Dialect, stream: bool, seen: Seen) -> Iterable[Step]:
    """More and more, slowly."""
    if stream:
        more: Iterable[Step] = [*pieces(dialect.content[-1:]), 30.0]
        return itertools.chain([begun(dialect), *pieces(dialect.opening)], itertools.cycle(more))
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    return itertools.chain([head], itertools.cycle([piece(b" "), 30.0]))


def pings(dialect: Dialect, stream: bool, seen: Seen) -> Iterable[Step]:
    """Nothing but signs of life."""
    ping = b"\n" if dialect.media == "application/x-ndjson" else b": ping\n\n"
    return itertools.chain([begun(dialect)], itertools.cycle([piece(ping), 10.0]))


def huge(dialect: Dialect, stream: bool, seen: Seen) -> Iterable[Step]:
    """More than is taken, fast."""
    if stream:
        long = re.sub(rb'"(content|text)":"[^"]*"', rb'"\1":"%b"' % (b"x" * 65536), dialect.content[-1])
        return [begun(dialect), *pieces(dialect.opening), *[piece(long)] * (BODY_LIMIT // 65536 + 2), CLOSE]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    return [head, *[piece(b" " * 65536)] * (BODY_LIMIT // 65536 + 1), CLOSE]


def too_much(dialect: Dialect, stream: bool, seen: Seen) -> list[Step]:
    """A length beyond the limit, said in the head."""
    media = dialect.media if stream else "application/json"
    return [f"HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ncontent-length: {BODY_LIMIT + 1}\r\n\r\n".encode(), CLOSE]


def brotli(data: bytes) -> bytes:
    """A Brotli stream that stores ``data`` as it is. https://www.rfc-editor.org/rfc/rfc7932#section-9.2"""
    stored = (len(data) - 1) << 4 | 1 << 20  # no last block, 16 bits of length, uncompressed
    return stored.to_bytes(3, "little") + data + b"\x03"


_ENCODE: Final[Mapping[str, Callable[[bytes], bytes]]] = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli}


def encoded(encoding: str, cut: int | None = None, junk: bytes = b"") -> Play:
    """A good answer in an encoding nobody asked for."""

    def play(dialect: Dialect, stream: bool, seen: Seen) -> list[Step]:
        data = _ENCODE[encoding](b"".join(dialect.stream) if stream else dialect.answer)[:cut] + junk
        return [whole(data, media=dialect.media if stream else "application/json", content_encoding=encoding)]

    return play


def bomb(dialect: Dialect, stream: bool, seen: Seen) -> list[Step]:
    """A few kilobytes that are much more than is taken once they are unpacked."""
    return [whole(_BOMB, media=dialect.media if stream else "application/json", content_encoding="gzip")]


_BOMB: Final = gzip.compress(bytes(4 * BODY_LIMIT))


def ends_early(take: Callable[[Dialect], tuple[bytes, ...]]) -> Play:
    """A stream of these frames, and a clean end."""
    return lambda dialect, stream, seen: [begun(dialect), *pieces(take(dialect)), END]


def after_the_end(dialect: Dialect, stream: bool, seen: Seen) -> list[Step]:
    """Everything twice."""
    return [begun(dialect), *pieces((*dialect.stream, *dialect.content, *dialect.ending)), END]


def as_json(dialect: Dialect, stream: bool, seen: Seen) -> list[Step]:
    return [whole(dialect.answer)]


def too_long(dialect: Dialect, stream: bool, seen: Seen) -> list[Step]:
    """An answer that ends in a tool call because it is too long."""
    return [begun(dialect), *pieces(dialect.too_long), END] if stream else [whole(dialect.too_long_whole)]


def stale(again: Play) -> Play:
    """A kept connection ends when it is used again; a fresh one gets ``again``. The call named prime is answered."""

    def play(dialect: Dialect, stream: bool, seen: Seen) -> Iterable[Step]:
        return [CLOSE] if seen.nth else again(dialect, stream, seen)

    return play


def good_and_kept(dialect: Dialect, stream: bool, seen: Seen) -> list[Step]:
    """As ``good``, on a connection that stays open."""
    steps = good(dialect, stream)
    return [step.replace(b"connection: close\r\n", b"") if isinstance(step, bytes) else step for step in steps]


# -- the table


def same(cells: Cells) -> Callable[[Dialect], Cells]:
    """Cells that are the same for every provider."""
    return lambda dialect: cells


def _limited_cells(dialect: Dialect) -> Cells:
    seconds = {"openai": 2, "anthropic": 41, "google": 35}.get(dialect.name, 7)
    return before(429, "rate_limit_exceeded", retry_after=(seconds, seconds))


def _inside_cells(name: str) -> Callable[[Dialect], Cells]:
    def cells(dialect: Dialect) -> Cells:
        failure = dialect.inside[name]
        after = (5, 5) if failure.status == 503 else None
        again = False if failure.code == "insufficient_quota" else None
        return before(failure.status, failure.code, tries=failure.tries, retry_after=after, should_retry=again)

    return cells


def _inside_after(dialect: Dialect) -> Cells:
    return after(dialect.inside_committed)


def _without_marker(dialect: Dialect) -> Cells:
    """``[DONE]`` may be missing; Claude's ``message_stop`` may not, and the others' marker is in their last frame."""
    own = Answers()
    return (None, None, own, own) if dialect.end_marker else after("upstream_truncated")


def _without_last(dialect: Dialect) -> tuple[bytes, ...]:
    return dialect.stream[:-1]


def _own(text: str = "text", finish: str = "stop") -> Cells:
    own = Answers(text=text, finish=finish)
    return (own, own, own, own)


def at(*seconds: float) -> Callable[[Dialect], Seconds]:
    """When JSON answers and streams fail, without and with fallback."""
    whole, stream = seconds if len(seconds) == 2 else (seconds[0], seconds[0])
    return lambda dialect: (whole, whole, stream, stream)


def _first_event(dialect: Dialect) -> Seconds:
    """JSON answers have only the deadline; streams their first event, for which Ollama may load a model."""
    first = 300.0 if dialect.name in ("ollama", "anthropic") else 60.0  # one loads models, the other thinks
    return (TOTAL_S, TOTAL_S, first, first)


def _no_content(dialect: Dialect) -> Cells:
    """Claude's models think, so silence after the opening ends by the idle time before the first event is due."""
    code = "upstream_stalled" if dialect.name == "anthropic" else "upstream_timeout"
    return same(_deadline(before(504, code)))(dialect)


def _ruined(dialect: Dialect) -> Cells:
    """Every provider fails in its own way; the caller is told of each."""
    attempts = (
        (dialect.name, 429, "rate_limit_exceeded"),
        ("spare", 503, "provider_overloaded"),
        ("last", 500, "provider_error"),
    )
    fails = Fails(502, "provider_error", tries=3, attempts=attempts)
    return (None, fails, None, fails)


OPENAI_LIKE: Final = ("openai", "groq", "openrouter")
_TRUNCATED: Final = before(502, "upstream_truncated")
_AUTH: Final = before(502, "provider_auth", should_retry=False)
_QUOTA: Final = before(429, "insufficient_quota", should_retry=False)


def _deadline(stream: Cells) -> Cells:
    """JSON answers have only the deadline; it ends the whole chain."""
    fails = Fails(504, "deadline", should_retry=False)
    return (fails, fails, *stream[2:])


FAULTS: Final[tuple[Fault, ...]] = (
    Fault("F1", "refused", same(before(502, "connect_failed")), stage="refused", seconds=at(0.0), requests=0),
    Fault(
        "F2", "black-hole", same(before(504, "connect_timeout")), stage="black-hole", seconds=at(CONNECT_S), requests=0
    ),
    *(
        Fault("F3", f"dns-{how}", same(before(502, "dns_failed")), stage=f"dns-{how}", seconds=at(s), requests=0)
        for how, s in (("fails", 0.0), ("empty", 0.0), ("slow", CONNECT_S))
    ),
    *(
        Fault("F4", f"tls-{how}", same(before(502, "tls_failed")), stage=f"tls-{how}", requests=0)
        for how in ("expired", "foreign", "alone", "unknown", "old", "plain")
    ),
    Fault("F5", "reset", same(before(502, "upstream_reset", tries=2)), says(RESET)),
    Fault("F5", "closed", same(before(502, "upstream_reset", tries=2)), says(CLOSE)),
    Fault("F5", "half-closed", same(before(502, "upstream_reset", tries=2)), says(HALF_CLOSE, WAIT_FOR_CLOSE)),
    Fault(
        "F6",
        "stale-once",
        same(_own()),
        stale(good_and_kept),
        stage="kept",
        silent=1,
    ),
    Fault(
        "F6",
        "stale-and-dead",
        same(before(502, "upstream_reset", tries=2)),
        stale(says(CLOSE)),
        stage="kept",
        silent=1,
    ),
    Fault(
        "F7",
        "no-head",
        same(_deadline(before(504, "upstream_timeout"))),
        says(WAIT_FOR_CLOSE),
        seconds=_first_event,
    ),
    Fault("F8", "reset-before", same(_TRUNCATED), opened(0.02, RESET)),
    Fault("F8", "short-before", same(_TRUNCATED), opened(CLOSE)),
    Fault("F8", "reset-after", same(after("upstream_truncated", _TRUNCATED)), halfway(0.02, RESET)),
    Fault("F8", "short-after", same(after("upstream_truncated", _TRUNCATED)), halfway(CLOSE)),
    Fault(
        "F9",
        "no-content",
        _no_content,
        opened(WAIT_FOR_CLOSE),
        seconds=lambda dialect: at(TOTAL_S, IDLE_S)(dialect) if dialect.name == "anthropic" else _first_event(dialect),
    ),
    Fault("F9", "only-pings", same(only_streams(before(504, "upstream_timeout"))), pings, seconds=_first_event),
    Fault(
        "F10",
        "stalls",
        same(after("upstream_stalled", before(504, "upstream_stalled"))),
        halfway(WAIT_FOR_CLOSE),
        seconds=at(IDLE_S),
    ),
    Fault("F11", "429", _limited_cells, limited),
    Fault("F11", "429-date", same(before(429, "rate_limit_exceeded", retry_after=(29, 31))), limited_until),
    Fault("F11", "429-silent", same(before(429, "rate_limit_exceeded")), error(429)),
    Fault("F12", "402", same(_QUOTA), error(402)),
    Fault("F12", "no-money", same(_QUOTA), out_of_money),
    *(
        Fault("F12b", str(status), same(before(504, "upstream_timeout", tries=1)), error(status))
        for status in (408, 425)
    ),
    *(Fault("F12b", str(status), same(before(502, "provider_error")), error(status)) for status in (409, 412, 424)),
    Fault("F12b", "498", same(before(503, "provider_overloaded", retry_after=(5, 5))), error(498)),
    Fault("F13", "500", same(before(502, "provider_error", tries=2)), error(500)),
    Fault("F14", "502", same(before(502, "provider_error", tries=2)), error(502)),
    Fault("F14", "504", same(before(504, "upstream_timeout", tries=2)), error(504)),
    Fault("F15", "503", same(before(503, "provider_overloaded", tries=2, retry_after=(5, 5))), error(503)),
    Fault(
        "F15",
        "503-given",
        same(before(503, "provider_overloaded", retry_after=(9, 9))),
        error(503, retry_after="9"),
    ),
    Fault("F16", "529", same(before(503, "provider_overloaded", tries=2, retry_after=(5, 5))), error(529)),
    Fault("F17", "400", same(final(400, None)), error(400)),
    Fault("F17", "404", same(final(404, "model_not_found")), error(404)),
    Fault("F17", "413", same(final(413, "request_too_large")), error(413)),
    Fault("F17", "422", same(final(422, None)), error(422)),
    Fault("F17", "context", same(final(400, "context_length_exceeded")), no_context),
    Fault("F17", "404-unnamed", same(before(404, "model_not_found")), error(404), stage="unnamed"),
    Fault("F17", "context-unnamed", same(before(400, "context_length_exceeded")), no_context, stage="unnamed"),
    Fault("F18", "401", same(_AUTH), error(401)),
    Fault("F18", "403", same(_AUTH), error(403)),
    *(
        Fault(
            "F19",
            str(status),
            same(before(502, "provider_redirect")),
            error(status, location="http://127.0.0.1:1/elsewhere"),
        )
        for status in (301, 302, 307, 308)
    ),
    *(
        Fault("F20", name, same(before(502, "bad_payload")), body(data))
        for name, data in (
            ("empty", b""),
            ("text", b"nonsense"),
            ("cut-json", b'{"id": "x", "choices": ['),
            ("list", b"[]"),
            ("string", b'"x"'),
            ("nothing-inside", b"{}"),
        )
    ),
    Fault("F21", "failed", _inside_cells("failed"), inside("failed")),
    Fault("F21", "limited", _inside_cells("limited"), inside("limited")),
    Fault("F21", "failed-later", _inside_after, inside("failed", committed=True)),
    Fault("F22", "no-event", same(only_streams(_TRUNCATED)), ends_early(lambda dialect: ())),
    Fault("F22", "only-role", same(only_streams(_TRUNCATED)), ends_early(lambda dialect: dialect.opening)),
    Fault(
        "F22",
        "no-finish",
        same(after("upstream_truncated")),
        ends_early(lambda dialect: (*dialect.opening, *dialect.content)),
    ),
    Fault(
        "F23",
        "no-marker",
        _without_marker,
        ends_early(_without_last),
        providers=(*OPENAI_LIKE, "anthropic"),
        why="their finish reason is in the last frame, and no marker follows that could be missing",
    ),
    Fault("F24", "html", same(before(502, "bad_content_type")), body(b"<html>Sorry</html>", "text/html")),
    Fault("F24", "json-for-stream", same(only_streams(_own("said"))), as_json),
    *(
        Fault("F25", f"{encoding}-unasked", same(before(502, "bad_encoding")), encoded(encoding))
        for encoding in _ENCODE
    ),
    Fault("F25", "gzip-cut", same(before(502, "bad_encoding")), encoded("gzip", cut=20)),
    Fault("F25", "gzip-junk", same(before(502, "bad_encoding")), encoded("gzip", junk=b"junk")),
    Fault("F26", "gzip-bomb", same(before(502, "bad_encoding")), bomb),
    Fault("F26", "length", same(before(502, "too_large")), too_much),
    Fault("F26", "body", same(after("too_large", before(502, "too_large"))), huge),
    Fault("F26", "line", same(only_streams(before(502, "too_large"))), long_line(committed=False)),
    Fault("F26", "line-later", same(after("too_large")), long_line(committed=True)),
    Fault(
        "F27",
        "utf8",
        same(only_streams(before(502, "bad_payload"))),
        framed(b'{"id":"\xff","choices":[]}', committed=False),
    ),
    Fault("F27", "utf8-later", same(after("bad_payload")), framed(b'{"id":"\xff","choices":[]}', committed=True)),
    Fault("F27", "json", same(only_streams(before(502, "bad_payload"))), framed(b"{nonsense", committed=False)),
    Fault("F27", "json-later", same(after("bad_payload")), framed(b"{nonsense", committed=True)),
    Fault("F27", "utf8-whole", same(only_json(before(502, "bad_payload"))), body(b'{"id":"\xff","choices":[]}')),
    Fault("F28", "endless", same(_deadline(after("deadline"))), endless, seconds=at(TOTAL_S, STREAM_S)),
    Fault("F29", "garbage", same(before(502, "bad_response")), says(b"SSH-2.0-OpenSSH_9.9\r\n", CLOSE)),
    Fault(
        "F29",
        "informational",
        same(before(502, "bad_response")),
        says(b"HTTP/1.1 100 Continue\r\n\r\n" * 11, WAIT_FOR_CLOSE),
    ),
    Fault("F29", "head", same(before(502, "bad_response")), body(b"{}", x_long="x" * 40_000)),
    Fault("F30", "after-the-end", same(only_streams(_own())), after_the_end),
    *(
        Fault("F31", f"early-{status}", same(cells), error(status), stage=f"early-{status}")
        for status, cells in (
            (429, before(429, "rate_limit_exceeded")),
            (400, final(400, None)),
        )
    ),
    Fault("F32", "too-long", same(_own("tools", "length")), too_long),
    Fault("F32", "cut", same(only_streams(after("upstream_truncated"))), ends_early(lambda dialect: dialect.tools)),
    Fault("F33", "all-fail", _ruined, error(429, retry_after="7"), stage="ruin", requests=1),
)


def later(play: Play, seconds: float) -> Play:
    """The same, after a silence long enough for a keep-alive comment."""
    return lambda dialect, stream, seen: itertools.chain([seconds], play(dialect, stream, seen))


def patient(fault: Fault) -> Fault:
    """The fault as it looks once keep-alive comments have sent a stream's head: a status is an event then (3a)."""

    def cells(dialect: Dialect) -> Cells:
        whole, spared, alone, fallback = fault.cells(dialect)
        return (whole, spared, _as_event(alone), _as_event(fallback))

    play, stage = later(fault.play, SILENCE_S), f"patient-{fault.stage}"
    return evolve(fault, name=f"{fault.name}{WAITED}", cells=cells, play=play, stage=stage, seconds=None)


def _as_event(outcome: Outcome) -> Outcome:
    if not isinstance(outcome, Fails):
        return outcome
    return Breaks(outcome.code or "", text="", tries=outcome.tries, attempts=outcome.attempts)


WAITED: Final = "-waited"
# A connection that is refused, a name that leads nowhere and a bad certificate fail at once: no silence comes before.
_AT_ONCE: Final = frozenset({"refused", "dns-fails", "dns-empty", "unnamed"})
_PATIENT: Final = tuple(fault for fault in FAULTS if fault.stage not in _AT_ONCE and fault.row != "F4")
ALL: Final = (*FAULTS, *map(patient, _PATIENT))
__all__ = ["ALL", "FAULTS", "READ_ALL", "WAITED", "Answers", "Breaks", "Fails", "Fault", "good", "good_and_kept"]
