"""Settings that are read again while the gateway runs; the rest of the command is tried in tests/together."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from fwd_server.app import App, build_app
from fwd_server.process.main import address_text, exposure_warnings
from fwd_server.process.reload import CurrentConfig, load_settings, text_of


@pytest.fixture
def dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The ``.env`` of an empty working directory, still without text."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ".env"
    path.touch(mode=0o600)
    return path


@pytest.fixture
def current(dotenv: Path) -> CurrentConfig:
    return CurrentConfig({"FWD_PORT": "0"}, load_settings({"FWD_PORT": "0"}, {}, dotenv))


def test_what_changed_is_named_and_taken(
    current: CurrentConfig, dotenv: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """D9, with several workers: they get the flags and the new text."""
    dotenv.write_text("FWD_ATTEMPTS=7\nOPENAI_API_KEY=sk-canary\n")
    with caplog.at_level(logging.INFO):
        order = current.reload_worker_config()
    assert order is not None
    assert (order.flags, order.dotenv) == ({"FWD_PORT": "0"}, text_of(dotenv))
    assert current.loaded.settings.attempts == 7
    assert "FWD_ATTEMPTS" in caplog.text
    assert "canary" not in caplog.text


def test_one_process_gets_a_gateway_of_the_new_settings(current: CurrentConfig, dotenv: Path) -> None:
    """D9."""
    dotenv.write_text("FWD_ECHO=false\n")

    async def act() -> tuple[str, bool]:
        before = build_app(current.loaded.settings)
        found = current.rebuild_app(before)
        assert found is not None
        app, settings = found
        assert app.runtime is before.runtime, "connections, cooldowns and running calls stay"
        await app.aclose()
        return type(app).__name__, settings.echo

    assert asyncio.run(act()) == (App.__name__, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FWD_ATTEMPTS=many\n", "FWD_ATTEMPTS"),
        ("FWD_HOST=0.0.0.0\n", "until a restart"),
        ("FWD_WORKERS=3\n", "until a restart"),
        ("FWD_SSL_CERTFILE=none.pem\n", "FWD_SSL_CERTFILE"),
    ],
)
def test_what_cannot_be_taken_leaves_all_as_it_is(
    current: CurrentConfig, dotenv: Path, caplog: pytest.LogCaptureFixture, text: str, said: str
) -> None:
    """D9: invalid = keep old, say why."""
    before = current.loaded
    dotenv.write_text(text)
    assert current.reload_worker_config() is None
    assert current.loaded is before
    assert said in caplog.text


def test_a_certificate_that_is_gone_is_named(
    current: CurrentConfig, dotenv: Path, caplog: pytest.LogCaptureFixture
) -> None:
    current.flags["FWD_SSL_CERTFILE"] = "gone.pem"
    current.loaded = load_settings(current.flags, {}, dotenv)
    assert current.reload_worker_config() is None
    assert "gone.pem cannot be used" in caplog.text


def test_without_a_file_there_is_no_text(tmp_path: Path) -> None:
    assert text_of(tmp_path / ".env") is None


@pytest.mark.parametrize(
    ("host", "url", "warned"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000", False),
        ("0.0.0.0", "http://127.0.0.1:8000", True),
        ("::", "http://[::1]:8000", True),
        ("::1", "http://[::1]:8000", False),
        ("10.1.2.3", "http://10.1.2.3:8000", True),
    ],
)
def test_the_address_at_the_start_can_be_opened(dotenv: Path, host: str, url: str, warned: bool) -> None:
    """No browser opens 0.0.0.0; whoever listens there without TLS is warned once."""
    settings = load_settings({"FWD_HOST": host}, {}, dotenv).settings
    assert address_text(settings, 8000) == url
    assert [warning.startswith(f"FWD_HOST={host} without TLS") for warning in exposure_warnings(settings)] == (
        [True] if warned else []
    )
