"""An upgrade that both sides want becomes a tunnel; everything else stays HTTP."""

import asyncio
import hashlib
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from random import Random

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect as connect_sync

from tests.scenarios.conftest import Balance, Lend
from tests.scenarios.support.balancer import Setting
from tests.scenarios.support.client import Client, chunked, fetch, get, post
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Stage, Target, answer, echoes, says

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"
WISH = ("Connection: keep-alive, Upgrade", "Upgrade: raw")
UPGRADE = get("/chat", *WISH)


async def echoes_bytes(call: Call) -> None:
    """Switches and sends back whatever comes, until the other side has ended."""
    await call.send(SWITCHED)
    data = call.buffer.take(len(call.buffer.data))
    while True:
        if data:
            await call.send(data)
        data = await call.reader.read(64 * 1024)
        if not data:
            await call.send(b"[end seen]")
            call.close()
            return


async def talk(connection: ServerConnection) -> None:
    """Sends each message back."""
    with suppress(ConnectionClosedError):
        async for message in connection:
            await connection.send(message)


@pytest.fixture
def websocket(stage: Stage) -> Iterator[Target]:
    """A real WebSocket application, on the stage's loop."""

    async def start() -> Server:
        return await serve(talk, "127.0.0.1", 0, max_size=None, compression=None)

    server = stage.run(start())
    target = stage.closed_port()
    target.port = server.sockets[0].getsockname()[1]
    yield target

    async def stop() -> None:
        server.close()
        await server.wait_closed()

    stage.run(stop())


def test_a_websocket_talks(balance: Balance, websocket: Target) -> None:
    balancer = balance([websocket])
    with connect_sync(f"ws://127.0.0.1:{balancer.port}/chat?room=1") as connection:
        messages: list[str | bytes] = ["hello", b"\x00\xff", "", "x" * 100_000]
        for message in messages:
            connection.send(message)
            assert connection.recv(timeout=20) == message
        eventually(balancer.in_flight, lambda count: count == 1)
    balancer.wait_idle()


def test_a_websocket_carries_large_messages_byte_for_byte(balance: Balance, websocket: Target, scale: int) -> None:
    balancer = balance([websocket])
    message = Random(5).randbytes(1_500_000 * scale)
    with connect_sync(f"ws://127.0.0.1:{balancer.port}/", max_size=None, compression=None) as connection:
        connection.send(message)
        back = connection.recv(timeout=40)
        assert isinstance(back, bytes)
        assert hashlib.sha256(back).digest() == hashlib.sha256(message).digest()


def test_many_websockets_talk_at_once(balance: Balance, websocket: Target, scale: int) -> None:
    balancer = balance([websocket], Setting(workers=2))

    async def client(number: int) -> None:
        async with connect(f"ws://127.0.0.1:{balancer.port}/") as connection:
            for i in range(5):
                await connection.send(f"{number} {i}")
                assert await connection.recv() == f"{number} {i}"

    async def all_clients() -> None:
        async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
            for number in range(5 * scale):
                tasks.create_task(client(number))

    asyncio.run(all_clients())
    balancer.wait_idle()


def test_the_target_gets_the_upgrade_and_the_client_gets_the_101(lend: Lend) -> None:
    balancer, target = lend(echoes_bytes)
    with Client(balancer.port) as client:
        message = client.ask(UPGRADE)
        assert message.status == 101
        assert (message.get("upgrade"), (message.get("connection") or "").lower()) == ("raw", "upgrade")
    request = target.requests[0]
    assert (request.get("upgrade"), (request.get("connection") or "").lower()) == ("raw", "upgrade")


def test_bytes_that_came_with_the_request_or_the_101_are_not_lost(lend: Lend) -> None:
    async def speaks_first(call: Call) -> None:
        await call.send(SWITCHED + b"early from the target")
        await call.send(await call.reader.read(1000) if not call.buffer.data else call.buffer.take(1000))
        await call.gone()

    balancer, _ = lend(speaks_first)
    with Client(balancer.port) as client:
        client.send(UPGRADE + b"early from the client")
        assert client.answer().status == 101
        client.receive_until(b"early from the target")
        client.receive_until(b"early from the client")


def test_a_half_close_passes_and_the_other_direction_stays_open(lend: Lend) -> None:
    balancer, _ = lend(echoes_bytes)
    with Client(balancer.port) as client:
        client.ask(UPGRADE)
        client.send(b"last words")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.rest() == b"last words[end seen]"
    balancer.wait_idle()


def test_a_half_close_of_the_target_passes_and_the_client_may_go_on(lend: Lend) -> None:
    heard = bytearray()

    async def closes_its_half(call: Call) -> None:
        await call.send(SWITCHED + b"goodbye")
        call.writer.write_eof()
        while data := await call.reader.read(1000):
            heard.extend(data)

    balancer, _ = lend(closes_its_half)
    with Client(balancer.port) as client:
        client.ask(UPGRADE)
        assert client.rest() == b"goodbye"
        client.send(b"still here")
        eventually(lambda: bytes(heard), lambda seen: seen == b"still here")
    balancer.wait_idle()


