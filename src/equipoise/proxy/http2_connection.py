"""An HTTP/2 connection, whichever side of the balancer it is on (RFC 9113).

Owns: frames in and out, both kinds of windows, what waits for them, errors of a stream and of the connection.
Refuses to know: what a message says, exchanges, targets; `downstream_http2` and `upstream_http2` add these.

Memory is bounded by the windows: a stream whose bytes do not go on is granted nothing, and what waits here to be sent
stops the one who sends it. Of a client's connection the window is kept back too, so that it bounds all its streams
together. Of a target's connection it is not: what one client does not take would keep the answers of all others.
"""

from typing import Any, Final

from mypy_extensions import i64

from equipoise.proxy.http2_stream import Http2Stream, Streams
from equipoise.proxy.services import Services
from equipoise.proxy.sides import Connection
from equipoise.wire.flood import FloodGuard
from equipoise.wire.frame_writer import FrameWriter
from equipoise.wire.frames import (
    ACK,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    FrameReader,
)
from equipoise.wire.hpack import INITIAL_TABLE, Decoder, Encoder, ListTooLarge
from equipoise.wire.hpack_header import Header
from equipoise.wire.hpack_tables import HpackError
from equipoise.wire.http2_errors import (
    NO_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    Http2Error,
    connection_error,
    stream_error,
)
from equipoise.wire.http2_settings import PeerSettings
from equipoise.wire.window import DEFAULT_WINDOW, Window

# So much is gathered before it goes to the transport without waiting for the end of the loop's turn.
FLUSH_AT: Final = 64 * 1024
# What a peer may have on the way to us on all its streams together, in buffers (`limits.buffer`).
BUFFERS_ON_THE_WAY: Final = 64
# What may wait to be sent to one client on all streams of a connection, in buffers; a hundred streams that nobody reads
# have less.
BUFFERS_WAITING: Final = 128
# Streams that we reset, whose frames may still be on their way: to be ignored, and not to be answered (5.4.2).
REMEMBERED: Final = 64


