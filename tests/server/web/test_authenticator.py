"""Who is calling, and what those hear who may not."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import tracemalloc

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from fwd_server.callers.openai_errors import error_object
from fwd_server.store.key_set import KeySet, fingerprint, key_id_of, parse, read_expiry
from fwd_server.values.call import Caller
from fwd_server.values.errors import GatewayError, InvalidKey
from fwd_server.web import authenticator as auth
from fwd_server.web.authenticator import Authenticator, FailureCounter, peer_address, presented_key

KEY = f"fwd_{'k' * 39}wxyz"
EXPIRED = "fwd_" + "e" * 43
DIGEST = "fb0f97f2a1d3b2d8d8c7f6e5a4b3c2d1e0f1a2b3c4d5e6f708192a3b4c5d6e7f"
TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1"))


@define
class Hands:
    """A clock that stands still until it is moved."""

    wall: float = 1_800_000_000.0
    timer: float = 1000.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.wall

    def monotonic(self) -> float:
        """Seconds of the timer."""
        return self.timer

    async def sleep(self, seconds: float) -> None:
        """Move on."""
        self.timer += seconds


@define
class Held:
    """Whoever holds the keys."""

    keys: KeySet = field(factory=lambda: parse(f"{KEY} name=web\n{EXPIRED} expires=2020-01-01\n".encode()).keys)


def gate() -> Authenticator:
    """An authenticator with one good key, one that is over, and a clock of its own."""
    return Authenticator(Held(), Hands())


def answer(gate: Authenticator, key: str | None, peer: str = "192.0.2.1") -> GatewayError | Caller:
    """What a caller with this key gets."""
    try:
        return gate.authenticate_caller({"authorization": f"Bearer {key}"} if key else {}, peer).caller
    except GatewayError as error:
        return error


def test_a_good_key_gives_its_owner() -> None:
    """By its name in the file, and the id that `fwd keys list` shows, which says nothing of the key (contract S12)."""
    assert answer(gate(), KEY) == Caller(
        "web", hashlib.sha256(KEY.encode()).hexdigest()[:8], key_id_of(fingerprint(KEY))
    )


def test_every_refusal_is_the_same_to_the_byte() -> None:
    """Contract S15, T12: unknown, malformed, missing, expired, revoked, one letter off, or the digest itself (S9)."""
    revoked = gate()
    revoked.source.keys = KeySet()  # type: ignore[misc]
    tried = [None, "", "x", "sk-123", "fwd_" + "u" * 43, KEY[:-1] + "a", KEY[:-1], KEY + "a", EXPIRED]
    tried += [KEY.upper(), f"sha256:{DIGEST}", "é\x00", "\ud800", "k" * 60_000]
    refusals = [*(answer(gate(), key) for key in tried), answer(revoked, KEY)]
    seen = {
        (e.status, json.dumps(error_object(e)), tuple(e.all_headers())) for e in refusals if isinstance(e, GatewayError)
    }
    assert len(seen) == 1
    assert all(type(refusal) is InvalidKey and refusal.status == 401 for refusal in refusals)


def test_a_stored_digest_is_refused() -> None:
    """Contract S9: what the file holds opens nothing."""
    held = Held(parse(f"sha256:{DIGEST}".encode()).keys)
    authenticator = Authenticator(held, Hands())
    assert isinstance(answer(authenticator, f"sha256:{DIGEST}"), InvalidKey)
    assert isinstance(answer(authenticator, DIGEST), InvalidKey)


def test_a_key_ends_while_the_gateway_runs() -> None:
    """Its expiry is looked at with every request, by the wall clock."""
    clock = Hands(wall=read_expiry("2020-01-01") - 1)
    authenticator = Authenticator(Held(), clock)
    assert isinstance(answer(authenticator, EXPIRED), Caller)
    clock.wall += 1
    assert isinstance(answer(authenticator, EXPIRED), InvalidKey)


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "key"),
    [
        ("Bearer k", None, "k"),
        ("bearer k", None, "k"),
        ("BEARER   k  ", None, "k"),
        ("  k ", None, "k"),
        (None, " k ", "k"),
        ("", "k", "k"),
        ("Bearer", "k", "k"),
        ("Bearer ", "k", "k"),
        ("Bearer a", "b", "a"),
        ("Basic dXNlcjpwYXNz", None, "pass"),
        ("Basic dXNlcjpwYXNz", KEY, KEY),
        ("Basic =", "k", "k"),
        ("Digest a", "k", "k"),
        ("Bearer a", KEY, KEY),
        (f"Bearer {KEY}", KEY[:-1], KEY),
        (f"Bearer {KEY[:-1]}", KEY, KEY[:-1]),
        (None, None, ""),
    ],
)
def test_the_key_is_found_in_either_header(authorization: str | None, x_api_key: str | None, key: str) -> None:
    """The first that begins with fwd_ is judged, else the first; the scheme may be missing, in any case, and spaced."""
    shown = {"authorization": authorization, "x-api-key": x_api_key}
    assert presented_key({name: value for name, value in shown.items() if value is not None}) == key


def test_every_header_that_programs_put_keys_into_is_read() -> None:
    """In this order; a stored login beside a configured key is passed over."""
    names = ["authorization", "x-api-key", "x-goog-api-key", "api-key"]
    for at, name in enumerate(names):
        headers = dict.fromkeys(names[:at], "sk-stored") | dict.fromkeys(names[at + 1 :], f"{KEY}x")
        assert presented_key({**headers, name: KEY}) == KEY


def test_the_first_header_wins_even_with_a_wrong_key() -> None:
    """A wrong key is not made good by a second one."""
    with pytest.raises(InvalidKey):
        gate().authenticate_caller({"authorization": f"Bearer {KEY[:-1]}x", "x-api-key": KEY}, "192.0.2.1")
    assert gate().authenticate_caller({"x-api-key": KEY}, "192.0.2.1").caller.name == "web"


def test_an_earlier_answer_holds_for_the_same_key_set_and_until_the_key_expires() -> None:
    """R7, D8: what a connection remembers of its last head is worth nothing once the keys have changed."""
    clock, source = Hands(wall=read_expiry("2020-01-01") - 1), Held()
    authenticator = Authenticator(source, clock)
    remembered = authenticator.authenticate_caller({"authorization": EXPIRED}, "")
    assert authenticator.is_current(remembered)
    clock.wall += 1
    assert not authenticator.is_current(remembered)
    clock.wall -= 1
    source.keys = Held().keys
    assert not authenticator.is_current(remembered)


def test_ten_thousand_failures_in_a_minute_are_answered_401_twenty_times() -> None:
    """Contract T13: the rest is 429, and a good key from the same address always works."""
    authenticator = gate()
    statuses = []
    for number in range(10_000):
        authenticator.clock.timer += 59.9 / 10_000  # type: ignore[attr-defined]
        refusal = answer(authenticator, f"guess {number}")
        assert isinstance(refusal, GatewayError)
        statuses.append(refusal.status)
        assert number % 1000 or isinstance(answer(authenticator, KEY), Caller)
    assert (statuses.count(401), statuses.count(429)) == (20, 9_980)
    assert statuses[:20] == [401] * 20


def test_too_many_failures_say_when_to_come_back() -> None:
    """In OpenAI's shape, and SDKs are told not to try again by themselves."""
    authenticator = gate()
    for _ in range(20):
        answer(authenticator, "wrong")
    authenticator.clock.timer += 17.5  # type: ignore[attr-defined]
    refusal = answer(authenticator, "wrong")
    assert isinstance(refusal, GatewayError)
    assert (refusal.status, refusal.code, refusal.type) == (429, "rate_limit_exceeded", "rate_limit_error")
    assert refusal.all_headers() == [("retry-after", "43"), ("x-should-retry", "false")]


