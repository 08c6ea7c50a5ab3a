"""However an exchange ends, what it held at its target is given back, and no count is ever below zero."""

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import GET, Client, Load, fetch, get, post
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Script, Stage, Target, answer, hangs, resets, says, says_and_closes

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
SHORT_TIMEOUT = Setting(more='[limits]\nresponse_timeout = "200ms"')


async def half_then_reset(call: Call) -> None:
    await call.body()
    await call.send(HALF)
    call.reset()


async def half_then_hang(call: Call) -> None:
    await call.body()
    await call.send(HALF)
    await call.gone()


def assert_given_back(balancer: Balancer) -> None:
    """Nothing is in flight, and the balancer still serves."""
    balancer.wait_idle()
    cells = balancer.cells()
    assert all(count == 0 for slot in cells for count in slot), cells


def wait_in_flight(balancer: Balancer, count: int) -> None:
    """So many are held now: the test sees something that can be given back."""
    eventually(balancer.in_flight, lambda seen: seen == count)


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "500 Oops", "502 Bad Gateway", "503 Busy", "204 None"])
def test_after_an_answer(stage: Stage, balance: Balance, status: str) -> None:
    gate = stage.gate()

    async def waits(call: Call) -> None:
        await gate.passed()
        await call.send(answer(status) if "204" not in status else b"HTTP/1.1 204 None\r\n\r\n")

    balancer = balance([stage.target(waits)])
    with Client(balancer.port) as client:
        client.send(GET)
        wait_in_flight(balancer, 1)
        gate.open()
        assert client.answer().line.endswith(status.encode())
        assert_given_back(balancer)


@pytest.mark.parametrize(
    ("script", "method"),
    [
        pytest.param(resets, "GET", id="reset before an answer, retried until there is nobody left"),
        pytest.param(resets, "POST", id="reset before an answer"),
        pytest.param(half_then_reset, "GET", id="reset in the middle"),
        pytest.param(says_and_closes(HALF), "GET", id="closed in the middle"),
        pytest.param(says_and_closes(), "POST", id="closed before an answer"),
        pytest.param(says(b"nonsense\r\n\r\n"), "GET", id="malformed answer"),
        pytest.param(says_and_closes(b"HTTP/1.1 200 OK\r\n\r\nuntil close"), "GET", id="until close"),
    ],
)
def test_after_a_target_s_failure(stage: Stage, balance: Balance, script: Script, method: str) -> None:
    targets = [stage.target(script), stage.target(script)]
    balancer = balance(targets)
    with Client(balancer.port) as client:
        client.send(post(b"body", method=method))
        client.rest() if script is half_then_reset else client.head()
        assert_given_back(balancer)
    assert sum(len(target.requests) for target in targets) >= 1


@pytest.mark.parametrize("script", [hangs, half_then_hang])
def test_after_a_response_timeout(stage: Stage, balance: Balance, script: Script) -> None:
    target = stage.target(script)
    balancer = balance([target], SHORT_TIMEOUT)
    with Client(balancer.port) as client:
        client.send(GET)
        wait_in_flight(balancer, 1)
        assert client.rest() if script is half_then_hang else client.answer().status == 504
        assert_given_back(balancer)
    eventually(lambda: target.in_flight, lambda count: count == 0)


@pytest.mark.parametrize("leaving", ["close", "reset"])
def test_after_the_client_left_while_it_waited(stage: Stage, balance: Balance, leaving: str) -> None:
    target = stage.target(hangs)
    balancer = balance([target])
    client = Client(balancer.port).send(GET)
    wait_in_flight(balancer, 1)
    eventually(lambda: target.in_flight, lambda count: count == 1)
    client.close() if leaving == "close" else client.reset()
    assert_given_back(balancer)
    # The target is told at once too: nobody waits for its answer.
    eventually(lambda: target.in_flight, lambda count: count == 0)


@pytest.mark.parametrize("leaving", ["close", "reset"])
def test_after_the_client_left_in_the_middle_of_an_answer(stage: Stage, balance: Balance, leaving: str) -> None:
    target = stage.target(half_then_hang)
    balancer = balance([target])
    client = Client(balancer.port).send(GET)
    client.head()
    wait_in_flight(balancer, 1)
    client.close() if leaving == "close" else client.reset()
    assert_given_back(balancer)
    eventually(lambda: target.in_flight, lambda count: count == 0)


@pytest.mark.parametrize("leaving", ["close", "reset"])
def test_after_the_client_left_in_the_middle_of_its_upload(stage: Stage, balance: Balance, leaving: str) -> None:
    target = stage.target()
    balancer = balance([target])
    client = Client(balancer.port).send(post(b"x" * 1000)[:-10])
    eventually(lambda: target.in_flight, lambda count: count == 1)
    wait_in_flight(balancer, 1)
    client.close() if leaving == "close" else client.reset()
    assert_given_back(balancer)
    eventually(lambda: target.in_flight, lambda count: count == 0)


