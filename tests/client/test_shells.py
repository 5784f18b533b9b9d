"""Both clients over real sockets: what only a connection can show."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import httpx
import httpx2
import pytest
from kit import certificates

from fwd_client import (
    APIConnectionError,
    APITimeoutError,
    AsyncClient,
    AuthenticationError,
    Client,
    ConfigurationError,
    NotFoundError,
    RateLimitError,
    StreamInterruptedError,
    Timeout,
    ToolError,
)
from fwd_client._client import http_settings
from fwd_client._options import resolve_options
from fwd_client.testing import FakeGateway

from .conftest import (
    CHAT,
    KEY,
    STREAM,
    Awaiting,
    Blocking,
    RawServer,
    answer,
    chunk,
    event,
    piece,
    stream_head,
    streamed,
)

SHELLS = pytest.mark.parametrize("shell", [Blocking, Awaiting], ids=["sync", "async"])


def public(cls: type[Any]) -> dict[str, str]:
    """The public methods of a class with their signatures, names of classes without `Async`."""
    found = {}
    for name, member in inspect.getmembers(cls):
        if not name.startswith("_") or name == "__init__":
            signature = inspect.signature(member) if callable(member) else member.fget.__annotations__
            found[name] = str(signature).replace("Async", "")
    return found


@pytest.mark.parametrize("name", ["Client", "ChatCalls", "Completions", "EmbeddingCalls", "ModelCalls", "Stream"])
def test_parity(name: str) -> None:
    """Both clients have the same methods with the same arguments and results."""
    from fwd_client import _async, _sync

    assert public(getattr(_sync, name)) == public(getattr(_async, f"Async{name}"))


def test_key_goes_out(call: Any, server: RawServer) -> None:
    """The key travels in one header, and nowhere else."""
    call("chat.completions.create", messages="hi", extra_headers={"X-Request-Id": "mine"})
    (request,) = server.received
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["x-request-id"] == "mine"
    assert KEY not in request.path + request.body.decode()


@SHELLS
def test_callable_key(shell: Callable[..., Any], server: RawServer) -> None:
    """A callable is asked before every request, so that a new key needs no new client."""
    keys = iter(["one", "two"])
    replies = [answer({}, 500, retry_after_ms="1"), answer(CHAT)]
    server.script = lambda _: replies.pop(0)
    shell(base_url=server.url, api_key=lambda: next(keys))("chat.completions.create", messages="hi")
    assert [request.headers["authorization"] for request in server.received] == ["Bearer one", "Bearer two"]


@SHELLS
def test_broken_key_of_a_callable(shell: Callable[..., Any], server: RawServer) -> None:
    """S12: a key that cannot be sent is no connection error, and is shown nowhere."""
    with pytest.raises(ConfigurationError, match="api_key=") as caught:
        shell(base_url=server.url, api_key=lambda: f"{KEY}\nx")("models.list")
    assert (KEY in str(caught.value), server.received) == (False, [])


def test_async_key(server: RawServer) -> None:
    """The async client's callable may be async; the other client says that its own may not."""

    async def key() -> str:
        return "late"

    Awaiting(base_url=server.url, api_key=key)("models.list")
    assert server.received[0].headers["authorization"] == "Bearer late"
    found = key()
    with pytest.raises(TypeError, match="AsyncClient"):
        Blocking(base_url=server.url, api_key=lambda: found)("models.list")
    found.close()


def test_no_key_for_health(call: Any, server: RawServer) -> None:
    """`health` and `ready` work without a key."""
    server.script = lambda _: answer({"status": "ok"})
    with Client(base_url=server.url) as client:
        assert (client.health().ok, client.ready().status) == (True, "ok")
    assert call("health").ok
    assert call("ready").ok
    assert "authorization" not in server.received[0].headers


@SHELLS
def test_embeddings_and_plans(shell: type[Blocking]) -> None:
    """Vectors and dry runs, over the wire."""
    gateway = FakeGateway()
    with gateway.serve() as url:
        call = shell(base_url=url, api_key=gateway.key)
        found = call("embeddings.create", input=["a", "b"], model="m", dimensions=3)
        plan = call("chat.completions.explain", messages="hi", model="m")
    assert [len(vector) for vector in found.vectors] == [3, 3]
    assert repr(found).startswith("Embeddings(count=2, size=3, model='m'")
    assert found.receipt.usage == found.usage
    assert [(step.provider, step.model) for step in plan] == [("fake", "m")]


