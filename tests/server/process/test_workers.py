"""The parent of several workers, with workers that only pretend; the real ones run in tests/together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from kit.clock import FakeClock

from fwd_server.process import workers
from fwd_server.process.workers import ControlChannel, WorkerConfig, WorkerSupervisor
from fwd_server.settings import Settings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="one process there")
ORDER = WorkerConfig({"FWD_PORT": "0"}, None, announces=True)


class Pretended:
    """A worker without a process: it ends when it is told to."""

    def __init__(self, slot: int, order: WorkerConfig, *, starts: bool = True, stubborn: bool = False) -> None:
        self.slot = slot
        self.order = order
        self.stopped = 0
        self.killed = False
        self.status = "unready"
        self.is_unresponsive = False
        self.takes = True
        self.trouble = ""
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._starts = starts
        self._stubborn = stubborn
        if not starts:
            self.end(78)

    async def wait_until_ready(self) -> bool:
        self.status = "ready"
        return self._starts

    async def hand_over(self, order: WorkerConfig) -> bool:
        if self.takes:
            self.order = order
        return self.takes

    async def tell_trouble(self, trouble: str) -> None:
        self.trouble = trouble

    def request_stop(self) -> None:
        self.stopped += 1
        if not self._stubborn:
            self.end(0)

    def kill_process(self) -> None:
        self.killed = True
        self.end(-9)

    def end(self, code: int) -> None:
        if not self.ended.done():
            self.ended.set_result(code)


class House:
    """A parent and all the workers it ever started."""

    def __init__(self, slots: int = 2, reread: Callable[[], WorkerConfig | None] = lambda: None) -> None:
        self.started: list[Pretended] = []
        self.how: dict[str, Any] = {}
        self.clock = FakeClock()
        self.parent = WorkerSupervisor([[]] * slots, ORDER, reread, 0.05, self.clock, self.start)  # type: ignore[arg-type]
        self.task: asyncio.Task[int] | None = None

    async def start(self, slot: int, _: Sequence[socket.socket], order: WorkerConfig) -> Pretended:
        self.started.append(Pretended(slot, order, **self.how))
        return self.started[-1]

    async def __aenter__(self) -> House:
        self.task = asyncio.ensure_future(self.parent.run_workers())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.task is not None
        if not self.task.done():
            os.kill(os.getpid(), signal.SIGTERM)
            await self.task

    async def have(self, count: int) -> None:
        """Return once so many were started."""
        while len(self.started) < count or len(self.parent.workers) < len(self.parent.slots):
            await asyncio.sleep(0)

    async def code(self) -> int:
        assert self.task is not None
        return await self.task


def run(work: Callable[[], Any]) -> Any:
    return asyncio.run(work())


def test_a_stop_ends_every_worker() -> None:
    async def act() -> tuple[int, list[int]]:
        async with House() as house:
            await house.have(2)
            os.kill(os.getpid(), signal.SIGTERM)
            return await house.code(), [worker.stopped for worker in house.started]

    code, stopped = run(act)
    assert code == 0
    assert all(stopped)


def test_only_the_first_worker_says_where_the_gateway_listens() -> None:
    """... and only at the start."""

    async def act() -> list[bool]:
        async with House() as house:
            await house.have(2)
            house.started[0].end(1)
            await house.have(3)
            return [worker.order.announces for worker in house.started]

    assert run(act) == [True, False, False]


def test_a_worker_that_ends_is_replaced_after_a_rest() -> None:
    """D12: in its own slot, each time after a longer rest."""

    async def act() -> House:
        async with House() as house:
            await house.have(2)
            for number in (3, 4, 5):
                house.parent.workers[1].ended.set_result(-9)
                await house.have(number)
                await asyncio.sleep(0)
            return house

    house = run(act)
    assert [worker.slot for worker in house.started] == [0, 1, 1, 1, 1]
    assert house.clock.slept == [0.1, 0.2, 0.4]


def test_too_many_deaths_end_it_all() -> None:
    """D12: more than 5 within 60 s, exit code 70."""

    async def act() -> tuple[int, int]:
        async with House(1) as house:
            await house.have(1)
            for number in range(2, 8):
                house.started[-1].end(1)
                if number < 7:
                    await house.have(number)
            return await house.code(), len(house.started)

    assert run(act) == (70, 6)


def test_deaths_that_are_long_ago_do_not_count() -> None:
    async def act() -> int:
        async with House(1) as house:
            await house.have(1)
            for number in range(2, 12):
                house.clock.move(61)
                house.started[-1].end(1)
                await house.have(number)
            return len(house.started)

    assert run(act) == 11


def test_what_keeps_the_first_from_starting_is_the_exit_code() -> None:
    async def act() -> int:
        house = House()
        house.how = {"starts": False}
        async with house:
            return await house.code()

    assert run(act) == 78


def test_a_change_goes_into_the_workers_that_run() -> None:
    """D9: no new process, so nothing that a worker remembers is lost."""
    fresh = WorkerConfig({}, "FWD_ATTEMPTS=2")

    async def act() -> House:
        async with House(reread=lambda: fresh) as house:
            await house.have(2)
            os.kill(os.getpid(), signal.SIGHUP)
            while any(worker.order.dotenv is None for worker in house.started):
                await asyncio.sleep(0)
            return house

    assert len(run(act).started) == 2


def test_a_worker_that_cannot_take_a_change_is_replaced() -> None:
    """R2: its successor is ready before it is asked to stop."""
    fresh = WorkerConfig({}, "FWD_ATTEMPTS=2")

    async def act() -> House:
        async with House(reread=lambda: fresh) as house:
            await house.have(2)
            house.started[1].takes = False
            os.kill(os.getpid(), signal.SIGHUP)
            await house.have(3)
            await house.started[1].ended
            return house

    house = run(act)
    assert [worker.slot for worker in house.started] == [0, 1, 1]
    assert house.started[2].order.dotenv == fresh.dotenv
    assert house.clock.slept == []  # nobody took it for dead


def test_a_change_that_was_not_taken_degrades_parent_and_workers() -> None:
    """Their own /ready says it as well as the parent's."""

    async def act() -> tuple[str, Any, list[str]]:
        async with House() as house:
            await house.have(2)
            house.parent.trouble = lambda: "line 3"
            os.kill(os.getpid(), signal.SIGHUP)
            while not all(worker.trouble for worker in house.started):
                await asyncio.sleep(0)
            found = house.parent.ready_view(details=True)
            return house.parent.status_name(), found["degraded"], [worker.trouble for worker in house.started]

    assert run(act) == ("degraded", ["line 3"], ["line 3", "line 3"])


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("ready", "ready"), "ready"),
        (("ready", "degraded"), "degraded"),
        (("ready", "unresponsive"), "degraded"),
        (("degraded", "missing"), "degraded"),
        (("unready", "unresponsive"), "unready"),
        (("missing", "missing"), "unready"),
    ],
)
def test_the_parent_says_how_its_workers_are(words: tuple[str, str], word: str) -> None:
    """One that hangs, or is being replaced, is a reason to look; that none serves is one to send nobody."""

    async def act() -> Any:
        house = House()
        for slot, said in enumerate(words):
            worker = await house.start(slot, [], ORDER)
            worker.status, worker.is_unresponsive = said, said == "unresponsive"
            if said == "missing":
                worker.end(1)
            house.parent.workers[slot] = worker  # type: ignore[assignment]
        return house.parent.ready_view(details=True), house.parent.ready_view(details=False)

    workers = [{"worker": 1, "status": words[0]}, {"worker": 2, "status": words[1]}]
    assert run(act) == ({"status": word, "workers": workers}, {"status": word})


