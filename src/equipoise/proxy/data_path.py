"""All that a worker carries: the one object that the worker process holds of the data path.

Owns: putting the parts together, applying a new world, the tick, the drain.
Refuses to know: processes, signals, how a world reaches the worker.
"""

import asyncio
import os
import time
from collections.abc import Callable
from random import Random
from typing import Any, cast

from mypy_extensions import i64

from equipoise.config.extensions import load_algorithm
from equipoise.model import AccessLogSpec, World
from equipoise.policy.balance import ALGORITHMS, Algorithm, Loads
from equipoise.proxy.access_log import AccessLog, NullLog, make_log
from equipoise.proxy.connector import TcpConnector
from equipoise.proxy.downstream_http1 import DownstreamHttp1
from equipoise.proxy.exchange import Exchange
from equipoise.proxy.services import LogPort, Services
from equipoise.proxy.tls import Contexts
from equipoise.proxy.tls_connection import TlsConnection
from equipoise.proxy.tunnel import Tunnel
from equipoise.state.cache_port import StoreMaker, no_store
from equipoise.state.ledger import (
    WORKER_CONNECTIONS,
    WORKER_LOG_DROPPED,
    WORKER_LOG_LINES,
    WORKER_PID,
    WORKER_REQUESTS,
    WORKER_WAITING,
    Ledger,
)
from equipoise.state.snapshot import Makers, Snapshot, build

# Seconds between the order to drain and the end of idle connections.
DRAIN_GRACE = 1.0


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
        self.contexts = Contexts()
        self.open_store: StoreMaker = no_store
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
            ValueError, OSError: the access log, an algorithm, a TLS context or a cache cannot be made; nothing was
                changed.
        """
        services = self.services
        before = services.snapshot
        self.contexts.take(world)
        makers = Makers(self._make, self.contexts.target, self.open_store)
        snapshot = build(world, before, services.ledger, makers)
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
            now_there = {target.slot: target for pool in snapshot.pools.values() for target in pool.targets}
            for pool in before.pools.values():
                for target in pool.targets:
                    now = now_there.get(target.slot)
                    if now is None or not target.is_reached_as(now):
                        services.idle.close_slot(int(target.slot))
            self._close_caches(before, snapshot)
        for pool in snapshot.pools.values():
            if pool.waiting.size:
                services.wake(pool.waiting)
        # What was counted for targets that are gone must be there when they are added again.
        services.ledger.flush()

    def _close_caches(self, before: Snapshot, snapshot: Snapshot) -> None:
        """Ends the caches whose memory is about to be given away."""
        now = self.services.clock()
        for pool in before.pools.values():
            heir = snapshot.pools.get(pool.name)
            if pool.cache is not None and not pool.cache.is_succeeded_by(None if heir is None else heir.cache):
                pool.cache.close(now)

    def downstream(self) -> Any:
        """A protocol for a connection that was accepted; the factory for `loop.create_server`."""
        return cast("Any", DownstreamHttp1(self.services))

    def secure_downstream(self, context: Any) -> Any:
        """The same for a connection over TLS, which begins with an `ssl.SSLContext`."""
        return cast("Any", TlsConnection(self.services, DownstreamHttp1(self.services), context))

    @property
    def connections(self) -> int:
        """Open connections of clients, tunnels included."""
        return int(self.services.connections) + len(self.services.tunnels)

    @property
    def handshakes(self) -> int:
        """Clients that may become connections in a moment."""
        return int(self.services.handshakes)

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
                if pool.cache is not None:
                    pool.cache.tick(now_ns)
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
        for connection in list(self.services.downstreams):
            connection.begin_drain()
        self.loop.call_later(DRAIN_GRACE, self._close_idle)

    def _close_idle(self) -> None:
        for connection in list(self.services.downstreams):
            connection.close_idle()

    def abort(self) -> None:
        """The drain took too long: cuts everything."""
        for _ in range(self.connections):
            self.services.reached("drain_timeout")
        for tunnel in list(self.services.tunnels):
            assert isinstance(tunnel, Tunnel)
            tunnel.abort()
        for connection in [*self.services.downstreams, *self.services.refreshes]:
            connection.cut()

    def cut(self, slot: int) -> None:
        """A target was removed by force: ends what is in flight there."""
        for tunnel in list(self.services.tunnels):
            assert isinstance(tunnel, Tunnel)
            relay = tunnel.relay
            if isinstance(relay, Exchange) and relay.target is not None and int(relay.target.slot) == slot:
                tunnel.abort()
        for connection in [*self.services.downstreams, *self.services.refreshes]:
            connection.cut_target(slot)

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
