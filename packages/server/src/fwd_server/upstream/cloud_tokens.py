"""Keep the tokens of clouds valid: one thread for each, because the clouds' libraries block.

A token is renewed when a fifth of its life or five minutes are left, whichever is more, and at once after the provider
has refused it. A failed renewal is tried again after 1, 2, 4 ... 60 s and logged once; the old token is used until it
ends. The libraries come with extras (``fwd-server[azure]``) and are imported in the thread, when they are configured.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from datetime import timedelta, timezone
from typing import Final
from urllib.parse import urlsplit

from attrs import define, field, frozen

from fwd_server.clock import Clock, SystemClock
from fwd_server.observe import log
from fwd_server.values.cloud_token import CloudKind, CloudSession, CloudToken
from fwd_server.wire.redact import redact_text

MOST_WAIT_S: Final = 60.0
_LEAST_LEFT_S: Final = 300.0
_SHARE_LEFT: Final = 0.2
_AWS_LIFE_S: Final = 3600.0  # it may live for 12 hours, but not longer than the credentials behind it
_ENTRA_SCOPE: Final = "https://cognitiveservices.azure.com/.default"
_GOOGLE_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"


@frozen
class Token:
    """A token, and until when it works, in seconds of the epoch."""

    value: str = field(repr=False)
    expires: float


Fetch = Callable[[], Token]


@define
class TokenRenewer:
    """The renewing threads of one gateway. ``loop`` is where tokens are handed over."""

    clock: Clock
    loop: asyncio.AbstractEventLoop
    make_fetch: Callable[[CloudSession], Fetch]
    least_between_s: float = 10.0  # a provider that refuses every token must not make it ask for ever more of them
    _sessions: list[CloudSession] = field(factory=list)
    _stopped: threading.Event = field(factory=threading.Event)

    def start(self, sessions: Iterable[CloudSession]) -> None:
        """Begin to keep these tokens valid, in the background."""
        for session in dict.fromkeys(sessions):
            self._sessions.append(session)
            # A daemon: a library that waits for its cloud must not hold up the end of the process.
            threading.Thread(
                target=self._keep_valid, args=(session,), name=f"token {session.provider}", daemon=True
            ).start()

    def has_just(self, sessions: Iterable[CloudSession]) -> bool:
        """Whether these are the tokens that are kept valid, and no others."""
        return set(sessions) == set(self._sessions)

    def notices(self) -> tuple[str, ...]:
        """What is wrong now, for ``/ready``."""
        now = self.clock.now()
        return tuple(
            f"{session.provider} has no valid token: {session.problem or 'the first one is being fetched'}"
            for session in self._sessions
            if session.expires <= now
        )

    def close(self) -> None:
        """End the threads."""
        self._stopped.set()
        for session in self._sessions:
            session.wanted.set()

    def _keep_valid(self, session: CloudSession) -> None:
        fetch: Fetch | None = None
        failures = 0
        # After a reload the token of before may be good for long.
        session.wanted.wait(renewal_wait(session.expires - self.clock.now()) if session.token else 0.0)
        while not self._stopped.is_set():
            session.wanted.clear()
            try:
                # Made once: the libraries keep credentials and connections of their own between two tokens.
                fetch = fetch or self.make_fetch(session)
                token = fetch()
            # The libraries raise what they like, down to their HTTP client's errors; whatever it is, it is tried again.
            except Exception as error:  # noqa: BLE001
                self._note_failure(session, error)
                session.wanted.wait(min(MOST_WAIT_S, 2.0**failures))
                failures += 1
                continue
            failures = 0
            self._hand_over(session, token)
            self._stopped.wait(self.least_between_s)
            session.wanted.wait(renewal_wait(token.expires - self.clock.now()))

    def _hand_over(self, session: CloudSession, token: Token) -> None:
        # The loop reads the session without a lock, so only the loop may change it.
        if not self._stopped.is_set() and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(session.renew, token.value, token.expires)

    def _note_failure(self, session: CloudSession, error: Exception) -> None:
        text = redact_text(f"{type(error).__name__}: {error}")[:300]
        if not session.problem:
            log.upstream.error("%s: no new token: %s", session.provider, text)
        session.problem = text


def renewal_wait(life_s: float) -> float:
    """How long a token that lives for ``life_s`` more seconds is left alone."""
    return max(1.0, life_s - max(_SHARE_LEFT * life_s, _LEAST_LEFT_S))


def sessions_of(keys: Iterable[object]) -> list[CloudSession]:
    """The sessions of those keys that are tokens of a cloud."""
    return [key.session for key in keys if isinstance(key, CloudToken)]


# -- the clouds


def make_fetch(session: CloudSession) -> Fetch:
    """The function that fetches tokens for a session. Raises ImportError, or what the library raises."""
    return _MAKERS[session.kind](session)


def _entra(session: CloudSession) -> Fetch:
    """https://learn.microsoft.com/en-us/python/api/azure-identity/azure.identity.defaultazurecredential"""
    from azure.identity import DefaultAzureCredential

    credential = DefaultAzureCredential()

    def fetch() -> Token:
        token = credential.get_token(_ENTRA_SCOPE)
        return Token(token.token, float(token.expires_on))

    return fetch


def _aws(session: CloudSession) -> Fetch:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys-generate.html"""
    from aws_bedrock_token_generator import provide_token

    region = region_of(session.base_url)
    return lambda: Token(
        provide_token(region=region, expiry=timedelta(seconds=_AWS_LIFE_S)), SystemClock().now() + _AWS_LIFE_S
    )


def region_of(base_url: str) -> str | None:
    """The region in an address such as https://bedrock-mantle.eu-central-1.api.aws/v1; None: the library finds it."""
    labels = (urlsplit(base_url).hostname or "").split(".")
    return labels[1] if len(labels) > 2 and labels[0].startswith("bedrock") else None


def _google(session: CloudSession) -> Fetch:
    """https://google-auth.readthedocs.io/en/stable/reference/google.auth.html#google.auth.default"""
    import google.auth
    from google.auth.transport.requests import Request

    credentials, _ = google.auth.default(scopes=[_GOOGLE_SCOPE])

    def fetch() -> Token:
        credentials.refresh(Request())
        # It has no zone, and means UTC.
        return Token(credentials.token, credentials.expiry.replace(tzinfo=timezone.utc).timestamp())

    return fetch


_MAKERS: Final[dict[CloudKind, Callable[[CloudSession], Fetch]]] = {"entra": _entra, "aws": _aws, "google": _google}
