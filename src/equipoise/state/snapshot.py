"""What a worker believes now: pools, targets, routes, limits, in the form that the data path reads.

Owns: turning a `World` into native values, and carrying over what must outlive a change (budgets, who waits).
Refuses to know: how the world got here, what a request is.

A snapshot is never changed: a new one is built and put in its place by one assignment. An exchange that began under
the old one finishes under it.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from mypy_extensions import i64

from equipoise.model import LimitsSpec, PoolSpec, TargetSpec, TargetState, TargetTlsSpec, World
from equipoise.policy.balance import Algorithm, Loads
from equipoise.policy.retry import Budget
from equipoise.policy.routing import Route, Router
from equipoise.state.cache_port import CachePort, StoreMaker, no_store, port_of
from equipoise.state.connections import Stack
from equipoise.state.ledger import Ledger, PoolLoads
from equipoise.state.waiting import WaitingRoom

NS_PER_SECOND = 1_000_000_000
# What a line of the access log says behind the body, of a request that went well.
LOG_END: Final = b',"cache":"off","error":null,"why":%b'

# Makes an algorithm by its name for the loads of a pool; the worker passes one that brings the random generator.
AlgorithmMaker = Callable[[str, Loads], Algorithm]
# Gives two TLS contexts for a target, the second without HTTP/2: the same two for as long as nothing of it changes.
TlsMaker = Callable[[TargetTlsSpec], tuple[Any, Any]]


def no_tls(spec: TargetTlsSpec) -> tuple[Any, Any]:
    """The maker of somebody who has no https targets."""
    raise ValueError(f"nobody here makes TLS contexts, as for {spec.server_name}")


class Makers:
    """Who makes what a snapshot needs and cannot make itself."""

    def __init__(self, algorithm: AlgorithmMaker, tls: TlsMaker = no_tls, store: StoreMaker = no_store) -> None:
        """Remembers them.

        Args:
            algorithm: makes algorithms by name.
            tls: makes the TLS contexts of https targets.
            store: opens the stores of caches.
        """
        self.algorithm = algorithm
        self.tls = tls
        self.store = store


class Target:
    """A target as an exchange needs it.

    Attributes:
        scheme: "http", "https" or "h2c".
        tls: its ssl.SSLContext, which offers HTTP/2 and HTTP/1.1; None unless the scheme is "https".
        tls_http1: the same, which offers HTTP/1.1 only: an Upgrade needs it.
        server_name: what to ask for and to find in the certificate; None without TLS.
    """

    def __init__(self, pool: str, spec: TargetSpec, make_tls: TlsMaker) -> None:
        self.scheme = spec.scheme
        self.tls: Any = None
        self.tls_http1: Any = None
        self.server_name: str | None = None
        if spec.tls is not None:
            self.tls, self.tls_http1 = make_tls(spec.tls)
            self.server_name = spec.tls.server_name
        self.name = spec.name
        self.slot: i64 = spec.slot
        self.host = spec.host
        self.port = spec.port
        self.addresses = spec.addresses
        # Where its idle connections are, once somebody has asked; another one stands in when this one is shut.
        self.idle: Stack | None = None
        # What a line of the access log says between the status and the time of a request that needed one attempt.
        self.log_piece = b',"target":%b,"pool":%b,"attempts":1,"duration_ms":' % (json_text(spec.name), json_text(pool))

    def is_reached_as(self, other: "Target") -> bool:
        """Whether a connection to one of the two is as good for the other."""
        return (
            self.addresses == other.addresses
            and self.scheme == other.scheme
            and self.tls is other.tls
            and self.server_name == other.server_name
        )


# What of a pool outlives a change, as long as what it was made of stays.
Kept = tuple[Budget, WaitingRoom, CachePort | None]


class Pool:
    """The targets of a pool that may be chosen now, and how.

    Attributes:
        cache: its cache; None while that is switched off.
    """

    def __init__(
        self,
        spec: PoolSpec,
        loads: PoolLoads,
        algorithm: Algorithm,
        kept: Kept,
        make_tls: TlsMaker = no_tls,
    ) -> None:
        """Is built from what the supervisor said.

        Args:
            spec: that.
            loads: the numbers of the targets that may be chosen.
            algorithm: chooses by them.
            kept: what outlives changes.
            make_tls: for https targets.
        """
        self.name = spec.name
        self.algorithm_name = spec.algorithm
        self.slot = spec.slot
        self.loads = loads
        self.algorithm = algorithm
        self.budget, self.waiting, self.cache = kept
        self.retry = spec.retry
        self.attempts = spec.retry.attempts
        self.retry_buffer: i64 = spec.retry.buffer
        self.failure_statuses = frozenset(spec.failure_statuses)
        self.targets = [Target(spec.name, target, make_tls) for target in choosable(spec)]
        # What a line says in the place of the target's part, of a request that the cache answered.
        self.hit_piece = b',"target":null,"pool":%b,"attempts":0,"duration_ms":' % json_text(spec.name)
        # Why a target was picked, for the access log, by the number in flight there: made once, not for each request.
        self.reasons = [f"{spec.algorithm}: {count} in flight, {len(self.targets)} targets" for count in range(256)]
        # The rest of a line of the access log from there on, for a request that went well.
        self.log_ends = [LOG_END % json_text(reason) for reason in self.reasons]

    def reason(self, in_flight: i64) -> str:
        """Why a target with so many in flight was picked."""
        if in_flight < 256:
            return self.reasons[in_flight]
        return f"{self.algorithm_name}: {in_flight} in flight, {len(self.targets)} targets"

    def log_end(self, in_flight: i64) -> bytes:
        """What its line of the access log says behind the body."""
        if in_flight < 256:
            return self.log_ends[in_flight]
        return LOG_END % json_text(self.reason(in_flight))


class Limits:
    """`LimitsSpec` with times in nanoseconds."""

    def __init__(self, spec: LimitsSpec) -> None:
        self.request_head: i64 = spec.request_head
        self.request_target: i64 = spec.request_target
        self.request_body: i64 = spec.request_body
        self.header_count: i64 = spec.header_count
        self.connections: i64 = spec.connections
        self.connections_per_client: i64 = spec.connections_per_client
        self.tunnels: i64 = spec.tunnels
        self.streams: i64 = spec.streams
        self.buffer: i64 = spec.buffer
        self.head_ns: i64 = int(spec.head_timeout * NS_PER_SECOND)
        self.body_ns: i64 = int(spec.body_timeout * NS_PER_SECOND)
        self.idle_ns: i64 = int(spec.idle_timeout * NS_PER_SECOND)
        self.response_ns: i64 = int(spec.response_timeout * NS_PER_SECOND)
        self.tunnel_ns: i64 = int(spec.tunnel_timeout * NS_PER_SECOND)
        self.connect_seconds = spec.connect_timeout


class Snapshot:
    """One immutable belief."""

    def __init__(self, world: World, pools: dict[str, Pool]) -> None:
        self.world = world
        self.pools = pools
        self.limits = Limits(world.limits)
        self.grpc_health = world.grpc_health
        routes = [
            Route(route.host.lower().encode("idna") if route.host else b"", route.path.encode(), route.pool)
            for route in world.routes
        ]
        only = next(iter(pools)) if len(pools) == 1 else None
        self.router = Router(routes, only)
        # The pool of every request when nothing has to be matched: the fast path looks here first.
        self.single = pools[only] if only is not None and not routes else None

    def owners(self) -> dict[int, tuple[str, str]]:
        """Slots of all targets, up or not, with the pool and the target that they belong to."""
        return {target.slot: (pool.name, target.name) for pool in self.world.pools for target in pool.targets}


def build(
    world: World,
    before: "Snapshot | None",
    ledger: Ledger,
    makers: Makers,
) -> Snapshot:
    """Makes the snapshot of a world.

    Args:
        world: the new state.
        before: the snapshot in force; pools that did not change are taken over whole.
        ledger: the worker's.
        makers: make the rest.

    Raises:
        ValueError, OSError: as the makers do.
    """
    old = {} if before is None else {spec.name: spec for spec in before.world.pools}
    pools: dict[str, Pool] = {}
    for spec in world.pools:
        if before is not None and old.get(spec.name) == spec:
            pools[spec.name] = before.pools[spec.name]
            continue
        targets = choosable(spec)
        names = [target.name for target in targets]
        weights = [target.weight for target in targets]
        limits = [target.max_in_flight for target in targets]
        loads = PoolLoads(ledger, spec.slot, [target.slot for target in targets], (names, weights, limits))
        algorithm = makers.algorithm(spec.algorithm, loads)
        kept = _kept(spec, before, makers.store)
        pools[spec.name] = Pool(spec, loads, algorithm, kept, makers.tls)
    return Snapshot(world, pools)


def _kept(spec: PoolSpec, before: Snapshot | None, make_store: StoreMaker) -> Kept:
    """What a pool takes over from before, or gets new."""
    pool = None if before is None else before.pools.get(spec.name)
    waiting = WaitingRoom(0, 0) if pool is None else pool.waiting
    waiting.limit = spec.queue.size
    waiting.timeout_ns = int(spec.queue.timeout * NS_PER_SECOND)
    budget = Budget(spec.retry.budget) if pool is None or pool.retry != spec.retry else pool.budget
    return budget, waiting, port_of(spec, None if pool is None else pool.cache, make_store)


def choosable(spec: PoolSpec) -> list[TargetSpec]:
    """The targets that take new requests: those that are up; in panic mode, when none is, those that are down."""
    up = [target for target in spec.targets if target.state is TargetState.UP and target.addresses]
    if not up and spec.panic:
        return [target for target in spec.targets if target.state is TargetState.DOWN and target.addresses]
    return up


def json_text(text: str) -> bytes:
    """A string as JSON, with its quotes."""
    return msgspec.json.encode(text)
