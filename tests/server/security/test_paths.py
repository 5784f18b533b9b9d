"""T17: a path, and a name in it, never leads to a file that is not on the list."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest
from kit.fakeup import Fakeup, json_answer
from kit.hostile import traversals

from fwd_server.web import pages

from .conftest import Start, request, run

ROUTES = (
    *("/", "/docs", "/redoc", "/openapi.json", "/health", "/ready", "/v1/models", "/v1/chat/completions"),
    *("/v1/embeddings", "/static", "/static/page.css"),
)


def test_a_models_name_is_a_name_and_nothing_else(start: Start) -> None:
    """What looks like a path after a prefix is said back as the name it is."""

    async def main() -> None:
        async with start() as gateway:
            for climb in traversals():
                answer = await gateway.talk(request("GET", f"/v1/models/echo:{climb}"))
                if answer.status == 200:
                    assert json.loads(answer.body)["id"] == f"echo:{unquote(climb)}"
                else:
                    assert answer.status in (400, 404)

    run(main())


def test_there_are_200_of_them() -> None:
    assert len(set(traversals())) == 200


@pytest.mark.parametrize("route", ROUTES)
def test_no_file_outside_the_list_is_served(start: Start, route: str) -> None:
    """200 ways up from each route: what comes with 200 is one of our own answers, never a file."""
    own = {file.read_bytes() for file in pages.page_files().values()}

    async def main() -> None:
        async with start() as gateway:
            for climb in traversals():
                answer = await gateway.talk(request("GET", f"{route.rstrip('/')}/{climb}"))
                assert answer.status in (400, 404, 405) or answer.body in own, (climb, answer)

    run(main())


MODELS = (*(f"google:{climb}" for climb in traversals()), *(f"gemini-{climb}" for climb in traversals()))


def test_no_models_name_climbs_out_of_the_providers_path(start: Start) -> None:
    """Gemini's model stands in the path of the request: it is one segment of it, whatever it holds."""

    async def main(up: Fakeup) -> None:
        async with start(GOOGLE_API_KEY="AIza-x", GOOGLE_BASE_URL=up.url) as gateway:
            for model in MODELS:
                await gateway.chat(model=model)

    with Fakeup(lambda seen: [json_answer({})]) as up:
        run(main(up))
    assert up.seen
    for seen in up.seen:
        before, _, name = seen.target.removesuffix(":generateContent").partition("/v1/models/")
        assert before == ""
        assert not set(name) & set("/\\?#"), seen.target
