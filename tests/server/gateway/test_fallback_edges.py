"""The fallback beside plain chat calls: embeddings, images that are fetched, and ends that are none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from kit.calls import make_deployment
from kit.clock import FakeClock
from kit.fakeup import (
    DONE,
    STREAM_END,
    STREAM_HEAD,
    WAIT_FOR_CLOSE,
    Fakeup,
    error_answer,
    event,
    json_answer,
    piece,
    stream,
)
from kit.fallbacks import TestedFallback, make_fallback

from fwd_server.callers.openai_embeddings import parse_request
from fwd_server.http1.client.pool import Pool
from fwd_server.providers import PROVIDERS
from fwd_server.providers.base import ChatCodec, Provider
from fwd_server.upstream.images import ImageFetcher
from fwd_server.upstream.send import Upstream
from fwd_server.values.call import Call, Caller
from fwd_server.values.chat import ChatRequest, End, StreamEvent
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import Refused, UpstreamError, upstream_failure
from fwd_server.values.record import CallRecord

pytestmark = pytest.mark.gen_test
Begin = Callable[..., CallRecord]
Make = Callable[..., TestedFallback]
LINK = "https://pictures.example/a.png"
PIXEL = "data:image/png;base64,iVBORw0KGgo="
PICTURE: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": LINK}}]}]
SAID = {"model": "m", "message": {"role": "assistant", "content": "Hi"}, "done": True}


class Fetched:
    """Stands for what fetches images: gives every link the same bytes, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self._error = error

    async def fetch_images(self, links: Mapping[str, str]) -> Mapping[str, str]:
        self.asked += links
        if self._error is not None:
            raise self._error
        return dict.fromkeys(links, PIXEL)


@pytest.fixture
def make(clock: FakeClock, pool: Pool) -> Make:
    """Makes a fallback for every provider there is; what is given goes to it."""

    def made(providers: Mapping[str, Provider] = PROVIDERS, **more: Any) -> TestedFallback:
        return make_fallback(providers, Upstream(pool, clock), clock, **more)

    return made


# -- images


async def test_an_image_is_fetched_for_a_provider_that_needs_its_bytes(make: Make, record: Begin) -> None:
    """T20, with FWD_FETCH_IMAGES: the bytes take the place of the link; who takes links gets the link."""
    images = Fetched()
    with Fakeup(lambda seen: [json_answer(SAID)]) as up, Fakeup(lambda seen: [error_answer(500)]) as other:
        plan = (make_deployment(other.url), make_deployment(up.url, "ollama", "llava"))
        await make(images=cast("ImageFetcher", images)).answer_call(record(messages=PICTURE), plan)
    assert len(images.asked) == 1
    assert up.seen[0].json["messages"][0]["images"] == [PIXEL.partition(",")[2]]
    assert other.seen[0].json["messages"] == PICTURE


async def test_an_image_that_is_not_to_be_had_is_a_refusal(make: Make, record: Begin) -> None:
    """G11: nothing was sent, and a provider that takes the link may still answer."""
    images = cast("ImageFetcher", Fetched(Refused("not there", param="messages")))
    with Fakeup(lambda seen: []) as up, pytest.raises(Refused, match="not there"):
        await make(images=images).answer_call(record(messages=PICTURE), (make_deployment(up.url, "ollama", "llava"),))
    assert up.connections == 0


async def test_the_time_for_images_is_the_calls(make: Make, record: Begin) -> None:
    """G1: one deadline over everything; with it the call is over."""
    images = cast("ImageFetcher", Fetched(upstream_failure("deadline")))
    with Fakeup(lambda seen: []) as up, pytest.raises(UpstreamError) as caught:
        await make(images=images).answer_call(record(messages=PICTURE), (make_deployment(up.url, "ollama", "llava"),))
    assert (caught.value.code, caught.value.should_retry) == ("deadline", False)


async def test_a_dry_run_names_what_would_be_fetched(make: Make, record: Begin) -> None:
    """Nothing is fetched for it: something stands in."""
    begun, plan = record(messages=PICTURE), make_deployment("http://x", "ollama", "llava")
    fetching = make(images=cast("ImageFetcher", Fetched())).translator
    assert len(fetching.placeholder_images(begun.call, plan)) == 1
    assert make().translator.placeholder_images(begun.call, plan) == {}


# -- embeddings


