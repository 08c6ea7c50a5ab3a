"""Clients of all kinds at once that count each of their requests, and keep every error.

Owns: a load of GET and POST over kept and over new connections, by HTTP/1.1 and by HTTP/2, in a thread of its own.
Refuses to know: what happens to the balancer meanwhile.

The clients are correct and no more: none sends anything a second time, which would hide what was lost. By HTTP/1.1 a
connection is used until its answer says `close`, by HTTP/2 until GOAWAY. They look at bytes only as far as counting
needs, so that the load is the balancer's and not theirs.
"""

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import hpack

from tests.scenarios.support.http2_client import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    head,
    number,
    settings,
)
from tests.scenarios.support.polling import PATIENCE, eventually

BODY = b"x" * 100
# Requests over one connection, and the seconds within which they are all answered by a machine that has much to do.
MOST = 100
LONGEST = 60.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


class Kind:
    """One kind of client, and what became of its requests."""

    def __init__(self, name: str, client: Callable[["Traffic", "Kind"], Awaitable[None]]) -> None:
        self.name = name
        self.client = client
        self.answers = 0
        self.errors: Counter[str] = Counter()

    def good(self) -> None:
        """A request has its answer."""
        self.answers += 1

    def bad(self, what: str) -> None:
        """A request was lost, or answered with something else than 200."""
        self.errors[what] += 1


