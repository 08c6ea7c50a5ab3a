"""The streams of an HTTP/2 connection: what each of them has still to say, and which are open (RFC 9113 5.1).

Owns: the state of a stream, what waits to be sent on it, and the table that finds it by its number.
Refuses to know: frames, exchanges, which side of the balancer the connection is on.
"""

from typing import Final

from mypy_extensions import i64

from equipoise.proxy.sides import Relay
from equipoise.state.connections import Timed
from equipoise.wire.hpack_header import Header
from equipoise.wire.http2_rules import Message
from equipoise.wire.window import Window

# Streams that are found without a dictionary, as long as no more are open at once; a power of two.
RING: Final = 64
MASK: Final = RING - 1


class Http2Stream(Window):
    """A stream that is open, or half closed.

    Attributes:
        side: the balancer's half of the message exchange on it, `DownstreamHttp2` or `UpstreamHttp2`.
        relay: who hears of it; None when nobody does any more.
        message: the head that the peer has sent, against which its body is counted; None before.
        received_end: the peer has said all.
        sent_end: we have.
        kept_back: the peer is granted nothing new, since its bytes do not go on.
        full: the relay was told to stop, since more than the windows allow waits here.
        moved: something of what waits was sent since it was looked at last.
        gone: it is closed, and not in the table any more.
    """

    def __init__(self, number: i64, sendable: i64, size: i64, side: Timed) -> None:
        super().__init__(number, sendable, size)
        self.side = side
        self.relay: Relay | None = None
        self.message: Message | None = None
        self.received_end = False
        self.sent_end = False
        self.kept_back = False
        self.full = False
        self.moved = False
        self.gone = False
        # What waits: bytes of the body, from `pending_at` of the first piece on, and then the end of the message.
        self.pending: list[bytes] | None = None
        self.pending_at: i64 = 0
        self.pending_end = False
        self.pending_trailers: list[Header] | None = None


class Streams:
    """The open streams of a connection, by their numbers.

    Numbers grow by two, so that the streams that are open are mostly neighbours: each has a place in a ring, and only
    one whose place is taken by an older one is in a dictionary.
    """

    def __init__(self) -> None:
        self.size: i64 = 0
        self._ring: list[Http2Stream | None] = [None] * RING
        self._others: dict[int, Http2Stream] = {}

    def add(self, stream: Http2Stream) -> None:
        """Adds a stream that was just opened."""
        place = stream.stream >> 1 & MASK
        if self._ring[place] is None:
            self._ring[place] = stream
        else:
            self._others[int(stream.stream)] = stream
        self.size += 1

    def find(self, number: i64) -> Http2Stream | None:
        """The stream with this number, if it is open."""
        stream = self._ring[number >> 1 & MASK]
        if stream is not None and stream.stream == number:
            return stream
        return self._others.get(int(number)) if self._others else None

    def remove(self, stream: Http2Stream) -> None:
        """Takes out a stream that is there."""
        place = stream.stream >> 1 & MASK
        if self._ring[place] is stream:
            self._ring[place] = None
        else:
            del self._others[int(stream.stream)]
        self.size -= 1

    def all(self) -> list[Http2Stream]:
        """All that are open, in no order."""
        streams = [stream for stream in self._ring if stream is not None]
        streams.extend(self._others.values())
        return streams
