"""T20: no link in a call makes the gateway connect to where its caller could not, in both modes."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from kit.fakeup import Fakeup, completion, json_answer
from kit.sites import PNG, certificate, loopback, reply, serving, trusting

from fwd_server.http1.client.dial import Address, Lookup
from fwd_server.upstream.images import ImageFetcher
from fwd_server.values.errors import Refused

from .conftest import Answer, Gateway, Start, request, run

MODELS = ("google:gemini-x", "ollama:llava", "anthropic:claude-x")
KEYS = {"GOOGLE_API_KEY": "AIza-x", "ANTHROPIC_API_KEY": "sk-ant-x"}

# Ways to write this machine, the metadata service beside it, and its network; {port} is where the traps are.
HOSTS = (
    *("127.0.0.1", "127.1", "127.255.255.254", "localhost", "LOCALHOST", "localhost.", "[::1]", "0.0.0.0", "0", "[::]"),
    *(
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1%25lo]",
    ),
    *("2130706433", "017700000001", "0177.0.0.1", "0x7f000001", "0x7f.0.0.1", "0x7f.1", "127.0.1", "%31%32%37.0.0.1"),
    *("169.254.169.254", "2852039166", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "168.63.129.16", "10.0.0.1"),
    *("127.0.0.1.", "１２７.０.０.１", "①②⑦.0.0.1", "a@127.0.0.1", "pictures.example@127.0.0.1", "127.0.0.1#.example"),
)


@define
class Traps:
    """Listeners on one port of every local address; ``caught`` counts who came."""

    port: int = 0
    caught: int = 0
    _listeners: list[socket.socket] = field(factory=list)

    def __enter__(self) -> Traps:
        self._listeners.append(socket.create_server(("", 0)))  # all of 127/8, 0.0.0.0
        self.port = self._listeners[0].getsockname()[1]
        with contextlib.suppress(OSError):  # no IPv6 here
            self._listeners.append(socket.create_server(("::", self.port), family=socket.AF_INET6))
        for listener in self._listeners:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.caught += 1
                connection.close()


@pytest.fixture
def traps() -> Iterator[Traps]:
    with Traps() as traps:
        yield traps


async def see(gateway: Gateway, link: str, model: str, kind: str = "image_url") -> Answer:
    """A call with a link in it."""
    part: dict[str, Any] = {
        "image_url": {"image_url": {"url": link}},
        "file": {"file": {"file_data": link}},
        "input_audio": {"input_audio": {"data": link, "format": "wav"}},
    }[kind]
    return await gateway.chat(model=model, messages=[{"role": "user", "content": [{"type": kind, **part}]}])


def call(link: str) -> bytes:
    """The body of a call for Gemini with an image in it."""
    part = {"type": "image_url", "image_url": {"url": link}}
    return json.dumps({"model": "google:gemini-x", "messages": [{"role": "user", "content": [part]}]}).encode()


def providers_at(port: int) -> dict[str, str]:
    """Every provider at one address."""
    return {f"{name}_BASE_URL": f"http://127.0.0.1:{port}" for name in ("GOOGLE", "OLLAMA", "ANTHROPIC")}


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("links"))


def test_the_traps_catch(traps: Traps) -> None:
    """What the other tests count is counted."""
    for host in ("127.0.0.1", "127.1.2.3"):
        with socket.create_connection((host, traps.port)) as connection:
            assert connection.recv(1) == b""
    assert traps.caught == 2


@pytest.mark.parametrize("mode", ["off", "public"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_spelling_of_this_machine_is_connected_to(start: Start, traps: Traps, mode: str, scheme: str) -> None:
    """Every way to write it, for every provider that takes bytes: 400, and nobody came."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            closed = nobody.getsockname()[1]
        async with start(FWD_FETCH_IMAGES=mode, **KEYS, **providers_at(closed)) as gateway:
            for host in HOSTS:
                link = f"{scheme}://{host.partition('#')[0]}:{traps.port}/{host.partition('#')[2]}"
                for model in MODELS if scheme == "http" else MODELS[:2]:
                    answer = await see(gateway, link, model)
                    assert (answer.status, answer.error["code"]) == (400, "image_link_not_supported"), (link, model)
                    assert "messages[0].content[0]" in answer.error["message"]

    run(main())
    assert traps.caught == 0


@pytest.mark.parametrize("mode", ["off", "public"])
def test_links_of_other_kinds_are_never_opened(start: Start, traps: Traps, mode: str) -> None:
    """Files and sounds come as bytes; other schemes lead nowhere."""
    schemes = ("http", "https", "ftp", "file", "gopher", "dict", "ws", "unix", "jar:https", "//", "HTTP", " http")

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            closed = nobody.getsockname()[1]
        async with start(FWD_FETCH_IMAGES=mode, **KEYS, **providers_at(closed)) as gateway:
            for scheme in schemes:
                link = f"{scheme.removesuffix('//')}{'' if scheme == '//' else ':'}//127.0.0.1:{traps.port}/x"
                for kind in ("image_url", "file"):
                    for model in MODELS[:2]:
                        assert (await see(gateway, link, model, kind)).status == 400, (link, kind, model)

    run(main())
    assert traps.caught == 0


def resolver(*answers: list[str]) -> tuple[Lookup, list[str]]:
    """A lookup that gives the answers in turn, the last one for ever; and what it was asked."""
    asked: list[str] = []

    async def lookup(host: str, port: int) -> Sequence[Address]:
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, (one, port)) for one in found]

    return lookup, asked


