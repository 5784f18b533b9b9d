"""The life of a call, told as a script: what it asks for, and what it is given."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, evolve, field

from fwd_client import APIConnectionError, APIError, APIResponseError, APITimeoutError, ConfigurationError, Timeout
from fwd_client._exchange import GRACE_S, Retry, Send, World, connection_error, retry_delay, run_exchange, too_late
from fwd_client._operations import (
    Operation,
    Reply,
    chat,
    chat_stream,
    health,
    models,
)
from fwd_client._options import Options, Secret

from .conftest import CHAT

OPTIONS = Options("http://gw", Secret("k"))
OK = Reply(200, {"x-request-id": "r"}, json.dumps(CHAT).encode())


@define
class Script:
    """Drives an exchange with given outcomes; keeps what it asked for. Sleeping moves the clock."""

    outcomes: list[Any]
    options: Options = OPTIONS
    now: float = 1000.0
    takes: float = 0.0
    sent: list[Send] = field(factory=list)
    slept: list[float] = field(factory=list)

    def run(self, operation: Operation[Any]) -> Any:
        steps = run_exchange(operation, self.options, World(lambda: self.now, lambda: 0.0))
        outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                return done.value
            outcome = self.sleep(step) if isinstance(step, Retry) else self.send(step)

    def send(self, step: Send) -> Any:
        self.sent.append(step)
        self.now += self.takes
        return self.outcomes.pop(0)

    def sleep(self, step: Retry) -> None:
        self.slept.append(step.delay_s)
        self.now += step.delay_s


def failure(status: int, **headers: str) -> Reply:
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()})


def test_straight_way() -> None:
    """One request, one answer; the request has the client's name, its deadline and its number."""
    script = Script([OK])
    answer = script.run(chat("hi", {}))
    (sent,) = script.sent
    assert (answer.text, answer.request_id, answer.receipt.retries) == ("hi", "r", 0)
    assert (sent.method, sent.url, sent.attempt) == ("POST", "http://gw/v1/chat/completions", 0)
    assert sent.headers["x-fwd-timeout"] == "600.000"
    assert sent.headers["x-fwd-retry-count"] == "0"
    assert sent.headers["user-agent"].startswith("fwd-client/")


def test_get_has_no_body_headers() -> None:
    """A request without a body does not describe one."""
    script = Script([Reply(200, {}, b'{"data":[]}')])
    script.run(models())
    assert not {"content-type", "x-fwd-timeout", "x-fwd-retry-count"} & script.sent[0].headers.keys()


def test_own_headers_win() -> None:
    """Headers of the caller's come last, whatever their case."""
    script = Script([OK], evolve(OPTIONS, headers={"User-Agent": "me", "X-Request-Id": "mine"}))
    script.run(chat("hi", {}))
    assert (script.sent[0].headers["user-agent"], script.sent[0].headers["x-request-id"]) == ("me", "mine")


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_retried_statuses(status: int) -> None:
    """The statuses every official client tries again, with waits that double."""
    script = Script([failure(status), failure(status), OK])
    assert script.run(chat("hi", {})).receipt.retries == 2
    assert script.slept == [0.5, 1.0]
    assert [sent.headers["x-fwd-retry-count"] for sent in script.sent] == ["0", "1", "2"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 301])
def test_final_statuses(status: int) -> None:
    """A request that is wrong stays wrong: one try."""
    script = Script([failure(status)])
    with pytest.raises(APIError) as caught:
        script.run(chat("hi", {}))
    assert (caught.value.status, len(script.sent)) == (status, 1)


def test_broken_connection_is_retried() -> None:
    """So is a connection that failed or timed out."""
    script = Script([APIConnectionError("x"), APITimeoutError("y"), OK])
    assert script.run(chat("hi", {})).text == "hi"


def test_gateway_decides() -> None:
    """T29: `x-should-retry` beats the status, both ways."""
    with pytest.raises(APIError):
        Script([failure(503, x_should_retry="false")]).run(chat("hi", {}))
    assert Script([failure(400, x_should_retry="true"), OK]).run(chat("hi", {})).text == "hi"


def test_given_up() -> None:
    """After `max_retries` the last error is raised."""
    script = Script([failure(500), failure(500), failure(503)])
    with pytest.raises(APIError) as caught:
        script.run(chat("hi", {}))
    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("headers", "waits"),
    [
        ({"retry_after": "7"}, [7.0]),
        ({"retry_after_ms": "20", "retry_after": "7"}, [0.02]),
        ({"retry_after": "120"}, [120.0]),
    ],
)
def test_told_waits(headers: dict[str, str], waits: list[float]) -> None:
    """A wait that is told is kept."""
    script = Script([failure(429, **headers), OK])
    script.run(chat("hi", {}))
    assert script.slept == waits


def test_too_long_a_wait() -> None:
    """Nobody waits longer than two minutes: the error comes at once, and says how long."""
    script = Script([failure(429, retry_after="121")])
    with pytest.raises(APIError) as caught:
        script.run(chat("hi", {}))
    assert (caught.value.retry_after, script.slept) == (121.0, [])


