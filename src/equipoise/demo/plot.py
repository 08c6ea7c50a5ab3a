"""The picture of a demo: requests in flight per target over time, the rate by target, the spread and the failures.

Owns: the drawing; SVG that follows the reader's light or dark theme, PNG in both.
Refuses to know: how the numbers came about.

matplotlib comes with the extra `equipoise[demo]`; it is loaded here alone.
"""

import re
from collections.abc import Sequence
from io import BytesIO, StringIO
from itertools import pairwise
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from equipoise.demo import samples
from equipoise.demo.report import Data, Report
from equipoise.demo.samples import Series, Window
from equipoise.demo.target import SAMPLE_MS

SMOOTH_MS: Final = 500
RATE_MS: Final = 500
BAND_MS: Final = 250


class Theme:
    """The colours of one appearance."""

    def __init__(self, paper: str, ink: str, faint: str, line: str, alarm: str) -> None:
        self.paper = paper
        self.ink = ink
        self.faint = faint
        self.line = line
        self.alarm = alarm

    def colours(self) -> tuple[str, ...]:
        """In a fixed order, so that two themes can be matched."""
        return (self.paper, self.ink, self.faint, self.line, self.alarm)


LIGHT: Final = Theme("#ffffff", "#1b2430", "#5c6878", "#dfe4ea", "#c8102e")
DARK: Final = Theme("#0f151d", "#e8edf3", "#9aa7b6", "#2a3441", "#ff6b7d")
# The targets that stay: blues and greens that differ in lightness too; the one that is killed: the only warm colour.
# All of them have enough contrast on both papers.
STAYING: Final = ("#3f7fd6", "#2aa198", "#7a6ff0", "#5b8c3a", "#2f9fd0", "#9a62c7", "#4f9d69", "#6d83a8")
KILLED: Final = "#e8871e"


