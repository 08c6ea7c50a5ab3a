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


class TlsFile(msgspec.Struct, frozen=True):
    """What a file of certificates or a key held when the supervisor read it; `digest` is what others call it."""

    digest: str
    content: bytes

    def __repr__(self) -> str:
        """Never the content: it may be a private key, and values end up in logs."""
        return f"TlsFile({self.digest[:12]}, {len(self.content)} bytes)"


class CertificateSpec(msgspec.Struct, frozen=True):
    """A certificate chain and its key, by their digests.

    `names` are the DNS names of the certificate in lower case, wildcards included. `kind` is the type of its key: two
    certificates of the same names and of different kinds serve different clients.
    """

    certificate: str
    key: str
    names: tuple[str, ...] = ()
    kind: str = ""


class ListenerTlsSpec(msgspec.Struct, frozen=True):
    """How a listener speaks TLS. The first certificate is for clients that ask for none of the names.

    `client_ca` is the digest of the authorities of client certificates, empty when none is asked for.
    """

    certificates: tuple[CertificateSpec, ...]
    min_version: str = "1.2"
    client_ca: str = ""
    client_certificates: str = "none"
    http2: bool = True


class TargetTlsSpec(msgspec.Struct, frozen=True):
    """How a target is spoken to over TLS.

    `ca`, `certificate` and `key` are digests; without `ca` the authorities of the system are trusted, without
    `certificate` none is shown.
    """

    server_name: str = ""
    ca: str = ""
    verify: bool = True
    certificate: str = ""
    key: str = ""
    min_version: str = "1.2"


class TargetSpec(msgspec.Struct, frozen=True):
    """One service instance, as a worker needs to know it.

    `slot` is its column in the ledger; it is the target's identity for counters and outlives changes of everything
    else. `addresses` are IP addresses that the supervisor resolved from `host`; empty while the name does not resolve.
    `scheme` is "http", "https" (and only then is there `tls`) or "h2c", HTTP/2 in clear text with prior knowledge.
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
    scheme: str = "http"
    tls: TargetTlsSpec | None = None


class RetrySpec(msgspec.Struct, frozen=True):
    """How often a request may be tried again once something was sent (DESIGN: retry)."""

    attempts: int = 3
    buffer: int = 64 * 1024
    budget: float = 0.2


class QueueSpec(msgspec.Struct, frozen=True):
    """Requests that wait while all targets of a pool are full: how many in each worker, and how long (seconds)."""

    size: int = 1000
    timeout: float = 5.0


class CacheSpec(msgspec.Struct, frozen=True):
    """What a pool's cache keeps, for how long, and which requests are equal to it (times in seconds, sizes in bytes).

    `key_headers` is `"all"` or the names that tell two requests apart; names of headers are in lower case.
    """

    enabled: bool = False
    mode: str = "identical"
    ttl: float = 60.0
    max_bytes: int = 64 * 1024 * 1024
    max_body: int = 1024 * 1024
    methods: tuple[str, ...] = ("GET", "HEAD", "POST", "QUERY")
    key_headers: str | tuple[str, ...] = "all"
    ignore_headers: tuple[str, ...] = (
        "b3",
        "traceparent",
        "tracestate",
        "uber-trace-id",
        "x-amzn-trace-id",
        "x-b3-parentspanid",
        "x-b3-sampled",
        "x-b3-spanid",
        "x-b3-traceid",
        "x-cloud-trace-context",
        "x-correlation-id",
        "x-request-id",
    )
    store_anyway: tuple[str, ...] = ()
    keep_stale: float = 300.0


class PoolSpec(msgspec.Struct, frozen=True):
    """Targets that can stand in for each other, and how one of them is chosen.

    `slot` is the pool's own column in the ledger, next to its targets' columns: there the workers count their picks.
    `cache_section` is where its cache lies in the shared memory: the first octet, and `max_bytes`; None while the cache
    is switched off.
    """

    name: str
    slot: int
    algorithm: str = "least_in_flight"
    targets: tuple[TargetSpec, ...] = ()
    retry: RetrySpec = RetrySpec()
    failure_statuses: tuple[int, ...] = (502, 503, 504)
    panic: bool = False
    queue: QueueSpec = QueueSpec()
    cache: CacheSpec = CacheSpec()
    cache_section: tuple[int, int] | None = None


class RouteSpec(msgspec.Struct, frozen=True):
    """First match wins. An empty `host` matches any; `path` is a prefix."""

    pool: str
    host: str = ""
    path: str = "/"


class LimitsSpec(msgspec.Struct, frozen=True):
    """What one client may cost.

    Sizes in bytes, times in seconds; 0 means no limit for `request_body`, `connections` and `tunnels`, and for
    `connections_per_client` a share of what the open files of a worker allow.
    """

    request_head: int = 32 * 1024
    request_target: int = 8 * 1024
    request_body: int = 0
    header_count: int = 100
    connections: int = 0
    connections_per_client: int = 0
    tunnels: int = 0
    streams: int = 1000
    buffer: int = 64 * 1024
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
    queue: int = 16 * 1024 * 1024
    body_limit: int = 4096
    redact_headers: tuple[str, ...] = ("authorization", "cookie", "proxy-authorization", "set-cookie")
    headers: tuple[str, ...] = ()


class World(msgspec.Struct, frozen=True):
    """All that a worker acts on. Two of them are compared by `config.diff.diff`.

    `listeners` says for each listener, in the order of the worker's sockets, how it speaks TLS; None is a plain one.
    `files` are what the digests in all the others stand for.
    """

    pools: tuple[PoolSpec, ...] = ()
    routes: tuple[RouteSpec, ...] = ()
    limits: LimitsSpec = LimitsSpec()
    access_log: AccessLogSpec = AccessLogSpec()
    grpc_health: bool = False
    listeners: tuple[ListenerTlsSpec | None, ...] = ()
    files: tuple[TlsFile, ...] = ()
