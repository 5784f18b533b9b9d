"""What is written out for speed does what Tornado's own way does."""

from __future__ import annotations

from typing import Any

import pytest
from tornado import httputil
from tornado.routing import URLSpec
from tornado.web import RequestHandler

from fwd_server.values import ids
from fwd_server.web.application import exact_path
from fwd_server.web.base import BaseHandler


class Nowhere:
    """A connection that takes what it is told."""

    context = None

    def set_close_callback(self, callback: Any) -> None:
        pass


class AsTornado(BaseHandler):
    """A handler that is cleared the long way."""

    clear = RequestHandler.clear


def test_clearing_an_answer_leaves_what_tornado_leaves(make_app: Any) -> None:
    """Every attribute Tornado sets is set to the same; of the headers, only the name of the server is missing."""
    start = httputil.RequestStartLine("GET", "/", "HTTP/1.1")
    headers = httputil.HTTPHeaders({"Host": "localhost", "x-request-id": "r1"})
    request = httputil.HTTPServerRequest(start_line=start, headers=headers, connection=Nowhere())  # type: ignore[arg-type]
    application = make_app().application
    ours, theirs = BaseHandler(application, request), AsTornado(application, request)
    for handler in (ours, theirs):
        handler.set_status(418)
        handler.set_header("X-Left", "behind")
        handler.clear()
    expected = {**vars(theirs), "_headers": dict(theirs._headers.get_all()), "ui": None}
    assert {
        **vars(ours),
        "_headers": {"Server": expected["_headers"]["Server"], **ours._headers},
        "ui": None,
    } == expected
    assert "Server" not in ours._headers


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        (r"/", "/"),
        (r"/v1/models", "/v1/models"),
        (r"/swagger\-ui\.css", "/swagger-ui.css"),
        (r"/v1/models/(?P<name>.+)", None),
        (r"/a.b", None),
        (r"/a\d", None),
    ],
)
def test_only_a_pattern_for_one_path_is_looked_up(pattern: str, path: str | None) -> None:
    assert exact_path(URLSpec(pattern, RequestHandler).regex.pattern) == path


def test_ids_are_letters_and_digits() -> None:
    found = {ids.new_id("req_") for _ in range(1000)}
    assert len(found) == 1000
    assert all(len(one) == 33 and one.removeprefix("req_").isalnum() for one in found)
