"""Serving: settings that are read again, what ends it, and the drain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tornado.netutil import bind_unix_socket

from fwd_server.app import App, build_app
from fwd_server.machine import MemoryUse, memory_use
from fwd_server.process.serve import listen_at, loop_monitor, open_listeners, removed_socket, serve_app
from fwd_server.settings import Settings, load_settings
from fwd_server.settings.units import Address

KEY = "fwd_" + "k" * 43
CALL = (
    f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
    "Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
).encode()
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")


def settings_of(path: Path, **env: str) -> Settings:
    return load_settings({}, {"FORWARDER_KEYS_FILE": str(path / "keys"), "FWD_PORT": "0", **env}).settings


async def get(port: int, path: str = "/ready") -> int:
    """The status of a path."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    status = int((await reader.readline()).split()[1])
    await reader.read()
    writer.close()
    return status


def served(
    settings: Settings,
    act: Callable[[int], Any],
    *,
    memory: Callable[[], MemoryUse | None] = lambda: None,
    **more: Any,
) -> None:
    """Serve, act on the port, and return once it has stopped."""

    async def both() -> None:
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        app = build_app(settings, memory=memory)
        serving = asyncio.ensure_future(serve_app(app, open_listeners(settings), settings, port.set_result, **more))
        await act(await port)
        await serving

    asyncio.run(both())


def test_a_unix_socket_is_not_taken_from_a_gateway_that_listens(tmp_path: Path) -> None:
    """As little as a port is; what a killed one left behind is taken."""
    settings = settings_of(tmp_path, FWD_UDS=str(tmp_path / "s"))
    with open_listeners(settings)[0], pytest.raises(OSError, match="in use"):
        open_listeners(settings)
    open_listeners(settings)[0].close()


