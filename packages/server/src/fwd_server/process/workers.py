"""Several processes behind one address: a parent that holds the sockets, and workers that serve on them.

Each worker has a slot, and each slot a listening socket of its own (SO_REUSEPORT) that the parent bound once and hands
to whichever worker has the slot. So the kernel spreads connections evenly, and a connection that waits while a worker
is replaced waits for the next one instead of being lost. Where the system does not balance, all slots share one socket.

Parent and worker share a line, a pair of sockets: over it the worker is told its settings (nothing secret stands in its
environment or arguments that was not there before), says in a word how it is, again and again from the moment it takes
connections, is asked to stop, and learns that its parent is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final

from attrs import asdict, define, evolve, field, frozen

from fwd_server.clock import Clock, SystemClock
from fwd_server.observe import log
from fwd_server.process import signals
from fwd_server.process.serve import POLL_S, answer_probes, open_listeners
from fwd_server.settings import Settings
from fwd_server.values.chat import Json

SOCKETS_VARIABLE: Final = "_FWD_WORKER"  # in a worker's environment: the line's descriptor, then those of the listeners
GAVE_UP: Final = 70  # EX_SOFTWARE
MAX_CRASHES: Final = 5  # contract D12: more of them within the time end it all
CRASHES_S: Final = 60.0
# Doubled with each crash within the minute: 0.1, 0.2, 0.4, 0.8, 1.6 s.
BACKOFF_S: Final = 0.1
_WORDS: Final = {b"r": "ready", b"d": "degraded", b"u": "unready"}
STOP: Final = "stop"
# What a worker says of a change: that it goes by it, or that it cannot.
TAKEN: Final = b"t"
FAILED: Final = b"f"
HAND_OVER_S: Final = 10.0  # for a worker to take a change; building its table takes a fraction of a second
START_S: Final = 60.0
# On top of the drain time, for a worker that is just writing its last events.
GRACE_S: Final = 5.0
# A worker reports every half second, so twenty reports in a row are missing.
UNRESPONSIVE_S: Final = 10.0  # a worker that says nothing for so long hangs


@frozen
class WorkerConfig:
    """What a worker goes by: the flags, ``.env`` and ``fwd.toml`` as they were when the parent read them.

    ``config`` is the text of ``fwd.toml``, its name and its folder.
    """

    flags: dict[str, str]
    dotenv: str | None
    announces: bool = False  # whether it is the one that says where the gateway listens
    config: Sequence[str] | None = None


# -- the worker's side


@define
class ControlChannel:
    """A worker's end of the line to its parent, over which go lines of JSON."""

    end: socket.socket
    _received: bytes = b""

    def receive_config(self) -> WorkerConfig:
        """What to go by. Raises ConnectionError if the parent is gone already."""
        with self.end.makefile("rb", buffering=0) as file:  # takes no byte more than the line
            text = file.readline()
        if not text:
            raise ConnectionError("the parent is gone")
        self.end.setblocking(False)
        return WorkerConfig(**json.loads(text))

    def send_status(self, word: str) -> None:
        """Tell the parent how it is; the first time says that connections are taken now."""
        self.send_word(word[:1].encode())

    def send_word(self, word: bytes) -> None:
        """Tell the parent something, in one byte."""
        with contextlib.suppress(OSError):  # it is gone: receive_message will say so
            self.end.send(word)

    async def receive_message(self) -> Any:
        """What the parent says next: ``STOP``, a WorkerConfig as an object, or a ``trouble``; None when it is gone."""
        loop = asyncio.get_running_loop()
        while b"\n" not in self._received:
            try:
                data = await loop.sock_recv(self.end, 65536)
            except OSError:
                return None
            if not data:
                return None
            self._received += data
        message, _, self._received = self._received.partition(b"\n")
        return json.loads(message)


def inherited_sockets(environ: MutableMapping[str, str]) -> tuple[ControlChannel, list[socket.socket]] | None:
    """The control channel and the listening sockets of a worker; None in any other process."""
    # Taken out, or a process started by this one would believe that it is a worker, too.
    numbers = environ.pop(SOCKETS_VARIABLE, "")
    if not numbers:
        return None
    line, *listeners = (socket.socket(fileno=int(number)) for number in numbers.split(","))
    for listener in listeners:
        listener.setblocking(False)
    return ControlChannel(line), listeners


