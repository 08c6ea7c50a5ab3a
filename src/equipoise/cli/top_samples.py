"""What `equipoise top` knows: samples of the balancer, and what two of them tell.

Owns: one look at the balancer as a value, rates from counters, the loads of the last minute.
Refuses to know: how looks are taken, and how they are drawn.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from equipoise.cli.answers import Status

MINUTE: Final = 60.0
"""Seconds of loads that are kept."""

Key = tuple[str, str]
"""Pool and target."""


@dataclass(frozen=True)
class Sample:
    """One look.

    Attributes:
        at: monotonic clock of this machine, seconds.
        wall: clock of the balancer, in the time zone to show.
        events: the last that happened, oldest first, as `GET /v1/events/recent` gives them.
        data: the status as it came.
    """

    status: Status
    at: float
    wall: datetime
    events: tuple[Mapping[str, Any], ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)

    def loads(self) -> dict[Key, int]:
        """Requests in flight at each target."""
        return {
            (name, target.name): target.in_flight for name, pool in self.status.pools.items() for target in pool.targets
        }


@dataclass(frozen=True)
class Lost:
    """The balancer does not answer: since when, and why."""

    since: datetime
    reason: str


@dataclass(frozen=True)
class Rates:
    """Requests a second between two samples; what is not known is missing.

    Attributes:
        total: over all workers; None without a sample before.
        targets: of each target.
        workers: of each worker, by its process id.
    """

    total: float | None = None
    targets: Mapping[Key, float] = field(default_factory=dict)
    workers: Mapping[int, float] = field(default_factory=dict)

    def pool(self, name: str) -> float | None:
        """Of all targets of a pool; None when none is known."""
        known = [rate for (pool, _), rate in self.targets.items() if pool == name]
        return sum(known) if known else None


def rates(before: Sample | None, now: Sample) -> Rates:
    """What the counters of two samples tell. Nothing when the balancer was started anew between them."""
    if before is None or now.at <= before.at or now.status.uptime_s < before.status.uptime_s:
        return Rates()
    seconds = now.at - before.at
    targets = _per_second(_target_counts(before), _target_counts(now), seconds)
    workers = _per_second(_worker_counts(before), _worker_counts(now), seconds)
    return Rates(sum(workers.values()) if workers else None, targets, workers)


def _per_second(before: Mapping[Any, int], now: Mapping[Any, int], seconds: float) -> dict[Any, float]:
    """Of what is in both; a count that went back was started anew, and tells nothing this time."""
    return {key: (now[key] - before[key]) / seconds for key in now if key in before and now[key] >= before[key]}


def _target_counts(sample: Sample) -> dict[Key, int]:
    return {
        (name, target.name): target.requests for name, pool in sample.status.pools.items() for target in pool.targets
    }


def _worker_counts(sample: Sample) -> dict[int, int]:
    return {worker.pid: worker.requests for worker in sample.status.workers}


class Trail:
    """The loads of the last minute."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        """Begins with some samples, oldest first."""
        self._looks: deque[tuple[float, dict[Key, int]]] = deque()
        for sample in samples:
            self.add(sample)

    def add(self, sample: Sample) -> None:
        """Keep a sample, forget those that are older than a minute."""
        self._looks.append((sample.at, sample.loads()))
        while self._looks[0][0] <= sample.at - MINUTE:
            self._looks.popleft()

    def most(self) -> int:
        """The highest load of any target within the minute."""
        return max((load for _, loads in self._looks for load in loads.values()), default=0)

    def heights(self, key: Key, cells: int, now: float) -> list[int | None]:
        """The load of a target in as many parts of the minute before `now`, oldest first.

        Each part has the highest load in it. One in which nobody looked has that of the part before it; None stands
        before the first look.
        """
        found: list[int | None] = [None] * cells
        for at, loads in self._looks:
            cell = cells - 1 - int((now - at) * cells / MINUTE)
            if key in loads and 0 <= cell < cells:
                found[cell] = max(found[cell] or 0, loads[key])
        for cell in range(1, cells):
            if found[cell] is None:
                found[cell] = found[cell - 1]
        return found
