"""HTTP/2 towards a client: its connection, and each request on it (RFC 9113 8).

Owns: opening streams, the limits of requests, the client's deadlines, how answers become fields and frames.
Refuses to know: targets, retries, what is logged.
"""

from typing import Any, Final

from mypy_extensions import i64

from equipoise.errors import ProxyError, client_failed, malformed
from equipoise.proxy.client import Client
from equipoise.proxy.exchange import Exchange
from equipoise.proxy.grpc_health import METHODS as HEALTH_METHODS
from equipoise.proxy.grpc_health import WATCH_PATH, HealthCall
from equipoise.proxy.http2_connection import Http2Connection
from equipoise.proxy.http2_stream import Http2Stream
from equipoise.proxy.http2_tunnel import StreamTransport
from equipoise.proxy.own_answers import grpc_code, grpc_status, grpc_trailers, own_fields, problem
from equipoise.proxy.sides import Downstream, Services
from equipoise.state.connections import NO_DEADLINE
from equipoise.wire.grpc import is_grpc, timeout_ns
from equipoise.wire.hpack_header import Header, header
from equipoise.wire.http1 import ResponseHead
from equipoise.wire.http2_errors import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    INTERNAL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    SETTINGS_TIMEOUT,
    STREAM_CLOSED,
    Http2Error,
    connection_error,
    stream_error,
)
from equipoise.wire.http2_rules import Http2Request, check_trailers
from equipoise.wire.http2_settings import (
    ENABLE_CONNECT_PROTOCOL,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
)
from equipoise.wire.message import STATUSES, Response, response_fields

# Bytes of a request on their way on one stream; not less than what a client assumes before it has our settings.
STREAM_WINDOW: Final = 64 * 1024
# RFC 9113 6.8: a GOAWAY with this number says that no stream is refused yet, but that the end is near.
LAST_OF_ALL: Final = 0x7FFF_FFFF
# How long what a client still sends is read, and dropped, after the GOAWAY of an error.
LINGER_NS: Final = 2 * 1_000_000_000
# Of the pseudo-header fields, which no limit of fields was meant for.
MOST_PSEUDO: Final = 5


