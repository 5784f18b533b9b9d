"""Log lines: one a request, as JSON for programs or as words for people; never content, never a secret (S14, T26).

Three loggers steer any deployment: ``fwd.access`` (one line a request), ``fwd.app`` (the gateway itself) and
``fwd.upstream`` (what providers did wrong). A line is made of named fields on a list, never of a dumped object.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Final, TextIO

import orjson

from fwd_server.observe.log_writer import Sink
from fwd_server.values.call import Outcome
from fwd_server.values.usage import Usage

access: Final = logging.getLogger("fwd.access")
app: Final = logging.getLogger("fwd.app")
upstream: Final = logging.getLogger("fwd.upstream")

LEVELS: Final = ("debug", "info", "warning", "error")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_FIELDS: Final = "fwd_fields"
_WARNING: Final = {"name": app.name, "levelname": "WARNING", "levelno": logging.WARNING}
# Failures that do not pass by themselves (contract F4, F18).
_ALARMS: Final = {
    "provider_auth": "the provider refused the gateway's API key; check its variable",
    "tls_failed": "no trusted TLS connection could be made, and nothing was sent",
}


def configure(level: str, form: str, out: TextIO | None = None) -> None:
    """Send every logger of this process to ``out`` (standard error by default), one line a record.

    ``form`` is ``json``, ``text``, or ``auto`` for words on a terminal and JSON anywhere else.
    """
    root = logging.getLogger()
    for old in root.handlers:
        if isinstance(old, Queued):
            old.close()
    words = form == "text" or (form == "auto" and (out or sys.stderr).isatty())
    handler = logging.StreamHandler(out) if out else Queued(sys.stderr)
    handler.setFormatter(Words() if words else JsonLines())
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    _note_less()
    # Tornado's own access lines would be a second line for every request; ours says more.
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def _note_less() -> None:
    """Have no record note what no line of ours says: https://docs.python.org/3/howto/logging.html#optimization."""
    logging._srcfile = None  # the documented way to leave the call's place out
    for name in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, name, False)


class Queued(logging.Handler):
    """Writes lines by way of a sink, so that logging never waits (contract D15)."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        out.flush()
        self._sink = Sink(out.fileno(), self._dropped)

    def emit(self, record: logging.LogRecord) -> None:
        """Have the record's line written; one that cannot be made is said on standard error and is nobody's failure."""
        try:
            self._sink.put(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 - as all of Python's handlers
            self.handleError(record)

    def close(self) -> None:
        """Write what waits."""
        self._sink.close()
        super().close()

    def _dropped(self, count: int) -> str:
        said = f"{count} log lines were dropped: they could not be written as fast as they came."
        return self.format(logging.makeLogRecord(_WARNING | {"msg": said})) + "\n"


def request_line(fields: Mapping[str, Any]) -> None:
    """Write the one line of a request."""
    status = fields.get("status") or 0
    access.log(logging.WARNING if status >= 500 else logging.INFO, "request", extra={_FIELDS: fields})


def report(outcome: Outcome) -> None:
    """The observer that writes the line of a call, and an alarm for each attempt that somebody must see to."""
    if access.isEnabledFor(logging.INFO):
        request_line(outcome_fields(outcome))
    for attempt in outcome.attempts:
        if attempt.code in _ALARMS:
            fields = {"id": outcome.id, **attempt.as_fields()}
            upstream.error("%s: %s", attempt.provider, _ALARMS[attempt.code], extra={_FIELDS: fields})


def outcome_fields(outcome: Outcome) -> dict[str, Any]:
    """What the line of a call holds; fields without a value are left out."""
    fields = {
        "id": outcome.id,
        "key": outcome.caller,
        "peer": outcome.peer,
        "status": outcome.status,
        "requested_model": outcome.requested_model,
        "provider": outcome.provider,
        "model": outcome.model,
        "stream": outcome.stream,
        "ttft_ms": _ms(outcome.ttft_ms),
        "total_ms": _ms(outcome.total_ms),
        **_tokens(outcome.usage),
        "error": outcome.error,
        "disconnected": outcome.disconnected or None,
        "dropped": list(outcome.dropped) or None,
        "attempts": [attempt.as_fields() for attempt in outcome.attempts] or None,
        "upstream_request_id": outcome.upstream_request_id,
        "client_retry": outcome.retry_count,
    }
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def _tokens(usage: Usage | None) -> dict[str, Any]:
    if usage is None:
        return {}
    return {
        "tokens_in": usage.prompt,
        "tokens_out": usage.completion,
        "tokens_cached": usage.cached or None,
        "tokens_reasoning": usage.reasoning or None,
        "tokens_estimated": usage.estimated or None,
        "cost_usd": usage.cost_usd,
    }


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


class JsonLines(logging.Formatter):
    """One JSON object a line, every control character in it escaped (T37)."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _CONTROL.sub(_json_escape, _dumps(line))


def _dumps(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:  # half a character, as names of files and variables may have: not in orjson's language
        return json.dumps(line, default=str)


def _json_escape(found: re.Match[str]) -> str:
    """JSON itself escapes C0 only; DEL, C1 and what breaks or reorders lines would reach a terminal."""
    return f"\\u{ord(found[0]):04x}"


class Words(logging.Formatter):
    """A line for people at a terminal; control characters become escapes."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, and a traceback below it where there is one."""
        fields = getattr(record, _FIELDS, None) if record.name == access.name else None
        text = _sentence(fields) if fields else record.getMessage()
        clock = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        mark = "" if record.levelno < logging.WARNING or fields else f"{record.levelname.lower()}: "
        line = f"{clock}  {mark}{_CONTROL.sub(lambda found: repr(found[0])[1:-1], text)}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _sentence(fields: Mapping[str, Any]) -> str:
    who = [str(fields.get("status", "")), str(fields.get("key") or "-")]
    parts = [*who, _what(fields), _times(fields), _counts(fields)]
    tries = len(fields.get("attempts") or ())
    parts += [f"{tries} attempts" if tries > 1 else "", str(fields.get("error") or ""), str(fields.get("id", ""))]
    return "  ".join(part for part in parts if part)


def _what(fields: Mapping[str, Any]) -> str:
    """The request's line, or for a call the model that was asked for and who answered."""
    if "method" in fields:
        return f"{fields['method']} {fields.get('path', '')}"
    asked, provider = fields.get("requested_model") or "no model", fields.get("provider")
    if provider is None:
        return str(asked)
    model = str(fields.get("model", "")).removeprefix(f"{provider}:")
    return f"{asked} -> {provider}:{model}"


def _times(fields: Mapping[str, Any]) -> str:
    total, first = fields.get("total_ms"), fields.get("ttft_ms")
    if total is None:
        return ""
    return f"{total} ms (first {first} ms)" if first is not None and fields.get("stream") else f"{total} ms"


def _counts(fields: Mapping[str, Any]) -> str:
    if "tokens_in" not in fields:
        return ""
    about = "~" if fields.get("tokens_estimated") else ""
    return f"{about}{fields['tokens_in']}->{fields['tokens_out']} tok"
