"""The command: `python -m benchmarks`.

Owns: the options, the order of a run, the exit code.
Refuses to know: how anything is measured.

Exit codes: 0 measured and every limit met; 1 a limit missed, or a load that failed; 2 wrong usage or a missing program.
"""

import argparse
import contextlib
import datetime as dt
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import certificate, drive, idle, limits, machine, measure, micro, origin, plan, report
from benchmarks.model import Build, Group, Link, Results, Row
from benchmarks.process import raise_descriptor_limit
from benchmarks.rows import MissingProgram, Programs

HERE = Path(__file__).parent
DESCRIPTORS = 32_768
FULL_MINUTES = 40.0
QUICK_MINUTES = 3.0
SETTLE_S = 10.0  # kept back from the budget for ending processes and writing the report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the options say."""
    options = _options(arguments)
    try:
        builds, choice = _builds(options), _choice(options)
        planned = plan.groups(builds, choice)
        idle_rows = plan.idle_rows(builds, choice)
        programs = Programs(Path(options.peers_venv))
        names = _needed(planned, idle_rows)
        for name in names:
            programs.find(name)
    except (ValueError, MissingProgram) as error:
        _say(f"python -m benchmarks: {error}")
        return 2
    # A stop from outside ends the run's processes as an interrupt from the terminal does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    results = Results()
    budget_s = (options.minutes or (QUICK_MINUTES if options.quick else FULL_MINUTES)) * 60 - SETTLE_S
    if choice.wants("micro") and not options.quick:
        _say("single operations")
        results.micro, problems = micro.measure(builds[0], HERE.parent / "src")
        results.problems += problems
    if planned or idle_rows:
        _measure(options, programs, (planned, idle_rows), began + budget_s, results)
    verdicts = limits.verdicts(results, [build.name for build in builds])
    circumstances = report.Circumstances(
        date=dt.datetime.now(tz=dt.UTC).date(),
        command=_command_line(arguments),
        minutes=(time.monotonic() - began) / 60,
        commit=machine.commit(),
        machine=machine.describe(),
        versions=machine.versions(programs, builds, names),
    )
    return _finish(options, results, verdicts, circumstances)


def _measure(
    options: argparse.Namespace,
    programs: Programs,
    planned: tuple[Sequence[Group], Sequence[Row]],
    deadline: float,
    results: Results,
) -> None:
    """Start the targets, then carry out the plan."""
    groups, idle_rows = planned
    descriptors = raise_descriptor_limit(DESCRIPTORS)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-", dir=options.folder)))
        driver = drive.Driver(folder, programs.find)
        driver.prepare()
        http2 = any(row.link is Link.HTTP2 for group in groups for row in group.rows)
        nghttpd = programs.find("nghttpd") if http2 else None
        targets = stack.enter_context(origin.running(programs.find("nginx"), nghttpd, folder / "origin"))
        bench = measure.Bench(
            folder=folder,
            programs=programs,
            origin=targets,
            driver=driver,
            certificate=certificate.make(folder),
            say=_say,
            deadline=deadline,
            random=random.Random(options.seed),
            require_compiled=not options.allow_interpreted,
        )
        for group in groups:
            _say(f"{group.workers} worker(s): {', '.join(row.name for row in group.rows)}")
            measure.measure_group(bench, group, results)
        if idle_rows:
            _say("idle connections")
            idle.measure_idle(bench, idle_rows, descriptors, results)


