"""What goes wrong around the balancer, and what that may cost: nothing but the requests that it touches."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scenarios.admin.conftest import Administer
from tests.scenarios.conftest import Balance
from tests.scenarios.support.admin import Admin
from tests.scenarios.support.balancer import Balancer, Setting, urls
from tests.scenarios.support.client import GET, Background, Client, Load, fetch, post
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Stage, answer

RELOADS = 40
RELOADS_PER_SECOND = 20


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The process does nothing in between."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def small_disk(folder: Path, size: str = "256k") -> Iterator[None]:
    """A file system of its own on the folder, for the test alone."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    """Takes all the room that there is beside the file."""
    with path.open("wb", buffering=0) as file:
        for size in (4096, 1):
            while True:
                try:
                    file.write(b"x" * size)
                except OSError:
                    break


def test_a_frozen_worker_holds_up_its_own_clients_and_loses_none(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target()], Setting(workers=2))
    with frozen(balancer.workers[0]):
        clients = [Client(balancer.port).send(GET) for _ in range(40)]
        # The kernel spreads connections over both: some are answered now, some wait.
        eventually(lambda: sum(client.has_bytes() for client in clients) > 0)
    assert [client.answer().body for client in clients] == [b"ok"] * 40
    balancer.wait_idle()


def test_a_full_state_directory_refuses_changes_and_keeps_the_traffic(stage: Stage, tmp_path: Path) -> None:
    target = stage.target()
    with small_disk(tmp_path / "state"), Balancer(tmp_path, Setting(admin=True).text([target.url])) as balancer:
        admin = Admin(balancer)
        version = admin.done("PUT", "/v1/pools/default/algorithm", {"algorithm": "random"})["version"]
        full = tmp_path / "state" / "full"
        fill(full)
        refused = admin.ask("PUT", "/v1/pools/default/algorithm", {"algorithm": "round_robin"})
        assert refused.status == 507
        assert "o space left" in refused.problem()
        assert fetch(balancer.port).body == b"ok"
        assert admin.done("GET", "/v1/config")["version"] == version
        assert admin.status()["pools"]["default"]["algorithm"] == "random"
        full.unlink()
        assert admin.done("PUT", "/v1/pools/default/algorithm", {"algorithm": "round_robin"})["version"] > version


def test_overload_is_shed_at_once_with_a_hint_and_the_admin_api_answers(stage: Stage, administer: Administer) -> None:
    gate = stage.gate()

    async def waits(call: Call) -> None:
        await gate.passed()
        await call.send(answer())

    target = stage.target(waits)
    pool = f'[[pools.default.targets]]\nurl = "{target.url}"\nmax_in_flight = 2\n[pools.default.queue]\nsize = 3\n'
    admin = administer([target], workers=1, pool=pool + 'timeout = "20s"\n')
    balancer = admin.balancer
    clients = [Client(balancer.port).send(GET) for _ in range(20)]
    shed = eventually(
        lambda: [client for client in clients if client.has_bytes()], lambda early: len(early) == 20 - 2 - 3
    )
    answers = [client.answer() for client in shed]
    assert {message.status for message in answers} == {503}
    assert all(int(message.get("retry-after") or 0) > 0 for message in answers)
    assert admin.target(target.name)["in_flight"] == 2
    gate.open()
    assert [client.answer().status for client in clients if client not in shed] == [200] * 5
    assert target.most_in_flight == 2
    balancer.wait_idle()


def test_twenty_reloads_a_second_cost_no_request(stage: Stage, balance: Balance) -> None:
    targets = [stage.target() for _ in range(3)]
    texts = [Setting(workers=2).text(urls(targets[:2])), Setting(workers=2).text(urls(targets[1:]))]
    balancer = balance(targets[:2], Setting(workers=2))
    load = Load(balancer.port, 4)
    with Background(load) as background:
        for number in range(RELOADS):
            balancer.config.write_text(texts[number % 2])
            balancer.signal(signal.SIGHUP)
            time.sleep(1 / RELOADS_PER_SECOND)
        background.wait_for(20)
        # Signals that come while one is being done may count as one; the last file is the one that holds.
        balancer.reload(texts[1])
    load.results.assert_all_good()
    assert not balancer.find("reload refused")
    balancer.wait_idle()
    before = len(targets[0].requests)
    assert {fetch(balancer.port).status for _ in range(6)} == {200}
    assert len(targets[0].requests) == before


def test_all_targets_gone_and_back_costs_503_and_502_and_no_post_twice(stage: Stage, balance: Balance) -> None:
    targets = [stage.target(), stage.target()]
    health = '[pools.default.health]\ndown_interval = "100ms"\n'
    balancer = balance(targets, Setting(pool=health))
    load = Load(balancer.port, 4, post(b"x"))
    with Background(load) as background:
        background.wait_for(20)
        for target in targets:
            target.stop()
        eventually(lambda: load.results.statuses[503], lambda count: count > 5)
        for target in targets:
            target.start()
        good = load.results.statuses[200]
        eventually(lambda: load.results.statuses[200], lambda count: count > good + 20)
    results = load.results
    assert not results.errors
    assert set(results.statuses) <= {200, 502, 503}
    # Those that found nobody, and those that were at a target when it went, are 502: none of them is there twice.
    assert sum(len(target.requests) for target in targets) <= results.statuses[200] + results.statuses[502]
    balancer.wait_idle()
