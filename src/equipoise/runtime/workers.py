"""The worker processes, seen from the supervisor.

Owns: their birth, death, succession and replacement, and which state of the world each of them has acknowledged.
Refuses to know: what the world says, why it changes, what workers do with it.

Each world that is sent has a number, its version here. The version of the configuration behind it is its edition.

A worker's seat (its listening sockets) outlives it: the successor takes it over. It writes in a row of the ledger of
its own: there is one row more than seats, so that the next one can be there before the one before has left.
"""

import asyncio
import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from equipoise.config.diff import diff
from equipoise.model import World
from equipoise.runtime.app_log import AppLog
from equipoise.runtime.caches import Caches
from equipoise.runtime.children import explain, start_worker
from equipoise.runtime.control import (
    TO_SUPERVISOR,
    Ack,
    Apply,
    Bootstrap,
    Channel,
    Company,
    Cut,
    Drain,
    Event,
    Inherited,
    ReopenLogs,
    Report,
    ToSupervisor,
    ToWorker,
    attach,
)
from equipoise.runtime.events import Events
from equipoise.runtime.listen import Listener
from equipoise.runtime.startup import Memory

# A worker that does not answer for so long is not going to: its loop hangs.
ACK_TIMEOUT: Final = 10.0
START_TIMEOUT: Final = 60.0
# Between the drain's end, when a worker cuts what is left, and its kill.
DRAIN_GRACE: Final = 2.0
# A worker that closed its channel has so long to be gone.
SILENCE: Final = 1.0
# A worker that lived shorter than this died "quickly"; after so many of those in a row, the next one waits.
QUICK: Final = 10.0
QUICK_DEATHS: Final = 3
BACKOFF: Final = 0.5
BACKOFF_MAX: Final = 5.0
# A part of the cache that somebody changes keeps the claims of the dead: how often, and how soon, they are freed anew.
RELEASES: Final = 40
RELEASE_PAUSE: Final = 0.05
# Rows of the ledger for those that are being replaced, one at a time.
SPARE_ROWS: Final = 1


class StartError(Exception):
    """The workers cannot start; the text says why."""


class ReplaceError(Exception):
    """A worker could not be replaced, and goes on; those before it are replaced. The text says why."""


@dataclass(frozen=True)
class Replaced:
    """Two workers that follow each other: their process ids."""

    before: int
    after: int


@dataclass(frozen=True)
class Place:
    """What the workers are born into, and share.

    Attributes:
        memory: the ledger's; replacing workers needs more rows than seats.
        caches: of all pools.
        listeners: what they accept from.
        seats: how many workers there are to be.
    """

    memory: Memory
    caches: Caches
    listeners: tuple[Listener, ...]
    seats: int


@dataclass(eq=False)
class _Process:
    """One life of a worker."""

    seat: int
    row: int
    popen: "subprocess.Popen[bytes]"
    pidfd: int
    channel: Channel[ToSupervisor]
    born: float
    acknowledged: int = 0
    edition: int = 0
    # It drains, and has a successor.
    leaving: bool = False
    # What keeps it from taking requests, "" when nothing does; known when it has acknowledged its first world.
    ready: "asyncio.Future[str]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def settle(self, problem: str) -> None:
        """It is ready, or will never be."""
        if not self.ready.done():
            self.ready.set_result(problem)


@dataclass(eq=False)
class _Waiter:
    """Somebody who waits until a version is in force."""

    version: int
    missing: set[_Process]
    done: asyncio.Event = field(default_factory=asyncio.Event)
    problems: list[str] = field(default_factory=list)

    def answered(self, process: _Process) -> None:
        """One less to wait for."""
        self.missing.discard(process)
        if not self.missing:
            self.done.set()


