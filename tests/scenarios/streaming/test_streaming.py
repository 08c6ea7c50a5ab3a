"""Streams pass as they come, and a side that is slow costs memory neither to the balancer nor time to others."""

import threading
import time
from collections.abc import Callable
from typing import Self

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import GET, Client, chunked, fetch, get
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Gate, Script, Stage, answer

MIB = 1024 * 1024
BULK = 1024 * MIB
BLOCK = bytes(range(256)) * 1024
MOST_GROWTH = 8 * MIB


def two_events(gate: Gate, *, framed: bool) -> Script:
    """Sends the first event; the second waits at the gate."""

    async def script(call: Call) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        first, second = b"data: one\n\n", b"data: two\n\n"
        if framed:
            await call.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
            await call.send(b"%x\r\n%b\r\n" % (len(first), first))
            await gate.passed()
            await call.send(chunked(second))
        else:
            await call.send(head + b"\r\n")
            await call.send(first)
            await gate.passed()
            await call.send(second)
            call.close()

    return script


@pytest.mark.parametrize("framed", [True, False], ids=["chunked", "until close"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_event_reaches_the_client_before_the_next_one_is_sent(
    stage: Stage, balance: Balance, framed: bool, version: str
) -> None:
    gate = stage.gate()
    balancer = balance([stage.target(two_events(gate, framed=framed))])
    with Client(balancer.port) as client:
        client.send(get("/events", version=version))
        client.receive_until(b"data: one\n\n")
        eventually(lambda: gate.reached)
        assert not client.has_bytes() or b"two" not in client.buffer.data
        gate.open()
        client.receive_until(b"data: two\n\n")


def test_the_head_of_an_answer_reaches_the_client_before_its_body_is_there(stage: Stage, balance: Balance) -> None:
    gate = stage.gate()

    async def head_first(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await gate.passed()
        await call.send(b"ok")

    balancer = balance([stage.target(head_first)])
    with Client(balancer.port) as client:
        client.send(GET)
        assert client.head().status == 200
        gate.open()
        assert client.receive(2) == b"ok"


def test_a_piece_of_an_upload_reaches_the_target_before_the_next_one_is_sent(stage: Stage, balance: Balance) -> None:
    target = stage.target()
    balancer = balance([target])
    with Client(balancer.port) as client:
        client.send(get("/", "Transfer-Encoding: chunked") + b"5\r\nfirst\r\n")
        eventually(lambda: b"first" in target.received)
        client.send(b"6\r\nsecond\r\n0\r\n\r\n")
        assert client.answer().status == 200
    assert target.requests[0].body == b"firstsecond"


def test_both_directions_of_an_exchange_stream_at_once(stage: Stage, balance: Balance) -> None:
    """As a conversation: each piece of the answer is caused by a piece of the request."""

    async def converses(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            piece = await call.reader.read(1000) if not call.buffer.data else call.buffer.take(1000)
            if piece.endswith(b"0\r\n\r\n"):
                break
            await call.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await call.send(b"0\r\n\r\n")
        call.body_read = True

    balancer = balance([stage.target(converses)])
    with Client(balancer.port) as client:
        client.send(get("/", "Transfer-Encoding: chunked"))
        assert client.head().status == 200
        for word in [b"one", b"two", b"three"]:
            client.send(b"%x\r\n%b\r\n" % (len(word), word))
            client.receive_until(word)
        client.send(b"0\r\n\r\n")
        client.receive_until(b"\r\n0\r\n\r\n")
    balancer.wait_idle()


class Growth:
    """By how much the worker grew at most while this was running, and that others were served meanwhile."""

    def __init__(self, balancer: Balancer) -> None:
        self.balancer = balancer
        # The first requests fill caches and buffers that stay.
        for _ in range(50):
            fetch(balancer.port, get("/small"))
        self.before = balancer.resident()
        self.peak = self.before
        self.served = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="growth")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        with Client(self.balancer.port) as client:
            while not self._stopping.wait(0.02):
                self.peak = max(self.peak, self.balancer.resident())
                assert client.ask(get("/small")).body == b"ok"
                self.served += 1

    def check(self) -> None:
        """Fails when the worker grew too much or others had to wait."""
        grown = self.peak - self.before
        assert grown < MOST_GROWTH, f"grew by {grown / MIB:.1f} MiB"
        assert self.served >= 10


@pytest.mark.slow
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_gibibyte_down_to_a_slow_reader_costs_no_memory_and_nobody_s_time(
    stage: Stage, balance: Balance, framing: str
) -> None:
    stalled = stage.gate()

    async def pours(call: Call) -> None:
        if call.request.target == "/small":
            await call.send(answer())
            return
        if framing == "length":
            await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BULK)
        else:
            await call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(BULK // len(BLOCK)):
            await call.send(BLOCK if framing == "length" else b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK))
            stalled.reached = number
        if framing == "chunked":
            await call.send(b"0\r\n\r\n")

    balancer = balance([stage.target(pours)])
    with Growth(balancer) as growth, Client(balancer.port, receive_buffer=64 * 1024) as client:
        client.send(GET)
        client.head()
        # The reader stalls: soon nobody can write any more, and most of it is still with the target.
        wait_unchanged(lambda: stalled.reached)
        assert stalled.reached < BULK // len(BLOCK) // 2
        read_all(client, framing)
    growth.check()
    balancer.wait_idle()


@pytest.mark.slow
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_gibibyte_up_to_a_slow_target_costs_no_memory_and_nobody_s_time(
    stage: Stage, balance: Balance, framing: str
) -> None:
    gate = stage.gate()
    taken = 0

    async def drinks(call: Call) -> None:
        nonlocal taken
        if call.request.target == "/small":
            await call.send(answer())
            return
        await gate.passed()
        taken = len(call.buffer.data)
        tail = bytes(call.buffer.data[-5:])
        call.buffer.data.clear()
        while taken < BULK or (framing == "chunked" and tail != b"0\r\n\r\n"):
            piece = await call.reader.read(MIB)
            assert piece, f"ended after {taken} bytes"
            taken += len(piece)
            tail = (tail + piece[-5:])[-5:]
        call.body_read = True
        await call.send(answer())

    balancer = balance([stage.target(drinks)])
    sent = 0

    def pour(client: Client) -> None:
        nonlocal sent
        for _ in range(BULK // len(BLOCK)):
            client.send(BLOCK if framing == "length" else b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK))
            sent += len(BLOCK)
        if framing == "chunked":
            client.send(b"0\r\n\r\n")

    field = f"Content-Length: {BULK}" if framing == "length" else "Transfer-Encoding: chunked"
    with Growth(balancer) as growth, Client(balancer.port) as client:
        client.send(get("/", field).replace(b"GET", b"POST", 1))
        pouring = threading.Thread(target=pour, args=(client,), name="pour")
        pouring.start()
        eventually(lambda: gate.reached)
        wait_unchanged(lambda: sent)
        assert sent < BULK // 2
        gate.open()
        pouring.join()
        assert client.answer().body == b"ok"
    assert taken >= BULK
    growth.check()
    balancer.wait_idle()


def read_all(client: Client, framing: str) -> None:
    """Takes the whole body and looks at its size and its end."""
    got = len(client.buffer.data)
    tail = bytes(client.buffer.data[-5:])
    wanted = BULK if framing == "length" else BULK // len(BLOCK) * (len(BLOCK) + len(b"%x" % len(BLOCK)) + 4) + 5
    client.buffer.data.clear()
    buffer = bytearray(MIB)
    while got < wanted:
        size = client.sock.recv_into(buffer)
        assert size, f"ended after {got} of {wanted} bytes"
        got += size
        tail = (tail + bytes(buffer[max(0, size - 5) : size]))[-5:]
    assert got == wanted
    assert tail == (BLOCK[-5:] if framing == "length" else b"0\r\n\r\n")


def wait_unchanged(look: Callable[[], int]) -> None:
    """Returns when a number has not changed for a moment: the stream has stalled."""
    last, since = look(), time.monotonic()

    def settled() -> float:
        nonlocal last, since
        if look() != last:
            last, since = look(), time.monotonic()
        return time.monotonic() - since

    eventually(settled, lambda seconds: seconds > 0.3)


@pytest.mark.parametrize("clients", [50])
def test_many_stalled_readers_cost_little_each(stage: Stage, balance: Balance, clients: int) -> None:
    async def pours(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
        for _ in range(64 * MIB // len(BLOCK)):
            await call.send(BLOCK)

    target = stage.target()
    balancer = balance([target], Setting())
    for _ in range(20):
        fetch(balancer.port)
    before = balancer.resident()
    target.script = pours
    stalled = [Client(balancer.port, receive_buffer=4096).send(GET) for _ in range(clients)]
    for client in stalled:
        client.head()
    eventually(lambda: target.in_flight, lambda count: count == clients)
    wait_unchanged(lambda: balancer.resident() // MIB)
    each = (balancer.resident() - before) / clients
    assert each < 600 * 1024, f"{each / 1024:.0f} KiB each"
    for client in stalled:
        client.reset()
    balancer.wait_idle()
