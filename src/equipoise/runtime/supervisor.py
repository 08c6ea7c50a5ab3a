"""The supervisor: everything but the traffic.

Owns: the life of the balancer from the file to the last worker, its signals, what its parts tell each other, and what
the admin face may ask of it.
Refuses to know: HTTP, how workers live and die (`workers`), what makes a target healthy (`targets`, `health_checks`),
how a change is made (`changes`).

Signal handlers only enqueue; `_serve` handles them one after the other.
"""

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from equipoise.config.decode import plain
from equipoise.config.edits import Edit
from equipoise.config.load import ConfigError
from equipoise.config.overlay import UnknownNameError, differences
from equipoise.config.schema import Config, PoolConfig
from equipoise.config.world import limits_spec, worker_count
from equipoise.model import Outcome
from equipoise.runtime.app_log import AppLog
from equipoise.runtime.caches import Caches
from equipoise.runtime.changes import ChangeRefusedError, Changes, Standing
from equipoise.runtime.children import SIGNALS
from equipoise.runtime.control import Report
from equipoise.runtime.events import Events, timestamp
from equipoise.runtime.handover import Ancestor, HandoverError, Prepared
from equipoise.runtime.health_checks import HealthChecks
from equipoise.runtime.listen import Listener
from equipoise.runtime.notify import Notifier, ServiceManager
from equipoise.runtime.publisher import Parts, Publisher
from equipoise.runtime.renewal import Renewal
from equipoise.runtime.resolve import Resolver
from equipoise.runtime.response_times import Means
from equipoise.runtime.slots import Key, Slots
from equipoise.runtime.startup import (
    is_compiled,
    make_memory,
)
from equipoise.runtime.status import pools_status, target_status, why_not_ready, workers_status
from equipoise.runtime.store import Store, StoreError
from equipoise.runtime.succession import Holdings, Succession, Upgraded
from equipoise.runtime.targets import TargetTable
from equipoise.runtime.workers import SPARE_ROWS, Place, Replaced, StartError, Workers

# Means are published 4 times a second and sampled once a second; slots are reaped every 10 seconds.
BEAT: Final = 0.25
SAMPLE_BEATS: Final = 4
REAP_BEATS: Final = 40

Face = Callable[["Supervisor", socket.socket], Awaitable[None]]
"""Serves the admin API on a listening socket until cancelled. It is called again when it raises."""


@dataclass(frozen=True)
class _Leave:
    """The order to end the process."""

    code: int


@dataclass(frozen=True)
class Surroundings:
    """What a supervisor is given and does not make.

    Attributes:
        listeners: where clients connect.
        admin: where the admin API is served.
        face: serves it.
        store: the state directory.
        log: the application's.
        notifier: the way to the service manager.
        ancestor: the process to take over from.
        kept: the places, among its listeners, of those that are also in `listeners`.
        prepared: whether the store holds a state that is to be committed once this process is in charge.
    """

    listeners: tuple[Listener, ...]
    admin: Listener | None
    face: Face | None
    store: Store
    log: AppLog
    notifier: Notifier = field(default_factory=Notifier)
    ancestor: Ancestor | None = None
    kept: tuple[int, ...] = ()
    prepared: bool = False


