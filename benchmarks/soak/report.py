"""The report of a soak: Markdown for people, JSON for programs.

Owns: the tables.
Refuses to know: how anything was found out.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.report import table
from benchmarks.soak.judge import Check
from benchmarks.soak.record import Record, What
from benchmarks.soak.rules import DESCRIPTIONS


@dataclass(frozen=True)
class Circumstances:
    """When, on what and how a run was made."""

    date: str
    command: str
    minutes: float
    seed: int
    commit: str
    machine: Mapping[str, str]
    compiled: bool


@dataclass(frozen=True)
class Story:
    """What happened, as counts."""

    answered: Mapping[str, int]
    abandoned: Mapping[str, int]
    excused: Mapping[str, int]
    done: Mapping[str, int]
    incidents: Mapping[str, int]
    recoveries: Mapping[str, Sequence[float]]
    # For each process: seconds into the run, and bytes of its own memory and of all it has resident.
    memory: Mapping[str, Sequence[tuple[float, int, int]]]

    @classmethod
    def of(cls, record: Record, excused: Mapping[str, int], done: Mapping[str, int]) -> "Story":
        """From the record; recoveries and memory are filled in by whoever measured them."""
        incidents = {what.value: sum(each.what is what for each in record.incidents) for what in What}
        return cls(dict(record.answered), dict(record.abandoned), dict(excused), dict(done), incidents, {}, {})


def markdown(checks: Sequence[Check], story: Story, circumstances: Circumstances) -> str:
    """The whole report."""
    machine = circumstances.machine
    mode = "compiled" if circumstances.compiled else "interpreted"
    failed = [check for check in checks if not check.passed]
    parts = [
        f"# Soak of {circumstances.date}",
        (
            f"Made by `{circumstances.command}` in {circumstances.minutes:.1f} minutes, commit "
            f"{circumstances.commit}, {mode}. Machine: {machine['processor']}, {machine['cores']} cores, "
            f"{machine['memory']}, {machine['kernel']}; clients and targets share it."
        ),
        "All checks passed." if not failed else f"{len(failed)} of {len(checks)} checks failed.",
        "## Checks",
        table(("check", "verdict", "figure"), [(c.name, "pass" if c.passed else "FAIL", c.figure) for c in checks]),
    ]
    for check in failed:
        parts += [f"### {check.name}", "```text\n" + "\n".join(check.details or (check.figure,)) + "\n```"]
    rows = [(name, f"{count}", f"{story.abandoned.get(name, 0)}") for name, count in _all(story)]
    parts += ["## Requests", table(("client", "answered", "given up on purpose"), rows)]
    rows = [(name, f"{count}", _seconds(story.recoveries.get(name, ()))) for name, count in story.incidents.items()]
    parts += ["## Incidents", table(("what was done", "times", "until all was up again"), rows)]
    parts += ["## Changes", table(("what was changed", "times"), _counts(story.done))]
    parts += ["## What may fail", "\n".join(f"- **{what.value}**: {text}" for what, text in DESCRIPTIONS.items())]
    parts += ["Everything else must be answered, and rightly. What failed and was allowed to:"]
    parts += [table(("why", "requests"), _counts(story.excused)) if story.excused else "Nothing."]
    return "\n\n".join(parts) + "\n"


def as_json(checks: Sequence[Check], story: Story, circumstances: Circumstances) -> str:
    """The same for programs."""
    document = {
        **dataclasses.asdict(circumstances),
        "passed": all(check.passed for check in checks),
        "checks": [dataclasses.asdict(check) for check in checks],
        **dataclasses.asdict(story),
    }
    return json.dumps(document, indent=1) + "\n"


def _all(story: Story) -> list[tuple[str, int]]:
    return [(name, story.answered.get(name, 0)) for name in sorted({*story.answered, *story.abandoned})]


def _counts(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(name, f"{count}") for name, count in sorted(counts.items())]


def _seconds(values: Sequence[float]) -> str:
    if not values:
        return ""
    middle = sorted(values)[len(values) // 2]
    return f"{middle:.2f} s at the median, {max(values):.2f} s at most"
