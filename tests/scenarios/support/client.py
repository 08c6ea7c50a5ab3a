"""Clients that say exactly the bytes they are told to, and see exactly what comes back.

Owns: one blocking connection to the balancer, and a load of many at once.
Refuses to know: what the answers should be.
"""

import asyncio
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Self

from tests.scenarios.support.messages import Buffer, ClosedEarlyError, Message, Reading, read_answer, read_head
from tests.scenarios.support.polling import PATIENCE, eventually

GET = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"


def get(path: str = "/", *fields: str, version: str = "1.1") -> bytes:
    """A GET with more fields."""
    lines = [f"GET {path} HTTP/{version}", "Host: example.org", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def post(body: bytes, *fields: str, path: str = "/", method: str = "POST") -> bytes:
    """A request with a body by length."""
    lines = [f"{method} {path} HTTP/1.1", "Host: example.org", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    """A chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailers + b"\r\n"


class Client:
    """One connection to the balancer. What a test leaves open is closed after it, whatever became of the test."""

    all_open: ClassVar[set["Client"]] = set()

    def __init__(self, port: int, receive_buffer: int = 0, address: str = "") -> None:
        self.sock = socket.socket()
        self.all_open.add(self)
        self.sock.settimeout(PATIENCE)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if address:
            self.sock.bind((address, 0))
        self.sock.connect(("127.0.0.1", port))
        self.buffer = Buffer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, data: bytes) -> "Client":
        """Says something."""
        self.sock.sendall(data)
        return self

    def ask(self, data: bytes) -> Message:
        """Says something and reads the answer."""
        return self.send(data).answer(data.partition(b" ")[0].decode())

    def answer(self, method: str = "GET") -> Message:
        """Reads one answer, interim or final."""
        return self._read(read_answer(self.buffer, method))

    def head(self) -> Message:
        """Reads one answer's head and leaves its body."""
        return self._read(read_head(self.buffer))

    def receive(self, size: int) -> bytes:
        """Reads exactly so many bytes."""
        while len(self.buffer.data) < size and not self.buffer.ended:
            self.buffer.feed(self.sock.recv(256 * 1024))
        if len(self.buffer.data) < size:
            raise ClosedEarlyError(bytes(self.buffer.data))
        return self.buffer.take(size)

    def receive_until(self, mark: bytes) -> bytes:
        """Reads up to and including `mark`."""
        while mark not in self.buffer.data:
            if self.buffer.ended:
                raise ClosedEarlyError(bytes(self.buffer.data))
            self.buffer.feed(self.sock.recv(256 * 1024))
        return self.buffer.take(self.buffer.data.index(mark) + len(mark))

    def rest(self) -> bytes:
        """Reads until the balancer closes; a reset is an end too."""
        with suppress(ConnectionResetError):
            while not self.buffer.ended:
                self.buffer.feed(self.sock.recv(256 * 1024))
        return self.buffer.take(len(self.buffer.data))

    def is_closed(self) -> bool:
        """Whether the balancer has closed, and sent nothing more than was read."""
        self._look()
        return self.buffer.ended and not self.buffer.data

    def has_bytes(self) -> bool:
        """Whether something arrived that was not read yet."""
        self._look()
        return bool(self.buffer.data)

    def _look(self) -> None:
        self.sock.setblocking(False)
        try:
            self.buffer.feed(self.sock.recv(256 * 1024))
        except BlockingIOError:
            pass
        except OSError:
            self.buffer.ended = True
        finally:
            self.sock.settimeout(PATIENCE)

    def close(self) -> None:
        """Leaves in the ordinary way."""
        self.all_open.discard(self)
        self.sock.close()

    def reset(self) -> None:
        """Leaves with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def _read(self, reading: Reading) -> Message:
        while True:
            try:
                next(reading)
            except StopIteration as done:
                message: Message = done.value
                return message
            self.buffer.feed(self.sock.recv(256 * 1024))


def fetch(port: int, data: bytes = GET) -> Message:
    """One request on a connection of its own."""
    with Client(port) as client:
        return client.ask(data)


@dataclass
class Results:
    """What a load saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    bodies: Counter[bytes] = field(default_factory=Counter)

    @property
    def answered(self) -> int:
        """How many requests were answered."""
        return self.statuses.total()

    def assert_all_good(self) -> None:
        """Every request got a 200."""
        assert not self.errors, f"{len(self.errors)} broken, first: {self.errors[:3]}"
        assert set(self.statuses) == {200}, dict(self.statuses)


class Load:
    """Many clients at once, each asking again as soon as it is answered."""

    def __init__(self, port: int, clients: int, request: bytes = GET) -> None:
        self.port = port
        self.clients = clients
        self.request = request
        self.results = Results()
        # Requests begun; the test may look at it, and ends the load by `stop`.
        self.begun = 0
        self.keep_alive = True

    async def run(self, more: Callable[[], bool]) -> Results:
        """Asks while `more` says so."""
        async with asyncio.timeout(PATIENCE * 2), asyncio.TaskGroup() as tasks:
            for _ in range(self.clients):
                tasks.create_task(self._client(more))
        return self.results

    def run_times(self, times: int) -> Results:
        """Asks so many times in all."""
        return asyncio.run(self.run(lambda: self.begun < times))

    def run_for(self, seconds: float) -> Results:
        """Asks for so long."""
        end = time.monotonic() + seconds
        return asyncio.run(self.run(lambda: time.monotonic() < end))

    async def _client(self, more: Callable[[], bool]) -> None:
        while more():
            try:
                await self._connection(more)
            except (OSError, ClosedEarlyError, EOFError) as error:
                self.results.errors.append(f"{type(error).__name__}: {error}")

    async def _connection(self, more: Callable[[], bool]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        buffer = Buffer()
        method = self.request.partition(b" ")[0].decode()
        try:
            while more():
                self.begun += 1
                writer.write(self.request)
                message = await read_from(reader, buffer, read_answer(buffer, method))
                self.results.statuses[message.status] += 1
                self.results.bodies[message.body] += 1
                if message.get("connection") == "close" or not self.keep_alive:
                    return
        finally:
            writer.transport.abort()


class Background:
    """A load in a thread of its own, while the test does something to the balancer or its targets."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._thread.join()

    def wait_for(self, answers: int) -> None:
        """Returns after so many more answers."""
        wanted = self.load.results.answered + answers
        eventually(lambda: self.load.results.answered, lambda count: count >= wanted)

    def _run(self) -> None:
        asyncio.run(self.load.run(lambda: not self._stopping))


async def read_from(reader: asyncio.StreamReader, buffer: Buffer, reading: Reading) -> Message:
    """Drives a reading with what arrives on a stream."""
    while True:
        try:
            next(reading)
        except StopIteration as done:
            message: Message = done.value
            return message
        buffer.feed(await reader.read(256 * 1024))
