"""The worker processes, seen from the supervisor.

Owns: their birth, death and succession, and which state of the world each of them has acknowledged.
Refuses to know: what the world says, why it changes, what workers do with it.

Each world that is sent has a number, its version here. The version of the configuration behind it is its edition.

A worker's place (its row of the ledger, its listening sockets) outlives it: the successor takes over both.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final

from equipoise.config.diff import diff
from equipoise.model import World
from equipoise.runtime.app_log import AppLog
from equipoise.runtime.caches import Caches
from equipoise.runtime.control import (
    TO_SUPERVISOR,
    Ack,
    Apply,
    Bootstrap,
    Channel,
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
# Theirs to ignore: Ctrl-C and service managers signal the whole group, and the supervisor tells the workers what to do.
_BLOCKED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class StartError(Exception):
    """The workers cannot start; the text says why."""


@dataclass(frozen=True)
class Place:
    """What the workers are born into, and share."""

    memory: Memory
    caches: Caches
    listeners: tuple[Listener, ...]


@dataclass(eq=False)
class _Process:
    """One life of a worker."""

    row: int
    popen: "subprocess.Popen[bytes]"
    pidfd: int
    channel: Channel[ToSupervisor]
    born: float
    acknowledged: int = 0
    edition: int = 0


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
        # Who is alive, by row; the successors that are waited for; the quick deaths in a row.
        self._alive: dict[int, _Process] = {}
        self._births: dict[int, asyncio.TimerHandle] = {}
        self._quick_deaths = [0] * place.memory.rows
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
        """How many workers are up, which is to say carry traffic, and how many there are to be."""
        return sum(1 for process in self._alive.values() if process.acknowledged), self._place.memory.rows

    async def start(self, world: World, edition: int) -> None:
        """Start all workers; returns when each of them accepts connections.

        Args:
            world: what they act on.
            edition: the version of the configuration behind it.

        Raises:
            StartError: they die again and again, or refuse the world.
        """
        self._advance(world, edition)
        for row in range(self._place.memory.rows):
            self._spawn(row)
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

    def _spawn(self, row: int) -> None:
        self._births.pop(row, None)
        memory, caches = self._place.memory, self._place.caches
        listeners = tuple(
            Inherited(listener.address, listener.sockets[row].fileno()) for listener in self._place.listeners
        )
        try:
            popen, pidfd, control = _execute((memory.fd, *caches.files, *(listener.fd for listener in listeners)))
        except OSError as error:  # no memory, no file descriptor, no process left
            self._log.error("cannot start a worker", row=row, reason=str(error), again_in=BACKOFF_MAX)
            self._births[row] = asyncio.get_running_loop().call_later(BACKOFF_MAX, self._spawn, row)
            return
        channel = Channel(
            TO_SUPERVISOR, lambda message: self._on_message(process, message), lambda _: self._on_silence(process)
        )
        loop = asyncio.get_running_loop()
        process = _Process(row, popen, pidfd, channel, loop.time())
        self._alive[row] = process
        loop.add_reader(pidfd, self._on_death, process)
        self._tasks.create_task(_connect(process, control))
        channel.send(Bootstrap(row, memory.rows, memory.slots, memory.fd, caches.files, listeners))
        channel.send(Apply(self.version, diff(World(), self.world)))
        self._log.info("worker started", pid=popen.pid, row=row)
        self._events.publish("worker", {"event": "started", "pid": popen.pid, "row": row})

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
        elif len(self._alive) == self._place.memory.rows and all(other.acknowledged for other in self._alive.values()):
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
        self._place.memory.ledger.clear_row(process.row)
        self._release_claims(process.row, RELEASES)
        for waiter in list(self._waiters):
            waiter.answered(process)
        if self._stopping:
            if code != 0:
                self._log.error("worker died while it drained", pid=process.popen.pid, **_explain(code))
            if not self._alive:
                self._all_gone.set()
            return
        self.restarts += 1
        delay = self._backoff(process, loop.time() - process.born)
        death = {"pid": process.popen.pid, "row": process.row, "successor_in": delay, **_explain(code)}
        self._log.error("worker died", **death)
        self._events.publish("worker", {"event": "died", **death})
        if delay:
            self._births[process.row] = loop.call_later(delay, self._spawn, process.row)
        else:
            self._spawn(process.row)

    def _backoff(self, process: _Process, age: float) -> float:
        """How long the successor has to wait: not at all, unless they die as fast as they are born."""
        quick = self._quick_deaths[process.row] + 1 if age < QUICK else 0
        self._quick_deaths[process.row] = quick
        if quick >= QUICK_DEATHS and not self._started.done():
            self._started.set_exception(StartError("the workers die before they are ready"))
        excess = quick - QUICK_DEATHS
        return 0.0 if excess < 0 else min(BACKOFF_MAX, BACKOFF * 2.0 ** min(excess, 10))


async def _connect(process: _Process, control: socket.socket) -> None:
    try:
        await attach(process.channel, control)
    except OSError:
        process.popen.kill()


def _execute(fds: tuple[int, ...]) -> "tuple[subprocess.Popen[bytes], int, socket.socket]":
    """A worker process, what tells its death, and our end of its channel; or OSError, and nothing is left behind."""
    # The worker must find the very modules that this process runs, whatever the working directory holds.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with ExitStack() as failing:
        ours, theirs = socket.socketpair()
        failing.enter_context(ours)
        with theirs, _signals_blocked():
            popen = subprocess.Popen(  # noqa: S603 -- our own interpreter with a number
                [sys.executable, "-P", "-m", "equipoise.runtime.worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(), *fds),
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        failing.callback(popen.wait)
        failing.callback(popen.kill)
        pidfd = os.pidfd_open(popen.pid)
        failing.pop_all()
        return popen, pidfd, ours


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """A process started meanwhile inherits the mask, and with it deafness from its first instruction on."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _explain(code: int) -> dict[str, object]:
    if code >= 0:
        return {"exit_code": code}
    try:
        return {"signal": signal.Signals(-code).name}
    except ValueError:
        return {"signal": -code}
