"""The message of a failure, in the shapes that OpenAI-compatible servers, gateways and frameworks use."""

from __future__ import annotations

import re
from typing import Any, Final

from attrs import frozen

from fwd_server.providers.error_words import find_error
from fwd_server.providers.lenient import obj, text
from fwd_server.values.chat import Json

_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_LONGEST_GENERATION: Final = 500  # characters of a tool call that the provider could not use
_CODES: Final = ("code", "error_code", "errorCode", "status_code", "statusCode", "status")


@frozen
class ErrorText:
    """The message of a provider's error, whatever its shape."""

    message: str = ""
    code: str | None = None  # its code, where that is a word
    number: int | None = None  # its code, where that is a number
    names: frozenset[str] = frozenset()  # its code, its type and its stable name, where they are words
    param: str | None = None
    reasons: bool = False  # moderation gave reasons


def read_error_text(data: object) -> ErrorText:
    """The words of a failure at any depth of ``data``, with the codes that stand beside or around them."""
    error = find_error(data)
    metadata = obj(error.get("metadata"))
    codes = [error.get(name) for name in _CODES]
    words = (*codes, error.get("type"), metadata.get("error_type"))
    return ErrorText(
        _whole_message(error, metadata),
        next(filter(None, map(_read_word, codes[:3])), None),
        next((number for code in codes if (number := _read_number(code)) is not None), None),
        frozenset(word for value in words if (word := _read_word(value))),
        text(error.get("param")) or _join_place(error.get("loc")) or None,
        bool(metadata.get("reasons")),
    )


def is_failure(data: Json) -> bool:
    """Whether an object that came with a 200 or in a stream says that something went wrong.

    One that has an error does; so does one without any content that has words of a failure. Counts are content, and
    what tells something else (Azure's filters of the prompt) is no failure: it has no such words.
    """
    if data.get("error") or "error" in (data.get("object"), data.get("type")):
        return True
    if data.get("choices") or data.get("data") or any(obj(data.get("usage")).values()):
        return False
    if "base_resp" in data and not obj(data["base_resp"]).get("status_code"):
        return False  # MiniMax says in every answer that nothing went wrong
    return bool(find_error(data))


def _whole_message(error: Json, metadata: Json) -> str:
    """The message, with the text of the provider behind OpenRouter and the call that Groq could not use."""
    message, raw, name = text(error.get("message")), text(metadata.get("raw")), text(metadata.get("provider_name"))
    if raw:
        message = f"{message} ({name or 'provider'}: {raw})"
    generation = text(error.get("failed_generation"))
    return f"{message} failed_generation: {generation[:_LONGEST_GENERATION]}" if generation else message


def _join_place(steps: Any) -> str:
    """FastAPI's place of what is wrong, as a path."""
    return ".".join(str(step) for step in steps if step != "body") if isinstance(steps, list) else ""


def _read_word(value: object) -> str | None:
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def _read_number(code: object) -> int | None:
    if isinstance(code, str) and code.isascii() and code.isdigit():
        code = int(code[:4])
    return code if isinstance(code, int) and not isinstance(code, bool) else None
