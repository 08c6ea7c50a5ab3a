"""The words of the benchmarks as values.

Owns: what is measured (`Row`, `Scenario`, `Group`) and what comes out of it (`Sample`, `Figures`, `IdleFigures`).
Refuses to know: processes, files, how a figure is printed.
"""

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


def body_path(body: str) -> str:
    """The request target whose answer is a body of that size; as long as a real one."""
    return f"/{body}/catalogue/garden/items?page=3&sort=price"


def body_bytes(body: str) -> bytes:
    """The answer's body, so that a wrong, cut or shifted one is noticed."""
    line = b"the quick brown fox jumps over the lazy dog 0123456789 equipoise benchmark\n"
    size = BODIES[body]
    return (line * (size // len(line) + 1))[:size]


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


@dataclass(frozen=True)
class Scenario:
    """One load, given to several rows in turn."""

    name: str
    body: str
    rows: tuple[Row, ...]
    rounds: int
    seconds: int


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
