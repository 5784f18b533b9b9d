"""Tokens of clouds: fetched, renewed and sent to their own provider only (contract RT20, S11)."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import re
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kit.clock import FakeClock
from kit.fakeup import Fakeup, Seen, Step, completion, json_answer
from kit.gateways import gateway

from fwd_server.app import build_table
from fwd_server.clock import SystemClock
from fwd_server.settings import load_settings
from fwd_server.settings.config_file import ConfigText
from fwd_server.upstream.cloud_tokens import Token, TokenRenewer, region_of, renewal_wait
from fwd_server.values.cloud_token import CloudSession, CloudToken, cloud_token, missing_extra
from fwd_server.wire.redact import redact_text

KEY = "fwd_" + "c" * 43
GEMINI = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}


@pytest.mark.parametrize(("life", "wait"), [(3600, 2880), (86_400, 69_120), (600, 300), (200, 1), (-5, 1)])
def test_a_fifth_of_the_life_or_five_minutes_are_kept(life: float, wait: float) -> None:
    assert renewal_wait(life) == wait


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://bedrock-mantle.eu-central-1.api.aws/v1", "eu-central-1"),
        ("https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1", "us-east-1"),
        ("https://gateway.example/v1", None),
        ("http://127.0.0.1:1/v1", None),
    ],
)
def test_the_region_is_part_of_the_address(url: str, region: str | None) -> None:
    assert region_of(url) == region


@pytest.mark.parametrize(
    ("kind", "module", "extra"),
    [("entra", "azure", "azure"), ("aws", "botocore", "aws"), ("google", "google", "google")],
)
def test_what_is_not_installed_is_named(kind: Any, module: str, extra: str) -> None:
    """And what is there is not imported for the question."""
    assert missing_extra(kind) == ("" if importlib.util.find_spec(module) else extra)


def test_a_token_shows_nothing_and_survives_a_reload() -> None:
    """S12; the same object for the same instance, kind and address, another one for any other."""
    token = cloud_token("google", "shown", "https://a.example")
    assert token is cloud_token("google", "shown", "https://a.example")
    assert token is not cloud_token("google", "shown", "https://b.example")
    assert not token
    assert redact_text("no token yet", token) == "no token yet"
    token.session.renew("ya29.secret-token", 1.0)
    assert token
    assert "secret" not in f"{token} {token!r} {token.session!r} {token.with_prefix('Bearer ')!r}"
    assert token.with_prefix("Bearer ").reveal() == "Bearer ya29.secret-token"
    assert token.with_prefix("Bearer ").display_text() == "Bearer $providers.shown.auth"


async def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.gen_test
async def test_a_failed_renewal_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """The old token stays; what is wrong is in the notices of ``/ready`` until there is a valid one."""
    outcomes: list[Token | Exception] = [OSError("down at 10.0.0.1"), OSError("down"), Token("t1", time.time() + 3600)]
    session = CloudSession("entra", "azure", "https://a.example")

    def fetch() -> Token:
        outcome = outcomes.pop(0)
        session.wanted.set()  # no waiting between tries
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    renewer = TokenRenewer(SystemClock(), asyncio.get_running_loop(), lambda session: fetch, least_between_s=30)
    with caplog.at_level(logging.ERROR, "fwd.upstream"):
        renewer.start([session, session])
        await until(lambda: session.token == "t1")
    assert [record.getMessage() for record in caplog.records] == ["azure: no new token: OSError: down at ***"]
    assert renewer.notices() == ()
    renewer.close()


@pytest.mark.gen_test
async def test_a_token_that_has_ended_is_a_notice() -> None:
    """Before the first one, too."""
    clock = FakeClock()
    renewer = TokenRenewer(clock, asyncio.get_running_loop(), lambda session: lambda: Token("t", clock.now() + 3600))
    session = CloudSession("aws", "bedrock", "https://a.example")
    renewer.start([session])
    await until(lambda: renewer.notices() == ())
    session.renew("t", clock.now() - 1)
    assert renewer.notices() == ("bedrock has no valid token: the first one is being fetched",)
    renewer.close()


# -- the clouds' own libraries, with endpoints on loopback


def entra(url: str, folder: Path) -> dict[str, str]:
    """A managed identity, as App Service offers it."""
    return {"IDENTITY_ENDPOINT": f"{url}/token", "IDENTITY_HEADER": "secret", "AZURE_TOKEN_CREDENTIALS": "prod"}


def google(url: str, folder: Path) -> dict[str, str]:
    """A service account, whose token comes from the address in its file."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "client_email": "fwd@project.example",
        "private_key": pem.decode(),
        "token_uri": f"{url}/token",
    }
    (folder / "account.json").write_text(json.dumps(account))
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(folder / "account.json")}


