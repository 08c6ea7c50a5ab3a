"""HTTP/2 towards a target: a connection that many exchanges share, and each exchange's stream on it (RFC 9113 8).

Owns: opening streams within what the target allows, reading answers, what a failure means for another attempt.
Refuses to know: which exchange, which pool, what becomes of a failure.
"""

from collections.abc import Callable
from typing import Any, Final

from mypy_extensions import i64

from equipoise.errors import RETRY_ALWAYS, RETRY_IF_SAFE, RETRY_NEVER, ProxyError, limited, upstream_failed
from equipoise.proxy.http2_connection import Http2Connection
from equipoise.proxy.http2_stream import Http2Stream
from equipoise.proxy.services import Services
from equipoise.proxy.sides import Relay, Upstream
from equipoise.state.connections import NO_DEADLINE, Shared
from equipoise.wire.grpc import is_grpc
from equipoise.wire.hpack_header import Header
from equipoise.wire.http2_errors import CANCEL, NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, Http2Error, stream_error
from equipoise.wire.http2_rules import Http2Request, Http2Response, check_trailers
from equipoise.wire.http2_settings import ENABLE_PUSH, INITIAL_WINDOW_SIZE, MAX_HEADER_LIST_SIZE

# An answer's head may be as large as over HTTP/1.
MAX_LIST: Final = 256 * 1024
MAX_FIELDS: Final = 1_000
# Interim answers before the final one, likewise.
MAX_INTERIM: Final = 16
# Bytes of an answer on their way on one stream: so many at first, since a client may not take them, and more when it
# has taken four times as many.
STREAM_WINDOW: Final = 64 * 1024
FAST_WINDOW: Final = 512 * 1024
FAST_AFTER: Final = 4 * STREAM_WINDOW
# Streams on one connection, however many more the target takes: another connection is made then.
MOST_STREAMS: Final = 256
LAST_NUMBER: Final = 0x7FFF_FFFF
# A connection without streams is closed before most targets would do it; one with streams on which nothing was heard
# for so long is asked whether it is still there, and has as long to answer.
IDLE_NS: Final = 55 * 1_000_000_000
SILENCE_NS: Final = 20 * 1_000_000_000
PING: Final = b"equipois"


