"""All that a worker carries: the one object that the worker process holds of the data path.

Owns: putting the parts together, connecting to targets, applying a new world, the tick, the drain.
Refuses to know: processes, signals, how a world reaches the worker.
"""

import asyncio
import errno
import os
import time
from collections.abc import Callable
from random import Random
from typing import Any, cast

from mypy_extensions import i64

from equipoise.config.extensions import load_algorithm
from equipoise.errors import RETRY_ALWAYS, SELF, ProxyError, upstream_failed
from equipoise.model import AccessLogSpec, World
from equipoise.policy.balance import ALGORITHMS, Algorithm, Loads
from equipoise.proxy.access_log import AccessLog, NullLog, make_log
from equipoise.proxy.downstream_http1 import DownstreamHttp1
from equipoise.proxy.exchange import Exchange
from equipoise.proxy.sides import Connector, LogPort, Relay, Services
from equipoise.proxy.tunnel import Tunnel
from equipoise.proxy.upstream_http1 import UpstreamHttp1
from equipoise.state.ledger import (
    WORKER_CONNECTIONS,
    WORKER_LOG_DROPPED,
    WORKER_LOG_LINES,
    WORKER_PID,
    WORKER_REQUESTS,
    WORKER_WAITING,
    Ledger,
)
from equipoise.state.snapshot import Target, build

# Errors of connect(2) that say that this machine, not the target, is out of something.
OWN_ERRORS = frozenset({"EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL"})


# Seconds between the order to drain and the end of idle connections.
DRAIN_GRACE = 1.0


class TcpConnector(Connector):
    """New connections, each in a task of its own: this is not the fast path."""

    def __init__(self, services: Services, loop: asyncio.AbstractEventLoop) -> None:
        self.services = services
        self.loop = loop
        self.tasks: set[asyncio.Task[None]] = set()
        self.turn = 0

    def connect(self, target: Target, relay: Relay) -> None:
        """See `Connector.connect`."""
        # Made now: by the time it is connected, the target's address may be another one.
        upstream = UpstreamHttp1(self.services, target.slot)
        task = self.loop.create_task(self._connect(target, relay, upstream))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _connect(self, target: Target, relay: Relay, upstream: UpstreamHttp1) -> None:
        seconds = self.services.world().limits.connect_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._first(target, upstream)
        except TimeoutError:
            relay.upstream_failed(
                upstream_failed("connect_timeout", RETRY_ALWAYS, "The target did not accept a connection in time.", 504)
            )
        except OSError as error:
            relay.upstream_failed(connect_failure(error))
        else:
            if upstream.transport.is_closing():
                relay.upstream_failed(
                    upstream_failed("reset", RETRY_ALWAYS, "The target closed the connection at once.")
                )
            else:
                relay.connected(upstream)

    async def _first(self, target: Target, upstream: UpstreamHttp1) -> None:
        """Connects to the first of the target's addresses that accepts, beginning with another one each time."""
        self.turn += 1
        last: OSError = ConnectionRefusedError("the target has no address")
        for i in range(len(target.addresses)):
            address = target.addresses[(self.turn + i) % len(target.addresses)]
            try:
                await self.loop.create_connection(cast("Any", lambda: upstream), address, target.port)
            except OSError as error:
                last = error
            else:
                return
        raise last


