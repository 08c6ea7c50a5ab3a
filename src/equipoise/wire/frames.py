"""Reading HTTP/2 frames (RFC 9113 3.4, 4, 6).

Owns: where a frame begins and ends, what a frame alone may look like, and header blocks gathered to one piece.
Refuses to know: what a stream has seen before, what a header block says (`hpack`), sockets, time.
"""

from typing import Final

from librt.strings import read_i32_be, read_i64_be
from mypy_extensions import i64

from equipoise.wire.http2_errors import (
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    connection_error,
    stream_error,
)

# Types of frames (section 6).
DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

# Flags; ACK is of SETTINGS and PING, END_STREAM of DATA and HEADERS.
ACK: Final = 0x01
END_STREAM: Final = 0x01
END_HEADERS: Final = 0x04
PADDED: Final = 0x08
HAS_PRIORITY: Final = 0x20

HEAD_SIZE: Final = 9
DEFAULT_MAX_FRAME: Final = 16_384
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PREFACE_SIZE: Final = 24

# A header block as it is sent: twice the 32 KiB that a head may have, so that one which is too large can still be
# decoded and answered with 431. Beyond that nobody decodes it, and the compression of the connection is lost with it.
DEFAULT_MAX_BLOCK: Final = 65_536
# nghttp2's limit, since the CONTINUATION floods of 2024; with frames of 16 KiB it is more than the bytes above allow.
DEFAULT_MAX_CONTINUATIONS: Final = 8

# Sets of types, a bit each.
ON_A_STREAM: Final = 1 << DATA | 1 << HEADERS | 1 << PRIORITY | 1 << RST_STREAM | 1 << CONTINUATION
ON_THE_CONNECTION: Final = 1 << SETTINGS | 1 << PING | 1 << GOAWAY

# What the first bytes of a connection are; see `protocol_of`.
HTTP_1: Final = 0
UNDECIDED: Final = 1
HTTP_2: Final = 2

# `_expected` when any frame but a CONTINUATION may come.
ANY: Final = -1
# Pieces of an unfinished frame that are kept apart; more are joined, since a piece of one byte costs forty.
MAX_PIECES: Final = 64


def protocol_of(data: bytes) -> i64:
    """Tells HTTP/2 with prior knowledge from HTTP/1 on a listener without TLS (3.3, 3.4).

    Args:
        data: all bytes of the connection so far.

    Returns:
        `HTTP_2` when they begin with the whole preface, `UNDECIDED` while they are a part of it, otherwise `HTTP_1`.
    """
    size: i64 = len(data)
    if size >= PREFACE_SIZE:
        return HTTP_2 if data.startswith(PREFACE) else HTTP_1
    return UNDECIDED if PREFACE.startswith(data) else HTTP_1