def test_models(call: Any, server: RawServer) -> None:
    """Models are listed and looked up."""
    server.script = lambda request: answer({"id": "m"} if request.path.endswith("/m") else {"data": [{"id": "m"}]})
    assert [model.id for model in call("models.list")] == ["m"]
    assert call("models.retrieve", model="m").id == "m"
    assert call("ask", prompt="x") == ""


def test_retry_over_the_wire(server: RawServer) -> None:
    """A told wait is waited, and the next try says which one it is."""
    replies = [answer({}, 429, retry_after_ms="1"), answer({}, 503, retry_after_ms="1"), answer(CHAT)]
    server.script = lambda _: replies.pop(0)
    with Client(base_url=server.url, api_key=KEY) as client:
        assert client.chat.completions.create(messages="hi").receipt.retries == 2
    assert [request.headers["x-fwd-retry-count"] for request in server.received] == ["0", "1", "2"]


@SHELLS
def test_nobody_there(shell: Callable[..., Any]) -> None:
    """A refused connection says which address, and what to try."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(APIConnectionError, match="Cannot connect") as caught:
        shell(base_url=url, api_key=KEY, max_retries=0)("chat.completions.create", messages="hi")
    assert url in str(caught.value)
    assert "fwd run-server" in (caught.value.hint or "")


@SHELLS
@pytest.mark.parametrize("begun", [False, True], ids=["before", "midway"])
def test_silence(shell: Callable[..., Any], server: RawServer, begun: bool) -> None:
    """A stream that falls silent for `idle` seconds is a timeout, before its head and after it."""
    quiet = threading.Event()

    def say(_: Any) -> Iterator[bytes]:
        if begun:
            yield stream_head() + piece(event(chunk("a")))
        quiet.wait(30)

    server.script = say
    call = shell(base_url=server.url, api_key=KEY, max_retries=0, timeout=Timeout(idle=0.01))
    with pytest.raises(APITimeoutError):
        call("chat.completions.create", messages="hi", stream=True)
    quiet.set()


@SHELLS
def test_drip(shell: Callable[..., Any], server: RawServer) -> None:
    """An answer that never ends is stopped by the deadline, though every byte comes in time."""
    quiet = threading.Event()

    def drip(_: Any) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"
        while not quiet.wait(0.02):
            yield b" "

    server.script = drip
    with pytest.raises(APITimeoutError, match="not complete in time"):
        shell(base_url=server.url, api_key=KEY, max_retries=0, timeout=0.01)("models.list")
    quiet.set()


def test_connection_serves_again(server: RawServer) -> None:
    """A stream that was read to its end, and an error that was read, leave the connection for the next call."""
    replies = [streamed(*STREAM), answer({}, 404), answer(CHAT)]
    server.script = lambda _: replies.pop(0)
    with Client(base_url=server.url, api_key=KEY, max_retries=0) as client:
        list(client.chat.completions.create(messages="hi", stream=True))
        with pytest.raises(NotFoundError):
            client.models.retrieve("x")
        client.ask("hi")
    assert server.connections == 1


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_own_http_client(library: Any, server: RawServer) -> None:
    """A client of httpx or httpx2 is used as it is, stays open, and has its errors mapped."""
    with library.Client(headers={"x-mine": "1"}) as http:
        client = Client(base_url=server.url, api_key=KEY, http_client=http, max_retries=0)
        assert client.ask("hi") == "hi"
        server.script = lambda _: streamed(*STREAM)
        with client.chat.completions.stream(messages="hi") as stream:
            assert "".join(stream.text) == "hello"
        client.close()
        assert not http.is_closed
    assert server.received[0].headers["x-mine"] == "1"


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_own_http_client_fails(library: Any) -> None:
    """The errors of either library become ours over real sockets, sync and async."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    async def ask() -> None:
        async with library.AsyncClient(trust_env=False) as http:
            await AsyncClient(base_url=url, api_key=KEY, http_client=http, max_retries=0).ask("hi")

    with library.Client(trust_env=False) as http, pytest.raises(APIConnectionError):
        Client(base_url=url, api_key=KEY, http_client=http, max_retries=0).ask("hi")
    with pytest.raises(APIConnectionError):
        asyncio.run(ask())


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_own_async_http_client(library: Any, server: RawServer) -> None:
    """The async clients of both libraries stream."""
    server.script = lambda _: streamed(*STREAM)

    async def stream() -> str:
        async with library.AsyncClient() as http:
            client = AsyncClient(base_url=server.url, api_key=KEY, http_client=http)
            async with client.chat.completions.stream(messages="hi") as found:
                return "".join([text async for text in found.text])

    assert asyncio.run(stream()) == "hello"


