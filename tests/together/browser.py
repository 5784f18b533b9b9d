"""Chromium, driven over its own protocol: what it loads, what it complains about, what the page looks like.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from attrs import define, field
from tornado.websocket import WebSocketClientConnection, websocket_connect

Json = dict[str, Any]

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--remote-debugging-port=0",
)


def find_chromium() -> str | None:
    """The path of a Chromium, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@define
class Tab:
    """One tab: sends commands, keeps the events. ``requests`` are the URLs it asked for, ``complaints`` its errors."""

    socket: WebSocketClientConnection
    requests: list[str] = field(factory=list)
    complaints: list[str] = field(factory=list)
    _waiting: dict[int, asyncio.Future[Json]] = field(factory=dict)
    _last: int = 0

    async def send(self, method: str, **params: Any) -> Json:
        """Send a command and give its result."""
        self._last += 1
        answer = self._waiting[self._last] = asyncio.get_running_loop().create_future()
        await self.socket.write_message(json.dumps({"id": self._last, "method": method, "params": params}))
        return await asyncio.wait_for(answer, 30)

    async def listen(self) -> None:
        """Read what the browser says until it is gone."""
        while (message := await self.socket.read_message()) is not None:
            self._take(json.loads(message))

    def _take(self, message: Json) -> None:
        if "id" in message:
            waiting = self._waiting.pop(message["id"])
            waiting.set_result(message.get("result", message))
            return
        params = message["params"]
        if message["method"] == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif message["method"] == "Log.entryAdded":
            self.complaints.append(f"{params['entry']['level']}: {params['entry']['text']}")
        elif message["method"] == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif message["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.complaints.append(f"console: {params['args']}")

    async def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Go to ``url`` in a window of this size, in a light or dark scheme."""
        phone = width < 600
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])
        await self.send("Page.navigate", url=url)

    async def evaluate(self, script: str) -> Any:
        """The value of a script's last expression; a promise is awaited."""
        result = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise AssertionError(result["exceptionDetails"])
        return result["result"].get("value")

    async def until(self, script: str) -> Any:
        """Ask until a script's value is true; 20 seconds at most, for a machine that is busy.

        A browser that has left a page half way by then is asked once more, as a person would with F5; what it says
        the second time is said.
        """

        async def asked() -> Any:
            while True:
                with contextlib.suppress(AssertionError):  # the page is not there yet
                    if value := await self.evaluate(script):
                        return value
                await asyncio.sleep(0.05)

        with contextlib.suppress(asyncio.TimeoutError):
            return await asyncio.wait_for(asked(), 20)
        await self.send("Page.reload")
        with contextlib.suppress(asyncio.TimeoutError):
            return await asyncio.wait_for(asked(), 20)
        state = await self.evaluate("document.readyState + ': ' + document.body.innerText.slice(0, 500)")
        raise AssertionError(f"never true: {script}; the page is {state!r}; complaints: {self.complaints}")

    async def picture(self, path: Path) -> None:
        """Write what the window shows to a PNG file."""
        shot = await self.send("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.asynccontextmanager
async def chromium(program: str, profile: Path) -> AsyncIterator[Tab]:
    """A browser with one tab, on a profile of its own; ended with the block."""
    process = await asyncio.create_subprocess_exec(
        program,
        *FLAGS,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with _tab(await _page_address(profile)) as tab:
            yield tab
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def _tab(address: str) -> AsyncIterator[Tab]:
    tab = Tab(await websocket_connect(address, max_message_size=1 << 27))
    listening = asyncio.ensure_future(tab.listen())
    try:
        for domain in ("Page", "Network", "Log", "Runtime"):
            await tab.send(f"{domain}.enable")
        yield tab
    finally:
        tab.socket.close()
        await listening


async def _page_address(profile: Path) -> str:
    """The address of the first tab's socket, from the file the browser writes its port to."""
    port = (await _written(profile / "DevToolsActivePort")).split()[0]
    browser = await websocket_connect(f"ws://127.0.0.1:{port}{(profile / 'DevToolsActivePort').read_text().split()[1]}")
    await browser.write_message(json.dumps({"id": 1, "method": "Target.getTargets"}))
    answer = json.loads(await browser.read_message() or "{}")
    browser.close()
    page = next(target for target in answer["result"]["targetInfos"] if target["type"] == "page")
    return f"ws://127.0.0.1:{port}/devtools/page/{page['targetId']}"


async def _written(path: Path) -> str:
    async def text() -> str:
        while not (path.exists() and path.read_text().count("\n")):
            await asyncio.sleep(0.02)
        return path.read_text()

    return await asyncio.wait_for(text(), 30)