class ClientConnection(Http2Connection):
    """A client's connection."""

    def __init__(self, services: Services) -> None:
        limits = services.world().limits
        super().__init__(services, True, limits.request_head)
        self.client: Client | None = None
        self.last: i64 = 0
        self.leaving = False
        self.greeted = False
        self.unsent: i64 = 0

    def take_over(self, transport: Any, client: Client, data: bytes) -> None:
        """Goes on with a connection whose first bytes, or whose TLS handshake, said HTTP/2.

        Args:
            transport: the connection's.
            client: who is there.
            data: what was read of it.
        """
        self.client = client
        limits = self.services.world().limits
        self.deadline = self.services.now + limits.head_ns
        self.begin(
            transport,
            [
                (MAX_CONCURRENT_STREAMS, int(limits.streams)),
                (INITIAL_WINDOW_SIZE, STREAM_WINDOW),
                (MAX_HEADER_LIST_SIZE, int(limits.request_head)),
                (ENABLE_CONNECT_PROTOCOL, 1),
            ],
        )
        if data:
            self.data_received(data)

    # -- streams

    def on_headers(self, number: i64, fields: list[Header], end: bool, too_large: bool) -> None:
        """See `Http2Connection.on_headers`: a request, or the trailers of one."""
        stream = self.streams.find(number)
        if stream is not None:
            self._take_trailers(stream, fields, end)
            return
        if number <= self.last:
            if int(number) not in self.reset_here:
                # Streams are opened in the order of their numbers (5.1.1).
                raise connection_error(PROTOCOL_ERROR, "HEADERS on a stream of the past")
            self.frame_on_closed(number)
            return
        self.last = number
        if self.leaving or self.streams.size >= self.services.world().limits.streams:
            self._reset_number(number, REFUSED_STREAM)
            if not self.leaving:
                self.guard.reset(self.services.now)
            self.guard.answered()
            return
        head = Http2Request(number)
        if not too_large:
            head.read(fields, end, True)
        side = DownstreamHttp2(self)
        stream = Http2Stream(number, self.peer.window, STREAM_WINDOW, side)
        stream.message = head
        stream.received_end = end
        side.stream = stream
        self.streams.add(stream)
        side.begin(head, end, too_large)

    def _take_trailers(self, stream: Http2Stream, fields: list[Header], end: bool) -> None:
        message = stream.message
        if stream.received_end:
            raise stream_error(STREAM_CLOSED, int(stream.stream), "HEADERS behind the end of the stream")
        fields = check_trailers(fields, stream.stream, end)
        if message is not None:
            message.take_data(0, True)
        stream.received_end = True
        side = stream.side
        assert isinstance(side, DownstreamHttp2)
        side.trailers_received(fields)
        self.settle(stream)

    def on_data(self, stream: Http2Stream, data: bytes, end: bool) -> None:
        """See `Http2Connection.on_data`."""
        side = stream.side
        assert isinstance(side, DownstreamHttp2)
        side.data_received(data, end)

    def on_reset(self, stream: Http2Stream, code: i64) -> None:
        """See `Http2Connection.on_reset`."""
        side = stream.side
        assert isinstance(side, DownstreamHttp2)
        side.lost()

    def on_broken(self, stream: Http2Stream, error: Http2Error) -> None:
        """See `Http2Connection.on_broken`."""
        side = stream.side
        assert isinstance(side, DownstreamHttp2)
        side.broken(malformed(error.detail))

    def on_full(self, stream: Http2Stream) -> None:
        """See `Http2Connection.on_full`."""
        side = stream.side
        assert isinstance(side, DownstreamHttp2)
        side.full()

    def on_drained(self, stream: Http2Stream) -> None:
        """See `Http2Connection.on_drained`."""
        side = stream.side
        assert isinstance(side, DownstreamHttp2)
        side.drained()

    def on_goaway(self, last: i64, code: i64) -> None:
        """See `Http2Connection.on_goaway`: a client opens nothing more, and we never opened anything."""
        self.leaving = True
        if self.streams.size == 0:
            self.leave()

    def on_lost(self, error: Exception | None) -> None:
        """See `Http2Connection.on_lost`."""
        self.services.left(self)
        self._lose_all()

    def _lose_all(self) -> None:
        for stream in self.streams.all():
            self.drop(stream)
            side = stream.side
            assert isinstance(side, DownstreamHttp2)
            side.lost()

    def drop(self, stream: Http2Stream) -> None:
        """See `Http2Connection.drop`; its two halves let go of each other."""
        super().drop(stream)
        side = stream.side
        assert isinstance(side, DownstreamHttp2)
        side.stream = None
        if side.exchange is None:
            # What waited for its windows is sent, or never will be: nothing has to be done in time any more.
            self.services.deadlines.remove(side)

    def is_idle(self, number: i64) -> bool:
        """See `Http2Connection.is_idle`."""
        return number > self.last

    def last_seen(self) -> i64:
        """See `Http2Connection.last_seen`."""
        return self.last

    # -- deadlines

    def after_reading(self) -> None:
        """See `Http2Connection.after_reading`: a header block that is not whole has a deadline."""
        if not self.reads:
            return
        if self.reader.open_block:
            if self.deadline == NO_DEADLINE or self.streams.size == 0:
                self.deadline = min(self.deadline, self.services.now + self.services.world().limits.head_ns)
        elif self.streams.size:
            self.deadline = NO_DEADLINE
        elif self.settled and not self.greeted:
            self.greeted = True
            self.deadline = self.services.now + self.services.world().limits.idle_ns

    def after_stream(self) -> None:
        """See `Http2Connection.after_stream`: the connection may be idle now."""
        if self.streams.size == 0 and not self.over:
            if self.leaving:
                self.services.soon(self._leave_when_done)
            elif self.reads:
                self.deadline = self.services.now + self.services.world().limits.idle_ns

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        super().pause_writing()
        self.unsent = self.transport.get_write_buffer_size()
        self.deadline = self.services.now + self.services.world().limits.body_ns

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self.deadline = NO_DEADLINE
        super().resume_writing()
        self.after_stream()

    def expire(self, now: i64) -> None:
        """The client was too slow, or idle for long enough."""
        if self.over:
            self.transport.abort()
        elif not self.reads:
            unsent: i64 = self.transport.get_write_buffer_size()
            if unsent >= self.unsent:
                self.transport.abort()
                return
            self.unsent = unsent
            self.deadline = now + self.services.world().limits.body_ns
        elif self.reader.open_block:
            self.fail(ENHANCE_YOUR_CALM, "header block not whole in time")
        elif not self.settled:
            self.fail(SETTINGS_TIMEOUT, "no SETTINGS in time")
        elif self.streams.size == 0:
            self.leave()
        else:
            self.deadline = NO_DEADLINE

    # -- the worker's side

    def begin_drain(self) -> None:
        """See `Connection.begin_drain`: a GOAWAY that refuses nothing yet (RFC 9113 6.8)."""
        if not self.over and not self.leaving:
            self.frames.goaway(LAST_OF_ALL, NO_ERROR)
            self.mark()

    def close_idle(self) -> None:
        """See `Connection.close_idle`: streams that are open are finished, new ones are refused."""
        if self.over or self.leaving:
            return
        self.leaving = True
        self.goodbye(NO_ERROR)
        if self.streams.size == 0:
            self.close()

    def _leave_when_done(self) -> None:
        if not self.over and self.streams.size == 0:
            self.leave()

    def close(self) -> None:
        """See `Http2Connection.close`; a client that does not read what was said is cut in the end."""
        super().close()
        self.deadline = self.services.now + self.services.world().limits.body_ns

    def fail(self, code: int, detail: str) -> None:
        """See `Http2Connection.fail`. Reads on for a while: a close with bytes unread would take the GOAWAY with it."""
        self.goodbye(code, detail.encode())
        self.over = True
        self._lose_all()
        self.deadline = self.services.now + LINGER_NS
        if not self.transport.can_write_eof():
            # TLS has no half-close; the client closes when it has read why.
            return
        try:
            self.transport.write_eof()
        except (OSError, RuntimeError):  # closing already
            self.transport.abort()

    def cut(self) -> None:
        """See `Connection.cut`."""
        self.over = True
        self.transport.abort()

    def cut_target(self, slot: int) -> None:
        """See `Connection.cut_target`."""
        for stream in self.streams.all():
            side = stream.side
            assert isinstance(side, DownstreamHttp2)
            if side.exchange is not None:
                side.exchange.cut_at(slot)


