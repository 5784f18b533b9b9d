"""What the client says about its work."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from fwd_client import APIConnectionError, Client, ConfigurationError
from fwd_client.logging import LOGGER, set_up
from fwd_client.testing import FakeGateway

from .conftest import KEY


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Handlers and level are put back."""
    handlers, level = list(LOGGER.handlers), LOGGER.level
    yield
    LOGGER.handlers[:] = handlers
    LOGGER.setLevel(level)


def test_a_call_in_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Method, address, try, status, request id and waits: nothing of what was said, no key (T26, S12)."""
    caplog.set_level(logging.DEBUG, "fwd_client")
    gateway = FakeGateway()
    gateway.fail(500, retry_after_ms="1")
    gateway.refuse()
    gateway.client().ask("canary")
    assert [record.getMessage() for record in caplog.records] == [
        "POST http://fake.invalid/v1/chat/completions, try 1",
        "POST http://fake.invalid/v1/chat/completions: 500, request req_1",
        "waiting 0.00 s before retry 1 of 2",
        "POST http://fake.invalid/v1/chat/completions, try 2",
        "POST http://fake.invalid/v1/chat/completions: APIConnectionError",
        caplog.records[5].getMessage(),
        "POST http://fake.invalid/v1/chat/completions, try 3",
        "POST http://fake.invalid/v1/chat/completions: 200, request req_3",
    ]
    assert "canary" not in caplog.text
    assert gateway.key not in caplog.text


def test_keys_are_redacted(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever looks like a key is cut, wherever it stands."""
    caplog.set_level(logging.DEBUG, "fwd_client")
    LOGGER.info("http://gw/%s?key=%s", KEY, "sk-abcdefgh")
    assert caplog.messages == ["http://gw/fwd_***?key=sk-***"]


def test_variable(capsys: pytest.CaptureFixture[str]) -> None:
    """`FWD_LOG` sends the logger to stderr, once; without it nothing is set up."""
    before = len(LOGGER.handlers)
    set_up({})
    assert len(LOGGER.handlers) == before
    set_up({"FWD_LOG": "Debug"})
    set_up({"FWD_LOG": "info"})
    assert (len(LOGGER.handlers), LOGGER.level) == (before + 1, logging.DEBUG)
    LOGGER.warning("seen")
    assert "fwd_client WARNING seen" in capsys.readouterr().err


def test_unknown_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """A level that does not exist is said with those that do."""
    monkeypatch.setenv("FWD_LOG", "loud")
    with pytest.raises(ConfigurationError, match="'loud'; it must be one of debug, info"):
        Client()


def test_silent_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Without any configuration nothing is printed, warnings neither."""
    gateway = FakeGateway()
    gateway.refuse()
    logging.getLogger().handlers[:], kept = [], list(logging.getLogger().handlers)
    with pytest.raises(APIConnectionError):
        gateway.client(max_retries=0).ask("hi")
    logging.getLogger().handlers[:] = kept
    assert capsys.readouterr().err == ""
