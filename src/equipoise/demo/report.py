"""The report of a demo: from the files of its processes to numbers, marks, text and JSON.

Owns: reading the run's files, the figures of each phase, the report's shapes and its text.
Refuses to know: limits (marks), drawing (plot).
"""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from equipoise.demo import marks, record, samples
from equipoise.demo.lines import Tail, rfc3339
from equipoise.demo.marks import Mark, Moments, Run
from equipoise.demo.samples import Series, Window
from equipoise.demo.scenario import Facts
from equipoise.demo.settings import DemoSettings
from equipoise.demo.target import SAMPLE_MS

MOST_FAILURES_SHOWN: Final = 10
DETAIL_SHOWN: Final = 120


class Phase(msgspec.Struct, frozen=True):
    """One stretch of the run; `mean_in_flight` has no entry for a target that was away."""

    name: str
    from_s: float
    to_s: float
    mean_in_flight: dict[str, float]
    worst_deviation: float | None
    mean_spread: float | None
    spread_ok: float | None
    requests_per_s: float
    answered: dict[str, int]
    mean_latency_ms: float | None


class LogRow(msgspec.Struct, frozen=True):
    """The targets' own log lines of one moment; None where a target logged nothing."""

    at_s: float
    time: str
    in_flight: dict[str, int | None]


class AccessLog(msgspec.Struct, frozen=True):
    """What the balancer's own log says of the run."""

    lines: int
    tried_again: int


class Report(msgspec.Struct, frozen=True):
    """All that is known of a run."""

    passed: bool
    time: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    moments_s: dict[str, float]
    marks: list[Mark]
    phases: list[Phase]
    target_delays_ms: dict[str, float]
    target_log: list[LogRow]
    traffic: record.Summary | None
    failures: list[record.Failure]
    access_log: AccessLog
    balancer: dict[str, Any]


class Data(msgspec.Struct, frozen=True):
    """The run's files, read."""

    settings: DemoSettings
    facts: Facts
    in_flight: dict[str, Series]
    traffic: record.Traffic
    log_rows: list[LogRow]
    access_log: AccessLog
    failed_on: dict[str, str | None]


class _AccessLine(msgspec.Struct):
    request_id: str = ""
    target: str | None = None
    attempts: int = 1


def read(settings: DemoSettings, facts: Facts) -> Data:
    """Reads the files that the run left in the report's directory."""
    file = settings.file
    traffic = record.load(file("traffic.record"))
    failed = {failure.request_id for failure in traffic.failures}
    access_log, failed_on = read_access_log(file("access.log"), failed)
    return Data(
        settings=settings,
        facts=facts,
        in_flight={name: samples.load(file(f"target-{name}.samples")) for name in settings.names},
        traffic=traffic,
        log_rows=read_target_logs({name: file(f"target-{name}.log") for name in settings.names}, facts.moments),
        access_log=access_log,
        failed_on=failed_on,
    )


def read_access_log(path: Path, failed: set[str]) -> tuple[AccessLog, dict[str, str | None]]:
    """Counts the lines and looks up the targets of failed requests; empty without a log."""
    lines = tried_again = 0
    failed_on: dict[str, str | None] = {}
    decoder = msgspec.json.Decoder(_AccessLine)
    if path.exists():
        with path.open("rb") as file:
            for text in file:
                try:
                    line = decoder.decode(text)
                except msgspec.DecodeError:
                    continue
                lines += 1
                tried_again += line.attempts > 1
                if line.request_id in failed:
                    failed_on[line.request_id] = line.target
    return AccessLog(lines, tried_again), failed_on


def read_target_logs(paths: Mapping[str, Path], moments: Moments) -> list[LogRow]:
    """Joins the in-flight lines of all targets by their moment, from the traffic's start to its end."""
    rows: dict[str, dict[str, int | None]] = {}
    for name, path in paths.items():
        with Tail(path) as log:
            for line in log.read():
                if line.get("event") == "in_flight":
                    rows.setdefault(line["time"], dict.fromkeys(paths))[name] = line["in_flight"]
    joined = []
    for time, in_flight in sorted(rows.items()):
        t_ms = round(datetime.fromisoformat(time).timestamp() * 1000)
        if moments.started <= t_ms < moments.ended:
            joined.append(LogRow(round((t_ms - moments.started) / 1000, 1), time, in_flight))
    return joined


