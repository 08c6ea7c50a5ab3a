"""A client of HTTP/2 that sends exactly the frames it is told to, and keeps every frame that comes back.

Owns: one blocking connection, its frames, and the answers that they make.
Refuses to know: what the answers should be, and whether what it sends is allowed.

Frames are put together here and header blocks by `hpack`, with nothing in between that would refuse to send what a test
wants sent. What comes is read strictly: a frame that breaks a rule fails the test.
"""

import contextlib
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Self

import hpack

from tests.scenarios.support.messages import Message
from tests.scenarios.support.polling import PATIENCE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = range(1, 6)
MAX_HEADER_LIST_SIZE = 0x6
ENABLE_CONNECT_PROTOCOL = 0x8

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED = range(6)
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(6, 12)

WINDOW = 65_535
FRAME = 16_384

Field = tuple[bytes, bytes]


@dataclass(frozen=True)
class Frame:
    """One frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """Of a RST_STREAM or a GOAWAY: the error."""
        return int(struct.unpack_from(">I", self.payload, 4 if self.kind == GOAWAY else 0)[0])


def frame(kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """The bytes of a frame."""
    return struct.pack(">I", len(payload) << 8 | kind) + bytes([flags]) + struct.pack(">I", stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """The bytes of a SETTINGS frame."""
    return frame(SETTINGS, 0, b"".join(struct.pack(">HI", name, value) for name, value in values.items()))


def number(value: int) -> bytes:
    """Four bytes, as in RST_STREAM and WINDOW_UPDATE."""
    return struct.pack(">I", value)


def head(method: str = "GET", path: str = "/", *fields: str) -> list[Field]:
    """A request's fields; more of them are "name: value"."""
    pairs = [(":method", method), (":scheme", "http"), (":authority", "example.org"), (":path", path)]
    for line in fields:
        name, _, value = line.partition(": ")
        pairs.append((name, value))
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


@dataclass
class Stream:
    """What came on one stream, and what may be sent on it."""

    window: int
    answer: Message | None = None
    interims: list[Message] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    # How much of a body came; where it is too large to keep, `keep` is false.
    size: int = 0
    keep: bool = True
    ended: bool = False
    reset: int | None = None

    @property
    def done(self) -> bool:
        """Whether nothing more can come."""
        return self.ended or self.reset is not None


class BrokenError(Exception):
    """The connection or the stream ended before what was waited for."""


