"""What the traffic writes down: totals per 100 ms, and every failure by itself.

Owns: the record's shapes, adding up, the JSON lines, reading them back.
Refuses to know: how requests are sent; what the numbers are good for.
"""

from array import array
from pathlib import Path
from typing import Final, TextIO

import msgspec

BUCKET_MS: Final = 100


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request that did not get a good answer. `kind` is a status or what went wrong with the connection."""

    request_id: str
    method: str
    start_ms: float
    end_ms: float
    kind: str
    detail: str = ""


class Bucket(msgspec.Struct):
    """What ended within 100 ms of the wall clock, and how many were open at its end."""

    t_ms: int
    in_flight: int = 0
    started: int = 0
    answered: dict[str, int] = {}
    failed: dict[str, int] = {}
    latency_sum_ms: float = 0.0
    latency_max_ms: float = 0.0


class Summary(msgspec.Struct, frozen=True):
    """The whole run."""

    started: int
    answered: dict[str, int]
    failed: dict[str, int]
    gets: int
    posts: int
    connections: int
    latency_ms: dict[str, float]


class Line(msgspec.Struct, omit_defaults=True):
    """One line of the record: exactly one of its fields is there."""

    bucket: Bucket | None = None
    failure: Failure | None = None
    summary: Summary | None = None


class Record:
    """Adds up while the traffic runs and writes a line per bucket and per failure."""

    def __init__(self, file: TextIO) -> None:
        # For the run.
        self.in_flight = 0
        self.connections = 0
        self._file = file
        self._latencies = array("f")
        self._methods = {"GET": 0, "POST": 0}
        self._answered: dict[str, int] = {}
        self._failed: dict[str, int] = {}
        # For one bucket.
        self._bucket = Bucket(0)

    def start(self, method: str) -> None:
        """A request is due."""
        self.in_flight += 1
        self._methods[method] += 1
        self._bucket.started += 1

    def answer(self, target: str, latency_ms: float) -> None:
        """A request got its right answer, made by this target."""
        self.in_flight -= 1
        self._latencies.append(latency_ms)
        bucket = self._bucket
        bucket.answered[target] = bucket.answered.get(target, 0) + 1
        bucket.latency_sum_ms += latency_ms
        bucket.latency_max_ms = max(bucket.latency_max_ms, latency_ms)

    def fail(self, failure: Failure) -> None:
        """A request got none."""
        self.in_flight -= 1
        self._bucket.failed[failure.kind] = self._bucket.failed.get(failure.kind, 0) + 1
        self._write(Line(failure=failure))

    def close_bucket(self, t_ms: int) -> None:
        """Writes what came together since the last call, as the 100 ms that end at this moment."""
        bucket = self._bucket
        bucket.t_ms = t_ms
        bucket.in_flight = self.in_flight
        for total, part in ((self._answered, bucket.answered), (self._failed, bucket.failed)):
            for name, count in part.items():
                total[name] = total.get(name, 0) + count
        self._write(Line(bucket=bucket))
        self._bucket = Bucket(0)

    def finish(self, t_ms: int) -> Summary:
        """Writes the last bucket and the summary."""
        self.close_bucket(t_ms)
        summary = Summary(
            started=sum(self._methods.values()),
            answered=self._answered,
            failed=self._failed,
            gets=self._methods["GET"],
            posts=self._methods["POST"],
            connections=self.connections,
            latency_ms=percentiles(self._latencies),
        )
        self._write(Line(summary=summary))
        return summary

    def _write(self, line: Line) -> None:
        self._file.write(msgspec.json.encode(line).decode() + "\n")


class Traffic(msgspec.Struct):
    """A record read back."""

    buckets: list[Bucket]
    failures: list[Failure]
    summary: Summary | None


def load(path: Path) -> Traffic:
    """Reads a record; a torn last line is left out."""
    traffic = Traffic([], [], None)
    decoder = msgspec.json.Decoder(Line)
    for text in path.read_bytes().splitlines():
        try:
            line = decoder.decode(text)
        except msgspec.DecodeError:
            continue
        if line.bucket is not None:
            traffic.buckets.append(line.bucket)
        elif line.failure is not None:
            traffic.failures.append(line.failure)
        else:
            traffic.summary = line.summary
    return traffic


def percentiles(latencies: "array[float]") -> dict[str, float]:
    """The usual ones, by nearest rank; empty without samples."""
    if not latencies:
        return {}
    ordered = sorted(latencies)
    last = len(ordered) - 1
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    found = {name: round(ordered[round(share * last)], 1) for name, share in shares.items()}
    return {"mean": round(sum(ordered) / len(ordered), 1), **found}
