"""Requests that never became one are answered and logged as every other."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from fwd_server.app import build_app
from fwd_server.http1.server.limits import Refusal, malformed
from fwd_server.settings import Settings
from fwd_server.web.refusal import as_error


def render_refusal(refusal: Refusal, remote_ip: str) -> Any:
    async def build() -> Any:
        return build_app(Settings()).application.render_refusal(refusal, remote_ip)

    return asyncio.run(build())


def test_a_refusal_has_the_shape_of_every_error(caplog: pytest.LogCaptureFixture) -> None:
    """T1, T37: one body, the safe headers, one line with nothing of the request in it."""
    with caplog.at_level(logging.INFO):
        headers, body = render_refusal(malformed("Not HTTP."), "10.0.0.1")
    found = dict(headers)
    assert json.loads(body)["error"] == {
        "message": "Not HTTP.",
        "type": "invalid_request_error",
        "param": None,
        "code": "malformed_request",
    }
    assert found["Cache-Control"] == "no-store"
    (record,) = caplog.records
    fields = vars(record)["fwd_fields"]
    assert fields["id"] == found["x-request-id"]
    assert (fields["status"], fields["peer"], fields["error"]) == (400, "10.0.0.1", "malformed_request")


@pytest.mark.parametrize(("status", "kind"), [(408, "invalid_request_error"), (501, "server_error")])
def test_the_type_says_whose_fault_it_is(status: int, kind: str) -> None:
    assert as_error(Refusal(status, "a", "b")).type == kind


def test_too_many_connections_are_worth_another_try() -> None:
    """R3: and say when."""
    headers, _ = render_refusal(Refusal(503, "overloaded", "Too many."), "")
    assert dict(headers)["retry-after"] == "1"