class Broken:
    """An HTTP client with a bug of its own."""

    def build_request(self, *_: Any, **__: Any) -> Any:
        return None

    def send(self, *_: Any, **__: Any) -> Any:
        raise KeyError("bug")

    def close(self) -> None:
        """Nothing is held."""


class AsyncBroken(Broken):
    """The same, async."""

    async def send(self, *_: Any, **__: Any) -> Any:
        raise KeyError("bug")

    async def aclose(self) -> None:
        """Nothing is held."""


class BrokenBody(Broken):
    """An HTTP client whose bodies have the bug."""

    status_code = 200
    headers: ClassVar[dict[str, str]] = {}

    def send(self, *_: Any, **__: Any) -> Any:
        return self

    def iter_bytes(self) -> Any:
        raise KeyError("bug")


class AsyncBrokenBody(AsyncBroken):
    """The same, async."""

    status_code = 200
    headers: ClassVar[dict[str, str]] = {}

    async def send(self, *_: Any, **__: Any) -> Any:
        return self

    def aiter_bytes(self) -> Any:
        raise KeyError("bug")


@pytest.mark.parametrize("broken", [Broken, BrokenBody])
def test_bugs_stay_bugs(broken: type[Broken]) -> None:
    """An error that is not the transport's passes as it is."""
    with pytest.raises(KeyError, match="bug"):
        Client(api_key=KEY, http_client=broken()).ask("hi")


@pytest.mark.parametrize("broken", [AsyncBroken, AsyncBrokenBody])
def test_async_bugs_stay_bugs(broken: type[AsyncBroken]) -> None:
    """The same for asyncio."""
    client = AsyncClient(api_key=KEY, http_client=broken())
    with pytest.raises(KeyError, match="bug"):
        asyncio.run(client.ask("hi"))


def test_async_health_without_key(server: RawServer) -> None:
    """A client without a key can still ask how things are."""
    server.script = lambda _: answer({"status": "ok"})
    assert Awaiting(base_url=server.url)("health").ok


def endless(server: RawServer) -> None:
    """Let the server stream until the other side goes."""
    head, one = stream_head(), piece(event(chunk("a")))

    def say(_: Any) -> Iterator[bytes]:
        yield head
        while True:
            yield one

    server.script = say


def test_leaving_a_stream_closes_it(server: RawServer) -> None:
    """`with` and `close()` end the connection, read or not."""
    endless(server)
    with Client(base_url=server.url, api_key=KEY) as client:
        with client.chat.completions.stream(messages="hi") as stream:
            assert next(stream).text == "a"
        assert server.closed.acquire(timeout=10)
        client.chat.completions.create(messages="hi", stream=True).close()
        assert server.closed.acquire(timeout=10)
        with client.chat.completions.create(messages="hi", stream=True) as stream:
            assert next(stream.events).text == "a"  # type: ignore[union-attr]
        assert server.closed.acquire(timeout=10)


def test_dropped_streams(server: RawServer) -> None:
    """1,000 streams dropped half-way, without a word: every connection is closed, nothing is left over."""
    endless(server)
    with Client(base_url=server.url, api_key=KEY) as client:
        for number in range(1000):
            stream = client.chat.completions.create(messages="hi", stream=True)
            if number % 2:
                next(stream)
            del stream
            assert server.closed.acquire(timeout=10)
        assert client._transport.http()._transport._pool.connections == []  # type: ignore[attr-defined]
    assert gc.collect() >= 0