class FrameReader:
    """Hands out the frames of one connection, one by one.

    `feed` takes bytes; then `next` is called until it returns false. In between, the attributes describe the frame.
    A header block in several frames is handed out once, as one HEADERS frame, when it is whole. A type that nobody
    knows is handed out too: to be ignored (5.5), and counted (`flood`).

    After a stream error reading may go on behind the frame; after a connection error it may not.

    Attributes:
        kind: type of the frame.
        flags: its flags, as they came.
        stream: its stream.
        size: length of its payload, padding included: what DATA takes from the windows (6.1, 6.9.1).
        source: the bytes that `begin` and `end` point into; good until the next `feed`.
        begin: where the content begins: data, a header block, settings, the eight bytes of a PING, debug data.
        end: behind its last byte; padding is not in it.
        end_stream: whether DATA or HEADERS end the peer's side of the stream.
        value: error code of RST_STREAM and GOAWAY, increment of WINDOW_UPDATE.
        last_stream: of GOAWAY.
        open_block: the stream whose header block is not whole yet, or 0; nothing else can come before it is, so the
            caller gives it a time limit.
    """

    def __init__(
        self,
        from_client: bool,
        max_frame: i64 = DEFAULT_MAX_FRAME,
        max_block: i64 = DEFAULT_MAX_BLOCK,
        max_continuations: i64 = DEFAULT_MAX_CONTINUATIONS,
    ) -> None:
        """Expects a connection's first bytes.

        Args:
            from_client: whether the peer is a client, whose preface begins with a fixed text.
            max_frame: most bytes of a payload, the SETTINGS_MAX_FRAME_SIZE that the peer was told.
            max_block: most bytes of a header block, compressed.
            max_continuations: most CONTINUATION frames of a header block.
        """
        # Of the connection.
        self.max_frame = max_frame
        self.max_block = max_block
        self.max_continuations = max_continuations
        self._preface = from_client
        # The only type that may come: of the preface SETTINGS, within a header block CONTINUATION, otherwise any.
        self._expected: i64 = SETTINGS
        # Of the frame.
        self.kind: i64 = 0
        self.flags: i64 = 0
        self.stream: i64 = 0
        self.size: i64 = 0
        self.source: bytes = b""
        self.begin: i64 = 0
        self.end: i64 = 0
        self.end_stream = False
        self.value: i64 = 0
        self.last_stream: i64 = 0
        # Of the bytes not yet read, and of those kept for a frame that needs `_need` bytes to be whole.
        self._data: bytes = b""
        self._at: i64 = 0
        self._held: list[bytes] | None = None
        self._held_size: i64 = 0
        self._need: i64 = 0
        # Of the header block that is not whole.
        self.open_block: i64 = 0
        self._block_flags: i64 = 0
        self._block: list[bytes] | None = None
        self._block_size: i64 = 0

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the connection; `next` has returned false since the ones before."""
        assert self._at == len(self._data)
        held = self._held
        if held is not None:
            held.append(data)
            self._held_size += len(data)
            if self._held_size < self._need:
                if len(held) > MAX_PIECES:
                    self._held = [b"".join(held)]
                return
            data = b"".join(held)
            self._held = None
        self._data = data
        self._at = 0

    def next(self) -> bool:
        """Goes to the next frame.

        Returns:
            False when there is no further whole frame.

        Raises:
            Http2Error: the frame breaks a rule; an invalid head is refused before its payload has come.
        """
        data = self._data
        size: i64 = len(data)
        if self._preface and not self._read_preface(data, size):
            return False
        while True:
            at = self._at
            if size - at < HEAD_SIZE:
                return self._keep(size, HEAD_SIZE)
            word = read_i64_be(data, at)
            length = word >> 40 & 0xFFFFFF
            kind = word >> 32 & 0xFF
            flags = word >> 24 & 0xFF
            stream = (word & 0x7FFFFF) << 8 | i64(data[at + 8])
            if length > self.max_frame:
                raise connection_error(FRAME_SIZE_ERROR, "frame longer than SETTINGS_MAX_FRAME_SIZE")
            self._check_head(kind, flags, stream, length)
            begin = at + HEAD_SIZE
            end = begin + length
            if end > size:
                return self._keep(size, HEAD_SIZE + length)
            self._at = end
            self.source = data
            self.kind = kind
            self.flags = flags
            self.stream = stream
            self.size = length
            self.begin = begin
            self.end = end
            if kind == DATA:
                self.end_stream = flags & END_STREAM != 0
                if flags & PADDED != 0:
                    self._take_padding(data)
                return True
            if kind == HEADERS or kind == CONTINUATION:
                if self._take_block(data):
                    return True
                continue
            self.end_stream = False
            self._take_control(data)
            return True

    def payload(self) -> bytes:
        """The content of the frame at hand, in bytes of its own."""
        return self.source[self.begin : self.end]

    def _keep(self, size: i64, need: i64) -> bool:
        """Puts what is left aside until the frame has `need` bytes; returns false."""
        at = self._at
        if size > at:
            self._held = [self._data[at:]]
            self._held_size = size - at
            self._need = need
        self._data = b""
        self._at = 0
        return False

    def _read_preface(self, data: bytes, size: i64) -> bool:
        if size >= PREFACE_SIZE:
            if not data.startswith(PREFACE):
                raise connection_error(PROTOCOL_ERROR, "not the connection preface of HTTP/2")
            self._preface = False
            self._at = PREFACE_SIZE
            return True
        if not PREFACE.startswith(data):
            raise connection_error(PROTOCOL_ERROR, "not the connection preface of HTTP/2")
        # Each byte that comes is looked at: who speaks something else is told at once.
        return self._keep(size, 0)

    def _check_head(self, kind: i64, flags: i64, stream: i64, length: i64) -> None:
        """Everything that the nine bytes alone can get wrong; changes nothing, for it may be asked again."""
        expected = self._expected
        if expected == ANY:
            if kind == CONTINUATION:
                raise connection_error(PROTOCOL_ERROR, "CONTINUATION without a header block to continue")
        elif expected == CONTINUATION:
            if kind != CONTINUATION or stream != self.open_block:
                raise connection_error(PROTOCOL_ERROR, "another frame within a header block")
        elif kind != SETTINGS or flags & ACK != 0:
            raise connection_error(PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if kind > CONTINUATION:
            return
        bit = i64(1) << kind
        if stream == 0:
            if bit & ON_A_STREAM != 0:
                raise connection_error(PROTOCOL_ERROR, "frame of a stream on the connection")
        elif bit & ON_THE_CONNECTION != 0:
            raise connection_error(PROTOCOL_ERROR, "frame of the connection on a stream")
        elif stream & 1 == 0 and kind != PRIORITY:
            # Nobody pushes here, so that streams with even numbers stay idle for ever (5.1, 5.1.1).
            raise connection_error(PROTOCOL_ERROR, "frame on a stream that no client can open")
        if kind == DATA:
            if length == 0 and flags & PADDED != 0:
                raise connection_error(FRAME_SIZE_ERROR, "DATA too short for its padding")
        elif kind == HEADERS:
            if length < (1 if flags & PADDED != 0 else 0) + (5 if flags & HAS_PRIORITY != 0 else 0):
                raise connection_error(FRAME_SIZE_ERROR, "HEADERS too short for what their flags say")
        elif kind != CONTINUATION:
            check_control_head(kind, flags, length)

    def _take_padding(self, data: bytes) -> None:
        """Leaves the padding out of the content, with the byte that tells its length (6.1)."""
        begin = self.begin
        padding: i64 = i64(data[begin])
        if padding >= self.end - begin:
            raise connection_error(PROTOCOL_ERROR, "more padding than payload")
        self.begin = begin + 1
        self.end -= padding

    def _take_block(self, data: bytes) -> bool:
        """Takes HEADERS or CONTINUATION; returns whether the header block is whole."""
        flags = self.flags
        if self.kind == HEADERS:
            if flags & PADDED != 0:
                self._take_padding(data)
            if flags & HAS_PRIORITY != 0:
                # Deprecated (5.3.2), but no peer that follows RFC 7540 (5.3.1) ever sent this.
                if self.end - self.begin < 5:
                    raise connection_error(PROTOCOL_ERROR, "more padding than payload")
                if word_at(data, self.begin) & 0x7FFF_FFFF == self.stream:
                    raise connection_error(PROTOCOL_ERROR, "stream that depends on itself")
                self.begin += 5
            self._block_size = 0
        self._block_size += self.end - self.begin
        if self._block_size > self.max_block:
            raise connection_error(ENHANCE_YOUR_CALM, "header block too large")
        if self.kind == HEADERS:
            self.end_stream = flags & END_STREAM != 0
            if flags & END_HEADERS != 0:
                return True
            self.open_block = self.stream
            self._block_flags = flags
            self._block = [data[self.begin : self.end]]
            self._expected = CONTINUATION
            return False
        return self._continue_block(data)

    def _continue_block(self, data: bytes) -> bool:
        block = self._block
        assert block is not None
        if len(block) > self.max_continuations:
            raise connection_error(ENHANCE_YOUR_CALM, "header block in too many frames")
        block.append(data[self.begin : self.end])
        if self.flags & END_HEADERS == 0:
            return False
        self.kind = HEADERS
        self.flags = self._block_flags | END_HEADERS
        self.source = b"".join(block)
        self.size = self._block_size
        self.begin = 0
        self.end = self._block_size
        self.end_stream = self._block_flags & END_STREAM != 0
        self.open_block = 0
        self._block = None
        self._expected = ANY
        return True

    def _take_control(self, data: bytes) -> None:
        """Reads the numbers in the other frames' payloads."""
        kind = self.kind
        begin = self.begin
        if kind == WINDOW_UPDATE:
            self.value = word_at(data, begin) & 0x7FFF_FFFF
            if self.value == 0:
                raise stream_error(PROTOCOL_ERROR, self.stream, "WINDOW_UPDATE by nothing")
        elif kind == RST_STREAM:
            self.value = word_at(data, begin)
        elif kind == SETTINGS:
            self._expected = ANY
        elif kind == GOAWAY:
            self.last_stream = word_at(data, begin) & 0x7FFF_FFFF
            self.value = word_at(data, begin + 4)
            self.begin = begin + 8
        elif kind == PRIORITY:
            if self.size != 5:
                raise stream_error(FRAME_SIZE_ERROR, self.stream, "PRIORITY whose length is not 5")
            if word_at(data, begin) & 0x7FFF_FFFF == self.stream:
                raise stream_error(PROTOCOL_ERROR, self.stream, "stream that depends on itself")


