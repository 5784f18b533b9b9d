"""The providers that speak OpenAI's language, and what each does differently.

A provider that does nothing differently needs no row here: its row in ``values/provider_info.py`` is enough. One
that does has a row here as well, and a golden folder in the tests.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import evolve

from fwd_server.providers.compatible.profile import EXTENSIONS, ProviderProfile, RequestDraft
from fwd_server.providers.compatible.request import rename_field
from fwd_server.values.errors import Refused

# -- OpenAI: https://platform.openai.com/docs/guides/reasoning

# Names that the table does not have yet: o-series, GPT-5 and later, but not their chat-tuned relatives.
OPENAI_REASONS: Final = re.compile(r"(?:o\d|gpt-(?:[5-9]|\d\d)(?!.*-chat))")
_SAMPLING: Final = ("temperature", "top_p", "logprobs", "top_logprobs", "frequency_penalty", "presence_penalty")
_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def edit_openai(draft: RequestDraft) -> None:
    """Reasoning models have their own name for the token cap, take no sampling, and only some efforts."""
    model = draft.find("openai")
    if not (model.reasons if model else OPENAI_REASONS.match(draft.model)):
        return
    body = draft.body
    rename_field(body, "max_tokens", "max_completion_tokens")
    takes = (model.traits.get("reasoning_effort") if model else None) or {}
    if body.get("reasoning_effort") in _EFFORTS:
        body["reasoning_effort"] = _nearest_effort(body["reasoning_effort"], takes)
    if body.get("reasoning_effort") != "none":
        keep = body.get("temperature") == 1
        draft.leave_out(*(_SAMPLING[1:] if keep else _SAMPLING))


def _nearest_effort(effort: str, takes: dict[str, bool]) -> str:
    """The effort nearest to the one asked for that the model takes; what the table does not say, OpenAI decides.

    Low, medium and high are taken by all, and where there is no xhigh there is no max.
    """
    at = _EFFORTS.index(effort)
    takes = {"max": takes.get("xhigh", True), **takes}
    good = [i for i, name in enumerate(_EFFORTS) if takes.get(name, True)]
    return _EFFORTS[min(good, key=lambda i: abs(i - at))]


# -- Groq: https://console.groq.com/docs/openai, https://console.groq.com/docs/reasoning

_GROQ_DROPS: Final = (
    *("logprobs", "top_logprobs", "logit_bias", "frequency_penalty", "presence_penalty"),
    *("store", "metadata", "prediction", "modalities", "audio", "verbosity", "safety_identifier", "moderation"),
    *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
)
_GPT_OSS: Final = {"none": "low", "minimal": "low", "xhigh": "high", "max": "high"}
_GROQ_TIERS: Final = {"default": "on_demand", "priority": "performance", "fast": "performance", "scale": "auto"}


def edit_groq(draft: RequestDraft) -> None:
    """Efforts by family of models, reasoning apart from the answer, Groq's names of the service tiers."""
    body = draft.body
    if any(tool.get("type", "function") != "function" for tool in body.get("tools") or ()):
        raise Refused("groq only accepts tools of type 'function'.", param="tools")
    _groq_effort(draft)
    tier = body.get("service_tier")
    if tier is not None:
        body["service_tier"] = _GROQ_TIERS.get(tier, tier)


def _groq_effort(draft: RequestDraft) -> None:
    body, name = draft.body, draft.model
    effort = body.get("reasoning_effort")
    if "gpt-oss" in name:
        if effort in _GPT_OSS:
            body["reasoning_effort"] = _GPT_OSS[effort]
        return
    if "qwen3.8" in name:
        if effort in _GPT_OSS and effort != "none":
            body["reasoning_effort"] = _GPT_OSS[effort]
    elif "qwen3" in name:
        if effort in _EFFORTS and effort != "none":
            body["reasoning_effort"] = "default"
    else:
        draft.leave_out("reasoning_effort")
    model = draft.find("groq")
    if model and model.reasons and body.get("reasoning_format") is None and body.get("include_reasoning") is None:
        body["reasoning_format"] = "parsed"


# -- OpenRouter: https://openrouter.ai/docs/api/api-reference/chat/send-chat-completion-request


def edit_openrouter(draft: RequestDraft) -> None:
    """Usage always comes unasked; two efforts that differ are an error there, so one is sent."""
    body = draft.body
    body.pop("usage", None)
    reasoning = body.get("reasoning")
    if isinstance(reasoning, dict) and reasoning.get("effort") is not None:
        if reasoning["effort"] == body.get("reasoning_effort"):
            del body["reasoning_effort"]  # the same value twice: nothing is lost
        draft.leave_out("reasoning_effort")


OPENROUTER_ERRORS: Final = {
    **dict.fromkeys(("invalid_request", "invalid_prompt"), 400),
    **dict.fromkeys(("authentication", "permission_denied"), 401),
    **dict.fromkeys(("timeout",), 408),
    "payment_required": 402,
    "not_found": 404,
    "rate_limit_exceeded": 429,
    "server": 500,
    "provider_unavailable": 502,
    "provider_overloaded": 503,
}