def test_dropped_async_streams(server: RawServer) -> None:
    """The same for asyncio; the loop closes what was dropped, and no task stays."""
    endless(server)

    async def main() -> None:
        async with AsyncClient(base_url=server.url, api_key=KEY) as client:
            for number in range(1000):
                stream = await client.chat.completions.create(messages="hi", stream=True)
                if number % 2:
                    await anext(stream)
                del stream
                assert await asyncio.to_thread(server.closed.acquire, timeout=10)
            while len(asyncio.all_tasks()) > 1:  # the loop's own closing of the last generator
                await asyncio.sleep(0)
            assert client._transport.http()._transport._pool.connections == []  # type: ignore[attr-defined]

    asyncio.run(main())


def test_forgotten_client(server: RawServer) -> None:
    """A client that nobody closed closes its connections when it goes, without a warning."""
    Client(base_url=server.url, api_key=KEY).ask("hi")
    gc.collect()
    assert server.closed.acquire(timeout=10)


def test_forgotten_view(server: RawServer) -> None:
    """Leaving a loop over a stream's text ends the call, when nothing else holds the stream."""
    endless(server)
    with Client(base_url=server.url, api_key=KEY) as client:
        for _ in client.chat.completions.create(messages="hi", stream=True).text:
            break
        assert server.closed.acquire(timeout=10)


def test_cancelled_stream(server: RawServer) -> None:
    """A cancelled task ends its stream at once."""
    endless(server)

    async def read(client: AsyncClient, begun: asyncio.Event) -> None:
        async with client.chat.completions.stream(messages="hi") as stream:
            async for _ in stream.events:
                begun.set()

    async def main() -> None:
        async with AsyncClient(base_url=server.url, api_key=KEY) as client:
            begun = asyncio.Event()
            task = asyncio.create_task(read(client, begun))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.closed.acquire, timeout=10)

    asyncio.run(main())


def test_stream_that_does_not_open() -> None:
    """A stream that could not be opened raises on entering, and needs no closing."""
    gateway = FakeGateway()
    gateway.fail(429, "rate_limit_exceeded")
    with pytest.raises(RateLimitError), gateway.client(max_retries=0).chat.completions.stream(messages="hi"):
        pass

    async def ask() -> None:
        async with gateway.async_client(max_retries=0).chat.completions.stream(messages="hi"):
            pass

    gateway.fail(429, "rate_limit_exceeded")
    with pytest.raises(RateLimitError):
        asyncio.run(ask())


def test_final_of_a_closed_stream() -> None:
    """A stream that was left before its end has no whole answer."""
    gateway = FakeGateway()
    with gateway.client().chat.completions.stream(messages="one two") as stream:
        next(stream.text)
    with pytest.raises(StreamInterruptedError):
        stream.final()

    async def leave() -> None:
        async with gateway.async_client().chat.completions.stream(messages="one two") as stream:
            await anext(stream.text)
        await stream.final()

    with pytest.raises(StreamInterruptedError):
        asyncio.run(leave())


def test_two_event_loops(server: RawServer) -> None:
    """An async client that outlives its event loop works in the next one, over new connections."""
    client = AsyncClient(base_url=server.url, api_key=KEY)
    server.script = lambda _: answer(CHAT, connection="close")  # what is open when a loop ends, nobody can close
    assert [asyncio.run(client.ask("hi")) for _ in range(3)] == ["hi"] * 3
    asyncio.run(client.close())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")
def test_fork(server: RawServer) -> None:
    """A forked process does not read from the connections of its parent."""
    script = """
import os, sys
from fwd_client import Client
client = Client(base_url=sys.argv[1], api_key="k")
client.ask("parent")
child = os.fork()
client.ask("child" if child == 0 else "parent")
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script, server.url], check=True, timeout=60)
    assert (len(server.received), server.connections) == (3, 2)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_clients_are_not_copied(copied: Callable[[Any], Any]) -> None:
    """A client holds connections and a key; that it cannot be copied is said in words."""
    with pytest.raises(TypeError, match="Client cannot be copied or pickled"):
        copied(Client(base_url="http://gw", api_key=KEY))


def test_options_of_a_twin(server: RawServer) -> None:
    """`with_options` gives a twin over the same connections, which closing the twin leaves open."""
    with Client(base_url=server.url, api_key=KEY) as client:
        with client.with_options(timeout=5, max_retries=0, headers={"x-a": "1"}) as twin:
            assert (twin.options.timeout.total, twin.options.max_retries) == (5.0, 0)
            twin.ask("hi")
        client.ask("hi")
    assert server.connections == 1
    assert [request.headers.get("x-a") for request in server.received] == ["1", None]


def test_async_twin(server: RawServer) -> None:
    """The same for asyncio."""

    async def main() -> None:
        async with AsyncClient(base_url=server.url, api_key=KEY) as client:
            async with client.with_options(max_retries=0) as twin:
                await twin.ask("hi")
            await client.ask("hi")

    asyncio.run(main())
    assert server.connections == 1


@pytest.mark.parametrize(("key", "shown"), [(KEY, "***stuv"), (None, "none"), (lambda: KEY, "from a callable")])
def test_repr_shows_no_key(key: Any, shown: str) -> None:
    """S12: a client's repr says whether there is a key, never which."""
    client = Client(base_url="http://gw", api_key=key)
    assert repr(client) == f"Client(base_url='http://gw', api_key={shown})"
    assert KEY not in repr(client.options) + repr(vars(client))


