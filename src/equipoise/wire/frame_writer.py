"""Writing HTTP/2 frames (RFC 9113 4, 6).

Owns: frames as bytes, and cutting what is longer than the peer's frames may be.
Refuses to know: streams, windows, when the bytes go to the socket.

PRIORITY is deprecated (5.3.2) and PUSH_PROMISE never ours, so neither is written.
"""

from typing import Final

from librt.strings import BytesWriter, write_i16_be, write_i32_be, write_i64_be
from mypy_extensions import i16, i32, i64, u8

from equipoise.wire.frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_MAX_FRAME,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEAD_SIZE,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)

# Room that a writer keeps for the next frames; one that had more in it is given up, with its memory.
KEPT_ROOM: Final = 65_536
# Longest frame that is written, whatever the peer takes: a longer one would keep all other streams waiting.
MOST_FRAME: Final = 65_536


class FrameWriter:
    """The frames that wait to be sent on one connection.

    Attributes:
        out: the bytes so far. `take` may put another writer in its place: nobody keeps it between calls.
        max_frame: most bytes of a payload; see `allow`.
    """

    def __init__(self) -> None:
        self.out = BytesWriter()
        self.max_frame: i64 = DEFAULT_MAX_FRAME

    def allow(self, max_frame: i64) -> None:
        """Takes the peer's SETTINGS_MAX_FRAME_SIZE, in bytes."""
        self.max_frame = min(max_frame, MOST_FRAME)

    def take(self) -> bytes:
        """What is to be sent; the writer is empty afterwards."""
        out = self.out
        data = out.getvalue()
        if len(data) > KEPT_ROOM:
            self.out = BytesWriter()
        else:
            out.truncate(0)
        return data

    # -- messages

    def begin_headers(self, stream: i64) -> i64:
        """Begins a header block, whose bytes the caller then appends to `out`, and nothing else until `end_headers`.

        Returns:
            Where the frame begins, for `end_headers`.
        """
        start: i64 = len(self.out)
        write_head(self.out, 0, HEADERS, END_HEADERS, stream)
        return start

    def end_headers(self, start: i64, stream: i64, end_stream: bool) -> None:
        """Ends a header block: writes its length into the frame, or cuts it into HEADERS and CONTINUATION.

        Args:
            start: what `begin_headers` returned.
            stream: the same as there.
            end_stream: whether the message ends here.
        """
        out = self.out
        size: i64 = len(out)
        size -= start + HEAD_SIZE
        if size > self.max_frame:
            whole = out.getvalue()
            out.truncate(start)
            self.headers(stream, whole[start + HEAD_SIZE :], end_stream)
            return
        out[start] = u8(size >> 16 & 0xFF)
        out[start + 1] = u8(size >> 8 & 0xFF)
        out[start + 2] = u8(size & 0xFF)
        if end_stream:
            out[start + 4] = u8(END_HEADERS | END_STREAM)

    def headers(self, stream: i64, block: bytes, end_stream: bool) -> None:
        """A header block that is there already; in as many frames as it needs."""
        out = self.out
        size: i64 = len(block)
        flags: i64 = END_STREAM if end_stream else 0
        if size <= self.max_frame:
            write_head(out, size, HEADERS, flags | END_HEADERS, stream)
            out.write(block)
            return
        kind: i64 = HEADERS
        at: i64 = 0
        while at < size:
            to = min(at + self.max_frame, size)
            write_head(out, to - at, kind, flags | END_HEADERS if to == size else flags, stream)
            out.write(block[at:to])
            kind = CONTINUATION
            flags = 0
            at = to

    def data(self, stream: i64, data: bytes, end_stream: bool) -> None:
        """DATA that the windows allow, in as many frames as it needs; without a byte, one empty frame.

        Args:
            stream: its stream.
            data: the content.
            end_stream: whether the message ends here.
        """
        size: i64 = len(data)
        flags: i64 = END_STREAM if end_stream else 0
        if size <= self.max_frame:
            out = self.out
            write_head(out, size, DATA, flags, stream)
            out.write(data)
            return
        self.data_part(stream, data, 0, end_stream)

    def data_part(self, stream: i64, data: bytes, at: i64, end_stream: bool) -> None:
        """As `data`, from the byte `at` on: what goes on behind a window that was shut."""
        out = self.out
        size: i64 = len(data)
        flags: i64 = END_STREAM if end_stream else 0
        while True:
            to = min(at + self.max_frame, size)
            write_head(out, to - at, DATA, flags if to == size else 0, stream)
            out.write(data[at:to])
            if to == size:
                return
            at = to

    def rst_stream(self, stream: i64, code: i64) -> None:
        """Ends a stream with an error code (7)."""
        write_head(self.out, 4, RST_STREAM, 0, stream)
        write_i32_be(self.out, signed(code))

    def window_update(self, stream: i64, increment: i64) -> None:
        """Grants bytes: 1 to 2^31 - 1, on a stream or with the number 0 on the connection."""
        assert 0 < increment <= 0x7FFF_FFFF
        write_head(self.out, 4, WINDOW_UPDATE, 0, stream)
        write_i32_be(self.out, i32(increment))

    # -- the connection

    def preface(self) -> None:
        """The fixed text with which a client begins (3.4); SETTINGS must follow."""
        self.out.write(PREFACE)

    def settings(self, values: list[tuple[int, int]]) -> None:
        """Our settings.

        Args:
            values: name (`http2_settings`) and value, in the order in which the peer takes them.
        """
        out = self.out
        write_head(out, 6 * len(values), SETTINGS, 0, 0)
        for name, value in values:
            write_i16_be(out, i16(name))
            write_i32_be(out, signed(value))

    def settings_ack(self) -> None:
        """Says that the peer's settings hold from here on (6.5.3)."""
        write_head(self.out, 0, SETTINGS, ACK, 0)

    def ping(self, payload: bytes, ack: bool) -> None:
        """A PING, or the answer to one; eight bytes."""
        assert len(payload) == 8
        write_head(self.out, 8, PING, ACK if ack else 0, 0)
        self.out.write(payload)

    def goaway(self, last_stream: i64, code: i64, debug: bytes = b"") -> None:
        """Ends the connection, now or in time (6.8).

        Args:
            last_stream: the highest stream of the peer's that was or may be acted on.
            code: an error code (7).
            debug: for the peer's log; cut to what one frame takes.
        """
        out = self.out
        debug = debug[: DEFAULT_MAX_FRAME - 8]
        write_head(out, 8 + len(debug), GOAWAY, 0, 0)
        write_i32_be(out, i32(last_stream))
        write_i32_be(out, signed(code))
        out.write(debug)


def write_head(out: BytesWriter, size: i64, kind: i64, flags: i64, stream: i64) -> None:
    """The nine bytes before each payload (4.1)."""
    write_i64_be(out, size << 40 | kind << 32 | flags << 24 | stream >> 8)
    out.append(u8(stream & 0xFF))


def signed(value: i64) -> i32:
    """Four bytes without sign as the number with sign that has the same bytes, compiled and interpreted alike."""
    return i32((value & 0xFFFF_FFFF ^ 0x8000_0000) - 0x8000_0000)
