"""Failures of OpenAI-compatible providers, mapped to ours.

The status decides; the provider's words are shown, cleaned, and its code where a caller can do something about it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from fwd_server.providers.base import RATE_LIMIT_HEADERS
from fwd_server.providers.compatible.error_text import ErrorText, read_error_text
from fwd_server.providers.compatible.profile import ProviderProfile
from fwd_server.providers.error_words import is_too_long, own_words, read_error_body
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import ErrorKind, UpstreamError, as_kind, from_status
from fwd_server.wire.backoff import parse_retry_after
from fwd_server.wire.redact import redact_text

# The end of the money, by name: OpenAI, DeepSeek, Moonshot, Alibaba, Volcengine, one-api.
_QUOTA: Final = frozenset(
    {
        *("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance"),
        *("insufficient_credits", "insufficient_funds", "payment_required", "exceeded_current_quota_error"),
        *("Arrearage", "AccountOverdueError", "insufficient_user_quota", "spend_limit_exceeded"),
    }
)
# An account that was closed, and a place that is not served. https://console.groq.com/docs/errors
_ACCOUNT: Final = frozenset(
    {
        *("organization_restricted", "organization_disabled", "account_deactivated", "account_disabled"),
        *("account_suspended", "user_suspended", "unsupported_country_region_territory", "location_not_supported"),
    }
)
_POLICY: Final = frozenset({"content_policy_violation", "content_filter", "refusal"})
_NO_MODEL: Final = frozenset({"model_not_found", "model_decommissioned"})
_TOO_LONG: Final = frozenset(
    {
        *("context_length_exceeded", "max_tokens_exceeded", "token_limit_exceeded", "string_too_long"),
        *("exceed_context_size_error", "context_window_exceeded", "model_max_prompt_tokens_exceeded"),
        *("prompt_too_long", "context_limit_exceeded"),
    }
)

# What a failure inside a 200 stands for, by its type or code (contract F21).
_STATUS_OF: Final = {
    **dict.fromkeys(_QUOTA, 402),
    **dict.fromkeys(_ACCOUNT, 401),
    **dict.fromkeys(_NO_MODEL, 404),
    **dict.fromkeys(_TOO_LONG, 400),
    "invalid_request_error": 400,
    "BadRequestError": 400,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "timeout": 408,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "overloaded_error": 503,
    "overloaded": 503,
}

_NO_KEY_WORDS: Final = re.compile(r"(?:incorrect|invalid) api key", re.IGNORECASE)
_MONEY_WORDS: Final = re.compile(
    r"credit balance is too low|balance (?:is )?(?:too low|not enough|insufficient)|余额不足"
    r"|(?:insufficient|not enough|no remaining|(?:run|ran|are|is) out of) (?:account )?(?:credits?|balance|funds)"
    r"|requires more credits|used all (?:of )?(?:your |its |the )?(?:available |monthly )?credits"
    r"|(?:reached|exceeded|over) (?:your|its|the)? ?(?:\w+ ){0,2}(?:spend(?:ing)?|usage|billing|credit) (?:hard )?limit"
    r"|(?:spend(?:ing)?|billing|credit) (?:hard )?limit (?:is |has been |was )?(?:reached|exceeded)"
    r"|billing (?:is )?not (?:active|enabled)|account is not active",
    re.IGNORECASE,
)
_ACCOUNT_WORDS: Final = re.compile(
    r"\b(?:organi[sz]ation|account|workspace|project)\b.{0,40}\b(?:is|are|was|has been|have been)\b.{0,20}"
    r"\b(?:restricted|disabled|suspended|deactivated|blocked|terminated|banned)"
    r"|\b(?:country|region|territory|location)\b.{0,40}\bnot (?:supported|available|served)",
    re.IGNORECASE,
)


def read_failure(
    profile: ProviderProfile, endpoint: Endpoint, status: int, headers: Mapping[str, str], body: bytes
) -> UpstreamError:
    """An answer whose status is not 200; ``headers`` have lower-case names."""
    error = _classify_failure(profile, endpoint, read_error_text(read_error_body(body)), status)
    error.upstream_request_id = headers.get(profile.id_header)
    if error.kind in (ErrorKind.RATE_LIMITED, ErrorKind.OVERLOADED):
        error.retry_after_s = parse_retry_after(headers)
    error.headers = tuple((name, headers[name]) for name in RATE_LIMIT_HEADERS if name in headers)
    return error


def read_failure_inside(profile: ProviderProfile, endpoint: Endpoint, data: object) -> UpstreamError:
    """A failure inside a 200 or in a stream: its own code or name stands for the status (contract F21)."""
    details = read_error_text(data)
    known = {**_STATUS_OF, **profile.error_types}
    # Type and code may name two kinds; the lower status is the more exact one (402 before 429).
    named = min((known[name] for name in details.names if name in known), default=500)
    number = details.number or 0
    return _classify_failure(profile, endpoint, details, number if 300 <= number < 600 else named)


def _classify_failure(profile: ProviderProfile, endpoint: Endpoint, details: ErrorText, status: int) -> UpstreamError:
    words = redact_text(details.message, endpoint.key)
    meant = _meant_status(details, words, status)
    error = from_status(meant, words, provider=profile.name, key_name=endpoint.key_name)
    # The log shows what the provider answered, not what it meant.
    error.upstream_status = status
    if details.param:
        error.param = redact_text(details.param)
    if details.reasons or details.names & _POLICY:
        return _as_policy(error, words)
    if error.kind is ErrorKind.RATE_LIMITED and profile.own_types:
        error.type = next(iter(details.names & {"requests", "tokens"}), error.type)
    if error.kind is ErrorKind.INVALID_REQUEST and error.status != 413:
        return _as_invalid(error, details)
    return error


def _meant_status(details: ErrorText, words: str, status: int) -> int:
    """The status that a failure of the gateway's account should have had: it is not the caller's to change.

    The end of the money is a 402 whatever the status, and what is wrong with the key or the account itself a 401.
    """
    plain = own_words(words)
    if details.names & _QUOTA or _MONEY_WORDS.search(plain):
        return 402
    closed = details.names & _ACCOUNT or _ACCOUNT_WORDS.search(plain)
    if status == 400 and (closed or "invalid_api_key" in details.names or _NO_KEY_WORDS.search(words)):
        return 401
    return status


def _as_policy(error: UpstreamError, words: str) -> UpstreamError:
    """Refused by moderation: the caller's to change, even where the status is that of a refused key."""
    error.kind, error.message = ErrorKind.CONTENT_POLICY, words or error.message
    error.status = 400 if error.upstream_status == 400 else 403
    error.type, error.code, error.should_retry = "invalid_request_error", "content_policy_violation", None
    return error


def _as_invalid(error: UpstreamError, details: ErrorText) -> UpstreamError:
    """A refused request by what is wrong with it. Too long a prompt is known by code, type or words, of a 400 only."""
    if details.names & _NO_MODEL:
        error.param = "model"
        return as_kind(error, 404)
    too_long = details.names & _TOO_LONG or is_too_long(details.message)
    if error.status == 400 and too_long:
        error.kind, error.code = ErrorKind.CONTEXT_LENGTH, "context_length_exceeded"
    else:
        error.code = details.code
    return error
