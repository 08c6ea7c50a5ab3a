"""A client that speaks HTTP/2 with several requests at once on one connection; now and then it resets a stream.

Owns: the connection, as the library h2 keeps it.
Refuses to know: what is asked for.
"""

import asyncio
import random
import time
from typing import Any, Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from benchmarks.soak.client import HOST, NAME, PATIENCE_S, Answer, Client, Side
from benchmarks.soak.plans import Plan, draw_plan
from benchmarks.soak.record import Loss, Record, Request

RESETS: Final = 0.02


class _Stream:
    """One request's stream."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answer = Answer()
        self.ended: asyncio.Future[None] = loop.create_future()


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        # When it was asked for, which is never later than the balancer's accept.
        self.made = 0.0
        self.usable = True
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self._h2 = h2.connection.H2Connection(config)
        self._transport: Any = None
        self._streams: dict[int, _Stream] = {}
        self._window = asyncio.Event()

    @classmethod
    async def open(cls, side: Side) -> "Connection":
        """Connects. Raises OSError."""
        name = None if side.tls is None else NAME
        before = time.monotonic()
        _transport, protocol = await asyncio.get_running_loop().create_connection(
            cls, HOST, side.port, ssl=side.tls, server_hostname=name
        )
        protocol.made = before
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = transport
        self._h2.initiate_connection()
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio."""
        self._end(ConnectionError(str(error or "closed")))

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self._end(ConnectionError(f"the balancer breaks the protocol: {error}"))
            self._transport.abort()
            return
        for event in events:
            self._take(event)
        self._flush()

    async def ask(self, plan: Plan, request: Request, answer: list[Answer], *, leave_after: float = -1.0) -> None:
        """Sends a request; returns with its whole answer, or resets the stream after so many seconds.

        Args:
            plan: the request.
            request: its number.
            answer: gets the answer at once, so that it can be seen how far it came when this raises.
            leave_after: seconds; negative for never.

        Raises:
            ConnectionError: the connection or the stream ended before.
        """
        number = self._h2.get_next_available_stream_id()
        stream = self._streams[number] = _Stream(asyncio.get_running_loop())
        answer.append(stream.answer)
        fields = [
            (b":method", plan.method.encode()),
            (b":scheme", b"http"),
            (b":authority", NAME.encode()),
            (b":path", plan.path.encode()),
            (b"x-request-id", request.request_id.encode()),
        ]
        try:
            self._h2.send_headers(number, fields, end_stream=not plan.body)
            self._flush()
            whole = await self._send(number, stream, plan.body)
            if leave_after < 0:
                await stream.ended
            else:
                await asyncio.wait([stream.ended], timeout=leave_after)
            # An answer may come before the request is whole, whose rest nobody wants then.
            if self.usable and not (whole and stream.ended.done()):
                self._h2.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
                self._flush()
        except h2.exceptions.ProtocolError as error:
            raise ConnectionError(f"{type(error).__name__} {error}") from error
        finally:
            self._streams.pop(number, None)
            if stream.ended.done():
                stream.ended.exception()
            else:
                stream.ended.cancel()

    def close(self) -> None:
        """Ends the connection."""
        self.usable = False
        if self._transport is not None:
            self._transport.close()

    async def _send(self, number: int, stream: _Stream, body: bytes) -> bool:
        """Sends the body, and says whether all of it was sent."""
        sent = 0
        while sent < len(body) and not stream.ended.done():
            room = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size, len(body) - sent)
            if room <= 0:
                self._window.clear()
                await self._window.wait()
                continue
            sent += room
            self._h2.send_data(number, body[sent - room : sent], end_stream=sent == len(body))
            self._flush()
        return sent == len(body)

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            self._window.set()
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.usable = False
        elif isinstance(event, h2.events.DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if (stream := self._streams.get(event.stream_id)) is not None:
                stream.answer.body += event.data
        elif isinstance(event, h2.events.ResponseReceived):
            if (stream := self._streams.get(event.stream_id)) is not None:
                stream.answer.fields = {bytes(name): bytes(value) for name, value in event.headers}
                stream.answer.status = int(stream.answer.fields[b":status"])
        elif isinstance(event, h2.events.StreamEnded):
            self._window.set()
            if (stream := self._streams.get(event.stream_id)) is not None and not stream.ended.done():
                stream.ended.set_result(None)
        elif isinstance(event, h2.events.StreamReset):
            self._window.set()
            if (stream := self._streams.get(event.stream_id)) is not None and not stream.ended.done():
                stream.ended.set_exception(ConnectionError(f"stream reset, code {event.error_code}"))

    def _end(self, error: ConnectionError) -> None:
        self.usable = False
        self._window.set()
        for stream in self._streams.values():
            if not stream.ended.done():
                stream.ended.set_exception(error)

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)


class Shared:
    """The connection of several clients: made by the first that needs it, and again when it is gone."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._connection: Connection | None = None
        self._making = asyncio.Lock()

    async def get(self) -> Connection:
        """A connection that takes requests. Raises OSError."""
        async with self._making:
            if self._connection is None or not self._connection.usable:
                self._connection = await Connection.open(self._side)
            return self._connection

    def close(self) -> None:
        """Ends it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Http2Client(Client):
    """One of several that share a connection."""

    def __init__(self, name: str, shared: Shared, record: Record, draw: random.Random) -> None:
        super().__init__(name, record, draw)
        self._shared = shared

    async def step(self) -> None:
        """See `Client.step`."""
        plan = draw_plan(self.draw)
        before = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_S):
                connection = await self._shared.get()
        except (OSError, TimeoutError) as error:
            request = self.record.begin(self.name, plan.pool, safe=plan.safe, connected=before)
            self.record.failed(request, Loss.LOST, f"{type(error).__name__} {error}")
            return
        request = self.record.begin(self.name, plan.pool, safe=plan.safe, connected=connection.made)
        answers: list[Answer] = []
        leave_after = self.draw.random() / 20 if self.draw.random() < RESETS else -1.0
        try:
            async with asyncio.timeout(PATIENCE_S):
                await connection.ask(plan, request, answers, leave_after=leave_after)
        except TimeoutError:
            self.record.failed(request, Loss.SILENT, plan.path)
        except OSError as error:
            if leave_after >= 0:
                self.record.left(request)
                return
            loss = Loss.CUT if answers and answers[0].status else Loss.LOST
            self.record.failed(request, loss, f"{plan.path}: {type(error).__name__} {error}")
        else:
            if leave_after >= 0:
                self.record.left(request)
            else:
                self.judge(request, plan, answers[0])

    async def close(self) -> None:
        """See `Client.close`. The first closes for all."""
        self._shared.close()
