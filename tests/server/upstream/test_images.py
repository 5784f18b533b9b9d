"""Images for providers that take bytes: what is fetched, from where, and what is said when it is not."""

from __future__ import annotations

import asyncio
import base64
import functools
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from kit import sites
from kit.sites import PNG, certificate, loopback, reply, trusting

from fwd_server.callers.openai_chat import parse_request
from fwd_server.providers import PROVIDERS
from fwd_server.providers.media import is_link
from fwd_server.upstream.images import ImageFetcher, ImageLimits, is_public, links_in, with_images
from fwd_server.values.chat import ChatRequest
from fwd_server.values.errors import Refused

Serving = Callable[..., Any]
IMAGES = {
    "png": PNG,
    "jpeg": b"\xff\xd8\xff\xe0" + bytes(40),
    "gif": b"GIF89a" + bytes(41),
    "webp": b"RIFF\x10\0\0\0WEBPVP8 " + bytes(42),
}


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("images"))


@pytest.fixture
def trust(pem: Path) -> ssl.SSLContext:
    return trusting(pem)


@pytest.fixture
def serving(pem: Path) -> Serving:
    """A site on loopback: ``async with serving(says=...) as site``."""
    return functools.partial(sites.serving, pem)


async def fetched(trust: ssl.SSLContext, *links: str, **more: Any) -> list[str]:
    """What is found at links that may lead here."""
    images = ImageFetcher(**{"lookup": loopback, "allowed": lambda address: True, "ssl_context": trust, **more})
    try:
        return list((await images.fetch_images({link: f"place {at}" for at, link in enumerate(links)})).values())
    finally:
        await images.aclose()


async def reason(trust: ssl.SSLContext, *links: str, **more: Any) -> str:
    """Why nothing was fetched; the place is always named."""
    with pytest.raises(Refused) as caught:
        await fetched(trust, *links, **more)
    error = caught.value
    assert (error.status, error.code) == (400, "image_link_not_supported")
    assert error.param is not None
    assert f"'{error.param}' was not fetched" in error.message
    return error.message


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_becomes_a_data_url(serving: Serving, trust: ssl.SSLContext, kind: str) -> None:
    """Its type is told by its bytes, whatever the server says."""

    async def main() -> None:
        async with serving(says=reply(IMAGES[kind], 200, "content-type: text/html")) as site:
            (url,) = await fetched(trust, site.link())
            head, _, data = url.partition(",")
            assert head == f"data:image/{kind};base64"
            assert base64.b64decode(data, validate=True) == IMAGES[kind]

    asyncio.run(main())