class Traffic:
    """All kinds of clients, each asking again as soon as it is answered, for as long as the block lasts."""

    def __init__(self, port: int, clients: int = 2) -> None:
        """Nothing is asked yet.

        Args:
            port: the balancer's.
            clients: how many of each kind.
        """
        self.port = port
        self.kinds = [
            Kind("GET", lambda traffic, kind: traffic.kept(kind, b"GET", b"")),
            Kind("POST", lambda traffic, kind: traffic.kept(kind, b"POST", BODY)),
            Kind("GET, new connection", lambda traffic, kind: traffic.once(kind, b"GET", b"")),
            Kind("POST, new connection", lambda traffic, kind: traffic.once(kind, b"POST", BODY)),
            Kind("GET, HTTP/2", lambda traffic, kind: traffic.streams(kind, "GET", b"")),
            Kind("POST, HTTP/2", lambda traffic, kind: traffic.streams(kind, "POST", BODY)),
        ]
        self.more = True
        self._clients = clients
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="traffic")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.more = False
        self._thread.join()

    @property
    def answers(self) -> int:
        """How many requests had their answer so far."""
        return sum(kind.answers for kind in self.kinds)

    def wait_for(self, answers: int, within: float = PATIENCE) -> None:
        """Returns after so many more answers, of which each kind has at least one."""
        before = {kind: kind.answers for kind in self.kinds}
        wanted = self.answers + answers
        eventually(
            lambda: self.answers,
            lambda count: count >= wanted and all(kind.answers > before[kind] for kind in self.kinds),
            within,
        )

    def assert_none_lost(self) -> None:
        """Every single request had its answer, and the answer was 200."""
        lost = {kind.name: dict(kind.errors) for kind in self.kinds if kind.errors}
        assert not lost, f"{lost} beside {self.answers} answers"
        assert all(kind.answers for kind in self.kinds)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for kind in self.kinds:
                for _ in range(self._clients):
                    tasks.create_task(self._ask_on(kind))

    async def _ask_on(self, kind: Kind) -> None:
        while self.more:
            try:
                async with asyncio.timeout(LONGEST):
                    await kind.client(self, kind)
            except (OSError, EOFError) as error:
                kind.bad(f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.01)

    # HTTP/1.1

    async def kept(self, kind: Kind, method: bytes, body: bytes) -> None:
        """One connection, for as long as it is kept."""
        await self._connection(kind, _request(method, body), one=False)

    async def once(self, kind: Kind, method: bytes, body: bytes) -> None:
        """One connection and one request."""
        await self._connection(kind, _request(method, body, b"Connection: close\r\n"), one=True)

    async def _connection(self, kind: Kind, request: bytes, *, one: bool) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            answers = 0
            while self.more and answers < MOST:
                writer.write(request)
                answer = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(answer)
                assert length is not None, answer
                await reader.readexactly(int(length[1]))
                answers += 1
                if not answer.startswith(b"HTTP/1.1 200 "):
                    kind.bad(answer[:40].decode("latin-1"))
                else:
                    kind.good()
                if one or _CLOSE.search(answer):
                    return
        finally:
            writer.transport.abort()

    # HTTP/2

    async def streams(self, kind: Kind, method: str, body: bytes) -> None:
        """One connection with a few requests at a time, until GOAWAY."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Streams(self, kind, method, body), "127.0.0.1", self.port)
        await connection.over


def _request(method: bytes, body: bytes, more: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return b"%b / HTTP/1.1\r\nHost: example.org\r\n%b%b\r\n%b" % (method, length, more, body)


class _Streams(asyncio.Protocol):
    """One connection by HTTP/2."""

    AT_A_TIME = 3

    def __init__(self, traffic: Traffic, kind: Kind, method: str, body: bytes) -> None:
        self.traffic = traffic
        self.kind = kind
        self.body = body
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        fields = [*head(method), *([(b"content-length", b"%d" % len(body))] if body else [])]
        # Without the dynamic table, so that one block does for all.
        self.block = b"".join(_literal(name, value) for name, value in fields)
        self.decoder = hpack.Decoder()
        self.open: dict[int, bytes] = {}
        self.next = 1
        self.leaving = False
        self.data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport
        transport.write(PREFACE + settings({}) + frame(WINDOW_UPDATE, 0, number(1 << 30)))
        self.ask_on()

    def ask_on(self) -> None:
        """As many requests as may be under way; the end, when there are none and will be none."""
        while len(self.open) < self.AT_A_TIME and self.next < 2 * MOST and self.traffic.more and not self.leaving:
            stream, self.next = self.next, self.next + 2
            self.open[stream] = b""
            flags = END_HEADERS | (0 if self.body else END_STREAM)
            data = frame(HEADERS, stream, self.block, flags)
            self.transport.write(data + (frame(DATA, stream, self.body, END_STREAM) if self.body else b""))
        if not self.open:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.data += data
        at = 0
        while len(self.data) - at >= 9:
            end = at + 9 + int.from_bytes(self.data[at : at + 3], "big")
            if len(self.data) < end:
                break
            kind, flags = self.data[at + 3], self.data[at + 4]
            stream = int.from_bytes(self.data[at + 5 : at + 9], "big")
            self.take(kind, flags, stream, bytes(self.data[at + 9 : end]))
            at = end
        del self.data[:at]
        self.ask_on()

    def take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """One frame."""
        if kind == HEADERS:
            self.open[stream] = dict(self.decoder.decode(payload, raw=True))[b":status"]
        elif kind == SETTINGS and not flags & ACK:
            self.transport.write(frame(SETTINGS, 0, b"", ACK))
        elif kind == PING and not flags & ACK:
            self.transport.write(frame(PING, 0, payload, ACK))
        elif kind == GOAWAY:
            self.leaving = True
            self.lose(int.from_bytes(payload[:4], "big"), "after the last stream of a GOAWAY")
        elif kind == RST_STREAM and stream in self.open:
            del self.open[stream]
            self.kind.bad(f"RST_STREAM {int.from_bytes(payload, 'big')}")
        if kind in {HEADERS, DATA} and flags & END_STREAM:
            status = self.open.pop(stream)
            if status == b"200":
                self.kind.good()
            else:
                self.kind.bad(f"status {status.decode()}")

    def lose(self, last: int, why: str) -> None:
        """The requests beyond a stream have no answer and will get none."""
        for stream in [stream for stream in self.open if stream > last]:
            del self.open[stream]
            self.kind.bad(why)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lose(0, f"the connection ended: {exc}")
        with suppress(asyncio.InvalidStateError):
            self.over.set_result(None)


def _literal(name: bytes, value: bytes) -> bytes:
    """A field that no table is used for (RFC 7541 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
