"""HTTP/1.1 towards a target: one connection, one exchange at a time.

Owns: reading answers, their framing, and whether the connection may be used again.
Refuses to know: which exchange, which pool, what becomes of a failure.

Every failure is told with what it means for another attempt: the connection knows whether anything was sent.
"""

import socket
from typing import Any, Final

from mypy_extensions import i64

from equipoise.errors import RETRY_IF_SAFE, RETRY_NEVER, ProxyError, limited, upstream_failed
from equipoise.proxy.services import Services
from equipoise.proxy.sides import Relay, Upstream
from equipoise.state.connections import NO_DEADLINE
from equipoise.wire.chunked import LAST_CHUNK, ChunkedReader, chunk, last_chunk
from equipoise.wire.hpack_header import Header
from equipoise.wire.http1 import ResponseHead
from equipoise.wire.message import fields_of, lines_of

# How the body at hand ends.
HEAD: Final = 0
LENGTH: Final = 1
CHUNKED: Final = 2
UNTIL_CLOSE: Final = 3

# An answer's head may be as large as Pingora takes them; beyond that the target is broken.
MAX_HEAD: Final = 256 * 1024
MAX_FIELDS: Final = 1_000
# Interim answers before the final one; a target that sends more never answers (THREATS: endless 1xx).
MAX_INTERIM: Final = 16
# Most targets close idle connections after 60 to 75 s; closing first spares the race.
IDLE_NS: Final = 55 * 1_000_000_000