def run_of(data: Data) -> Run:
    """What the marks need of it."""
    buckets = data.traffic.buckets
    summary = data.traffic.summary
    return Run(
        moments=data.facts.moments,
        killed=data.settings.killed,
        in_flight=data.in_flight,
        sample_ms=SAMPLE_MS,
        open_requests=None if data.settings.rate else {bucket.t_ms: bucket.in_flight for bucket in buckets},
        failures=data.traffic.failures,
        failed_on=data.failed_on,
        answered=sum(summary.answered.values()) if summary is not None else 0,
    )


def build(data: Data) -> Report:
    """Draws all conclusions."""
    facts, settings = data.facts, data.settings
    moments, cpu = facts.moments, facts.cpu_seconds
    judged = marks.judge(run_of(data))
    answered = sum(sum(bucket.answered.values()) for bucket in data.traffic.buckets)
    return Report(
        passed=all(mark.passed for mark in judged),
        time=rfc3339(moments.started / 1000),
        settings={**msgspec.to_builtins(settings, enc_hook=str), "killed": settings.killed},
        machine={"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        moments_s={
            name: round((moment - moments.started) / 1000, 3)
            for name, moment in msgspec.structs.asdict(moments).items()
        },
        marks=judged,
        phases=phases(data),
        target_delays_ms={name: settings.delay_of(number) for number, name in enumerate(settings.names)},
        target_log=data.log_rows,
        traffic=data.traffic.summary,
        failures=data.traffic.failures,
        access_log=data.access_log,
        balancer={
            **facts.balancer,
            "connections_by_worker": facts.connections,
            "cpu_us_per_request": None if cpu is None or not answered else round(cpu / answered * 1e6, 1),
            "cpu_share": None if cpu is None else round(cpu / facts.cpu_window, 3),
            "exit_code": facts.balancer_exit,
            "in_flight_left_at_targets": facts.in_flight_left,
        },
    )


def phases(data: Data) -> list[Phase]:
    """The figures of the three stretches that the marks judge."""
    moments = data.facts.moments
    others = {name: series for name, series in data.in_flight.items() if name != data.settings.killed}
    stretches = [
        ("all up", Window(moments.started + marks.WARM_UP_MS, moments.killed), data.in_flight),
        (f"without {data.settings.killed}", Window(moments.killed + marks.TAKE_OVER_MS, moments.restarted), others),
        (f"{data.settings.killed} is back", Window(moments.returned + marks.RETURN_MS, moments.ended), data.in_flight),
    ]
    return [phase(data, name, window, targets) for name, window, targets in stretches]


def phase(data: Data, name: str, window: Window, targets: Mapping[str, Series]) -> Phase:
    """The figures of one stretch."""
    started = data.facts.moments.started
    means = {target: samples.mean(series, window) for target, series in targets.items()}
    spreads = [spread for _, spread in samples.spreads(list(targets.values()), window)]
    buckets = [bucket for bucket in data.traffic.buckets if window.start_ms <= bucket.t_ms < window.end_ms]
    answered = {target: sum(bucket.answered.get(target, 0) for bucket in buckets) for target in data.in_flight}
    total = sum(answered.values())
    deviations = samples.deviations(targets, window)
    return Phase(
        name=name,
        from_s=(window.start_ms - started) / 1000,
        to_s=(window.end_ms - started) / 1000,
        mean_in_flight={target: round(value, 2) for target, value in means.items() if value is not None},
        worst_deviation=max((abs(value) for value in deviations.values()), default=None),
        mean_spread=sum(spreads) / len(spreads) if spreads else None,
        spread_ok=sum(spread <= marks.MAX_SPREAD for spread in spreads) / len(spreads) if spreads else None,
        requests_per_s=round(total / max(1, window.end_ms - window.start_ms) * 1000, 1),
        answered=answered,
        mean_latency_ms=round(sum(bucket.latency_sum_ms for bucket in buckets) / total, 1) if total else None,
    )


def to_json(report: Report) -> bytes:
    """The report for programs."""
    return msgspec.json.format(msgspec.json.encode(report, enc_hook=str), indent=2) + b"\n"


