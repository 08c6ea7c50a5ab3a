"""The far end of an HTTP/2 connection in a dialogue: frames in the hands of the test, on either side of the balancer.

Owns: what a peer says, frame by frame and whether it is allowed or not; what it hears, read strictly, its own windows
included.
Refuses to know: what any one dialogue shows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from equipoise.model import PoolSpec, TargetSpec
from equipoise.wire.frame_writer import FrameWriter
from equipoise.wire.frames import ACK, DATA, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, FrameReader
from equipoise.wire.hpack import Decoder, Encoder
from equipoise.wire.http2_settings import INITIAL_WINDOW_SIZE
from tests.support.dialogue import Dialogue, request_id
from tests.support.ledgers import pool, target
from tests.support.transport import Peer

Field = tuple[bytes, bytes]
Fields = Sequence[Field]
DEFAULT_WINDOW = 65_535


@dataclass(frozen=True)
class Headers:
    """A head or trailers."""

    stream: int
    fields: list[Field]
    end: bool = False


@dataclass(frozen=True)
class Data:
    """A piece of a body."""

    stream: int
    data: bytes
    end: bool = False


@dataclass(frozen=True)
class Reset:
    """RST_STREAM."""

    stream: int
    code: int


@dataclass(frozen=True)
class Goaway:
    """GOAWAY."""

    last: int
    code: int


@dataclass(frozen=True)
class Ping:
    """PING, or the answer to one."""

    payload: bytes
    ack: bool = False


@dataclass(frozen=True)
class Settings:
    """SETTINGS, or that they were taken."""

    values: tuple[tuple[int, int], ...]
    ack: bool


@dataclass(frozen=True)
class Update:
    """WINDOW_UPDATE."""

    stream: int
    increment: int


Frame = Headers | Data | Reset | Goaway | Ping | Settings | Update


class Http2Peer:
    """A client or a target. Each call says one frame, which comes to the balancer in a read of its own."""

    def __init__(self, peer: Peer, *, is_client: bool) -> None:
        self.peer = peer
        self.is_client = is_client
        self.reader = FrameReader(from_client=not is_client)
        self.decoder = Decoder(4096, 1 << 20)
        self.encoder = Encoder()
        self.frames = FrameWriter()
        self.gathers = False
        self.next = 1
        # What it takes: on the connection, on a new stream, and on those that it has granted or heard something.
        self.room = DEFAULT_WINDOW
        self.initial = DEFAULT_WINDOW
        self.rooms: dict[int, int] = {}

    def __repr__(self) -> str:
        return repr(self.peer)

    # What it says

    def greets(self, **values: int) -> None:
        """Its first words, with settings by their number as `s4=0`."""
        if self.is_client:
            self.frames.preface()
        self.sets(**values)

    def sets(self, **values: int) -> None:
        """SETTINGS, by their number as `s4=0`."""
        pairs = [(int(name[1:]), value) for name, value in values.items()]
        window = dict(pairs).get(INITIAL_WINDOW_SIZE)
        if window is not None:
            self.rooms = {stream: room + window - self.initial for stream, room in self.rooms.items()}
            self.initial = window
        self.frames.settings(pairs)
        self._say()

    def asks(self, fields: Fields, body: bytes | None = None, *, end: bool = True) -> int:
        """A request on a new stream; without a body its head alone ends it, with `end` false nothing does."""
        stream = self.next
        self.next += 2
        with self.at_once():
            self.head(stream, fields, end=end and body is None)
            if body is not None:
                self.data(stream, body, end=end)
        return stream

    def answers(self, stream: int, body: bytes = b"", status: bytes = b"200", *, end: bool = True) -> None:
        """A whole answer; with `end` false its end is missing."""
        with self.at_once():
            self.head(stream, [(b":status", status)], end=end and not body)
            if body:
                self.data(stream, body, end=end)

    def head(self, stream: int, fields: Fields, *, end: bool = False) -> None:
        """HEADERS."""
        self.rooms.setdefault(stream, self.initial)
        self.frames.headers(stream, self.encoder.encode(fields), end)
        self._say()

    def data(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """DATA, in as many frames as it needs."""
        self.frames.data(stream, data, end)
        self._say()

    def ends(self, stream: int) -> None:
        """The end of a body."""
        self.data(stream, b"", end=True)

    def resets(self, stream: int, code: int) -> None:
        """RST_STREAM."""
        self.frames.rst_stream(stream, code)
        self._say()

    def goes_away(self, last: int, code: int = 0) -> None:
        """GOAWAY."""
        self.frames.goaway(last, code)
        self._say()

    def grants(self, stream: int, increment: int) -> None:
        """WINDOW_UPDATE."""
        if stream:
            self.rooms[stream] = self.rooms.get(stream, self.initial) + increment
        else:
            self.room += increment
        self.frames.window_update(stream, increment)
        self._say()

    def pings(self, payload: bytes = b"12345678", *, ack: bool = False) -> None:
        """PING, or the answer to one."""
        self.frames.ping(payload, ack)
        self._say()

    def says(self, data: bytes) -> None:
        """Any bytes."""
        self.frames.out.write(data)
        self._say()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """All that is said inside comes in one read."""
        before = self.gathers
        self.gathers = True
        yield
        self.gathers = before
        self._say()

    def _say(self) -> None:
        if not self.gathers:
            self.peer.says(self.frames.take())

    # What it hears

    def hears_all(self) -> list[Frame]:
        """The frames since the last call."""
        self.reader.feed(self.peer.hears())
        heard: list[Frame] = []
        while self.reader.next():
            heard.append(self._read())
        return heard

    def hears(self) -> list[Frame]:
        """Likewise, without SETTINGS and WINDOW_UPDATE."""
        return [frame for frame in self.hears_all() if not isinstance(frame, Settings | Update)]

    def granted(self, stream: int) -> int:
        """What it was granted on a stream, or with 0 on the connection, since the last call that heard something."""
        return sum(f.increment for f in self.hears_all() if isinstance(f, Update) and f.stream == stream)

    def _read(self) -> Frame:
        reader = self.reader
        stream, payload = reader.stream, reader.payload()
        if reader.kind == HEADERS:
            fields = [(field.name, field.value) for field in self.decoder.decode(payload)]
            return Headers(stream, fields, reader.end_stream)
        if reader.kind == DATA:
            self._fits(stream, reader.size)
            return Data(stream, payload, reader.end_stream)
        if reader.kind == RST_STREAM:
            return Reset(stream, reader.value)
        if reader.kind == GOAWAY:
            return Goaway(reader.last_stream, reader.value)
        if reader.kind == PING:
            return Ping(payload, bool(reader.flags & ACK))
        if reader.kind == WINDOW_UPDATE:
            return Update(stream, reader.value)
        assert reader.kind == SETTINGS, f"a frame of type {reader.kind} that nobody expects"
        pairs = [(payload[i : i + 2], payload[i + 2 : i + 6]) for i in range(0, len(payload), 6)]
        values = tuple((int.from_bytes(name), int.from_bytes(value)) for name, value in pairs)
        return Settings(values, bool(reader.flags & ACK))

    def _fits(self, stream: int, size: int) -> None:
        """DATA takes room that was granted (RFC 9113 6.9.1)."""
        room = self.rooms.setdefault(stream, self.initial)
        assert size == 0 or size <= min(room, self.room), f"{size} bytes on stream {stream}, which has {room}"
        self.rooms[stream] -= size
        self.room -= size


# Both sides of a dialogue


def http2_client(dialogue: Dialogue, **values: int) -> Http2Peer:
    """A client with prior knowledge connects, and has been greeted."""
    client = Http2Peer(dialogue.client(), is_client=True)
    client.greets(**values)
    client.hears_all()
    return client


def http2_target(dialogue: Dialogue, name: str | None = None, **values: int) -> Http2Peer:
    """A target that was dialled accepts and says what it takes; what it hears is left to the test."""
    peer = Http2Peer(dialogue.accept(name), is_client=False)
    peer.greets(**values)
    return peer


def h2c(name: str, slot: int, **settings: Any) -> TargetSpec:
    """A target that speaks HTTP/2 in clear text."""
    return target(name, slot, scheme="h2c", **settings)


def web2(**settings: Any) -> PoolSpec:
    """Three of them that take turns."""
    return pool(h2c("a", 1), h2c("b", 2), h2c("c", 3), **settings)


def only2(**settings: Any) -> PoolSpec:
    """One of them."""
    return pool(h2c("a", 1), **settings)


# Words


def ask(method: bytes = b"GET", path: bytes = b"/", *more: Field) -> list[Field]:
    """A request for host x."""
    return [(b":method", method), (b":scheme", b"http"), (b":authority", b"x"), (b":path", path), *more]


def up2(fields: Fields, number: int = 0, via: bytes = b"2") -> list[Field]:
    """A request from the one client as it goes up."""
    return [
        *fields,
        (b"x-forwarded-for", b"192.0.2.1"),
        (b"x-forwarded-proto", b"http"),
        (b"via", via + b" equipoise"),
        (b"x-forwarded-host", b"x"),
        (b"x-request-id", request_id(number)),
    ]


def down2(status: bytes = b"200", *more: Field, number: int = 0) -> list[Field]:
    """An answer's head as it goes down."""
    return [(b":status", status), *more, (b"x-request-id", request_id(number))]


def streams(heard: Sequence[Frame]) -> list[int]:
    """Of which streams heads were heard, in their order."""
    return [frame.stream for frame in heard if isinstance(frame, Headers)]


def body(heard: Sequence[Frame], stream: int) -> bytes:
    """What was heard of the body on a stream."""
    return b"".join(frame.data for frame in heard if isinstance(frame, Data) and frame.stream == stream)


def status_of(heard: Sequence[Frame], stream: int) -> int:
    """The status of the final answer on a stream; 0 when there is none."""
    heads = [frame for frame in heard if isinstance(frame, Headers) and frame.stream == stream]
    statuses = [int(value) for head in heads for name, value in head.fields if name == b":status"]
    return next((status for status in statuses if status >= 200), 0)
