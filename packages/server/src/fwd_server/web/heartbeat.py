"""A sign of life on a stream whose provider is silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fwd_server.timer_wheel import WheelTimer, wheel_of


class Heartbeat:
    """Calls ``beat`` after every ``seconds`` of silence; 0 turns it off.

    The timer is not moved with every chunk: it looks at the time of the last one when it fires.
    """

    __slots__ = ("_beat", "_last", "_loop", "_seconds", "_timer", "_wheel")

    def __init__(self, seconds: float, beat: Callable[[], None]) -> None:
        self._seconds = seconds
        self._beat = beat
        self._loop = asyncio.get_running_loop()
        self._wheel = wheel_of(self._loop)
        self._last = self._loop.time()
        self._timer: WheelTimer | None = self._wheel.call_later(seconds, self._check_silence) if seconds > 0 else None

    def note_sent(self) -> None:
        """Something was sent just now."""
        self._last = self._loop.time()

    def stop_timer(self) -> None:
        """No more."""
        if self._timer is not None:
            self._timer.cancel()

    def _check_silence(self) -> None:
        # Cheaper than a new timer for every chunk: a fast stream has hundreds of them a second.
        remaining = self._last + self._seconds - self._loop.time()
        if remaining <= 0:
            self._beat()
            self._last = self._loop.time()
            remaining = self._seconds
        self._timer = self._wheel.call_later(remaining, self._check_silence)
