"""The words of the benchmarks as values.

Owns: what is measured (`Row`, `Scenario`, `Traffic`, `Group`) and what comes out of it (`Sample`, `Figures`,
`IdleFigures`).
Refuses to know: processes, files, how a figure is printed.
"""

import enum
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

# What a browser sends to a shop: 11 headers with Host. wrk writes them in an order of its own.
REQUEST_HEADERS: tuple[tuple[str, str], ...] = (
    ("Host", "shop.example.com"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    ),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.7"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Referer", "https://shop.example.com/catalogue/garden?page=2"),
    ("Cookie", "session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; consent=all; basket=3c59dc048e8850243be8079a"),
    ("Cache-Control", "no-cache"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
)

BODIES: dict[str, int] = {"100B": 100, "10KiB": 10 * 1024, "1MiB": 1024 * 1024}

# An answer that some rows keep (`CACHE`), and how large it is.
CACHED = "cache-1KiB"
CACHED_SIZE = 1024
# The variant of a row that answers from its cache.
CACHE = "cache"

# A unary call as gRPC makes it: one message each way, five octets in front that say "not compressed" and its length.
CALL = "call"
CALL_PATH = "/shop.v1.Catalogue/GetItem"
CALL_HEADERS: tuple[tuple[str, str], ...] = (
    ("content-type", "application/grpc"),
    ("te", "trailers"),
    ("grpc-timeout", "5S"),
    ("user-agent", "grpc-python/1.85.1 grpc-c/53.0.0 (linux; chttp2)"),
)
CALL_MESSAGE_SIZE = 50
CALL_REPLY_SIZE = 100


def body_path(body: str) -> str:
    """The request target whose answer is a body of that size; as long as a real one."""
    return CALL_PATH if body == CALL else f"/{body}/catalogue/garden/items?page=3&sort=price"


def body_size(body: str) -> int:
    """Bytes of the answer's body."""
    if body == CACHED:
        return CACHED_SIZE
    return CALL_REPLY_SIZE if body == CALL else BODIES[body]


def body_bytes(body: str) -> bytes:
    """The answer's body, so that a wrong, cut or shifted one is noticed."""
    size = body_size(body)
    return _message(size) if body == CALL else _text(size)


def call_message() -> bytes:
    """The body of a call's request."""
    return _message(CALL_MESSAGE_SIZE)


def _message(size: int) -> bytes:
    return b"\0" + (size - 5).to_bytes(4, "big") + _text(size - 5)


