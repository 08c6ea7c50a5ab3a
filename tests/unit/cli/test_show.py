import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from equipoise.cli.show import (
    ASCII,
    UNICODE,
    ago,
    bar,
    columns,
    console_for_tables,
    count,
    duration,
    marks_for,
    milliseconds,
    moment,
    percent,
    size,
    table,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (0.9, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h 0m"), (90_000, "1d 1h")],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "-"), (0.123, "0.12"), (4.25, "4.2"), (98.16, "98.2"), (1234.5, "1,234")],
)
def test_milliseconds_show_what_tells_something(value: float | None, text: str) -> None:
    assert milliseconds(value) == text


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (67108864, "64.0 MiB"),
        (1 << 52, "4096.0 TiB"),
    ],
)
def test_a_size_has_the_largest_unit_that_leaves_something(octets: int, text: str) -> None:
    assert size(octets) == text


@pytest.mark.parametrize(("ratio", "text"), [(None, "-"), (0.0, "0.0 %"), (0.9354, "93.5 %"), (1.0, "100.0 %")])
def test_a_ratio_is_shown_in_percent(ratio: float | None, text: str) -> None:
    assert percent(ratio) == text


def test_a_count_agrees_with_its_word() -> None:
    assert (count(1, "target"), count(2000, "target")) == ("1 target", "2,000 targets")


def test_how_long_ago_something_was() -> None:
    now = datetime(2026, 7, 30, 12, 0, 0, tzinfo=UTC)
    assert ago("2026-07-30T13:55:00+02:00", now) == "5m"


@pytest.mark.parametrize("text", [None, "", "yesterday"])
def test_what_is_no_time_is_no_moment(text: str | None) -> None:
    assert moment(text) is None


def test_a_time_without_a_zone_is_utc() -> None:
    assert moment("2026-07-30T12:00:00") == datetime(2026, 7, 30, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(("value", "drawn"), [(0, "----"), (1, "#---"), (50, "##--"), (100, "####"), (200, "####")])
def test_a_bar_is_full_at_the_most_and_never_empty_with_something(value: int, drawn: str) -> None:
    assert bar(value, 100, 4, "green", ASCII).plain == drawn


@pytest.mark.parametrize(("encoding", "marks"), [("utf-8", UNICODE), ("latin-1", ASCII)])
def test_the_marks_are_those_that_the_terminal_can_show(encoding: str, marks: object) -> None:
    assert marks_for(Console(file=io.TextIOWrapper(io.BytesIO(), encoding))) is marks


@pytest.mark.parametrize(("health", "mark"), [("up", "+"), ("draining", "~"), ("down", "x"), ("odd", "x")])
def test_each_health_has_its_mark(health: str, mark: str) -> None:
    assert ASCII.health(health) == mark


def test_columns_are_aligned_and_end_without_blanks() -> None:
    text = columns(("name", "n", "why"), [("a", "1", "x"), ("long name", "100", "")], frozenset({1}))
    assert text.splitlines() == ["name         n  why", "a            1  x", "long name  100"]


def test_a_table_holds_the_same() -> None:
    out = io.StringIO()
    Console(file=out, width=40).print(table(("name", "n"), [("a", "1"), ("b", "100")], frozenset({1})))
    assert [line.split() for line in out.getvalue().splitlines()] == [["name", "n"], ["a", "1"], ["b", "100"]]


def test_lines_for_a_pipe_are_not_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    console_for_tables().print("x" * 500)
    assert capsys.readouterr().out == "x" * 500 + "\n"
