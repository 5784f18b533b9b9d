"""Listens to all that a test run says, for the keys of providers: they must be in none of it (S12 to S14, T16).

The tests give providers keys that are canaries: they look like ``sk-canary-...`` or ``sk-openai-canary``. Whoever says
one aloud, in a log line, a header, an answer or an error's text, fails the test that ran.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from attrs import define, field

from fwd_server.observe.log import JsonLines, TextLines
from fwd_server.web.base import BaseHandler

CANARY: Final = re.compile(r"sk-(?:[a-z]+-)?canary")


@define
class Listener:
    """What was heard of the canaries since somebody asked, and where."""

    _heard: list[str] = field(factory=list)

    def hear(self, where: str, said: object) -> None:
        """Note a canary in text, bytes, or the pieces of something else."""
        text = said.decode("latin-1") if isinstance(said, bytes) else str(said)
        if found := CANARY.search(text):
            self._heard.append(f"{where}: ...{text[max(0, found.start() - 60) : found.end()]}")

    def take(self) -> list[str]:
        """What was heard, once."""
        heard, self._heard = self._heard, []
        return heard


class LogListener(logging.Handler):
    """Hears every record as it would be written, in both forms, with its traceback."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(logging.DEBUG)
        self._listener = listener
        self._forms = (JsonLines(), TextLines())

    def emit(self, record: logging.LogRecord) -> None:
        for form in self._forms:
            self._listener.hear(f"log {record.name}", form.format(record))


@contextlib.contextmanager
def listening() -> Iterator[Listener]:
    """Hear what the gateway logs at any level, and what it answers, in this process."""
    listener = Listener()
    handler, logger, root = LogListener(listener), logging.getLogger("fwd"), logging.getLogger()
    level = root.level
    logger.addHandler(handler)
    root.setLevel(logging.DEBUG)  # and not the logger's own, which would outdo what a test configures
    with pytest.MonkeyPatch.context() as spy:
        for name in ("write", "set_header", "add_header"):
            spy.setattr(BaseHandler, name, _heard(listener, name, getattr(BaseHandler, name)))
        yield listener
    root.setLevel(level)
    logger.removeHandler(handler)


def _heard(listener: Listener, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """The same method, listened to."""

    def method(self: Any, *said: Any) -> Any:
        for one in said:
            listener.hear(f"{type(self).__name__}.{name}", one)
        return original(self, *said)

    return method


@contextlib.contextmanager
def listening_to_clients(*modules: Any) -> Iterator[Listener]:
    """Hear what clients on these HTTP libraries (``httpx`` and its kin) are answered: whole answers, and errors."""
    listener = Listener()
    with pytest.MonkeyPatch.context() as spy:
        for module in modules:
            spy.setattr(module.Response, "read", _read(listener, module.Response.read))
            spy.setattr(module.Response, "aread", _aread(listener, module.Response.aread))
        yield listener


def _read(listener: Listener, original: Callable[..., Any]) -> Callable[..., Any]:
    def read(self: Any) -> Any:
        body = original(self)
        _hear_answer(listener, self, body)
        return body

    return read


def _aread(listener: Listener, original: Callable[..., Any]) -> Callable[..., Any]:
    async def aread(self: Any) -> Any:
        body = await original(self)
        _hear_answer(listener, self, body)
        return body

    return aread


def _hear_answer(listener: Listener, response: Any, body: bytes) -> None:
    listener.hear("headers of an answer", dict(response.headers))
    listener.hear("an answer", body)