class DataPath:
    """The data path of one worker."""

    def __init__(
        self, ledger: Ledger, loop: asyncio.AbstractEventLoop, report: Callable[[str, str, str], None]
    ) -> None:
        """Carries nothing until `apply`.

        Args:
            ledger: the worker's.
            loop: the running loop.
            report: is told of a target's failures: pool, target, `model.Outcome`.
        """
        self.loop = loop
        self.trouble: Callable[[str], None] = lambda _: None
        self.log_spec: AccessLogSpec | None = None
        self.log: AccessLog = NullLog()
        self.report = report
        self.services = Services(ledger, time.monotonic_ns, self._report)
        self.services.connector = TcpConnector(self.services, loop)
        self.services.soon = loop.call_soon
        self.services.later = loop.call_later
        self.services.id_prefix = os.urandom(4).hex().encode()
        self.random = Random()
        ledger.set_worker(WORKER_PID, os.getpid())
        # A successor counts on where its predecessor was.
        record = ledger.worker(int(ledger.row))
        self.services.requests = record["requests"]
        self.lines_before = record["log_lines"]
        self.dropped_before = record["log_dropped"]
        self.tick(time.monotonic_ns())

    def apply(self, world: World) -> None:
        """Takes up a new state of the world; exchanges that run go on under the old one.

        Raises:
            ValueError, OSError: the access log or an algorithm cannot be made; nothing was changed.
        """
        services = self.services
        before = services.snapshot
        snapshot = build(world, before, services.ledger, self._make)
        if world.access_log != self.log_spec:
            self._swap_log(world.access_log)
        services.snapshot = snapshot
        # A slot that changed hands was cleared by the supervisor; this row's own copy of its counts is the old
        # target's.
        known = {} if before is None else before.owners()
        for slot, owner in snapshot.owners().items():
            if known.get(slot) != owner:
                services.ledger.reread_slot(slot)
        if before is not None:
            now_there = {target.slot: target.addresses for pool in snapshot.pools.values() for target in pool.targets}
            for pool in before.pools.values():
                for target in pool.targets:
                    if now_there.get(target.slot) != target.addresses:
                        services.idle.close_slot(int(target.slot))
        for pool in snapshot.pools.values():
            if pool.waiting.size:
                services.wake(pool.waiting)
        # What was counted for targets that are gone must be there when they are added again.
        services.ledger.flush()

    def downstream(self) -> Any:
        """A protocol for a connection that was accepted; the factory for `loop.create_server`."""
        return cast("Any", DownstreamHttp1(self.services))

    @property
    def connections(self) -> int:
        """Open connections of clients, tunnels included."""
        return int(self.services.connections) + len(self.services.tunnels)

    def tick(self, now_ns: i64) -> None:
        """What is due; called every 100 ms.

        Args:
            now_ns: monotonic clock, nanoseconds.
        """
        services = self.services
        services.now = now_ns
        wall = time.time_ns()  # noqa: TID251  (log lines carry the wall clock; nothing is measured by it)
        services.set_wall_clock(now_ns, wall)
        services.deadlines.tick(now_ns)
        snapshot = services.snapshot
        if snapshot is not None:
            for pool in snapshot.pools.values():
                pool.loads.refresh_means()
        self._flush_log()
        self.log.tick()
        lines, dropped = self.log.counts()
        ledger = services.ledger
        ledger.flush()
        ledger.set_worker(WORKER_LOG_LINES, self.lines_before + lines)
        ledger.set_worker(WORKER_LOG_DROPPED, self.dropped_before + dropped)
        ledger.set_worker(WORKER_WAITING, self._waiting())
        ledger.set_worker(WORKER_REQUESTS, services.requests)
        ledger.set_worker(WORKER_CONNECTIONS, self.connections)

    def begin_drain(self) -> None:
        """From now on an answer is the last one of its connection; idle ones close a little later; tunnels go on.

        A client that sends on an idle connection at this very moment is still served, and told to come back elsewhere.
        """
        self.services.draining = True
        self.loop.call_later(DRAIN_GRACE, self._close_idle)

    def _close_idle(self) -> None:
        for downstream in list(self.services.downstreams):
            assert isinstance(downstream, DownstreamHttp1)
            downstream.close_idle()

    def abort(self) -> None:
        """The drain took too long: cuts everything."""
        for tunnel in list(self.services.tunnels):
            tunnel.expire(self.services.now)
        for downstream in list(self.services.downstreams):
            assert isinstance(downstream, DownstreamHttp1)
            downstream.cut()

    def cut(self, slot: int) -> None:
        """A target was removed by force: ends what is in flight there."""
        for tunnel in list(self.services.tunnels):
            assert isinstance(tunnel, Tunnel)
            relay = tunnel.relay
            if isinstance(relay, Exchange) and relay.target is not None and int(relay.target.slot) == slot:
                tunnel.abort()
        for downstream in list(self.services.downstreams):
            assert isinstance(downstream, DownstreamHttp1)
            exchange = downstream.exchange
            if exchange is not None and exchange.target is not None and int(exchange.target.slot) == slot:
                exchange.cut()

    def reopen_logs(self) -> None:
        """The log file was renamed."""
        self._flush_log()
        self.log.reopen()

    def close(self) -> None:
        """Writes what the log and the ledger still hold."""
        self.services.ledger.flush()
        self._flush_log()
        self.log.close()

    def _waiting(self) -> int:
        snapshot = self.services.snapshot
        return 0 if snapshot is None else sum([int(pool.waiting.size) for pool in snapshot.pools.values()])

    def _flush_log(self) -> None:
        port = self.services.log
        if port is not None:
            port.flush()

    def _report(self, pool: str, target: str, outcome: str) -> None:
        """What is said of a target comes with its counts, so these go first."""
        self.services.ledger.flush()
        self.report(pool, target, outcome)

    def _make(self, name: str, loads: Loads) -> Algorithm:
        known = ALGORITHMS.get(name)
        if known is None:
            known = load_algorithm(name)
        return known(loads, self.random.random)

    def _swap_log(self, spec: AccessLogSpec) -> None:
        fresh = make_log(spec, self.trouble)
        self.close()
        lines, dropped = self.log.counts()
        self.lines_before += lines
        self.dropped_before += dropped
        self.log = fresh
        self.log_spec = spec
        hidden = {name.lower() for name in spec.redact_headers}
        headers = tuple((name.lower().encode(), name.lower() in hidden) for name in spec.headers)
        self.services.log = None if isinstance(fresh, NullLog) else LogPort(fresh, spec.body_limit, headers)


def connect_failure(error: OSError) -> ProxyError:
    """What a failed connect means: nothing reached the target, so another one may always be tried."""
    code = errno.errorcode.get(error.errno or 0, "")
    if code in OWN_ERRORS:
        return ProxyError("no_resources", SELF, RETRY_ALWAYS, 503, f"No connection can be made from here: {code}.")
    kind = "connect_refused" if isinstance(error, ConnectionRefusedError) else "connect_failed"
    return upstream_failed(kind, RETRY_ALWAYS, "The target did not accept a connection.")
