"""Image links as ``data:`` URLs, for providers that take bytes only (``FWD_FETCH_IMAGES=public``; contract T20).

A caller picks the address, so it must lead nowhere but out: https only, every address of the host must be public,
and the connection goes to one of these addresses, because a name is resolved once and checked before anybody
connects. No redirects, no proxy (it would look the name up again), no kept connections. An ``http:`` link is
asked for by https, as browsers do with images.
"""

from __future__ import annotations

import asyncio
import binascii
import ipaddress
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import quote, urlsplit

from attrs import define, field, frozen

from fwd_server.http1.client.dial import Address, Lookup
from fwd_server.http1.client.pool import Limits, Pool, Resolver
from fwd_server.http1.client.values import Code, Origin, Timeouts, TransportError
from fwd_server.providers.media import image_type
from fwd_server.upstream.deadline import Deadline
from fwd_server.values.chat import ChatRequest, Json
from fwd_server.values.errors import Refused, UpstreamError

Allowed = Callable[[str], bool]  # whether an address may be connected to

# What a dry run shows in the place of bytes it does not fetch.
PLACEHOLDER_IMAGE: Final = "data:image/png;base64,$FETCHED"

_HEADERS: Final = ((b"accept", b"image/jpeg, image/png, image/gif, image/webp"), (b"user-agent", b"fwd"))
# getaddrinfo cannot be cancelled: a few slow names must not use up the loop's default threads.
_LOOKUP_THREADS: Final = 4
_TYPE_BYTES: Final = 16  # bytes from which every image type can be told


@frozen
class ImageLimits:
    """The limits for one call: number of images, their bytes in all, and seconds (they are fetched concurrently)."""

    images: int = 20
    total_bytes: int = 20 << 20
    seconds: float = 10.0


# -- the links of a call


def links_in(request: ChatRequest, needs_bytes: Callable[[str], bool]) -> dict[str, str]:
    """Every image link that must be fetched, with the first place it stands in."""
    links: dict[str, str] = {}
    for where, image in _image_parts(request.body["messages"]):
        if needs_bytes(image["url"]):
            links.setdefault(image["url"], where)
    return links


def _image_parts(messages: list[Json]) -> Iterator[tuple[str, Json]]:
    for at, message in enumerate(messages):
        content = message.get("content")
        for index, part in enumerate(content if isinstance(content, list) else ()):
            if part["type"] == "image_url" and part.get("image_url"):
                yield f"messages[{at}].content[{index}].image_url.url", part["image_url"]


def with_images(request: ChatRequest, found: Mapping[str, str]) -> ChatRequest:
    """The call with each link in ``found`` replaced by what was found there; what the caller sent stays as it is."""
    if not found:
        return request
    messages = [_replace_links(message, found) for message in request.body["messages"]]
    return request.with_messages(messages)


def _replace_links(message: Json, found: Mapping[str, str]) -> Json:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return {**message, "content": [_replace_part_link(part, found) for part in content]}


def _replace_part_link(part: Json, found: Mapping[str, str]) -> Json:
    image = part.get("image_url")
    if not image or image["url"] not in found:
        return part
    return {**part, "image_url": {**image, "url": found[image["url"]]}}


# -- where they lead


# Not on the lists of every Python we run on, or public by name only: the rest of the IETF's own block, relays to
# IPv6, the address at which Azure serves a machine its secrets, relays to IPv4, and addresses for examples.
_NOT_PUBLIC: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "2002::/16", "2001:db8::/32", "3fff::/20")
)
_UNICAST: Final = ipaddress.ip_network("2000::/3")  # every other IPv6 address is local, or an IPv4 address in disguise


def is_public(text: str) -> bool:
    """Whether an address is one of the open internet."""
    address = ipaddress.ip_address(text)
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if address.version == 6 and address not in _UNICAST:
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def checked_lookup(lookup: Lookup, allowed: Allowed) -> Lookup:
    """A lookup that gives addresses only if every one of them is allowed; the dialer connects to no others."""

    async def look_up(host: str, port: int) -> Sequence[Address]:
        addresses = await lookup(host, port)
        # All of them: a name with one public and one private address is a rebinding attempt.
        if not all(allowed(where[0]) for _, where in addresses):
            raise TransportError("dns_failed", f"{host} has an address that is not public")
        return addresses

    return look_up


def _parse_link(link: str) -> tuple[Origin, str]:
    """The origin to ask, always by https, and the target there. Raises ValueError for an invalid link."""
    parts = urlsplit(link)
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~?")
    # The fragment is for browsers and never sent.
    secure = parts._replace(scheme="https", fragment="").geturl()
    return Origin.parse(secure), f"{target}?{query}" if query else target


# -- fetching


class _UnusableImage(Exception):
    """The response is not an image that can be passed on; the text says what it is."""


_REASONS: Final[Mapping[Code, str]] = {
    # One text for both: what names there are inside is nobody's business outside.
    "dns_failed": "its host has no address, or one that is not public",
    "connect_failed": "its server cannot be reached",
    "connect_timeout": "its server cannot be reached",
    "tls_failed": "the TLS connection to its server is not trusted",
    "too_large": "it is too large",
}
_BROKEN: Final = "its server did not send all of it"