class Supervisor:
    """The running balancer. The admin API holds one of these.

    Attributes:
        ledger: the counters of all workers.
        table: the targets.
        caches: the caches of the pools.
        workers: the worker processes.
        events: what happens; the place to subscribe.
        draining: whether it is on its way out.
    """

    def __init__(
        self, config_path: Path, standing: Standing, surroundings: Surroundings, tasks: asyncio.TaskGroup
    ) -> None:
        """Everything is laid out, nothing runs yet."""
        self.config_path = config_path
        self._log = surroundings.log
        self.events = Events()
        self.draining = False
        self._surroundings = surroundings
        self._manager = ServiceManager(surroundings.notifier, self._log)
        self._listeners = surroundings.listeners
        # How many sockets of each listener, the first ones, another process accepts from too.
        self._shared = [listener.inherited for listener in self._listeners]
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()

        seats = worker_count(standing.config)
        memory = make_memory(seats + SPARE_ROWS)
        self.ledger = memory.ledger
        slots = Slots(memory.slots, self._is_idle, self.ledger.clear_slot)
        self.caches = Caches(memory.rows)
        self._resolver = Resolver(self._log, self._on_resolved)
        self.table = TargetTable(slots, self._good_answers, self._resolver.addresses)
        self._checks = HealthChecks(self.table, self._log, self._on_probe)
        place = Place(memory, self.caches, self._listeners, seats)
        self.workers = Workers(place, tasks, self._log, self.events, self._on_report)
        parts = Parts(
            tasks, self.table, self.caches, self._resolver, self._checks, self.workers, self._log, self.events
        )
        self._publisher = Publisher(parts, standing.config, standing.version, standing.material)
        self._changes = Changes(standing, surroundings.store, self._publisher, parts)
        self._renewal = Renewal(self._changes, self._log)
        holdings = Holdings(self._listeners, surroundings.admin, surroundings.store, surroundings.notifier)
        self._succession = Succession(parts, holdings, self._changes, self._manager, self._on_handed_over)

        self._means = Means(self.ledger.totals, self.ledger.publish_mean)
        self._orders: asyncio.Queue[signal.Signals | _Leave] = asyncio.Queue()
        self._stops = 0
        self._jobs: list[asyncio.Task[None]] = []
        self._serving: asyncio.Task[None] | None = None

    # What the admin API asks for

    @property
    def config(self) -> Config:
        """The configuration in force: the file, and over it what was changed since."""
        return self._changes.standing.config

    @property
    def file(self) -> Config:
        """The configuration as the file said when it was read last."""
        return self._changes.standing.file

    @property
    def version(self) -> int:
        """The version of the configuration in force."""
        return self._changes.standing.version

    @property
    def log(self) -> AppLog:
        """The application's log."""
        return self._log

    def status(self) -> dict[str, Any]:
        """The state of everything, as plain data."""
        return {
            "version": self.version,
            "time": timestamp(),
            "uptime_s": round(self._loop.time() - self._started_at, 3),
            "compiled": is_compiled(),
            "pid": os.getpid(),
            "draining": self.draining,
            "workers": self._workers_status(),
            "pools": pools_status(self.config, self.table, self.ledger, self.caches),
        }

    def _workers_status(self) -> list[dict[str, int]]:
        workers = self.workers
        return workers_status(workers.rows(), workers.versions(), workers.leaving(), self.ledger)

    def target(self, pool: str, name: str) -> dict[str, Any]:
        """One target, as in the status; a removed one too, until nothing is in flight there.

        Raises:
            UnknownNameError: there is no such pool or target.
        """
        self._pool(pool)
        entry = self.table.get(pool, name) or self.table.leaving(pool, name)
        if entry is None:
            raise UnknownNameError("target", name)
        return target_status(entry, self.ledger)

    def cache(self, pool: str) -> dict[str, Any]:
        """The cache of a pool: how it is used, as in the status, and its settings in the file's own terms.

        Raises:
            UnknownNameError: there is no such pool.
        """
        config = self._pool(pool).cache
        return {**self.caches.stats(pool, config), "settings": plain(config)}

    async def purge(self, pool: str, path: str = "", *, is_prefix: bool = False) -> int:
        """Drop what the cache of a pool holds; how many answers, when no worker gives any of them any more.

        Args:
            pool: its name.
            path: and `is_prefix`: as `Caches.purge`.
            is_prefix: likewise.

        Raises:
            UnknownNameError: there is no such pool.
        """
        self._pool(pool)
        dropped = await self.caches.purge(pool, path, is_prefix=is_prefix)
        which = f" of {path}{'...' if is_prefix else ''}" if path else ""
        what = f"cache of pool {pool} purged: {dropped} answers{which}"
        self._log.info("cache purged", pool=pool, path=path, prefix=is_prefix, dropped=dropped)
        self.events.publish("change", {"version": self.version, "what": what})
        return dropped

    def configuration(self) -> dict[str, Any]:
        """The configuration in force, in the file's own terms, with its version."""
        return {"version": self.version, "config": plain(self.config)}

    def differences(self) -> list[dict[str, Any]]:
        """Where the configuration in force differs from the file; None stands for what is not there."""
        return [
            {"place": place, "file": said, "running": runs} for place, said, runs in differences(self.file, self.config)
        ]

    def ready(self) -> str | None:
        """Why the balancer is of no use to clients now; None when it is."""
        return "draining" if self.draining else why_not_ready(self.config, self.table, self.workers.count())

    async def edit(self, edit: Edit, expected: int | None = None, *, force: bool = False) -> int:
        """Make one change to the configuration; the version in force when all workers act on it and the disk has it.

        An edit that changes nothing keeps the version.

        Args:
            edit: what to change.
            expected: the version that the change is meant for; any when None.
            force: cut what is in flight at a target that is removed, instead of letting it end.

        Raises:
            StaleError: another version is in force.
            UnknownNameError: there is no such pool or target.
            ConflictError: a target of that name exists.
            ConfigError: a value is not valid.
            ChangeRefusedError: it cannot be taken up; nothing was changed.
        """
        return await self._changes.edit(edit, expected, force=force)

    async def reload(self, expected: int | None = None) -> int:
        """Read the file again and take it up; the version in force then.

        Raises:
            ConfigError: the file is bad; nothing was changed.
            ChangeRefusedError: it cannot be taken up; nothing was changed.
            StaleError: another version than the expected one is in force.
        """
        self._manager.reloading()
        try:
            return await self._changes.reload(self.config_path, expected)
        finally:
            # Nothing may take back that the balancer is leaving.
            if not self._changes.closed:
                self._manager.ready(self.version, len(self.workers.pids))

    async def upgrade(self) -> Upgraded:
        """Start this balancer anew, from the program and the file that are on the disk now, and hand over to it.

        When it returns the new process is in charge, and this one drains.

        Raises:
            ChangeRefusedError: it cannot be done, or the new process could not start: this one goes on as before.
        """
        return await self._succession.upgrade()

    async def replace_workers(self) -> list[Replaced]:
        """Put a new worker into the place of each, one after the other; returns when the last old one is gone.

        Raises:
            ChangeRefusedError: one could not be replaced; it goes on, and so do those after it.
        """
        return await self._succession.replace_workers(limits_spec(self.config).drain_timeout)

    def _pool(self, name: str) -> PoolConfig:
        found = self.config.pools.get(name)
        if found is None:
            raise UnknownNameError("pool", name)
        return found

    # Life

    async def run(self) -> int:
        """Start, serve, drain; the exit code."""
        self._loop.set_exception_handler(self._on_broken)
        for number in SIGNALS:
            self._loop.add_signal_handler(number, self._orders.put_nowait, number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self._jobs = [
            self._tasks.create_task(self._start()),
            self._tasks.create_task(self._keep_up("health checks", self._checks.run)),
            self._tasks.create_task(self._keep_up("name lookups", self._resolver.run)),
            self._tasks.create_task(self._keep_up("certificate renewal", self._renewal.run)),
            self._tasks.create_task(self._keep_up("housekeeping", self._keep_house)),
        ]
        if self._surroundings.ancestor is None:
            self._show_up()
        try:
            return await self._serve()
        finally:
            for job in self._jobs:
                job.cancel()

    def _show_up(self) -> None:
        """Be the balancer to the service manager and to those who use the admin API."""
        self._jobs.append(self._tasks.create_task(self._keep_up("watchdog", self._manager.keep_informed)))
        admin, face = self._surroundings.admin, self._surroundings.face
        if admin is not None and face is not None:
            self._log.info("admin API listening", address=admin.address)
            self._serving = self._tasks.create_task(self._keep_up("admin API", lambda: self._serve_admin(admin, face)))
            self._jobs.append(self._serving)

    async def _start(self) -> None:
        ancestor = self._surroundings.ancestor
        if ancestor is not None:
            self._changes.barred = "this process has not taken over yet"
            self.table.remember(ancestor.legacy.unwell)
            self._resolver.remember(ancestor.legacy.addresses)
        try:
            await self._changes.start()
        except (StartError, ChangeRefusedError) as error:
            self._log.error("cannot start", reason=str(error))
            if ancestor is not None:
                ancestor.fail(str(error))
            await self._give_up()
            return
        for listener in self._listeners:
            self._log.info("listening", address=listener.address)
        self._log.info("ready", pid=os.getpid(), workers=self.workers.pids)
        if ancestor is None or await self._take_over(ancestor):
            self._manager.ready(self.version, len(self.workers.pids))

    async def _take_over(self, ancestor: Ancestor) -> bool:
        """Be in charge in the place of another process; whether it came to that."""
        store = self._surroundings.store
        try:
            await ancestor.wait_for_order(Prepared(self.version, self._surroundings.kept))
            if self._surroundings.prepared:
                await asyncio.to_thread(store.commit)
        except (HandoverError, StoreError) as error:
            self._log.error("cannot take over", reason=str(error))
            ancestor.fail(str(error))
            await self._give_up()
            return False
        self._shared = [0] * len(self._listeners)
        self._changes.barred = ""
        self._show_up()
        self._log.info("taken over", pid=os.getpid(), before=ancestor.legacy.pid)
        await ancestor.tell_in_charge()
        return True

    async def _give_up(self) -> None:
        """Leave, since this process cannot be the balancer."""
        self._changes.closed = True
        if self._surroundings.ancestor is None:
            await self.workers.kill()
        else:
            # Some of its workers may carry requests already, and the other process goes on.
            self._surroundings.store.drop()
            await self._drain_workers()
        self._orders.put_nowait(_Leave(1))

    async def _serve(self) -> int:
        while True:
            match await self._orders.get():
                case _Leave(code=code):
                    return code
                case signal.SIGHUP if not self.draining:
                    self._tasks.create_task(self._reload_and_tell())
                case signal.SIGUSR1:
                    self.workers.reopen_logs()
                case signal.SIGUSR2:
                    self._tasks.create_task(self._upgrade_and_tell())
                case signal.SIGTERM | signal.SIGINT as number:
                    self._stops += 1
                    if self._stops > 1:
                        self._log.warning("leaving at once")
                        await self.workers.kill()
                    elif not self.draining:
                        self._succession.abandon()
                        self._begin_drain(number.name)
                case _:  # a reload while draining: too late
                    pass

    def _begin_drain(self, why: str) -> None:
        self.draining = self._changes.closed = True
        self._tasks.create_task(self._drain(why))

    def _on_handed_over(self, kept: set[int]) -> None:
        """Another process is in charge, and goes on with these of the listeners."""
        self._shared = [len(each.sockets) if n in kept else 0 for n, each in enumerate(self._listeners)]
        if self._serving is not None:
            self._serving.cancel()
        self._begin_drain("upgrade")

    async def _drain(self, why: str) -> None:
        self._log.info("draining", signal=why, timeout=limits_spec(self.config).drain_timeout)
        self._manager.stopping(limits_spec(self.config).drain_timeout)
        await self._drain_workers()
        self._log.info("stopped")
        self._orders.put_nowait(_Leave(0))

    async def _drain_workers(self) -> None:
        for listener, shared in zip(self._listeners, self._shared, strict=True):
            listener.refuse_new(shared)
        drained = self._tasks.create_task(self.workers.drain(limits_spec(self.config).drain_timeout))
        for listener in self._listeners:
            listener.close()
        await drained

    async def _upgrade_and_tell(self) -> None:
        try:
            await self.upgrade()
        except ChangeRefusedError as error:
            self._log.error("upgrade refused", reason=str(error))

    async def _reload_and_tell(self) -> None:
        try:
            await self.reload()
        except ConfigError as error:
            for problem in error.problems:
                self._log.error("reload refused", path=problem.path, line=problem.line, reason=problem.message)
        except ChangeRefusedError as error:
            self._log.error("reload refused", reason=str(error))

    async def _serve_admin(self, admin: Listener, face: Face) -> None:
        # A face that ends closes its socket; the next one needs it too.
        with admin.sockets[0].dup() as sock:
            sock.settimeout(0)
            try:
                await face(self, sock)
            except SystemExit as error:  # uvicorn's way to say that it cannot start
                raise RuntimeError(f"it left with {error.code}") from error

    async def _keep_up(self, name: str, job: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await job()
            except Exception as error:  # noqa: BLE001 -- whatever it is, the balancer goes on without this job for a second
                self._log.error(f"{name} broke and start again", exc_info=error)
            await asyncio.sleep(1.0)

    def _on_broken(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback raised: the others go on."""
        if closed_meanwhile(context):
            return
        self._log.error(str(context.get("message", "a callback broke")), exc_info=context.get("exception"))

    # Health

    def _is_idle(self, slot: int) -> bool:
        return self.ledger.in_flight(slot) == 0

    def _good_answers(self, slot: int) -> int:
        return self.ledger.totals(slot)["ok"]

    def _on_report(self, report: Report) -> None:
        key = Key(report.pool, report.target)
        flips = self.table.failed(key, report.outcome, report.good, self._loop.time())
        if report.outcome is Outcome.CONNECT_FAILED:
            self._look_up_again(key)
        self._publisher.flipped(flips)

    def _on_probe(self, key: Key, outcome: Outcome, detail: str) -> None:
        flips = self.table.probed(key, outcome, detail, self._loop.time())
        if outcome is not Outcome.PROBE_OK:
            self._look_up_again(key)
        self._publisher.flipped(flips)

    def _on_resolved(self, host: str, addresses: tuple[str, ...]) -> None:
        self._publisher.flipped(self.table.resolved(host, addresses))
        self._publisher.publish_soon()

    def _look_up_again(self, key: Key) -> None:
        entry = self.table.get(*key)
        if entry is not None:
            self._resolver.hurry(entry.host)

    # Housekeeping

    async def _keep_house(self) -> None:
        beats = 0
        while True:
            now = self._loop.time()
            self._publisher.flipped(self.table.elapse(now))
            # During a change, a worker may still pick a target that nothing is in flight at.
            if not self._changes.busy:
                self.table.forget(self._is_idle)
            self._means.publish({entry.slot for entry in self.table.shown()}, sample=beats % SAMPLE_BEATS == 0)
            if beats % REAP_BEATS == 0:
                self.table.reap(now)
            beats += 1
            await asyncio.sleep(BEAT)


def closed_meanwhile(context: dict[str, Any]) -> bool:
    """Whether a loop complains only of TLS that went on when nobody waited for it any more: a probe was given up.

    Args:
        context: what an exception handler of a loop is given.
    """
    error = context.get("exception")
    match context.get("message"):
        case "Fatal error on SSL protocol":
            return isinstance(error, RuntimeError) and "the handler is closed" in str(error)
        case "Future exception was never retrieved":
            # The handshake failed in the moment in which it was given up.
            return isinstance(error, ssl.SSLError)
        case _:
            return False
