"""Some seconds of the soak: that its clients, its harm and its checks work, and find nothing."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.support.balancer import PACKAGE_PARENT, environment

ROOT = Path(__file__).parents[3]
# Its deck begins with a worker, a target of the web and one of calls.
SEED = "6"
CLIENTS = {"HTTP/1", "HTTP/2", "gRPC call", "WebSocket", "slow reader"}


@pytest.mark.timeout(240)
def test_a_short_soak_kills_a_worker_and_a_target_and_finds_nothing_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "--minutes", "0.15", "--seed", SEED]
    command += ["--equipoise", shlex.join([sys.executable, "-m", "equipoise"]), "--pythonpath", str(PACKAGE_PARENT)]
    command += ["--report", str(tmp_path / "report"), "--folder", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["passed"]
    assert report["incidents"]["worker killed"] >= 1
    assert report["incidents"]["target killed"] >= 1
    assert set(report["answered"]) == CLIENTS | {f"{name}, TLS" for name in CLIENTS}
