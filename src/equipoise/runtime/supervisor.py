"""The supervisor: everything but the traffic.

Owns: the life of the balancer from the file to the last worker, its signals, and the one path by which anything
changes: a configuration or a flip becomes a world, the world goes to all workers.
Refuses to know: HTTP, how workers live and die (`workers`), what makes a target healthy (`targets`, `health_checks`).

Signal handlers only enqueue; `_serve` handles them one after the other.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from equipoise.config.addresses import parse_url
from equipoise.config.load import ConfigError, load
from equipoise.config.schema import Config
from equipoise.config.world import limits_spec, worker_count
from equipoise.model import Outcome, TargetState
from equipoise.runtime.app_log import AppLog
from equipoise.runtime.control import Report
from equipoise.runtime.health_checks import HealthChecks
from equipoise.runtime.listen import Listener
from equipoise.runtime.resolve import Resolver
from equipoise.runtime.response_times import MeanWindow
from equipoise.runtime.slots import Key, NoSlotError, Slots
from equipoise.runtime.startup import (
    UnfitError,
    announce,
    check_surroundings,
    is_compiled,
    make_memory,
    open_listeners,
    raise_file_limit,
)
from equipoise.runtime.status import pools_status, workers_status
from equipoise.runtime.targets import Flip, TargetTable
from equipoise.runtime.workers import Place, StartError, Workers

# How long the start, and a reload with new names, waits for the name service.
FIRST_LOOKUP: Final = 2.0
# Means are published 4 times a second and sampled once a second; slots are reaped every 10 seconds.
BEAT: Final = 0.25
SAMPLE_BEATS: Final = 4
REAP_BEATS: Final = 40
# Keys that need other sockets or other processes.
FIXED: Final = ("listen", "listeners", "workers", "state_dir", "admin")


class ChangeRefusedError(Exception):
    """A configuration that is valid and yet cannot be taken up while running; nothing was changed."""


@dataclass(frozen=True)
class _Leave:
    """The order to end the process."""

    code: int


def run(config_path: Path) -> int:
    """Be the balancer until told to stop; the exit code."""
    log = AppLog(sys.stderr)
    try:
        config = load(config_path)
    except ConfigError as error:
        for problem in error.problems:
            print(f"{config_path}: {problem}", file=sys.stderr)  # noqa: T201 -- for the person at the terminal
        return 2
    try:
        check_surroundings()
        raise_file_limit()
        announce(log, config)
        listeners = open_listeners(config)
    except UnfitError as error:
        log.error("cannot start", reason=str(error))  # noqa: TRY400 -- the reason is for the user, the traceback is not
        return 1
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(config_path, config, listeners, log))


async def _run(config_path: Path, config: Config, listeners: tuple[Listener, ...], log: AppLog) -> int:
    async with asyncio.TaskGroup() as tasks:
        return await Supervisor(config_path, config, Surroundings(listeners, log, tasks)).run()


@dataclass(frozen=True)
class Surroundings:
    """What a supervisor is given and does not make."""

    listeners: tuple[Listener, ...]
    log: AppLog
    tasks: asyncio.TaskGroup


class Supervisor:
    """The running balancer. The admin API holds one of these."""

    def __init__(self, config_path: Path, config: Config, surroundings: Surroundings) -> None:
        """Everything is laid out, nothing runs yet."""
        self.config = config
        self.config_path = config_path
        self._listeners = surroundings.listeners
        self._log = surroundings.log
        self._tasks = surroundings.tasks
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()

        memory = make_memory(worker_count(config))
        self.ledger = memory.ledger
        slots = Slots(memory.slots, lambda slot: self.ledger.in_flight(slot) == 0, self.ledger.clear_slot)
        self._resolver = Resolver(self._log, self._on_resolved)
        self.table = TargetTable(slots, self._good_answers, self._resolver.addresses)
        self._checks = HealthChecks(self.table, self._log, self._on_probe)
        place = Place(memory, self._listeners)
        self.workers = Workers(place, self._tasks, self._log, self._on_report)

        # One change at a time; flips need not wait, they are published within one callback.
        self._changing = asyncio.Lock()
        self._publishing = False
        self._installed = False
        self._means: dict[int, MeanWindow] = {}
        self._orders: asyncio.Queue[signal.Signals | _Leave] = asyncio.Queue()
        self._draining = False

    # What the admin API asks for

    def status(self) -> dict[str, object]:
        """The state of everything, as plain data."""
        return {
            "version": self.workers.version,
            "uptime_s": round(self._loop.time() - self._started_at, 3),
            "compiled": is_compiled(),
            "workers": workers_status(self.workers.rows(), self.ledger),
            "pools": pools_status(self.config, self.table, self.ledger),
        }

    async def apply(self, config: Config) -> int:
        """Take up another configuration; returns its version when all workers act on it.

        Raises:
            ChangeRefusedError: it cannot be; everything is as it was.
        """
        async with self._changing:
            fixed = [key for key in FIXED if getattr(config, key) != getattr(self.config, key)]
            if fixed:
                raise ChangeRefusedError(f"{', '.join(fixed)} cannot change while running; restart to change it")
            before = self.config
            await self._install(config)
            problems = await self.workers.acknowledged(self._publish())
            if problems:
                await self._install(before)
                await self.workers.acknowledged(self._publish())
                raise ChangeRefusedError(problems[0])
            return self.workers.version

    async def order(self, pool: str, target: str, state: TargetState) -> int:
        """Drain a target, take it down, or leave it to its health again; returns the version of that.

        Raises:
            KeyError: there is no such target.
        """
        self._flipped(self.table.order(Key(pool, target), state))
        version = self._publish()
        await self.workers.acknowledged(version)
        return version

    async def reload(self) -> int:
        """Read the file again and take it up; returns the version.

        Raises:
            ConfigError: the file is bad; nothing was changed.
            ChangeRefusedError: it cannot be taken up; nothing was changed.
        """
        return await self.apply(load(self.config_path))

    # Life

    async def run(self) -> int:
        """Start, serve, drain; the exit code."""
        self._loop.set_exception_handler(self._on_broken)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            self._loop.add_signal_handler(number, self._orders.put_nowait, number)
        jobs = [
            self._tasks.create_task(self._start()),
            self._tasks.create_task(self._keep_up("health checks", self._checks.run)),
            self._tasks.create_task(self._keep_up("name lookups", self._resolver.run)),
            self._tasks.create_task(self._keep_up("housekeeping", self._keep_house)),
        ]
        try:
            return await self._serve()
        finally:
            for job in jobs:
                job.cancel()

    async def _start(self) -> None:
        try:
            await self._install(self.config)
            await self.workers.start(self.table.world(self.config))
        except (StartError, NoSlotError, ChangeRefusedError) as error:
            self._log.error("cannot start", reason=str(error))
            await self.workers.kill()
            self._orders.put_nowait(_Leave(1))
            return
        for listener in self._listeners:
            self._log.info("listening", address=listener.address)
        self._log.info("ready", pid=os.getpid(), workers=self.workers.pids)

    async def _serve(self) -> int:
        while True:
            match await self._orders.get():
                case _Leave(code=code):
                    return code
                case signal.SIGHUP if not self._draining:
                    self._tasks.create_task(self._reload_and_tell())
                case signal.SIGUSR1:
                    self.workers.reopen_logs()
                case signal.SIGTERM | signal.SIGINT if self._draining:
                    self._log.warning("leaving at once")
                    await self.workers.kill()
                case signal.SIGTERM | signal.SIGINT as number:
                    self._draining = True
                    self._tasks.create_task(self._drain(number.name))
                case _:  # a reload while draining: too late
                    pass

    async def _drain(self, why: str) -> None:
        timeout = limits_spec(self.config).drain_timeout
        self._log.info("draining", signal=why, timeout=timeout)
        for listener in self._listeners:
            listener.refuse_new()
        drained = self._tasks.create_task(self.workers.drain(timeout))
        for listener in self._listeners:
            listener.close()
        await drained
        self._log.info("stopped")
        self._orders.put_nowait(_Leave(0))

    async def _reload_and_tell(self) -> None:
        try:
            version = await self.reload()
        except ConfigError as error:
            for problem in error.problems:
                self._log.error("reload refused", path=problem.path, line=problem.line, reason=problem.message)
        except ChangeRefusedError as error:
            self._log.error("reload refused", reason=str(error))
        else:
            self._log.info("reloaded", version=version)

    async def _keep_up(self, name: str, job: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await job()
            except Exception as error:  # noqa: BLE001 -- whatever it is, the balancer goes on without this job for a second
                self._log.error(f"{name} broke and start again", exc_info=error)
            await asyncio.sleep(1.0)

    def _on_broken(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback raised: the others go on."""
        self._log.error(str(context.get("message", "a callback broke")), exc_info=context.get("exception"))

    # Change

    async def _install(self, config: Config) -> None:
        targets = [target for pool in config.pools.values() for target in pool.targets]
        self._resolver.watch(self.table.hosts() | {parse_url(target.url).address.host for target in targets})
        await self._resolver.first(FIRST_LOOKUP)
        try:
            self._flipped(self.table.install(config, self._loop.time()))
        except NoSlotError as error:
            raise ChangeRefusedError(str(error)) from error
        finally:
            self._resolver.watch(self.table.hosts())
        self.config = config
        self._installed = True

    def _publish(self) -> int:
        """Tell the workers what changed, if anything did; the version to wait for."""
        self._publishing = False
        world = self.table.world(self.config)
        return self.workers.version if world == self.workers.world else self.workers.send(world)

    def _flipped(self, flips: list[Flip]) -> None:
        for flip in flips:
            write = self._log.warning if flip.after is TargetState.DOWN else self._log.info
            changed = {"pool": flip.key.pool, "target": flip.key.target, "from": flip.before, "to": flip.after}
            write(f"target {flip.after}", **changed, reason=flip.reason)
            entry = self.table.get(*flip.key)
            if entry is not None and flip.after is TargetState.DOWN:
                self._checks.hurry(flip.key, entry.health_config.down_interval)
        if flips:
            self._publish_soon()

    def _publish_soon(self) -> None:
        """Flips of one moment travel together. Before the first installation there is nothing to tell."""
        if self._installed and not self._publishing:
            self._publishing = True
            self._loop.call_soon(self._publish)

    # Health

    def _good_answers(self, slot: int) -> int:
        return self.ledger.totals(slot)["ok"]

    def _on_report(self, report: Report) -> None:
        key = Key(report.pool, report.target)
        flips = self.table.failed(key, report.outcome, report.good, self._loop.time())
        if report.outcome is Outcome.CONNECT_FAILED:
            self._look_up_again(key)
        self._flipped(flips)

    def _on_probe(self, key: Key, outcome: Outcome, detail: str) -> None:
        flips = self.table.probed(key, outcome, detail, self._loop.time())
        if outcome is not Outcome.PROBE_OK:
            self._look_up_again(key)
        self._flipped(flips)

    def _on_resolved(self, host: str, addresses: tuple[str, ...]) -> None:
        self._flipped(self.table.resolved(host, addresses))
        self._publish_soon()

    def _look_up_again(self, key: Key) -> None:
        entry = self.table.get(*key)
        if entry is not None:
            self._resolver.hurry(entry.host)

    # Housekeeping

    async def _keep_house(self) -> None:
        beats = 0
        while True:
            now = self._loop.time()
            self._flipped(self.table.elapse(now))
            self._publish_means(sample=beats % SAMPLE_BEATS == 0)
            if beats % REAP_BEATS == 0:
                self.table.reap(now)
            beats += 1
            await asyncio.sleep(BEAT)

    def _publish_means(self, *, sample: bool) -> None:
        slots = {entry.slot for entry in self.table}
        for gone in self._means.keys() - slots:
            del self._means[gone]
        for slot in slots:
            totals = self.ledger.totals(slot)
            window = self._means.setdefault(slot, MeanWindow())
            self.ledger.publish_mean(slot, window.mean(totals["response_ns"], totals["responses"]))
            if sample:
                window.sample(totals["response_ns"], totals["responses"])