class Http2Client:
    """One connection. What a test leaves open is closed after it, whatever became of the test."""

    all_open: ClassVar[set["Http2Client"]] = set()

    def __init__(self, port: int, values: dict[int, int] | None = None, sock: socket.socket | None = None) -> None:
        """Connects, unless given a connection, and says the preface and these settings."""
        self.sock = sock or socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.all_open.add(self)
        self.sock.settimeout(PATIENCE)
        # Frames are said one by one: the last of a window must not wait for the acknowledgement of those before it.
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.frames: list[Frame] = []
        self.streams: dict[int, Stream] = {}
        # Streams that are granted nothing; with 0 among them, neither is the connection.
        self.stalled: set[int] = set()
        self.next_stream = 1
        self.window = WINDOW
        self.peer: dict[int, int] = {INITIAL_WINDOW_SIZE: WINDOW, MAX_FRAME_SIZE: FRAME}
        self.closed = False
        self._data = bytearray()
        self._block: tuple[Frame, bytes] | None = None
        self.send(PREFACE + settings(values or {}))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Sending

    def send(self, data: bytes) -> None:
        """Says exactly this."""
        self.sock.sendall(data)

    def send_frame(self, kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> None:
        """Says a frame."""
        self.send(frame(kind, stream, payload, flags))

    def block(self, fields: Iterable[Field]) -> bytes:
        """A header block."""
        return bytes(self.encoder.encode(list(fields)))

    def open(self) -> int:
        """The number of a stream for a request, which the caller sends."""
        stream = self.next_stream
        self.next_stream += 2
        self.streams[stream] = Stream(self.peer[INITIAL_WINDOW_SIZE])
        return stream

    def request(self, fields: Iterable[Field], *, end: bool = True) -> int:
        """Sends a head on a new stream, and returns its number."""
        stream = self.open()
        self.send_frame(HEADERS, stream, self.block(fields), END_HEADERS | (END_STREAM if end else 0))
        return stream

    def trailers(self, stream: int, fields: Iterable[Field]) -> None:
        """Sends trailers."""
        self.send_frame(HEADERS, stream, self.block(fields), END_HEADERS | END_STREAM)

    def write(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Sends a piece of a body, within the windows: reads frames while they are closed."""
        mine = self.streams[stream]
        view = memoryview(data)
        while view:
            self.wait(lambda: min(self.window, mine.window) > 0 or mine.done, f"room on stream {stream}")
            if mine.done:
                raise BrokenError(f"stream {stream} came to its end first: {mine.reset}")
            size = min(len(view), self.window, mine.window, self.peer[MAX_FRAME_SIZE])
            last = size == len(view) and end
            self.send_frame(DATA, stream, bytes(view[:size]), END_STREAM if last else 0)
            self.window -= size
            mine.window -= size
            view = view[size:]
        if end and not data:
            self.send_frame(DATA, stream, b"", END_STREAM)

    def reset(self, stream: int, code: int = CANCEL) -> None:
        """Ends a stream."""
        self.send_frame(RST_STREAM, stream, number(code))

    def grant(self, stream: int, size: int) -> None:
        """Allows so many more bytes on a stream, or on the connection (0)."""
        self.send_frame(WINDOW_UPDATE, stream, number(size))

    def ping(self) -> None:
        """Returns when the balancer has read everything up to here."""
        mark = b"are you?"
        before = len(self.found(PING))
        self.send_frame(PING, 0, mark)
        self.wait(lambda: len(self.found(PING)) > before, "the answer to a PING")

    # Reading

    def ask(self, fields: Sequence[Field], body: bytes = b"") -> Message:
        """A whole exchange."""
        stream = self.request(fields, end=not body)
        if body:
            self.write(stream, body, end=True)
        return self.answer(stream)

    def answer(self, stream: int) -> Message:
        """The whole answer on a stream."""
        mine = self.streams[stream]
        self.wait(lambda: mine.done, f"the answer on stream {stream}")
        if mine.reset is not None and not mine.ended:
            raise BrokenError(f"stream {stream} was reset: {mine.reset}")
        assert mine.answer is not None
        mine.answer.body = bytes(mine.body)
        length = mine.answer.get("content-length")
        assert length in {None, str(mine.size)} or mine.size == 0, f"{mine.size} bytes, but {length} announced"
        return mine.answer

    def head(self, stream: int) -> Message:
        """The head of the final answer."""
        mine = self.streams[stream]
        self.wait(lambda: mine.answer is not None or mine.done, f"the head on stream {stream}")
        if mine.answer is None:
            raise BrokenError(f"stream {stream} was reset: {mine.reset}")
        return mine.answer

    def receive(self, stream: int, size: int) -> bytes:
        """Exactly so many bytes of the answer's body, which are taken out of it."""
        mine = self.streams[stream]
        self.wait(lambda: len(mine.body) >= size or mine.done, f"{size} bytes on stream {stream}")
        if len(mine.body) < size:
            raise BrokenError(f"stream {stream} ended after {bytes(mine.body)[-100:]!r}")
        taken = bytes(mine.body[:size])
        del mine.body[:size]
        return taken

    def wait_reset(self, stream: int) -> int:
        """The error that a stream was reset with."""
        mine = self.streams[stream]
        self.wait(lambda: mine.reset is not None, f"the end of stream {stream}")
        assert mine.reset is not None
        return mine.reset

    def wait_goaway(self) -> Frame:
        """The last GOAWAY before the end of the connection."""
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            while not self.closed:
                self.read()
        found = self.found(GOAWAY)
        assert found, f"closed without a GOAWAY; frames: {self.frames[-5:]}"
        return found[-1]

    def found(self, kind: int, stream: int = 0) -> list[Frame]:
        """The frames of a kind that came on a stream."""
        return [frame for frame in self.frames if frame.kind == kind and frame.stream == stream]

    def wait(self, good: Callable[[], object], what: str) -> None:
        """Reads frames until something is so; the time for each piece is limited."""
        while not good():
            if self.closed:
                raise BrokenError(f"the connection closed before {what}; frames: {self.frames[-5:]}")
            self.read()

    def look(self) -> None:
        """Reads what is there, without waiting for more."""
        self.sock.setblocking(False)
        try:
            while not self.closed:
                self.read()
        except BlockingIOError:
            pass
        finally:
            self.sock.settimeout(PATIENCE)

    def read(self) -> None:
        """Reads once, and takes every frame that is whole."""
        try:
            data = self.sock.recv(1024 * 1024)
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return
        self._data += data
        at = 0
        grants: dict[int, int] = {}
        while len(self._data) - at >= 9:
            end = at + 9 + int.from_bytes(self._data[at : at + 3], "big")
            if len(self._data) < end:
                break
            stream = int.from_bytes(self._data[at + 5 : at + 9], "big") & 0x7FFF_FFFF
            self._take(Frame(self._data[at + 3], self._data[at + 4], stream, bytes(self._data[at + 9 : end])), grants)
            at = end
        del self._data[:at]
        out = b"".join(frame(WINDOW_UPDATE, stream, number(size)) for stream, size in grants.items())
        if out:
            with contextlib.suppress(ConnectionError):
                self.send(out)

    def _take(self, taken: Frame, grants: dict[int, int]) -> None:
        if self._block is not None:
            assert taken.kind == CONTINUATION, f"{taken} within a header block"
        if taken.kind == DATA:
            self._take_data(taken, grants)
            return
        self.frames.append(taken)
        if taken.kind in {HEADERS, CONTINUATION}:
            self._take_block(taken)
        elif taken.kind == SETTINGS and not taken.flags & ACK:
            self._take_settings(taken)
        elif taken.kind == PING and not taken.flags & ACK:
            self.send_frame(PING, 0, taken.payload, ACK)
        elif taken.kind == WINDOW_UPDATE:
            size = struct.unpack(">I", taken.payload)[0]
            assert size > 0
            if taken.stream == 0:
                self.window += size
            elif taken.stream in self.streams:
                self.streams[taken.stream].window += size
        elif taken.kind == RST_STREAM:
            self.streams.setdefault(taken.stream, Stream(0)).reset = taken.code
        assert taken.kind != PUSH_PROMISE

    def _take_data(self, taken: Frame, grants: dict[int, int]) -> None:
        mine = self.streams[taken.stream]
        assert not mine.ended, f"DATA behind the end of stream {taken.stream}"
        assert mine.answer is not None, f"DATA before the head on stream {taken.stream}"
        assert not taken.flags & PADDED
        size = len(taken.payload)
        mine.size += size
        if mine.keep:
            mine.body += taken.payload
        mine.ended = bool(taken.flags & END_STREAM)
        if size and 0 not in self.stalled:
            grants[0] = grants.get(0, 0) + size
        if size and taken.stream not in self.stalled and not mine.ended:
            grants[taken.stream] = grants.get(taken.stream, 0) + size

    def _take_settings(self, taken: Frame) -> None:
        before = self.peer[INITIAL_WINDOW_SIZE]
        for name, value in struct.iter_unpack(">HI", taken.payload):
            self.peer[name] = value
        for mine in self.streams.values():
            mine.window += self.peer[INITIAL_WINDOW_SIZE] - before
        self.encoder.header_table_size = min(4096, self.peer.get(HEADER_TABLE_SIZE, 4096))
        self.send_frame(SETTINGS, 0, b"", ACK)

    def _take_block(self, taken: Frame) -> None:
        first, data = self._block or (taken, b"")
        self._block = (first, data + taken.payload)
        if not taken.flags & END_HEADERS:
            return
        decoded = self.decoder.decode(self._block[1], raw=True)
        self._block = None
        fields = [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in decoded]
        mine = self.streams[first.stream]
        assert not mine.ended, f"HEADERS behind the end of stream {first.stream}"
        mine.ended = bool(first.flags & END_STREAM)
        if mine.answer is not None:
            assert mine.ended, "trailers that do not end the stream"
            assert not any(name.startswith(":") for name, _ in fields), fields
            mine.answer.trailers = fields
            return
        message = _message(fields)
        if message.status < 200:
            assert not mine.ended
            mine.interims.append(message)
        else:
            mine.answer = message

    def close(self) -> None:
        """Leaves."""
        self.all_open.discard(self)
        self.sock.close()


def _message(fields: list[tuple[str, str]]) -> Message:
    """An answer's head; fails where it is none that a strict client takes (RFC 9113 8.1 to 8.3)."""
    assert fields[0][0] == ":status", fields
    rest = fields[1:]
    for name, value in rest:
        assert name == name.lower(), name
        assert not name.startswith(":"), name
        assert name not in {"connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection"}, name
        assert value == value.strip(" \t"), (name, value)
        assert not set(value) & set("\r\n\0"), (name, value)
    return Message(b"", f"HTTP/2 {fields[0][1]} ".encode(), rest)