@pytest.mark.parametrize(
    "addresses",
    [["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"], ["::1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]],
)
def test_one_address_that_is_not_public_is_enough(start: Start, traps: Traps, addresses: list[str]) -> None:
    """Every address of a name must be public, or none is connected to."""

    async def main() -> None:
        images = ImageFetcher(lookup=resolver(addresses)[0])
        async with start(images, FWD_FETCH_IMAGES="public", **KEYS) as gateway:
            answer = await see(gateway, f"https://inside.example:{traps.port}/a.png", "google:gemini-x")
            assert answer.status == 400
            assert "not public" in answer.error["message"]

    run(main())
    assert traps.caught == 0


def test_a_name_that_is_rebound(start: Start, traps: Traps) -> None:
    """A name that is public first and this machine then: one lookup a connection, to what was checked."""
    public = "127.0.0.2"  # stands for one: nobody listens there on the port of the site

    async def main() -> None:
        lookup, asked = resolver([public], ["127.0.0.1"])
        images = ImageFetcher(lookup=lookup, allowed=lambda address: address == public)
        async with start(images, FWD_FETCH_IMAGES="public", **KEYS) as gateway:
            link = f"https://rebound.example:{only_here.getsockname()[1]}/a.png"
            first = await see(gateway, link, "google:gemini-x")
            assert "cannot be reached" in first.error["message"]
            assert asked == ["rebound.example"]
            assert "not public" in (await see(gateway, link, "google:gemini-x")).error["message"]

    with socket.create_server(("127.0.0.1", 0)) as only_here:
        run(main())
        only_here.setblocking(False)
        with pytest.raises(BlockingIOError):
            only_here.accept()


def test_a_redirect_to_this_machine(start: Start, traps: Traps, pem: Path) -> None:
    """No redirect is followed, wherever it leads."""

    async def main() -> None:
        images = ImageFetcher(lookup=loopback, allowed=lambda address: True, ssl_context=trusting(pem))
        for status in (301, 302, 303, 307, 308):
            to = f"location: https://127.0.0.1:{traps.port}/"
            async with serving(pem, says=reply(PNG, status, to)) as site:
                with pytest.raises(Refused, match="redirect, which is not followed"):
                    await images.fetch_images({site.link(): "place"})
        await images.aclose()

    run(main())
    assert traps.caught == 0


@pytest.mark.parametrize("model", MODELS)
def test_a_public_image_goes_to_the_provider_as_bytes(start: Start, pem: Path, model: str) -> None:
    """Design, *Image links*: with the setting, the bytes are sent in the place of the link."""

    async def main(up: Fakeup) -> None:
        images = ImageFetcher(lookup=loopback, allowed=lambda address: True, ssl_context=trusting(pem))
        providers = providers_at(int(up.url.rpartition(":")[2].removesuffix("/v1")))
        async with serving(pem) as site, start(images, FWD_FETCH_IMAGES="public", **KEYS, **providers) as gateway:
            await see(gateway, site.link(scheme="http" if model.startswith("anthropic") else "https"), model)
            assert base64.b64encode(PNG) in up.seen[0].body
            assert b"pictures.example" not in up.seen[0].body

    with Fakeup(lambda seen: [json_answer({})]) as up:
        run(main(up))


def test_a_deadline_ends_the_fetching(start: Start, pem: Path) -> None:
    """x-fwd-timeout counts for the images, too."""

    async def main() -> None:
        images = ImageFetcher(lookup=loopback, allowed=lambda address: True, ssl_context=trusting(pem))
        async with serving(pem, says=b"", waits=True) as site:
            async with start(images, FWD_FETCH_IMAGES="public", **KEYS) as gateway:
                answer = await gateway.talk(request(body=call(site.link()), x_fwd_timeout="0.2"))
                assert (answer.status, answer.error["code"]) == (504, "deadline")

    run(main())


def test_a_provider_that_takes_links_gets_the_text(start: Start, traps: Traps) -> None:
    """In both modes the link travels as it is; who opens it is not us."""

    async def main(up: Fakeup, mode: str) -> None:
        async with start(FWD_FETCH_IMAGES=mode, OPENAI_API_KEY="sk-x", OPENAI_BASE_URL=up.url) as gateway:
            link = f"https://127.0.0.1:{traps.port}/a.png"
            assert (await see(gateway, link, "openai:gpt-x")).status == 200
            assert up.seen[-1].json["messages"][0]["content"][0]["image_url"]["url"] == link

    with Fakeup(lambda seen: [json_answer(completion())]) as up:
        for mode in ("off", "public"):
            run(main(up, mode))
    assert traps.caught == 0


def test_a_dry_run_fetches_nothing(start: Start, traps: Traps) -> None:
    """What would be fetched is shown by a stand-in."""

    async def main() -> None:
        async with start(FWD_FETCH_IMAGES="public", **KEYS) as gateway:
            body = call(f"https://127.0.0.1:{traps.port}/")
            answer = await gateway.talk(request(body=body, x_fwd_dry_run="true"))
            (step,) = json.loads(answer.body)["plan"]
            assert step["request"]["body"]["contents"][0]["parts"][0]["inlineData"]["data"] == "$FETCHED"

    run(main())
    assert traps.caught == 0