@pytest.fixture
def unconnectable(stage: Stage) -> Iterator[Target]:
    """A target to which a connect hangs: its queue of connections is full and nobody accepts."""
    sockets = [socket.socket() for _ in range(5)]
    full, *fillers = sockets
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
    target = stage.closed_port()
    target.port = full.getsockname()[1]
    yield target
    for sock in sockets:
        sock.close()


def test_after_the_client_left_while_the_connection_was_being_made(balance: Balance, unconnectable: Target) -> None:
    setting = Setting(pool='health.type = "none"', more='[limits]\nconnect_timeout = "30s"')
    balancer = balance([unconnectable], setting)
    client = Client(balancer.port).send(GET)
    wait_in_flight(balancer, 1)
    client.close()
    assert_given_back(balancer)


def test_after_a_connect_timeout(balance: Balance, unconnectable: Target) -> None:
    setting = Setting(pool='health.type = "none"', more='[limits]\nconnect_timeout = "200ms"')
    balancer = balance([unconnectable], setting)
    with Client(balancer.port) as client:
        client.send(GET)
        assert client.answer().status == 504
        assert_given_back(balancer)


def test_after_a_retry(stage: Stage, balance: Balance) -> None:
    gate = stage.gate()

    async def answers_late(call: Call) -> None:
        await gate.passed()
        await call.send(answer())

    bad, good = stage.target(resets), stage.target(answers_late)
    balancer = balance([bad, good])
    clients = [Client(balancer.port).send(GET) for _ in range(4)]
    eventually(lambda: good.in_flight, lambda count: count == 4)
    assert len(bad.requests) >= 1
    # The failed attempts hold nothing at the other target while these run.
    wait_in_flight(balancer, 4)
    gate.open()
    for client in clients:
        assert client.answer().body == b"ok"
        client.close()
    assert_given_back(balancer)


def test_after_a_body_that_breaks_the_rules(stage: Stage, balance: Balance) -> None:
    target = stage.target()
    balancer = balance([target])
    with Client(balancer.port) as client:
        client.send(get("/", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
        wait_in_flight(balancer, 1)
        client.send(b"zz\r\n")
        assert client.answer().status == 400
        assert_given_back(balancer)
    eventually(lambda: target.in_flight, lambda count: count == 0)


def test_after_a_body_that_does_not_arrive(stage: Stage, balance: Balance) -> None:
    target = stage.target()
    balancer = balance([target], Setting(more='[limits]\nbody_timeout = "300ms"'))
    with Client(balancer.port) as client:
        client.send(post(b"x" * 100)[:-50])
        wait_in_flight(balancer, 1)
        assert client.answer().status == 408
        assert_given_back(balancer)
    eventually(lambda: target.in_flight, lambda count: count == 0)


@pytest.mark.parametrize("who", ["client", "client resets", "target", "target resets"])
def test_after_a_tunnel(stage: Stage, balance: Balance, who: str) -> None:
    async def switches(call: Call) -> None:
        await call.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
        call.buffer.feed(await call.reader.read(100))
        call.buffer.data.clear()
        if who == "target":
            call.close()
        elif who == "target resets":
            call.reset()
        else:
            await call.gone()

    target = stage.target(switches)
    balancer = balance([target])
    client = Client(balancer.port)
    client.send(get("/", "Connection: Upgrade", "Upgrade: raw"))
    assert client.answer().status == 101
    wait_in_flight(balancer, 1)
    if who == "client":
        client.close()
    elif who == "client resets":
        client.reset()
    else:
        client.send(b"now")
        client.rest()
        client.close()
    assert_given_back(balancer)


@pytest.mark.parametrize("workers", [1, 2])
def test_after_the_kill_of_a_worker(stage: Stage, balance: Balance, workers: int) -> None:
    target = stage.target(hangs)
    balancer = balance([target], Setting(workers=workers))
    clients = [Client(balancer.port).send(GET) for _ in range(12)]
    wait_in_flight(balancer, 12)
    for pid in balancer.workers:
        os.kill(pid, signal.SIGKILL)
    for client in clients:
        assert client.rest() == b""
        client.close()
    assert_given_back(balancer)
    target.script = says(answer())
    eventually(lambda: len(balancer.workers), lambda count: count == workers)
    assert fetch(balancer.port).body == b"ok"
    assert_given_back(balancer)


def test_after_everything_at_once(stage: Stage, balance: Balance, scale: int) -> None:
    """Answers, failures, retries and clients that leave, on several workers."""

    async def varies(call: Call) -> None:
        await call.body()
        match len(call.target.requests) % 7:
            case 0:
                call.reset()
            case 1:
                await call.send(answer("503 Busy"))
            case 2:
                await call.send(HALF)
                call.close()
            case _:
                await call.send(answer())

    targets = [stage.target(varies) for _ in range(3)]
    setting = Setting(workers=2, pool="health.passive.enabled = false")
    balancer = balance(targets, setting)
    load = Load(balancer.port, 10)
    results = load.run_times(200 * scale)
    assert results.answered >= 100 * scale
    for target in targets:
        target.script = hangs
    clients = [Client(balancer.port).send(GET) for _ in range(20)]
    wait_in_flight(balancer, 20)
    for number, client in enumerate(clients):
        client.close() if number % 2 else client.reset()
    assert_given_back(balancer)
