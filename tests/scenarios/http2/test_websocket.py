"""A WebSocket over a stream of HTTP/2 (RFC 8441) reaches an application that speaks WebSocket over HTTP/1."""

import base64
import hashlib
import signal
from collections.abc import Iterator
from contextlib import suppress
from random import Random

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Setting
from tests.scenarios.support.http2_client import (
    CANCEL,
    ENABLE_CONNECT_PROTOCOL,
    PROTOCOL_ERROR,
    BrokenError,
    Field,
    Http2Client,
    head,
)
from tests.scenarios.support.http2_target import Http2Target, answers
from tests.scenarios.support.messages import Message
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Stage, Target, answer, says

CHAT = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    (b":scheme", b"http"),
    (b":authority", b"example.org"),
    (b":path", b"/chat?room=1"),
    (b"sec-websocket-version", b"13"),
    (b"origin", b"http://example.org"),
]


async def talk(connection: ServerConnection) -> None:
    """Sends each message back, and says which path was asked for."""
    with suppress(ConnectionClosedError):
        async for message in connection:
            if message == "path?":
                assert connection.request is not None
                await connection.send(connection.request.path)
            elif message == "bye":
                await connection.close(4001, "as you wish")
            else:
                await connection.send(message)


@pytest.fixture
def application(stage: Stage) -> Iterator[Target]:
    """A real WebSocket application, on the stage's loop."""

    async def start() -> Server:
        # Tests end without closing; nobody answers the server's own goodbye then.
        return await serve(talk, "127.0.0.1", 0, max_size=None, compression=None, close_timeout=0.1)

    server = stage.run(start())
    target = stage.closed_port()
    target.port = server.sockets[0].getsockname()[1]
    yield target

    async def stop() -> None:
        server.close()
        await server.wait_closed()

    stage.run(stop())


class Socket:
    """A WebSocket on one stream."""

    def __init__(self, client: Http2Client, fields: list[Field] = CHAT) -> None:
        self.client = client
        client.wait(lambda: client.peer.get(ENABLE_CONNECT_PROTOCOL) == 1, "the word that CONNECT may name a protocol")
        self.stream = client.request(fields, end=False)
        self._reader = StreamReader()

    def opened(self) -> Message:
        """The answer to CONNECT."""
        return self.client.head(self.stream)

    def send(self, data: str | bytes | None, opcode: Opcode | None = None) -> None:
        """A message, or a frame of another kind."""
        payload = data.encode() if isinstance(data, str) else data or b""
        kind = opcode or (Opcode.TEXT if isinstance(data, str) else Opcode.BINARY)
        self.client.write(self.stream, Frame(kind, payload).serialize(mask=True))

    def finish(self) -> None:
        """Waits for the end of the other side, and ends this one: together as good as a close of TCP (RFC 8441 5)."""
        mine = self.client.streams[self.stream]
        self.client.wait(lambda: mine.done, "the end of the stream")
        if mine.reset is None:
            self.client.write(self.stream, b"", end=True)

    def receive(self) -> Frame:
        """The next frame."""
        parsing = Frame.parse(self._reader.read_exact, mask=False)
        mine = self.client.streams[self.stream]
        while True:
            try:
                next(parsing)
            except StopIteration as done:
                frame: Frame = done.value
                return frame
            self.client.wait(lambda: mine.body or mine.done, "more of a message")
            if not mine.body:
                raise BrokenError(f"the stream ended: {mine.reset}")
            self._reader.feed_data(bytes(mine.body))
            mine.body.clear()

    def message(self) -> str | bytes:
        """The next message."""
        frame = self.receive()
        while not frame.fin:
            more = self.receive()
            frame = Frame(frame.opcode, bytes(frame.data) + bytes(more.data), more.fin)
        data = bytes(frame.data)
        return data.decode() if frame.opcode is Opcode.TEXT else data


def test_a_websocket_talks(balance: Balance, application: Target) -> None:
    balancer = balance([application])
    client = Http2Client(balancer.port)
    socket = Socket(client)
    message = socket.opened()
    assert message.status == 200
    assert message.get("sec-websocket-accept") is None
    messages: list[str | bytes] = ["hello", b"\x00\xff", "", "x" * 100_000]
    for each in messages:
        socket.send(each)
        assert socket.message() == each
    socket.send("path?")
    assert socket.message() == "/chat?room=1"
    eventually(balancer.in_flight, lambda count: count == 1)
    assert client.ask(head("GET", "/plain")).status in {400, 426}
    socket.send(Close(1000, "").serialize(), Opcode.CLOSE)
    assert socket.receive().opcode is Opcode.CLOSE
    socket.finish()
    balancer.wait_idle()


def test_websockets_and_requests_share_a_connection(balance: Balance, application: Target) -> None:
    balancer = balance([application])
    client = Http2Client(balancer.port)
    sockets = [Socket(client) for _ in range(5)]
    for number, socket in enumerate(sockets):
        assert socket.opened().status == 200
        socket.send(f"I am {number}")
    for number, socket in reversed(list(enumerate(sockets))):
        assert socket.message() == f"I am {number}"
    assert balancer.in_flight() == 5
    client.close()
    balancer.wait_idle()


def test_large_messages_arrive_byte_for_byte(balance: Balance, application: Target, scale: int) -> None:
    balancer = balance([application])
    message = Random(5).randbytes(300_000 * scale)
    socket = Socket(Http2Client(balancer.port))
    assert socket.opened().status == 200
    socket.send(message)
    assert socket.message() == message