def test_environment(monkeypatch: pytest.MonkeyPatch, server: RawServer) -> None:
    """Without arguments the environment says where to go, and proxies do not stand before this machine."""
    monkeypatch.setenv("FORWARDER_URL", server.url)
    monkeypatch.setenv("FORWARDER_KEY", KEY)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Client() as client:
        assert client.ask("hi") == "hi"


def test_certificates_of_a_gateway_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A gateway that serves https here has a certificate of one's own making: SSL_CERT_FILE says whose."""
    made = certificates.folder(tmp_path_factory.getbasetemp())
    monkeypatch.setenv("SSL_CERT_FILE", str(made / "ca.crt"))
    settings = http_settings(resolve_options({}, base_url="https://localhost:8000"))
    assert [found["subject"] for found in settings["verify"].get_ca_certs()] == [((("commonName", "ca"),),)]
    assert settings["trust_env"] is False


def double(x: int) -> int:
    """Double a number."""
    if x < 0:
        raise ToolError("only numbers above zero")
    return 2 * x


async def double_later(x: int) -> int:
    """Double a number."""
    return double(x)


@pytest.mark.parametrize("tool", [double, double_later])
@SHELLS
def test_run_tools(shell: type[Blocking], tool: Callable[..., Any]) -> None:
    """The model calls a function, and hears of its result or its error; async functions need the async client."""
    if shell is Blocking and tool is double_later:
        tool = double
    gateway = FakeGateway()
    gateway.call_tool(tool.__name__, x=4)
    gateway.call_tool(tool.__name__, x=-1)
    gateway.say("eight")
    with gateway.serve() as url:
        run = shell(base_url=url, api_key=gateway.key)("chat.completions.run_tools", messages="2 * 4?", tools=[tool])
    said = [message["content"] for message in run.messages if isinstance(message, dict) and message["role"] == "tool"]
    assert (run.text, said) == ("eight", ["8", "Error: only numbers above zero"])
    assert gateway.requests[0].json["tools"][0]["function"]["name"] == tool.__name__


@SHELLS
def test_parse(shell: type[Blocking]) -> None:
    """An answer in the shape of a class, over the wire."""
    import dataclasses

    city = dataclasses.make_dataclass("City", [("name", str)])
    gateway = FakeGateway()
    gateway.say({"name": "Rome"})
    with gateway.serve() as url:
        found = shell(base_url=url, api_key=gateway.key)("chat.completions.parse", messages="Where?", into=city)
    assert found.value.name == "Rome"
    assert gateway.requests[0].json["response_format"]["json_schema"]["name"] == "City"


def test_final(server: RawServer) -> None:
    """`final()` reads the rest; both clients."""
    server.script = lambda _: streamed(*STREAM)

    async def main() -> str:
        async with AsyncClient(base_url=server.url, api_key=KEY) as client:
            stream = await client.chat.completions.create(messages="hi", stream=True)
            async with stream:
                return (await stream.final()).text

    with Client(base_url=server.url, api_key=KEY) as client:
        assert client.chat.completions.create(messages="hi", stream=True).final().text == "hello"
    assert asyncio.run(main()) == "hello"


def test_wrong_key() -> None:
    """A wrong key is said with what to do."""
    with pytest.raises(AuthenticationError, match="fwd generate-key"):
        FakeGateway().client(api_key="wrong").ask("hi")
