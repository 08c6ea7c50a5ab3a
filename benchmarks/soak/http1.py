"""Clients that speak HTTP/1.1: those that ask one thing after the other, those that read slowly, those that leave.

Owns: the connection, the request's bytes, the answer as llhttp reads it.
Refuses to know: what is asked for.
"""

import asyncio
import random
import socket
import time
from contextlib import suppress
from typing import Final

import httptools

from benchmarks.soak.client import HOST, NAME, PATIENCE_S, Answer, Client, Side
from benchmarks.soak.plans import Plan, draw_large, draw_plan, draw_upload
from benchmarks.soak.record import Loss, Record, Request

# What a slow reader's kernel holds, so that the balancer's other side is held up.
SMALL_BUFFER: Final = 32 * 1024
# Of a client's connections, how many end after an answer.
CLOSES: Final = 0.02


class Connection:
    """One connection. `made` is when it was asked for, so never later than the balancer's accept."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], made: float) -> None:
        self.reader, self.writer = streams
        self.made = made

    @classmethod
    async def open(cls, side: Side, *, small: bool = False) -> "Connection":
        """Connects. Raises OSError."""
        made = time.monotonic()
        sock = socket.socket()
        sock.setblocking(False)
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (HOST, side.port))
            name = None if side.tls is None else NAME
            streams = await asyncio.open_connection(sock=sock, ssl=side.tls, server_hostname=name, limit=SMALL_BUFFER)
        except BaseException:
            sock.close()
            raise
        return cls(streams, made)

    async def close(self) -> None:
        """Ends it in the ordinary way."""
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    def abort(self) -> None:
        """Ends it at once."""
        self.writer.transport.abort()


class _Reading:
    """Callbacks of llhttp for one answer."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.ended = False
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.answer.fields[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.answer.status = self.parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self.answer.body += data

    def on_message_complete(self) -> None:
        self.ended = True


def head_of(plan: Plan, request: Request) -> bytes:
    """The request's head."""
    length = f"Content-Length: {len(plan.body)}\r\n" if plan.body else ""
    return (
        f"{plan.method} {plan.path} HTTP/1.1\r\nHost: {NAME}\r\nX-Request-Id: {request.request_id}\r\n{length}\r\n"
    ).encode()


class Http1Client(Client):
    """Asks one thing after the other on one connection, and for another one now and then."""

    def __init__(self, name: str, side: Side, record: Record, draw: random.Random) -> None:
        super().__init__(name, record, draw)
        self.side = side
        self.connection: Connection | None = None

    def plan(self) -> Plan:
        """What is asked for next."""
        return draw_plan(self.draw)

    async def step(self) -> None:
        """See `Client.step`."""
        plan = self.plan()
        connection = await self._connected(plan)
        if connection is None:
            return
        request = self.record.begin(self.name, plan.pool, safe=plan.safe, connected=connection.made)
        reading = _Reading()
        try:
            async with asyncio.timeout(PATIENCE_S):
                connection.writer.write(head_of(plan, request) + plan.body)
                await self._read(connection, reading)
        except TimeoutError:
            self.record.failed(request, Loss.SILENT, plan.path)
            await self._drop()
            return
        except (OSError, httptools.HttpParserError) as error:
            self._lost(request, reading.answer, f"{plan.path}: {type(error).__name__} {error}")
            await self._drop()
            return
        self.judge(request, plan, reading.answer)
        closes = reading.answer.fields.get(b"connection", b"").lower() == b"close"
        if closes or self.draw.random() < CLOSES:
            await self.close()

    async def close(self) -> None:
        """See `Client.close`."""
        connection, self.connection = self.connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self, plan: Plan) -> Connection | None:
        if self.connection is None:
            before = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    self.connection = await Connection.open(self.side, small=isinstance(self, SlowClient))
            except (OSError, TimeoutError) as error:
                request = self.record.begin(self.name, plan.pool, safe=plan.safe, connected=before)
                # A worker that dies during the handshake of TLS is as one that dies a moment later.
                loss = Loss.LOST if self.side.tls is not None else Loss.REFUSED
                self.record.failed(request, loss, f"{type(error).__name__} {error}")
                return None
        return self.connection

    async def _read(self, connection: Connection, reading: _Reading) -> None:
        while not reading.ended:
            data = await connection.reader.read(64 * 1024)
            if not data:
                raise ConnectionError("closed")
            reading.parser.feed_data(data)

    def _lost(self, request: Request, answer: Answer, detail: str) -> None:
        self.record.failed(request, Loss.CUT if answer.status else Loss.LOST, detail)

    async def _drop(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abort()


class SlowClient(Http1Client):
    """Asks for much and reads it in small pieces with pauses between."""

    def plan(self) -> Plan:
        """See `Http1Client.plan`."""
        return draw_large(self.draw)

    async def _read(self, connection: Connection, reading: _Reading) -> None:
        while not reading.ended:
            data = await connection.reader.read(SMALL_BUFFER)
            if not data:
                raise ConnectionError("closed")
            reading.parser.feed_data(data)
            await asyncio.sleep(0.02)


class LeavingClient(Client):
    """Leaves: in a head, in a body it sends, before the answer, in the answer; each time on another connection."""

    def __init__(self, name: str, side: Side, record: Record, draw: random.Random) -> None:
        super().__init__(name, record, draw)
        self.side = side

    async def step(self) -> None:
        """See `Client.step`."""
        upload = self.draw.random() < 0.5
        plan = draw_upload(self.draw) if upload else draw_large(self.draw)
        try:
            async with asyncio.timeout(PATIENCE_S):
                connection = await Connection.open(self.side)
        except (OSError, TimeoutError):
            return
        request = self.record.begin(self.name, plan.pool, safe=plan.safe, connected=connection.made)
        whole = head_of(plan, request) + plan.body
        try:
            async with asyncio.timeout(PATIENCE_S):
                connection.writer.write(whole[: self.draw.randrange(10, len(whole))] if upload else whole)
                if upload:
                    await asyncio.sleep(self.draw.random() / 20)
                elif self.draw.random() < 0.5:
                    await connection.reader.read(1 + self.draw.randrange(SMALL_BUFFER))
        except (OSError, TimeoutError):
            pass
        self.record.left(request)
        if self.draw.random() < 0.5:
            connection.abort()
        else:
            await connection.close()

    async def close(self) -> None:
        """See `Client.close`."""