def _finish(
    options: argparse.Namespace,
    results: Results,
    verdicts: Sequence[limits.Verdict],
    circumstances: report.Circumstances,
) -> int:
    """Print and save the report; say at the end, where it is seen, what went wrong."""
    text = report.markdown(results, verdicts, circumstances)
    sys.stdout.write(text)
    if not options.no_save:
        what = "quick" if options.quick else "-".join(options.scenario) or "all"
        path = report.save(Path(options.results), what, text, report.as_json(results, verdicts, circumstances))
        _say(f"saved as {path.name}")
    missed = [verdict for verdict in verdicts if not verdict.passed]
    for verdict in missed:
        _say(f"LIMIT MISSED: {verdict.limit}, {verdict.where}: {verdict.figure:.2f}, allowed {verdict.allowed:g}")
    for problem in results.problems:
        _say(f"PROBLEM: {problem}")
    return 1 if missed or results.problems else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Equipoise beside its peers.")
    add = parser.add_argument
    add("--quick", action="store_true", help="under 3 minutes: 1 worker; 100 B, 1 MiB and idle connections")
    add("--scenario", action="append", default=[], choices=plan.SCENARIOS, help="only this one; repeatable")
    add(
        "--row",
        action="append",
        default=[],
        metavar="NAME",
        help="only this balancer (nginx; 'nginx, log'); repeatable",
    )
    add("--workers", action="append", default=[], type=int, help="only this number of workers; repeatable")
    add("--rounds", type=int, help="rounds of each scenario")
    add("--seconds", type=int, help="measured seconds of each load")
    add("--minutes", type=float, help=f"the run ends after so many (default {FULL_MINUTES:g}, quick {QUICK_MINUTES:g})")
    add("--equipoise", action="append", default=[], metavar="NAME=PYTHONPATH", help="another Equipoise in the same run")
    add("--pythonpath", default="", help="where the row `equipoise` finds the package (default: as installed)")
    add("--python", default=sys.executable, help="the interpreter of every Equipoise (default: this one)")
    add(
        "--other",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="another balancer; {port}, {targets}, {workers}",
    )
    add("--no-equipoise", action="store_true", help="measure the peers only")
    add("--allow-interpreted", action="store_true", help="do not insist on a compiled Equipoise")
    add("--peers-venv", default=str(HERE.parent / ".bench-venv"), help="made from benchmarks/requirements.lock")
    add("--folder", default=None, help="where the run's configuration and access logs lie (default: the system's)")
    add("--results", default=str(HERE / "results"), help="where the report is saved")
    add("--no-save", action="store_true", help="print the report only")
    add("--seed", type=int, default=1, help="of the order of the rows within each round")
    return parser.parse_args(arguments)


def _builds(options: argparse.Namespace) -> list[Build]:
    """The installed Equipoise first, then those named."""
    python = str(Path(options.python).absolute())
    builds = [] if options.no_equipoise else [Build(plan.DEFAULT_BUILD, python, _absolute(options.pythonpath))]
    for text in options.equipoise:
        name, path = _pair(text, "--equipoise")
        builds.append(Build(name, python, _absolute(path)))
    return builds


def _choice(options: argparse.Namespace) -> plan.Choice:
    base = plan.QUICK if options.quick else plan.FULL
    length = plan.Length(
        rounds=options.rounds or base.rounds,
        rounds_big=options.rounds or base.rounds_big,
        seconds=options.seconds or base.seconds,
    )
    others = [_pair(text, "--other") for text in options.other]
    scenarios, workers, rows = tuple(options.scenario), tuple(options.workers), tuple(options.row)
    if options.quick:
        scenarios, workers = scenarios or ("100B", "1MiB", "idle"), workers or (1,)
    return plan.Choice(
        scenarios=scenarios,
        rows=rows,
        workers=workers or (1, 2),
        length=length,
        idle_peers=not options.quick or "idle" in options.scenario,
        others=tuple(Row(name, "other", command=command) for name, command in others),
    )


def _pair(text: str, option: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise ValueError(f"{option} takes NAME=VALUE, not {text!r}")
    return name, value


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if path else ""


def _needed(groups: Sequence[Group], idle_rows: Sequence[Row]) -> list[str]:
    """The programs of a plan."""
    kinds = [row.kind for group in groups for row in group.rows] + [row.kind for row in idle_rows]
    peers = [kind for kind in dict.fromkeys(kinds) if kind not in {"equipoise", "other", "nginx"}]
    loads = [scenario.traffic.program for group in groups for scenario in group.scenarios]
    loads += ["wrk"] if idle_rows else []
    loads += ["nghttpd"] if any(row.link is Link.HTTP2 for group in groups for row in group.rows) else []
    return ["nginx", *peers, *dict.fromkeys(loads)] if kinds else []


def _command_line(arguments: Sequence[str] | None) -> str:
    """The command as typed, less the values that are paths of this machine."""
    typed = list(sys.argv[1:] if arguments is None else arguments)
    hidden = {"--pythonpath", "--python", "--peers-venv", "--folder", "--results", "--equipoise", "--other"}
    shown = []
    for before, word in zip(["", *typed], typed, strict=False):
        option, sign, _ = word.partition("=")
        shown.append(f"{option}=..." if sign and option in hidden else "..." if before in hidden else word)
    return " ".join(["python -m benchmarks", *shown])


def _say(line: str) -> None:
    """Progress goes to standard error, the report to standard output."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(main())