class DownstreamHttp2(Downstream):
    """A request on a stream, and its answer."""

    def __init__(self, connection: ClientConnection) -> None:
        super().__init__()
        self.connection = connection
        self.services = connection.services
        self.client = connection.client
        self.decodes = True
        self.stream: Http2Stream | None = None
        self.exchange: Exchange | None = None
        self.received: i64 = 0
        # A gRPC call, and when its deadline is.
        self.grpc = False
        self.due: i64 = NO_DEADLINE
        # Of a request that wants one.
        self.tunnel: StreamTransport | None = None
        # Of a call that is for the balancer itself.
        self.health: HealthCall | None = None

    # -- the request

    def begin(self, head: Http2Request, end: bool, too_large: bool) -> None:
        """Makes an exchange of a request that the rules allow, or refuses it.

        Args:
            head: the request.
            end: whether it has no body.
            too_large: its fields were more than are read, and `head` is empty.
        """
        self.grpc = is_grpc(head.content_type)
        error = self._objection(head, too_large)
        if error is not None:
            self.services.refused(self, error)
            self.send_own(error, 0)
            self._stop_reading()
            return
        if self.grpc and head.grpc_timeout:
            wanted = timeout_ns(head.grpc_timeout)
            if wanted >= 0:
                self.due = self.services.clock() + wanted
        stream = self.stream
        assert stream is not None
        if self.grpc and head.target in HEALTH_METHODS and self.services.world().grpc_health:
            self.health = HealthCall(self.services, self.connection, stream, head.target == WATCH_PATH)
            if end:
                self._health_received(b"", True)
            return
        exchange = Exchange(self.services, self, head)
        self.exchange = exchange
        stream.relay = exchange
        if head.upgrade is not None:
            self.tunnel = StreamTransport(self.connection, stream)
            self.transport = self.tunnel
            # To the target it is a request without a body; what comes is the tunnel's.
            exchange.begin(b"", True)
            return
        if not end or self.due != NO_DEADLINE:
            self._watch(self.services.now + self.services.world().limits.body_ns)
        exchange.begin(b"", end)

    def _objection(self, head: Http2Request, too_large: bool) -> ProxyError | None:
        limits = self.services.world().limits
        if too_large or len(head.fields) > limits.header_count + MOST_PSEUDO:
            return malformed("too many fields" if not too_large else "head too large", 431)
        if head.method == b"CONNECT" and head.upgrade is None:
            return malformed("CONNECT is not served here", 405)
        if head.upgrade is not None and head.upgrade != b"websocket":
            return malformed("protocol other than websocket", 501)
        if len(head.target) > limits.request_target:
            return malformed("request target too long", 414)
        if head.expect is not None and head.expect.lower() != b"100-continue":
            return malformed("unknown expectation", 417)
        if limits.request_body and head.content_length > limits.request_body:
            return client_failed("body_too_large", 413, "The request's body is larger than allowed.")
        return None

    def data_received(self, data: bytes, end: bool) -> None:
        """A piece of the request's body."""
        exchange = self.exchange
        if exchange is None:
            if self.health is not None:
                self._health_received(data, end)
            return
        if self.tunnel is not None:
            self.tunnel.received(data, end)
            return
        self.received += len(data)
        limits = self.services.world().limits
        if limits.request_body and self.received > limits.request_body:
            exchange.request_failed(client_failed("body_too_large", 413, "The request's body is larger than allowed."))
            return
        if self.place >= 0:
            self._watch(NO_DEADLINE if end else self.services.now + limits.body_ns)
        exchange.request_body(data, end)

    def _health_received(self, data: bytes, end: bool) -> None:
        health = self.health
        assert health is not None
        error = health.received(data, end)
        if error is not None:
            self.health = None
            self.send_own(error, 0)
            self._stop_reading()

    def trailers_received(self, fields: list[Header]) -> None:
        """The end of the request, with trailers."""
        if self.tunnel is not None:
            self.tunnel.received(b"", True)
            return
        self._watch(NO_DEADLINE)
        if self.exchange is not None:
            self.exchange.request_trailers(fields)

    def lost(self) -> None:
        """The client has reset the stream, or is gone."""
        self._forget()
        if self.health is not None:
            self.health.lost()
            self.health = None
        if self._is_tunnel():
            return
        if self.exchange is not None:
            self.exchange.downstream_lost()

    def broken(self, error: ProxyError) -> None:
        """The client broke a rule in the middle of its request; the stream was reset for it."""
        self._forget()
        if self._is_tunnel():
            return
        if self.exchange is not None:
            self.exchange.request_failed(error)

    def _is_tunnel(self) -> bool:
        """Tells the tunnel, if there is one by now, that the stream is gone."""
        tunnel = self.tunnel
        if tunnel is None or tunnel.protocol is None:
            return False
        tunnel.lost()
        return True

    def expire(self, now: i64) -> None:
        """The client's own deadline has passed, or it does not send or read what it should."""
        exchange = self.exchange
        stream = self.stream
        if now >= self.due and exchange is not None:
            self.due = NO_DEADLINE
            exchange.request_failed(client_failed("deadline", 504, "The call's deadline has passed."))
        elif stream is None:
            self._forget()
        elif stream.pending is not None:
            if stream.moved:
                stream.moved = False
                self._watch(now + self.services.world().limits.body_ns)
            else:
                self.connection.reset(stream, CANCEL)
                self.lost()
        elif not stream.received_end and not stream.kept_back and exchange is not None and self.tunnel is None:
            exchange.request_failed(client_failed("body_timeout", 408, "The request's body did not arrive in time."))
        else:
            self._watch(now + self.services.world().limits.body_ns)

    def _watch(self, deadline: i64) -> None:
        """Sets the deadline; most requests never have one, and cost nothing in the walk over all."""
        self.deadline = min(deadline, self.due)
        if self.place < 0 and self.deadline != NO_DEADLINE:
            self.services.deadlines.add(self)

    def _forget(self) -> None:
        self.services.deadlines.remove(self)

    # -- the exchange's side

    def protocol(self) -> str:
        """See `Downstream.protocol`."""
        return "HTTP/2"

    def tunnels(self) -> bool:
        """See `Downstream.tunnels`."""
        return self.tunnel is not None

    def send_interim(self, head: Response) -> None:
        """See `Downstream.send_interim`."""
        if self.stream is not None:
            self.connection.send_fields(self.stream, response_fields(head), False)

    def send_head(self, head: Response, body: bytes, last: bool) -> None:
        """See `Downstream.send_head`."""
        stream = self.stream
        exchange = self.exchange
        if stream is None or exchange is None:
            return
        fields = response_fields(head)
        if exchange.lookup is not None and exchange.lookup.mark:
            fields.append(header(b"cache-status", exchange.lookup.mark))
        fields.append(header(b"x-request-id", exchange.request_id))
        connection = self.connection
        if body:
            connection.send_fields(stream, fields, False)
            connection.send_data(stream, body, last)
        else:
            connection.send_fields(stream, fields, last)

    def send_body(self, data: bytes, last: bool) -> None:
        """See `Downstream.send_body`."""
        if self.stream is not None and (data or last):
            self.connection.send_data(self.stream, data, last)

    def send_trailers(self, fields: list[Header]) -> None:
        """See `Downstream.send_trailers`."""
        if self.stream is not None:
            self.connection.send_fields(self.stream, fields, True)

    def send_own(self, error: ProxyError, retry_after: int) -> i64:
        """See `Downstream.send_own`: problem details, or the status of a gRPC call."""
        stream = self.stream
        if stream is None:
            return 0
        exchange = self.exchange
        request_id = None if exchange is None else exchange.request_id
        if self.grpc:
            if exchange is not None:
                exchange.grpc_status = grpc_code(error)
            self.connection.send_fields(stream, grpc_status(error, request_id), True)
            return 0
        body = problem(error, request_id)
        self.connection.send_fields(stream, own_fields(error, len(body), retry_after, request_id), False)
        message = stream.message
        head = isinstance(message, Http2Request) and message.method == b"HEAD"
        self.connection.send_data(stream, b"" if head else body, True)
        return len(body)

    def hold(self) -> None:
        """See `Downstream.hold`."""
        if self.stream is not None:
            self.connection.keep_back(self.stream)

    def let(self) -> None:
        """See `Downstream.let`."""
        if self.stream is not None:
            self.connection.let(self.stream)

    def full(self) -> None:
        """The client takes less than the target sends."""
        self._watch(self.services.now + self.services.world().limits.body_ns)
        if self.tunnel is not None:
            self.tunnel.full()
        elif self.exchange is not None:
            self.exchange.downstream_full()

    def drained(self) -> None:
        """The client takes more again."""
        stream = self.stream
        if stream is not None and stream.received_end:
            self._watch(NO_DEADLINE)
        if self.tunnel is not None:
            self.tunnel.drained()
        elif self.exchange is not None:
            self.exchange.downstream_drained()

    def abort(self) -> None:
        """See `Downstream.abort`; a gRPC call can say what it was."""
        stream = self.stream
        exchange = self.exchange
        if stream is None:
            return
        failure = None if exchange is None else exchange.failure
        if self.grpc and exchange is not None and failure is not None:
            exchange.grpc_status = grpc_code(failure)
            self.connection.send_fields(stream, grpc_trailers(failure), True)
        else:
            self.connection.reset(stream, INTERNAL_ERROR)

    def exchange_over(self) -> None:
        """See `Downstream.exchange_over`."""
        self.exchange = None
        stream = self.stream
        if stream is None:
            self._forget()
            return
        stream.relay = None
        self.due = NO_DEADLINE
        self._stop_reading()
        if stream.pending is None:
            self._forget()
        else:
            # Until the client has taken the rest.
            self._watch(self.services.now + self.services.world().limits.body_ns)

    def _stop_reading(self) -> None:
        """The answer came before the request was whole: the rest of it is not wanted (RFC 9113 8.1)."""
        stream = self.stream
        if stream is None or stream.received_end:
            return
        self.connection.let(stream)
        if stream.sent_end:
            self.connection.reset(stream, NO_ERROR)

    def switch(self, head: ResponseHead, protocol: Any) -> bytes:
        """See `Downstream.switch`: what HTTP/1 says by 101 and its handshake, HTTP/2 says by 200 (RFC 8441 5)."""
        stream = self.stream
        tunnel = self.tunnel
        assert stream is not None
        assert tunnel is not None
        self._watch(NO_DEADLINE)
        fields = [field for field in response_fields(head) if field.name != b"sec-websocket-accept"]
        fields[0] = STATUSES[200]
        self.connection.send_fields(stream, fields, False)
        return tunnel.open(protocol)