# -- the parent's side


def bind_slots(settings: Settings, count: int) -> list[list[socket.socket]]:
    """The listening sockets of each slot. Raises OSError."""
    # macOS accepts SO_REUSEPORT, but gives every connection to the socket that was bound last.
    if not balances_connections(settings):
        return [open_listeners(settings)] * count
    if settings.port:  # with SO_REUSEPORT, a second gateway on the same port would go unnoticed
        for listener in open_listeners(settings):
            listener.close()
    first = open_listeners(settings, reuse_port=True)
    settings = evolve(settings, port=first[0].getsockname()[1])
    return [first, *(open_listeners(settings, reuse_port=True) for _ in range(count - 1))]


def balances_connections(settings: Settings) -> bool:
    """Whether the system spreads connections over sockets that share an address."""
    # Unix sockets have no SO_REUSEPORT balancing on any system.
    return sys.platform == "linux" and settings.uds is None


@define(eq=False)
class WorkerProcess:
    """A process that serves, and the parent's end of the line to it."""

    slot: int
    process: asyncio.subprocess.Process
    line: socket.socket
    ended: asyncio.Future[int]
    status: str = "unready"  # as last reported
    last_heard: float = field(factory=time.monotonic)  # and when
    _reported: asyncio.Event = field(factory=asyncio.Event)
    _answers: asyncio.Queue[bytes] = field(factory=asyncio.Queue)
    _status_reader: asyncio.Future[None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Listen to it from the beginning."""
        self._status_reader = asyncio.ensure_future(self._read_status())

    @classmethod
    async def start_process(cls, slot: int, listeners: Sequence[socket.socket], order: WorkerConfig) -> WorkerProcess:
        """Start the process and tell it what to go by."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        fds = [theirs.fileno(), *(listener.fileno() for listener in listeners)]
        # Our copy of the worker's end must be closed, or the worker's death would not end our reads.
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "fwd_server",
                # Several processes that read one terminal would steal each other's input.
                stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, SOCKETS_VARIABLE: ",".join(map(str, fds))},
                pass_fds=fds,
                start_new_session=True,  # or Ctrl-C would reach it twice: from the terminal, and through us
            )
        ours.setblocking(False)
        with contextlib.suppress(OSError):  # it ended already, which is seen elsewhere
            await loop.sock_sendall(ours, json.dumps(asdict(order)).encode() + b"\n")
        return cls(slot, process, ours, asyncio.ensure_future(process.wait()))

    async def _read_status(self) -> None:
        """Hear how it is, until its end of the line is closed."""
        loop = asyncio.get_running_loop()
        with self.line, contextlib.suppress(ConnectionError):  # it ended without reading its order
            while words := await loop.sock_recv(self.line, 64):
                self.last_heard = time.monotonic()
                for word in (words[place : place + 1] for place in range(len(words))):
                    if word in _WORDS:
                        self.status = _WORDS[word]
                        self._reported.set()
                    else:
                        self._answers.put_nowait(word)

    async def wait_until_ready(self) -> bool:
        """Whether it takes connections; False if it ended instead, or had to be ended."""
        spoken: asyncio.Future[Any] = asyncio.ensure_future(self._reported.wait())
        await asyncio.wait({spoken, self._status_reader}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        spoken.cancel()
        if self._reported.is_set():
            return True
        if not self._status_reader.done():
            self.kill_process()
        await self.ended
        return False

    @property
    def is_unresponsive(self) -> bool:
        """Whether it has not reported for too long."""
        return time.monotonic() - self.last_heard > UNRESPONSIVE_S

    def request_stop(self) -> None:
        """Ask it to stop: to finish what runs the first time, at once the second time (contract D14).

        Through the control channel, because two signals in quick succession arrive as one.
        """
        with contextlib.suppress(OSError):  # it has ended
            self.line.send(json.dumps(STOP).encode() + b"\n")

    async def hand_over(self, order: WorkerConfig) -> bool:
        """Have it go by another order, without an end of anything; whether it does."""
        await self._send(asdict(order))
        try:
            return await asyncio.wait_for(self._answers.get(), HAND_OVER_S) == TAKEN
        # They are the same only from Python 3.11 on.
        except (TimeoutError, asyncio.TimeoutError):
            return False

    async def tell_trouble(self, trouble: str) -> None:
        """Tell it what is not as it should be with the settings, for its ``/ready``."""
        await self._send({"trouble": trouble})

    async def _send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # it has ended, which is seen elsewhere
            await asyncio.get_running_loop().sock_sendall(self.line, json.dumps(message).encode() + b"\n")

    def kill_process(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    def __str__(self) -> str:
        return f"worker {self.slot + 1} (process {self.process.pid})"


class SupervisorFailed(Exception):
    """Workers cannot be kept running; ``code`` is the exit code that says why."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@define(eq=False)
class WorkerSupervisor:
    """Keeps a worker in each slot. ``reread`` gives the order as it is now, or None if it cannot be used."""

    slots: Sequence[Sequence[socket.socket]]
    order: WorkerConfig
    reread: Callable[[], WorkerConfig | None]
    drain_s: float
    clock: Clock = field(factory=SystemClock)
    start: Callable[[int, Sequence[socket.socket], WorkerConfig], Awaitable[WorkerProcess]] = (
        WorkerProcess.start_process
    )
    health: Sequence[socket.socket] = ()  # for probes
    changed: Callable[[], bool] = lambda: False  # whether a file did; asked every half second
    trouble: Callable[[], str] = lambda: ""  # why the last change was not taken
    workers: dict[int, WorkerProcess] = field(factory=dict)  # by slot
    _stopping: bool = False
    _alive: set[WorkerProcess] = field(factory=set)
    _crashes: deque[float] = field(factory=deque)
    _stop_requests: asyncio.Queue[str] = field(factory=asyncio.Queue)
    _renewals: asyncio.Event = field(factory=asyncio.Event)
    _changing: Mapping[int, asyncio.Lock] = field(factory=lambda: defaultdict(asyncio.Lock))  # a slot's worker

    async def run_workers(self) -> int:
        """Keep them running until a signal asks to stop. Returns the exit code."""
        with signals.handle_signals(self._stop_requests.put_nowait, self._renewals.set):
            async with answer_probes(self.health, self):
                try:
                    await self._start_first_workers()
                    code = await self._run_until_stopped()
                except SupervisorFailed as error:
                    code = error.code
                self._stopping = True
                await self._stop_workers()
        return code

    # -- how it is, for probes

    def is_alive(self) -> bool:
        """Whether a worker moves; where there is none just now, one is being started."""
        return not self._alive or not all(worker.is_unresponsive for worker in self._alive)

    def status_name(self) -> str:
        """``ready`` if all workers are, ``degraded`` if others serve, ``unready`` if none does, or we stop."""
        statuses = {worker["status"] for worker in self._worker_statuses()}
        if self._stopping or statuses.isdisjoint(("ready", "degraded")):
            return "unready"
        return "ready" if statuses == {"ready"} and not self.trouble() else "degraded"

    def ready_view(self, *, details: bool) -> Json:
        """For ``/ready``."""
        if not details:
            return {"status": self.status_name()}
        trouble = {"degraded": [self.trouble()]} if self.trouble() else {}
        return {"status": self.status_name(), **trouble, "workers": self._worker_statuses()}

    def _worker_statuses(self) -> list[Json]:
        """How the worker of each slot is by its own word, or that it is ``unresponsive`` or ``missing``."""
        return [{"worker": slot + 1, "status": self._slot_status(slot)} for slot in range(len(self.slots))]

    def _slot_status(self, slot: int) -> str:
        worker = self.workers.get(slot)
        if worker is None or worker.ended.done():
            return "missing"
        return "unresponsive" if worker.is_unresponsive else worker.status

    # -- keeping

    async def _start_first_workers(self) -> None:
        """Start one for each slot; what keeps the first ones from starting will keep all."""
        await asyncio.gather(*(self._fill_slot(slot, first=True) for slot in range(len(self.slots))))
        self.order = evolve(self.order, announces=False)

    async def _run_until_stopped(self) -> int:
        stop_request = asyncio.ensure_future(self._stop_requests.get())
        keepers = [asyncio.ensure_future(self._keep_slot(slot)) for slot in range(len(self.slots))]
        tasks = {
            stop_request,
            *keepers,
            asyncio.ensure_future(self._watch_renewals()),
            asyncio.ensure_future(self._watch_files()),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stop_request}:
                task.result()  # raises SupervisorFailed
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return 0

    async def _start_worker(self, slot: int) -> WorkerProcess:
        order = evolve(self.order, announces=self.order.announces and slot == 0)
        worker = await self.start(slot, self.slots[slot], order)
        self._alive.add(worker)
        worker.ended.add_done_callback(lambda _: self._alive.discard(worker))
        return worker

    async def _fill_slot(self, slot: int, *, first: bool = False) -> None:
        """Put a worker into a slot. Raises SupervisorFailed when one after the other ends."""
        while not await (worker := await self._start_worker(slot)).wait_until_ready():
            if first:
                raise SupervisorFailed(worker.ended.result() if worker.ended.result() > 0 else GAVE_UP)
            await self._note_crash(worker)
        self.workers[slot] = worker

    async def _keep_slot(self, slot: int) -> None:
        """Replace the slot's worker whenever it ends unasked."""
        while True:
            worker = self.workers[slot]
            # Shielded, because cancelling a keeper must not cancel the future that others wait for.
            await asyncio.shield(worker.ended)
            async with self._changing[slot]:
                if worker is self.workers[slot]:  # else it was replaced, and this is as it should be
                    await self._note_crash(worker)
                    await self._fill_slot(slot)

    async def _note_crash(self, worker: WorkerProcess) -> None:
        """Note it, and rest a while. Raises SupervisorFailed when there are too many (contract D12)."""
        now = self.clock.monotonic()
        self._crashes.append(now)
        while self._crashes[0] < now - CRASHES_S:
            self._crashes.popleft()
        log.app.error("%s ended with %d.", str(worker).capitalize(), worker.ended.result())
        # Something that ends every new worker will not be cured by another one (contract D12).
        if len(self._crashes) > MAX_CRASHES:
            log.app.error("%d workers ended within %g s. Giving up.", len(self._crashes), CRASHES_S)
            raise SupervisorFailed(GAVE_UP)
        await self.clock.sleep(BACKOFF_S * 2 ** (len(self._crashes) - 1))

    # -- changes

    async def _watch_files(self) -> None:
        """Ask for a renewal whenever a file has changed."""
        while True:
            await asyncio.sleep(POLL_S)
            if self.changed():
                self._renewals.set()

    async def _watch_renewals(self) -> None:
        """Hand what was read again to the workers that run, whenever that is asked for (contract D9)."""
        while True:
            await self._renewals.wait()
            self._renewals.clear()
            order = self.reread()
            if order is not None:
                self.order = evolve(order, announces=False)
                await self._hand_over()
            elif trouble := self.trouble():
                await asyncio.gather(*(worker.tell_trouble(trouble) for worker in self.workers.values()))

    async def _hand_over(self) -> None:
        """Have every worker go by the order; one that cannot is replaced."""
        slots = range(len(self.slots))
        taken = sum(await asyncio.gather(*(self._renew_slot(slot) for slot in slots)))
        log.app.info("The settings are in force on %d of %d workers.", taken, len(self.slots))

    async def _renew_slot(self, slot: int) -> bool:
        async with self._changing[slot]:
            if await self.workers[slot].hand_over(self.order):
                return True
            fresh = await self._start_worker(slot)
            if not await fresh.wait_until_ready():
                log.app.error("%s did not start; the old one stays as it is.", str(fresh).capitalize())
                return False
            old, self.workers[slot] = self.workers[slot], fresh
        old.request_stop()
        return True

    # -- stopping

    async def _stop_workers(self) -> None:
        """Have all finish what they do; a second signal, or the end of the time, ends them."""
        for worker in self._alive:
            worker.request_stop()
        again = asyncio.ensure_future(self._stop_requests.get())
        disconnected = asyncio.ensure_future(self._wait_until_gone())
        await asyncio.wait({again, disconnected}, timeout=self.drain_s + GRACE_S, return_when=asyncio.FIRST_COMPLETED)
        # Asked a second time it stops at once and tells open streams why (contract D14); a kill could not.
        for worker in self._alive:
            worker.request_stop()
        await asyncio.wait({disconnected}, timeout=GRACE_S)
        for worker in self._alive:
            worker.kill_process()
        again.cancel()
        await asyncio.gather(again, disconnected, return_exceptions=True)

    async def _wait_until_gone(self) -> None:
        while self._alive:
            await asyncio.wait([worker.ended for worker in self._alive])