class Http2Connection(Connection):
    """One connection; an asyncio protocol in all but inheritance."""

    def __init__(self, services: Services, from_client: bool, max_list: i64) -> None:
        """Expects the peer's preface.

        Args:
            services: of the worker.
            from_client: whether the peer is a client.
            max_list: most octets of a header list (RFC 9113 6.5.2).
        """
        super().__init__()
        self.services = services
        self.from_client = from_client
        self.transport: Any = None
        self.write: Any = None
        self.reader = FrameReader(from_client)
        self.frames = FrameWriter()
        self.decoder = Decoder(INITIAL_TABLE, max_list, services.literals)
        self.encoder = Encoder()
        self.peer = PeerSettings()
        self.guard = FloodGuard(services.floods)
        self.window = Window(0, DEFAULT_WINDOW, DEFAULT_WINDOW)
        self.streams = Streams()
        # Streams on which something waits, the one whose turn is next first; and how many bytes wait on all of them.
        self.blocked: list[Http2Stream] = []
        self.waiting: i64 = 0
        self.most_waiting: i64 = 0
        self.reset_here: list[int] = []
        # Whether the transport takes more, whether a flush is on its way, whether the peer's SETTINGS have come,
        # whether nothing is read any more.
        self.reads = True
        self.marked = False
        self.settled = False
        self.over = False

    # -- what the sides add

    def on_headers(self, number: i64, fields: list[Header], end: bool, too_large: bool) -> None:
        """A header list came; `fields` is its beginning when it is too large."""
        raise AssertionError

    def on_data(self, stream: Http2Stream, data: bytes, end: bool) -> None:
        """A piece of a body came."""
        raise AssertionError

    def on_reset(self, stream: Http2Stream, code: i64) -> None:
        """The peer has reset a stream, which is closed by now."""
        raise AssertionError

    def on_broken(self, stream: Http2Stream, error: Http2Error) -> None:
        """The peer broke a rule on a stream, which was reset for it and is closed by now."""
        raise AssertionError

    def on_malformed(self, number: i64, error: Http2Error) -> None:
        """The peer broke a rule on a stream that is not open, and was told so."""

    def on_full(self, stream: Http2Stream) -> None:
        """More waits on a stream than may be sent."""
        raise AssertionError

    def on_overfull(self, stream: Http2Stream) -> None:
        """More waits on all streams than one connection may hold."""

    def on_drained(self, stream: Http2Stream) -> None:
        """All that waited on a stream was sent."""
        raise AssertionError

    def on_goaway(self, last: i64, code: i64) -> None:
        """The peer leaves; of our streams it has not looked at those above `last`."""
        raise AssertionError

    def on_settled(self) -> None:
        """The peer's first SETTINGS have come."""

    def on_pong(self) -> None:
        """The peer has answered a PING."""

    def on_lost(self, error: Exception | None) -> None:
        """The connection is gone; its streams are still in the table."""
        raise AssertionError

    def is_idle(self, number: i64) -> bool:
        """Whether nobody has used a stream yet (5.1)."""
        raise AssertionError

    def after_reading(self) -> None:
        """All frames that came together were read."""

    def after_stream(self) -> None:
        """A stream has left the table."""

    # -- the transport's side

    def begin(self, transport: Any, settings: list[tuple[int, int]]) -> None:
        """Says the first words (3.4): the settings, and how much may be on its way.

        Args:
            transport: the connection's.
            settings: ours, name and value.
        """
        self.transport = transport
        self.write = transport.write
        buffer = self.services.world().limits.buffer
        transport.set_write_buffer_limits(buffer, buffer // 4)
        self.most_waiting = BUFFERS_WAITING * buffer
        if not self.from_client:
            self.frames.preface()
        self.frames.settings(settings)
        self.frames.window_update(0, self.window.enlarge(BUFFERS_ON_THE_WAY * buffer))
        self.mark()

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        if self.over:
            return
        self.reader.feed(data)
        while self._read():
            pass
        if not self.over:
            self.after_reading()

    def _read(self) -> bool:
        """Reads frames up to the next error; returns whether there may be more."""
        reader = self.reader
        try:
            while reader.next():
                self._take(reader)
                if self.over:
                    return False
        except Http2Error as error:
            self._stumbled(error)
            return not self.over
        except HpackError as unreadable:
            self.fail(unreadable.code, unreadable.detail)
        return False

    def eof_received(self) -> bool:
        """The peer closes; nothing that it could still want to hear is known."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.over = True
        self.write = None
        self.on_lost(error)

    def pause_writing(self) -> None:
        """The peer reads slower than we send; whoever sends more is told when it does."""
        self.reads = False
        self.guard.reading(False)

    def resume_writing(self) -> None:
        """The peer reads again."""
        self.reads = True
        self.guard.reading(True)
        self.drain()

    def mark(self) -> None:
        """There is something to send, at the end of this turn of the loop: many frames, one system call."""
        if not self.marked:
            self.marked = True
            self.services.flush_soon(self)

    def flush(self) -> None:
        """Hands what was gathered to the transport."""
        self.marked = False
        if self.write is not None and len(self.frames.out):
            self.write(self.frames.take())

    # -- frames

    def _take(self, reader: FrameReader) -> None:
        kind = reader.kind
        if kind == DATA:
            self._take_data(reader)
        elif kind == HEADERS:
            self._take_headers(reader)
        elif kind == WINDOW_UPDATE:
            self._take_window_update(reader)
        elif kind == RST_STREAM:
            self._take_reset(reader)
        elif kind == SETTINGS:
            self._take_settings(reader)
        elif kind == PING:
            self.guard.ping(self.services.now)
            if reader.flags & ACK:
                self.on_pong()
            else:
                self.frames.ping(reader.payload(), True)
                self.guard.answered()
                self.mark()
        elif kind == GOAWAY:
            self.on_goaway(reader.last_stream, reader.value)
        else:
            # PRIORITY, or a type that nobody knows (5.5).
            self.guard.idle(self.services.now)

    def _take_data(self, reader: FrameReader) -> None:
        size = reader.size
        if size:
            self.window.receive(size)
        stream = self.streams.find(reader.stream)
        if stream is None or stream.received_end or not self.from_client:
            self._grant_connection(size)
        if stream is None:
            self.frame_on_closed(reader.stream)
            return
        end = reader.end_stream
        if stream.received_end:
            raise stream_error(STREAM_CLOSED, int(stream.stream), "DATA behind the end of the stream")
        stream.receive(size)
        message = stream.message
        if message is None:
            raise stream_error(PROTOCOL_ERROR, int(stream.stream), "DATA before HEADERS")
        data = reader.payload()
        if not data and not end:
            self.guard.empty(self.services.now)
        message.take_data(len(data), end)
        stream.received_end = end
        self.on_data(stream, data, end)
        if stream.gone or stream.kept_back:
            return
        self.grant(stream)
        if end:
            self.settle(stream)

    def _take_headers(self, reader: FrameReader) -> None:
        if reader.size == 0:
            self.guard.empty(self.services.now)
        too_large = False
        try:
            fields = self.decoder.decode(reader.payload())
        except ListTooLarge as error:
            fields = error.kept
            too_large = True
        self.on_headers(reader.stream, fields, reader.end_stream, too_large)

    def _take_window_update(self, reader: FrameReader) -> None:
        self.guard.window_update(self.services.now)
        number = reader.stream
        if number == 0:
            self.window.grow(reader.value)
            if self.blocked:
                self.drain()
            return
        stream = self.streams.find(number)
        if stream is not None:
            stream.grow(reader.value)
            if stream.pending is not None:
                self.drain()
        elif self.is_idle(number):
            raise connection_error(PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")

    def _take_reset(self, reader: FrameReader) -> None:
        number = reader.stream
        stream = self.streams.find(number)
        if stream is None:
            if self.is_idle(number):
                raise connection_error(PROTOCOL_ERROR, "RST_STREAM on an idle stream")
            self.guard.idle(self.services.now)
            return
        self.drop(stream)
        self.on_reset(stream, reader.value)
        if self.from_client:
            self.guard.reset(self.services.now)

    def _take_settings(self, reader: FrameReader) -> None:
        self.guard.settings(self.services.now)
        if reader.flags & ACK:
            return
        peer = self.peer
        peer.read(reader.source, reader.begin, reader.end, self.from_client)
        if not self.settled:
            self.settled = True
            self.on_settled()
        self.encoder.limit_table(peer.smallest_table)
        self.encoder.limit_table(peer.table_size)
        self.frames.allow(peer.max_frame)
        change = peer.window_change
        if change:
            for stream in self.streams.all():
                stream.shift(change)
        self.frames.settings_ack()
        self.guard.answered()
        self.mark()
        if change > 0 and self.blocked:
            self.drain()

    # -- windows

    def grant(self, stream: Http2Stream) -> None:
        """What came on a stream has gone on: the peer may send as much again."""
        size = stream.held
        if self.from_client:
            self._grant_connection(size)
        increment = stream.release(size)
        if increment and not stream.received_end:
            self.frames.window_update(stream.stream, increment)
            self.mark()

    def _grant_connection(self, size: i64) -> None:
        increment = self.window.release(size)
        if increment:
            self.frames.window_update(0, increment)
            self.mark()

    def keep_back(self, stream: Http2Stream) -> None:
        """Grants a stream nothing new from here on."""
        stream.kept_back = True

    def let(self, stream: Http2Stream) -> None:
        """Grants a stream what was kept back."""
        if stream.kept_back:
            stream.kept_back = False
            if not stream.gone:
                self.grant(stream)
                if stream.received_end:
                    self.settle(stream)

    # -- sending

    def send_fields(self, stream: Http2Stream, fields: list[Header], end: bool) -> None:
        """Sends a head, or trailers; these wait for the body before them."""
        if stream.gone:
            return
        if stream.pending is not None:
            stream.pending_trailers = fields
            return
        frames = self.frames
        start = frames.begin_headers(stream.stream)
        self.encoder.write_list(fields, frames.out)
        frames.end_headers(start, stream.stream, end)
        self.mark()
        if end:
            stream.sent_end = True
            self.settle(stream)

    def send_data(self, stream: Http2Stream, data: bytes, end: bool) -> None:
        """Sends a piece of a body, as far as the windows allow; the rest waits."""
        if stream.gone:
            return
        size: i64 = len(data)
        if stream.pending is not None or not self.reads:
            self._queue(stream, data, end)
            return
        if size and (size > self.window.sendable or size > stream.sendable):
            self._queue(stream, data, end)
            return
        self.frames.data(stream.stream, data, end)
        self.window.sendable -= size
        stream.sendable -= size
        self.guard.sent(size)
        self.mark()
        if len(self.frames.out) > FLUSH_AT:
            self.flush()
        if end:
            stream.sent_end = True
            self.settle(stream)

    def _queue(self, stream: Http2Stream, data: bytes, end: bool) -> None:
        pending = stream.pending
        if pending is None:
            pending = []
            stream.pending = pending
            stream.pending_at = 0
            self.blocked.append(stream)
        if data:
            pending.append(data)
            self.waiting += len(data)
        stream.pending_end = end
        self.drain()
        if self.waiting > self.most_waiting and self.from_client:
            self.on_overfull(stream)
        elif stream.pending is not None and not stream.full:
            stream.full = True
            self.on_full(stream)

    def drain(self) -> None:
        """Sends what waits, a frame of each stream in turn, as far as windows and transport allow."""
        idle: i64 = 0
        while self.blocked and self.reads and idle < len(self.blocked):
            stream = self.blocked[0]
            if self._send_part(stream):
                idle = 0
            else:
                idle += 1
            if self.blocked and self.blocked[0] is stream:
                # Its turn is over.
                self.blocked.append(self.blocked.pop(0))
            if len(self.frames.out) > FLUSH_AT:
                self.flush()

    def _send_part(self, stream: Http2Stream) -> bool:
        """Sends one frame; false when nothing may be sent."""
        pending = stream.pending
        assert pending is not None
        if pending:
            piece = pending[0]
            at = stream.pending_at
            left: i64 = len(piece) - at
            size = min(left, self.window.sendable, stream.sendable, self.frames.max_frame)
            if size <= 0:
                return False
            if size == left:
                del pending[0]
                stream.pending_at = 0
            else:
                stream.pending_at = at + size
            last = not pending and stream.pending_end and stream.pending_trailers is None
            self.frames.data(stream.stream, piece[at : at + size] if size < len(piece) else piece, last)
            self.window.sendable -= size
            stream.sendable -= size
            self.waiting -= size
            self.guard.sent(size)
            stream.moved = True
        elif stream.pending_end and stream.pending_trailers is None:
            self.frames.data(stream.stream, b"", True)
        self.mark()
        if not pending:
            self._nothing_waits(stream)
        return True

    def _nothing_waits(self, stream: Http2Stream) -> None:
        stream.pending = None
        self.blocked.remove(stream)
        trailers = stream.pending_trailers
        full = stream.full
        stream.full = False
        if trailers is not None:
            stream.pending_trailers = None
            self.send_fields(stream, trailers, True)
        elif stream.pending_end:
            stream.sent_end = True
            self.settle(stream)
        if full and not stream.gone:
            self.on_drained(stream)

    def reset(self, stream: Http2Stream, code: i64) -> None:
        """Ends a stream at once, for a reason of ours."""
        if stream.gone:
            return
        self.drop(stream)
        self._reset_number(stream.stream, code)

    def _reset_number(self, number: i64, code: i64) -> None:
        self.reset_here.append(int(number))
        if len(self.reset_here) > REMEMBERED:
            del self.reset_here[0]
        self.frames.rst_stream(number, code)
        self.mark()

    # -- streams

    def settle(self, stream: Http2Stream) -> None:
        """Closes a stream that has come to its end in both directions."""
        if stream.sent_end and stream.received_end and not stream.gone:
            self.drop(stream)
            self.guard.finished()

    def drop(self, stream: Http2Stream) -> None:
        """Takes a stream out of the table; what came and went nowhere is granted to the others."""
        stream.gone = True
        self.streams.remove(stream)
        pending = stream.pending
        if pending is not None:
            self.waiting -= sum([len(piece) for piece in pending]) - stream.pending_at
            stream.pending = None
            self.blocked.remove(stream)
        if stream.held and self.from_client:
            self._grant_connection(stream.held)
            stream.held = 0
        self.after_stream()

    def frame_on_closed(self, number: i64) -> None:
        """A frame came on a stream that is not open (5.1).

        Raises:
            Http2Error: nobody has opened it yet, or it came to its end and the peer knows that.
        """
        if self.is_idle(number):
            raise connection_error(PROTOCOL_ERROR, "frame on an idle stream")
        self.guard.idle(self.services.now)
        if int(number) not in self.reset_here:
            raise stream_error(STREAM_CLOSED, int(number), "frame on a closed stream")

    # -- errors

    def _stumbled(self, error: Http2Error) -> None:
        """The peer broke a rule: ends what it has to."""
        number: i64 = error.stream
        if number == 0 or self.is_idle(number):
            self.fail(error.code, error.detail)
            return
        stream = self.streams.find(number)
        if stream is not None:
            self.drop(stream)
        self._reset_number(number, error.code)
        if stream is None:
            self.on_malformed(number, error)
        else:
            self.on_broken(stream, error)
        try:
            # It can have us reset streams as well as it can do so itself (CVE-2025-8671).
            if self.from_client:
                self.guard.reset(self.services.now)
            self.guard.answered()
        except Http2Error as flood:
            self.fail(flood.code, flood.detail)

    def fail(self, code: int, detail: str) -> None:
        """Ends the connection for what the peer did (5.4.1)."""
        self.goodbye(code, detail.encode())
        self.close()

    def goodbye(self, code: int, debug: bytes = b"") -> None:
        """Says GOAWAY, with the last stream of the peer's that was looked at."""
        self.frames.goaway(self.last_seen(), code, debug)
        self.flush()

    def last_seen(self) -> i64:
        """The highest stream of the peer's that was acted on."""
        return 0

    def close(self) -> None:
        """Reads nothing any more, and closes when all that was said has gone out."""
        self.over = True
        self.flush()
        self.transport.close()

    def leave(self) -> None:
        """Closes without an error."""
        self.goodbye(NO_ERROR)
        self.close()
