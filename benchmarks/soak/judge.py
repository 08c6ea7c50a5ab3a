"""The checks of a run: what passed, what did not, with figures.

Owns: `Check`, and how each is made from what was recorded.
Refuses to know: how it was recorded, how the report looks.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.soak.lines import Lines
from benchmarks.soak.record import Failure, Incident, Record
from benchmarks.soak.rules import excuse
from benchmarks.soak.watch import Memory, Samples, slope

# Bytes per second of own memory that a process may grow by in the second half, and how long a run must be to tell: what
# the allocator keeps moves by more than that within a minute.
SLOPE_LIMIT: Final = 4096.0
SLOPE_MINUTES: Final = 4.0
EXAMPLES: Final = 10
# What uvloop tells the loop when its TLS protocol writes once more to a connection that is closed beneath it. Seen in
# the supervisor, whose only TLS connections are its probes, while the TLS target was frozen; no request was touched.
LATE_WRITE: Final = "Fatal error on SSL protocol"
CLOSED: Final = "the handler is closed"


@dataclass(frozen=True)
class Check:
    """One rule, and whether it was kept."""

    name: str
    passed: bool
    figure: str
    details: tuple[str, ...] = ()


def judge_failures(record: Record) -> tuple[Check, Counter[str], list[Failure]]:
    """Every failure needs an incident that allows it.

    Returns:
        The check, how many failures were excused by what and how, and those that nothing excuses.
    """
    excused: Counter[str] = Counter()
    forbidden = []
    for failure in record.failures:
        incident = excuse(failure, record.incidents)
        if incident is None:
            forbidden.append(failure)
        else:
            status = f" {failure.status}" if failure.status else ""
            excused[f"{incident.what.value}: {failure.request.client}, {failure.loss.value}{status}"] += 1
    figure = f"{len(forbidden)} of {len(record.statuses)} requests"
    details = tuple(f"{failure} ({_nearest(failure, record.incidents)})" for failure in forbidden[:EXAMPLES])
    return Check("No request fails that may not", not forbidden, figure, details), excused, forbidden


def judge_twice(request_ids: Iterable[str]) -> Check:
    """No POST, call or upload may have reached targets twice."""
    counts = Counter(request_ids)
    twice = [f"{name}: {count} times" for name, count in counts.items() if count > 1]
    figure = f"{len(twice)} of {len(counts)}"
    return Check("No POST and no call reaches a target twice", not twice, figure, tuple(twice[:EXAMPLES]))


def judge_lines(found: Lines) -> Check:
    """Each answered request has its line. A torn line needs a killed worker, which a run without kills has not."""
    wrong = found.missing + found.twice + found.strange + found.different
    figure = (
        f"{found.lines} lines; {found.missing} missing, {found.twice} twice, {found.strange} of no request, "
        f"{found.different} with another status; {found.allowed_missing} lost with a killed worker, {found.torn} torn"
    )
    passed = wrong == 0
    return Check("Each answered request has one line in the access log", passed, figure, tuple(found.examples))


def judge_memory(samples: Samples, roles: Mapping[int, str], span: tuple[float, float]) -> list[Check]:
    """The slope of own memory over the second half of a run, for each process that lived through it.

    Args:
        samples: of the whole run.
        roles: what each process is, by its pid.
        span: begin and end of the run, seconds.
    """
    began, ended = span
    long_enough = ended - began >= SLOPE_MINUTES * 60
    checks = []
    for pid, role in roles.items():
        points = samples.own_since(pid, (began + ended) / 2)
        rate = slope(points)
        last = samples.points[pid][-1][1] if pid in samples.points else Memory(0, 0)
        figure = f"{rate * 60 / 1024:+.1f} KiB a minute; at the end {last.own / 2**20:.1f} MiB of its own, "
        figure += f"{last.resident / 2**20:.1f} MiB resident"
        if not long_enough:
            figure += " (too short a run to judge)"
        checks.append(Check(f"Memory of the {role} is flat", rate <= SLOPE_LIMIT or not long_enough, figure))
    return checks


def judge_descriptors(role: str, before: Mapping[str, int], after: Mapping[str, int]) -> Check:
    """No kind of descriptor may have become more."""
    grown = tuple(
        f"{kind}: {before.get(kind, 0)}, then {count}" for kind, count in after.items() if count > before.get(kind, 0)
    )
    figure = f"{sum(before.values())} before, {sum(after.values())} after"
    return Check(f"Descriptors of the {role} are as before", not grown, figure, grown)


def in_flight(status: Mapping[str, Any]) -> dict[str, int]:
    """The counts above 0 in a status, by pool and target; and the spreads that are not."""
    return {
        f"{pool}/{target['name']}": int(target["in_flight"])
        for pool, each in status["pools"].items()
        for target in each["targets"]
        if target["in_flight"] != 0
    }


def judge_app_log(text: str) -> Check:
    """The balancer may say what happened, but no exception of its own may have."""
    broken, events, late = [], Counter[str](), 0
    for line in text.splitlines():
        try:
            fields = json.loads(line)
        except ValueError:
            broken.append(line[:300])
            continue
        events[str(fields.get("event"))] += 1
        if fields.get("event") == LATE_WRITE and CLOSED in str(fields.get("exception")):
            late += 1
        elif "traceback" in fields or "exception" in fields:
            broken.append(line[:600])
    figure = ", ".join(f"{name} {count}" for name, count in events.most_common(12))
    if late:
        figure += f"; {late} of uvloop's own about TLS connections that had ended"
    return Check("No exception inside the balancer", not broken, figure, tuple(broken[:EXAMPLES]))


def _nearest(failure: Failure, incidents: Sequence[Incident]) -> str:
    """When a failure was, seen from the incident before its end; for whoever looks into it."""
    before = [each for each in incidents if each.began <= failure.ended]
    took = failure.ended - failure.request.started
    if not before:
        return f"took {took:.3f} s, before any incident"
    last = max(before, key=lambda each: each.began)
    began, ended = failure.request.started - last.began, failure.ended - last.began
    return f"{began:+.3f} to {ended:+.3f} s from: {last.what.value}, {last.name}"
