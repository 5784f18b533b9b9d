"""Which settings a rehearsal is played with."""

from __future__ import annotations

from fwd_cli.rehearsing import stand_in_settings
from fwd_server.settings import load_settings


def test_times_come_along() -> None:
    """Those of all and those of one provider decide who is asked next; a level of the log does not."""
    texts = {
        "FWD_CONNECT_TIMEOUT": "2",
        "FWD_GROQ_TOTAL_TIMEOUT": "9s",
        "FWD_SSE_KEEPALIVE": "3",
        "FWD_LOG_LEVEL": "debug",
    }
    settings = stand_in_settings(load_settings({}, texts), texts, "http://stand-in")
    assert {name: text for name, text in texts.items() if name in settings} == {
        "FWD_CONNECT_TIMEOUT": "2",
        "FWD_GROQ_TOTAL_TIMEOUT": "9s",
        "FWD_SSE_KEEPALIVE": "3",
    }
