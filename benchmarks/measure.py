"""The measuring: running rows, loaded in turn.

Owns: the order of rounds, what surrounds each load (warm-up, counters before and after), the log files in between.
Refuses to know: how a row is configured, what the figures are compared with.
"""

import contextlib
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import load, sanity
from benchmarks.certificate import Certificate
from benchmarks.drive import Driver
from benchmarks.model import KEEP_ALIVE, Group, Results, Row, Sample, Scenario, ScenarioResult, Traffic, medians
from benchmarks.origin import Origin
from benchmarks.process import (
    Process,
    ProcessFailed,
    busy_seconds,
    free_ports,
    settled_rss,
    tree_cpu,
    tree_rss,
    waited_cpu,
)
from benchmarks.rows import Place, Programs, command

WARM_UP_S = 1
LOG_DEADLINE_S = 5.0


@dataclass(frozen=True)
class Bench:
    """What every measurement of a run shares."""

    folder: Path
    programs: Programs
    origin: Origin
    driver: Driver
    certificate: Certificate
    say: Callable[[str], None]
    deadline: float
    random: random.Random
    require_compiled: bool = True

    def time_left(self) -> float:
        """Seconds until the run must stop measuring."""
        return self.deadline - time.monotonic()


@dataclass(frozen=True)
class Running:
    """A started row."""

    row: Row
    place: Place
    process: Process


@contextlib.contextmanager
def running(bench: Bench, row: Row, workers: int) -> Iterator[Running]:
    """Start a row and prove that it does its job."""
    # mkdtemp, since the same row may be started more than once in a run.
    folder = Path(tempfile.mkdtemp(prefix=f"{row.kind}-", dir=bench.folder))
    place = Place(folder, free_ports(1)[0], bench.origin.ports_of(row), workers, bench.certificate)
    start = command(row, place, bench.programs)
    with Process(row.name, start.argv, folder, start.env) as process:
        process.wait_listening(place.port)
        if row.kind == "equipoise" and bench.require_compiled:
            sanity.check_compiled(row.name, process.stderr_path)
        sanity.check(row, place.port)
        yield Running(row, place, process)


def measure_group(bench: Bench, group: Group, results: Results) -> None:
    """Start all rows of a group once, then load them in turn."""
    with contextlib.ExitStack() as stack:
        started: dict[Row, Running] = {}
        for row in group.rows:
            try:
                started[row] = stack.enter_context(running(bench, row, group.workers))
            except (ProcessFailed, sanity.NotSane) as error:
                results.problems.append(f"{row.name}, {group.workers} workers: {error}")
                bench.say(f"  NOT MEASURED: {error}")
        for scenario in group.scenarios:
            figures = _scenario(bench, scenario, started, results)
            if figures:
                results.scenarios.append(replace(figures, workers=group.workers))


def _scenario(bench: Bench, scenario: Scenario, started: dict[Row, Running], results: Results) -> ScenarioResult | None:
    """All rounds of one scenario; a row that fails is reported and left out of the rounds that remain."""
    samples: dict[Row, list[Sample]] = {row: [] for row in scenario.rows if row in started}
    for number in range(scenario.rounds):
        bench.say(f"  {scenario.name}: round {number + 1} of {scenario.rounds}")
        order = list(samples)
        bench.random.shuffle(order)
        for row in order:
            if bench.time_left() < scenario.seconds + WARM_UP_S:
                results.problems.append(f"{scenario.name}: out of time in round {number + 1} at {row.name}")
                return _summary(scenario, samples)
            if samples[row] and samples[row][-1].errors:
                continue
            try:
                if number == 0:
                    _warm_up(bench, started[row], scenario.traffic, scenario.body)
                sample = _sample(bench, started[row], scenario)
            except (load.LoadFailed, ProcessFailed) as error:
                results.problems.append(f"{scenario.name}, {row.name}: {error}")
                samples[row].append(Sample(row.name, 0, 0, 0, 0, 0, 0, 0, 0, (str(error),)))
                continue
            samples[row].append(sample)
            results.problems.extend(f"{scenario.name}, {row.name}: {error}" for error in sample.errors)
            bench.say(f"    {row.name:28} {sample.cpu_us:8.2f} us  {sample.rate:8.0f}/s {' '.join(sample.errors)}")
    return _summary(scenario, samples)


def _summary(scenario: Scenario, samples: dict[Row, list[Sample]]) -> ScenarioResult | None:
    figures = tuple(medians(row, each) for row, each in samples.items() if each)
    if not figures:
        return None
    return ScenarioResult(scenario.name, scenario.body, 0, scenario.seconds, figures, scenario.traffic)


def _sample(bench: Bench, target: Running, scenario: Scenario) -> Sample:
    """One measured load."""
    pid, log_path = target.process.pid, target.place.log_path
    if target.row.log:
        os.truncate(log_path, 0)
    before, busy, known = tree_cpu(pid), busy_seconds(), _known_cpu(bench, pid)
    loaded = bench.driver.run(scenario.traffic, scenario.body, target.place.port, scenario.seconds)
    spent, busy, known = tree_cpu(pid) - before, busy_seconds() - busy, _known_cpu(bench, pid) - known
    rss = tree_rss(pid)

    target.process.check_alive()
    errors = list(loaded.errors)
    if target.row.log:
        errors += _missing_lines(log_path, loaded.requests)
    requests = max(loaded.requests, 1)
    return Sample(
        row=target.row.name,
        requests=loaded.requests,
        user_us=spent.user * 1e6 / requests,
        system_us=spent.system * 1e6 / requests,
        rate=loaded.requests / loaded.seconds,
        p50_ms=loaded.p50_ms,
        p99_ms=loaded.p99_ms,
        rss_bytes=rss,
        foreign_share=max(0.0, busy - known) / loaded.seconds / (os.cpu_count() or 1),
        errors=tuple(errors),
    )


def _known_cpu(bench: Bench, pid: int) -> float:
    """Seconds of processor time of all that takes part; what the machine spent beyond it disturbs the figures."""
    return sum((tree_cpu(each) for each in (pid, *bench.origin.pids)), waited_cpu()).total


def _missing_lines(path: Path, requests: int) -> list[str]:
    """A row that is measured with its log on must have written a line for each request."""
    end = time.monotonic() + LOG_DEADLINE_S
    lines = 0
    while time.monotonic() < end:
        with path.open("rb") as file:
            lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
        if lines >= requests:
            return []
        time.sleep(0.1)
    return [f"{lines} log lines for {requests} requests"]


def warm_rss(bench: Bench, target: Running) -> int:
    """Resident bytes after a short load, once they no longer change."""
    _warm_up(bench, target, KEEP_ALIVE, "100B")
    return settled_rss(target.process.pid)


def _warm_up(bench: Bench, target: Running, traffic: Traffic, body: str) -> None:
    """Opens the connections to the targets, which stay open from round to round, and brings the memory to its size."""
    loaded = bench.driver.run(traffic, body, target.place.port, WARM_UP_S)
    if loaded.errors:
        raise load.LoadFailed(f"warm-up: {', '.join(loaded.errors)}")
