"""Reports of runs that were written by hand: a perfect balancer's numbers, and some that are not."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from equipoise.demo import report as reports
from equipoise.demo.lines import encode, rfc3339
from equipoise.demo.marks import Moments
from equipoise.demo.record import Bucket, Failure, Line, Summary
from equipoise.demo.report import Data
from equipoise.demo.scenario import Facts
from equipoise.demo.settings import DemoSettings

START = 1_700_000_000_000
MOMENTS = Moments(START, START + 10_000, START + 20_000, START + 20_400, START + 30_000)


def write_run(directory: Path, *, failures: tuple[Failure, ...] = (), uneven: int = 0) -> tuple[DemoSettings, Facts]:
    """Writes what the processes of a run leave behind; `uneven` requests more are at target a in the first phase."""
    settings = DemoSettings(directory, duration=30.0, kill_at=10.0, restart_at=20.0)
    for name in settings.names:
        samples, log = [], []
        for tick in range(MOMENTS.started - 5000, MOMENTS.ended + 6000, 50):
            away = MOMENTS.killed <= tick < MOMENTS.returned
            if name == settings.killed and away:
                continue
            count = (30 if away else 24) + (uneven if name == "a" and tick < MOMENTS.killed else 0)
            samples.append(encode({"t_ms": tick, "in_flight": count}))
            if tick % 5000 == 0:
                log.append(encode({"time": rfc3339(tick / 1000), "event": "in_flight", "in_flight": count}))
        settings.file(f"target-{name}.samples").write_text("".join(samples))
        settings.file(f"target-{name}.log").write_text("".join(log))
    answered = dict.fromkeys(settings.names, 12)
    lines = [
        Line(bucket=Bucket(tick, 120, 60, answered, {}, 6000.0, 150.0)) for tick in range(START, START + 30_000, 100)
    ]
    lines += [Line(failure=failure) for failure in failures]
    totals = dict.fromkeys(settings.names, 3600)
    lines.append(Line(summary=Summary(18_000, totals, {}, 16_200, 1800, 120, {"mean": 100.0, "p99": 150.0})))
    settings.file("traffic.record").write_bytes(msgspec.json.Encoder().encode_lines(lines))
    access: list[dict[str, object]] = [
        {"request_id": "id-1", "target": None, "attempts": 1},
        {"request_id": "id-2", "target": "a", "attempts": 2},
    ]
    settings.file("access.log").write_text("".join(encode(line) for line in access) + "torn {")
    facts = Facts(
        moments=MOMENTS,
        balancer={"address": "127.0.0.1:1", "compiled": True, "version": "1.2.3"},
        connections=[61, 59],
        cpu_seconds=0.36,
        cpu_window=30.0,
        balancer_exit=0,
        in_flight_left=dict.fromkeys(settings.names, 0),
    )
    return settings, facts


def data_of(directory: Path, **changes: Any) -> Data:
    return reports.read(*write_run(directory, **changes))


def test_a_perfect_run_passes(tmp_path: Path) -> None:
    report = reports.build(data_of(tmp_path))
    assert report.passed
    assert len(report.marks) == 11


def test_an_uneven_run_does_not_pass(tmp_path: Path) -> None:
    report = reports.build(data_of(tmp_path, uneven=5))
    assert not report.passed
    assert {mark.name for mark in report.marks if not mark.passed} == {"before.even", "before.spread"}
    assert report.phases[0].worst_deviation == pytest.approx((29 - 25) / 25)


def test_moments_count_from_the_first_request(tmp_path: Path) -> None:
    report = reports.build(data_of(tmp_path))
    assert report.moments_s == {"started": 0.0, "killed": 10.0, "restarted": 20.0, "returned": 20.4, "ended": 30.0}


def test_the_targets_own_lines_are_joined_by_their_moment(tmp_path: Path) -> None:
    rows = reports.build(data_of(tmp_path)).target_log
    assert [row.at_s for row in rows] == [0.0, 5.0, 10.0, 15.0, 20.0, 25.0]
    assert rows[1].in_flight == {"a": 24, "b": 24, "c": 24, "d": 24, "e": 24}
    assert rows[3].in_flight == {"a": 30, "b": 30, "c": None, "d": 30, "e": 30}


def test_a_phase_counts_answers_by_target(tmp_path: Path) -> None:
    phase = reports.build(data_of(tmp_path)).phases[0]
    assert phase.answered == dict.fromkeys("abcde", 12 * 80)
    assert phase.requests_per_s == pytest.approx(600, rel=0.01)
    assert phase.mean_latency_ms == 100.0


def test_the_access_log_names_the_targets_of_failures(tmp_path: Path) -> None:
    failures = (Failure("id-1", "POST", 0.0, 1.0, "502"), Failure("id-3", "POST", 0.0, 1.0, "502"))
    data = data_of(tmp_path, failures=failures)
    assert data.failed_on == {"id-1": None}
    assert (data.access_log.lines, data.access_log.tried_again) == (2, 1)


def test_a_run_without_access_log_is_read_too(tmp_path: Path) -> None:
    settings, facts = write_run(tmp_path)
    settings.file("access.log").unlink()
    assert reports.read(settings, facts).access_log.lines == 0


def test_json_says_the_same_as_the_report(tmp_path: Path) -> None:
    report = reports.build(data_of(tmp_path))
    found = json.loads(reports.to_json(report))
    assert found["passed"] is True
    assert found["balancer"]["compiled"] is True
    assert found["balancer"]["cpu_us_per_request"] == pytest.approx(20.0)
    assert found["settings"]["killed"] == "c"
    assert len(found["marks"]) == 11


@pytest.mark.parametrize(("uneven", "verdict"), [(0, "ALL MARKS MET"), (5, "2 OF 11 MARKS MISSED")])
def test_text_begins_with_the_verdict(tmp_path: Path, uneven: int, verdict: str) -> None:
    text = reports.to_text(reports.build(data_of(tmp_path, uneven=uneven)))
    assert verdict in text.splitlines()[0]
    assert text.count("MISS  ") == (2 if uneven else 0)


def test_text_lists_failures_and_says_when_there_are_more(tmp_path: Path) -> None:
    failures = tuple(Failure(f"id-{number}", "GET", 0.0, 5.0, "503", "why") for number in range(12))
    text = reports.to_text(reports.build(data_of(tmp_path, failures=failures)))
    assert "12 failed" in text
    assert "GET id-0: 503 after 5 ms why" in text
    assert "id-10" not in text
    assert "all of them are in report.json" in text


def test_text_says_whether_the_balancer_was_compiled(tmp_path: Path) -> None:
    assert "(compiled)" in reports.to_text(reports.build(data_of(tmp_path)))


def test_an_open_loop_is_described_by_its_rate(tmp_path: Path) -> None:
    settings, facts = write_run(tmp_path)
    report = reports.build(reports.read(msgspec.structs.replace(settings, rate=500.0), facts))
    assert "500 requests/s" in reports.to_text(report)
    assert len(report.marks) == 10
