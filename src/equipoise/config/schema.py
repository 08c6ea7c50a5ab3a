"""The shape of the configuration file.

Owns: every key, its type, its default, its range and its description; the JSON Schema and the reference page are made
from the same annotations.
Refuses to know: how a file is read (`load`), how keys relate to each other (`checks`), what acts on them (`world`).

Durations are seconds and sizes are bytes once read. The `leaf` of an annotation names the entry of `leaves.LEAVES` that
reads the value.
"""

from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta, Struct, field

from equipoise.config.units import GIB, HOURS, KIB, MIB, MILLISECONDS, MINUTES, SECONDS
from equipoise.model import AccessLogSpec, CacheSpec

Duration = Annotated[float, Meta(extra={"leaf": "duration"})]
Size = Annotated[int, Meta(extra={"leaf": "size"})]
ListenAddress = Annotated[str, Meta(extra={"leaf": "address"})]
ServerName = Annotated[str, Meta(extra={"leaf": "server_name"})]
Url = Annotated[str, Meta(extra={"leaf": "url"})]
Name = Annotated[str, Meta(extra={"leaf": "name"})]
HostName = Annotated[str, Meta(extra={"leaf": "host"})]
UrlPath = Annotated[str, Meta(extra={"leaf": "path"})]
RoutePath = Annotated[str, Meta(extra={"leaf": "route_path"})]
HeaderName = Annotated[str, Meta(extra={"leaf": "header"})]
Method = Annotated[str, Meta(extra={"leaf": "method"})]
ServiceName = Annotated[str, Meta(extra={"leaf": "service"})]
AlgorithmName = Annotated[str, Meta(extra={"leaf": "algorithm"})]
SinkName = Annotated[str, Meta(extra={"leaf": "sink"})]
StatusRange = tuple[int, int]
"""First and last status, both included."""
Expected = Annotated[StatusRange, Meta(extra={"leaf": "status_range"})]
Status = Annotated[int, Meta(ge=100, le=599)]
TlsVersion = Literal["1.2", "1.3"]

