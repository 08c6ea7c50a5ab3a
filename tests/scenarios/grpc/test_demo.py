"""The demo and its targets with gRPC, as commands."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.scenarios.support.balancer import environment

SHORT = ["--targets", "3", "--duration", "13", "--kill-at", "4.5", "--restart-at", "8.5"]


def test_a_target_serves_calls_and_leaves_on_a_signal() -> None:
    command = [sys.executable, "-m", "equipoise", "target", "--grpc", "--port", "0", "--name", "t"]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        channel: Any
        with grpc.insecure_channel(address) as channel:
            answer = json.loads(channel.unary_unary("/equipoise.demo.Orders/Place")(b"12345", timeout=20))
        process.send_signal(signal.SIGTERM)
        last = json.loads(process.communicate(timeout=30)[0].splitlines()[-1])
    assert (answer["name"], answer["in_flight"], answer["body_length"]) == ("t", 1, 5)
    assert (last["event"], last["in_flight"], last["requests"]) == ("stopped", 0, 1)
    assert process.returncode == 0


@pytest.mark.timeout(150)
def test_a_run_loses_no_call_but_those_on_the_killed_target(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "equipoise", "demo", "--grpc", "--report", str(tmp_path / "report"), *SHORT]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=140, check=False)
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    marks = {mark["name"]: mark for mark in report["marks"]}
    # How even a run of a few seconds is depends on what else this machine does; that none is lost does not.
    assert marks["lost.post"]["passed"], done.stdout
    assert done.returncode == (0 if report["passed"] else 1), done.stderr
    assert set(report["balancer"]["in_flight_left_at_targets"].values()) == {0}
    assert (report["traffic"]["gets"], report["access_log"]["lines"]) == (0, report["traffic"]["started"])