class Workers:
    """All worker places and who is in them."""

    def __init__(
        self,
        place: Place,
        tasks: asyncio.TaskGroup,
        log: AppLog,
        events: Events,
        on_report: Callable[[Report], None],
    ) -> None:
        """Nobody is there yet.

        Args:
            place: the shared memory and the sockets.
            tasks: what holds this object's tasks.
            log: told of births and deaths, and given the workers' own lines.
            events: told of births and deaths too.
            on_report: called when a worker reports a failed request.
        """
        self.version = 0
        self.world = World()
        self.edition = 0
        # Deaths that have a successor.
        self.restarts = 0
        # The edition of each version that is not in force everywhere.
        self._editions: dict[int, int] = {}
        self._place = place
        self._tasks = tasks
        self._log = log
        self._events = events
        self._on_report = on_report
        # Who is alive, by row; by seat, the successors that are waited for, and the quick deaths in a row.
        self._alive: dict[int, _Process] = {}
        self._births: dict[int, asyncio.TimerHandle] = {}
        self._quick_deaths = [0] * place.seats
        self._waiters: list[_Waiter] = []
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stopping = False
        self._all_gone = asyncio.Event()

    @property
    def pids(self) -> list[int]:
        """Process ids by row."""
        return [self._alive[row].popen.pid for row in sorted(self._alive)]

    def rows(self) -> dict[int, int]:
        """Process id of each row that has a live worker."""
        return {row: process.popen.pid for row, process in sorted(self._alive.items())}

    def versions(self) -> dict[int, int]:
        """The version of the configuration that each live worker acts on, by row; 0 before its first."""
        return {row: process.edition for row, process in sorted(self._alive.items())}

    def count(self) -> tuple[int, int]:
        """How many workers are up, which is to say take requests, and how many there are to be."""
        return len({each.seat for each in self._alive.values() if each.acknowledged and not each.leaving}), (
            self._place.seats
        )

    def leaving(self) -> set[int]:
        """The rows of those that drain since they have a successor."""
        return {row for row, process in self._alive.items() if process.leaving}

    async def start(self, world: World, edition: int) -> None:
        """Start all workers; returns when each of them accepts connections.

        Args:
            world: what they act on.
            edition: the version of the configuration behind it.

        Raises:
            StartError: they die again and again, or refuse the world.
        """
        self._advance(world, edition)
        for seat in range(self._place.seats):
            self._spawn(seat)
        try:
            await asyncio.wait_for(asyncio.shield(self._started), START_TIMEOUT)
        except TimeoutError:
            raise StartError(f"the workers were not ready within {START_TIMEOUT:g} s") from None

    def send(self, world: World, edition: int) -> int:
        """Send what changed to all workers; the version that they will acknowledge. Arguments as in `start`."""
        changes = diff(self.world, world)
        self._advance(world, edition)
        for process in self._alive.values():
            process.channel.send(Apply(self.version, changes))
        return self.version

    async def acknowledged(self, version: int) -> list[str]:
        """Wait until all live workers act on `version`; what keeps some of them from it.

        A worker that dies meanwhile is not waited for: its successor starts with the newest world. One that hangs is
        killed, which comes to the same.
        """
        late = {process for process in self._alive.values() if process.acknowledged < version}
        if not late:
            return []
        waiter = _Waiter(version, late)
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(ACK_TIMEOUT):
                await waiter.done.wait()
        except TimeoutError:
            for process in list(waiter.missing):
                self._log.error("a worker hangs and is killed", pid=process.popen.pid, row=process.row)
                process.popen.kill()
            await waiter.done.wait()
        finally:
            self._waiters.remove(waiter)
        return waiter.problems

    def cut(self, slot: int) -> None:
        """Have all workers end what is in flight at a slot."""
        self._tell_all(Cut(slot))

    def reopen_logs(self) -> None:
        """Have the log files opened anew."""
        self._tell_all(ReopenLogs())

    async def replace(self, seconds: float) -> list[Replaced]:
        """Put a new worker into each seat, one after the other; returns when the last of the old ones is gone.

        A successor accepts connections before its predecessor stops to, from the same sockets.

        Args:
            seconds: how long each of the old ones may take to finish what it carries.

        Raises:
            ReplaceError: one could not be replaced; it goes on, and so do those after it.
        """
        replaced = []
        for seat in range(self._place.seats):
            before = self._holder(seat)
            # Where nobody is, a successor is on its way, and is as new as any.
            if before is not None:
                after = await self._succeed(before)
                replaced.append(Replaced(before.popen.pid, after.popen.pid))
                await self._release(before, after, seconds)
        return replaced

    async def drain(self, seconds: float) -> None:
        """Have all workers finish what they carry; returns when the last one is gone, killed if need be."""
        self._stop()
        self._tell_all(Drain(seconds))
        try:
            async with asyncio.timeout(seconds + DRAIN_GRACE):
                await self._all_gone.wait()
        except TimeoutError:
            self._log.error("workers did not leave in time and are killed", pids=self.pids)
            await self.kill()

    async def kill(self) -> None:
        """End all workers now."""
        self._stop()
        for process in self._alive.values():
            process.popen.kill()
        await self._all_gone.wait()

    def _advance(self, world: World, edition: int) -> None:
        self.version, self.world, self.edition = self.version + 1, world, edition
        self._editions[self.version] = edition

    def _stop(self) -> None:
        self._stopping = True
        for timer in self._births.values():
            timer.cancel()
        if not self._alive:
            self._all_gone.set()

    def _tell_all(self, message: ToWorker) -> None:
        for process in self._alive.values():
            process.channel.send(message)

    # Birth

    def _spawn(self, seat: int) -> None:
        self._births.pop(seat, None)
        if self._holder(seat) is not None:  # somebody was faster
            return
        try:
            self._bear(seat)
        except OSError as error:  # no memory, no file descriptor, no process left
            self._log.error("cannot start a worker", seat=seat, reason=str(error), again_in=BACKOFF_MAX)
            self._births[seat] = asyncio.get_running_loop().call_later(BACKOFF_MAX, self._spawn, seat)

    def _holder(self, seat: int) -> _Process | None:
        """Who is in a seat and stays there."""
        held = (each for each in self._alive.values() if each.seat == seat and not each.leaving)
        return next(held, None)

    def _bear(self, seat: int) -> _Process:
        """A new worker, which has been told all there is to tell. Raises OSError."""
        memory, caches, seats = self._place.memory, self._place.caches, self._place.seats
        row = min(set(range(memory.rows)) - self._alive.keys())
        listeners = tuple(
            Inherited(listener.address, tuple(sock.fileno() for sock in listener.sockets[seat::seats]))
            for listener in self._place.listeners
        )
        self._tell_all(Company(alone=False))
        popen, pidfd, control = start_worker((memory.fd, *caches.files, *(fd for each in listeners for fd in each.fds)))
        channel = Channel(
            TO_SUPERVISOR, lambda message: self._on_message(process, message), lambda _: self._on_silence(process)
        )
        loop = asyncio.get_running_loop()
        process = _Process(seat, row, popen, pidfd, channel, loop.time())
        self._alive[row] = process
        loop.add_reader(pidfd, self._on_death, process)
        self._tasks.create_task(_connect(process, control))
        alone = seats == len(self._alive) == 1
        channel.send(Bootstrap(row, memory.rows, memory.slots, memory.fd, caches.files, listeners, alone))
        channel.send(Apply(self.version, diff(World(), self.world)))
        self._log.info("worker started", pid=popen.pid, row=row)
        self._events.publish("worker", {"event": "started", "pid": popen.pid, "row": row})
        return process

    # Replacement

    async def _succeed(self, before: _Process) -> _Process:
        """A second worker in a seat, once it takes requests.

        Raises:
            ReplaceError: it never will; it is gone.
        """
        if self._stopping:
            raise ReplaceError("the balancer is leaving")
        try:
            after = self._bear(before.seat)
        except OSError as error:
            self._befriend()
            raise ReplaceError(f"a worker cannot be started: {error}") from error
        try:
            problem = await asyncio.wait_for(asyncio.shield(after.ready), START_TIMEOUT)
        except TimeoutError:
            problem = f"it was not ready within {START_TIMEOUT:g} s"
        if problem:
            after.popen.kill()
            await after.gone.wait()
            raise ReplaceError(f"the new worker cannot take over from {before.popen.pid}: {problem}")
        return after

    async def _release(self, before: _Process, after: _Process, seconds: float) -> None:
        """Have a worker that has a successor finish what it carries; returns when it is gone."""
        before.leaving = True
        replaced = {"pid": before.popen.pid, "row": before.row, "successor": after.popen.pid}
        self._log.info("worker replaced", **replaced, timeout=seconds)
        self._events.publish("worker", {"event": "replaced", **replaced})
        before.channel.send(Drain(seconds))
        try:
            async with asyncio.timeout(seconds + DRAIN_GRACE):
                await before.gone.wait()
        except TimeoutError:
            self._log.error("a worker did not leave in time and is killed", pid=before.popen.pid)
            before.popen.kill()
            await before.gone.wait()

    def _befriend(self) -> None:
        """With one seat and nobody who is being replaced, that one worker's counts are all there are."""
        if self._place.seats == len(self._alive) == 1:
            self._tell_all(Company(alone=True))

    # Life

    def _on_message(self, process: _Process, message: ToSupervisor) -> None:
        match message:
            case Report():
                self._on_report(message)
            case Event(level=level, event=event, fields=fields):
                self._log.write(level, event, {**fields, "pid": process.popen.pid})
            case Ack(version=version, problem=problem):
                self._on_ack(process, version, problem)

    def _on_ack(self, process: _Process, version: int, problem: str) -> None:
        first = process.acknowledged == 0
        process.acknowledged = version
        if not problem:
            process.edition = self._editions.get(version, process.edition)
        if first:
            process.settle(problem)
        self._forget_editions()
        for waiter in list(self._waiters):
            if problem and version == waiter.version:
                waiter.problems.append(problem)
            if version >= waiter.version:
                waiter.answered(process)
        if problem:
            self._log.error("a worker cannot apply a change", pid=process.popen.pid, version=version, reason=problem)
        if self._started.done():
            return
        if first and problem:
            self._started.set_exception(StartError(problem))
        elif self.count()[0] == self._place.seats:
            self._started.set_result(None)

    def _forget_editions(self) -> None:
        """A version that everybody has passed is not acknowledged again."""
        oldest = min((process.acknowledged for process in self._alive.values()), default=0)
        for passed in [version for version in self._editions if version < oldest]:
            del self._editions[passed]

    # Death

    def _on_silence(self, process: _Process) -> None:
        """The channel ended: the worker is about to be gone, or it can no longer be told anything."""
        if not self._stopping:
            asyncio.get_running_loop().call_later(SILENCE, process.popen.kill)

    def _release_claims(self, row: int, times: int) -> None:
        """Lets others fetch what a dead worker was fetching; its successor may lose a claim, which costs a fetch."""
        if not self._place.caches.release(row) and times:
            asyncio.get_running_loop().call_later(RELEASE_PAUSE, self._release_claims, row, times - 1)

    def _on_death(self, process: _Process) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(process.pidfd)
        os.close(process.pidfd)
        code = process.popen.wait()
        process.channel.close()
        del self._alive[process.row]
        process.settle("it died before it was ready")
        process.gone.set()
        self._befriend()
        self._place.memory.ledger.clear_row(process.row)
        self._release_claims(process.row, RELEASES)
        for waiter in list(self._waiters):
            waiter.answered(process)
        if self._stopping:
            if code != 0:
                self._log.error("worker died while it drained", pid=process.popen.pid, **explain(code))
            if not self._alive:
                self._all_gone.set()
            return
        if process.leaving:
            tell = self._log.info if code == 0 else self._log.error
            tell("a replaced worker has left", pid=process.popen.pid, row=process.row, **explain(code))
            return
        if self._holder(process.seat) is not None:  # one of two in a seat; whoever waits for it tells
            return
        self.restarts += 1
        delay = self._backoff(process, loop.time() - process.born)
        death = {"pid": process.popen.pid, "row": process.row, "successor_in": delay, **explain(code)}
        self._log.error("worker died", **death)
        self._events.publish("worker", {"event": "died", **death})
        if delay:
            self._births[process.seat] = loop.call_later(delay, self._spawn, process.seat)
        else:
            self._spawn(process.seat)

    def _backoff(self, process: _Process, age: float) -> float:
        """How long the successor has to wait: not at all, unless they die as fast as they are born."""
        quick = self._quick_deaths[process.seat] + 1 if age < QUICK else 0
        self._quick_deaths[process.seat] = quick
        if quick >= QUICK_DEATHS and not self._started.done():
            self._started.set_exception(StartError("the workers die before they are ready"))
        excess = quick - QUICK_DEATHS
        return 0.0 if excess < 0 else min(BACKOFF_MAX, BACKOFF * 2.0 ** min(excess, 10))


async def _connect(process: _Process, control: socket.socket) -> None:
    try:
        await attach(process.channel, control)
    except OSError:
        process.popen.kill()
