"""The plan of a run: which rows meet which scenarios.

Owns: the list of rows and of scenarios, and how options choose among them.
Refuses to know: how any of it is carried out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.model import (
    BODIES,
    CACHE,
    CACHED,
    CALL,
    CALLS,
    HANDSHAKES,
    LONE_CALLS,
    PAGES,
    TLS_KEEP_ALIVE,
    Build,
    Group,
    Link,
    Row,
    Scenario,
    Traffic,
)

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
# What can be set for big answers at the price of memory; only those are measured with it.
BIG_BODY_PEERS: tuple[Row, ...] = (
    Row("nginx, big buffers", "nginx", variant="big buffers"),
    Row("HAProxy, splice", "haproxy", variant="splice"),
)
# Measured only when named in full: what they showed is in README.md.
VARIANTS: tuple[Row, ...] = (
    Row("nginx, log line by line", "nginx", log=True, variant="line by line"),
    Row("nginx, log combined", "nginx", log=True, variant="combined"),
)

# It is nothing without HTTP/2 or TLS.
NGHTTPX: tuple[Row, ...] = (Row("nghttpx", "nghttpx"), Row("nghttpx, log", "nghttpx", log=True))

# Where an answer is kept and given again; beside them the rows that ask a target each time.
CACHE_PEERS: tuple[Row, ...] = (
    Row("nginx, cache", "nginx", variant=CACHE),
    Row("nginx, cache, log", "nginx", log=True, variant=CACHE),
    Row("Varnish, cache", "varnishd", variant=CACHE),
)

DEFAULT_BUILD = "equipoise"
# Of each the loads, with the size of the answer, and a name to tell them apart where there are several.
PROTOCOLS: dict[str, tuple[tuple[str, str, Traffic], ...]] = {
    "h2-unary": (
        ("h2-unary, 4 connections, 16 streams", CALL, CALLS),
        ("h2-unary, 64 connections, 1 stream", CALL, LONE_CALLS),
    ),
    "h2-h1": (("h2-h1", "100B", PAGES),),
    "tls-h1": (("tls-h1", "100B", TLS_KEEP_ALIVE),),
    "tls-handshake": (("tls-handshake", "100B", HANDSHAKES),),
}
SCENARIOS = (*BODIES, CACHED, *PROTOCOLS, "targets", "idle", "micro")
TARGET_COUNTS = (5, 50, 500)
PICK_WORKERS = 2


@dataclass(frozen=True)
class Length:
    """How long a run measures."""

    rounds: int
    rounds_big: int
    seconds: int


# Many short rounds: what disturbs the machine for seconds spoils single samples of some rows, not the median of one.
FULL = Length(rounds=9, rounds_big=5, seconds=2)
QUICK = Length(rounds=3, rounds_big=2, seconds=1)


@dataclass(frozen=True)
class Choice:
    """What the options chose; empty means all."""

    scenarios: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    workers: tuple[int, ...] = (1, 2)
    length: Length = FULL
    idle_peers: bool = True
    others: tuple[Row, ...] = ()

    def wants(self, scenario: str) -> bool:
        """Whether the scenario was chosen."""
        return not self.scenarios or scenario in self.scenarios


def rows_of(build: Build) -> tuple[Row, Row]:
    """The two rows of one Equipoise: access log on, and off."""
    return (Row(f"{build.name}, log", "equipoise", log=True, build=build), Row(build.name, "equipoise", build=build))


def chosen_rows(builds: Sequence[Build], choice: Choice, more: Sequence[Row] = ()) -> tuple[Row, ...]:
    """What `choice` names of ours, the peers and `more` of them; what the options added is in without being named."""
    ours = tuple(row for build in builds for row in rows_of(build))
    added = (*(row for row in ours if row.build and row.build.name != DEFAULT_BUILD), *choice.others)
    known = (*ours, *PEERS, *more, *choice.others)
    if not choice.rows:
        return known
    every = (*known, *BIG_BODY_PEERS, *NGHTTPX, *CACHE_PEERS, *VARIANTS)
    unknown = [name for name in choice.rows if not any(_named(row, name) for row in every)]
    if unknown:
        names = "; ".join(dict.fromkeys(row.name for row in every))
        raise ValueError(f"no such row: {', '.join(unknown)}. There are: {names}")
    variants = (row for row in VARIANTS if any(name.lower() == row.name.lower() for name in choice.rows))
    named = (row for row in known if row in added or any(_named(row, name) for name in choice.rows))
    return (*named, *variants)


def _named(row: Row, name: str) -> bool:
    """Whether the option's `name` means this row: its full name, or the part before the comma."""
    return name.lower() in (row.name.lower(), row.name.lower().partition(",")[0])