def test_the_parent_lives_as_long_as_one_worker_moves() -> None:
    """A loop that hangs answers no probe; with several it is the parent that notices."""

    async def act() -> list[bool]:
        async with House() as house:
            await house.have(2)
            found: list[bool] = []
            for worker in house.started:
                found.append(house.parent.is_alive())
                worker.is_unresponsive = True
            return [*found, house.parent.is_alive()]

    assert run(act) == [True, True, False]


def test_a_parent_that_stops_is_unready() -> None:
    """R2: readiness goes first."""

    async def act() -> str:
        async with House() as house:
            await house.have(2)
        return house.parent.status_name()

    assert run(act) == "unready"


def test_settings_that_cannot_be_used_replace_nobody() -> None:
    """D9."""
    asked: list[None] = []

    async def act() -> int:
        async with House(reread=lambda: asked.append(None)) as house:
            await house.have(2)
            os.kill(os.getpid(), signal.SIGHUP)
            while not asked:
                await asyncio.sleep(0)
            return len(house.started)

    assert run(act) == 2


def test_a_new_worker_that_does_not_start_leaves_the_old_one() -> None:
    async def act() -> tuple[int, list[int]]:
        async with House(reread=lambda: ORDER) as house:
            await house.have(2)
            house.started[0].takes = False
            house.how = {"starts": False}
            os.kill(os.getpid(), signal.SIGHUP)
            await house.have(3)
            await asyncio.sleep(0)
            return len(house.started), [worker.stopped for worker in house.started[:2]]

    assert run(act) == (3, [0, 0])