class ImageFetcher:
    """Fetches the images that calls link to; of one event loop, and closed by its owner.

    Args:
        lookup: looks up names; by default the system does, in threads of our own, so that slow names given by
            callers never hold up those of providers.
        allowed: which addresses may be connected to.
        ssl_context: trusts what the system trusts by default.
    """

    def __init__(
        self,
        *,
        lookup: Lookup | None = None,
        allowed: Allowed = is_public,
        ssl_context: ssl.SSLContext | None = None,
        bounds: ImageLimits | None = None,
    ) -> None:
        self._bounds = bounds or ImageLimits()
        self._threads = ThreadPoolExecutor(_LOOKUP_THREADS, "image-names")
        self._pool = Pool(
            ssl_context=ssl_context,
            # A kept connection would outlive the check of its address.
            max_idle=0,
            # Twice the limit, so that our own error ("too large", with the image's place) comes before the pool's.
            limits=Limits(body=2 * self._bounds.total_bytes),
            resolver=Resolver(checked_lookup(lookup or self._look_up, allowed), keep_s=0.0),
        )

    async def fetch_images(self, links: Mapping[str, str]) -> dict[str, str]:
        """The ``data:`` URL of each link; ``links`` says where each stands. Raises Refused, naming the place."""
        most = self._bounds.images
        # Before anything is fetched, so that a call with too many links costs nobody a connection.
        if len(links) > most:
            where = list(links.values())[most]
            raise _refuse_image(where, f"the gateway fetches at most {most} images for one call")
        room = _ByteBudget(self._bounds.total_bytes)
        urls = await _gather_all(self._fetch_one(link, where, room) for link, where in links.items())
        return dict(zip(links, urls, strict=True))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _fetch_one(self, link: str, where: str, room: _ByteBudget) -> str:
        try:
            with Deadline(self._bounds.seconds, "upstream_timeout"):
                return await self._data_url(link, room)
        except TransportError as error:
            raise _refuse_image(where, _REASONS.get(error.code, _BROKEN)) from error
        except UpstreamError as error:
            raise _refuse_image(where, f"it did not arrive within {self._bounds.seconds:g} s") from error
        except _UnusableImage as error:
            raise _refuse_image(where, str(error)) from error
        except ValueError as error:
            raise _refuse_image(where, "it is not a valid link") from error

    async def _data_url(self, link: str, room: _ByteBudget) -> str:
        origin, target = _parse_link(link)
        # No time for silence: the deadline of the whole image is shorter.
        response = await self._pool.send(origin, "GET", target, _HEADERS, b"", Timeouts(idle_s=None))
        try:
            # A redirect could lead to an internal address that no check has seen.
            if 300 <= response.status < 400:
                raise _UnusableImage("its server answered with a redirect, which is not followed")
            if response.status != 200:
                raise _UnusableImage(f"its server answered with status {response.status}")
            image = _ImageReader(room)
            while piece := await response.read():
                image.feed(piece)
            return image.data_url()
        finally:
            response.close()

    async def _look_up(self, host: str, port: int) -> Sequence[Address]:
        ask = socket.getaddrinfo
        loop = asyncio.get_running_loop()
        records = await loop.run_in_executor(self._threads, ask, host, port, 0, socket.SOCK_STREAM)
        return [(family, address) for family, _, _, _, address in records]


def _refuse_image(where: str, reason: str) -> Refused:
    return Refused(
        f"The image at '{where}' was not fetched: {reason}. Send a base64 'data:' URL instead.",
        code="image_link_not_supported",
        param=where,
    )


async def _gather_all(work: Iterable[Coroutine[Any, Any, str]]) -> list[str]:
    """All results; at the first failure, or when cancelled, the others have stopped before this raises."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@define
class _ByteBudget:
    """The bytes that the images of a call may still have."""

    remaining_bytes: int

    def spend_bytes(self, size: int) -> None:
        self.remaining_bytes -= size
        if self.remaining_bytes < 0:
            raise _UnusableImage("it is too large, or the images of the call are too large together")


@define
class _ImageReader:
    """An image as it comes in: counted, told by its first bytes, and written as base64 piece by piece.

    Written at once, 20 MB would hold up everybody else on the loop.
    """

    budget: _ByteBudget
    _type: str = ""
    _rest: bytes = b""
    _written: list[bytes] = field(factory=list)

    def feed(self, piece: bytes) -> None:
        """Take what came."""
        self.budget.spend_bytes(len(piece))
        self._rest += piece
        if len(self._rest) >= _TYPE_BYTES:
            self._detect_type()
            # Base64 turns 3 bytes into 4 characters; pieces of other lengths would end in padding.
            self._encode_bytes(len(self._rest) // 3 * 3)

    def data_url(self) -> str:
        """The whole image."""
        self._detect_type()
        self._encode_bytes(len(self._rest))
        return b"".join(self._written).decode("ascii")

    def _detect_type(self) -> None:
        if not self._type:
            self._type = image_type(self._rest) or ""
            if not self._type:
                raise _UnusableImage("it is not a jpeg, png, gif or webp image")
            self._written.append(b"data:%b;base64," % self._type.encode())

    def _encode_bytes(self, size: int) -> None:
        self._written.append(binascii.b2a_base64(self._rest[:size], newline=False))
        self._rest = self._rest[size:]


__all__ = ["PLACEHOLDER_IMAGE", "ImageFetcher", "ImageLimits", "checked_lookup", "is_public", "links_in", "with_images"]
