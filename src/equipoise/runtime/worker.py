"""A worker process: `python -m equipoise.runtime.worker FD`, started by the supervisor only.

Owns: the loop, the accepting, the one ticker, obedience to the supervisor, and the order of a drain.
Refuses to know: HTTP, targets and health; what it carries is the data path.

It outlives no supervisor: the end of the control channel is an order to drain.
"""

import asyncio
import ctypes
import gc
import mmap
import os
import resource
import socket
import sys
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import uvloop

from equipoise.config.diff import Change, apply
from equipoise.model import Outcome, World
from equipoise.proxy.data_path import DataPath
from equipoise.proxy.tls import Greeting
from equipoise.runtime import app_log
from equipoise.runtime.cache_memory import Section, open_store
from equipoise.runtime.control import (
    TO_NEW_WORKER,
    TO_WORKER,
    Ack,
    Apply,
    Bootstrap,
    Channel,
    Company,
    ControlError,
    Cut,
    Drain,
    Event,
    FieldValue,
    ReopenLogs,
    Report,
    ToWorker,
    attach,
    receive_first,
)
from equipoise.runtime.listen import BACKLOG
from equipoise.runtime.shortage import Shortage
from equipoise.state.ledger import Ledger

TICK: Final = 0.1
# How often a drain looks whether the last connection is gone.
GRAIN: Final = 0.02
# Long enough for handshakes that were under way to end and be accepted before the sockets close.
SETTLE: Final = 0.1
# Handshakes that are under way when a drain begins have so long to become connections that count.
HANDSHAKES: Final = 1.0
# Failures of one kind at one target that are reported in one tick: more would only keep the supervisor busy.
MOST_REPORTS: Final = 32
# glibc's mallopt. Measured with 1 MiB answers: without these each buffer is mapped and unmapped, 91 page faults a
# request.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


