"""The words of a failure, in whatever shape a server, a proxy or a framework in front of it puts them.

A provider documents one shape; what stands between it and us has others. A caller who is told only that the request
was refused cannot change it, so the words are looked for at any depth, with what stands beside them.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any, Final

import orjson

from fwd_server.values.chat import Json
from fwd_server.wire import jsontext, sse

# Objects with words in them are looked into first, and of several texts the more telling one counts: some frameworks
# put the name of the status under ``error`` and what was wrong under ``message``.
_OBJECTS: Final = ("error", "fault", "detail", "errors", "message", "base_resp", "cause")
_TEXTS: Final = (
    *("message", "msg", "detail", "error_message", "error_msg", "errorMessage", "error_description"),
    *("error", "faultstring", "status_msg", "title"),
)
_NUMBERS: Final = ("code", "status", "status_code", "statusCode", "StatusCode")
_MOST_DEPTH: Final = 6


def find_error(value: object, depth: int = _MOST_DEPTH) -> Json:
    """An object with the words under ``message``, and what stands beside them; empty where there are no words.

    Of two fields with one name the one nearer to the words counts.
    """
    if isinstance(value, str):
        return _find_in_text(value.strip(), depth)
    if isinstance(value, list) and depth:
        return next(filter(None, (find_error(item, depth - 1) for item in value)), {})
    if not isinstance(value, dict) or not depth:
        return {}
    inner = [value[name] for name in _OBJECTS if isinstance(value.get(name), (dict, list))]
    inner += [value[name] for name in _TEXTS if isinstance(value.get(name), str)]
    found = next(filter(None, (find_error(item, depth - 1) for item in inner)), {})
    beside = {name: item for name, item in value.items() if name not in _OBJECTS and name not in _TEXTS}
    return {**beside, **found} if found else {}


def _find_in_text(written: str, depth: int) -> Json:
    """A text; gateways pass on another one's error as JSON in it."""
    if written.startswith("{") and depth:
        with contextlib.suppress(orjson.JSONDecodeError):
            return find_error(jsontext.loads(written), depth - 1) or {"message": written}
    return {"message": written} if written else {}


def status_of(error: Json) -> int | None:
    """The HTTP status that an error object names itself; None where it names none."""
    numbers = (error.get(name) for name in _NUMBERS)
    return next((number for number in numbers if type(number) is int and 300 <= number <= 599), None)


def read_error_body(body: bytes) -> Any:
    """The JSON of a failure's body, or of the first event in it; None for a page of HTML, or for nothing."""
    try:
        return jsontext.loads(body)
    except orjson.JSONDecodeError:
        return _first_event(body)


def _first_event(body: bytes) -> Any:
    decoder = sse.EventDecoder()
    try:
        events = [*decoder.feed(body), *decoder.close()]
        return jsontext.loads(events[0].data) if events else None
    except (sse.LineTooLong, orjson.JSONDecodeError):
        return None


# -- what the words mean

_QUOTED: Final = re.compile(r"'[^'\n]{0,400}'|\"[^\"\n]{0,400}\"|`[^`\n]{0,400}`")
_MOST_WORDS: Final = 4_000


def own_words(words: str) -> str:
    """The provider's own words, without what it quotes: a caller's text about credit is not the account's credit."""
    return _QUOTED.sub("''", words[:_MOST_WORDS])


_CONTEXT: Final = r"\bcontext(?:[ _-](?:length|limit|size|window))?\b"
_BEYOND: Final = r"(?:exceed\w*|longer than|larger than|greater than|too (?:long|large|big|many)|overflow\w*|beyond)"
# Other words may stand between, but no end of a sentence.
_NEAR: Final = r"[^.\n]{0,80}"
_TOO_LONG: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_BEYOND}{_NEAR}{_CONTEXT}",
        rf"{_CONTEXT}{_NEAR}{_BEYOND}",
        rf"\b(?:input|prompt) (?:tokens?|token count|length)\b{_NEAR}(?:{_BEYOND}|supports up to)",
        r"\b(?:maximum|max) (?:prompt|input|context|model|sequence) (?:length|size|tokens?)\b",
        r"\b(?:prompt|input|request|conversation) (?:is )?too long\b",
        r"\bprompt exceeds max(?:imum)? length\b",  # Zhipu
        r"\bexceed\w* (?:the )?(?:model'?s? )?(?:max(?:imum)? )?token limit\b",  # Moonshot
        r"\brange of input length should be\b",  # Alibaba
        r"tokens \+ '' must be <=|'' must have less than \d+ tokens",  # TGI: it quotes the names
        r"\breduce the length of the (?:messages|prompt|input)\b",
    )
)


def is_too_long(words: str) -> bool:
    """Whether a refusal says that the prompt is longer than the model's context; ask only of a 400 (contract F17)."""
    # Callers read such words in prompts, too: what is quoted must not decide where the call goes next.
    plain = own_words(words)
    return any(pattern.search(plain) for pattern in _TOO_LONG)
