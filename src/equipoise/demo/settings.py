"""What a demo is told, checked, with the defaults that follow from each other.

Owns: the settings, what makes sense, the speeds of the targets, where files go.
Refuses to know: the command line, processes.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

# About so many requests open for each target: the marks ask for 20 or more in flight at each.
REQUESTS_PER_TARGET: Final = 25
FEWEST_PER_TARGET, MOST_PER_TARGET = 20, 30
# At 120 open requests about 500 a second: real load, affordable interpreted too, all processes on two cores.
MEAN_DELAY_MS: Final = 250.0
# The slowest target takes twice as long as the fastest, so that equal numbers of requests would not mean equal load.
SLOWEST: Final = 4 / 3
FASTEST: Final = 2 / 3
POST_SHARE: Final = 0.1
LOG_EVERY: Final = 10.0
# Below this a phase is over before its marks have something to judge.
SHORTEST_PHASE: Final = 4.0
OWN_FILES: Final = (
    "access.log",
    "balancer.log",
    "balancer.out",
    "balancer.toml",
    "report.json",
    "report.png",
    "report.svg",
    "report.txt",
    "report-dark.png",
    "target-*.err",
    "target-*.log",
    "target-*.samples",
    "traffic.err",
    "traffic.log",
    "traffic.record",
)


GRPC_MISSING: Final = 'it takes grpcio, which "equipoise[grpc]" installs'


class UsageError(Exception):
    """Settings that make no demo; the message is for the user."""


class DemoSettings(msgspec.Struct, frozen=True):
    """One run of the demo. Times in seconds from the first request; a rate of 0 means a closed loop."""

    report: Path
    targets: int = 5
    duration: float = 60.0
    kill_at: float = 20.0
    restart_at: float = 40.0
    concurrency: int = 120
    rate: float = 0.0
    workers: int = 1
    delay_ms: float = MEAN_DELAY_MS
    algorithm: str = "least_in_flight"
    seed: int = 1
    grpc: bool = False

    def with_timeline(self, kill_at: float | None, restart_at: float | None) -> "DemoSettings":
        """The same, with the moments that are given; the kill after a third of the time, the restart after two."""
        return msgspec.structs.replace(
            self,
            kill_at=self.duration / 3 if kill_at is None else kill_at,
            restart_at=self.duration * 2 / 3 if restart_at is None else restart_at,
        )

    def with_load(self, concurrency: int | None, rate: float | None) -> "DemoSettings":
        """The same, with the load that is given; without one, `even_number` requests are open at any time.

        Raises:
            UsageError: both are given.
        """
        if concurrency is not None and rate is not None:
            raise UsageError("--concurrency and --rate exclude each other")
        if rate is not None:
            return msgspec.structs.replace(self, rate=rate)
        return msgspec.structs.replace(
            self, concurrency=even_number(self.targets) if concurrency is None else concurrency
        )

    def check(self) -> None:
        """Refuses what makes no demo.

        Raises:
            UsageError: with a sentence that says why.
        """
        if self.targets < 2:
            raise UsageError("--targets: at least 2, because one of them is killed")
        if self.grpc and not has_grpc():
            raise UsageError(f"--grpc: {GRPC_MISSING}")
        if self.workers < 1:
            raise UsageError("--workers: at least 1")
        if self.concurrency < 1 or self.rate < 0:
            raise UsageError("--concurrency and --rate: more than 0")
        if not 0 < self.kill_at < self.restart_at < self.duration:
            raise UsageError("the order is: 0 < --kill-at < --restart-at < --duration")
        phases = (self.kill_at, self.restart_at - self.kill_at, self.duration - self.restart_at)
        if min(phases) < SHORTEST_PHASE:
            raise UsageError(f"before the kill, until the restart, until the end: at least {SHORTEST_PHASE:g} s each")

    @property
    def names(self) -> list[str]:
        """The targets' names: a, b, c ..."""
        return [_letters(number) for number in range(self.targets)]

    @property
    def killed(self) -> str:
        """The target that is killed: the one in the middle, of medium speed."""
        return self.names[self.targets // 2]

    @property
    def log_every(self) -> float:
        """Seconds between two lines of a target's log: ten, or less in a short run, so that each phase has a few."""
        return min(LOG_EVERY, max(1.0, round(self.duration / 6)))

    def delay_of(self, number: int) -> float:
        """The mean delay of a target in milliseconds."""
        return round(self.delay_ms * (FASTEST + (SLOWEST - FASTEST) * number / (self.targets - 1)), 1)

    def file(self, name: str) -> Path:
        """A file of the report."""
        return self.report / name


def has_grpc() -> bool:
    """Whether grpcio is installed."""
    return find_spec("grpc") is not None


def even_number(targets: int) -> int:
    """About 25 requests per target, a number that divides by the targets with and without the one that is killed.

    What is left over by the division would stand in the spread as if the balancer had caused it.
    """
    step = targets * (targets - 1)
    wanted = REQUESTS_PER_TARGET * targets
    number = max(1, round(wanted / step)) * step
    return number if FEWEST_PER_TARGET * targets <= number <= MOST_PER_TARGET * targets else wanted


def _letters(number: int) -> str:
    """The letters from a to z, then aa, ab ..."""
    name = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        name = chr(ord("a") + letter) + name
    return name
