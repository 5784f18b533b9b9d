"""What a provider says, made fit to be shown."""

from __future__ import annotations

import pytest

from fwd_server.values.secret import Secret
from fwd_server.wire.redact import LONGEST, redact_text


@pytest.mark.parametrize(
    "word",
    [
        "sk-proj-abc123DEF456",
        "sk-ant-api03-abc_def-ghi",
        "sk-abc1********************wxyz",
        "gsk_abcdefghij0123456789",
        "fwd_Zm9vYmFyYmF6cXV4",
        "AIzaSyA0123456789abcdefghij",
        "xai-0123456789abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "http://10.2.3.4:8080/v1/chat",
        "https://user:pass@192.168.0.7/x?key=1",
        "http://vllm:8000/v1",
        "http://[fd00::1]:8000/",
        "redis://localhost",
        "10.0.12.7",
        "172.31.4.5:80",
        "100.64.0.9",
        "169.254.169.254",
        "localhost:11434",
        "gpu-7.prod.svc.cluster.local",
        "8.8.8.8:53",
    ],
)
def test_keys_and_internal_addresses_are_hidden(word: str) -> None:
    """Contract S12, T16: whatever a provider quotes, these never reach a caller."""
    assert redact_text(f"failed ({word}) again") == "failed (***) again"


@pytest.mark.parametrize("header", ["Bearer abcdefghi", "Basic dXNlcjpwYXNz"])
def test_an_authorization_value_is_hidden(header: str) -> None:
    """Contract S12."""
    assert redact_text(f"sent '{header}'.") == "sent '***'."


def test_a_key_in_a_query_is_hidden() -> None:
    """Contract S13: the address stays readable, the key in it does not."""
    assert (
        redact_text("GET https://api.example.com/v1?a=1&key=secret&b=2") == "GET https://api.example.com/v1?a=1&***&b=2"
    )


@pytest.mark.parametrize(
    "text",
    [
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
        "Add credits at https://openrouter.ai/settings/credits (code 402).",
        "Version 1.2.3.4 of gpt-4.1-mini, key-value, risk-averse, task-oriented",
        "use sk- keys\n\tand https://platform.openai.com/docs",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    """A message that helps is not damaged."""
    assert redact_text(text) == text


def test_a_known_secret_is_hidden_whatever_it_looks_like() -> None:
    """Contract T16: a key without any form is known by its value; none and empty ones are passed over."""
    key = Secret("hunter2", "LOCAL_API_KEY").with_prefix("Bearer ")
    assert redact_text("no hunter2 here", key, None, Secret("")) == "no *** here"


def test_controls_become_spaces() -> None:
    """Contract T25: no escape sequence, no hidden or reordering character, no lone surrogate."""
    assert redact_text("a\x1b[31mb\u202ec\ud800\r\nd\x00") == "a [31mb c  \nd"


def test_a_long_text_is_cut() -> None:
    """Two thousand characters are enough, and the cut shows."""
    assert redact_text("a b " * LONGEST) == ("a b " * LONGEST)[: LONGEST - 1] + "…"
    assert len(redact_text("x" * 10_000_000)) == LONGEST
