"""Log lines: one a request, as JSON for programs or as words for people; never content, never a secret (S14, T26).

Three loggers steer any deployment: ``fwd.access`` (one line a request), ``fwd.app`` (the gateway itself) and
``fwd.upstream`` (what providers did wrong). A line is made of named fields on a list, never of a dumped object.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Final, TextIO

import orjson

from fwd_server.observe.log_writer import LogWriter

access: Final = logging.getLogger("fwd.access")
app: Final = logging.getLogger("fwd.app")
upstream: Final = logging.getLogger("fwd.upstream")

LEVELS: Final = ("debug", "info", "warning", "error")
# C0, DEL and C1, line and paragraph separators, and the marks that reverse text: each of them can forge a log
# line or hide part of it on a terminal (https://trojansource.codes).
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
FIELDS: Final = "fwd_fields"
_WARNING: Final = {"name": app.name, "levelname": "WARNING", "levelno": logging.WARNING}


def configure_logging(level: str, form: str, out: TextIO | None = None) -> None:
    """Send every logger of this process to ``out`` (standard error by default), one line a record.

    ``form`` is ``json``, ``text``, or ``auto`` for words on a terminal and JSON anywhere else.
    """
    root = logging.getLogger()
    for old in root.handlers:
        if isinstance(old, QueuedHandler):
            old.close()
    words = form == "text" or (form == "auto" and (out or sys.stderr).isatty())
    # A stream that was handed in belongs to a test or an embedder, who wants to read it at once.
    handler = logging.StreamHandler(out) if out else QueuedHandler(sys.stderr)
    handler.setFormatter(TextLines() if words else JsonLines())
    # Replaced, not added: Tornado and uvloop may have set up a handler of their own.
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    _note_less()
    # Tornado's own access lines would be a second line for every request; ours says more.
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def _note_less() -> None:
    """Turn off the fields of records that no line uses: https://docs.python.org/3/howto/logging.html#optimization."""
    logging._srcfile = None  # the documented way to leave the call's place out
    for name in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, name, False)


class QueuedHandler(logging.Handler):
    """Writes lines by way of a sink, so that logging never waits (contract D15)."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        out.flush()
        self._writer = LogWriter(out.fileno(), self._dropped_line)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line. One that cannot be formatted is reported on standard error and fails no call."""
        try:
            self._writer.put_line(f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))
        except Exception:  # noqa: BLE001 - as all of Python's handlers
            self.handleError(record)

    def write_fields(self, level: int, logger: str, rest: bytes) -> None:
        """Write a JSON line whose message and fields are encoded already, without a record of ``logging``."""
        line = b'{"time":"%b",%b%b' % (_format_time(time.time()).encode(), _line_start(level, logger), rest)
        # JSON escapes C0 by itself, so only DEL and what is not ASCII can hold a character to escape.
        if line.find(b"\x7f") >= 0 or not line.isascii():
            line = _CONTROL.sub(_json_escape, line.decode()).encode()
        self._writer.put_line(line + b"\n")

    def close(self) -> None:
        """Write what waits."""
        self._writer.close()
        super().close()

    def _dropped_line(self, count: int) -> bytes:
        message = f"{count} log lines were dropped: they could not be written as fast as they came."
        return f"{self.format(logging.makeLogRecord(_WARNING | {'msg': message}))}\n".encode()


def json_handler() -> QueuedHandler | None:
    """Our own handler where it writes JSON lines and nobody else listens to the access log; None otherwise."""
    handlers = logging.getLogger().handlers
    if len(handlers) != 1 or access.handlers or not access.propagate:
        return None
    handler = handlers[0]
    return handler if isinstance(handler, QueuedHandler) and type(handler.formatter) is JsonLines else None


@functools.lru_cache(maxsize=16)
def _line_start(level: int, logger: str) -> bytes:
    return f'"level":"{logging.getLevelName(level).lower()}","logger":"{logger}","message":'.encode()


def _format_time(now: float) -> str:
    """RFC 3339 with milliseconds, in UTC."""
    seconds = int(now)
    return f"{_format_second(seconds)}.{int((now - seconds) * 1000):03d}+00:00"


# Formatting the date costs more than the rest of a line, and it changes once a second.
@functools.lru_cache(maxsize=2)
def _format_second(now: int) -> str:
    return datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")


class JsonLines(logging.Formatter):
    """One JSON object a line, every control character in it escaped (T37)."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, Any] = {
            "time": _format_time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _CONTROL.sub(_json_escape, _dump_line(line))


def _dump_line(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:  # half a character, as names of files and variables may have: not in orjson's language
        return json.dumps(line, default=str)


def _json_escape(found: re.Match[str]) -> str:
    """JSON itself escapes C0 only; DEL, C1 and what breaks or reorders lines would reach a terminal."""
    return f"\\u{ord(found[0]):04x}"


class TextLines(logging.Formatter):
    """A line for people at a terminal; control characters become escapes."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, and a traceback below it where there is one."""
        fields = getattr(record, FIELDS, None) if record.name == access.name else None
        text = _access_text(fields) if fields else record.getMessage()
        clock = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        mark = "" if record.levelno < logging.WARNING or fields else f"{record.levelname.lower()}: "
        line = f"{clock}  {mark}{_CONTROL.sub(lambda found: repr(found[0])[1:-1], text)}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _access_text(fields: Mapping[str, Any]) -> str:
    who = [str(fields.get("status", "")), str(fields.get("key") or "-")]
    parts = [*who, _request_text(fields), _duration_text(fields), _token_text(fields)]
    tries = len(fields.get("attempts") or ())
    parts += [f"{tries} attempts" if tries > 1 else "", str(fields.get("error") or ""), str(fields.get("id", ""))]
    return "  ".join(part for part in parts if part)


def _request_text(fields: Mapping[str, Any]) -> str:
    """The request's line, or for a call the model that was asked for and who answered."""
    if "method" in fields:
        return f"{fields['method']} {fields.get('path', '')}"
    asked, provider = fields.get("requested_model") or "no model", fields.get("provider")
    if provider is None:
        return str(asked)
    model = str(fields.get("model", "")).removeprefix(f"{provider}:")
    return f"{asked} -> {provider}:{model}"


def _duration_text(fields: Mapping[str, Any]) -> str:
    total, first = fields.get("total_ms"), fields.get("ttft_ms")
    if total is None:
        return ""
    return f"{total} ms (first {first} ms)" if first is not None and fields.get("stream") else f"{total} ms"


def _token_text(fields: Mapping[str, Any]) -> str:
    if "tokens_in" not in fields:
        return ""
    about = "~" if fields.get("tokens_estimated") else ""
    return f"{about}{fields['tokens_in']}->{fields['tokens_out']} tok"
