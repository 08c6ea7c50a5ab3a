"""In-flight numbers over time, of one target and of several joined.

Owns: series by tick, their means, the spread.
Refuses to know: where limits lie (marks), how numbers are shown.

A series maps ticks (milliseconds of the wall clock, multiples of the sample period) to the number in flight.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec

Series = Mapping[int, float]


class Window(msgspec.Struct, frozen=True):
    """A stretch of time in milliseconds; its end does not belong to it."""

    start_ms: int
    end_ms: int

    def cut(self, series: Series) -> list[float]:
        """The values within."""
        return [value for tick, value in series.items() if self.start_ms <= tick < self.end_ms]


class _Sample(msgspec.Struct):
    t_ms: int
    in_flight: int


def load(path: Path) -> dict[int, float]:
    """Reads the samples file of a target; lines torn by a kill are left out."""
    decoder = msgspec.json.Decoder(_Sample)
    series: dict[int, float] = {}
    for line in path.read_bytes().splitlines():
        try:
            sample = decoder.decode(line)
        except msgspec.DecodeError:
            continue
        series[sample.t_ms] = sample.in_flight
    return series


def mean(series: Series, window: Window) -> float | None:
    """None without a sample."""
    values = window.cut(series)
    return sum(values) / len(values) if values else None


def deviations(all_series: Mapping[str, Series], window: Window) -> dict[str, float]:
    """How far each target's mean is from the mean of all, as a share of that; empty when one of them has no sample."""
    means = {name: mean(series, window) for name, series in all_series.items()}
    known = {name: value for name, value in means.items() if value is not None}
    if len(known) < len(means) or not known:
        return {}
    middle = sum(known.values()) / len(known)
    return {name: (value - middle) / middle if middle else 0.0 for name, value in known.items()}


def spreads(all_series: Collection[Series], window: Window) -> list[tuple[int, float]]:
    """Largest minus smallest at each tick at which all targets have a sample."""
    if not all_series:
        return []
    first, *others = all_series
    shared = set(first).intersection(*others)
    ticks = sorted(tick for tick in shared if window.start_ms <= tick < window.end_ms)
    values = [[series[tick] for series in all_series] for tick in ticks]
    return [(tick, max(row) - min(row)) for tick, row in zip(ticks, values, strict=True)]


def smooth(points: Sequence[tuple[int, float]], width_ms: int, gap_ms: int) -> list[tuple[int, float | None]]:
    """The running mean over `width_ms` around each point; a gap in the samples stays one (None)."""
    smoothed: list[tuple[int, float | None]] = []
    run: list[tuple[int, float]] = []
    for point in points:
        if run and point[0] - run[-1][0] > gap_ms:
            smoothed += _smooth_run(run, width_ms)
            smoothed.append((run[-1][0] + 1, None))
            run = []
        run.append(point)
    return smoothed + _smooth_run(run, width_ms)


def _smooth_run(run: Sequence[tuple[int, float]], width_ms: int) -> list[tuple[int, float | None]]:
    half = width_ms // 2
    out: list[tuple[int, float | None]] = []
    low = high = 0
    total = 0.0
    for tick, _ in run:
        while high < len(run) and run[high][0] <= tick + half:
            total += run[high][1]
            high += 1
        while run[low][0] < tick - half:
            total -= run[low][1]
            low += 1
        out.append((tick, total / (high - low)))
    return out
