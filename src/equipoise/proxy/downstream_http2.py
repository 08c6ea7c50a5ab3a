"""HTTP/2 towards a client: a request on a stream, and its answer (RFC 9113 8).

Owns: the limits of requests, the client's deadlines, how answers become fields and frames.
Refuses to know: the client's connection (http2_client), targets, retries, what is logged.
"""

from typing import Any, Final

from mypy_extensions import i64

from equipoise.errors import ProxyError, body_too_large, body_too_slow, client_failed, malformed, oversized
from equipoise.proxy.client import Client
from equipoise.proxy.exchange import Exchange
from equipoise.proxy.grpc_health import METHODS as HEALTH_METHODS
from equipoise.proxy.grpc_health import WATCH_PATH, HealthCall
from equipoise.proxy.http2_connection import Http2Connection
from equipoise.proxy.http2_stream import Http2Stream
from equipoise.proxy.http2_tunnel import StreamTransport
from equipoise.proxy.own_answers import grpc_code, grpc_status, grpc_trailers, own_fields, problem
from equipoise.proxy.sides import Downstream
from equipoise.state.connections import NO_DEADLINE
from equipoise.wire.grpc import is_grpc, timeout_ns
from equipoise.wire.hpack_header import Header, header
from equipoise.wire.http1 import ResponseHead
from equipoise.wire.http2_errors import (
    CANCEL,
    INTERNAL_ERROR,
    NO_ERROR,
)
from equipoise.wire.http2_rules import Http2Request
from equipoise.wire.message import STATUSES, Response, response_fields

# Of the pseudo-header fields, which no limit of fields was meant for.
MOST_PSEUDO: Final = 5


class DownstreamHttp2(Downstream):
    """A request on a stream, and its answer."""

    def __init__(self, connection: Http2Connection, client: Client | None) -> None:
        super().__init__()
        self.connection = connection
        self.services = connection.services
        self.client = client
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
            if too_large:
                return oversized("request_head", 431, "head too large")
            return oversized("header_count", 431, "too many fields")
        if head.method == b"CONNECT" and head.upgrade is None:
            return malformed("CONNECT is not served here", 405)
        if head.upgrade is not None and head.upgrade != b"websocket":
            return malformed("protocol other than websocket", 501)
        if len(head.target) > limits.request_target:
            return oversized("request_target", 414, "request target too long")
        if head.expect is not None and head.expect.lower() != b"100-continue":
            return malformed("unknown expectation", 417)
        if limits.request_body and head.content_length > limits.request_body:
            return body_too_large()
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
            exchange.request_failed(body_too_large())
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
        if tunnel is None or not tunnel.opened:
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
                self.services.reached("body_timeout")
                self.connection.reset(stream, CANCEL)
                self.lost()
        elif not stream.received_end and not stream.kept_back and exchange is not None and self.tunnel is None:
            exchange.request_failed(body_too_slow())
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
        if self.exchange is None:
            # The answer may be sent before the request is whole.
            self._stop_reading()
        elif self.tunnel is not None:
            self.tunnel.drained()
        else:
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
        self.tunnel = None
        self.transport = None
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