def groups(builds: Sequence[Build], choice: Choice) -> list[Group]:
    """The loads of a run."""
    found = []
    for workers in choice.workers:
        bodies = [body for body in BODIES if choice.wants(body)]
        if bodies:
            found.append(Group(workers, tuple(_by_body(builds, choice, body, workers) for body in bodies)))
    if choice.wants(CACHED):
        found += _by_cache(builds, choice)
    found += _by_protocol(builds, choice)
    if choice.wants("targets"):
        found += _by_targets(chosen_rows(builds, choice), choice.length)
    return found


def _by_body(builds: Sequence[Build], choice: Choice, body: str, workers: int) -> Scenario:
    """One size of answer. The bigger ones compare the moving of bytes: the peers' logs sit them out."""
    rows = chosen_rows(builds, choice, BIG_BODY_PEERS if body == "1MiB" else ())
    if body != "100B":
        rows = tuple(row for row in rows if row.kind in {"equipoise", "other"} or not row.log)
    return Scenario(
        name=f"{body}, {workers} {'worker' if workers == 1 else 'workers'}",
        body=body,
        rows=rows,
        rounds=choice.length.rounds if body == "100B" else choice.length.rounds_big,
        seconds=choice.length.seconds,
    )


def _by_cache(builds: Sequence[Build], choice: Choice) -> list[Group]:
    """What a stored answer costs beside one that is fetched, with one worker unless told otherwise."""
    plain = [row for row in chosen_rows(builds, choice) if row.kind in {"equipoise", "nginx"} and not row.variant]
    kept = [replace(row, name=_cached_name(row), variant=CACHE) for row in plain if row.kind == "equipoise"]
    peers = [row for row in CACHE_PEERS if not choice.rows or any(_named(row, name) for name in choice.rows)]
    rows = (*kept, *plain, *peers)
    found = []
    for workers in choice.workers if choice.scenarios else choice.workers[:1]:
        name = f"{CACHED}, {workers} {'worker' if workers == 1 else 'workers'}"
        if rows:
            scenario = Scenario(name, CACHED, rows, choice.length.rounds_big, choice.length.seconds)
            found.append(Group(workers, (scenario,)))
    return found


def _cached_name(row: Row) -> str:
    name, _, rest = row.name.partition(",")
    return f"{name}, {CACHE},{rest}" if rest else f"{name}, {CACHE}"


def _by_protocol(builds: Sequence[Build], choice: Choice) -> list[Group]:
    """HTTP/2 and TLS, with one worker unless told otherwise: what a protocol costs, more workers do not change."""
    found = []
    for link in Link:
        chosen = [
            each
            for kind, loads in PROTOCOLS.items()
            if choice.wants(kind)
            for each in loads
            if each[2].link is link and (rows_for(builds, choice, each[2]))
        ]
        for workers in choice.workers if choice.scenarios else choice.workers[:1]:
            scenarios = tuple(_protocol(builds, choice, each, workers) for each in chosen)
            if scenarios:
                found.append(Group(workers, scenarios))
    return found


def _protocol(builds: Sequence[Build], choice: Choice, load: tuple[str, str, Traffic], workers: int) -> Scenario:
    name, body, traffic = load
    return Scenario(
        name=f"{name}, {workers} {'worker' if workers == 1 else 'workers'}",
        body=body,
        rows=rows_for(builds, choice, traffic),
        rounds=choice.length.rounds_big,
        seconds=choice.length.seconds,
        traffic=traffic,
    )


def rows_for(builds: Sequence[Build], choice: Choice, traffic: Traffic) -> tuple[Row, ...]:
    """The rows that can carry that traffic.

    The peers' logs are measured where calls come as a mesh makes them, and that of the quickest of them for lone calls.
    """
    rows = chosen_rows(builds, choice, NGHTTPX)
    logging = {"equipoise", "other", *(("nghttpx",) if traffic is LONE_CALLS else ())}
    return tuple(
        replace(row, link=traffic.link)
        for row in rows
        if (not row.log or row.kind in logging or traffic is CALLS)
        and (row.variant == "" or (row.variant == "tcp" and traffic.link is Link.HTTP2))
    )


def _by_targets(rows: Sequence[Row], length: Length) -> list[Group]:
    """More and more targets: what the pick and the many connections cost; nginx shows what the latter cost anyone."""
    many = tuple(
        replace(row, name=f"{row.name}, {count} targets", targets=count)
        for row in rows
        if row.kind in {"equipoise", "nginx"} and not row.log
        for count in TARGET_COUNTS
    )
    if not many:
        return []
    name = f"number of targets, {PICK_WORKERS} workers"
    return [Group(PICK_WORKERS, (Scenario(name, "100B", many, length.rounds_big, length.seconds),))]


def idle_rows(builds: Sequence[Build], choice: Choice) -> tuple[Row, ...]:
    """One row for each balancer that speaks HTTP; a log does not change what an idle connection weighs."""
    if not choice.wants("idle"):
        return ()
    rows = (row for row in chosen_rows(builds, choice) if not row.log and row.variant != "tcp")
    return tuple(row for row in rows if choice.idle_peers or row.kind == "equipoise")
