"""A worker that dies takes its own connections along and nothing else."""

import os
import signal

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import GET, Background, Client, Load, fetch
from tests.scenarios.support.messages import ClosedEarlyError
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Stage, answer


def held_by(balancer: Balancer, pid: int) -> int:
    """How many requests a worker has in flight, by its row of the ledger."""
    row = int(balancer.find("worker started", pid=pid)[0]["row"])
    return sum(slot[row] for slot in balancer.cells())


def wait_dead(balancer: Balancer, pid: int) -> None:
    """Returns when a worker is gone, whether it has a successor or not."""
    eventually(lambda: pid not in balancer.workers)


def test_the_kill_of_a_worker_drops_its_own_connections_only(stage: Stage, balance: Balance) -> None:
    gate = stage.gate()

    async def waits(call: Call) -> None:
        await gate.passed()
        await call.send(answer())

    balancer = balance([stage.target(waits)], Setting(workers=2))
    clients = [Client(balancer.port).send(GET) for _ in range(40)]
    eventually(balancer.in_flight, lambda count: count == 40)
    victim = balancer.workers[0]
    lost = held_by(balancer, victim)
    assert 0 < lost < 40
    os.kill(victim, signal.SIGKILL)
    eventually(balancer.in_flight, lambda count: count == 40 - lost)
    gate.open()
    dropped = 0
    for client in clients:
        try:
            assert client.answer().body == b"ok"
        except (ClosedEarlyError, ConnectionResetError):
            dropped += 1
    assert dropped == lost
    balancer.wait_idle()


def test_a_successor_serves_what_waited_in_the_dead_worker_s_queue(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target()])
    for _ in range(2):
        (victim,) = balancer.workers
        os.kill(victim, signal.SIGKILL)
        wait_dead(balancer, victim)
        # Nobody accepts now, and yet nobody is turned away.
        with Client(balancer.port) as client:
            assert client.ask(GET).body == b"ok"
    died = balancer.find("worker died")
    assert len(died) == 2
    assert died[0]["signal"] == "SIGKILL"


def test_a_successor_knows_the_world_as_it_is_now(stage: Stage, balance: Balance) -> None:
    before, after = stage.target(), stage.target()
    setting = Setting()
    balancer = balance([before], setting)
    assert balancer.reload(setting.text([after.url]))["event"] == "reloaded"
    first = balancer.workers
    os.kill(first[0], signal.SIGKILL)
    eventually(lambda: balancer.workers not in ([], first))
    assert fetch(balancer.port).body == b"ok"
    assert len(before.requests) == 0
    assert len(after.requests) == 1


def test_under_load_only_the_dead_worker_s_clients_see_an_error(stage: Stage, balance: Balance, scale: int) -> None:
    balancer = balance([stage.target(), stage.target()], Setting(workers=2))
    load = Load(balancer.port, 10)
    with Background(load) as background:
        background.wait_for(10 * scale)
        victim = balancer.workers[0]
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(balancer.find("worker started")), lambda count: count == 3)
        background.wait_for(20 * scale)
    assert set(load.results.statuses) == {200}
    # Each client holds one connection, and a connection can only be lost once.
    assert len(load.results.errors) <= 10
    balancer.wait_idle()
