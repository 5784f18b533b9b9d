"""What the client says about its work, by standard `logging` under the name `fwd_client`.

`FWD_LOG=info` (or debug, warning, error) sends it to stderr; without the variable nothing is set up and your own
configuration decides. No line holds a prompt, an answer, a header or a key.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Final

from fwd_client._errors import ConfigurationError
from fwd_client._exchange import Outcome, Retry, Send
from fwd_client._operations import Reply

LOGGER: Final = logging.getLogger("fwd_client")
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_KEY: Final = re.compile(r"\b(fwd_|sk-)[A-Za-z0-9_-]{4,}")


class Redaction(logging.Filter):
    """Replaces whatever looks like a key, in case an address or a message holds one."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, without keys."""
        # Formatted first: a key may come in through an argument.
        record.msg = _KEY.sub(r"\1***", record.getMessage())
        record.args = ()
        return True


def set_up(env: Mapping[str, str]) -> None:
    """Send the logger to stderr at the level of `FWD_LOG`, once; without the variable do nothing."""
    level = env.get("FWD_LOG", "").strip().lower()
    # Every client calls this, and one handler is enough.
    if not level or any(handler.name == "FWD_LOG" for handler in LOGGER.handlers):
        return
    if level not in LEVELS:
        raise ConfigurationError(f"FWD_LOG is {level!r}; it must be one of {', '.join(LEVELS)}.")
    handler = logging.StreamHandler()
    handler.name = "FWD_LOG"
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(level.upper())


LOGGER.addFilter(Redaction())
LOGGER.addHandler(logging.NullHandler())  # without one, Python itself would print warnings to stderr


def log_request(send: Send) -> None:
    """A request goes out."""
    LOGGER.debug("%s %s, try %d", send.method, send.url, send.attempt + 1)


def log_outcome(send: Send, outcome: Outcome) -> None:
    """What came of it."""
    if isinstance(outcome, Reply):
        request_id = outcome.headers.get("x-request-id", "-")
        LOGGER.info("%s %s: %d, request %s", send.method, send.url, outcome.status, request_id)
    else:
        LOGGER.warning("%s %s: %s", send.method, send.url, type(outcome).__name__)


def log_wait(retry: Retry) -> None:
    """A failed call will be repeated."""
    LOGGER.info("waiting %.2f s before retry %d of %d", retry.delay_s, retry.number, retry.max_retries)