def test_a_file_is_not_taken_for_a_unix_socket(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(OSError, match="not a socket"):
        open_listeners(settings_of(tmp_path, FWD_UDS=str(tmp_path / "s")))
    assert (tmp_path / "s").read_text() == "precious"


def test_a_gateway_without_room_for_one_more_has_its_socket_all_the_same(tmp_path: Path) -> None:
    """Nobody accepts what waits there, and the next start does not wait for it either."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(bind_unix_socket(str(tmp_path / "s"), backlog=0))
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(str(tmp_path / "s"))
        with pytest.raises(OSError, match="a process listens"):
            open_listeners(settings_of(tmp_path, FWD_UDS=str(tmp_path / "s")))


def test_a_unix_socket_leaves_no_file_behind(tmp_path: Path) -> None:
    address = Address(path=tmp_path / "s")
    with removed_socket(Address("127.0.0.1", 1)), listen_at(address)[0], removed_socket(address):
        assert (tmp_path / "s").is_socket()
    assert list(tmp_path.iterdir()) == []


def test_the_socket_of_another_gateway_stays(tmp_path: Path) -> None:
    """Who came later took the place of what seemed dead."""
    address = Address(path=tmp_path / "s")
    with listen_at(address)[0], removed_socket(address):
        (tmp_path / "s").rename(tmp_path / "old")
        (tmp_path / "s").touch()
    assert (tmp_path / "s").exists()
    (tmp_path / "s").unlink()
    with listen_at(address)[0], removed_socket(address):
        (tmp_path / "s").unlink()


def test_probes_are_answered_when_nothing_else_is(tmp_path: Path) -> None:
    """R3, R2: the one connection there may be is taken, and then the gateway stops; probes learn how it is."""
    (tmp_path / "keys").touch(mode=0o600)
    (tmp_path / "keys").write_text(f"{KEY}\n")
    settings = settings_of(tmp_path, FWD_MAX_CONNECTIONS="1")
    (sock,) = listen_at(Address("127.0.0.1"))
    told: list[str] = []

    async def act(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(CALL)
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        probes = sock.getsockname()[1]
        assert [await get(probes, path) for path in ("/health", "/ready", "/")] == [200, 200, 404]
        os.kill(os.getpid(), signal.SIGTERM)
        while await get(probes) == 200:
            pass
        assert await get(probes, "/health") == 200
        writer.close()

    served(settings, act, health=[sock], tell=told.append)
    assert told[0] == "ready"


def test_memory_that_runs_out_is_noticed(tmp_path: Path) -> None:
    """D13: a call is let in, then none is, then one is again; probes are answered all the while."""
    (tmp_path / "keys").touch(mode=0o600)
    (tmp_path / "keys").write_text(f"{KEY}\n")
    group(tmp_path, used=500)
    (sock,) = listen_at(Address("127.0.0.1"))

    async def act(port: int) -> None:
        for used, status in ((500, b"100"), (950, b"503"), (500, b"100")):
            group(tmp_path, used)
            while await first_line(port, CALL) != status:
                assert await get(sock.getsockname()[1]) == 200
        os.kill(os.getpid(), signal.SIGTERM)

    def memory() -> MemoryUse | None:
        return memory_use(tmp_path, tmp_path / "own")

    served(settings_of(tmp_path), act, health=[sock], memory=memory)


def group(path: Path, used: int) -> None:
    """A group of processes that may use 1,000 bytes."""
    texts = {"own": "0::/\n", "memory.max": "1000\n", "memory.current": f"{used}\n", "memory.stat": ""}
    for name, text in texts.items():
        (path / name).write_text(text)


async def first_line(port: int, request: bytes) -> bytes:
    """The status that a request is answered first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    status = (await reader.readline()).split()[1]
    writer.close()
    return status


def test_it_ends_when_its_parent_asks(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def until(take: object) -> bool:
        await asked.wait()
        return False

    async def act(port: int) -> None:
        assert await get(port) == 200
        asked.set()

    served(settings_of(tmp_path), act, until=until)


def test_settings_read_again_hold_from_the_next_request_on(tmp_path: Path) -> None:
    """D9: without echo there is no provider, and the gateway is not ready."""
    fresh = settings_of(tmp_path, FWD_ECHO="false")

    def renew(app: App) -> tuple[App, Settings]:
        return build_app(fresh, runtime=app.runtime), fresh

    async def act(port: int) -> None:
        assert await get(port) == 200
        os.kill(os.getpid(), signal.SIGHUP)
        while await get(port) == 200:
            pass
        assert await get(port) == 503
        os.kill(os.getpid(), signal.SIGTERM)

    served(settings_of(tmp_path), act, renew=renew)


def test_settings_that_stay_change_nothing(tmp_path: Path) -> None:
    asked: list[None] = []

    async def act(port: int) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        while not asked:
            await asyncio.sleep(0)
        assert await get(port) == 200
        os.kill(os.getpid(), signal.SIGTERM)

    served(settings_of(tmp_path), act, renew=lambda app: asked.append(None))


def test_a_kept_connection_is_told_to_close_while_the_gateway_stops(tmp_path: Path) -> None:
    """R2: a request that is under way when the stop begins is answered, with ``Connection: close``."""

    async def act(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        writer.write(request)
        assert b"connection: close" not in (await reader.readuntil(b"}")).lower()
        os.kill(os.getpid(), signal.SIGTERM)
        while True:  # until the listener is gone
            try:
                _, other = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                break
            other.close()
        writer.write(request)
        answer = await reader.read()
        assert b"connection: close" in answer.lower()
        writer.close()

    served(settings_of(tmp_path), act)


@pytest.mark.parametrize(("env", "watched"), [({}, False), ({"FWD_SLOW_LOOP": "80ms"}, True)])
def test_the_loop_is_watched_where_it_is_asked_for(tmp_path: Path, env: dict[str, str], watched: bool) -> None:
    """R5."""
    assert hasattr(loop_monitor(settings_of(tmp_path, **env)), "lags") is watched
    assert hasattr(loop_monitor(settings_of(tmp_path, FWD_LOG_LEVEL="debug", **env)), "lags")
