"""The access log against the record: one line for each request that was answered, with the status its client saw.

Owns: the reading of the log's files, and the comparison.
Refuses to know: which missing line is allowed; it is told by a function.
"""

import json
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.soak.record import UNKNOWN, Record, number_of

EXAMPLES = 5


@dataclass
class Lines:
    """What the comparison found. Examples are a few of each kind, for people."""

    lines: int = 0
    refreshes: int = 0
    torn: int = 0
    missing: int = 0
    allowed_missing: int = 0
    twice: int = 0
    strange: int = 0
    different: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, what: str) -> None:
        """Keeps a few."""
        if len(self.examples) < EXAMPLES:
            self.examples.append(what)


def read(paths: Iterable[Path]) -> Iterable[bytes]:
    """The lines of all files, whole or not."""
    for path in paths:
        with path.open("rb") as file:
            yield from file


def compare(lines: Iterable[bytes], record: Record, may_be_missing: Callable[[float, float], bool]) -> Lines:
    """Looks at every line, then at every request.

    Args:
        lines: of the access log, JSON.
        record: all requests.
        may_be_missing: whether the line of a request that lasted from one moment to the other may be missing.
    """
    found = Lines()
    seen = array("B", bytes(len(record.statuses)))
    for line in lines:
        found.lines += 1
        _line(line, record, seen, found)
    for number, status in enumerate(record.statuses):
        if status != UNKNOWN and not seen[number]:
            started, ended = record.starts[number], record.ends[number]
            if may_be_missing(started, ended):
                found.allowed_missing += 1
            else:
                found.missing += 1
                found.note(f"request {number}, answered {status} after {ended - started:.3f} s, has no line")
    return found


def _line(line: bytes, record: Record, seen: "array[int]", found: Lines) -> None:
    try:
        fields = json.loads(line)
    except ValueError:
        found.torn += 1
        found.note(f"not JSON: {line[:200]!r}")
        return
    number = number_of(fields["request_id"])
    if not 0 <= number < len(seen):
        # A head that was cut off has no request id, and the cache's own requests have one of the balancer's.
        if fields["protocol"] == "refresh":
            found.refreshes += 1
        elif fields["error"] != "client_left (downstream)" and fields["method"]:
            found.strange += 1
            found.note(f"of no request: {line[:300]!r}")
        return
    if seen[number]:
        found.twice += 1
        found.note(f"a second line: {line[:300]!r}")
    seen[number] = 1
    if record.statuses[number] not in {UNKNOWN, fields["status"]}:
        found.different += 1
        found.note(f"the client saw {record.statuses[number]}: {line[:300]!r}")