def embedding(clock: FakeClock, **body: Any) -> CallRecord:
    """A call for vectors."""
    given = {"model": "openai:e", "input": "Hi", **body}
    return CallRecord(Call("req_1", Caller("web"), parse_request(orjson.dumps(given))), clock.monotonic())


VECTORS = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}], "model": "e"}


async def test_embeddings_walk_the_same_way(make: Make, clock: FakeClock) -> None:
    """A failure is an attempt, a lone deployment is tried again (G1), and images are no matter."""
    answers = [error_answer(503), json_answer(VECTORS)]
    with Fakeup(lambda seen: [answers.pop(0)]) as up:
        begun = embedding(clock)
        found = await make(images=cast("ImageFetcher", Fetched())).answer_call(begun, (make_deployment(up.url),))
    assert found.data["data"][0]["embedding"] == [0.5]
    assert [attempt.status for attempt in begun.attempts] == [503, 200]


@pytest.mark.parametrize("operation", ["chat completions", "embeddings"])
async def test_a_provider_without_the_operation_says_so(
    make: Make, record: Begin, clock: FakeClock, operation: str
) -> None:
    """501: another provider has to be asked for it."""
    fallback, plan = make({"odd": Provider("odd", None, None, None)}), (make_deployment("http://x", "odd"),)
    work = fallback.answer_call(embedding(clock), plan) if "emb" in operation else fallback.answer_call(record(), plan)
    (found,) = await asyncio.gather(work, return_exceptions=True)
    assert str(found) == f"The provider odd has no {operation}."
    assert getattr(found, "status", None) == 501


# -- ends


async def test_a_closed_stream_lets_go_of_the_provider(make: Make, record: Begin, pool: Pool) -> None:
    """S19: whoever has enough closes, and the connection is not used again."""
    with Fakeup(lambda seen: [STREAM_HEAD, event({"content": "x"}), WAIT_FOR_CLOSE]) as up:
        found = await make().open_stream(record(stream=True), (make_deployment(up.url),))
        found.close()
        while pool.open:
            await asyncio.sleep(0.001)
    assert pool.idle == 0


async def test_a_stream_made_of_a_whole_answer_has_nothing_to_expire(make: Make, record: Begin) -> None:
    """F24: it has no timer, and its end is a good one."""
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}]}
    with Fakeup(lambda seen: [json_answer(whole)]) as up:
        found = await make().open_stream(record(stream=True), (make_deployment(up.url),))
        last = await found.deliver_events(lambda batch: None)
        found.close()
    assert isinstance(last, End)


class EndsAtOnce:
    """Stands for a codec that takes anything for a good end."""

    progress = 0

    def open(self, request: ChatRequest, deployment: Deployment, *more: Any) -> Any:
        exchange = PROVIDERS["openai"].chat.open(request, deployment, *more)  # type: ignore[union-attr]
        return SimpleNamespace(request=exchange.request, dropped=(), decoder=lambda: self)

    def feed(self, data: bytes) -> list[StreamEvent]:
        return [End()]


async def test_an_end_before_anything_else_is_no_answer(make: Make, record: Begin) -> None:
    """F22: a good end of nothing is a failure, and somebody else is asked."""
    providers = {**PROVIDERS, "odd": Provider("odd", cast("ChatCodec", EndsAtOnce()), None, None)}
    with Fakeup(lambda seen: [STREAM_HEAD, piece(DONE), STREAM_END]) as up, Fakeup(lambda seen: stream("ok")) as good:
        begun = record(stream=True)
        await make(providers).open_stream(begun, (make_deployment(up.url, "odd"), make_deployment(good.url)))
    assert [attempt.code for attempt in begun.attempts] == ["bad_payload", None]


async def test_a_callers_hurry_is_no_fault_of_the_provider(make: Make, record: Begin, clock: FakeClock) -> None:
    """G8: a stream that was silent for longer than its caller allowed, and not longer than the operator did."""
    fallback = make()
    said = STREAM_HEAD + event({"content": "x"})  # in one piece: no silence before it
    with Fakeup(lambda seen: [said, WAIT_FOR_CLOSE]) as up:
        for _ in range(3):
            begun = record(stream=True, requested_timeouts={"idle_s": 0.05})
            found = await fallback.open_stream(begun, (make_deployment(up.url, idle_s=60.0),))
            last = await found.deliver_events(lambda batch: None)
            assert getattr(last, "code", None) == "upstream_stalled"
    assert fallback.state.cooling_down({}, clock.monotonic()) == ()
