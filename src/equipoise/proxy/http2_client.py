"""HTTP/2 towards a client: its connection (RFC 9113 5.1, 6.8).

Owns: opening streams, how many there may be, when the connection ends.
Refuses to know: what becomes of a request (downstream_http2), targets.
"""

from typing import Any, Final

from mypy_extensions import i64

from equipoise.errors import ProxyError, malformed
from equipoise.proxy.client import Client
from equipoise.proxy.downstream_http2 import DownstreamHttp2
from equipoise.proxy.http2_connection import Http2Connection
from equipoise.proxy.http2_stream import Http2Stream
from equipoise.proxy.services import Services
from equipoise.state.connections import NO_DEADLINE
from equipoise.wire.hpack_header import Header
from equipoise.wire.http2_errors import (
    ENHANCE_YOUR_CALM,
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

# Bytes of a request on their way on one stream; not less than what a client assumes before it has our settings.
STREAM_WINDOW: Final = 64 * 1024
# RFC 9113 6.8: a GOAWAY with this number says that no stream is refused yet, but that the end is near.
LAST_OF_ALL: Final = 0x7FFF_FFFF
# How long what a client still sends is read, and dropped, after the GOAWAY of an error.
LINGER_NS: Final = 2 * 1_000_000_000


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
            if too_large or len(fields) > self.services.world().limits.header_count:
                raise stream_error(PROTOCOL_ERROR, int(number), "trailers too large")
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
                self.services.reached("streams")
                self.guard.reset(self.services.now)
            self.guard.answered()
            return
        head = Http2Request(number)
        if not too_large:
            head.read(fields, end, True)
        side = DownstreamHttp2(self, self.client)
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

    def on_malformed(self, number: i64, error: Http2Error) -> None:
        """See `Http2Connection.on_malformed`: a request that never became one is counted and logged all the same."""
        if number == self.last and error.code == PROTOCOL_ERROR:
            self.services.refused(DownstreamHttp2(self, self.client), malformed(error.detail))

    def on_full(self, stream: Http2Stream) -> None:
        """See `Http2Connection.on_full`."""
        side = stream.side
        assert isinstance(side, DownstreamHttp2)
        side.full()

    def on_overfull(self, stream: Http2Stream) -> None:
        """See `Http2Connection.on_overfull`: a client that asks for this much has to read it."""
        side = stream.side
        assert isinstance(side, DownstreamHttp2)
        self.services.reached("http2_buffer")
        self.reset(stream, ENHANCE_YOUR_CALM)
        side.lost()

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
        client = self.client
        assert client is not None
        self.services.left(self, client)
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
                self.services.reached("body_timeout")
                self.transport.abort()
                return
            self.unsent = unsent
            self.deadline = now + self.services.world().limits.body_ns
        elif self.reader.open_block:
            self.services.reached("head_timeout")
            self._end(ENHANCE_YOUR_CALM, "header block not whole in time")
        elif not self.settled:
            self.services.reached("head_timeout")
            self._end(SETTINGS_TIMEOUT, "no SETTINGS in time")
        elif self.streams.size == 0:
            self.services.reached("idle_timeout")
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
        """See `Http2Connection.fail`."""
        if code == ENHANCE_YOUR_CALM:
            self.services.reached("http2_flood")
        self._end(code, detail)

    def turn_away(self, error: ProxyError) -> None:
        """The client is one too many, before it has said anything."""
        self._end(ENHANCE_YOUR_CALM, error.detail)

    def _end(self, code: int, detail: str) -> None:
        """Says why, and reads on for a while: a close with bytes unread would take the GOAWAY with it."""
        self.goodbye(code, detail.encode())
        self.over = True
        # Nothing may be written behind the end.
        self.write = None
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
        """See `Connection.cut`: what runs on it is over at once, since the loop may not run again."""
        self.over = True
        self.write = None
        self.transport.abort()
        self._lose_all()

    def cut_target(self, slot: int) -> None:
        """See `Connection.cut_target`."""
        for stream in self.streams.all():
            side = stream.side
            assert isinstance(side, DownstreamHttp2)
            if side.exchange is not None:
                side.exchange.cut_at(slot)
