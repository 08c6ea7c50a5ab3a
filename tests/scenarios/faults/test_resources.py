"""Nothing left of what the machine gives: descriptors, room on a disk, a place to complain to."""

import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.scenarios.conftest import Balance
from tests.scenarios.faults.test_faults import fill, small_disk
from tests.scenarios.support.admin import Admin
from tests.scenarios.support.balancer import Setting, environment, urls
from tests.scenarios.support.client import GET, Client, Load, fetch, post
from tests.scenarios.support.messages import ClosedEarlyError
from tests.scenarios.support.polling import PATIENCE, eventually
from tests.scenarios.support.stage import Call, Stage, answer

FEW = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]
SHED = "clients are turned away: too few file descriptors"


def test_with_64_descriptors_clients_are_shed_and_everything_else_goes_on(stage: Stage, balance: Balance) -> None:
    gate = stage.gate()

    async def waits(call: Call) -> None:
        await gate.passed()
        await call.send(answer())

    target = stage.target(waits)
    balancer = balance([target], Setting(admin=True), FEW)
    admin = Admin(balancer)
    clients = [Client(balancer.port).send(GET) for _ in range(100)]
    assert balancer.wait_for(SHED)["open_files_limit"] == 64
    # Each of them knows at once where it stands: waits for its answer, was told 503, or was closed.
    inside = eventually(balancer.in_flight, lambda count: count > 10)
    waiting = [client for client in clients if not client.has_bytes() and not client.is_closed()]
    told = [client.answer() for client in clients if client.has_bytes()]
    assert len(waiting) == inside
    assert told
    assert {(message.status, message.get("retry-after")) for message in told} == {(503, "1")}
    # The supervisor, and through it the worker that has nothing left, can be watched and changed.
    assert admin.target(target.name)["in_flight"] == inside
    assert admin.done("PUT", "/v1/pools/default/algorithm", {"algorithm": "random"})["version"] == 2
    with admin.events() as events:
        assert next(events)[0] == "status"
    # A log that cannot be opened anew stays the one that it was.
    balancer.signal(signal.SIGUSR1)
    gate.open()
    assert [client.answer().body for client in waiting] == [b"ok"] * inside
    for client in clients:
        client.close()

    def serves() -> bool:
        with suppress(ConnectionError, ClosedEarlyError):
            return fetch(balancer.port).status == 200
        return False

    eventually(serves)
    balancer.wait_idle()
    assert admin.target(target.name)["health"] == "up"
    assert len(balancer.find(SHED)) == 1
    assert {line["status"] for line in balancer.access_log(inside + len(told) + 1)} == {200, 503}


def test_a_full_disk_under_the_access_log_costs_lines_that_are_counted_and_no_request(
    stage: Stage, balance: Balance, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "32m"):
        path = disk / "access.log"
        target = stage.target()
        balancer = balance([target], Setting(admin=True, log=f'path = "{path}"\nbody_limit = "1MiB"'))
        admin = Admin(balancer)
        fill(disk / "full")
        # More than may wait in memory: from then on lines are lost.
        results = Load(balancer.port, 4, post(b"x" * 600_000)).run_times(40)
        results.assert_all_good()
        eventually(lambda: metric(admin, "equipoise_access_log_dropped_total"))
        (disk / "full").unlink()
        eventually(lambda: "writing works again" in balancer.log_text())
        balancer.end()
        lines = [line for line in path.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        lost = int(balancer.log_text().rpartition(" lines were dropped")[0].rpartition(" ")[2])
    assert lost > 0
    assert len([json.loads(line) for line in lines]) == results.answered - lost
    assert balancer.log_text().count("cannot write: No space left on device") == 1


def metric(admin: Admin, name: str) -> float:
    """The sum of a metric's samples."""
    lines = admin.ask("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_an_application_log_that_cannot_be_written_stops_nothing(stage: Stage, tmp_path: Path) -> None:
    """Standard error is where the balancer complains; here there is no room for any complaint."""
    targets = [stage.target(), stage.target()]
    port = stage.closed_port().port
    config = tmp_path / "equipoise.toml"
    config.write_text(Setting(listen=f"127.0.0.1:{port}").text(urls(targets)))
    command = [sys.executable, "-m", "equipoise", "run", "-c", str(config)]
    with Path("/dev/full").open("wb") as full:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=full, stderr=full)
    try:

        def status() -> int:
            with suppress(ConnectionError):
                return fetch(port).status
            return 0

        eventually(status, lambda code: code == 200)
        targets[0].stop()
        config.write_text("nonsense")
        for _ in range(3):
            process.send_signal(signal.SIGHUP)
            assert status() == 200
        targets[0].start()
        eventually(lambda: status() and targets[0].requests[-1:], lambda _: len(targets[0].requests) > 2)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