# -- Mistral: https://docs.mistral.ai/api/endpoint/chat


def edit_mistral(draft: RequestDraft) -> None:
    """It has its own name for the seed, and a field it does not know is a 422 there."""
    rename_field(draft.body, "seed", "random_seed")


_MISTRAL_DROPS: Final = (
    *("logprobs", "top_logprobs", "logit_bias", "user", "store", "service_tier", "verbosity", "modalities", "audio"),
    *("safety_identifier", "moderation", "prompt_cache_options", "prompt_cache_retention"),
)


# -- the table

_COMPAT: Final = ProviderProfile(
    name="compat",
    cap_field="max_tokens",
    usage_defaults={"prompt_tokens_details": {"cached_tokens": 0}},
)

PROFILES: Final[dict[str, ProviderProfile]] = {
    profile.name: profile
    for profile in (
        ProviderProfile(
            name="openai",
            roles={},
            has_refusal=True,
            edit=edit_openai,
            exact=True,
            own_types=True,
        ),
        # Its filters annotate every choice of every chunk:
        # https://learn.microsoft.com/en-us/azure/ai-foundry/openai/concepts/content-streaming
        ProviderProfile(
            name="azure",
            roles={},
            has_refusal=True,
            edit=edit_openai,
            relays=False,
            extras=frozenset({"content_filter_results", "content_filter_offsets", "prompt_filter_results"}),
            id_header="apim-request-id",
            own_types=True,
        ),
        # https://docs.aws.amazon.com/bedrock/latest/userguide/inference-chat-completions.html
        ProviderProfile(name="bedrock", cap_field="max_completion_tokens", id_header="x-amzn-requestid"),
        ProviderProfile(
            name="groq",
            cap_field="max_completion_tokens",
            drops=_GROQ_DROPS,
            one_choice=True,
            message_fields=frozenset({"role", "content", "tool_calls", "tool_call_id"}),
            edit=edit_groq,
            extras=frozenset({"x_groq", "executed_tools", "mcp_list_tools", "usage_breakdown", "annotations"}),
            usage_extras=frozenset({"queue_time", "prompt_time", "completion_time", "total_time"}),
            tiers={"on_demand": "default", "performance": "priority"},
        ),
        ProviderProfile(
            name="openrouter",
            ask_usage=False,
            one_choice=True,
            removed=EXTENSIONS - {"reasoning_details", "reasoning", "cache_control"},
            has_refusal=True,
            edit=edit_openrouter,
            relays=False,
            extras=frozenset(
                {"provider", "native_finish_reason", "openrouter_metadata", "safeguard_results", "alignment"}
            ),
            usage_extras=frozenset({"cost_details", "is_byok", "server_tool_use_details"}),
            id_header="x-generation-id",
            error_types=OPENROUTER_ERRORS,
        ),
        ProviderProfile(
            name="mistral",
            ask_usage=False,
            cap_field="max_tokens",
            drops=_MISTRAL_DROPS,
            message_fields=frozenset({"role", "content", "tool_calls", "tool_call_id", "prefix"}),
            edit=edit_mistral,
            extras=frozenset({"p"}),
        ),
        ProviderProfile(
            name="deepseek",
            cap_field="max_tokens",
            usage_extras=frozenset({"prompt_cache_hit_tokens", "prompt_cache_miss_tokens"}),
        ),
        # https://docs.together.ai/docs/openai-api-compatibility
        ProviderProfile(name="together", cap_field="max_tokens"),
        # https://docs.fireworks.ai/tools-sdks/openai-compatibility
        ProviderProfile(name="fireworks", cap_field="max_tokens"),
        # Reasoning is counted beside the completion: https://docs.x.ai/docs/guides/reasoning
        ProviderProfile(name="xai", cap_field="max_completion_tokens"),
        # https://inference-docs.cerebras.ai/resources/openai
        ProviderProfile(
            name="cerebras",
            cap_field="max_completion_tokens",
            drops=("frequency_penalty", "presence_penalty", "logit_bias"),
            extras=frozenset({"time_info"}),
        ),
        # Every chunk repeats the whole message: https://docs.perplexity.ai/docs/sonar/openai-compatibility
        ProviderProfile(
            name="perplexity",
            ask_usage=False,
            cap_field="max_tokens",
            relays=False,
            extras=frozenset({"message"}),
            usage_extras=frozenset({"cost"}),
        ),
        # It refuses stream_options and counts unasked: https://docs.cohere.com/docs/compatibility-api
        ProviderProfile(name="cohere", ask_usage=False, cap_field="max_tokens"),
        # Answers that we wrote ourselves, in OpenAI's own shape.
        ProviderProfile(name="echo", exact=True, has_refusal=True),
    )
}


def find_profile(name: str) -> ProviderProfile:
    """The provider's row; a server that is only configured by its address gets the cautious one."""
    return PROFILES.get(name) or evolve(_COMPAT, name=name)