def test_one_deadline_over_all() -> None:
    """T29: every try tells the gateway what is left, and no wait goes beyond the end."""
    script = Script([failure(500), failure(500), OK], evolve(OPTIONS, timeout=Timeout(total=10)), takes=4.5)
    with pytest.raises(APIError):
        script.run(chat("hi", {}))
    assert [sent.headers["x-fwd-timeout"] for sent in script.sent] == ["10.000", "5.000"]
    assert [sent.read_s for sent in script.sent] == [10 + GRACE_S, 5 + GRACE_S]
    assert {sent.deadline for sent in script.sent} == {1010 + GRACE_S}


def test_stream_limits() -> None:
    """A stream may be silent for `idle` seconds; a whole answer for all that is left."""
    script = Script([Reply(200, {}), OK])
    assert script.run(chat_stream("hi", {})) == Reply(200, {})
    script.run(chat("hi", {}))
    assert [sent.read_s for sent in script.sent] == [60 + GRACE_S, 600 + GRACE_S]


def test_first_token() -> None:
    """A stream's first word has a limit of its own, retries included; the gateway is told of the nearer one."""
    options = evolve(OPTIONS, timeout=Timeout(total=100, first_token=5))
    script = Script([failure(500), Reply(200, {}), OK], options, takes=2)
    script.run(chat_stream("hi", {}))
    script.run(chat("hi", {}))
    assert [sent.headers["x-fwd-timeout"] for sent in script.sent] == ["5.000", "2.500", "100.000"]
    with pytest.raises(APIError):
        Script([failure(500)], options, takes=4.6).run(chat_stream("hi", {}))


def test_a_stream_begins_with_200() -> None:
    """Any other status is no stream."""
    with pytest.raises(APIError, match="HTTP 204"):
        Script([Reply(204, {})]).run(chat_stream("hi", {}))


def test_no_limits() -> None:
    """None means none."""
    script = Script([OK], evolve(OPTIONS, timeout=Timeout(None, None, None)))
    script.run(chat("hi", {}))
    (sent,) = script.sent
    assert (sent.connect_s, sent.read_s, sent.deadline) == (None, None, math.inf)
    assert "x-fwd-timeout" not in sent.headers


def test_no_key() -> None:
    """Without a key nothing is sent, unless the call needs none."""
    script = Script([Reply(200, {}, b"{}")], evolve(OPTIONS, key=None))
    with pytest.raises(ConfigurationError, match="FORWARDER_KEY"):
        script.run(chat("hi", {}))
    assert script.sent == []
    assert script.run(health()).ok


def test_unreadable_answer() -> None:
    """An answer that cannot be read names the status and the request."""
    with pytest.raises(APIResponseError) as caught:
        Script([Reply(200, {"x-request-id": "r"}, b"<html>")]).run(chat("hi", {}))
    assert (caught.value.status, caught.value.request_id) == (200, "r")


def test_a_driver_must_answer() -> None:
    """A driver that forgets the outcome is told so."""
    with pytest.raises(TypeError, match="Reply"):
        Script([None]).run(chat("hi", {}))


@pytest.mark.parametrize(("attempt", "longest"), [(0, 0.5), (1, 1.0), (4, 8.0), (9, 8.0)])
def test_jitter(attempt: int, longest: float) -> None:
    """Waits are shortened by up to a quarter, so that clients do not come back all at once."""
    error = APIConnectionError("x")
    assert retry_delay(error, attempt, 99, 0.0) == longest
    assert retry_delay(error, attempt, 99, 1.0) == longest * 0.75


def test_other_errors_are_final() -> None:
    """An error without a status that is no broken connection is not tried again."""
    assert retry_delay(APIResponseError("x"), 0, 2, 0.0) is None


def faults() -> list[Any]:
    import httpx
    import httpx2

    return [pytest.param(library, id=library.__name__) for library in (httpx, httpx2)]


@pytest.mark.parametrize("library", faults())
@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("ConnectTimeout", APITimeoutError, "connect timeout"),
        ("PoolTimeout", APITimeoutError, "in use"),
        ("ReadTimeout", APITimeoutError, "in time"),
        ("WriteTimeout", APITimeoutError, "in time"),
        ("ConnectError", APIConnectionError, "Cannot connect to http://gw: why."),
        ("ProxyError", APIConnectionError, "proxy"),
        ("ReadError", APIConnectionError, "broke: why."),
        ("RemoteProtocolError", APIConnectionError, "broke"),
        ("UnsupportedProtocol", APIConnectionError, "Cannot send"),
        ("DecodingError", APIConnectionError, "cannot be decoded"),
    ],
)
def test_transport_errors(library: Any, name: str, kind: type[APIError], words: str) -> None:
    """The errors of httpx and of httpx2 become ours, by the names of their classes."""
    found = connection_error(getattr(library, name)("why"), "http://gw")
    assert type(found) is kind
    assert words in str(found)


@pytest.mark.parametrize("make", [ValueError, KeyError, RuntimeError])
def test_other_peoples_errors(make: Callable[[str], Exception]) -> None:
    """An error that is not the transport's is left alone."""
    assert connection_error(make("x"), "http://gw") is None


def test_nameless_reason() -> None:
    """An error without words is named by its class."""
    import httpx

    assert "ReadError" in str(connection_error(httpx.ReadError(""), "u"))
    assert "http://gw" in str(too_late("http://gw"))