def test_the_application_closes_and_says_why(balance: Balance, application: Target) -> None:
    balancer = balance([application])
    client = Http2Client(balancer.port)
    socket = Socket(client)
    assert socket.opened().status == 200
    socket.send("bye")
    frame = socket.receive()
    assert frame.opcode is Opcode.CLOSE
    assert Close.parse(bytes(frame.data)) == Close(4001, "as you wish")
    socket.send(bytes(frame.data), Opcode.CLOSE)
    socket.finish()
    balancer.wait_idle()


def test_a_client_s_reset_closes_the_application_s_connection_and_no_other_stream(
    balance: Balance, application: Target
) -> None:
    balancer = balance([application])
    client = Http2Client(balancer.port)
    gone, stays = Socket(client), Socket(client)
    assert gone.opened().status == stays.opened().status == 200
    client.reset(gone.stream, CANCEL)
    eventually(balancer.in_flight, lambda count: count == 1)
    stays.send("still here")
    assert stays.message() == "still here"


def test_an_application_that_breaks_off_resets_the_stream(stage: Stage, balance: Balance) -> None:
    async def script(call: Call) -> None:
        key = (call.request.get("sec-websocket-key") or "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        lines = [
            "HTTP/1.1 101 Switching",
            "Connection: Upgrade",
            "Upgrade: websocket",
            f"Sec-WebSocket-Accept: {accept}",
        ]
        await call.send("\r\n".join([*lines, "", ""]).encode())
        await call.reader.read(100)
        call.reset()

    target = stage.target(script)
    balancer = balance([target])
    client = Http2Client(balancer.port)
    socket = Socket(client)
    assert socket.opened().status == 200
    request = target.requests[0]
    assert (request.method, request.get("upgrade"), request.get("sec-websocket-version")) == ("GET", "websocket", "13")
    assert request.get("origin") == "http://example.org"
    socket.send("boom")
    with pytest.raises(BrokenError):
        socket.message()
    balancer.wait_idle()


@pytest.mark.parametrize("status", ["403 Forbidden", "200 OK", "404 Not Found"])
def test_an_application_that_does_not_want_it_has_its_answer_relayed(
    stage: Stage, balance: Balance, status: str
) -> None:
    balancer = balance([stage.target(says(answer(status, b"no")))])
    client = Http2Client(balancer.port)
    socket = Socket(client)
    message = socket.opened()
    # A 200 would mean that there is a tunnel (RFC 8441 5).
    assert message.status == (502 if status.startswith("200") else int(status[:3]))
    client.wait(lambda: client.streams[socket.stream].done, "the end of the stream")
    balancer.wait_idle()


def test_an_answer_with_the_wrong_proof_is_502(stage: Stage, balance: Balance) -> None:
    switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    balancer = balance([stage.target(says(switched + b"Sec-WebSocket-Accept: d3Jvbmc=\r\n\r\n"))])
    assert Socket(Http2Client(balancer.port)).opened().status == 502
    balancer.wait_idle()


@pytest.mark.parametrize("protocol", [b"connect-udp", b"chat", b""])
def test_no_other_protocol_gets_a_tunnel(stage: Stage, balance: Balance, protocol: bytes) -> None:
    target = stage.target()
    balancer = balance([target])
    client = Http2Client(balancer.port)
    fields = [(name, protocol if name == b":protocol" else value) for name, value in CHAT]
    stream = client.request(fields, end=False)
    client.wait(lambda: client.streams[stream].answer or client.streams[stream].done, "a refusal")
    message = client.streams[stream].answer
    assert message.status in {400, 501} if message else client.streams[stream].reset == PROTOCOL_ERROR
    assert target.requests == []
    balancer.wait_idle()


def test_a_target_that_speaks_http_2_only_gets_none(balance: Balance, h2_target: type[Http2Target]) -> None:
    """Until extended CONNECT goes to targets too; whoever asks is told so."""
    target = h2_target(answers)  # type: ignore[arg-type, call-arg]
    balancer = balance([target])
    assert Socket(Http2Client(balancer.port)).opened().status == 501
    assert target.requests == []


def test_a_silent_websocket_is_closed_in_time(balance: Balance, application: Target) -> None:
    balancer = balance([application], Setting(more='[limits]\ntunnel_timeout = "300ms"'))
    client = Http2Client(balancer.port)
    socket = Socket(client)
    assert socket.opened().status == 200
    client.wait(lambda: client.streams[socket.stream].done, "the end of the stream")
    balancer.wait_idle()


def test_a_websocket_has_time_to_end_when_the_balancer_stops(balance: Balance, application: Target) -> None:
    balancer = balance([application])
    client = Http2Client(balancer.port)
    socket = Socket(client)
    assert socket.opened().status == 200
    balancer.signal(signal.SIGTERM)
    balancer.wait_for("draining")
    socket.send("still there?")
    assert socket.message() == "still there?"
    socket.send(Close(1000, "").serialize(), Opcode.CLOSE)
    socket.finish()
    assert balancer.wait_exit() == 0


def test_it_is_on_the_log_as_what_it_was(balance: Balance, application: Target) -> None:
    balancer = balance([application])
    client = Http2Client(balancer.port)
    socket = Socket(client)
    assert socket.opened().status == 200
    client.reset(socket.stream)
    line = balancer.access_log(1)[0]
    assert (line["method"], line["path"], line["protocol"]) == ("CONNECT", "/chat?room=1", "HTTP/2")
    assert line["target"] == application.name
