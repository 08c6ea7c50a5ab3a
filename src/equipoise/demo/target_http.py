"""A demo target's side of HTTP/1.1: one connection, one request at a time, answers in order.

Owns: reading requests, the delay before the answer, the answer's bytes.
Refuses to know: what is done with the counts (`Counts` is told of each begin and end), processes, logs.
Called by: target.
"""

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

import msgspec

from equipoise.demo.lines import wall_seconds
from equipoise.errors import ProxyError
from equipoise.wire.chunked import ChunkedReader
from equipoise.wire.http1 import RequestHead

MAX_HEAD: Final = 64 * 1024
MAX_FIELDS: Final = 200
MAX_REQUEST_TARGET: Final = 16 * 1024
# How far a client may send ahead while its request is being worked on, before its reading is paused.
READ_AHEAD: Final = 256 * 1024
BLOCK: Final = b"x" * (64 * 1024)
# uvloop's own low-water mark is 16 bytes, which would stop and start the writer at every block.
HIGH_WATER: Final = 256 * 1024
LOW_WATER: Final = 64 * 1024
# Answered at once and counted nowhere, so that health probes do not show in the in-flight numbers.
HEALTH_PATH: Final = b"/healthz"


class Answer(msgspec.Struct, frozen=True):
    """The body of a demo target's answer; the traffic reads it back and checks it."""

    name: str
    in_flight: int
    method: str
    path: str
    body_length: int


class Counts:
    """The numbers of one target: what it works on now, what it has answered, who is connected."""

    def __init__(self, name: str, draw_delay_ms: Callable[[], float]) -> None:
        self.name = name
        self.draw_delay_ms = draw_delay_ms
        self.in_flight = 0
        self.requests = 0
        self.draining = False
        self.connections: set[TargetConnection] = set()
        self.left = asyncio.Event()


class Wanted:
    """What the query of a request asks of its answer: `?delay=MS`, `?status=N`, `?size=BYTES`."""

    def __init__(self, query: str) -> None:
        fields = parse_qs(query) if query else {}
        self.delay_ms = _number(fields, "delay")
        self.status = int(_number(fields, "status") or 200)
        size = _number(fields, "size")
        self.size = None if size is None else int(size)
        if not 200 <= self.status <= 599:
            self.status = 400


