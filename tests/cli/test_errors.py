"""Exit codes."""

from __future__ import annotations

import pytest

import fwd_client as sdk
from fwd_cli.errors import EXIT_CODES, ExitCode, exit_code, failure_of, sdk_errors_explained


def test_every_exit_code_is_explained() -> None:
    """`fwd help exit-codes` leaves none out."""
    assert set(EXIT_CODES) == set(ExitCode)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (sdk.APITimeoutError("x"), ExitCode.TIMEOUT),
        (sdk.APIConnectionError("x"), ExitCode.UNREACHABLE),
        (sdk.APIResponseError("x"), ExitCode.UNREACHABLE),
        (sdk.StreamInterruptedError("x"), ExitCode.UPSTREAM),
        (sdk.PermissionDeniedError("x"), ExitCode.AUTH),
        (sdk.QuotaExceededError("x"), ExitCode.LIMIT),
        (sdk.DeadlineError("x"), ExitCode.TIMEOUT),
        (sdk.ConfigurationError("x"), ExitCode.USAGE),
        (sdk.BadRequestError("x"), ExitCode.ERROR),
    ],
)
def test_every_kind_of_error_has_its_code(error: sdk.FwdError, code: ExitCode) -> None:
    """The nearest class decides, also inside a stream, where there is no status."""
    assert exit_code(error) is code


def test_a_hint_of_the_gateway_wins_over_ours() -> None:
    """The gateway knows more than we do; the SDK's own hints speak of Python and are left to programs."""
    assert failure_of(sdk.AuthenticationError("x")).try_.startswith("fwd generate-key")
    assert failure_of(sdk.AuthenticationError("x", hint="ask Bob")).try_ == "ask Bob"


def test_what_is_no_error_of_the_sdk_passes() -> None:
    """Only what is understood is explained."""
    with pytest.raises(KeyError), sdk_errors_explained():
        raise KeyError


def test_a_code_of_which_more_is_known_has_advice_of_its_own() -> None:
    """What to try fits the case, not only the class."""
    assert failure_of(sdk.ModelNotFoundError("x", code="model_not_found")).try_ == "fwd models"


@pytest.mark.parametrize(
    ("code", "what"), [("overloaded", "the gateway is at capacity"), ("shutdown", "the gateway is shutting down")]
)
def test_the_gateways_own_trouble_is_not_put_on_the_provider(code: str, what: str) -> None:
    """Contract D14 and R3: another model would not help, the same again does."""
    failure = failure_of(sdk.OverloadedError("x", code=code))
    assert failure.what == what
    assert failure.try_.startswith("again")


def test_what_is_too_large_is_to_be_made_smaller() -> None:
    """The message says how much the gateway takes."""
    assert "shorter" in failure_of(sdk.RequestTooLargeError("x", code="request_too_large")).try_
