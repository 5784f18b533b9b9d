"""Origins are taken from base URLs, and from nothing that only looks like one."""

from __future__ import annotations

import pytest

from fwd_server.http1.client.values import Origin, TransportError


@pytest.mark.parametrize(
    ("url", "origin", "host_header", "authority"),
    [
        ("https://api.openai.com/v1", Origin("https", "api.openai.com", 443), "api.openai.com", "api.openai.com:443"),
        ("http://localhost:11434", Origin("http", "localhost", 11434), "localhost:11434", "localhost:11434"),
        ("http://[::1]/", Origin("http", "::1", 80), "[::1]", "[::1]:80"),
        ("https://[::1]:8443/", Origin("https", "::1", 8443), "[::1]:8443", "[::1]:8443"),
        ("https://BÜCHER.example", Origin("https", "xn--bcher-kva.example", 443), "xn--bcher-kva.example", None),
    ],
)
def test_origin_of_a_base_url(url: str, origin: Origin, host_header: str, authority: str | None) -> None:
    """Scheme, host and port are found, and written back as Host and CONNECT want them."""
    found = Origin.parse(url)
    assert (found, found.host_header) == (origin, host_header)
    assert authority is None or found.authority == authority


@pytest.mark.parametrize(
    "url",
    ["ftp://x", "api.openai.com", "https://", "http://x:99999", "https://u:hunter2@x", "https://a..b", "http://x:y"],
)
def test_what_is_no_base_url(url: str) -> None:
    """Anything else is a ValueError that does not quote a secret."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the message varies
        Origin.parse(url)
    assert "hunter2" not in str(caught.value)


def test_transport_error_has_a_code() -> None:
    """The code is what others decide by, the message what people read."""
    error = TransportError("dns_failed", "no address for x")
    assert (error.code, str(error)) == ("dns_failed", "no address for x")
