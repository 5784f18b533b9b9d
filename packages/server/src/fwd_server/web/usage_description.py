"""The part of ``/openapi.json`` that describes ``/v1/key``, ``/v1/usage`` and ``/v1/requests/{id}``."""

from __future__ import annotations

from typing import Any, Final

from fwd_server.values.chat import Json

CALL_ID: Final = "01a2325d42b4fb3564a7f8cd79b0a1fc"
_INTEGER: Final[Json] = {"type": "integer"}
_TEXT: Final[Json] = {"type": "string"}
_MAYBE_TEXT: Final[Json] = {"type": ["string", "null"]}
_MAYBE_INTEGER: Final[Json] = {"type": ["integer", "null"]}
_MAYBE_NUMBER: Final[Json] = {"type": ["number", "null"]}
_NUMBER: Final[Json] = {"type": "number"}

_SUMS: Final[Json] = {
    **dict.fromkeys(
        ("calls", "failed", "prompt_tokens", "cached_tokens", "cache_write_tokens", "completion_tokens"), _INTEGER
    ),
    "reasoning_tokens": _INTEGER,
    "cost_usd": {"type": "number", "description": "US dollars."},
    "cost_nano": {"type": "integer", "description": "The same in nano-dollars, exact."},
    "estimated_nano": {"type": "integer", "description": "How much of it is an estimate."},
    "unpriced_calls": {"type": "integer", "description": "Calls whose model has no price: they are not in the cost."},
}
_BUDGET: Final[Json] = {
    "id": _TEXT,
    "scope": {"type": "string", "enum": ["key", "project", "gateway"]},
    "window": {"type": ["string", "null"], "description": "hour, day, week, month, quarter, year; null: for ever."},
    "mode": {"type": "string", "enum": ["hard", "soft"]},
    **{f"{name}_{unit}": kind for name in ("limit", "used", "held", "left") for unit, kind in
       (("usd", _NUMBER), ("nano", _INTEGER))},
    "period": _TEXT,
    "resets_at": _MAYBE_TEXT,
}  # fmt: skip
_LIMIT: Final[Json] = {"limit": _INTEGER, "used": _INTEGER, "reset_s": _INTEGER}


def _object(properties: Json, **more: Any) -> Json:
    return {"type": "object", "properties": properties, "required": [*properties], **more}


SCHEMAS: Final[Json] = {
    "KeyFacts": _object(
        {
            "id": _TEXT,
            "name": _TEXT,
            "project": _MAYBE_TEXT,
            "expires": _MAYBE_TEXT,
            "models": {"type": ["array", "null"], "items": _TEXT, "description": "Patterns; null: every model."},
            "limits": {"type": "object", "additionalProperties": _object(_LIMIT)},
            "budgets": {"type": "array", "items": _object(_BUDGET)},
        },
        title="KeyFacts",
        description="A key, its limits by kind (rpm, tpm, ...), and its budgets.",
    ),
    "UsageReport": _object(
        {
            "object": {"const": "list"},
            "from": _TEXT,
            "to": _TEXT,
            "by": {"type": "array", "items": _TEXT},
            "data": {"type": "array", "items": _object(_SUMS, description="Beside the groups of `by`.")},
            "total": _object(_SUMS),
        },
        title="UsageReport",
        description="Sums of calls, tokens and cost.",
    ),
    "CallReceipt": _object(
        {
            "id": _TEXT,
            "request_id": _MAYBE_TEXT,
            "at": _TEXT,
            "ended_at": _MAYBE_TEXT,
            "asked": _MAYBE_TEXT,
            "provider": _MAYBE_TEXT,
            "model": _MAYBE_TEXT,
            "status": _MAYBE_INTEGER,
            "state": {"type": "string", "enum": ["done", "failed", "broken", "left", "interrupted", "cached"]},
            "prompt": _MAYBE_INTEGER,
            "completion": _MAYBE_INTEGER,
            "cost_usd": _MAYBE_NUMBER,
            "cost_nano": _MAYBE_INTEGER,
            "cost_kind": {"type": "string", "enum": ["exact", "estimated", "unknown"]},
            "price_id": {"type": ["string", "null"], "description": "The price table it was priced by."},
            "tries": {"type": "array", "items": {"type": "object"}, "description": "Attempts, if there were several."},
        },
        title="CallReceipt",
        description="One call; more is there than is listed here.",
    ),
}