class TargetConnection(Http2Connection, Shared):
    """A connection to a target."""

    def __init__(self, services: Services, slot: i64) -> None:
        super().__init__(services, False, MAX_LIST)
        self.stack = services.idle.stack(slot)
        # Places that are taken by exchanges which have not begun yet.
        self.reserved: i64 = 0
        self.next: i64 = 1
        self.carried: i64 = 0
        self.leaving = False
        self.heard: i64 = services.now
        self.asked = False
        # Is called when the target has said what it takes, or is gone before that.
        self.ready: Callable[[], None] | None = None

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        self.services.deadlines.add(self)
        self.deadline = self.services.now + IDLE_NS
        self.begin(
            transport,
            [(ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, STREAM_WINDOW), (MAX_HEADER_LIST_SIZE, MAX_LIST)],
        )

    # -- Shared

    def has_room(self) -> bool:
        """See `Shared.has_room`."""
        if self.leaving or self.over or self.next >= LAST_NUMBER:
            return False
        return self.streams.size + self.reserved < min(self.peer.max_streams, MOST_STREAMS)

    def open(self) -> "UpstreamHttp2":
        """See `Shared.open`."""
        self.reserved += 1
        self.carried += 1
        return UpstreamHttp2(self)

    def retire(self) -> None:
        """See `Shared.retire`."""
        if self.leaving or self.over:
            return
        self.leaving = True
        if self in self.stack.shared:
            self.stack.shared.remove(self)
        if self.streams.size + self.reserved == 0:
            self.leave()

    def start(self, side: "UpstreamHttp2", relay: Relay) -> Http2Stream:
        """Opens the stream of an exchange that has a place."""
        self.reserved -= 1
        stream = Http2Stream(self.next, self.peer.window, STREAM_WINDOW, side)
        self.next += 2
        stream.relay = relay
        self.streams.add(stream)
        if self.streams.size == 1:
            self.deadline = self.services.now + SILENCE_NS
            self.heard = self.services.now
        return stream

    def give_back(self) -> None:
        """An exchange that has a place does not need it."""
        self.reserved -= 1
        self.after_stream()

    # -- what the target says

    def on_headers(self, number: i64, fields: list[Header], end: bool, too_large: bool) -> None:
        """See `Http2Connection.on_headers`: an answer, or the trailers of one."""
        stream = self.streams.find(number)
        if stream is None:
            self.frame_on_closed(number)
            return
        if too_large or len(fields) > MAX_FIELDS:
            raise stream_error(PROTOCOL_ERROR, int(number), "head too large")
        side = stream.side
        assert isinstance(side, UpstreamHttp2)
        if stream.message is None:
            side.read_head(stream, fields, end)
        else:
            fields = check_trailers(fields, number, end)
            stream.message.take_data(0, True)
            side.finish(stream).response_trailers(fields)

    def on_data(self, stream: Http2Stream, data: bytes, end: bool) -> None:
        """See `Http2Connection.on_data`."""
        side = stream.side
        assert isinstance(side, UpstreamHttp2)
        if end:
            side.finish(stream).response_body(data, True)
        elif data:
            side.touch()
            side.received += len(data)
            relay = stream.relay
            if relay is not None:
                relay.response_body(data, False)
            if side.received > FAST_AFTER and stream.size == STREAM_WINDOW and not (stream.kept_back or stream.gone):
                self.frames.window_update(stream.stream, stream.enlarge(FAST_WINDOW))
                self.mark()

    def on_reset(self, stream: Http2Stream, code: i64) -> None:
        """See `Http2Connection.on_reset`."""
        side = stream.side
        assert isinstance(side, UpstreamHttp2)
        if code == REFUSED_STREAM:
            # RFC 9113 8.7: it has done nothing for it.
            side.fail(upstream_failed("refused_stream", RETRY_ALWAYS, "The target refused the stream."))
        else:
            side.fail(upstream_failed("reset", RETRY_IF_SAFE, "The target reset the stream."))

    def on_broken(self, stream: Http2Stream, error: Http2Error) -> None:
        """See `Http2Connection.on_broken`."""
        side = stream.side
        assert isinstance(side, UpstreamHttp2)
        side.fail(upstream_failed("malformed", RETRY_NEVER, f"The target's answer is not valid HTTP: {error.detail}."))

    def on_full(self, stream: Http2Stream) -> None:
        """See `Http2Connection.on_full`."""
        if stream.relay is not None:
            stream.relay.upstream_full()

    def on_drained(self, stream: Http2Stream) -> None:
        """See `Http2Connection.on_drained`."""
        if stream.relay is not None:
            stream.relay.upstream_drained()

    def on_goaway(self, last: i64, code: i64) -> None:
        """See `Http2Connection.on_goaway`: streams that it has not looked at may go elsewhere (RFC 9113 6.8)."""
        self.retire()
        for stream in self.streams.all():
            if stream.stream > last:
                self.drop(stream)
                side = stream.side
                assert isinstance(side, UpstreamHttp2)
                side.fail(upstream_failed("goaway", RETRY_ALWAYS, "The target closes the connection."))

    def on_settled(self) -> None:
        """See `Http2Connection.on_settled`."""
        ready = self.ready
        self.ready = None
        if ready is not None:
            ready()

    def eof_received(self) -> bool:
        """See asyncio.Protocol: nothing can be asked any more; `connection_lost` draws the conclusion."""
        self.over = True
        return False

    def on_pong(self) -> None:
        """See `Http2Connection.on_pong`."""
        self.asked = False

    def on_lost(self, error: Exception | None) -> None:
        """See `Http2Connection.on_lost`."""
        self.services.deadlines.remove(self)
        self.on_settled()
        if self in self.stack.shared:
            self.stack.shared.remove(self)
        for stream in self.streams.all():
            self.drop(stream)
            side = stream.side
            assert isinstance(side, UpstreamHttp2)
            if error is None:
                text = "The target closed the connection before its answer ended."
                side.fail(upstream_failed("closed_early", RETRY_IF_SAFE, text))
            else:
                side.fail(upstream_failed("reset", RETRY_IF_SAFE, "The target reset the connection."))

    def is_idle(self, number: i64) -> bool:
        """See `Http2Connection.is_idle`."""
        return number >= self.next

    # -- deadlines

    def after_reading(self) -> None:
        """See `Http2Connection.after_reading`."""
        self.heard = self.services.now

    def after_stream(self) -> None:
        """See `Http2Connection.after_stream`."""
        if self.streams.size + self.reserved or self.over:
            return
        if self.leaving:
            self.services.soon(self._leave_when_done)
        else:
            self.deadline = self.services.now + IDLE_NS

    def _leave_when_done(self) -> None:
        if not self.over and self.streams.size + self.reserved == 0:
            self.leave()

    def expire(self, now: i64) -> None:
        """Idle for long enough, or nothing was heard for a while."""
        if self.over:
            self.transport.abort()
        elif self.streams.size + self.reserved == 0:
            self.retire()
        elif now - self.heard < SILENCE_NS:
            self.asked = False
            self.deadline = self.heard + SILENCE_NS
        elif self.asked:
            self.transport.abort()
        else:
            self.asked = True
            self.frames.ping(PING, False)
            self.mark()
            self.deadline = now + SILENCE_NS

    def close(self) -> None:
        """See `Http2Connection.close`."""
        if self in self.stack.shared:
            self.stack.shared.remove(self)
        super().close()
        self.deadline = self.services.now + SILENCE_NS


