"""What is replaced while it runs: the configuration, the workers, the whole balancer. No client may notice."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.scenarios.admin.conftest import Administer
from tests.scenarios.conftest import Balance
from tests.scenarios.support.admin import Admin
from tests.scenarios.support.balancer import Balancer, Setting, environment, is_gone
from tests.scenarios.support.client import GET, Client, fetch
from tests.scenarios.support.polling import PATIENCE, eventually
from tests.scenarios.support.real_target import RealTarget
from tests.scenarios.support.stage import Call, Gate, Script, Stage, answer
from tests.scenarios.support.traffic import Traffic

# All three together are more than 10,000; a longer run is asked for by the environment.
ANSWERS = int(os.environ.get("EQUIPOISE_ZERO_DOWNTIME_ANSWERS", "3500"))
LIMITS = '[limits]\ndrain_timeout = "10s"'


def waits(gate: Gate) -> Script:
    """Answers once the gate is open."""

    async def script(call: Call) -> None:
        await call.body()
        await gate.passed()
        await call.send(answer())

    return script


def upgrade(balancer: Balancer) -> None:
    """Signals, and returns when another process is in charge and the one before it is gone."""
    done = len(balancer.find("taken over"))
    gone = len(balancer.find("stopped"))
    balancer.signal(signal.SIGUSR2)
    eventually(lambda: len(balancer.find("taken over")) > done and len(balancer.find("stopped")) > gone, within=60)


def reload(balancer: Balancer) -> None:
    """Another configuration: the algorithm changes each time."""
    text = balancer.config.read_text()
    before, after = ("random", "round_robin") if '"random"' in text else ("round_robin", "random")
    said = balancer.reload(text.replace(f'"{before}"', f'"{after}"'))
    assert said["event"] == "reloaded", said


def replace(balancer: Balancer) -> None:
    """Every worker is another one."""
    before = balancer.workers
    admin = Admin(balancer)
    replaced = admin.done("POST", "/v1/workers/replace")["workers"]
    assert [each["before"] for each in replaced] == before
    assert sorted(balancer.workers) == sorted(each["pid"] for each in replaced)


def equipoise(balancer: Balancer, *words: str) -> "subprocess.Popen[str]":
    """A command of the client, started."""
    command = [sys.executable, "-m", "equipoise", *words, "-c", str(balancer.config), "--admin", balancer.admin]
    return subprocess.Popen(command, cwd=balancer.folder, env=environment(), stdout=subprocess.PIPE, text=True)


@pytest.fixture
def real_pair(tmp_path: Path) -> Iterator[list[RealTarget]]:
    with RealTarget(tmp_path, {}) as one, RealTarget(tmp_path, {}) as two:
        yield [one, two]


@pytest.mark.parametrize("act", [reload, replace, upgrade])
def test_no_request_of_thousands_is_lost(
    real_pair: list[RealTarget], tmp_path: Path, act: Callable[[Balancer], None]
) -> None:
    setting = Setting(workers=2, admin=True, pool='algorithm = "random"', more=LIMITS)
    with Balancer(tmp_path, setting.text([target.url for target in real_pair])) as balancer:
        with Traffic(balancer.port) as traffic:
            acts = 0
            while traffic.answers < ANSWERS or acts < 2:
                traffic.wait_for(ANSWERS // 10, within=60)
                began = time.monotonic()
                act(balancer)
                acts += 1
                traffic.wait_for(50, within=60)
                time.sleep(max(0.0, 1.0 - (time.monotonic() - began)) if act is reload else 0.0)
        traffic.assert_none_lost()
        print(f"{act.__name__}: {traffic.answers} requests, {acts} times, none lost")  # noqa: T201 -- for the record
        balancer.wait_idle()


# Upgrade


def test_what_is_under_way_is_answered_and_a_second_upgrade_meanwhile_refused(stage: Stage, balance: Balance) -> None:
    gate = stage.gate()
    balancer = balance([stage.target(waits(gate))], Setting(workers=2, more=LIMITS))
    slow = [Client(balancer.port).send(GET) for _ in range(6)]
    eventually(balancer.in_flight, lambda count: count == 6)
    before = balancer.pid
    balancer.signal(signal.SIGUSR2)
    balancer.wait_for("upgrade begins")
    balancer.signal(signal.SIGUSR2)
    assert balancer.wait_for("upgrade refused")["reason"] == "an upgrade is under way"
    balancer.wait_for("taken over", before=before)
    balancer.wait_for("draining", signal="upgrade")
    late = [Client(balancer.port).send(GET) for _ in range(6)]
    eventually(lambda: gate.reached, lambda count: count == 12)
    gate.open()
    for client in (*slow, *late):
        assert client.answer().body == b"ok"
    assert balancer.wait_exit() == 0
    assert balancer.pid != before
    assert len(balancer.workers) == 2


def test_a_configuration_that_the_new_process_refuses_leaves_the_old_one_in_charge(
    stage: Stage, administer: Administer
) -> None:
    admin = administer([stage.target()], workers=1)
    balancer = admin.balancer
    before = balancer.pid
    text = balancer.config.read_text()
    admin.token()  # which is made by a command that reads the file
    for bad, reason in (
        (text.replace("workers = 1", 'workers = "many"'), "workers"),  # it cannot be read
        (text.replace('"access.log"', '"/nowhere/access.log"'), "No such file"),  # the workers cannot take it up
        (text.replace('listen = "127.0.0.1:0"\nworkers', 'listen = ["127.0.0.1:0", "192.0.2.1:1"]\nworkers'), "listen"),
    ):
        balancer.config.write_text(bad)
        refused = admin.ask("POST", "/v1/upgrade")
        assert refused.status == 409
        assert reason in refused.problem()
        assert fetch(balancer.port).status == 200
    assert balancer.pid == before
    assert len(balancer.find("upgrade failed; this process goes on")) == 3
    # And it is not stuck: changes and upgrades are possible again.
    balancer.config.write_text(text)
    admin.done("PUT", "/v1/pools/default/algorithm", {"algorithm": "random"})
    assert admin.done("POST", "/v1/upgrade")["before"] == before


def test_the_admin_api_its_changes_and_what_is_known_of_targets_pass_over(stage: Stage, administer: Administer) -> None:
    well, gone = stage.target(), stage.target()
    # Nobody probes, and who is down stays down: the new process can know it from the old one only.
    health = (
        '[pools.default.health]\ntype = "none"\n[pools.default.health.passive]\neject_min = "600s"\neject_max = "600s"'
    )
    admin = administer([well, gone], workers=1, pool=health)
    balancer = admin.balancer
    gone.stop()
    eventually(lambda: fetch(balancer.port).status and admin.target(gone.name)["health"] == "down")
    version = admin.done("PUT", "/v1/pools/default/algorithm", {"algorithm": "random"})["version"]
    with equipoise(balancer, "upgrade") as command:
        lines = command.communicate(timeout=PATIENCE * 4)[0]
    assert lines.startswith(f"process {balancer.pid} has taken over from ")
    status = admin.status()
    assert (status["pid"], status["version"]) == (balancer.pid, version)
    assert status["pools"]["default"]["algorithm"] == "random"
    down = admin.target(gone.name)
    assert (down["health"], down["reason"], down["requests"]) == ("down", "connect failed", 0)
    assert {fetch(balancer.port).status for _ in range(10)} == {200}
    assert admin.target(gone.name)["requests"] == 0
    assert admin.done("PUT", "/v1/pools/default/algorithm", {"algorithm": "round_robin"})["version"] == version + 1


def test_who_is_told_of_the_new_process_does_not_meet_the_old_one_again(stage: Stage, administer: Administer) -> None:
    # A long transfer keeps the old process there; it has the socket of the admin API for as long as the new one.
    gate = stage.gate()
    admin = administer([stage.target(waits(gate))], workers=1)
    waiting = Client(admin.balancer.port).send(GET)
    for _ in range(3):
        told = admin.done("POST", "/v1/upgrade")
        assert {admin.status()["pid"] for _ in range(20)} == {told["pid"]}
    gate.open()
    assert waiting.answer().body == b"ok"


def test_workers_and_listeners_may_be_others_after_an_upgrade(stage: Stage, balance: Balance) -> None:
    targets = [stage.target()]
    two = 'listen = ["127.0.0.1:0", "127.0.0.2:0"]'
    balancer = balance(targets, Setting(workers=1, more=LIMITS))
    text = balancer.config.read_text()

    def become(listen: str, workers: int) -> None:
        changed = text.replace('listen = "127.0.0.1:0"\nworkers = 1', f"{listen}\nworkers = {workers}")
        balancer.config.write_text(changed)
        upgrade(balancer)
        assert len(balancer.workers) == workers
        # Every socket has somebody who accepts from it.
        assert {fetch(balancer.port).status for _ in range(24)} == {200}

    become(two, 3)
    added = str(balancer.find("listening")[-1]["address"])
    assert added.startswith("127.0.0.2:")
    port = int(added.rpartition(":")[2])
    assert fetch_at("127.0.0.2", port) == 200
    become(two, 2)
    assert fetch_at("127.0.0.2", port) == 200
    become('listen = "127.0.0.1:0"', 1)
    with pytest.raises(ConnectionRefusedError):
        fetch_at("127.0.0.2", port)


def fetch_at(host: str, port: int) -> int:
    """The status of one request to another address of this machine."""
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    finally:
        connection.close()


def starting(balancer: Balancer, count: int) -> int:
    """The process id of the balancer that was started as the so-many-th, from 0 on."""
    return int(eventually(lambda: balancer.find("starting")[count:])[0]["pid"])


def test_a_new_process_that_is_killed_leaves_the_old_one_and_a_stop_ends_both(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target()], Setting(more=LIMITS))
    balancer.signal(signal.SIGUSR2)
    os.kill(starting(balancer, 1), signal.SIGKILL)
    balancer.wait_for("upgrade failed; this process goes on")
    assert fetch(balancer.port).status == 200
    balancer.signal(signal.SIGUSR2)
    new = starting(balancer, 2)
    balancer.signal(signal.SIGTERM)
    assert balancer.wait_exit() == 0
    eventually(lambda: is_gone(new))
    assert not balancer.find("taken over")


# Replacement


def test_a_long_answer_outlives_the_replacement_of_its_worker(stage: Stage, administer: Administer) -> None:
    gate = stage.gate()
    admin = administer([stage.target(waits(gate))], workers=1, more=LIMITS)
    balancer = admin.balancer
    (before,) = balancer.workers
    client = Client(balancer.port).send(GET)
    eventually(balancer.in_flight, lambda count: count == 1)
    with equipoise(balancer, "workers", "replace") as command:
        after = int(balancer.wait_for("worker replaced", pid=before)["successor"])
        draining = {each["pid"]: each["draining"] for each in admin.status()["workers"]}
        assert draining == {before: True, after: False}
        late = Client(balancer.port).send(GET)
        eventually(balancer.in_flight, lambda count: count == 2)
        refused = admin.ask("POST", "/v1/workers/replace")
        assert (refused.status, refused.problem()) == (409, "the replacement of the workers is under way")
        gate.open()
        assert client.answer().body == late.answer().body == b"ok"
        assert command.communicate(timeout=PATIENCE)[0] == f"worker {after} has taken over from {before}\n"
    assert balancer.workers == [after]
    balancer.wait_idle()


def test_process_1_of_a_container_refuses_an_upgrade_and_goes_on(stage: Stage, balance: Balance) -> None:
    own = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*own, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no process namespace can be made here")
    balancer = balance([stage.target()], Setting(), own)
    (first,) = Path(f"/proc/{balancer.process.pid}/task/{balancer.process.pid}/children").read_text().split()
    os.kill(int(first), signal.SIGUSR2)
    assert "start a new container instead" in balancer.wait_for("upgrade refused")["reason"]
    assert fetch(balancer.port).status == 200
    os.kill(int(first), signal.SIGTERM)
    assert balancer.wait_exit() == 0