def to_text(report: Report) -> str:
    """The report for people."""
    parts = [
        _headline(report),
        _marks_text(report.marks),
        _phases_text(report),
        _log_text(report.target_log),
        _traffic_text(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _headline(report: Report) -> str:
    settings = report.settings
    missed = sum(not mark.passed for mark in report.marks)
    verdict = "all marks met" if report.passed else f"{missed} of {len(report.marks)} marks missed"
    rate, concurrency = settings["rate"], settings["concurrency"]
    kind = f"{rate:g} requests/s" if rate else f"{concurrency} requests open"
    moments = report.moments_s
    compiled = report.balancer.get("compiled")
    mode = "" if compiled is None else " (compiled)" if compiled else " (interpreted)"
    return (
        f"Equipoise demo, {report.time}: {verdict.upper()}\n"
        f"{settings['targets']} targets, {settings['workers']} worker(s){mode}, {settings['algorithm']}, {kind}, "
        f"{moments['ended']:.0f} s\n"
        f"target {settings['killed']} killed at {moments['killed']:.1f} s, "
        f"started again at {moments['restarted']:.1f} s, listening at {moments['returned']:.1f} s"
    )


def _marks_text(judged: Sequence[Mark]) -> str:
    rows = [("", "mark", "limit", "measured")]
    rows += [("pass" if mark.passed else "MISS", mark.says, mark.limit, mark.shown) for mark in judged]
    return "Marks\n" + _table(rows)


def _phases_text(report: Report) -> str:
    names = list(report.target_delays_ms)
    rows = [("phase", "seconds", *names, "worst", "spread", "<= 2", "requests/s", "mean ms")]
    rows += [
        (
            one.name,
            f"{one.from_s:.1f}-{one.to_s:.1f}",
            *(_number(one.mean_in_flight.get(name), ".2f") for name in names),
            _number(one.worst_deviation, ".1%"),
            _number(one.mean_spread, ".2f"),
            _number(one.spread_ok, ".1%"),
            f"{one.requests_per_s:.0f}",
            _number(one.mean_latency_ms, ".1f"),
        )
        for one in report.phases
    ]
    delays = ("mean delay, ms", "", *(f"{delay:.0f}" for delay in report.target_delays_ms.values()))
    rows.append((*delays, *("" for _ in range(len(rows[0]) - len(delays)))))
    return f"Mean requests in flight per target, from samples every {SAMPLE_MS} ms\n" + _table(rows)


def _log_text(log: Sequence[LogRow]) -> str:
    if not log:
        return ""
    names = list(log[0].in_flight)
    rows = [("time", "at s", *names, "spread")]
    for row in log:
        known = [count for count in row.in_flight.values() if count is not None]
        counts = (_number(row.in_flight[name], "d") for name in names)
        rows.append((row.time, f"{row.at_s:.1f}", *counts, str(max(known) - min(known)) if known else "-"))
    return "Requests in flight, the targets' own log lines\n" + _table(rows)


def _traffic_text(report: Report) -> str:
    lines = ["Traffic"]
    summary = report.traffic
    if summary is not None:
        answered = sum(summary.answered.values())
        methods = f"{summary.gets:,} GET, {summary.posts:,} POST"
        shares = ", ".join(f"{name} {count:,}" for name, count in sorted(summary.answered.items()))
        lines.append(f"  {summary.started:,} requests ({methods}), {answered:,} answered")
        lines.append(f"  answered by {shares}")
        lines.append("  latency in ms: " + ", ".join(f"{name} {value:g}" for name, value in summary.latency_ms.items()))
    lines.append(f"  {len(report.failures)} failed")
    for failure in report.failures[:MOST_FAILURES_SHOWN]:
        ended = f"{failure.kind} after {failure.end_ms - failure.start_ms:.0f} ms {failure.detail[:DETAIL_SHOWN]}"
        lines.append(f"    {failure.method} {failure.request_id}: {ended}".rstrip())
    if len(report.failures) > MOST_FAILURES_SHOWN:
        lines.append("    ... all of them are in report.json")
    balancer = report.balancer
    lines += [
        "Balancer",
        f"  access log: {report.access_log.lines:,} lines, {report.access_log.tried_again:,} of them tried again",
        f"  connections by worker: {balancer['connections_by_worker'] or 'unknown'}",
    ]
    cost = balancer["cpu_us_per_request"]
    lines.append(
        f"  CPU: {'unknown' if cost is None else f'{cost} us a request, supervisor and health probes included'}"
    )
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be; the first row is underlined; numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    right = [all(row[column][:1] in "0123456789-" for row in rows[1:] if row[column]) for column in range(len(widths))]
    lines = []
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append("  " + "  ".join(cells).rstrip())
        if number == 0:
            lines.append("  " + "  ".join("-" * width for width in widths))
    return "\n".join(lines)
