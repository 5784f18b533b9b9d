"""Every provider, every fixture: exact in both directions, whatever way the bytes of a stream are cut."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.server.providers import golden
from tests.server.providers.golden import Case

from fwd_server.callers import openai_chat as dialect
from fwd_server.callers import openai_embeddings as embeddings_dialect
from fwd_server.providers import PROVIDERS
from fwd_server.providers.compatible import PROFILES


def each(*kinds: str, surface: str = "chat") -> pytest.MarkDecorator:
    found = golden.cases(*kinds, surface=surface)
    return pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in found])


def upstream_stream(case: Case) -> bytes:
    return case.read("upstream_response")


def caller_gets(case: Case, *pieces: bytes) -> bytes:
    request = case.request
    decoder = golden.open_exchange(case.provider, request).decoder()
    return golden.rendered(golden.play(decoder, pieces), request)


@pytest.mark.parametrize("kind", ["request", "stream"])
def test_every_provider_has_cases(kind: str) -> None:
    """Every row too; echo has no language of its own."""
    assert {case.provider for case in golden.cases(kind)} >= {*PROVIDERS, *PROFILES} - {"echo"}


@each("request", "stream")
def test_what_goes_upstream(case: Case) -> None:
    """The request, with its fields renamed, mapped and dropped as the provider's table says."""
    if "upstream_request" in case.files:
        exchange, expected = case.exchange(), case.load("upstream_request")
        sent = golden.shown_request(case, exchange)
        headers = golden.lower(expected.pop("headers"))
        assert golden.lower(sent.pop("headers")).items() >= headers.items()
        assert sent == expected


@each("request")
def test_what_is_dropped_is_said(case: Case) -> None:
    """Nothing is lost silently: every field that was left out is named."""
    _, _, named = case.notes.partition("dropped: ")
    expected = {name.strip() for name in named.partition(";")[0].split(",") if name}
    assert set(case.exchange().dropped) == expected


@each("response")
def test_what_a_whole_answer_becomes(case: Case) -> None:
    """A whole answer, field by field."""
    answer = case.exchange().answer(case.read("upstream_response"))
    assert orjson.loads(dialect.render_response(answer, case.request)) == case.load("expected")


@each("stream", "stream_error")
def test_what_a_stream_becomes(case: Case) -> None:
    """A stream, frame by frame."""
    got = golden.frames(caller_gets(case, upstream_stream(case)))
    expected = golden.frames(case.read("expected"))
    assert golden.without_estimates(case, got) == golden.without_estimates(case, expected)


@each("stream", "stream_error")
def test_every_cut_gives_the_same_stream(case: Case) -> None:
    """Contract T10, R10: split positions, single bytes and odd pieces make no difference, to the byte."""
    stream = upstream_stream(case)
    whole = caller_gets(case, stream)
    for at in range(1, len(stream)):
        assert caller_gets(case, stream[:at], stream[at:]) == whole, at
    for size in (1, 7, 61):
        assert caller_gets(case, *(stream[i : i + size] for i in range(0, len(stream), size))) == whole, size


@each("error")
def test_what_a_failure_becomes(case: Case) -> None:
    """Status, type, code, words and headers of a failure (contract F11 to F21)."""
    given, expected = upstream_error(case), case.load("expected")
    body = given["body"] if isinstance(given["body"], str) else orjson.dumps(given["body"]).decode()
    shown = golden.shown_error(golden.failure(case, given["status"], golden.lower(given["headers"]), body.encode()))
    ours = {"content-type", "x-request-id"}
    headers = {name: value for name, value in expected.pop("headers").items() if name not in ours}
    assert shown.pop("headers").items() >= headers.items()
    assert shown == expected


def upstream_error(case: Case) -> Any:
    if "upstream_error" in case.files:
        return case.load("upstream_error")
    return {"status": 200, "headers": {}, "body": case.load("upstream_response")}


@each("response", surface="embeddings")
def test_embeddings_both_ways(case: Case) -> None:
    """What goes up, and what the caller gets back."""
    exchange, expected = golden.embeddings_exchange(case), case.load("upstream_request")
    sent = golden.shown_request(case, exchange)
    assert golden.lower(sent.pop("headers")).items() >= golden.lower(expected.pop("headers")).items()
    assert sent == expected
    answer = exchange.answer(case.read("upstream_response"))
    assert orjson.loads(embeddings_dialect.render_response(answer, golden.embeddings_request(case))) == case.load(
        "expected"
    )


def test_no_case_is_left_out() -> None:
    """Every chat and embeddings case of the manifests is played here, but for the gateway's own errors."""
    kinds = ("request", "response", "stream", "stream_error", "error")
    played = {case.name for surface in ("chat", "embeddings") for case in golden.cases(*kinds, surface=surface)}
    listed = {
        entry["name"]
        for root in ("wire", "providers")
        for entry in orjson.loads((golden.ROOT / root / "manifest.json").read_bytes())["cases"]
        if entry["surface"] in ("chat", "embeddings")
    }
    assert {name for name in listed - played if "error-gateway-" not in name} == set()
