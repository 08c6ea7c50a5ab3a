"""The limits that Equipoise sets itself, and whether a run met them.

Owns: the numbers and what each is compared with.
Refuses to know: how the figures were made.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmarks.model import (
    CALLS,
    HANDSHAKES,
    KEEP_ALIVE,
    LONE_CALLS,
    PAGES,
    TLS_KEEP_ALIVE,
    IdleFigures,
    MicroFigure,
    Results,
    ScenarioResult,
    Traffic,
)

NGINX_WITH_LOG = 1.0
FLOOR = 1.35
BIG_PEERS = 0.3
BIG_BODY_NGINX = 0.8
BIG_BODY_HAPROXY = 1.0
IDLE_BYTES = 2500
# HTTP/2 and TLS: pairs of a row of ours and one of a peer, both with an access log where the peer can write one.
PROTOCOLS: dict[Traffic, dict[tuple[str, str], float]] = {
    CALLS: {
        ("{}, log", "nghttpx, log"): 1.0,
        ("{}, log", "HAProxy"): 1.0,
        ("{}, log", "nginx, log"): 0.5,
        ("{}, log", "Envoy, log"): 0.25,
    },
    LONE_CALLS: {("{}, log", "nghttpx, log"): 0.8},
    PAGES: {("{}", "HAProxy"): 1.0, ("{}", "nginx"): 1.0},
    TLS_KEEP_ALIVE: {("{}", "nginx"): 1.05},
    HANDSHAKES: {("{}", "nginx"): 1.3},
}
BIG = ("Envoy", "Traefik", "Caddy")
PICK_MORE_NS = 1000
PICK_FEW, PICK_MANY = "pick, 5 targets, 4 workers", "pick, 500 targets, 4 workers"


@dataclass(frozen=True)
class Verdict:
    """One limit held against one figure."""

    limit: str
    where: str
    figure: float
    allowed: float
    unit: str

    @property
    def passed(self) -> bool:
        """Whether the figure is within the limit."""
        return self.figure <= self.allowed


def verdicts(results: Results, builds: Iterable[str]) -> list[Verdict]:
    """Every limit for which this run has both sides."""
    found: list[Verdict] = []
    for build in builds:
        for scenario in results.scenarios:
            found += _of_scenario(scenario, build)
        found += _of_idle(results.idle, build)
    found += _of_micro(results.micro)
    return found


def _of_scenario(scenario: ScenarioResult, build: str) -> Iterator[Verdict]:
    pairs: list[tuple[str, str, float]] = []
    if scenario.traffic != KEEP_ALIVE:
        pairs += [(ours.format(build), peer, most) for (ours, peer), most in PROTOCOLS[scenario.traffic].items()]
    elif scenario.body == "100B":
        pairs.append((f"{build}, log", "nginx, log", NGINX_WITH_LOG))
        pairs.append((build, "HAProxy, TCP mode", FLOOR))
        for peer in BIG:
            pairs.append((build, peer, BIG_PEERS))
            pairs.append((f"{build}, log", f"{peer}, log", BIG_PEERS))
    elif scenario.body == "1MiB":
        pairs.append((build, "nginx", BIG_BODY_NGINX))
        pairs.append((build, "HAProxy", BIG_BODY_HAPROXY))
    for ours, theirs, allowed in pairs:
        left, right = scenario.of(ours), scenario.of(theirs)
        if left and right and right.cpu_us > 0:
            yield Verdict(f"{ours} / {theirs}", scenario.name, left.cpu_us / right.cpu_us, allowed, "x CPU")


def _of_idle(idle: Iterable[IdleFigures], build: str) -> Iterator[Verdict]:
    for figures in idle:
        if figures.row == build and not figures.errors:
            worst = max(figures.opened_bytes, figures.kept_bytes)
            yield Verdict(f"{build}, each idle connection", f"{figures.connections} of them", worst, IDLE_BYTES, "B")


def _of_micro(micro: Iterable[MicroFigure]) -> Iterator[Verdict]:
    compiled = {figure.name: figure.compiled_ns for figure in micro}
    few, many = compiled.get(PICK_FEW), compiled.get(PICK_MANY)
    if few is not None and many is not None:
        yield Verdict("pick at 500 targets over pick at 5", "4 workers, compiled", many - few, PICK_MORE_NS, "ns")
