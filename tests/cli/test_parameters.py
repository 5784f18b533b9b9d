"""``-o NAME=VALUE``."""

from __future__ import annotations

from typing import Any

import pytest
from click import UsageError

from fwd_cli.parameters import read_parameters


@pytest.mark.parametrize(
    ("texts", "parameters"),
    [
        (["reasoning_effort=low"], {"reasoning_effort": "low"}),
        (["seed=7", "top_p=0.5", "store=true"], {"seed": 7, "top_p": 0.5, "store": True}),
        (['stop=["a","b"]', "user=a=b"], {"stop": ["a", "b"], "user": "a=b"}),
        (["top_k=5", "seed=1"], {"seed": 1, "extra_body": {"top_k": 5}}),
        (["user="], {"user": ""}),
        ([], {}),
    ],
)
def test_values_are_json_where_they_are_json(texts: list[str], parameters: dict[str, Any]) -> None:
    """A name that the API does not know goes to the provider as it is."""
    assert read_parameters(texts) == parameters


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed", "NAME=VALUE"),
        ("=1", "NAME=VALUE"),
        ("messages=[]", "the prompt is the argument"),
        ("model=x", "use --model NAME"),
        ("timeout=3", "an option of its own"),
        ("tempersture=1", "did you mean 'temperature'"),
        ("reasoning_efort=low", "did you mean 'reasoning_effort'"),
    ],
)
def test_slips_are_found(text: str, words: str) -> None:
    """Before anything is sent."""
    with pytest.raises(UsageError, match=words):
        read_parameters([text])