def check_control_head(kind: i64, flags: i64, length: i64) -> None:
    """The lengths of frames that have nothing to do with messages.

    Raises:
        Http2Error: a connection error. That of a PRIORITY of another length than 5 is a stream error (6.3) and waits
            until the frame has come.
    """
    if kind == PUSH_PROMISE:
        # A client never may, and no peer of ours was allowed to: SETTINGS_ENABLE_PUSH is 0 (6.6, 8.4).
        raise connection_error(PROTOCOL_ERROR, "PUSH_PROMISE was not allowed")
    if kind == SETTINGS:
        if flags & ACK != 0 and length != 0:
            raise connection_error(FRAME_SIZE_ERROR, "acknowledgement of SETTINGS with a payload")
        if length % 6 != 0:
            raise connection_error(FRAME_SIZE_ERROR, "SETTINGS whose length is no multiple of 6")
    elif kind == WINDOW_UPDATE or kind == RST_STREAM:
        if length != 4:
            raise connection_error(FRAME_SIZE_ERROR, "WINDOW_UPDATE or RST_STREAM whose length is not 4")
    elif kind == PING:
        if length != 8:
            raise connection_error(FRAME_SIZE_ERROR, "PING whose length is not 8")
    elif kind == GOAWAY and length < 8:
        raise connection_error(FRAME_SIZE_ERROR, "GOAWAY shorter than 8")


def word_at(data: bytes, at: i64) -> i64:
    """Four bytes as a number without sign."""
    return i64(read_i32_be(data, at)) & 0xFFFF_FFFF
