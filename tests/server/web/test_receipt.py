"""What an answer says about itself."""

from __future__ import annotations

from kit.calls import make_call, make_deployment

from fwd_server.values.chat import End
from fwd_server.values.record import CallRecord
from fwd_server.values.usage import Usage
from fwd_server.web.receipt import MAX_DROPPED, dropped_names, fact_headers, receipt_facts


def test_names_of_dropped_fields_cannot_break_a_header() -> None:
    """T18: a caller chose them, so only plain ones are shown, and not without end."""
    assert dropped_names(("top_k", "logit_bias")) == "top_k,logit_bias"
    assert dropped_names(("a\r\nx-evil: 1", "b,c", "é", "")) == "?,?,?,?"
    assert dropped_names(("a",) * (MAX_DROPPED + 1)).count(",") == MAX_DROPPED
    assert dropped_names(()) == ""


def test_a_call_that_got_nowhere_has_a_short_receipt() -> None:
    record = CallRecord(make_call(), 10.0)
    assert fact_headers(record, 10.5) == [("x-fwd-attempts", "0"), ("server-timing", "queue;dur=0.0, total;dur=500.0")]
    assert receipt_facts(record) == {"request_id": "req_1", "attempts": 0}


def test_a_finished_call_tells_all() -> None:
    record = CallRecord(make_call(), 10.0)
    deployment = make_deployment("http://127.0.0.1:1/v1")
    record.note_attempt(deployment, 10.0, 10.2)
    record.commit(deployment, ("seed",), 10.2)
    record.note_response_head("up_1")
    record.note_event(End(Usage(3, 4)))
    assert receipt_facts(record, 10.4) == {
        "request_id": "req_1",
        "provider": "openai",
        "model": "gpt-x",
        "attempts": 1,
        "dropped": ["seed"],
        "upstream_request_id": "up_1",
        "timings": {"queue": 0.0, "attempt": 200.0, "first": 200.0, "total": 400.0},
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "estimated": False},
    }
