"""What an SDK makes of an answer, an official one or our own: the exception it raises, or what it read."""

from __future__ import annotations

from typing import Any

import openai
from attrs import frozen

import fwd_client

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


async def own_sdk(client: fwd_client.AsyncClient, *, stream: bool, **call: Any) -> Verdict:
    """The verdict of fwd's SDK on one call."""
    texts: list[str] = []
    finish: list[str] = []
    call = {"messages": QUESTION, **call}
    try:
        if stream:
            async with await client.chat.completions.create(stream=True, **call) as chunks:
                async for chunk in chunks:
                    _note(chunk.choices, texts, finish, "delta")
        else:
            _note((await client.chat.completions.create(**call)).choices, texts, finish, "message")
    except fwd_client.APIError as error:
        shown = f"{error!s} {error!r} {error.body!r}"
        return Verdict(type(error).__name__, error.status, error.code, "".join(texts), shown=shown)
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


OWN_CLASSES = {
    "connect_timeout": "DeadlineError",
    "context_length_exceeded": "ContextLengthError",
    "deadline": "DeadlineError",
    "insufficient_quota": "QuotaExceededError",
    "model_not_found": "ModelNotFoundError",
    "provider_auth": "ProviderAuthError",
    "provider_overloaded": "OverloadedError",
    "rate_limit_exceeded": "RateLimitError",
    "request_too_large": "RequestTooLargeError",
    "upstream_stalled": "DeadlineError",
    "upstream_timeout": "DeadlineError",
}


def own_class_for(code: str | None) -> str:
    """The class that fwd's SDK documents for a code, as a status and in a stream; without one the caller erred."""
    return OWN_CLASSES.get(code, "UpstreamError") if code else "BadRequestError"