_SUMS_EXAMPLE: Final = {
    "calls": 12, "failed": 1, "prompt_tokens": 4096, "cached_tokens": 1024, "cache_write_tokens": 0,
    "completion_tokens": 900, "reasoning_tokens": 128, "cost_usd": 0.0026, "cost_nano": 2_600_000, "estimated_nano": 0,
    "unpriced_calls": 0,
}  # fmt: skip
_EXAMPLES: Final[dict[str, Json]] = {
    "KeyFacts": {
        "id": "file_14f48e1cb3f7", "name": "web", "project": "shop", "expires": None, "models": ["gpt-5*"],
        "limits": {"rpm": {"limit": 60, "used": 3, "reset_s": 0}},
        "budgets": [
            {"id": "file_14f48e1cb3f7:budget:day", "scope": "key", "window": "day", "mode": "hard", "limit_usd": 5.0,
             "used_usd": 0.0026, "held_usd": 0.0, "left_usd": 4.9974, "limit_nano": 5_000_000_000,
             "used_nano": 2_600_000, "held_nano": 0, "left_nano": 4_997_400_000, "period": "2026-12-01",
             "resets_at": "2026-12-02T00:00:00.000Z"}
        ],
    },
    "UsageReport": {
        "object": "list", "from": "2026-12-01", "to": "2026-12-01", "by": ["day", "model"],
        "data": [{"day": "2026-12-01", "model": "openai:gpt-5-mini", **_SUMS_EXAMPLE}], "total": _SUMS_EXAMPLE,
    },
    "CallReceipt": {
        "id": CALL_ID, "request_id": "req_1", "at": "2026-12-01T16:08:22.452Z",
        "ended_at": "2026-12-01T16:08:23.454Z", "asked": "gpt-5-mini", "provider": "openai",
        "model": "openai:gpt-5-mini", "status": 200, "state": "done", "prompt": 12, "completion": 34,
        "cost_usd": 0.000071, "cost_nano": 71_000, "cost_kind": "exact", "price_id": "ba9fb1cc87d7", "tries": [],
    },
}  # fmt: skip


def describe_usage(failures: Json) -> Json:
    """The three paths; ``failures`` are the answers that every request with a key may get."""
    day: Json = {"type": "string", "format": "date"}
    questions = [
        _parameter("from", "query", "First UTC day; by default that of this month.", day),
        _parameter("to", "query", "Last UTC day, at most 400 days later; today by default.", day),
        _parameter(
            "by", "query", "Of day, provider, model, user, surface.", {"type": "string", "default": "day,model"}
        ),
        _parameter("format", "query", "The form of the answer.", {"type": "string", "enum": ["json", "csv"]}),
    ]
    usage = _answer("The sums of this key, complete up to a second ago.", "UsageReport")
    usage["content"]["text/csv"] = {"schema": _TEXT}
    said = "`x-fwd-call-id` or `x-request-id` of a call of this key."
    call_id = {**_parameter("id", "path", said, _TEXT), "required": True, "example": CALL_ID}
    key = _answer("The key.", "KeyFacts")
    call = _answer("The receipt.", "CallReceipt")
    return {
        "/v1/key": {"get": _operation("getKey", "This key: limits, budgets, what is left", key, failures)},
        "/v1/usage": {
            "get": {**_operation("getUsage", "What this key has used", usage, failures), "parameters": questions}
        },
        "/v1/requests/{id}": {
            "get": {**_operation("getRequest", "One call of this key", call, failures), "parameters": [call_id]}
        },
    }


def _operation(name: str, summary: str, answer: Json, failures: Json) -> Json:
    return {"operationId": name, "tags": ["usage"], "summary": summary, "responses": {"200": answer, **failures}}


def _parameter(name: str, place: str, text: str, schema: Json) -> Json:
    return {"name": name, "in": place, "required": False, "description": text, "schema": schema}


def _answer(text: str, schema: str) -> Json:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": _EXAMPLES[schema]}
    headers = {"x-request-id": {"$ref": "#/components/headers/x-request-id"}}
    return {"description": text, "headers": headers, "content": {"application/json": content}}
