"""The traffic's side of HTTP/1.1: one keep-alive connection that carries one request at a time and checks each answer.

Owns: connecting, the request's bytes, reading the answer, telling a right one from a wrong one.
Refuses to know: how many connections there are, when the next request is due, what is written down.
Called by: traffic.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, cast

import msgspec

from equipoise.demo.lines import wall_seconds
from equipoise.demo.record import Failure
from equipoise.demo.target_http import Answer
from equipoise.errors import ProxyError
from equipoise.wire.chunked import ChunkedReader
from equipoise.wire.http1 import ResponseHead

MAX_HEAD: Final = 64 * 1024
MAX_FIELDS: Final = 200
CONNECT_TIMEOUT: Final = 10.0
NO_BODY: Final = frozenset({204, 304})


class Job(msgspec.Struct):
    """One request and what must come back for it to count as answered."""

    request_id: str
    method: str
    path: str
    body: bytes = b""
    start_ms: float = 0.0
    start: float = 0.0

    def encode(self, host: str) -> bytes:
        """The request's bytes."""
        head = (
            f"{self.method} {self.path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: equipoise-traffic\r\n"
            f"Accept: application/json\r\nX-Request-Id: {self.request_id}\r\n"
        )
        if self.method == "GET":
            return (head + "\r\n").encode()
        return (
            head + f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n"
        ).encode() + self.body

    def failed(self, kind: str, detail: str) -> Failure:
        """What is written down when it ends badly, now."""
        return Failure(
            self.request_id, self.method, round(self.start_ms, 1), round(wall_seconds() * 1000, 1), kind, detail
        )


# What became of a job: the target that answered and the milliseconds it took, or the failure.
OnEnd = Callable[["Client", str, float, Failure | None], None]


class Client:
    """A connection to the balancer. Implements asyncio's protocol methods without inheriting them."""

    def __init__(self, host: str, port: int, on_end: OnEnd) -> None:
        # For the client's life.
        self.connects = 0
        self._address = (host, port)
        self._host = f"{host}:{port}"
        self._on_end = on_end
        self._connecting: asyncio.Task[None] | None = None
        # For one connection.
        self._transport: asyncio.Transport | None = None
        # For one request.
        self.job: Job | None = None
        self._unread = b""
        self._head: ResponseHead | None = None
        self._head_read = False
        self._chunks: ChunkedReader | None = None
        self._body: list[bytes] = []
        self._body_left = 0

    def send(self, job: Job) -> None:
        """Sends a request, over a new connection when there is none; `on_end` is called once, never from within."""
        assert self.job is None
        self.job = job
        job.start_ms = wall_seconds() * 1000
        job.start = monotonic()
        self._head = None
        self._head_read = False
        self._chunks = None
        self._body = []
        self._unread = b""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(job.encode(self._host))
        else:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def give_up(self, kind: str) -> None:
        """Ends the request at hand as failed, and the connection with it."""
        self._stop_connecting()
        self._drop()
        self._fail(kind)

    def close(self) -> None:
        """Leaves; a request at hand is forgotten."""
        self.job = None
        self._stop_connecting()
        self._drop()

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Connected."""
        self.connects += 1
        self._transport = transport
        if self.job is not None:
            transport.write(self.job.encode(self._host))

    def connection_lost(self, error: Exception | None) -> None:
        """The other side ended the connection, or `_drop` did."""
        if self._transport is None:
            return
        self._transport = None
        if self.job is None:
            return
        if self._head_read and self._chunks is None and self._body_left < 0:
            self._check()  # A body that ends with the connection (RFC 9112 6.3, no. 8).
        else:
            self._fail("cut off" if self._head_read or self._unread else "closed", str(error or ""))

    def eof_received(self) -> bool:
        """The other side will send no more: `connection_lost` follows."""
        return False

    def pause_writing(self) -> None:
        """Requests are small: nothing to pause."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer."""
        if self.job is None:
            self._drop()  # An answer nobody asked for; the next request takes a new connection.
            return
        self._unread += data
        try:
            if self._read():
                self._check()
        except ProxyError as error:
            self._drop()
            self._fail("malformed", error.detail)

    def _read(self) -> bool:
        """Reads on; true when the whole answer is there."""
        while not self._head_read:
            head = self._head
            if head is None:
                head = self._head = ResponseHead(MAX_HEAD, MAX_FIELDS)
            if not head.read(self._unread):
                return False
            self._unread = self._unread[head.at :]
            if head.status < 200:
                self._head = None
                continue
            self._head_read = True
            self._chunks = ChunkedReader(MAX_HEAD, MAX_FIELDS, decode=True) if head.chunked else None
            self._body_left = 0 if head.status in NO_BODY else head.content_length
        if self._chunks is not None:
            if self._unread:
                self._body.append(self._chunks.feed(self._unread))
                self._unread = b""
            return self._chunks.done and not self._chunks.rest
        if self._unread:
            self._body.append(self._unread)
            if self._body_left >= 0:
                self._body_left -= len(self._unread)
                if self._body_left < 0:
                    raise ProxyError("malformed", "upstream", 0, 502, "more bytes than the answer has")
            self._unread = b""
        return self._body_left == 0

    def _check(self) -> None:
        """The answer is complete: is it the right one?"""
        job, head = self.job, self._head
        assert job is not None
        assert head is not None
        if head.close or head.minor == 0:
            self._drop()
        body = b"".join(self._body)
        if head.status != 200:
            self._fail(str(head.status), body[:200].decode("latin-1"))
            return
        try:
            answer = msgspec.json.decode(body, type=Answer)
        except msgspec.DecodeError as error:
            self._fail("wrong answer", str(error))
            return
        if (answer.method, answer.path, answer.body_length) != (job.method, job.path, len(job.body)):
            self._fail("wrong answer", body[:200].decode("latin-1"))
            return
        self.job = None
        self._on_end(self, answer.name, (monotonic() - job.start) * 1000, None)

    def _fail(self, kind: str, detail: str = "") -> None:
        job = self.job
        if job is None:
            return
        self.job = None
        self._on_end(self, "", 0.0, job.failed(kind, detail))

    def _stop_connecting(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None

    def _drop(self) -> None:
        # `connection_lost` comes in the loop's next turn, before any new connection can be there.
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await loop.create_connection(cast("Any", lambda: self), *self._address)
        except OSError as error:  # TimeoutError is one
            self._connecting = None
            self._fail("connect", str(error))
        else:
            self._connecting = None