class UpstreamHttp1(Upstream):
    """A connection to a target; an asyncio protocol in all but inheritance."""

    def __init__(self, services: Services, slot: i64) -> None:
        super().__init__(services.idle.stack(slot))
        # The connection.
        self.services = services
        self.write: Any = None
        self.secure = False
        self.idle = False
        self.held_back = False
        # The exchange.
        self.relay: Relay | None = None
        self.sent_whole = False
        # The answer.
        self.head: ResponseHead | None = None
        self.buffer: bytes = b""
        self.mode: i64 = HEAD
        self.left: i64 = 0
        self.chunks: ChunkedReader | None = None
        self.keep_alive = False
        self.interims: i64 = 0

    # -- the exchange's side

    def start(self, relay: Relay, body: bytes, last: bool) -> None:
        """See `Upstream.start`."""
        self.relay = relay
        data = relay.request_http1()
        if relay.chunked:
            if body:
                data += chunk(body)
            if last:
                data += LAST_CHUNK
        elif body:
            data += body
        self.idle = False
        self.uses += 1
        self.sent_whole = last
        self.head = None
        self.mode = HEAD
        self.interims = 0
        self.deadline = self.services.now + self.services.world().limits.response_ns
        self.write(data)

    def send_body(self, data: bytes, last: bool) -> None:
        """See `Upstream.send_body`."""
        self.sent_whole = last
        self.deadline = self.services.now + self.services.world().limits.response_ns
        relay = self.relay
        if relay is not None and relay.chunked:
            if data:
                self.write(chunk(data))
            if last:
                self.write(LAST_CHUNK)
        elif data:
            self.write(data)

    def send_trailers(self, fields: list[Header]) -> None:
        """See `Upstream.send_trailers`; a body of a length that was told has no place for them."""
        self.sent_whole = True
        relay = self.relay
        if relay is not None and relay.chunked:
            self.write(last_chunk(lines_of(fields)))

    def hold(self) -> None:
        """See `Upstream.hold`. The target is not to blame while the client does not read."""
        if not self.held_back:
            self.held_back = True
            self.deadline = NO_DEADLINE
            self.transport.pause_reading()

    def let(self) -> None:
        """See `Upstream.let`."""
        if self.held_back:
            self.held_back = False
            self.deadline = self.services.now + self.services.world().limits.response_ns
            self.transport.resume_reading()

    def cancel(self) -> None:
        """See `Upstream.cancel`."""
        self.relay = None
        self.transport.abort()

    def close(self) -> None:
        """See `Reusable.close`."""
        self.idle = False
        self.transport.close()

    def is_open(self) -> bool:
        """See `Reusable.is_open`: an idle connection on which there is something to read is closed, or out of step."""
        if self.transport.is_closing():
            return False
        # asyncio's wrapper allows no recv; the descriptor is the transport's and stays open.
        raw = socket.socket(fileno=self.transport.get_extra_info("socket").fileno())
        try:
            # Over TLS there may be session tickets to read.
            if raw.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) and self.secure:
                return True
        except BlockingIOError:
            return True
        except OSError:
            pass
        finally:
            raw.detach()
        self.close()
        return False

    def expire(self, now: i64) -> None:
        """Idle for long enough, or the target does not answer."""
        if self.idle:
            self._leave_idle()
            self.close()
            return
        if not self.sent_whole and self.transport.get_write_buffer_size() == 0:
            # It is the client's turn; its own deadline will tell.
            self.deadline = now + self.services.world().limits.response_ns
            return
        detail = (
            "The target did not answer in time."
            if self.mode == HEAD
            else "The target stopped in the middle of its answer."
        )
        self._fail(limited("response_timeout", upstream_failed("response_timeout", RETRY_IF_SAFE, detail, 504)))

    # -- the transport's side

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        self.transport = transport
        self.write = transport.write
        self.secure = transport.get_extra_info("ssl_object") is not None
        # Above the first mark the client is not read, below the second it is again. uvloop's own low mark is 16 bytes.
        buffer = self.services.world().limits.buffer
        transport.set_write_buffer_limits(buffer, buffer // 4)
        self.services.deadlines.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes from the target."""
        relay = self.relay
        if relay is None:
            # Nothing was asked: an answer nobody waits for must not become the next one's.
            self._leave_idle()
            self.transport.abort()
            return
        try:
            if self.mode == HEAD:
                self._read_head(relay, data)
            else:
                self.deadline = self.services.now + self.services.world().limits.response_ns
                self._read_body(relay, data)
        except ProxyError as error:
            self._fail(
                upstream_failed("malformed", RETRY_NEVER, f"The target's answer is not valid HTTP: {error.detail}.")
            )

    def eof_received(self) -> bool:
        """The target closes.

        `connection_lost` draws the conclusion, but from now on no exchange may take the connection.
        """
        self._leave_idle()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.services.deadlines.remove(self)
        self._leave_idle()
        relay = self.relay
        if relay is None:
            return
        if self.mode == UNTIL_CLOSE and error is None:
            self.keep_alive = False
            self.relay = None
            relay.response_body(b"", True)
            return
        if error is None:
            failure = upstream_failed(
                "closed_early", RETRY_IF_SAFE, "The target closed the connection before its answer ended."
            )
        else:
            failure = upstream_failed("reset", RETRY_IF_SAFE, "The target reset the connection.")
        self._fail(failure)

    def pause_writing(self) -> None:
        """The target reads slower than the client sends."""
        if self.relay is not None:
            self.relay.upstream_full()

    def resume_writing(self) -> None:
        """The target reads again."""
        if self.relay is not None:
            self.relay.upstream_drained()

    # -- the answer

    def _read_head(self, relay: Relay, data: bytes) -> None:
        while True:
            if self.buffer:
                data = self.buffer + data
                self.buffer = b""
            head = self.head
            if head is None:
                head = ResponseHead(MAX_HEAD, MAX_FIELDS)
                self.head = head
            if not head.read(data):
                self.buffer = data
                return
            rest = data[head.at :] if head.at < len(data) else b""
            if head.status >= 200:
                self._begin_body(relay, head, rest)
                return
            if head.status == 101:
                self._switch(relay, head, rest)
                return
            self.interims += 1
            if self.interims > MAX_INTERIM:
                raise upstream_failed("malformed", RETRY_NEVER, "too many interim answers")
            self.head = None
            relay.interim(head)
            if not rest or self.relay is None:
                return
            data = rest

    def _begin_body(self, relay: Relay, head: ResponseHead, rest: bytes) -> None:
        """How the body ends (RFC 9112 6.3), and its first bytes."""
        self.keep_alive = not head.close and (head.minor == 1 or head.keep_alive)
        size: i64 = len(rest)
        if head.status == 204 or head.status == 304 or relay.head.method == b"HEAD":
            self._end(relay, head, b"", size)
        elif head.chunked:
            self.mode = CHUNKED
            chunks = ChunkedReader(MAX_HEAD, MAX_FIELDS, relay.decodes)
            self.chunks = chunks
            body = chunks.feed(rest) if rest else b""
            if chunks.trailers:
                relay.response_head(head, body, False)
                self._end_with_trailers(relay, chunks)
            elif chunks.done:
                self._end(relay, head, body, len(chunks.rest))
            else:
                relay.response_head(head, body, False)
        elif head.content_length >= 0:
            self.left = head.content_length - size
            if self.left <= 0:
                excess = -self.left
                self._end(relay, head, rest if excess == 0 else rest[: head.content_length], excess)
            else:
                self.mode = LENGTH
                relay.response_head(head, rest, False)
        else:
            self.mode = UNTIL_CLOSE
            relay.response_head(head, rest, False)

    def _read_body(self, relay: Relay, data: bytes) -> None:
        if self.mode == LENGTH:
            size: i64 = len(data)
            self.left -= size
            if self.left > 0:
                relay.response_body(data, False)
                return
            excess = -self.left
            self._end(relay, None, data if excess == 0 else data[: size - excess], excess)
        elif self.mode == CHUNKED:
            chunks = self.chunks
            assert chunks is not None
            body = chunks.feed(data)
            if chunks.trailers:
                if body:
                    relay.response_body(body, False)
                self._end_with_trailers(relay, chunks)
            elif chunks.done:
                self._end(relay, None, body, len(chunks.rest))
            elif body:
                relay.response_body(body, False)
        else:
            relay.response_body(data, False)

    def _end(self, relay: Relay, head: ResponseHead | None, body: bytes, excess: i64) -> None:
        """The answer is complete."""
        self._free(excess)
        if head is not None:
            relay.response_head(head, body, True)
        else:
            relay.response_body(body, True)

    def _end_with_trailers(self, relay: Relay, chunks: ChunkedReader) -> None:
        """The answer is complete, and there are trailers that are not in its framing."""
        if self.relay is None:
            # The client left while the body went to it.
            return
        self._free(len(chunks.rest))
        relay.response_trailers(fields_of(chunks.trailers))

    def _free(self, excess: i64) -> None:
        """Lets go of the connection before the answer's end is told, so that the next exchange may have it."""
        self.relay = None
        self.chunks = None
        self.mode = HEAD
        self.head = None
        if self.held_back:
            self.let()
        # More bytes than the answer has, or a request that was not taken whole: the two sides are out of step.
        if self.keep_alive and self.sent_whole and excess == 0 and self.services.idle.put(self):
            self.idle = True
            self.deadline = self.services.now + IDLE_NS
        else:
            self.transport.close()

    def _switch(self, relay: Relay, head: ResponseHead, rest: bytes) -> None:
        if relay.head.upgrade is None or head.upgrade is None or not self.sent_whole:
            raise upstream_failed("malformed", RETRY_NEVER, "101 without having been asked")
        self.relay = None
        relay.switched(head, rest)

    def _fail(self, error: ProxyError) -> None:
        relay = self.relay
        self.relay = None
        self.transport.abort()
        if relay is not None:
            relay.upstream_failed(error)

    def _leave_idle(self) -> None:
        if self.idle:
            self.idle = False
            self.services.idle.forget(self)
