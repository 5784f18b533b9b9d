"""Weights over the whole gateway: what callers get, counted."""

from __future__ import annotations

import http.client
import json
import math
import os
from collections import Counter
from collections.abc import Callable

import pytest
from kit.fakeup import Fakeup, completion, json_answer

from .conftest import KEY, Gateway

# The long form (`nox -s long` sets the variable) has the specification's number.
CALLS = 20_000 if os.environ.get("FWD_LONG_TESTS") else 1_500
WEIGHTS = {"one": 5, "two": 3, "three": 2}


def config(url: str) -> str:
    """Three servers that are one, and a model over them."""
    return "".join(
        f'[providers.{name}]\nbase_url = "{url}"\nauth = "none"\n'
        f'[[models.smart.deployments]]\nto = "{name}:m"\nweight = {weight}\n'
        for name, weight in WEIGHTS.items()
    )


@pytest.mark.timeout(600)
def test_shares_follow_the_weights(start_gateway: Callable[..., Gateway]) -> None:
    """RT11: each deployment's share is within 5 standard deviations of its weight's."""
    seen: Counter[str] = Counter()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    body = json.dumps({"model": "smart", "messages": [{"role": "user", "content": "Hi"}]})
    with Fakeup(lambda seen: [json_answer(completion())]) as up:
        gateway = start_gateway(config=config(up.url))
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
        for _ in range(CALLS):
            connection.request("POST", "/v1/chat/completions", body, headers)
            answer = connection.getresponse()
            answer.read()
            seen[answer.headers["x-fwd-provider"]] += 1
        connection.close()
        assert gateway.stop() == 0
    total = sum(WEIGHTS.values())
    for to, weight in WEIGHTS.items():
        share = weight / total
        deviation = math.sqrt(CALLS * share * (1 - share))
        assert abs(seen[to] - CALLS * share) < 5 * deviation, (to, seen)
