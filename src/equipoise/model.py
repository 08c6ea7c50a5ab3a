"""The words of the balancer as values: what a worker is told, and what it reports.

Owns: the shapes that cross from the supervisor to the workers (`World` and its parts) and back (`Outcome`).
Refuses to know: where they come from (file, admin API), how they travel, what the data path makes of them.

All of them are immutable: a change is a new value. Durations are seconds, sizes are bytes.
"""

from enum import StrEnum

import msgspec


class TargetState(StrEnum):
    """Whether a target takes new requests."""

    UP = "up"
    DOWN = "down"
    DRAINING = "draining"


class Outcome(StrEnum):
    """What one request or one health probe showed about a target."""

    OK = "ok"
    CONNECT_FAILED = "connect_failed"
    RESET = "reset"
    TIMEOUT = "timeout"
    BAD_STATUS = "bad_status"
    MALFORMED = "malformed"
    PROBE_OK = "probe_ok"
    PROBE_FAILED = "probe_failed"


class TargetSpec(msgspec.Struct, frozen=True):
    """One service instance, as a worker needs to know it.

    `slot` is its column in the ledger; it is the target's identity for counters and outlives changes of everything
    else. `addresses` are IP addresses that the supervisor resolved from `host`; empty while the name does not resolve.
    """

    name: str
    url: str
    host: str
    port: int
    slot: int
    addresses: tuple[str, ...] = ()
    weight: int = 1
    max_in_flight: int = 0
    state: TargetState = TargetState.UP


class RetrySpec(msgspec.Struct, frozen=True):
    """How often a request may be tried again once something was sent (DESIGN: retry)."""

    attempts: int = 3
    buffer: int = 64 * 1024
    budget: float = 0.2


class QueueSpec(msgspec.Struct, frozen=True):
    """Requests that wait while all targets of a pool are full: how many in each worker, and how long (seconds)."""

    size: int = 1000
    timeout: float = 5.0


class PoolSpec(msgspec.Struct, frozen=True):
    """Targets that can stand in for each other, and how one of them is chosen.

    `slot` is the pool's own column in the ledger, next to its targets' columns: there the workers count their picks.
    """

    name: str
    slot: int
    algorithm: str = "least_in_flight"
    targets: tuple[TargetSpec, ...] = ()
    retry: RetrySpec = RetrySpec()
    failure_statuses: tuple[int, ...] = (502, 503, 504)
    panic: bool = False
    queue: QueueSpec = QueueSpec()


class RouteSpec(msgspec.Struct, frozen=True):
    """First match wins. An empty `host` matches any; `path` is a prefix."""

    pool: str
    host: str = ""
    path: str = "/"


class LimitsSpec(msgspec.Struct, frozen=True):
    """What one client may cost.

    Sizes in bytes, times in seconds; 0 means no limit for `request_body` and `connections`.
    """

    request_head: int = 32 * 1024
    request_target: int = 8 * 1024
    request_body: int = 0
    header_count: int = 100
    connections: int = 0
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 75.0
    connect_timeout: float = 5.0
    response_timeout: float = 60.0
    tunnel_timeout: float = 3600.0
    drain_timeout: float = 30.0


class AccessLogSpec(msgspec.Struct, frozen=True):
    """Where a line for each request goes, and how much of the request it carries."""

    enabled: bool = True
    sink: str = "json"
    path: str = "-"
    body_limit: int = 4096
    redact_headers: tuple[str, ...] = ("authorization", "cookie", "proxy-authorization", "set-cookie")
    headers: tuple[str, ...] = ()


class World(msgspec.Struct, frozen=True):
    """All that a worker acts on. Two of them are compared by `config.diff.diff`."""

    pools: tuple[PoolSpec, ...] = ()
    routes: tuple[RouteSpec, ...] = ()
    limits: LimitsSpec = LimitsSpec()
    access_log: AccessLogSpec = AccessLogSpec()
