"""The whole demo: real targets, the real balancer, real traffic, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from time import monotonic, sleep

import pytest
from rich.console import Console

from equipoise.demo.run import INTERRUPTED, MET, MISSED, run
from equipoise.demo.settings import DemoSettings

SHORT = ["--targets", "3", "--duration", "13", "--kill-at", "4.5", "--restart-at", "8.5"]


def processes_that_mention(directory: Path) -> list[str]:
    """The command lines of living processes that name this directory; all of the demo's do."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in words:
            found.append(words)
    return found


def start(directory: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "equipoise", "demo", "--report", str(directory), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_traffic(directory: Path) -> None:
    deadline = monotonic() + 40
    record = directory / "traffic.record"
    while not (record.exists() and "answered" in record.read_text()):
        assert monotonic() < deadline, "no traffic"
        sleep(0.05)


@pytest.mark.timeout(120)
def test_a_run_loses_no_get_writes_its_report_and_leaves_nothing_behind(tmp_path: Path) -> None:
    directory = tmp_path / "report"
    with start(directory, *SHORT, "--workers", "2") as process:
        out, errors = process.communicate(timeout=110)
    report = json.loads((directory / "report.json").read_text())
    marks = {mark["name"]: mark for mark in report["marks"]}
    # How even a run of a few seconds is depends on what else this machine does; that none is lost does not.
    assert marks["lost.get"]["passed"], out
    assert marks["lost.post"]["passed"], out
    assert process.returncode == (MET if report["passed"] else MISSED), errors
    assert report["balancer"]["exit_code"] == 0
    assert set(report["balancer"]["in_flight_left_at_targets"].values()) == {0}
    assert report["access_log"]["lines"] == report["traffic"]["started"] > 500
    assert (directory / "report.txt").read_text() in out
    assert str(directory / "report.json") in out
    assert processes_that_mention(directory) == []


@pytest.mark.timeout(90)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_processes(tmp_path: Path, number: signal.Signals) -> None:
    directory = tmp_path / "report"
    with start(directory, *SHORT) as process:
        wait_for_traffic(directory)
        assert len(processes_that_mention(directory)) >= 5
        os.kill(process.pid, number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert "interrupted" in errors
    assert processes_that_mention(directory) == []


@pytest.mark.timeout(90)
def test_a_balancer_that_does_not_start_ends_the_demo(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = DemoSettings(tmp_path, targets=2, algorithm="no_such_algorithm")
    out = StringIO()
    assert run(settings, Console(file=out)) == MISSED
    assert "the balancer ended with 2" in capfd.readouterr().err
    assert processes_that_mention(tmp_path) == []
