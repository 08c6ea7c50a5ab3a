"""What one client may cost, and that those who cost more do not cost the others their service."""

import asyncio
import os
import time
from contextlib import suppress

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Setting
from tests.scenarios.support.client import GET, Background, Client, Load, chunked, fetch, get, post
from tests.scenarios.support.messages import Buffer, ClosedEarlyError, read_answer
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Stage, hangs


def limits(text: str, workers: int = 1) -> Setting:
    """A setting with limits."""
    return Setting(workers=workers, more=f"[limits]\n{text}")


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\n", GET[:-2]])
def test_a_head_that_does_not_end_is_408(stage: Stage, balance: Balance, begun: bytes) -> None:
    target = stage.target()
    balancer = balance([target], limits('head_timeout = "300ms"'))
    with Client(balancer.port) as client:
        message = client.send(begun).answer()
        assert message.status == 408
        assert message.get("connection") == "close"
        assert client.rest() == b""
    assert target.received == b""


def test_a_head_that_drips_is_408_all_the_same(stage: Stage, balance: Balance) -> None:
    """The time runs from the first byte; another one does not start it again."""
    balancer = balance([stage.target()], limits('head_timeout = "500ms"'))
    with Client(balancer.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")

        def drip() -> bool:
            if client.has_bytes():
                return True
            client.send(b"X: 1\r\n")
            return False

        eventually(drip)
        assert client.answer().status == 408


def test_the_head_of_a_second_request_has_its_own_time(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target()], limits('head_timeout = "300ms"'))
    with Client(balancer.port) as client:
        assert client.ask(GET).status == 200
        assert client.send(b"GET / HT").answer().status == 408


def test_a_body_that_stops_is_408(stage: Stage, balance: Balance) -> None:
    target = stage.target()
    balancer = balance([target], limits('body_timeout = "300ms"'))
    with Client(balancer.port) as client:
        message = client.send(post(b"x" * 100)[:-1]).answer()
        assert message.status == 408
        assert client.rest() == b""
    eventually(lambda: target.in_flight, lambda count: count == 0)


def test_a_body_that_keeps_coming_is_slow_and_allowed(stage: Stage, balance: Balance) -> None:
    """The time is between two pieces."""
    balancer = balance([stage.target()], limits('body_timeout = "1500ms"'))
    body = b"abcdef"
    request = post(body)
    with Client(balancer.port) as client:
        client.send(request[: -len(body)])
        for i in range(len(body)):
            time.sleep(0.4)  # the client's pace: in all it takes longer than the timeout
            client.send(body[i : i + 1])
        assert client.answer().status == 200


def test_an_idle_connection_is_closed(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target()], limits('idle_timeout = "300ms"'))
    with Client(balancer.port) as silent, Client(balancer.port) as client:
        assert client.ask(GET).status == 200
        assert client.rest() == b""
        assert silent.rest() == b""


def test_a_request_that_takes_long_is_not_idle(stage: Stage, balance: Balance) -> None:
    gate = stage.gate()

    async def waits(call: Call) -> None:
        await gate.passed()
        await call.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    balancer = balance([stage.target(waits)], limits('idle_timeout = "100ms"\nhead_timeout = "100ms"'))
    with Client(balancer.port) as client, Client(balancer.port) as other:
        client.send(GET)
        eventually(balancer.in_flight, lambda count: count == 1)
        assert other.rest() == b""
        gate.open()
        assert client.answer().status == 204


@pytest.mark.parametrize("workers", [1, 2])
def test_connections_over_the_limit_are_503(stage: Stage, balance: Balance, workers: int) -> None:
    balancer = balance([stage.target()], limits("connections = 5", workers))
    inside = [Client(balancer.port) for _ in range(5)]
    for client in inside:
        assert client.ask(GET).status == 200
    with Client(balancer.port) as outside:
        message = outside.answer()
        assert message.status == 503
        assert int(message.get("retry-after") or 1) >= 1
        assert outside.rest() == b""
    assert inside[0].ask(GET).status == 200
    inside[0].close()
    eventually(lambda: fetch(balancer.port).status, lambda status: status == 200)


def test_a_body_over_the_limit_by_length_is_413_before_it_is_read(stage: Stage, balance: Balance) -> None:
    target = stage.target()
    balancer = balance([target], limits("request_body = 1000"))
    assert fetch(balancer.port, post(b"x" * 1000)).status == 200
    with Client(balancer.port) as client:
        client.send(post(b"x" * 1001)[:-1001])
        message = client.answer()
        assert message.status == 413
        assert client.rest() == b""
    assert len(target.requests) == 1


