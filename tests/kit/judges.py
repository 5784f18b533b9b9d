"""What an official SDK makes of an answer: the exception it raises, or what it read."""

from __future__ import annotations

from typing import Any

import openai
from attrs import frozen

QUESTION: Any = [{"role": "user", "content": "Hi"}]


@frozen
class Verdict:
    """``raised`` is the name of the exception's class, "" for none; ``text`` is what was read before it."""

    raised: str = ""
    status: int | None = None
    code: str | None = None
    text: str = ""
    finish: str | None = None
    shown: str = ""


async def openai_sdk(client: openai.AsyncOpenAI, *, stream: bool, **call: Any) -> Verdict:
    """The verdict of OpenAI's own SDK on one call."""
    texts: list[str] = []
    finish: list[str] = []
    call = {"messages": QUESTION, **call}
    try:
        if stream:
            async for chunk in await client.chat.completions.create(stream=True, **call):
                _note(chunk.choices, texts, finish, "delta")
        else:
            _note((await client.chat.completions.create(**call)).choices, texts, finish, "message")
    except openai.APIError as error:
        return _raised(error, "".join(texts))
    return Verdict(text="".join(texts), finish=finish[-1] if finish else None)


def _note(choices: Any, texts: list[str], finish: list[str], side: str) -> None:
    for choice in choices:
        texts.append(getattr(choice, side).content or "")
        finish += [choice.finish_reason] if choice.finish_reason else []


def _raised(error: openai.APIError, text: str) -> Verdict:
    status = error.status_code if isinstance(error, openai.APIStatusError) else None
    shown = f"{error!s} {error!r} {error.body!r}"
    return Verdict(type(error).__name__, status, error.code, text, shown=shown)


CLASSES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
}


def class_for(status: int) -> str:
    """The class that OpenAI's SDK documents for a status."""
    return CLASSES.get(status) or ("InternalServerError" if status >= 500 else "APIStatusError")