ALGORITHMS: Final = ("round_robin", "random", "least_in_flight", "response_time")
SINKS: Final = ("json", "text", "logging", "structlog", "null")
MAX_WORKERS: Final = 64
MAX_SLOTS: Final = 4096
"""Targets of all pools, and the pools themselves: what the ledger has room for."""
CACHE_SHARE: Final = 20
"""A cache holds at least so many of the largest answers: the store makes room in pieces of about that size."""
_DAY: Final = 24 * HOURS


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file."""


class CertificateConfig(_Table, frozen=True):
    """One of several certificates of a listener."""

    certificate_file: Annotated[
        str, Meta(min_length=1, description="Certificate and the chain behind it, the own one first, PEM.")
    ]
    key_file: Annotated[str, Meta(min_length=1, description="Its private key without passphrase, PEM.")]


class TlsConfig(_Table, frozen=True):
    """TLS at a listener. Files that change are read again."""

    certificate_file: Annotated[
        str,
        Meta(
            description="Certificate and the chain behind it, the own one first, PEM; when one certificate is enough."
        ),
    ] = ""
    key_file: Annotated[str, Meta(description="Its private key without passphrase, PEM.")] = ""
    certificates: Annotated[
        tuple[CertificateConfig, ...],
        Meta(
            description="Several instead, each a table. The name that the client asks for chooses: the certificate "
            "with this very name, else the one with a wildcard that covers it, else the first."
        ),
    ] = ()
    min_version: Annotated[TlsVersion, Meta(description="The oldest version of TLS that is spoken.")] = "1.2"
    http2: Annotated[bool, Meta(description="Whether HTTP/2 is offered beside HTTP/1.1 (ALPN).")] = True
    client_ca_file: Annotated[str, Meta(description="Authorities of client certificates, PEM.")] = ""
    client_certificates: Annotated[
        Literal["none", "optional", "required"],
        Meta(
            description="`required` refuses clients without a certificate of `client_ca_file`; `optional` refuses "
            "those with a bad one only; `none` asks for none."
        ),
    ] = "none"


class PoolTlsConfig(_Table, frozen=True):
    """TLS to the `https://` targets of a pool. Files that change are read again."""

    ca_file: Annotated[
        str, Meta(description="Authorities that a target's certificate may be of, PEM; those of the system when empty.")
    ] = ""
    verify: Annotated[
        bool,
        Meta(
            description="Whether a target's certificate must be of a trusted authority, for the name, and in its time. "
            "`false` lets anybody on the way be the target."
        ),
    ] = True
    server_name: Annotated[
        ServerName,
        Meta(description="The name to ask for and to find in the certificate; the host of each target when empty."),
    ] = ""
    certificate_file: Annotated[
        str, Meta(description="Certificate that the balancer shows to targets, and its chain, PEM; none when empty.")
    ] = ""
    key_file: Annotated[str, Meta(description="Its private key without passphrase, PEM.")] = ""
    min_version: Annotated[TlsVersion, Meta(description="The oldest version of TLS that is spoken.")] = "1.2"


class ListenerConfig(_Table, frozen=True):
    """One address where clients connect."""

    address: Annotated[
        ListenAddress, Meta(description='`"host:port"` or `"[::]:port"`; port 0 lets the system choose one.')
    ]
    tls: Annotated[TlsConfig | None, Meta(description="Certificates; without this table the listener is plain.")] = None


class TargetConfig(_Table, frozen=True):
    """One service instance."""

    SHORTHAND: ClassVar[str] = "url"
    """A plain string in the place of the table is this key."""

    url: Annotated[
        Url,
        Meta(
            description="`http://host[:port]`, `https://host[:port]` for TLS, or `h2c://host[:port]` for HTTP/2 in "
            "clear text; port 80, or 443 for `https`, when none is given; no path, query or user name."
        ),
    ]
    name: Annotated[
        Name, Meta(description="What the target is called in logs, metrics and calls; `host:port` when not given.")
    ] = ""
    weight: Annotated[int, Meta(ge=1, le=1000, description="Its share, relative to the other targets.")] = 1
    max_in_flight: Annotated[
        int, Meta(ge=0, le=1_000_000, description="Requests it may hold at once; 0 is no limit.")
    ] = 0
    state: Annotated[
        Literal["up", "draining", "down"],
        Meta(
            description="What an operator orders: `up` leaves it to health; `draining` and `down` take no new requests."
        ),
    ] = "up"


class PassiveConfig(_Table, frozen=True):
    """What live traffic tells about a target."""

    enabled: Annotated[bool, Meta(description="Whether failures of live requests take a target out.")] = True
    connect_failures: Annotated[
        int, Meta(ge=1, le=1000, description="Failed connects in a row that take a target out.")
    ] = 1
    failures: Annotated[int, Meta(ge=1, le=1000, description="Other failures in a row that take a target out.")] = 3
    statuses: Annotated[tuple[Status, ...], Meta(description="Statuses of a response that count as a failure.")] = (
        502,
        503,
        504,
    )
    eject_min: Annotated[
        Duration,
        Meta(
            ge=0.1, le=HOURS, description="How long a target stays out at first; doubles with each return to failure."
        ),
    ] = 1 * SECONDS
    eject_max: Annotated[Duration, Meta(ge=0.1, le=_DAY, description="The longest it stays out at a time.")] = (
        30 * SECONDS
    )


class HealthConfig(_Table, frozen=True):
    """How the health of the targets is found out."""

    type: Annotated[
        Literal["tcp", "http", "grpc", "none"],
        Meta(
            description="`tcp` connects, `http` asks for `path`, `grpc` calls `grpc.health.v1.Health/Check`, "
            "`none` leaves it to live traffic."
        ),
    ] = "tcp"
    path: Annotated[UrlPath, Meta(description="What an `http` probe asks for.")] = "/"
    service: Annotated[
        ServiceName,
        Meta(description="The service that a `grpc` probe asks about; when empty, about the target as a whole."),
    ] = ""
    expect: Annotated[
        tuple[Expected, ...],
        Meta(
            description='Statuses that an `http` probe takes as healthy: numbers and ranges such as `"200-399"`.',
            extra={"one": True},
        ),
    ] = ((200, 399),)
    interval: Annotated[
        Duration, Meta(ge=0.05, le=HOURS, description="Time between two probes of a target that is up.")
    ] = 2 * SECONDS
    down_interval: Annotated[
        Duration, Meta(ge=0.05, le=HOURS, description="Time between two probes of a target that is down.")
    ] = 500 * MILLISECONDS
    timeout: Annotated[
        Duration, Meta(ge=0.01, le=10 * MINUTES, description="How long a probe may take before it has failed.")
    ] = 1 * SECONDS
    healthy_after: Annotated[int, Meta(ge=1, le=1000, description="Good probes in a row that bring a target back.")] = 1
    unhealthy_after: Annotated[
        int, Meta(ge=1, le=1000, description="Failed probes in a row that take a target out.")
    ] = 2
    passive: Annotated[PassiveConfig, Meta(description="What live traffic tells.")] = PassiveConfig()


class RetryConfig(_Table, frozen=True):
    """When a request is tried at another target."""

    attempts: Annotated[int, Meta(ge=1, le=10, description="Tries of one request, the first included.")] = 3
    buffer: Annotated[
        Size, Meta(ge=0, le=64 * MIB, description="Of a request's body, what is kept to send it again.")
    ] = 64 * KIB
    budget: Annotated[float, Meta(ge=0, le=1, description="Retries as a share of all requests, at most.")] = 0.2


class QueueConfig(_Table, frozen=True):
    """Requests that wait while every target of the pool holds as many as `max_in_flight` allows."""

    size: Annotated[
        int,
        Meta(
            ge=0, le=1_000_000, description="Requests that may wait, per worker; more, or any with 0, are answered 503."
        ),
    ] = 1000
    timeout: Annotated[
        Duration, Meta(ge=0.001, le=HOURS, description="How long one waits before it is answered 503.")
    ] = 5 * SECONDS


class CacheConfig(_Table, frozen=True):
    """Answers that are kept and given again."""

    enabled: Annotated[bool, Meta(description="Whether answers are kept.")] = False
    mode: Annotated[
        Literal["identical", "rfc9111"],
        Meta(
            description="`identical` gives requests with the same method, host, path, query, headers and body the "
            "stored answer for `ttl`; `rfc9111` follows what clients and targets say by the headers of HTTP caching."
        ),
    ] = "identical"
    ttl: Annotated[
        Duration,
        Meta(
            ge=0.001,
            le=30 * _DAY,
            description="How long an answer is given again. In mode `rfc9111` the answer says so, and this is the most "
            "for one that does not.",
        ),
    ] = 1 * MINUTES
    max_bytes: Annotated[
        Size,
        Meta(
            ge=64 * KIB,
            le=1024 * GIB,
            description="Shared memory for the answers of the pool, over all workers, what finds them included.",
        ),
    ] = 64 * MIB
    max_body: Annotated[
        Size,
        Meta(
            ge=0,
            le=GIB,
            description="The largest body that is kept, and the largest of a request that is looked up; a larger one "
            "is passed on as it comes. At most a twentieth of `max_bytes`.",
        ),
    ] = 1 * MIB
    methods: Annotated[
        tuple[Method, ...],
        Meta(
            description="Methods whose requests are answered from the cache. In mode `rfc9111` `GET`, `HEAD` and "
            "`QUERY` among them."
        ),
    ] = CacheSpec().methods
    key_headers: Annotated[
        Literal["all"] | tuple[HeaderName, ...],
        Meta(
            description='Request headers that tell two requests apart: `"all"`, or a list, to which those are added '
            "that describe the body, ask for a part or under a condition, carry credentials, or name another resource. "
            "Mode `identical`; in mode `rfc9111` `Vary` of the answer says so."
        ),
    ] = "all"
    ignore_headers: Annotated[
        tuple[HeaderName, ...],
        Meta(
            description="Request headers that do not tell two requests apart; by default what is new in each request. "
            "Mode `identical`."
        ),
    ] = CacheSpec().ignore_headers
    store_anyway: Annotated[
        tuple[Literal["authorization", "set-cookie", "private", "no-store", "no-cache"], ...],
        Meta(
            description="What does not keep an answer from being stored: a request with `Authorization` (whose value "
            "is then part of the key), an answer with `Set-Cookie`, or one whose `Cache-Control` says so. In mode "
            "`rfc9111` only `set-cookie`."
        ),
    ] = ()
    keep_stale: Annotated[
        Duration,
        Meta(
            ge=0,
            le=30 * _DAY,
            description="How long after its end an answer is kept that a target can confirm by a 304. Mode `rfc9111`.",
        ),
    ] = 5 * MINUTES


class PoolConfig(_Table, frozen=True):
    """Targets that can stand in for each other."""

    targets: Annotated[
        tuple[TargetConfig, ...], Meta(description="URLs, or `[[pools.NAME.targets]]` tables; may be empty.")
    ]
    algorithm: Annotated[
        AlgorithmName,
        Meta(
            description="How a target is chosen: `round_robin`, `random`, `least_in_flight`, `response_time` or "
            '`"python:module:Class"`.'
        ),
    ] = "least_in_flight"
    panic: Annotated[bool, Meta(description="When all targets are down, try them all instead of answering 503.")] = (
        False
    )
    health: Annotated[HealthConfig, Meta(description="How health is found out.")] = HealthConfig()
    retry: Annotated[RetryConfig, Meta(description="When another target is tried.")] = RetryConfig()
    queue: Annotated[QueueConfig, Meta(description="Who waits while all targets are full.")] = QueueConfig()
    tls: Annotated[PoolTlsConfig, Meta(description="TLS to `https://` targets.")] = PoolTlsConfig()
    cache: Annotated[CacheConfig, Meta(description="Answers that are kept.")] = CacheConfig()


class RouteConfig(_Table, frozen=True):
    """Which requests go to which pool; the first route that matches wins."""

    pool: Annotated[str, Meta(description="Name of the pool.")]
    host: Annotated[
        HostName,
        Meta(
            description="Host that is asked for, without port; `*.` in front stands for any subdomain. "
            "Any host when not given."
        ),
    ] = ""
    path: Annotated[RoutePath, Meta(description="What the path begins with.")] = "/"


class LimitsConfig(_Table, frozen=True):
    """What one client may cost, and how long things may take."""

    request_head: Annotated[
        Size, Meta(ge=KIB, le=16 * MIB, description="Request line and headers together; more is answered 431.")
    ] = 32 * KIB
    request_target: Annotated[
        Size, Meta(ge=64, le=MIB, description="Path and query of a request; more is answered 414.")
    ] = 8 * KIB
    request_body: Annotated[
        Size, Meta(ge=0, le=1024 * GIB, description="Body of a request; more is answered 413. 0 is no limit.")
    ] = 0
    header_count: Annotated[int, Meta(ge=1, le=10_000, description="Headers of a request; more is answered 431.")] = 100
    connections: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000_000,
            description="Open connections of clients, over all workers; one more is answered 503. 0 is no limit but "
            "that on open files.",
        ),
    ] = 0
    connections_per_client: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000_000,
            description="Open connections of one address (IPv6: of one /64), over all workers; one more is answered "
            "503. 0 is three quarters of what the limit on open files allows, in each worker.",
        ),
    ] = 0
    tunnels: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000_000,
            description="Open tunnels (WebSocket), over all workers; one more is answered 503. 0 is no limit but that "
            "of connections.",
        ),
    ] = 0
    streams: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Requests at once on one HTTP/2 connection of a client; one more is refused "
            "(`REFUSED_STREAM`).",
        ),
    ] = 1000
    buffer: Annotated[
        Size,
        Meta(
            ge=16 * KIB,
            le=16 * MIB,
            description="Held of a connection, either way, for a side that reads slowly; then the other is not read. "
            "Of an HTTP/2 connection 64 times as much may be on its way and 128 times as much wait, for all its "
            "requests together.",
        ),
    ] = 64 * KIB
    head_timeout: Annotated[
        Duration,
        Meta(
            ge=0.01, le=_DAY, description="From the first byte of a request's head to its last; later is answered 408."
        ),
    ] = 10 * SECONDS
    body_timeout: Annotated[
        Duration,
        Meta(
            ge=0.01,
            le=_DAY,
            description="Between two pieces of a request's body, later is answered 408; and for a client that reads "
            "nothing of its answer, which is then cut off.",
        ),
    ] = 30 * SECONDS
    idle_timeout: Annotated[
        Duration, Meta(ge=0.01, le=_DAY, description="How long a connection is kept between two requests.")
    ] = 75 * SECONDS
    connect_timeout: Annotated[Duration, Meta(ge=0.01, le=_DAY, description="To connect to a target.")] = 5 * SECONDS
    response_timeout: Annotated[
        Duration, Meta(ge=0.01, le=_DAY, description="Between the request and the response, and between its pieces.")
    ] = 1 * MINUTES
    tunnel_timeout: Annotated[
        Duration, Meta(ge=0.01, le=30 * _DAY, description="How long a tunnel (WebSocket) may be silent.")
    ] = 1 * HOURS
    drain_timeout: Annotated[
        Duration, Meta(ge=0, le=_DAY, description="How long requests in flight may take to end after a stop signal.")
    ] = 30 * SECONDS


class AccessLogConfig(_Table, frozen=True):
    """One line for each request."""

    enabled: Annotated[bool, Meta(description="Whether requests are logged.")] = True
    sink: Annotated[
        SinkName,
        Meta(
            description='Where lines go: `json`, `text`, `logging`, `structlog`, `null` or `"python:module:factory"`.'
        ),
    ] = "json"
    path: Annotated[str, Meta(min_length=1, description='File for the lines; `"-"` is standard output.')] = "-"
    queue: Annotated[
        Size,
        Meta(
            ge=64 * KIB,
            le=GIB,
            description="Lines that wait for the disk, per worker; more are dropped and counted.",
        ),
    ] = AccessLogSpec().queue
    body_limit: Annotated[
        Size, Meta(ge=0, le=MIB, description="Of a request's body, what its line carries; 0 is none.")
    ] = 4 * KIB
    redact_headers: Annotated[tuple[HeaderName, ...], Meta(description="Headers whose values never reach the log.")] = (
        AccessLogSpec().redact_headers
    )
    headers: Annotated[tuple[HeaderName, ...], Meta(description="Headers that a line carries.")] = ()


class JwtConfig(_Table, frozen=True):
    """How tokens of the admin API are checked."""

    algorithm: Annotated[
        Literal["HS256", "RS256", "ES256", "EdDSA"], Meta(description="The one algorithm that is accepted.")
    ] = "HS256"
    secret_file: Annotated[str, Meta(description="File with the secret, for HS256.")] = ""
    public_key_file: Annotated[str, Meta(description="File with the public key (PEM), for the others.")] = ""
    issuer: Annotated[str, Meta(description="Required `iss` of a token; any when empty.")] = ""
    audience: Annotated[str, Meta(description="Required `aud` of a token; any when empty.")] = ""
    leeway: Annotated[
        Duration, Meta(ge=0, le=10 * MINUTES, description="How far the clocks of issuer and balancer may differ.")
    ] = 10 * SECONDS


class AdminConfig(_Table, frozen=True):
    """The admin API."""

    enabled: Annotated[bool, Meta(description="Whether the admin API is served.")] = True
    listen: Annotated[ListenAddress, Meta(description="Where it is served.")] = "127.0.0.1:8081"
    metrics_public: Annotated[bool, Meta(description="Whether `/metrics` needs no token.")] = True
    max_body: Annotated[
        Size, Meta(ge=KIB, le=16 * MIB, description="The largest body of a call; more is answered 413.")
    ] = 64 * KIB
    jwt: Annotated[JwtConfig, Meta(description="How tokens are checked.")] = JwtConfig()


class Config(_Table, frozen=True):
    """The whole file."""

    listen: Annotated[
        tuple[ListenAddress, ...],
        Meta(description='Where clients connect: an address such as `"0.0.0.0:8080"`, or a list.', extra={"one": True}),
    ] = ()
    listeners: Annotated[
        tuple[ListenerConfig, ...], Meta(description="More listeners, as `[[listeners]]` tables.")
    ] = ()
    workers: Annotated[
        Literal["auto"] | Annotated[int, Meta(ge=1, le=MAX_WORKERS)],
        Meta(description='Number of worker processes; `"auto"` is one for each core that may be used.'),
    ] = "auto"
    state_dir: Annotated[
        str, Meta(description="Where admin changes persist; `$STATE_DIRECTORY` or `./.equipoise` when not given.")
    ] = ""
    pools: Annotated[dict[Name, PoolConfig], Meta(description="`[pools.NAME]` tables; at least one.")] = field(
        default_factory=dict
    )
    grpc_health: Annotated[
        bool,
        Meta(
            description="Whether the balancer itself answers `grpc.health.v1.Health`, for the pool that is asked for, "
            "instead of passing the call on."
        ),
    ] = False
    routes: Annotated[
        tuple[RouteConfig, ...], Meta(description="`[[routes]]` tables; with one pool none is needed.")
    ] = ()
    limits: Annotated[LimitsConfig, Meta(description="What one client may cost.")] = LimitsConfig()
    access_log: Annotated[AccessLogConfig, Meta(description="One line for each request.")] = AccessLogConfig()
    admin: Annotated[AdminConfig, Meta(description="The admin API.")] = AdminConfig()
