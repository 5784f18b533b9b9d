"""The failures shown in ``/openapi.json``, each made by the code that raises it: so its words are the real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import evolve

from fwd_server.callers.openai_chat import parse_exactly
from fwd_server.http1.server.limits import Refusal, ServerLimits, late
from fwd_server.http1.server.request import parse_head
from fwd_server.metering import refusals
from fwd_server.metering.money import NANO
from fwd_server.metering.periods import find_period, load_zone
from fwd_server.metering.rules import Rule
from fwd_server.providers import PROVIDERS
from fwd_server.providers.compatible.failure import read_failure
from fwd_server.providers.compatible.profiles import find_profile
from fwd_server.routing.planner import Routes, resolve_model, unusable_endpoint
from fwd_server.upstream.loop_guard import LoopGuard
from fwd_server.values import ids
from fwd_server.values.deployment import Deployment, Endpoint
from fwd_server.values.errors import GatewayError, InvalidKey, from_status, internal_error, upstream_failure
from fwd_server.web.admission import AdmissionController
from fwd_server.web.authenticator import too_many
from fwd_server.web.guard import HostGuard, check_content_type, too_large
from fwd_server.web.refusal import as_error

_HEAD: Final = b"POST /v1/chat/completions HTTP/1.1\r\nHost: llm.example.com\r\n"
_OPENAI: Final = Endpoint("openai", enabled_by="OPENAI_API_KEY")


def failure_examples() -> dict[int, list[GatewayError]]:
    """Failures a caller may see, by status."""
    listed = [*_caller_failures(), *_money_failures(), *_gateway_failures(), *_provider_failures()]
    return {status: [e for e in listed if e.status == status] for status in sorted({e.status for e in listed})}


def _caller_failures() -> list[GatewayError]:
    limits, routes = ServerLimits(), Routes({"openai": _OPENAI}, known=("openai:gpt-6",))
    return [
        raised_by(lambda: parse_exactly(b'{"model": "echo:", "messages": [{"role": "user", "content": 5}]}')),
        raised_by(_ask_twice),
        InvalidKey(),
        raised_by(lambda: resolve_model(routes, "openai-gtp-6")),
        as_error(late("body")),
        raised_by(lambda: parse_head(_HEAD + b"\r\n", limits)),
        too_large(10 << 20),
        raised_by(lambda: check_content_type({"content-type": "text/plain"})),
        raised_by(lambda: HostGuard(False, frozenset({"llm.example.com"})).check_host("example.com")),
        too_many(42.0),
        raised_by(lambda: parse_head(_HEAD + b"A: b\r\n" * limits.header_lines + b"\r\n", limits)),
    ]


def _money_failures() -> list[GatewayError]:
    """What a key's limits and budgets refuse."""
    label = "key 'web'"
    day = Rule("b", "key:web", "budget", 5 * NANO, "day", label=label)
    rpm = Rule("r", "key:web", "rpm", 60, label=label)
    period = find_period("day", 1_796_083_200.0, load_zone("UTC"))
    needed, left = 1_280_000_000, 300_000_000
    spent = refusals.Refusal("budget_exceeded", day, 5 * NANO - left, 0, needed, 5 * NANO, 3600.0, period, 29_000)
    found = [
        refusals.Refusal("rate_limit_exceeded", rpm, 60, needed=1, limit=60, retry_after=12.0),
        spent,
        evolve(spent, code="budget_busy", used=NANO, held=4 * NANO, retry_after=1.0, fits=None),
        refusals.Refusal("model_not_allowed", model="gpt-6"),
        refusals.Refusal("price_unknown", model="compat:new"),
        refusals.Refusal("storage_busy", retry_after=1.0),
    ]
    return [refusal.to_error() for refusal in found]


def _gateway_failures() -> list[GatewayError]:
    return [
        internal_error(),
        unusable_endpoint(Endpoint("ollama", available=False)),
        unusable_endpoint(_OPENAI),
        raised_by(_full().check_room),
        upstream_failure("shutdown"),
        raised_by(lambda: LoopGuard("A" * 29).check_incoming("A" * 29)),
    ]


def _provider_failures() -> list[GatewayError]:
    moderation = b'{"error": {"message": "Your request was rejected.", "code": "content_policy_violation"}}'
    return [
        read_failure(find_profile("openai"), _OPENAI, 403, {}, moderation),
        from_status(422, "The provider's own words."),
        from_status(429, retry_after_s=2.0),
        from_status(402),
        from_status(401, provider="openai", key_name="OPENAI_API_KEY"),
        from_status(500),
        upstream_failure("connect_failed"),
        from_status(529),
        upstream_failure("upstream_timeout"),
        upstream_failure("deadline"),
    ]


def _full() -> AdmissionController:
    """A gateway that serves as many calls as it may."""
    admission = AdmissionController(128)
    for number in range(admission.most):
        admission.admit_call(number)
    return admission


def _ask_twice() -> object:
    """Two answers from a provider that gives one."""
    request = parse_exactly(b'{"messages": [{"role": "user", "content": "Hello"}], "n": 2, "max_tokens": 9}')
    chat = PROVIDERS["anthropic"].chat
    return chat and chat.open(request, Deployment(Endpoint("anthropic"), "claude-opus-4-8"), 0, ids.new_id)


def raised_by(action: Callable[[], object]) -> GatewayError:
    """The failure that an action ends with. Raises AssertionError when it does not fail: then the example is wrong."""
    try:
        result = action()
    except GatewayError as error:
        # The document outlives the call; its frames need not.
        return error.with_traceback(None)
    except Refusal as refusal:
        return as_error(refusal)
    raise AssertionError(f"nothing was refused: {result!r}")