class TargetConnection:
    """One client of a demo target. Implements asyncio's protocol methods without inheriting them."""

    def __init__(self, counts: Counts) -> None:
        # For the connection's life.
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._write_paused = False
        # For one request.
        self._head: RequestHead | None = None
        self._head_read = False
        self._chunks: ChunkedReader | None = None
        self._body_left = 0
        self._body_length = 0
        self._counted = False
        self._busy = False
        self._delay: asyncio.TimerHandle | None = None
        self._answer_left = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """A client connected."""
        transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self._transport = transport
        self._counts.connections.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """The client left; what it was still waiting for is no longer in flight."""
        self._transport = None
        self._counts.connections.discard(self)
        self._counts.left.set()
        if self._delay is not None:
            self._delay.cancel()
        self._uncount()

    def eof_received(self) -> bool:
        """A client that closes its side is taken as gone, as nginx does: a half-close looks the same as an abort."""
        return False

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, or of several."""
        self._unread += data
        if not self._busy:
            self._advance()
        elif len(self._unread) > READ_AHEAD and self._transport is not None:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """The client reads slower than this target writes."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """The client caught up."""
        self._write_paused = False
        if self._answer_left > 0:
            self._write_filler()
            self._advance()

    def drain(self) -> None:
        """Leaves: at once when idle, after the answer when not."""
        if self._head is None and self._transport is not None:
            self._transport.close()

    def _advance(self) -> None:
        """Reads on as far as the bytes go."""
        try:
            while self._transport is not None and not self._busy and not self._transport.is_closing():
                if not (self._read_head() and self._read_body()):
                    return
                self._begin_answer()
        except ProxyError as error:
            self._refuse(error)

    def _read_head(self) -> bool:
        head = self._head
        if self._head_read:
            return True
        if not self._unread:
            return False
        if head is None:
            head = self._head = RequestHead(MAX_HEAD, MAX_FIELDS, MAX_REQUEST_TARGET)
        if not head.read(self._unread):
            return False
        self._head_read = True
        self._unread = self._unread[head.at :]
        self._chunks = ChunkedReader(MAX_HEAD, MAX_FIELDS, decode=True) if head.chunked else None
        self._body_left = max(0, head.content_length)
        self._body_length = 0
        if head.target.partition(b"?")[0] != HEALTH_PATH:
            self._count()
        if head.expect_continue and not self._unread and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _read_body(self) -> bool:
        """Counts the body's bytes and drops them; true when it is all there."""
        chunks = self._chunks
        if chunks is not None:
            if self._unread:
                self._body_length += len(chunks.feed(self._unread))
                self._unread = chunks.rest if chunks.done else b""
            return chunks.done
        taken = min(self._body_left, len(self._unread))
        self._unread = self._unread[taken:]
        self._body_left -= taken
        self._body_length += taken
        return self._body_left == 0

    def _begin_answer(self) -> None:
        head = self._head
        assert head is not None
        self._busy = True
        path, _, query = head.target.partition(b"?")
        wanted = Wanted(query.decode("latin-1"))
        if path == HEALTH_PATH:
            self._answer(wanted)
            return
        delay_ms = self._counts.draw_delay_ms() if wanted.delay_ms is None else wanted.delay_ms
        if delay_ms <= 0:
            self._answer(wanted)
        else:
            self._delay = self._loop.call_later(delay_ms / 1000, self._answer_late, wanted)

    def _answer_late(self, wanted: Wanted) -> None:
        self._delay = None
        self._answer(wanted)
        self._advance()

    def _answer(self, wanted: Wanted) -> None:
        head = self._head
        transport = self._transport
        assert head is not None
        assert transport is not None
        counts = self._counts
        body = b""
        if wanted.size is None:
            answer = Answer(
                counts.name, counts.in_flight, head.method.decode(), head.target.decode(), self._body_length
            )
            body = msgspec.json.encode(answer)
        length = len(body) if wanted.size is None else wanted.size
        kind = b"application/json" if wanted.size is None else b"text/plain"
        bare = wanted.status in {204, 304}
        bodiless = bare or head.method == b"HEAD"
        transport.write(self._head_bytes(wanted.status, kind, None if bare else length) + (b"" if bodiless else body))
        if bodiless or wanted.size is None:
            self._end_answer()
        else:
            self._answer_left = length
            self._write_filler()

    def _head_bytes(self, status: int, kind: bytes, length: int | None) -> bytes:
        head = self._head
        lines = [
            b"HTTP/1.1 %d %b" % (status, _phrase(status)),
            b"Date: " + formatdate(wall_seconds(), usegmt=True).encode(),
            b"X-Target: " + self._counts.name.encode("latin-1", "replace"),
        ]
        if length is not None:
            lines += [b"Content-Type: " + kind, b"Content-Length: %d" % length]
        if head is None or head.close or self._counts.draining:
            lines.append(b"Connection: close")
        elif head.minor == 0:
            lines.append(b"Connection: keep-alive")
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _write_filler(self) -> None:
        """Writes the body that `?size=` asked for until it is all written or the client does not keep up."""
        transport = self._transport
        while transport is not None and self._answer_left > 0:
            if self._write_paused:
                return
            block = BLOCK if self._answer_left >= len(BLOCK) else BLOCK[: self._answer_left]
            self._answer_left -= len(block)
            transport.write(block)
        self._end_answer()

    def _end_answer(self) -> None:
        head = self._head
        self._uncount()
        self._head = None
        self._head_read = False
        self._busy = False
        if self._transport is None:
            return
        if head is None or head.close or self._counts.draining:
            self._transport.close()
        elif not self._transport.is_reading():
            self._transport.resume_reading()

    def _refuse(self, error: ProxyError) -> None:
        """The request cannot be read on; where the next one would begin is unknown, so the connection ends."""
        self._uncount()
        self._head = None
        self._busy = True
        if self._transport is not None:
            body = error.detail.encode()
            self._transport.write(self._head_bytes(error.status, b"text/plain", len(body)) + body)
            self._transport.close()

    def _count(self) -> None:
        self._counted = True
        self._counts.in_flight += 1
        self._counts.requests += 1

    def _uncount(self) -> None:
        if self._counted:
            self._counted = False
            self._counts.in_flight -= 1


def _number(fields: dict[str, list[str]], name: str) -> float | None:
    """A number of the query; one that is not readable counts as absent."""
    try:
        value = float(fields[name][0])
    except (KeyError, ValueError):
        return None
    return value if 0 <= value < 1e12 else None


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Unknown"