def test_another_address_is_not_held_responsible() -> None:
    """Failures are counted by address."""
    authenticator = gate()
    for _ in range(30):
        answer(authenticator, "wrong", "192.0.2.1")
    assert isinstance(answer(authenticator, "wrong", "192.0.2.2"), InvalidKey)


def test_a_failure_is_forgotten_after_a_minute() -> None:
    """The window slides: what is 429 now is 401 again when the oldest failure is a minute old."""
    failures = FailureCounter()
    assert [failures.count_failure("a", float(second)) for second in range(20)] == [None] * 20
    assert failures.count_failure("a", 20.0) == 40.0
    assert failures.count_failure("a", 59.5) == 0.5
    assert failures.count_failure("a", 60.0) is None
    assert failures.count_failure("a", 60.5) == 0.5


@given(st.lists(st.floats(0, 30), max_size=200))
def test_in_no_minute_are_more_than_twenty_counted(pauses: list[float]) -> None:
    """Contract T13, however the failures are spread."""
    failures, now, counted = FailureCounter(), 0.0, []
    for pause in pauses:
        now += pause
        if failures.count_failure("a", now) is None:
            counted.append(now)
    assert all(later - earlier >= 60 for earlier, later in zip(counted, counted[20:], strict=False))


def test_the_addresses_that_are_remembered_are_bounded() -> None:
    """Contract T13: memory stays flat; who failed longest ago is forgotten first."""
    failures = FailureCounter()
    for number in range(auth.MAX_ADDRESSES + 1000):
        failures.count_failure(str(number), 0.0)
        if number == auth.MAX_ADDRESSES:
            tracemalloc.start()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(failures) == auth.MAX_ADDRESSES
    assert grown < 1000 * 400


def test_nothing_of_a_key_is_in_a_refusal_or_in_the_text_of_the_gate() -> None:
    """Contract S9, T16."""
    authenticator = gate()
    refusal = answer(authenticator, "fwd_canary")
    assert isinstance(refusal, GatewayError)
    assert "canary" not in repr(refusal) + json.dumps(error_object(refusal)) + repr(authenticator)
    assert KEY not in repr(authenticator)


@pytest.mark.parametrize(
    ("remote", "forwarded", "peer"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7,10.9.9.9", "198.51.100.7"),
        ("10.0.0.1", "10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("10.0.0.1", "198.51.100.7, nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("::1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("::ffff:10.0.0.1", "2001:db8::7", "2001:db8::7"),
        ("::ffff:192.0.2.1", None, "192.0.2.1"),
        ("", "198.51.100.7", ""),
        ("unix:/run/fwd.sock", "198.51.100.7", "unix:/run/fwd.sock"),
    ],
)
def test_an_address_is_believed_only_from_a_trusted_proxy(remote: str, forwarded: str | None, peer: str) -> None:
    """Contract T13: the last address that no trusted proxy has; what a caller writes before it is nothing."""
    assert peer_address(remote, forwarded, TRUSTED) == peer


def test_without_trusted_proxies_no_header_counts() -> None:
    """Not even from this machine."""
    assert peer_address("127.0.0.1", "198.51.100.7", ()) == "127.0.0.1"


@given(st.text(max_size=60), st.text(alphabet='0123456789abcdef.:,[] "', max_size=120))
def test_no_header_breaks_the_reading_of_addresses(remote: str, forwarded: str) -> None:
    """Whatever is written there, the answer is the remote address or one that stands there."""
    peer = peer_address(remote, forwarded, (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")))
    assert peer == remote or ipaddress.ip_address(peer)