class UpstreamHttp2(Upstream):
    """An exchange's stream; before it begins, its place on the connection."""

    def __init__(self, connection: TargetConnection) -> None:
        super().__init__(connection.stack)
        self.connection = connection
        self.services = connection.services
        self.uses = connection.carried
        self.stream: Http2Stream | None = None
        self.interims: i64 = 0
        self.received: i64 = 0
        self.to_head = False
        # A gRPC call says itself how long it may take, and a stream of messages may be silent for long.
        self.patient = False
        self.timed = True

    # -- the exchange's side

    def start(self, relay: Relay, body: bytes, last: bool) -> None:
        """See `Upstream.start`."""
        connection = self.connection
        stream = connection.start(self, relay)
        self.stream = stream
        head = relay.head
        self.to_head = head.method == b"HEAD"
        if isinstance(head, Http2Request) and is_grpc(head.content_type):
            self.patient = True
            self.timed = not head.grpc_timeout
        if self.timed:
            self.touch()
            self.services.deadlines.add(self)
        fields = relay.request_http2()
        if body:
            connection.send_fields(stream, fields, False)
            connection.send_data(stream, body, last)
        else:
            connection.send_fields(stream, fields, last)

    def send_body(self, data: bytes, last: bool) -> None:
        """See `Upstream.send_body`."""
        stream = self.stream
        assert stream is not None
        self.touch()
        if data or last:
            self.connection.send_data(stream, data, last)

    def send_trailers(self, fields: list[Header]) -> None:
        """See `Upstream.send_trailers`."""
        stream = self.stream
        assert stream is not None
        self.touch()
        self.connection.send_fields(stream, fields, True)

    def hold(self) -> None:
        """See `Upstream.hold`. The target is not to blame while the client does not read."""
        if self.stream is not None:
            self.connection.keep_back(self.stream)
            self.deadline = NO_DEADLINE

    def let(self) -> None:
        """See `Upstream.let`."""
        if self.stream is not None:
            self.touch()
            self.connection.let(self.stream)

    def cancel(self) -> None:
        """See `Upstream.cancel`."""
        stream = self._let_go()
        if stream is not None:
            self.connection.reset(stream, CANCEL)

    def close(self) -> None:
        """See `Reusable.close`: the exchange has no use for it."""
        if self.stream is None:
            self.connection.give_back()
        else:
            self.cancel()

    def is_open(self) -> bool:
        """See `Reusable.is_open`: as far as the loop knows; a target that leaves says so (RFC 9113 6.8)."""
        if self.connection.over:
            self.close()
            return False
        return True

    def touch(self) -> None:
        """Something was said: the response timeout starts again."""
        self.deadline = self.services.now + self.services.world().limits.response_ns

    def expire(self, now: i64) -> None:
        """The target does not answer."""
        stream = self.stream
        if stream is None or stream.gone:
            self.services.deadlines.remove(self)
            return
        waits = not stream.sent_end and stream.pending is None
        if waits or (self.patient and stream.message is not None):
            # It is the client's turn, or a stream of messages.
            self.touch()
            return
        text = "in time" if stream.message is None else "to its end in time"
        self.connection.reset(stream, CANCEL)
        late = upstream_failed("response_timeout", RETRY_IF_SAFE, f"The target did not answer {text}.", 504)
        self.fail(limited("response_timeout", late))

    # -- the connection's side

    def read_head(self, stream: Http2Stream, fields: list[Header], end: bool) -> None:
        """Reads the head of an interim or of the final answer.

        Raises:
            Http2Error: it is malformed.
        """
        head = Http2Response(stream.stream)
        head.read(fields, end, self.to_head)
        relay = stream.relay
        if head.status < 200:
            self.interims += 1
            if self.interims > MAX_INTERIM:
                raise stream_error(PROTOCOL_ERROR, int(stream.stream), "too many interim answers")
            if relay is not None:
                relay.interim(head)
            return
        stream.message = head
        self.touch()
        if end:
            self.finish(stream).response_head(head, b"", True)
        elif relay is not None:
            relay.response_head(head, b"", False)

    def finish(self, stream: Http2Stream) -> Relay:
        """The answer is complete: frees the stream before its end is told, as another exchange may need its place."""
        relay = stream.relay
        assert relay is not None
        stream.received_end = True
        self._let_go()
        connection = self.connection
        if stream.sent_end:
            connection.settle(stream)
        else:
            # What is left of the request is not wanted (RFC 9113 8.1).
            connection.reset(stream, NO_ERROR)
        return relay

    def fail(self, error: ProxyError) -> None:
        """The stream is gone: tells the exchange."""
        stream = self.stream
        relay = None if stream is None else stream.relay
        self._let_go()
        if relay is not None:
            relay.upstream_failed(error)

    def _let_go(self) -> Http2Stream | None:
        """Breaks the ties between the stream and the exchange."""
        stream = self.stream
        self.stream = None
        if self.place >= 0:
            self.services.deadlines.remove(self)
        if stream is not None:
            stream.relay = None
        return stream