@pytest.mark.parametrize(
    "fields", [[], ["Upgrade: raw"], ["Connection: Upgrade"]], ids=["none", "no option", "no field"]
)
def test_a_101_that_nobody_asked_for_is_502(stage: Stage, balance: Balance, fields: list[str]) -> None:
    target = stage.target(says(SWITCHED))
    balancer = balance([target])
    with Client(balancer.port) as client:
        assert client.ask(get("/", *fields)).status == 502
    assert target.requests[0].get("upgrade") is None
    balancer.wait_idle()


@pytest.mark.parametrize("status", ["200 OK", "426 Upgrade Required", "403 Forbidden"])
def test_an_upgrade_that_the_target_does_not_grant_stays_http(lend: Lend, status: str) -> None:
    """What the client sends behind it is a request, and is held to the rules of one."""
    balancer, target = lend(says(answer(status, b"plain")))
    with Client(balancer.port) as client:
        client.send(UPGRADE + get("/next") + b"\x81\x05frame, not HTTP\r\n\r\n")
        assert client.answer().body == b"plain"
        assert client.answer().body == b"plain"
        assert client.answer().status == 400
        assert client.rest() == b""
    assert target.paths == ["/chat", "/next"]
    assert target.requests[1].get("upgrade") is None


@pytest.mark.parametrize(
    "request_with_body",
    [
        pytest.param(post(b"frame?", *WISH), id="length"),
        pytest.param(get("/", "Transfer-Encoding: chunked", *WISH) + chunked(b"frame?"), id="chunked"),
    ],
)
def test_a_body_is_no_beginning_of_another_protocol(lend: Lend, request_with_body: bytes) -> None:
    """The wish for one is not passed on: some targets would take the body for what follows the request."""
    balancer, target = lend(echoes)
    with Client(balancer.port) as client:
        assert client.ask(request_with_body).body == b"frame?"
        assert client.ask(get()).status == 200
    assert target.requests[0].get("upgrade") is None
    assert target.requests[0].get("connection") is None


def test_a_reload_leaves_a_tunnel_alone(stage: Stage, balance: Balance) -> None:
    before, after = stage.target(echoes_bytes), stage.target()
    balancer = balance([before])
    with Client(balancer.port) as client:
        client.ask(UPGRADE)
        client.send(b"one")
        assert client.receive(3) == b"one"
        text = Setting(pool='algorithm = "random"').text([after.url])
        assert balancer.reload(text)["event"] == "reloaded"
        assert fetch(balancer.port).body == b"ok"
        client.send(b"two")
        assert client.receive(3) == b"two"
        assert balancer.in_flight() == 1
    balancer.wait_idle()


def test_a_tunnel_that_is_silent_for_too_long_is_closed(stage: Stage, balance: Balance) -> None:
    target = stage.target(echoes_bytes)
    balancer = balance([target], Setting(more='[limits]\ntunnel_timeout = "300ms"'))
    with Client(balancer.port) as client:
        client.ask(UPGRADE)
        client.send(b"word")
        assert client.receive(4) == b"word"
        assert client.rest() == b""
    eventually(lambda: target.in_flight, lambda count: count == 0)
    balancer.wait_idle()


def test_a_tunnel_has_time_to_end_when_the_balancer_stops(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target(echoes_bytes)])
    with Client(balancer.port) as client:
        client.ask(UPGRADE)
        balancer.signal(signal.SIGTERM)
        balancer.wait_for("draining")
        client.send(b"still there?")
        client.receive_until(b"still there?")
    assert balancer.wait_exit() == 0


def test_a_tunnel_is_cut_at_the_end_of_the_drain(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target(echoes_bytes)], Setting(more='[limits]\ndrain_timeout = "300ms"'))
    with Client(balancer.port) as client:
        client.ask(UPGRADE)
        balancer.signal(signal.SIGTERM)
        assert client.rest() == b""
        assert balancer.wait_exit() == 0


def test_tunnels_push_back_in_both_directions(stage: Stage, balance: Balance) -> None:
    """A peer that does not read stops the other one's writing, and loses nothing."""
    gate = stage.gate()
    size = 32 * 1024 * 1024
    taken = 0

    async def drinks_late(call: Call) -> None:
        nonlocal taken
        await call.send(SWITCHED)
        await gate.passed()
        while taken < size:
            taken += len(await call.reader.read(256 * 1024))
        await call.send(b"done")
        await call.gone()

    balancer = balance([stage.target(drinks_late)])
    with Client(balancer.port) as client:
        client.ask(UPGRADE)
        before = balancer.resident()
        client.sock.settimeout(0.5)
        sent = 0
        block = os.urandom(256 * 1024)
        with suppress(TimeoutError):
            while sent < size:
                sent += client.sock.send(block[: size - sent])
        assert sent < size
        assert balancer.resident() - before < 8 * 1024 * 1024
        client.sock.settimeout(20)
        gate.open()
        while sent < size:
            sent += client.sock.send(block[: size - sent])
        client.receive_until(b"done")
    assert taken == size
