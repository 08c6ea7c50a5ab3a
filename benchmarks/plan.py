"""The plan of a run: which rows meet which scenarios.

Owns: the list of rows and of scenarios, and how options choose among them.
Refuses to know: how any of it is carried out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.model import Build, Group, Row, Scenario

PEERS: tuple[Row, ...] = (
    Row("nginx", "nginx"),
    Row("nginx, log", "nginx", log=True),
    Row("HAProxy", "haproxy"),
    Row("HAProxy, TCP mode", "haproxy", variant="tcp"),
    Row("Envoy", "envoy"),
    Row("Envoy, log", "envoy", log=True),
    Row("Traefik", "traefik"),
    Row("Traefik, log", "traefik", log=True),
    Row("Caddy", "caddy"),
    Row("Caddy, log", "caddy", log=True),
)
# Left out unless named: what they show is written in README.md.
VARIANTS: tuple[Row, ...] = (Row("nginx, log line by line", "nginx", log=True, variant="line by line"),)

SCENARIOS = ("100B", "10KiB", "1MiB", "targets", "idle", "micro")
TARGET_COUNTS = (5, 50, 500)
PICK_WORKERS = 2


@dataclass(frozen=True)
class Length:
    """How long a run measures."""

    rounds: int
    rounds_big: int
    seconds: int


FULL = Length(rounds=5, rounds_big=3, seconds=3)
QUICK = Length(rounds=2, rounds_big=2, seconds=2)


@dataclass(frozen=True)
class Choice:
    """What the options chose; empty means all."""

    scenarios: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    workers: tuple[int, ...] = (1, 2)
    length: Length = FULL
    others: tuple[Row, ...] = ()
    logless_peers_only_for_big: bool = True

    def wants(self, scenario: str) -> bool:
        """Whether the scenario was chosen."""
        return not self.scenarios or scenario in self.scenarios


def rows_of(build: Build) -> tuple[Row, Row]:
    """The two rows of one Equipoise: access log on, and off."""
    return (Row(f"{build.name}, log", "equipoise", log=True, build=build), Row(build.name, "equipoise", build=build))


def chosen_rows(builds: Sequence[Build], choice: Choice) -> tuple[Row, ...]:
    """Ours, the peers and what the options added; a name in `choice.rows` stands for all rows that begin with it."""
    ours = tuple(row for build in builds for row in rows_of(build))
    known = (*ours, *PEERS, *choice.others)
    if not choice.rows:
        return known
    unknown = [name for name in choice.rows if not any(_named(row, name) for row in (*known, *VARIANTS))]
    if unknown:
        names = ", ".join(row.name for row in (*known, *VARIANTS))
        message = f"no such row: {', '.join(unknown)}; there are: {names}"
        raise ValueError(message)
    exact = [row for row in VARIANTS if any(name.lower() == row.name.lower() for name in choice.rows)]
    return (*(row for row in known if any(_named(row, name) for name in choice.rows)), *exact)


def _named(row: Row, name: str) -> bool:
    """Whether the option's `name` means this row: its full name, or the part before the comma."""
    return name.lower() in (row.name.lower(), row.name.lower().partition(",")[0])


def groups(builds: Sequence[Build], choice: Choice) -> list[Group]:
    """The loads of a run. The bigger answers compare the balancing, not the logs: the peers' log rows sit them out."""
    rows = chosen_rows(builds, choice)
    without_peer_logs = tuple(row for row in rows if row.kind in {"equipoise", "other"} or not row.log)
    length = choice.length
    found = []
    for workers in choice.workers:
        scenarios = [
            Scenario(
                name=f"{body}, {workers} {'worker' if workers == 1 else 'workers'}",
                body=body,
                rows=rows if body == "100B" or not choice.logless_peers_only_for_big else without_peer_logs,
                rounds=length.rounds if body == "100B" else length.rounds_big,
                seconds=length.seconds,
            )
            for body in ("100B", "10KiB", "1MiB")
            if choice.wants(body)
        ]
        if scenarios:
            found.append(Group(workers, tuple(scenarios)))
    if choice.wants("targets"):
        found += _by_targets(rows, length)
    return found


def _by_targets(rows: Sequence[Row], length: Length) -> list[Group]:
    """Ours with more and more targets: what the pick costs in the whole."""
    many = tuple(
        replace(row, name=f"{row.name}, {count} targets", targets=count)
        for row in rows
        if row.kind == "equipoise" and not row.log
        for count in TARGET_COUNTS
    )
    if not many:
        return []
    name = f"number of targets, {PICK_WORKERS} workers"
    return [Group(PICK_WORKERS, (Scenario(name, "100B", many, length.rounds, length.seconds),))]


def idle_rows(builds: Sequence[Build], choice: Choice) -> tuple[Row, ...]:
    """One row for each balancer that speaks HTTP; a log does not change what an idle connection weighs."""
    if not choice.wants("idle"):
        return ()
    return tuple(row for row in chosen_rows(builds, choice) if not row.log and row.variant != "tcp")