def aws(url: str, folder: Path) -> dict[str, str]:
    """Credentials in the environment; the token is signed here and needs no endpoint."""
    return {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1"}


def token_endpoint() -> Fakeup:
    """Gives tokens numbered from 1 on, in the shape that both clouds read."""
    numbers = count(1)

    def answer(seen: Seen) -> list[Step]:
        token = {
            "access_token": f"token-{next(numbers)}",
            "expires_on": str(int(time.time()) + 3600),
            "expires_in": 3600,
            "token_type": "Bearer",
            "resource": "r",
        }
        return [json_answer(token)]

    return Fakeup(answer)


CLOUDS = pytest.mark.parametrize(
    ("provider", "auth", "module", "setup", "answer"),
    [
        ("azure", "entra", "azure.identity", entra, completion("Hi")),
        ("vertex", "google", "google.auth", google, GEMINI),
        ("bedrock", "aws", "aws_bedrock_token_generator", aws, completion("Hi")),
    ],
)


@CLOUDS
@pytest.mark.gen_test(timeout=60)
async def test_a_cloud_is_asked_with_its_token(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    provider: str,
    auth: str,
    module: str,
    setup: Callable[[str, Path], dict[str, str]],
    answer: Any,
) -> None:
    """RT20: at start in the background, as Bearer; a refused token is renewed at once, and the next call works."""
    pytest.importorskip(module)
    sent: list[str] = []
    good: set[str] = set()

    def answered(seen: Seen) -> list[Step]:
        sent.append(seen.headers["authorization"])
        assert "api-key" not in seen.headers
        if sent[-1] not in good:
            return [json_answer({"error": {"message": "expired", "code": 401}}, status=401)]
        return [json_answer(answer)]

    for name in ("AZURE_CLIENT_ID", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    cloud_token.cache_clear()
    with token_endpoint() as tokens, Fakeup(answered) as up:
        for name, value in setup(tokens.url, tmp_path).items():
            monkeypatch.setenv(name, value)
        config = ConfigText(f'[providers.{provider}]\nauth = "{auth}"\nbase_url = "{up.url}"\n')
        async with (
            gateway(tmp_path, KEY, config=config, FWD_ATTEMPTS="1") as running,
            httpx.AsyncClient(base_url=running.url, headers={"Authorization": f"Bearer {KEY}"}) as client,
        ):
            session = cloud_token(auth, provider, up.url).session  # type: ignore[arg-type]
            await until(lambda: bool(session.token))
            first = session.token
            body = {"model": f"{provider}:m", "messages": [{"role": "user", "content": "Hi"}]}
            refused = await client.post("/v1/chat/completions", json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (502, "provider_auth")
            assert first not in refused.text
            # As the renewing thread does it once the shortest time between two renewals is over.
            session.renew("token-next", time.time() + 3600)
            good.add("Bearer token-next")
            call = await client.post("/v1/chat/completions", json=body)
            assert session.wanted.is_set()
    assert call.status_code == 200, call.text
    assert sent == [f"Bearer {first}", "Bearer token-next"]


@pytest.mark.gen_test
async def test_without_a_token_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that comes before the first token is a 503 of ours, and another provider may answer it."""
    pytest.importorskip("google.auth")
    # No credentials, and no machine of Google's to ask for some.
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    cloud_token.cache_clear()
    with Fakeup(lambda seen: [json_answer(GEMINI)]) as up:
        config = ConfigText(f'[providers.vertex]\nauth = "google"\nbase_url = "{up.url}"\n')
        async with (
            gateway(tmp_path, KEY, config=config, FWD_ATTEMPTS="1") as running,
            httpx.AsyncClient(base_url=running.url, headers={"Authorization": f"Bearer {KEY}"}) as client,
        ):
            session = cloud_token("google", "vertex", up.url).session
            session.token = ""
            body = {"model": "vertex:gemini-3.5-flash", "messages": [{"role": "user", "content": "Hi"}]}
            answer = await client.post("/v1/chat/completions", json=body)
            ready = await client.get("/ready")
    assert (answer.status_code, up.seen) == (503, [])
    assert "no token for vertex" in answer.json()["error"]["message"]
    assert any("vertex has no valid token" in notice for notice in ready.json()["degraded"])


def test_the_example_of_the_documents_can_be_used() -> None:
    """Where the extras are installed, it has no problem."""
    for module in ("azure.identity", "google.auth", "aws_bedrock_token_generator"):
        pytest.importorskip(module)
    text = (Path(__file__).parents[3] / "docs/providers.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    built = build_table(load_settings({}, {}, None, ConfigText(block)).settings)
    keys = {name: built.routes.instances[name].endpoint.key for name in ("azure", "bedrock", "vertex")}
    assert {name: key.session.kind for name, key in keys.items() if isinstance(key, CloudToken)} == {
        "azure": "entra",
        "bedrock": "aws",
        "vertex": "google",
    }
    assert all(built.routes.instances[name].endpoint.enabled for name in keys)


def test_a_token_belongs_to_its_instance() -> None:
    """S11: two instances of one kind never share one."""
    one, two = (cloud_token("entra", name, "https://a.example") for name in ("azure-eu", "azure-us"))
    assert isinstance(one, CloudToken)
    assert one.session is not two.session
    assert one.name != two.name
