"""The picture of runs that were written by hand."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import pytest
from matplotlib.text import Text

from equipoise.demo import plot, report
from equipoise.demo.marks import Moments
from equipoise.demo.record import Bucket, Failure, Summary, Traffic
from equipoise.demo.report import AccessLog, Data, Report
from equipoise.demo.samples import Series
from equipoise.demo.scenario import Facts
from equipoise.demo.settings import DemoSettings

MOMENTS = Moments(0, 10_000, 20_000, 20_400, 30_000)
SVG = "{http://www.w3.org/2000/svg}"


def run_data(*, targets: int = 5, failures: tuple[Failure, ...] = ()) -> Data:
    settings = DemoSettings(Path("unused"), targets=targets, duration=30.0, kill_at=10.0, restart_at=20.0)
    series: dict[str, Series] = {
        name: {
            tick: 24 + number % 2
            for tick in range(0, 30_000, 50)
            if name != settings.killed or not 10_000 <= tick < 20_400
        }
        for number, name in enumerate(settings.names)
    }
    buckets = [Bucket(tick, 120, 60, dict.fromkeys(settings.names, 12)) for tick in range(0, 30_000, 100)]
    facts = Facts(MOMENTS, {}, [], 1.0, 30.0, 0, {})
    summary = Summary(100, dict.fromkeys(settings.names, 20), {}, 90, 10, 5, {})
    return Data(settings, facts, series, Traffic(buckets, list(failures), summary), [], AccessLog(0, 0), {})


def drawing_of(data: Data) -> tuple[str, Report]:
    built = report.build(data)
    return plot.svg(data, built), built


def words(data: Data) -> str:
    """All words of the picture."""
    figure = plot.Picture(data, report.build(data), plot.LIGHT).draw()
    texts = cast("list[Text]", figure.findobj(Text))
    return "\n".join(text.get_text() for text in texts)


def test_the_drawing_is_valid_svg() -> None:
    root = ET.fromstring(drawing_of(run_data())[0])
    assert root.tag == f"{SVG}svg"
    assert len(root.findall(f".//{SVG}path")) > 50


def test_the_drawing_turns_dark_where_the_reader_prefers_it() -> None:
    text, _ = drawing_of(run_data())
    style = text[text.index("<style>") : text.index("</style>")]
    body = text[text.index("</style>") :]
    assert "prefers-color-scheme: dark" in style
    for light, dark in zip(plot.LIGHT.colours(), plot.DARK.colours(), strict=True):
        if light != plot.LIGHT.alarm:  # nothing alarming in this run
            assert f": {light}" in body
        assert f"fill: {dark} !important" in style


def test_the_same_run_gives_the_same_drawing() -> None:
    assert drawing_of(run_data())[0] == drawing_of(run_data())[0]


@pytest.mark.parametrize("theme", [plot.LIGHT, plot.DARK])
def test_the_picture_is_a_png(theme: plot.Theme) -> None:
    data = run_data()
    assert plot.png(data, report.build(data), theme).startswith(b"\x89PNG\r\n\x1a\n")


def test_the_killed_targets_line_has_a_gap() -> None:
    data = run_data()
    figure = plot.Picture(data, report.build(data), plot.LIGHT).draw()
    lines = [line for line in figure.axes[0].get_lines() if line.get_color() == plot.KILLED]
    (line,) = lines
    points = np.asarray(line.get_xydata())
    drawn = points[~np.isnan(points[:, 1]), 0]
    assert drawn.min() < 5
    assert drawn.max() > 25
    assert not ((drawn > 10.05) & (drawn < 20.35)).any()


def test_the_words_tell_the_verdict_and_the_moments() -> None:
    found = words(run_data())
    assert "All 11 marks met" not in found  # the others do not carry 120 here
    assert "1 of 11 marks missed" in found
    assert "c killed, 10.0 s" in found
    assert "c back, 20.4 s" in found
    assert "no request failed" in found


def test_failures_are_counted_in_the_picture() -> None:
    failures = (Failure("id", "GET", 9_000.0, 9_050.0, "502"), Failure("id", "GET", 9_000.0, 9_060.0, "502"))
    assert "failed requests (x): 2" in words(run_data(failures=failures))


@pytest.mark.parametrize("targets", [2, 12])
def test_any_number_of_targets_can_be_drawn(targets: int) -> None:
    ET.fromstring(drawing_of(run_data(targets=targets))[0])


def test_a_run_without_an_answer_can_be_drawn() -> None:
    data = run_data()
    empty: dict[str, Series] = {name: {} for name in data.in_flight}
    silent = msgspec.structs.replace(data, in_flight=empty, traffic=Traffic([], [], None))
    ET.fromstring(drawing_of(silent)[0])