class Worker:
    """One worker, from its bootstrap to its last connection."""

    def __init__(self, bootstrap: Bootstrap, loop: asyncio.AbstractEventLoop) -> None:
        """Lays out the shared memory; nothing runs yet."""
        self._loop = loop
        self._listeners = bootstrap.listeners
        memory = mmap.mmap(bootstrap.ledger_fd, Ledger.size(bootstrap.rows, bootstrap.slots))
        self._ledger = Ledger(memory, bootstrap.rows, bootstrap.slots, bootstrap.row)
        self._ledger.alone = bootstrap.alone
        self._data_path = DataPath(self._ledger, loop, self._report)
        self._data_path.trouble = self._on_trouble
        open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._shortage = Shortage(self._say, open_files, self._turned_away())
        files, rows, row = bootstrap.cache_fds, bootstrap.rows, bootstrap.row
        self._data_path.open_store = lambda section: open_store(files, Section(*section), rows, row)
        self._world = World()
        self._slots: dict[tuple[str, str], int] = {}
        self._reported: Counter[tuple[str, str, str]] = Counter()
        # Messages in order; None is the end of the channel.
        self._messages: asyncio.Queue[ToWorker | None] = asyncio.Queue()
        self._channel: Channel[ToWorker] = Channel(
            TO_WORKER, self._messages.put_nowait, lambda _: self._messages.put_nowait(None)
        )
        # How listeners with TLS greet, by their place among the listeners.
        self._greetings: dict[int, Greeting] = {}
        self._servers: list[asyncio.Server] = []
        self._drain_order: asyncio.Future[float] = loop.create_future()
        self._exit_code = 0

    async def run(self, control: socket.socket) -> int:
        """Live until drained; the exit code."""
        await attach(self._channel, control)
        app_log.forward(self._say)
        self._tick()
        async with asyncio.TaskGroup() as tasks:
            obeying = tasks.create_task(self._obey())
            timeout = await self._drain_order
            await self._drain(timeout)
            obeying.cancel()
        self._channel.close()
        return self._exit_code

    # Obedience

    async def _obey(self) -> None:
        while True:
            match await self._messages.get():
                case Apply(version=version, changes=changes):
                    await self._apply(version, changes)
                case Cut(slot=slot):
                    self._data_path.cut(slot)
                case ReopenLogs():
                    self._data_path.reopen_logs()
                case Company(alone=alone):
                    self._ledger.alone = alone
                case Drain(timeout=timeout):
                    self._order_drain(timeout)
                case None:
                    self._order_drain(self._world.limits.drain_timeout)
                case Bootstrap():
                    raise ControlError("a second bootstrap")

    def _order_drain(self, timeout: float) -> None:
        if not self._drain_order.done():
            self._drain_order.set_result(timeout)

    async def _apply(self, version: int, changes: list[Change]) -> None:
        world = apply(self._world, changes)
        problem = ""
        try:
            self._data_path.apply(world)
            self._greet(world)
            # One that drains while others stay is told of changes too, and takes nothing new.
            if not self._servers and not self._drain_order.done():
                await self._open()
        except Exception as error:  # noqa: BLE001 -- an algorithm or a log sink of the user may raise anything
            problem = f"{type(error).__name__}: {error}"
            self._channel.send(Event("error", "a change cannot be applied", {"traceback": traceback.format_exc()}))
        # The supervisor goes on from its version either way; it sends what undoes a change that was refused.
        self._world = world
        self._slots = {(pool.name, target.name): target.slot for pool in world.pools for target in pool.targets}
        self._channel.send(Ack(version, problem))
        if not self._servers:
            # Nobody may queue up for a worker that cannot serve; the supervisor decides whether another is to try.
            self._exit_code = 1
            self._order_drain(0.0)

    def _greet(self, world: World) -> None:
        """Show the certificates of `world` from the next handshake on."""
        specs = {n: spec for n, spec in enumerate(world.listeners) if spec is not None}
        made = {n: self._data_path.contexts.identities(spec) for n, spec in specs.items()}
        for n, identities in made.items():
            greeting = self._greetings.get(n)
            if greeting is not None and greeting.lets_in_as(specs[n]):
                greeting.take(specs[n], identities)
            else:
                self._greetings[n] = Greeting(specs[n], identities)

    async def _open(self) -> None:
        """Accept from every listener."""
        servers = []
        for n, listener in enumerate(self._listeners):
            protocol = self._data_path.downstream if n not in self._greetings else partial(self._secure_downstream, n)
            for fd in listener.fds:
                # A copy: the descriptors themselves outlive who accepts.
                sock = socket.socket(fileno=os.dup(fd))
                servers.append(await self._loop.create_server(protocol, sock=sock, backlog=BACKLOG))
        self._servers = servers

    def _secure_downstream(self, index: int) -> Any:
        return self._data_path.secure_downstream(self._greetings[index].context)

    # Time

    def _tick(self) -> None:
        self._loop.call_later(TICK, self._tick)
        self._reported.clear()
        self._data_path.tick(time.monotonic_ns())
        self._shortage.look(self._turned_away(), self._loop.time())

    def _turned_away(self) -> int:
        """Clients for whom there was no file descriptor."""
        return self._ledger.worker(int(self._ledger.row))["limited_open_files"]

    # Failures

    def _report(self, pool: str, target: str, outcome: str) -> None:
        key = (pool, target, outcome)
        slot = self._slots.get((pool, target))
        if slot is None or self._reported[key] >= MOST_REPORTS:
            return
        self._reported[key] += 1
        self._channel.send(Report(pool, target, Outcome(outcome), self._ledger.totals(slot)["ok"]))

    def _on_trouble(self, what: str) -> None:
        """The access log cannot be written, or can again."""
        self._say("warning", what, {})

    def _say(self, level: str, event: str, fields: Mapping[str, FieldValue]) -> None:
        """Into the application log, which the supervisor writes; from any thread."""
        self._loop.call_soon_threadsafe(self._channel.send, Event(level, event, dict(fields)))

    # The end

    async def _drain(self, seconds: float) -> None:
        """Take what waits in the queues, then nothing new; finish what is in flight; cut what is left at the end."""
        deadline = self._loop.time() + seconds
        await asyncio.sleep(SETTLE)
        for server in self._servers:
            server.close()
        for listener in self._listeners:
            for fd in listener.fds:
                os.close(fd)
        self._data_path.begin_drain()
        patience = min(deadline, self._loop.time() + HANDSHAKES)
        # The data path is compiled and has no event to wait for.
        while True:
            until = deadline if self._data_path.connections else patience if self._data_path.handshakes else 0.0
            if self._loop.time() >= until:
                break
            await asyncio.sleep(GRAIN)
        if self._data_path.connections:
            self._channel.send(
                Event("warning", "drain timeout: connections are cut", {"connections": self._data_path.connections})
            )
            self._data_path.abort()
        self._data_path.close()


def main() -> int:
    """Be a worker."""
    control = socket.socket(fileno=int(sys.argv[1]))
    try:
        bootstrap = receive_first(control, TO_NEW_WORKER)
    except ControlError:
        return 0  # the supervisor died meanwhile: there is nothing to drain
    _tune_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        worker = Worker(bootstrap, runner.get_loop())
        # What exists now lives as long as the process: no collection needs to look at it again.
        gc.freeze()
        return runner.run(worker.run(control))


def _tune_memory() -> None:
    """Keep freed buffers, up to 16 MiB of them, instead of giving them back page by page."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_M_MMAP_THRESHOLD, 300_000)
    mallopt(_M_TRIM_THRESHOLD, 16 * 1024 * 1024)


if __name__ == "__main__":
    # As the supervisor does: nothing is gained by taking the interpreter apart.
    os._exit(main())