def _text(size: int) -> bytes:
    line = b"the quick brown fox jumps over the lazy dog 0123456789 equipoise benchmark\n"
    return (line * (size // len(line) + 1))[:size]


class Link(enum.StrEnum):
    """What is spoken with clients, and with targets."""

    HTTP1 = "HTTP/1"
    HTTP2 = "HTTP/2"  # on both sides, in clear text, with prior knowledge
    HTTP2_HTTP1 = "HTTP/2 to HTTP/1"
    TLS = "HTTP/1 over TLS"  # with clients; targets are asked in clear text

    @property
    def http2(self) -> bool:
        """Whether clients speak HTTP/2."""
        return self in {Link.HTTP2, Link.HTTP2_HTTP1}


@dataclass(frozen=True)
class Traffic:
    """What kind of load a scenario is.

    Attributes:
        link: what is spoken.
        program: wrk, h2load or ab.
        connections: open at a time; ab opens a new one for each request.
        streams: requests in flight on each of them.
    """

    link: Link = Link.HTTP1
    program: str = "wrk"
    connections: int = 32
    streams: int = 1


KEEP_ALIVE = Traffic()
# Few clients with many calls each, and many with one: a mesh, and its worst case.
CALLS = Traffic(Link.HTTP2, "h2load", connections=4, streams=16)
LONE_CALLS = Traffic(Link.HTTP2, "h2load", connections=64)
# Browsers before applications of today.
PAGES = Traffic(Link.HTTP2_HTTP1, "h2load", connections=16, streams=4)
TLS_KEEP_ALIVE = Traffic(Link.TLS)
HANDSHAKES = Traffic(Link.TLS, "ab", connections=16)
TRAFFIC = (KEEP_ALIVE, CALLS, LONE_CALLS, PAGES, TLS_KEEP_ALIVE, HANDSHAKES)


@dataclass(frozen=True)
class Build:
    """One Equipoise to measure: an interpreter and where it finds the package ("" = as installed)."""

    name: str
    python: str
    path: str = ""


@dataclass(frozen=True)
class Row:
    """One configuration of one balancer: a line of the tables."""

    name: str
    kind: str
    log: bool = False
    targets: int = 5
    build: Build | None = None
    command: str = ""
    variant: str = ""
    link: Link = Link.HTTP1


@dataclass(frozen=True)
class Scenario:
    """One load, given to several rows in turn."""

    name: str
    body: str
    rows: tuple[Row, ...]
    rounds: int
    seconds: int
    traffic: Traffic = KEEP_ALIVE


@dataclass(frozen=True)
class Group:
    """Scenarios that share their running balancers."""

    workers: int
    scenarios: tuple[Scenario, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Each row once, in the order of their first appearance."""
        return tuple(dict.fromkeys(row for scenario in self.scenarios for row in scenario.rows))


@dataclass(frozen=True)
class Sample:
    """One measured load on one row. Times per request in microseconds, latencies in milliseconds."""

    row: str
    requests: int
    user_us: float
    system_us: float
    rate: float
    p50_ms: float
    p99_ms: float
    rss_bytes: int
    foreign_share: float
    errors: tuple[str, ...] = ()

    @property
    def cpu_us(self) -> float:
        """User and system together."""
        return self.user_us + self.system_us


@dataclass(frozen=True)
class Figures:
    """Medians over the rounds of a scenario for one row."""

    row: str
    log: bool
    rounds: int
    cpu_us: float
    cpu_min_us: float
    cpu_max_us: float
    user_us: float
    system_us: float
    rate: float
    p50_ms: float
    p99_ms: float
    rss_bytes: int
    foreign_share: float
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScenarioResult:
    """What a scenario gave."""

    name: str
    body: str
    workers: int
    seconds: int
    figures: tuple[Figures, ...]
    traffic: Traffic = KEEP_ALIVE

    def of(self, row: str) -> Figures | None:
        """The figures of a row, None where it has none or where its load failed: no verdict stands on those."""
        found = next((figures for figures in self.figures if figures.row == row), None)
        return None if found is None or found.errors else found


@dataclass(frozen=True)
class IdleFigures:
    """Memory for each idle connection: only opened, and kept alive after one request."""

    row: str
    connections: int
    base_rss_bytes: int
    opened_bytes: float
    kept_bytes: float
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class MicroFigure:
    """One operation: nanoseconds in each mode, None where that mode was not measured."""

    name: str
    compiled_ns: float | None
    interpreted_ns: float | None


@dataclass
class Results:
    """All that one run gave, for the report."""

    scenarios: list[ScenarioResult] = field(default_factory=list)
    idle: list[IdleFigures] = field(default_factory=list)
    micro: list[MicroFigure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def medians(row: Row, samples: Sequence[Sample]) -> Figures:
    """Medians over the rounds; one failed load marks the whole row."""

    def middle(values: list[float]) -> float:
        return statistics.median(values)

    cpu = [sample.cpu_us for sample in samples]
    return Figures(
        row=row.name,
        log=row.log,
        rounds=len(samples),
        cpu_us=middle(cpu),
        cpu_min_us=min(cpu),
        cpu_max_us=max(cpu),
        user_us=middle([sample.user_us for sample in samples]),
        system_us=middle([sample.system_us for sample in samples]),
        rate=middle([sample.rate for sample in samples]),
        p50_ms=middle([sample.p50_ms for sample in samples]),
        p99_ms=middle([sample.p99_ms for sample in samples]),
        rss_bytes=int(middle([float(sample.rss_bytes) for sample in samples])),
        foreign_share=middle([sample.foreign_share for sample in samples]),
        errors=tuple(error for sample in samples for error in sample.errors),
    )
