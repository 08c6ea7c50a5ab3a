"""What the balancer does when it is told to stop, and when it is killed."""

import os
import signal
import socket
from contextlib import suppress

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import GET, Background, Client, Load, get, post
from tests.scenarios.support.polling import eventually, stays
from tests.scenarios.support.stage import Call, Gate, Script, Stage, answer, echoes, hangs


def waits(gate: Gate) -> Script:
    """Takes the whole request and answers once the gate is open."""

    async def script(call: Call) -> None:
        body = await call.body()
        await gate.passed()
        await call.send(answer("200 OK", body or b"ok"))

    return script


def refuses_connections(balancer: Balancer) -> bool:
    """Whether nobody listens on the balancer's port."""
    with socket.socket() as sock:
        sock.settimeout(0.2)
        try:
            sock.connect(("127.0.0.1", balancer.port))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    with suppress(OSError), open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        return file.read().rpartition(")")[2].split()[0] == "Z"
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_lets_slow_answers_and_uploads_end(
    stage: Stage, balance: Balance, number: signal.Signals, workers: int
) -> None:
    gate = stage.gate()
    target = stage.target(waits(gate))
    balancer = balance([target], Setting(workers=workers))
    slow = [Client(balancer.port).send(GET) for _ in range(8)]
    upload = Client(balancer.port)
    body = b"x" * 500_000
    request = post(body)
    upload.send(request[:-1000])
    eventually(lambda: target.in_flight, lambda count: count == 9)
    idle = Client(balancer.port)
    target.script = echoes
    assert idle.ask(GET).status == 200
    target.script = waits(gate)

    balancer.signal(number)
    balancer.wait_for("draining")
    assert idle.rest() == b""
    upload.send(request[-1000:])
    assert balancer.process.poll() is None
    gate.open()
    for client in slow:
        message = client.answer()
        assert (message.status, message.body) == (200, b"ok")
        if workers == 1:  # its idle connection was closed already, so it drains; another worker may be a moment behind
            assert message.get("connection") == "close"
        client.close()
    assert upload.answer().body == body
    assert balancer.wait_exit() == 0
    for client in (upload, idle):
        client.close()
    assert refuses_connections(balancer)


def test_under_load_a_stop_cuts_no_request(stage: Stage, balance: Balance, scale: int) -> None:
    """A client may find the door closed, but a request that was taken is answered."""
    balancer = balance([stage.target(), stage.target()], Setting(workers=2))
    load = Load(balancer.port, 8)
    load.keep_alive = False
    with Background(load) as background:
        background.wait_for(20 * scale)
        balancer.signal(signal.SIGTERM)
        assert balancer.wait_exit() == 0
    assert set(load.results.statuses) == {200}
    assert {error.partition(":")[0] for error in load.results.errors} <= {"ConnectionRefusedError"}


def test_new_connections_are_refused_while_it_drains(stage: Stage, balance: Balance) -> None:
    gate = stage.gate()
    balancer = balance([stage.target(waits(gate))])
    with Client(balancer.port) as client:
        client.send(GET)
        eventually(balancer.in_flight, lambda count: count == 1)
        balancer.signal(signal.SIGTERM)
        eventually(lambda: refuses_connections(balancer))
        gate.open()
        assert client.answer().body == b"ok"
    assert balancer.wait_exit() == 0


def test_a_second_stop_leaves_at_once(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target(hangs)], Setting(workers=2))
    with Client(balancer.port) as client:
        client.send(GET)
        eventually(balancer.in_flight, lambda count: count == 1)
        balancer.signal(signal.SIGTERM)
        balancer.wait_for("draining")
        balancer.signal(signal.SIGTERM)
        balancer.wait_exit()
        assert client.rest() == b""
    assert balancer.find("leaving at once")


def test_a_drain_ends_at_its_timeout(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target(hangs)], Setting(more='[limits]\ndrain_timeout = "300ms"'))
    with Client(balancer.port) as client:
        client.send(GET)
        eventually(balancer.in_flight, lambda count: count == 1)
        balancer.signal(signal.SIGTERM)
        assert balancer.wait_exit() == 0
        assert client.rest() == b""
    assert balancer.find("drain timeout: connections are cut", connections=1)


def test_the_kill_of_the_supervisor_lets_answers_end_and_leaves_nothing_behind(stage: Stage, balance: Balance) -> None:
    gate = stage.gate()
    balancer = balance([stage.target(waits(gate))], Setting(workers=2))
    workers = balancer.workers
    clients = [Client(balancer.port).send(GET) for _ in range(6)]
    eventually(balancer.in_flight, lambda count: count == 6)
    balancer.process.kill()
    balancer.process.wait()
    eventually(lambda: refuses_connections(balancer))
    assert not all(is_gone(pid) for pid in workers)
    gate.open()
    for client in clients:
        assert client.answer().body == b"ok"
        client.close()
    eventually(lambda: all(is_gone(pid) for pid in workers))
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", balancer.port))
        sock.listen()


def test_the_workers_ignore_signals_that_are_meant_for_the_supervisor(stage: Stage, balance: Balance) -> None:
    """Ctrl-C reaches the whole group; the supervisor alone decides."""
    balancer = balance([stage.target()])
    before = balancer.workers
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        os.kill(before[0], number)
    with Client(balancer.port) as client:
        assert client.ask(GET).body == b"ok"
    stays(lambda: balancer.workers, lambda seen: seen == before)


def test_a_client_that_sends_no_byte_does_not_hold_up_a_stop(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target()])
    silent = [Client(balancer.port) for _ in range(5)]
    with Client(balancer.port) as client:
        assert client.ask(get("/")).body == b"ok"
    balancer.signal(signal.SIGTERM)
    assert balancer.wait_exit() == 0
    for each in silent:
        assert each.rest() == b""
        each.close()
