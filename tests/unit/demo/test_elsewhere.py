"""The demo against targets and a balancer that were started by somebody else: here, by the test."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from equipoise.demo.elsewhere import Elsewhere, RemoteTarget, about, play_elsewhere
from equipoise.demo.lines import encode, rfc3339
from equipoise.demo.processes import DemoError
from equipoise.demo.scenario import Now
from equipoise.demo.settings import DemoSettings
from tests.unit.runtime.parts import free_port, tiny_target

STOP_AT, START_AT, DURATION = "4.5", "8.5", "13"


class Quiet:
    """Watches and says nothing."""

    def show(self, now: Now) -> None:
        pass

    def say(self, text: str) -> None:
        pass


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    with ExitStack() as ended:

        def start(*words: str) -> None:
            log = ended.enter_context((tmp_path / "log").open("a"))
            process = subprocess.Popen([sys.executable, "-m", "equipoise", *words], stdout=log, stderr=log)
            ended.callback(process.wait)
            ended.callback(process.terminate)

        yield start


def target_words(shared: Path, name: str, port: int, *more: str) -> list[str]:
    files = ["--log", str(shared / f"target-{name}.log"), "--samples", str(shared / f"target-{name}.samples")]
    return ["target", "--port", str(port), "--name", name, "--delay", "150", "--log-every", "1", *files, *more]


def configuration(shared: Path, ports: dict[str, int]) -> str:
    targets = "".join(
        f'[[pools.default.targets]]\nname = "{name}"\nurl = "http://127.0.0.1:{port}"\n'
        for name, port in ports.items()
        if name in "abc"
    )
    return (
        f'listen = "127.0.0.1:{ports["balancer"]}"\nworkers = 2\nstate_dir = "{shared}/state"\n'
        f'[admin]\nlisten = "127.0.0.1:{ports["admin"]}"\n[access_log]\npath = "{shared}/access.log"\n'
        f'[pools.default.health]\ntype = "http"\npath = "/healthz"\n{targets}'
    )


def wait_until_ready(admin: int) -> None:
    command = [sys.executable, "-m", "equipoise", "healthcheck", "--admin", f"http://127.0.0.1:{admin}"]
    deadline = monotonic() + 40
    while subprocess.run(command, capture_output=True, check=False).returncode:
        assert monotonic() < deadline, "the balancer is not ready"
        sleep(0.05)


@pytest.mark.timeout(120)
def test_the_whole_run_is_judged_from_what_the_others_left(tmp_path: Path, start: Any) -> None:
    shared, report = tmp_path / "shared", tmp_path / "report"
    shared.mkdir()
    ports = {name: free_port() for name in ("a", "b", "c", "balancer", "admin")}
    schedule = ["--stop-at", STOP_AT, "--start-at", START_AT, "--clock", str(shared / "started")]
    for name in "abc":
        start(*target_words(shared, name, ports[name], *(schedule if name == "b" else [])))
    (tmp_path / "equipoise.toml").write_text(configuration(shared, ports))
    start("run", "-c", str(tmp_path / "equipoise.toml"))
    wait_until_ready(ports["admin"])
    where = ["--url", f"http://127.0.0.1:{ports['balancer']}/", "--shared", str(shared)]
    timeline = ["--targets", "3", "--duration", DURATION, "--kill-at", STOP_AT, "--restart-at", START_AT]
    where += ["--admin", f"http://127.0.0.1:{ports['admin']}", "--report", str(report)]
    command = [sys.executable, "-m", "equipoise", "demo", *timeline, *where]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads((report / "report.json").read_text())
    marks = {mark["name"]: mark for mark in found["marks"]}
    # How even a run of a few seconds is depends on what else this machine does; that none is lost does not.
    assert marks["lost.get"]["passed"], done.stdout
    assert marks["lost.post"]["passed"], done.stdout
    assert done.returncode == (0 if found["passed"] else 1), done.stderr
    assert found["settings"]["workers"] == 2
    assert set(found["balancer"]["in_flight_left_at_targets"].values()) == {0}
    assert found["access_log"]["lines"] == found["traffic"]["started"] > 500
    assert abs(found["moments_s"]["killed"] - float(STOP_AT)) < 1
    assert "CPU: unknown" in (report / "report.txt").read_text()
    assert {"target-a.log", "target-b.samples", "access.log"} <= {path.name for path in report.iterdir()}


def lines(path: Path, *events: dict[str, object]) -> None:
    with path.open("a") as file:
        file.writelines(encode({"time": rfc3339(float(number)), **event}) for number, event in enumerate(events, 1))


def test_a_target_is_followed_through_its_death(tmp_path: Path) -> None:
    target = RemoteTarget("a", 100.0, tmp_path)
    assert not target.read()
    lines(tmp_path / "target-a.log", {"event": "listening", "address": "10.0.0.1:9001"})
    (tmp_path / "target-a.samples").write_text('{"t_ms":1,"in_flight":4,"requests":10}\n')
    assert target.read()
    assert (target.view.address, target.view.in_flight, target.view.requests) == ("10.0.0.1:9001", 4, 10)
    lines(tmp_path / "target-a.log", {"event": "killed"})
    assert not target.read()
    assert (target.view.state, target.view.in_flight) == ("killed", 0)
    lines(tmp_path / "target-a.log", {"event": "started again"}, {"event": "listening", "address": "10.0.0.2:9001"})
    assert target.read()
    with (tmp_path / "target-a.samples").open("a") as file:
        file.write('{"t_ms":2,"in_flight":1,"requests":5}\n')
    target.read()
    assert target.view.requests == 15
    target.close()


METRICS = b'equipoise_build_info{version="1.2",compiled="true"} 1\nequipoise_workers 4\n'


def answer(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def test_a_balancer_tells_what_it_is() -> None:
    with tiny_target(answer(b"200 OK", METRICS)) as admin:
        told = about(f"http://127.0.0.1:{admin.port}/")
    assert told == {"version": "1.2", "compiled": True, "workers": 4}
    assert admin.requests[0].startswith(b"GET /metrics ")


def test_a_balancer_that_need_not_be_asked_is_not() -> None:
    assert about("") == {}


def test_metrics_that_are_refused_are_an_error() -> None:
    with tiny_target(answer(b"401 Unauthorized", b"")) as admin, pytest.raises(DemoError, match="401"):
        about(f"http://127.0.0.1:{admin.port}")


def test_a_balancer_that_is_not_there_is_an_error() -> None:
    with pytest.raises(DemoError, match="refused"):
        about(f"http://127.0.0.1:{free_port()}")


def test_what_was_there_is_copied_even_when_the_run_breaks_off(tmp_path: Path) -> None:
    shared, settings = tmp_path / "shared", DemoSettings(tmp_path / "report", targets=2, concurrency=1)
    shared.mkdir()
    for name in "ab":
        lines(shared / f"target-{name}.log", {"event": "listening", "address": "127.0.0.1:1"})
    with pytest.raises(DemoError, match="does not tell"):
        play_elsewhere(settings, Elsewhere("http://127.0.0.1:1/", shared, f"http://127.0.0.1:{free_port()}"), Quiet())
    assert sorted(path.name for path in settings.report.iterdir()) == ["target-a.log", "target-b.log"]