def test_a_worker_that_does_not_stop_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """First asked again, then killed."""
    monkeypatch.setattr(workers, "GRACE_S", 0.05)

    async def act() -> Pretended:
        house = House(1)
        house.how = {"stubborn": True}
        async with house:
            await house.have(1)
            os.kill(os.getpid(), signal.SIGTERM)
            await house.code()
        return house.started[0]

    worker = run(act)
    assert worker.killed
    assert worker.stopped == 2


# -- a real one


def test_a_worker_that_cannot_go_by_its_order_is_not_ready() -> None:
    async def act() -> tuple[bool, int]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            worker = await workers.WorkerProcess.start_process(
                0, [listener], WorkerConfig({"FWD_ATTEMPTS": "many"}, None)
            )
            ready = await worker.wait_until_ready()
            worker.request_stop()  # too late, and no harm
            worker.kill_process()
            return ready, await worker.ended

    assert run(act) == (False, 78)


def test_a_worker_that_never_gets_ready_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "START_S", 0.05)

    class Hanging:
        pid = 0

        def __init__(self) -> None:
            self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def kill(self) -> None:
            self.ended.set_result(-9)

    async def act() -> tuple[bool, int]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            process = Hanging()
            worker = workers.WorkerProcess(0, process, ours, process.ended)  # type: ignore[arg-type]
            return await worker.wait_until_ready(), await worker.ended

    assert run(act) == (False, -9)


def test_a_worker_is_heard_by_its_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again, for one that hangs says nothing."""

    class Living:
        pid = 0

    async def act() -> list[Any]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        worker = workers.WorkerProcess(0, Living(), ours, ended)  # type: ignore[arg-type]
        with theirs:
            theirs.sendall(b"ud")
            found = [await worker.wait_until_ready(), worker.status, worker.is_unresponsive]
            monkeypatch.setattr(workers, "UNRESPONSIVE_S", -1.0)
            return [*found, worker.is_unresponsive]

    assert run(act) == [True, "degraded", False, True]


# -- the worker's side


def test_the_line_brings_the_order_then_changes_and_the_wish_to_stop() -> None:
    """Lines of JSON, however the bytes come; None when the parent is gone."""
    order = {"flags": {"A": "b"}, "dotenv": "C=d", "announces": False, "config": ["[models]", "fwd.toml", "."]}
    changed = {**order, "dotenv": "C=e"}

    async def act() -> list[Any]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in (order, changed, workers.STOP)) + b'"st')
            line = ControlChannel(theirs)
            found: list[Any] = [line.receive_config()]
            line.send_status("degraded")
            found += [ours.recv(1), await line.receive_message(), await line.receive_message()]
            ours.sendall(b'op"\n')
            found.append(await line.receive_message())
            ours.close()
            return [*found, await line.receive_message()]

    assert run(act) == [WorkerConfig(**order), b"d", changed, "stop", "stop", None]  # type: ignore[arg-type]


def test_a_parent_that_is_gone_has_no_order() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs, pytest.raises(ConnectionError):
        ControlChannel(theirs).receive_config()


def test_sockets_are_handed_over_by_their_numbers() -> None:
    """... and the variable is gone, so that no child of the worker takes itself for one."""
    with contextlib.ExitStack() as stack:
        pair = [stack.enter_context(one) for one in socket.socketpair()]
        environ = {workers.SOCKETS_VARIABLE: f"{os.dup(pair[0].fileno())},{os.dup(pair[1].fileno())}"}
        found = workers.inherited_sockets(environ)
        assert found is not None
        line, (listener,) = found
        stack.enter_context(line.end)
        assert stack.enter_context(listener).gettimeout() == 0
        assert environ == {}
    assert workers.inherited_sockets({}) is None


def test_every_slot_has_a_socket_of_its_own_on_one_port() -> None:
    slots = workers.bind_slots(Settings(port=0), 3)
    with contextlib.ExitStack() as stack:
        for (found,) in slots:
            stack.enter_context(found)
        ports = {found.getsockname()[1] for (found,) in slots}
        assert len(ports) == 1
        assert len({found.fileno() for (found,) in slots}) == (3 if workers.balances_connections(Settings()) else 1)


def test_where_nothing_balances_all_slots_share_one(tmp_path: Any) -> None:
    slots = workers.bind_slots(Settings(uds=tmp_path / "s"), 2)
    with slots[0][0]:
        assert slots[0] is slots[1]


def test_a_given_port_is_the_port() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    slots = workers.bind_slots(Settings(port=port), 2)
    with contextlib.ExitStack() as stack:
        assert [stack.enter_context(found).getsockname()[1] for (found,) in slots] == [port, port]
