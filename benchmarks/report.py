"""The report of a run: Markdown for people, JSON for programs.

Owns: the tables and the names of the files.
Refuses to know: how the figures were made.
"""

import dataclasses
import datetime as dt
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.limits import Verdict
from benchmarks.model import KEEP_ALIVE, Figures, IdleFigures, MicroFigure, Results, ScenarioResult, Traffic

DISTURBED = 0.1

_HOW = (
    "CPU/request is user and system time of the balancer's whole process tree; figures are medians over interleaved "
    "rounds. Load: 1 thread; wrk, 32 connections, keep-alive, 11 request headers where nothing else is said. Load and "
    "targets share the machine, so requests/s compare the rows with each other and nothing else. `x nginx` compares "
    "rows of the same log setting. benchmarks/README.md says how each balancer is configured."
)


@dataclass(frozen=True)
class Circumstances:
    """When, on what and how a run was made."""

    date: dt.date
    command: str
    minutes: float
    commit: str
    machine: dict[str, str]
    versions: dict[str, str]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, its columns padded so that the source reads as well; all but the first lean to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    cells = [
        [line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]
        for line in lines
    ]
    rule = ["-" * width if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (cells[0], rule, *cells[1:]))


def scenario_table(scenario: ScenarioResult) -> str:
    """The rows of one scenario, the cheapest first."""
    head = ("balancer", "CPU/request us", "min to max", "user", "system", "requests/s", "p50 ms", "p99 ms", "RSS MiB")
    rows = [
        (
            figures.row + (" (FAILED)" if figures.errors else ""),
            f"{figures.cpu_us:.1f}",
            f"{figures.cpu_min_us:.1f} to {figures.cpu_max_us:.1f}",
            f"{figures.user_us:.1f}",
            f"{figures.system_us:.1f}",
            f"{figures.rate:.0f}",
            f"{figures.p50_ms:.2f}",
            f"{figures.p99_ms:.2f}",
            f"{figures.rss_bytes / 2**20:.0f}",
            _ratio(figures, scenario.of("nginx, log" if figures.log else "nginx")),
            _ratio(figures, scenario.of("HAProxy")),
            _ratio(figures, scenario.of("HAProxy, TCP mode")),
        )
        for figures in sorted(scenario.figures, key=lambda each: (bool(each.errors), each.cpu_us))
    ]
    return table((*head, "x nginx", "x HAProxy", "x floor"), rows)


def _how(traffic: Traffic) -> list[str]:
    """How a load differs from that of the first page."""
    if traffic == KEEP_ALIVE:
        return []
    streams = f", {traffic.streams} streams each" if traffic.streams > 1 else ""
    return [f"{traffic.link}; load: {traffic.program}, {traffic.connections} connections{streams}."]


def _ratio(figures: Figures, other: Figures | None) -> str:
    return f"{figures.cpu_us / other.cpu_us:.2f}" if other and other.cpu_us and not figures.errors else ""


def idle_table(idle: Iterable[IdleFigures]) -> str:
    """Memory of idle connections, the smallest first."""
    rows = [
        (
            figures.row + (" (FAILED)" if figures.errors else ""),
            f"{figures.connections}",
            f"{figures.opened_bytes:.0f}",
            f"{figures.kept_bytes:.0f}",
            f"{figures.base_rss_bytes / 2**20:.0f}",
        )
        for figures in sorted(idle, key=lambda each: each.kept_bytes)
    ]
    return table(("balancer", "connections", "B each, opened", "B each, kept alive", "RSS MiB before"), rows)


def micro_table(micro: Iterable[MicroFigure]) -> str:
    """Single operations in both modes."""
    rows = [
        (
            figure.name,
            _number(figure.compiled_ns),
            _number(figure.interpreted_ns),
            f"{figure.interpreted_ns / figure.compiled_ns:.1f}" if figure.compiled_ns and figure.interpreted_ns else "",
        )
        for figure in micro
    ]
    return table(("operation", "compiled ns", "interpreted ns", "ratio"), rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def verdict_table(verdicts: Iterable[Verdict]) -> str:
    """The limits."""
    rows = [
        (
            verdict.limit,
            verdict.where,
            f"{verdict.figure:.2f}" if verdict.unit == "x CPU" else f"{verdict.figure:.0f}",
            f"{verdict.allowed:g} {verdict.unit}",
            "pass" if verdict.passed else "FAIL",
        )
        for verdict in verdicts
    ]
    return table(("limit", "where", "figure", "allowed", "verdict"), rows)


def markdown(results: Results, verdicts: Sequence[Verdict], circumstances: Circumstances) -> str:
    """The whole report."""
    machine = circumstances.machine
    versions = ", ".join(f"{name} {version}" for name, version in circumstances.versions.items())
    parts = [
        f"# Benchmarks of {circumstances.date.isoformat()}",
        f"Made by `{circumstances.command}` in {circumstances.minutes:.1f} minutes, commit {circumstances.commit}.",
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory']}, {machine['kernel']}.",
        f"Versions: {versions}.",
        _HOW,
    ]
    if results.problems:
        parts += ["## Problems", "\n".join(f"- {problem}" for problem in results.problems)]
    if verdicts:
        parts += ["## Limits", verdict_table(verdicts)]
    for scenario in results.scenarios:
        parts += [f"## {scenario.name}", *_how(scenario.traffic), scenario_table(scenario)]
        foreign = max((figures.foreign_share for figures in scenario.figures), default=0.0)
        if foreign > DISTURBED:
            parts.append(f"Disturbed: other programs took up to {foreign:.0%} of the machine during these loads.")
    if results.idle:
        parts += ["## Idle connections, 1 worker", idle_table(results.idle)]
    if results.micro:
        parts += ["## Single operations", micro_table(results.micro)]
    return "\n\n".join(parts) + "\n"


def as_json(results: Results, verdicts: Sequence[Verdict], circumstances: Circumstances) -> str:
    """The same for programs."""
    document = {
        **dataclasses.asdict(circumstances),
        "date": circumstances.date.isoformat(),
        **dataclasses.asdict(results),
        "limits": [{**dataclasses.asdict(verdict), "passed": verdict.passed} for verdict in verdicts],
    }
    return json.dumps(document, indent=1) + "\n"


def save(folder: Path, what: str, markdown_text: str, json_text: str) -> Path:
    """Write both files under the date and what was run; a second run of the day gets a number. Returns the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{dt.datetime.now(tz=dt.UTC).date().isoformat()}-{what}"
    name, number = stem, 1
    while (folder / f"{name}.md").exists():
        number += 1
        name = f"{stem}-{number}"
    (folder / f"{name}.json").write_text(json_text, encoding="utf-8")
    path = folder / f"{name}.md"
    path.write_text(markdown_text, encoding="utf-8")
    return path
