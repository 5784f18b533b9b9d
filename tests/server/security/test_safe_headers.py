"""T36, S29: every answer of every route says that it is not stored, and that nobody is told where it was read."""

from __future__ import annotations

from tornado.routing import PathMatches, Rule

from .conftest import Answer, Gateway, Start, request, run

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def check(answer: Answer) -> None:
    assert answer.header("cache-control") in ("no-store", "no-cache, no-store")
    assert answer.header("referrer-policy") == "no-referrer"
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("x-frame-options") == "DENY"
    assert "default-src 'none'" in answer.header("content-security-policy")
    assert answer.header("server") == ""
    assert answer.header("x-request-id")


def paths(gateway: Gateway) -> list[str]:
    """A path of every route, from the router itself: a new one cannot be forgotten."""
    return [_path(rule) for rule in gateway.app.application.wildcard_router.rules]


def _path(rule: Rule) -> str:
    matcher = rule.matcher
    assert isinstance(matcher, PathMatches)
    path = matcher.reverse(*["echo:"] * matcher.regex.groups)
    assert path is not None, f"no path for {matcher.regex.pattern}: give its route a pattern that can be reversed"
    return path


def test_every_route_with_every_method(start: Start) -> None:
    """With a key and without, whatever the answer is."""

    async def main() -> None:
        async with start() as gateway:
            found = paths(gateway)
            assert {"/", "/docs", "/v1/models", "/v1/models/echo%3A", "/v1/chat/completions"} <= set(found)
            for path in (*found, "/nothing"):
                for method in METHODS:
                    check(await gateway.talk(request(method, path)))
                    check(await gateway.talk(request(method, path, Authorization="")))

    run(main())


def test_answers_that_are_no_routes(start: Start) -> None:
    """A stream, a refused head, a refused body and a refused host."""

    async def main() -> None:
        stream = b'{"model":"echo:","stream":true,"messages":[{"role":"user","content":"Hi"}]}'
        sent = (
            *(
                request(body=stream),
                b"nonsense\r\n\r\n",
                request("GET", "/" + "a" * 5000),
                request(Host="evil.example"),
            ),
            *(request(Content_Length="99999999999", body=b""), request(Content_Encoding="gzip"), request(Host="")),
        )
        async with start() as gateway:
            for data in sent:
                check(await gateway.talk(data))

    run(main())