def test_a_body_over_the_limit_in_chunks_is_413_and_the_target_is_cut_off(stage: Stage, balance: Balance) -> None:
    target = stage.target()
    balancer = balance([target], limits("request_body = 1000"))
    head = get("/", "Transfer-Encoding: chunked")
    assert fetch(balancer.port, head + chunked(b"x" * 500, b"y" * 400)).status == 200
    with Client(balancer.port) as client:
        client.send(head)
        with_pieces = b"%x\r\n%b\r\n" % (300, b"x" * 300)
        for _ in range(5):
            client.send(with_pieces)
        assert client.answer().status == 413
        assert client.rest() == b""
    eventually(lambda: target.in_flight, lambda count: count == 0)
    balancer.wait_idle()


def test_a_chunked_body_of_exactly_the_limit_is_allowed(stage: Stage, balance: Balance) -> None:
    """The limit is the body's, whatever its framing adds."""
    balancer = balance([stage.target()], limits("request_body = 1000"))
    head = get("/", "Transfer-Encoding: chunked")
    assert fetch(balancer.port, head + chunked(*[b"x" * 10] * 100)).status == 200


def test_the_size_and_number_of_fields_are_limited(stage: Stage, balance: Balance) -> None:
    target = stage.target()
    balancer = balance([target], limits('request_head = "2KiB"\nheader_count = 10'))
    assert fetch(balancer.port, get("/", *["X: 1"] * 9)).status == 200
    assert fetch(balancer.port, get("/", *["X: 1"] * 10)).status == 431
    assert fetch(balancer.port, get("/", "X: " + "a" * 1900)).status == 200
    assert fetch(balancer.port, get("/", "X: " + "a" * 2048)).status == 431
    # A head without end is refused when it is too large, not when it ends.
    with Client(balancer.port) as client:
        assert client.send(b"GET / HTTP/1.1\r\nX: " + b"a" * 3000).answer().status == 431
    assert len(target.requests) == 2


def test_a_reader_that_takes_nothing_is_cut_off(stage: Stage, balance: Balance) -> None:
    size = 64 * 1024 * 1024

    async def pours(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(64):
            await call.send(b"x" * (size // 64))

    target = stage.target(pours)
    balancer = balance([target], limits('body_timeout = "500ms"'))
    with Client(balancer.port, receive_buffer=4096) as client:
        client.send(GET)
        client.head()
        eventually(balancer.in_flight, lambda count: count == 1)
        balancer.wait_idle()
        assert len(client.rest()) < size
    eventually(lambda: target.in_flight, lambda count: count == 0)


def test_300_clients_that_drip_their_heads_cost_nobody_the_service(stage: Stage, balance: Balance) -> None:
    target = stage.target()
    balancer = balance([target], limits('head_timeout = "1s"', workers=2))
    before = balancer.resident()

    async def drip(refused: list[int]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", balancer.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n")
        buffer = Buffer()
        reading = read_answer(buffer)
        while True:
            try:
                next(reading)
            except StopIteration as done:
                refused.append(done.value.status)
                writer.transport.abort()
                return
            try:
                async with asyncio.timeout(0.1):
                    buffer.feed(await reader.read(10_000))
            except TimeoutError:
                writer.write(b"X: 1\r\n")

    async def all_drip() -> list[int]:
        refused: list[int] = []
        async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
            for _ in range(300):
                tasks.create_task(drip(refused))
        return refused

    load = Load(balancer.port, 2)
    with Background(load) as background:
        refused = asyncio.run(all_drip())
        background.wait_for(1)
    assert refused == [408] * 300
    load.results.assert_all_good()
    assert balancer.resident() - before < 20 * 1024 * 1024
    assert "X" not in {name for request in target.requests for name, _ in request.fields}


def test_a_worker_that_runs_out_of_descriptors_survives_and_does_not_spin(stage: Stage, balance: Balance) -> None:
    target = stage.target()
    wrapper = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]
    balancer = balance([target], Setting(), wrapper)
    target.script = hangs
    clients = [Client(balancer.port).send(GET) for _ in range(120)]
    eventually(balancer.in_flight, lambda count: count >= 10)
    pid = balancer.workers[0]
    burnt, since = cpu_seconds(pid), time.monotonic()
    eventually(lambda: time.monotonic() - since, lambda seconds: seconds > 1)
    assert cpu_seconds(pid) - burnt < 0.7
    target.script = stage.target().script
    for client in clients:
        client.close()

    def serves() -> bool:
        # Until the worker has seen them leave, it may still turn a client away.
        with suppress(ConnectionError, ClosedEarlyError):
            return fetch(balancer.port).status == 200
        return False

    eventually(serves)
    assert balancer.workers == [pid]
    balancer.wait_idle()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