class Picture:
    """One drawing in one theme."""

    def __init__(self, data: Data, report: Report, theme: Theme) -> None:
        self._data = data
        self._report = report
        self._theme = theme
        self._moments = data.facts.moments
        staying = [name for name in data.settings.names if name != data.settings.killed]
        self._colours = {name: STAYING[number % len(STAYING)] for number, name in enumerate(staying)}
        self._colours[data.settings.killed] = KILLED

    def draw(self) -> Figure:
        """All of it."""
        theme = self._theme
        figure = Figure(figsize=(11, 8.2), facecolor=theme.paper)
        top, middle, bottom = figure.subplots(
            3, 1, sharex=True, gridspec_kw={"height_ratios": [5, 2.6, 1.5], "hspace": 0.24}
        )
        figure.subplots_adjust(left=0.075, right=0.895, top=0.875, bottom=0.155)
        for axes in (top, middle, bottom):
            self._dress(axes)
        self._in_flight(top)
        self._rate(middle)
        self._spread(bottom)
        self._events(top, (middle, bottom))
        bottom.set_xlabel("seconds since the first request", color=theme.faint, fontsize=9.5)
        self._words(figure)
        return figure

    def _seconds(self, t_ms: float) -> float:
        return (t_ms - self._moments.started) / 1000

    def _dress(self, axes: Any) -> None:
        theme = self._theme
        axes.set_facecolor(theme.paper)
        axes.grid(axis="y", color=theme.line, linewidth=0.8)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(theme.line)
        axes.tick_params(colors=theme.faint, labelsize=9.5, length=0)
        axes.set_xlim(0, self._seconds(self._moments.ended))

    def _in_flight(self, axes: Any) -> None:
        """A line per target: its mean over half a second; behind them the band between lowest and highest sample."""
        theme = self._theme
        window = Window(self._moments.started, self._moments.ended)
        ends: list[tuple[float, str]] = []
        self._band(axes, window)
        for name in sorted(self._colours, key=lambda name: name == self._data.settings.killed):
            smoothed = self._smoothed(self._data.in_flight[name])
            xs = [self._seconds(tick) for tick, _ in smoothed]
            ys = [float("nan") if value is None else value for _, value in smoothed]
            axes.plot(xs, ys, color=self._colours[name], linewidth=1.9, solid_capstyle="round")
            known = [value for _, value in smoothed if value is not None]
            ends.append((known[-1] if known else 0.0, name))
        highest = max((max(series.values(), default=1) for series in self._data.in_flight.values()), default=1)
        axes.set_ylim(0, highest * 1.18)
        self._label_ends(axes, ends, highest * 1.18)
        axes.set_title("Requests in flight at each target", loc="left", color=theme.ink, fontsize=11, pad=8)

    def _smoothed(self, series: Series) -> list[tuple[int, float | None]]:
        """The running mean of each phase by itself: a mean across the kill would show the others rise before it."""
        moments = self._moments
        edges = (moments.started, moments.killed, moments.returned, moments.ended)
        smoothed: list[tuple[int, float | None]] = []
        for start_ms, end_ms in pairwise(edges):
            points = sorted((tick, value) for tick, value in series.items() if start_ms <= tick < end_ms)
            smoothed += samples.smooth(points, SMOOTH_MS, gap_ms=10 * SAMPLE_MS)
            if not points:
                smoothed.append((start_ms, None))
        return smoothed

    def _band(self, axes: Any, window: Window) -> None:
        """From the lowest to the highest sample of all targets, in steps of a quarter of a second."""
        steps: dict[int, list[float]] = {}
        for series in self._data.in_flight.values():
            for tick, value in series.items():
                if window.start_ms <= tick < window.end_ms:
                    steps.setdefault(tick // BAND_MS * BAND_MS, []).append(value)
        ticks = sorted(steps)
        xs = [self._seconds(tick + BAND_MS / 2) for tick in ticks]
        lows, highs = [min(steps[tick]) for tick in ticks], [max(steps[tick]) for tick in ticks]
        axes.fill_between(xs, lows, highs, color=self._theme.faint, alpha=0.2, linewidth=0)

    def _label_ends(self, axes: Any, ends: Sequence[tuple[float, str]], height: float) -> None:
        """The targets' names at the right end of their lines, apart enough to be read."""
        gap = height * 0.058
        middle = sum(value for value, _ in ends) / len(ends) if ends else 0.0
        delays = self._report.target_delays_ms
        for place, (_, name) in enumerate(sorted(ends, key=_from_below)):
            axes.annotate(
                f"{name} · {delays[name]:.0f} ms",
                (1.008, middle + (place - (len(ends) - 1) / 2) * gap),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=9.5,
                color=self._colours[name],
                fontweight="bold",
                annotation_clip=False,
            )

    def _rate(self, axes: Any) -> None:
        """Answers a second, stacked by target."""
        theme = self._theme
        names = self._data.settings.names
        steps: dict[int, dict[str, int]] = {}
        for bucket in self._data.traffic.buckets:
            # A bucket carries the moment at which it ended.
            step = steps.setdefault((bucket.t_ms - 1) // RATE_MS * RATE_MS, {})
            for name, count in bucket.answered.items():
                step[name] = step.get(name, 0) + count
        inside = [
            tick for tick in sorted(steps) if self._moments.started <= tick and tick + RATE_MS <= self._moments.ended
        ]
        xs = [self._seconds(tick + RATE_MS / 2) for tick in inside]
        rows = [[steps[tick].get(name, 0) * 1000 / RATE_MS for tick in inside] for name in names]
        if inside:
            colours = [self._colours[name] for name in names]
            axes.stackplot(xs, rows, colors=colours, alpha=0.85, edgecolor=theme.paper, linewidth=0.6)
        axes.set_title("Answers a second, by target", loc="left", color=theme.ink, fontsize=11, pad=8)
        axes.set_ylim(bottom=0)

    def _spread(self, axes: Any) -> None:
        """How far apart the targets that are up are, and each failed request."""
        theme = self._theme
        killed = self._data.settings.killed
        others = [series for name, series in self._data.in_flight.items() if name != killed]
        everyone = list(self._data.in_flight.values())
        moments = self._moments
        points = (
            samples.spreads(everyone, Window(moments.started, moments.killed))
            + samples.spreads(others, Window(moments.killed, moments.returned))
            + samples.spreads(everyone, Window(moments.returned, moments.ended))
        )
        steps: dict[int, list[float]] = {}
        for tick, spread in points:
            steps.setdefault(tick // BAND_MS * BAND_MS, []).append(spread)
        xs = [self._seconds(tick + BAND_MS / 2) for tick in sorted(steps)]
        ys = [sum(steps[tick]) / len(steps[tick]) for tick in sorted(steps)]
        axes.fill_between(xs, 0, ys, color=theme.faint, alpha=0.45, linewidth=0, step="mid")
        axes.axhline(2, color=theme.faint, linewidth=0.9, linestyle=(0, (4, 3)))
        ceiling = min(12.0, max([5.0, *ys]))
        failed = [self._seconds(failure.end_ms) for failure in self._data.traffic.failures]
        if failed:
            axes.plot(failed, [ceiling * 0.86] * len(failed), "x", color=theme.alarm, markersize=6, markeredgewidth=1.5)
        axes.set_ylim(0, ceiling)
        count = "no request failed" if not failed else f"failed requests (x): {len(failed)}"
        title = f"Spread: most minus fewest in flight (dashed: 2) · {count}"
        axes.set_title(title, loc="left", color=theme.ink, fontsize=11, pad=8)

    def _events(self, top: Any, others: Sequence[Any]) -> None:
        """The kill and the return, through all three panels."""
        theme = self._theme
        killed, returned = self._seconds(self._moments.killed), self._seconds(self._moments.returned)
        for axes in (top, *others):
            axes.axvspan(killed, returned, color=KILLED, alpha=0.07, linewidth=0)
            for moment in (killed, returned):
                axes.axvline(moment, color=theme.faint, linewidth=1)
        name = self._data.settings.killed
        for moment, text in ((killed, f"{name} killed, {killed:.1f} s"), (returned, f"{name} back, {returned:.1f} s")):
            top.annotate(
                text,
                (moment, 0.035),
                xycoords=("data", "axes fraction"),
                xytext=(6, 0),
                textcoords="offset points",
                fontsize=9.5,
                color=theme.ink,
            )

    def _words(self, figure: Figure) -> None:
        theme = self._theme
        report = self._report
        settings = report.settings
        rate, concurrency = settings["rate"], settings["concurrency"]
        kind = f"{rate:g} requests a second" if rate else f"{concurrency} requests open"
        workers = f"{settings['workers']} worker" + ("" if settings["workers"] == 1 else "s")
        title = f"Equipoise: {settings['targets']} targets, one lost, one regained"
        figure.text(0.075, 0.95, title, fontsize=16, fontweight="bold", color=theme.ink)
        delays = "lognormal delays whose means differ by target"
        subtitle = f"{settings['algorithm']} · {workers} · {kind} · {delays} · {report.time}"
        figure.text(0.075, 0.925, subtitle, fontsize=9.5, color=theme.faint)
        missed = [mark for mark in report.marks if not mark.passed]
        if missed:
            verdict = f"{len(missed)} of {len(report.marks)} marks missed"
            shown = [f"{mark.says}: {mark.shown}" for mark in missed[:3]]
        else:
            verdict = f"All {len(report.marks)} marks met"
            shown = [_best_words(report)]
        figure.text(0.075, 0.073, verdict, fontsize=11, fontweight="bold", color=theme.alarm if missed else theme.ink)
        figure.text(0.075, 0.062, "\n".join(shown), fontsize=9.5, color=theme.faint, va="top", linespacing=1.35)


def _from_below(end: tuple[float, str]) -> tuple[int, tuple[int, ...]]:
    """Orders line ends by their value and, where that is the same but for noise, by name from bottom to top."""
    value, name = end
    return round(value / 2), tuple(-ord(letter) for letter in name)


def _best_words(report: Report) -> str:
    return " · ".join(
        f"{one.name}: within {one.worst_deviation:.1%}, spread ≤ 2 at {one.spread_ok:.1%}"
        for one in report.phases
        if one.worst_deviation is not None and one.spread_ok is not None
    )


def svg(data: Data, report: Report) -> str:
    """Light by itself; where the viewer prefers dark, a style sheet within swaps the theme's colours."""
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "equipoise", "font.family": "DejaVu Sans"}):
        out = BytesIO()
        figure = Picture(data, report, LIGHT).draw()
        figure.savefig(out, format="svg", metadata={"Date": None, "Title": "Equipoise demo"})
    return adapt(out.getvalue().decode())


def adapt(text: str) -> str:
    """Adds the dark theme to a drawing in the light one."""
    rules = StringIO()
    for light, dark in zip(LIGHT.colours(), DARK.colours(), strict=True):
        for attribute in ("fill", "stroke"):
            rules.write(f'[style*="{attribute}: {light}"] {{ {attribute}: {dark} !important }}\n')
    style = f"<style>\n@media (prefers-color-scheme: dark) {{\n{rules.getvalue()}}}\n</style>\n"
    return re.sub(r"(<svg\b[^>]*>)", lambda found: found.group(1) + "\n" + style, text, count=1)


def png(data: Data, report: Report, theme: Theme) -> bytes:
    """The drawing in one theme."""
    with mpl.rc_context({"font.family": "DejaVu Sans"}):
        figure = Picture(data, report, theme).draw()
        out = BytesIO()
        figure.savefig(out, format="png", dpi=150)
    return out.getvalue()
