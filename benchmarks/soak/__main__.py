"""The command: `python -m benchmarks.soak`.

Owns: the options, the order of a run, the exit code.
Refuses to know: what is asked, what is done, what is allowed.

Exit codes: 0 every check passed; 1 one did not; 2 wrong usage, or something does not start.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import datetime as dt
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import uvloop

from benchmarks import machine
from benchmarks.process import ProcessFailed, raise_descriptor_limit
from benchmarks.soak import judge, report, watch
from benchmarks.soak.disturb import Disturber
from benchmarks.soak.judge import Check
from benchmarks.soak.lines import compare, read
from benchmarks.soak.record import Record
from benchmarks.soak.rules import line_may_be_missing
from benchmarks.soak.stage import Stage, StageError
from benchmarks.soak.traffic import Traffic, clients

DESCRIPTORS: Final = 8192
# Of the whole time, before anything is done: what is made with the first requests is there afterwards.
WARM_UP: Final = 0.1
WARM_UP_MAX_S: Final = 20.0
# Of the rest, when workers are killed no more.
WORKER_KILLS: Final = 0.25
QUIET_S: Final = 10.0
SAMPLE_S: Final = 1.0
# Of the samples, those that programs find in the report.
SERIES_EVERY: Final = 10


class Run:
    """One run, once the stage is set."""

    def __init__(self, stage: Stage, options: argparse.Namespace) -> None:
        self._stage = stage
        self._pause_s = options.pause / 1000
        self._seconds = options.minutes * 60
        self._record = Record()
        self._draw = random.Random(options.seed)
        self._disturber = Disturber(stage, self._record, self._draw)
        self._samples = watch.Samples()
        self._span = (0.0, 0.0)
        self._roles: dict[int, str] = {}
        self._before: dict[str, Counter[str]] = {}

    def go(self) -> tuple[list[Check], report.Story]:
        """Everything, in order."""
        uvloop.run(self._traffic())
        checks = self._idle_checks()
        checks += self._end_checks()
        failures, excused, _forbidden = judge.judge_failures(self._record)
        problems = self._disturber.problems
        admin = Check("Every call of the admin API succeeds", not problems, f"{len(problems)} failed", tuple(problems))
        story = dataclasses.replace(
            report.Story.of(self._record, excused, self._disturber.done),
            recoveries={what.value: tuple(values) for what, values in self._disturber.recoveries.items()},
            memory={role: self._samples.series(pid, self._span[0], SERIES_EVERY) for pid, role in self._roles.items()},
        )
        return [failures, admin, *checks], story

    async def _traffic(self) -> None:
        warm_up = min(self._seconds * WARM_UP, WARM_UP_MAX_S)
        async with self._clients():
            await asyncio.sleep(warm_up)
        await asyncio.to_thread(self._look)
        began = time.monotonic()
        end = began + self._seconds - warm_up
        async with self._clients(), asyncio.TaskGroup() as group:
            group.create_task(self._disturber.change())
            group.create_task(self._disturber.harm())
            while (now := time.monotonic()) < end:
                self._stage.balancer.check_alive()
                self._disturber.spare_workers = now > began + (end - began) * WORKER_KILLS
                pids = [self._stage.balancer.pid, *await asyncio.to_thread(self._stage.workers)]
                self._samples.take(pids, now)
                await asyncio.sleep(SAMPLE_S)
            self._disturber.stopping = True
        self._span = (began, time.monotonic())

    def _clients(self) -> Traffic:
        return Traffic(clients(self._stage.sides(), self._record, self._draw), self._pause_s)

    def _look(self) -> None:
        """Descriptors before the incidents."""
        self._wait_quiet()
        self._before["supervisor"] = self._descriptors(self._stage.balancer.pid)
        for pid in self._stage.workers():
            self._before["worker"] = self._before.get("worker", Counter()) | self._descriptors(pid)

    def _descriptors(self, pid: int) -> Counter[str]:
        return Counter(watch.lasting(watch.descriptors(pid, self._stage.ports)))

    def _wait_quiet(self) -> dict[str, int]:
        """Returns what is still in flight or open once nothing is, or after a while."""
        left: dict[str, int] = {}

        def quiet() -> bool:
            nonlocal left
            status = self._stage.ask("GET", "/v1/status")
            left = judge.in_flight(status)
            left |= {
                f"connections of {each['pid']}": each["connections"]
                for each in status["workers"]
                if each["connections"]
            }
            return not left

        within(QUIET_S, quiet)
        return left

    def _idle_checks(self) -> list[Check]:
        left = self._wait_quiet()
        details = tuple(f"{name}: {count}" for name, count in left.items())
        checks = [
            Check("Nothing is in flight or open when all clients have left", not left, f"{len(left)} left", details)
        ]
        workers = self._stage.workers()
        self._roles = {self._stage.balancer.pid: "supervisor"}
        self._roles |= {pid: f"worker {number}" for number, pid in enumerate(workers)}
        for pid, role in self._roles.items():
            before = self._before[role.partition(" ")[0]]
            check = judge.judge_descriptors(role, before, self._descriptors(pid))
            # A connection of a probe or of a call may just be there.
            end = time.monotonic() + QUIET_S
            while not check.passed and time.monotonic() < end:
                time.sleep(0.05)
                check = judge.judge_descriptors(role, before, self._descriptors(pid))
            checks.append(check)
        return checks + judge.judge_memory(self._samples, self._roles, self._span)

    def _end_checks(self) -> list[Check]:
        stage = self._stage
        stage.stop_targets()
        open_still = 0

        def closed() -> bool:
            nonlocal open_still
            counts = [watch.descriptors(pid, stage.ports)[watch.TARGETS] for pid in stage.workers()]
            open_still = sum(counts)
            return not open_still

        within(QUIET_S, closed)
        checks = [Check("Connections to targets end with them", not open_still, f"{open_still} open")]
        try:
            code = stage.end_balancer()
        except subprocess.TimeoutExpired:
            code = -1
        checks.append(Check("The balancer leaves when it is told to", code == 0, f"exit code {code}"))
        checks.append(judge.judge_app_log(stage.app_log))
        seen = (stage.folder / "seen").read_text(encoding="utf-8").split()
        checks.append(judge.judge_twice(seen))
        incidents = self._record.incidents
        lines = compare(
            read(stage.logs()), self._record, lambda started, ended: line_may_be_missing(started, ended, incidents)
        )
        checks.append(judge.judge_lines(lines))
        return checks


def within(seconds: float, good: Callable[[], bool]) -> None:
    """Returns once it is good, or after so many seconds."""
    end = time.monotonic() + seconds
    while not good() and time.monotonic() < end:
        time.sleep(0.05)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the options say."""
    options = _options(arguments)
    raise_descriptor_limit(DESCRIPTORS)
    # A stop from outside ends the run's processes as an interrupt from the terminal does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    environment = {"PYTHONPATH": options.pythonpath} if options.pythonpath else {}
    with contextlib.ExitStack() as ends:
        if options.keep:
            place = Path(tempfile.mkdtemp(prefix="soak-", dir=options.folder))
            sys.stderr.write(f"files of the run: {place}\n")
        else:
            place = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="soak-", dir=options.folder)))
        try:
            stage = ends.enter_context(Stage(place, options.equipoise, environment))
            compiled = bool(stage.ask("GET", "/v1/status")["compiled"])
            checks, story = Run(stage, options).go()
        except (StageError, ProcessFailed) as error:
            sys.stderr.write(f"python -m benchmarks.soak: {error}\n")
            return 2
    circumstances = report.Circumstances(
        date=dt.datetime.now(tz=dt.UTC).date().isoformat(),
        command=f"python -m benchmarks.soak --minutes {options.minutes:g} --seed {options.seed}",
        minutes=(time.monotonic() - began) / 60,
        seed=options.seed,
        # Of another build than this tree's nobody here knows the commit.
        commit="unknown" if options.pythonpath else machine.commit(),
        machine=machine.describe(),
        compiled=compiled,
    )
    text = report.markdown(checks, story, circumstances)
    sys.stdout.write(text)
    if options.report is not None:
        options.report.mkdir(parents=True, exist_ok=True)
        (options.report / "report.md").write_text(text, encoding="utf-8")
        (options.report / "report.json").write_text(report.as_json(checks, story, circumstances), encoding="utf-8")
    return 0 if all(check.passed for check in checks) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description="Everything at once, with kills, for a long time."
    )
    add = parser.add_argument
    add("--minutes", type=float, default=10.0, help="how long clients ask (default 10)")
    add("--seed", type=int, default=1, help="of what is asked and done; when it comes to pass is the machine's")
    add("--pause", type=float, default=60.0, help="the longest pause of a client between two requests, ms (default 60)")
    add(
        "--equipoise",
        default=shlex.join([sys.executable, "-m", "equipoise"]),
        metavar="COMMAND",
        help="how Equipoise is called (default: this interpreter's)",
    )
    add("--pythonpath", default="", help="where that command finds the package (default: as installed)")
    add("--report", type=Path, metavar="DIR", help="where report.md and report.json are written (default: nowhere)")
    add("--folder", help="where files of the run are kept meanwhile (default: the system's temporary folder)")
    add("--keep", action="store_true", help="leave the files of the run where they are: logs, configuration, state")
    options = parser.parse_args(arguments)
    if options.minutes <= 0:
        parser.error("--minutes must be more than 0")
    return options


if __name__ == "__main__":
    sys.exit(main())