@pytest.mark.parametrize("size", [12, 13, 14, 16, 17, 1_000_000, 1_000_001])
def test_every_byte_arrives(serving: Serving, trust: ssl.SSLContext, size: int) -> None:
    """Base64 is written piece by piece, however the pieces are cut."""
    image = (PNG * (size // len(PNG) + 1))[:size]

    async def main() -> None:
        async with serving(says=reply(image)) as site:
            (url,) = await fetched(trust, site.link())
            assert base64.b64decode(url.partition(",")[2], validate=True) == image

    asyncio.run(main())


def test_what_a_site_is_told(serving: Serving, trust: ssl.SSLContext) -> None:
    """The host, the path, and nothing of the caller or of us; odd characters are escaped, a fragment stays here."""

    async def main() -> None:
        async with serving() as site:
            await fetched(trust, site.link("/ä b.png?q=1&x=%20 y#part"))
            lines = site.requests[0].decode().split("\r\n")
            assert lines[0] == "GET /%C3%A4%20b.png?q=1&x=%20%20y HTTP/1.1"
            names = {line.partition(":")[0].lower() for line in lines[1:] if line}
            assert names == {"host", "accept", "user-agent", "accept-encoding"}
            assert f"Host: pictures.example:{site.port}" in lines

    asyncio.run(main())


def test_an_http_link_is_asked_for_by_https(serving: Serving, trust: ssl.SSLContext) -> None:
    """T20: https only; a link that says otherwise is upgraded, never followed in clear."""

    async def main() -> None:
        async with serving() as site:
            assert len(await fetched(trust, site.link(scheme="http"))) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("says", "said"),
    [
        (reply(b"", 302, "location: https://127.0.0.1/"), "a redirect, which is not followed"),
        (reply(PNG, 404), "status 404"),
        (reply(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "not a jpeg, png, gif or webp"),
        (reply(b""), "not a jpeg, png, gif or webp"),
        (reply(PNG)[:-1], "did not send all of it"),
        (reply(PNG, 200, "content-encoding: gzip"), "did not send all of it"),
        (reply(PNG + bytes(2000)), "too large"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "did not send all of it"),
    ],
)
def test_what_is_no_image_is_refused(serving: Serving, trust: ssl.SSLContext, says: bytes, said: str) -> None:
    """400 that names the place and the reason."""

    async def main() -> None:
        async with serving(says=says) as site:
            assert said in await reason(trust, site.link(), bounds=ImageLimits(total_bytes=2000))
            assert len(site.requests) == 1

    asyncio.run(main())


def test_a_slow_site_is_not_waited_for(serving: Serving, trust: ssl.SSLContext) -> None:
    async def main() -> None:
        async with serving(says=reply(PNG)[:50], waits=True) as site:
            assert "within 0.2 s" in await reason(trust, site.link(), bounds=ImageLimits(seconds=0.2))

    asyncio.run(main())


def test_the_bounds_are_those_of_a_call(serving: Serving, trust: ssl.SSLContext) -> None:
    """Images share their bytes, and there are only so many of them."""

    async def main() -> None:
        async with serving() as site:
            links = [site.link(f"/{n}.png") for n in range(3)]
            assert "too large" in await reason(trust, *links, bounds=ImageLimits(total_bytes=2 * len(PNG)))
            site.requests.clear()
            assert "'place 2' was not fetched" in await reason(trust, *links, bounds=ImageLimits(images=2))
            assert site.requests == []

    asyncio.run(main())


@pytest.mark.parametrize(
    "link", ["https://", "https://user:pw@a.example/", "https://a.example:99999/", "https://[::1/", "https://a..b/"]
)
def test_a_link_that_is_none(trust: ssl.SSLContext, link: str) -> None:
    assert "not a valid link" in asyncio.run(reason(trust, link))


def test_a_certificate_must_fit_the_name(serving: Serving, trust: ssl.SSLContext) -> None:
    """T39: the name of the link is what is checked, though the connection goes to an address."""

    async def main() -> None:
        async with serving() as site:
            assert "not trusted" in await reason(trust, site.link(host="other.example"))
            assert site.requests == []

    asyncio.run(main())


def test_nobody_listens(trust: ssl.SSLContext) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert "cannot be reached" in asyncio.run(reason(trust, f"https://pictures.example:{port}/"))


def test_a_cancelled_fetch_leaves_nothing_behind(serving: Serving, trust: ssl.SSLContext) -> None:
    """T7: the caller leaves, and so do we."""

    async def main() -> None:
        async with serving(says=b"", waits=True) as site:
            task = asyncio.create_task(fetched(trust, site.link("/1"), site.link("/2")))
            while len(site.requests) < 2:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert {t for t in asyncio.all_tasks() if "_one" in repr(t)} == set()

    asyncio.run(main())


def test_an_address_that_is_not_public_is_not_connected_to(serving: Serving, trust: ssl.SSLContext) -> None:
    """T20: what the name leads to is checked, and nobody is asked."""

    async def main() -> None:
        async with serving() as site:
            assert "not public" in await reason(trust, site.link(), allowed=is_public)
            assert site.requests == []

    asyncio.run(main())


def test_the_systems_own_lookup(serving: Serving, trust: ssl.SSLContext) -> None:
    """Names are looked up in threads of our own; an address is its own name, and its TLS name does not fit here."""

    async def main() -> None:
        async with serving() as site:
            assert "not trusted" in await reason(trust, site.link(host="127.0.0.1"), lookup=None)

    asyncio.run(main())


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001::1"])
def test_addresses_of_the_open_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    """T20: local, shared, reserved, many at once, for examples, or an IPv4 address in disguise."""
    assert not is_public(address)


def a_call(*urls: str, **message: Any) -> ChatRequest:
    parts = [{"type": "text", "text": "see"}]
    parts += [{"type": "image_url", "image_url": {"url": url, "detail": "low"}} for url in urls]
    said = [{"role": "system", "content": "be"}, {"role": "user", "content": parts, **message}]
    return parse_request(orjson.dumps({"model": "google:gemini-x", "messages": said}))


def test_links_of_a_call() -> None:
    """Each once, with the first place it stands in."""
    call = a_call("https://a.example/1", "data:image/png;base64,AA", "https://a.example/1", "HTTP://b.example/2")
    assert links_in(call, is_link) == {
        "https://a.example/1": "messages[1].content[1].image_url.url",
        "HTTP://b.example/2": "messages[1].content[4].image_url.url",
    }


def test_images_take_the_places_of_their_links() -> None:
    """Nothing else changes, and the caller's own object not at all."""
    call = a_call("https://a.example/1", "https://a.example/2", name="ada")
    changed = with_images(call, {"https://a.example/2": "data:image/png;base64,AA"})
    assert changed.body["messages"][0] is call.body["messages"][0]
    assert changed.body["messages"][1]["name"] == "ada"
    assert [part["image_url"] for part in changed.body["messages"][1]["content"][1:]] == [
        {"url": "https://a.example/1", "detail": "low"},
        {"url": "data:image/png;base64,AA", "detail": "low"},
    ]
    assert call.body["messages"][1]["content"][2]["image_url"]["url"] == "https://a.example/2"
    assert with_images(call, {}) is call


@pytest.mark.parametrize(
    ("provider", "links"),
    [("openai", 0), ("openrouter", 0), ("groq", 0), ("echo", 0), ("anthropic", 1), ("google", 2), ("ollama", 3)],
)
def test_who_needs_bytes(provider: str, links: int) -> None:
    """Design, *Image links*: Gemini and Ollama, and Anthropic for http; Gemini opens its own files."""
    own = "https://generativelanguage.googleapis.com/v1beta/files/abc"
    call = a_call("https://a.example/1", "http://b.example/2", own)
    assert len(links_in(call, PROVIDERS[provider].needs_bytes)) == links
