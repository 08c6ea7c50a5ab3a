"""What compose.yaml starts, started bare: each service on a host of its own, with its address and its name.

No container engine runs where the tests do. What it would add is another file system; the commands, the configuration,
the names and the order of the start are those of the file. So are the variables: DURATION=300 STOP_AT=100 START_AT=200
give the main run its true length, and it has to meet all its marks then. REPORT=FOLDER keeps the report.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from equipoise.demo import record
from equipoise.demo.samples import load as load_samples
from tests.scenarios.support.balancer import environment
from tests.scenarios.support.hosts import Host, Network, why_not
from tests.scenarios.support.polling import PATIENCE, eventually
from tests.support.shipping import ROOT, compose

SHORT = {"DURATION": "21", "STOP_AT": "7", "START_AT": "14"}
TIMES = {name: os.environ.get(name, default) for name, default in SHORT.items()}
SECONDS = int(TIMES["DURATION"])
pytestmark = [pytest.mark.needs("ip", "unshare"), pytest.mark.timeout(150 + SECONDS)]
EQUIPOISE = [sys.executable, "-m", "equipoise"]


class Stack:
    """The services of compose.yaml as processes."""

    def __init__(self, folder: Path, network: Network) -> None:
        self.folder = folder
        self.network = network
        self.services = compose("compose.yaml", TIMES)["services"]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("shared", "report", "state"):
            (folder / name).mkdir()
        text = (ROOT / "deploy/compose/balancer/equipoise.toml").read_text()
        (folder / "equipoise.toml").write_text(self._here(text))
        self._environment = {
            **environment(),
            "EQUIPOISE_CONFIG": str(folder / "equipoise.toml"),
            "STATE_DIRECTORY": str(folder / "state"),
        }

    def host(self, name: str) -> Host:
        return self.network.host(name)

    def start(self, name: str) -> None:
        """Starts a service as the engine does: after those that it depends on are healthy."""
        for needed in self.services[name].get("depends_on", {}):
            if needed not in self.processes:
                self.start(needed)
        for needed in self.services[name].get("depends_on", {}):
            self.wait_healthy(needed)
        words = [self._here(word) for word in self.services[name]["command"]]
        self.run(name, [*EQUIPOISE, *words])

    def run(self, name: str, words: list[str]) -> None:
        """Runs a program on the host of this name."""
        with (self.folder / f"{name}.out").open("ab") as out:
            self.processes[name] = subprocess.Popen(
                self.host(name).command(words), env=self._environment, cwd=self.folder, stdout=out, stderr=out
            )

    def wait_healthy(self, name: str) -> None:
        words = [*EQUIPOISE, *self.services[name]["healthcheck"]["test"][2:]]

        def healthy() -> bool:
            assert self.processes[name].poll() is None, (self.folder / f"{name}.out").read_text()
            return self.host(name).run(words, self._environment).returncode == 0

        eventually(healthy, within=60)

    def end(self) -> None:
        for process in reversed(self.processes.values()):
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self) -> list[dict[str, Any]]:
        """What the balancer said of itself."""
        lines = (self.folder / "balancer.out").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def _here(self, text: str) -> str:
        return text.replace("/run/demo", str(self.folder / "shared")).replace("/report", str(self.folder / "report"))


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    if reason := why_not():
        pytest.skip(reason)
    with ExitStack() as over, Network(tmp_path) as network:
        stack = Stack(tmp_path, network)
        over.callback(stack.end)
        yield stack
        stack.end()


def test_the_main_run_of_the_compose_file(stack: Stack) -> None:
    stack.start("traffic")
    code = stack.processes["traffic"].wait(100 + SECONDS)
    said = (stack.folder / "traffic.out").read_text()
    report = json.loads((stack.folder / "report/report.json").read_text())
    if folder := os.environ.get("REPORT"):
        shutil.copytree(stack.folder / "report", folder, dirs_exist_ok=True)
    marks = {mark["name"]: mark["passed"] for mark in report["marks"]}
    # How even a run of a few seconds is depends on what else this machine does; that none is lost does not.
    assert marks["lost.get"], said
    assert marks["lost.post"], said
    assert code == (0 if report["passed"] else 1), said
    assert report["traffic"]["answered"].keys() == set("abcde")
    assert set(report["balancer"]["in_flight_left_at_targets"].values()) == {0}
    assert (stack.folder / "report/report.txt").exists()
    assert TIMES == SHORT or report["passed"], said


def answered(stack: Stack) -> dict[str, int]:
    """Good answers of each target so far."""
    total: dict[str, int] = {}
    path = stack.folder / "traffic.record"
    for bucket in record.load(path).buckets if path.exists() else []:
        for name, count in bucket.answered.items():
            total[name] = total.get(name, 0) + count
    return total


def start_traffic(stack: Stack) -> None:
    """Until it is ended: sixty requests open at any time."""
    words = ["--url", "http://balancer:8080/", "--record", str(stack.folder / "traffic.record"), "--duration", "100"]
    stack.run("traffic", [sys.executable, "-m", "equipoise.demo.traffic", *words, "--concurrency", "60"])
    eventually(lambda: answered(stack), lambda seen: len(seen) == 5)


def test_a_target_that_comes_back_with_another_address_gets_its_share(stack: Stack) -> None:
    """As a container that is stopped and started again: its name means another address then."""
    stack.start("balancer")
    stack.wait_healthy("balancer")
    start_traffic(stack)
    stack.processes["target-b"].kill()
    stack.processes["target-b"].wait()
    stack.host("target-b").leave()
    eventually(stack.log, lambda seen: any(e["event"] == "target down" and e["target"] == "b" for e in seen))
    before = answered(stack).get("b", 0)
    stack.host("target-b").take("10.77.0.200")
    stack.start("target-b")
    eventually(lambda: answered(stack).get("b", 0), lambda count: count > before + 50)
    # Sixty open requests are twelve for each of five.
    eventually(lambda: list(load_samples(stack.folder / "shared/target-b.samples").values())[-1], lambda n: n >= 11)
    stack.processes["traffic"].send_signal(signal.SIGTERM)
    assert stack.processes["traffic"].wait(PATIENCE) == 0
    failures = record.load(stack.folder / "traffic.record").failures
    assert [failure for failure in failures if failure.method == "GET"] == []


def test_a_drain_on_one_host_is_seen_from_another(stack: Stack) -> None:
    stack.start("balancer")
    stack.wait_healthy("balancer")
    start_traffic(stack)
    stack.processes["balancer"].send_signal(signal.SIGTERM)
    assert stack.processes["balancer"].wait(PATIENCE) == 0
    stack.processes["traffic"].send_signal(signal.SIGTERM)
    assert stack.processes["traffic"].wait(PATIENCE) == 0
    # What had been sent was answered; what came afterwards found nobody there.
    kinds = {failure.kind for failure in record.load(stack.folder / "traffic.record").failures}
    assert kinds <= {"connect"}
