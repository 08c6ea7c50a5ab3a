"""One request over an HTTP/2 connection of its own, for a health probe.

Owns: the client's side of a connection that carries a single small exchange, and strictness about what comes back.
Refuses to know: what is asked and what an answer means, how the connection was made, time limits.
Called by: runtime/health_checks.py, runtime/grpc_probe.py.
"""

import asyncio
from typing import Final, NamedTuple

from equipoise.runtime.probe_error import ProbeError
from equipoise.wire.frame_writer import FrameWriter
from equipoise.wire.frames import ACK, DATA, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, FrameReader
from equipoise.wire.hpack import INITIAL_TABLE, Decoder, Encoder
from equipoise.wire.hpack_header import Header
from equipoise.wire.hpack_tables import HpackError
from equipoise.wire.http2_errors import Http2Error
from equipoise.wire.http2_rules import Http2Response, check_trailers
from equipoise.wire.http2_settings import ENABLE_PUSH, PeerSettings

STREAM: Final = 1
READ_SIZE: Final = 16 * 1024
# What a target may send in all. It is less than the windows that it has at first, so none has to be granted.
MAX_BYTES: Final = 48 * 1024
MAX_LIST: Final = 16 * 1024


class Answer(NamedTuple):
    """A whole response; an answer of trailers alone has them in `fields`."""

    status: int
    fields: list[Header]
    body: bytes
    trailers: list[Header]

    def value(self, name: bytes) -> bytes | None:
        """The value of a field in the trailers, or else in the head; None when there is none of that name."""
        return next((field.value for field in (*self.trailers, *self.fields) if field.name == name), None)


async def ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    head: list[tuple[bytes, bytes]],
    body: bytes | None = None,
    *,
    whole: bool = True,
) -> Answer:
    """Sends a request with prior knowledge of HTTP/2 (RFC 9113 3.3), or behind the ALPN that chose it.

    Args:
        reader: of a connection on which nothing was read yet.
        writer: of the same; what it sends is small, so nothing is waited for. The caller closes it.
        head: the pseudo-header fields and then the others, in lower case.
        body: None for a request that ends with its head; it must fit into a window that nobody has enlarged.
        whole: whether to wait for the end of the answer, or only for its head, whose body may then have any size.

    Raises:
        ProbeError: the target does not speak HTTP/2, refuses, or answers more than a probe takes.
    """
    exchange = _Exchange(whole=whole)
    writer.write(exchange.request(head, body))
    left = MAX_BYTES
    try:
        while True:
            data = await reader.read(READ_SIZE)
            if not data:
                raise ProbeError("closed without an answer")
            left -= len(data)
            if left < 0:
                raise ProbeError("an answer larger than a probe takes")
            answer = exchange.receive(data)
            replies = exchange.out.take()
            if replies:
                writer.write(replies)
            if answer is not None:
                return answer
    except Http2Error as error:
        raise ProbeError(f"not valid HTTP/2: {error.detail}") from error
    except HpackError as error:
        raise ProbeError(f"not valid HTTP/2: {error.detail}") from error


class _Exchange:
    """The connection as the frames have left it."""

    def __init__(self, *, whole: bool) -> None:
        self.out = FrameWriter()
        self._whole = whole
        self._frames = FrameReader(from_client=False)
        self._settings = PeerSettings()
        self._decoder = Decoder(INITIAL_TABLE, MAX_LIST)
        self._response: Http2Response | None = None
        self._fields: list[Header] = []
        self._trailers: list[Header] = []
        self._body: list[bytes] = []
        self._begun = False

    def request(self, head: list[tuple[bytes, bytes]], body: bytes | None) -> bytes:
        """The preface and the request, in one piece: the defaults of the peer's settings allow it."""
        out = self.out
        out.preface()
        out.settings([(ENABLE_PUSH, 0)])
        out.headers(STREAM, Encoder().encode(head), end_stream=body is None)
        if body is not None:
            out.data(STREAM, body, end_stream=True)
        return out.take()

    def receive(self, data: bytes) -> Answer | None:
        """Takes bytes; returns the answer once there is enough of it. What must be replied is in `out`."""
        if not self._begun:
            self._begun = True
            if data.startswith(b"HTTP/1."):
                raise ProbeError("speaks HTTP/1, not HTTP/2")
        frames = self._frames
        frames.feed(data)
        while frames.next():
            if self._take() and (frames.end_stream or not self._whole):
                assert self._response is not None
                return Answer(int(self._response.status), self._fields, b"".join(self._body), self._trailers)
        return None

    def _take(self) -> bool:
        """One frame; returns whether it is of the final response."""
        frames = self._frames
        kind = frames.kind
        if kind == SETTINGS and not frames.flags & ACK:
            self._settings.read(frames.source, frames.begin, frames.end, from_client=False)
            self.out.settings_ack()
        elif kind == PING and not frames.flags & ACK:
            self.out.ping(frames.payload(), ack=True)
        elif kind == GOAWAY and (frames.value or frames.last_stream < STREAM):
            raise ProbeError(f"refused the connection (GOAWAY, code {frames.value})")
        elif kind in {HEADERS, DATA, RST_STREAM} and frames.stream != STREAM:
            raise ProbeError("not valid HTTP/2: frame on a stream that was never opened")
        elif kind == RST_STREAM:
            raise ProbeError(f"refused the request (RST_STREAM, code {frames.value})")
        elif kind == HEADERS:
            return self._take_fields(self._decoder.decode(frames.payload()), frames.end_stream)
        elif kind == DATA:
            if self._response is None:
                raise ProbeError("not valid HTTP/2: DATA before the response's head")
            data = frames.payload()
            self._response.take_data(len(data), frames.end_stream)
            self._body.append(data)
            return True
        return False

    def _take_fields(self, fields: list[Header], end_stream: bool) -> bool:
        if self._response is not None:
            self._trailers = check_trailers(fields, STREAM, end_stream)
            self._response.take_data(0, end_stream)
            return True
        response = Http2Response(STREAM)
        response.read(fields, end_stream, to_head=False)
        if response.status < 200:
            return False
        self._response = response
        self._fields = fields
        return True
