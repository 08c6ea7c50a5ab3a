"""HTTP/1.1 towards a client: one connection, its requests one after the other.

Owns: reading requests and their framing, pipelining, keep-alive, the client's deadlines, how answers are framed for it.
Refuses to know: targets, retries, what is logged.
"""

from typing import Any, Final

from mypy_extensions import i64

from equipoise.errors import ProxyError, body_too_large, body_too_slow, head_too_slow
from equipoise.proxy.client import Client
from equipoise.proxy.exchange import Exchange
from equipoise.proxy.http2_client import ClientConnection
from equipoise.proxy.own_answers import TYPE, problem, retry_after
from equipoise.proxy.services import Services
from equipoise.proxy.sides import Downstream
from equipoise.state.connections import NO_DEADLINE
from equipoise.wire.chunked import LAST_CHUNK, ChunkedReader, chunk, last_chunk
from equipoise.wire.frames import HTTP_1, UNDECIDED, protocol_of
from equipoise.wire.hpack_header import Header
from equipoise.wire.http1 import RequestHead, ResponseHead
from equipoise.wire.message import REASONS, Response, fields_of, lines_of, response_lines

# A body this large is written beside its head instead of being copied behind it.
JOIN_LIMIT: Final = 16 * 1024
# After a last answer with request bytes unread: how long and how much is read and thrown away, so that the client's
# kernel does not drop the answer for the reset that closing at once would cause (RFC 9112 9.6).
LINGER_NS: Final = 2 * 1_000_000_000
LINGER_BYTES: Final = 4 * 1024 * 1024

# What the connection is doing.
READY: Final = 0  # between requests, or reading a head
BODY: Final = 1  # an exchange runs, its request is not whole
ANSWER: Final = 2  # an exchange runs, its request is whole
LINGERING: Final = 3
TUNNEL: Final = 4
CLOSED: Final = 5
FRESH: Final = 6  # nothing was read yet: it may be HTTP/2


class DownstreamHttp1(Downstream):
    """A client's connection; an asyncio protocol in all but inheritance."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        # The connection.
        self.services = services
        self.write: Any = None
        self.state: i64 = FRESH
        self.buffer: bytes = b""
        self.held_back = False
        self.full = False
        self.unsent: i64 = 0
        # The request.
        self.head: RequestHead | None = None
        self.exchange: Exchange | None = None
        self.left: i64 = 0
        self.chunks: ChunkedReader | None = None
        self.trailers: list[bytes] = []
        self.minor: i64 = 1
        self.keep_alive = True
        # The answer.
        self.begun = False
        self.encodes = False
        self.lingered: i64 = 0

    # -- the transport's side

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        services = self.services
        self.transport = transport
        self.write = transport.write
        limits = services.world().limits
        # Above the first mark the target is not read, below the second it is again. uvloop's own low mark is 16 bytes.
        transport.set_write_buffer_limits(limits.buffer, limits.buffer // 4)
        client = Client(transport)
        self.client = client
        refusal = services.joined(self, client)
        self.deadline = services.now + limits.idle_ns
        secure = transport.get_extra_info("ssl_object")
        if secure is not None and secure.selected_alpn_protocol() == "h2":
            self._go_over_to_http2(b"", refusal)
        elif refusal is not None:
            self._refuse(refusal)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        state = self.state
        if state == READY:
            if self.buffer:
                data = self.buffer + data
                self.buffer = b""
            if self.full:
                # It asks for more and does not read what it asked for: the next answer would only pile up here.
                self._keep_ahead(data)
                return
            self._read_head(data)
        elif state == BODY:
            self._read_body(data)
        elif state == ANSWER:
            self._keep_ahead(self.buffer + data if self.buffer else data)
        elif state == FRESH:
            self._read_first(self.buffer + data if self.buffer else data)
        elif state == LINGERING:
            self.lingered += len(data)
            if self.lingered > LINGER_BYTES:
                self._close_now()

    def eof_received(self) -> bool:
        """The client closes.

        It cannot be told from one that only closes its sending side, and most that do are gone.
        """
        if self.exchange is not None:
            self.cut()
        else:
            # What was written may still arrive.
            self._close()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.services.left(self, self.sender())
        self.state = CLOSED
        exchange = self.exchange
        if exchange is not None:
            exchange.downstream_lost()

    def pause_writing(self) -> None:
        """The client reads slower than the target sends."""
        self.full = True
        self.unsent = self.transport.get_write_buffer_size()
        self.deadline = self.services.now + self.services.world().limits.body_ns
        if self.exchange is not None:
            self.exchange.downstream_full()

    def resume_writing(self) -> None:
        """The client reads again."""
        self.full = False
        if self.state == ANSWER:
            self.deadline = NO_DEADLINE
        elif self.state == READY and self.buffer:
            self.services.soon(self._next)
        if self.exchange is not None:
            self.exchange.downstream_drained()

    def expire(self, now: i64) -> None:
        """The client was too slow, or idle for long enough."""
        if self.full or self.state == CLOSED:
            unsent: i64 = self.transport.get_write_buffer_size()
            if unsent < self.unsent:
                self.unsent = unsent
                self.deadline = now + self.services.world().limits.body_ns
                return
            self.services.reached("body_timeout")
            self._close_now()
        elif self.state == BODY and self.exchange is not None:
            if self.held_back:
                # It is the target that does not read; its own deadline will tell.
                self.deadline = now + self.services.world().limits.body_ns
                return
            self.exchange.request_failed(body_too_slow())
        elif self.state == FRESH or self.state == READY:
            if self.head is not None or self.buffer:
                self._refuse(head_too_slow())
            else:
                self.services.reached("idle_timeout")
                self._close()
        else:
            self._close_now()

    # -- the request

    def _read_first(self, data: bytes) -> None:
        """Tells HTTP/2 with prior knowledge from HTTP/1 (RFC 9113 3.3)."""
        protocol = protocol_of(data)
        if protocol == HTTP_1:
            self.buffer = b""
            self.state = READY
            self._read_head(data)
        elif protocol == UNDECIDED:
            if not self.buffer:
                self.deadline = self.services.now + self.services.world().limits.head_ns
            self.buffer = data
        else:
            self.buffer = b""
            self._go_over_to_http2(data)

    def _go_over_to_http2(self, data: bytes, refusal: ProxyError | None = None) -> None:
        server = ClientConnection(self.services)
        self.services.replaced(self, server)
        self.state = CLOSED
        self.transport.set_protocol(server)
        server.take_over(self.transport, self.sender(), data)
        if refusal is not None:
            self.services.refused(self, refusal)
            server.turn_away(refusal)

    def _read_head(self, data: bytes) -> None:
        services = self.services
        limits = services.world().limits
        head = self.head
        if head is None:
            head = RequestHead(limits.request_head, limits.header_count, limits.request_target)
            self.deadline = services.now + limits.head_ns
        try:
            if not head.read(data):
                self.head = head
                self.buffer = data
                return
            self.head = None
            self.minor = head.minor
            self.decodes = head.minor == 0
            exchange = Exchange(services, self, head)
            self.exchange = exchange
            self.begun = False
            self.encodes = False
            self.keep_alive = not head.close
            rest = data[head.at :] if head.at < len(data) else b""
            self._begin_body(exchange, head, rest)
        except ProxyError as error:
            self.exchange = None
            self._refuse(error)

    def _begin_body(self, exchange: Exchange, head: RequestHead, rest: bytes) -> None:
        """How the body ends (RFC 9112 6.3: a request without either framing has none), and its first bytes."""
        limits = self.services.world().limits
        length = head.content_length
        if length <= 0 and not head.chunked:
            self.state = ANSWER
            self.deadline = NO_DEADLINE
            self.buffer = rest
            exchange.begin(b"", True)
            return
        self.deadline = self.services.now + limits.body_ns
        if head.chunked:
            self.chunks = ChunkedReader(limits.request_head, limits.header_count, True)
            body = self._take_chunks(rest) if rest else b""
        else:
            if limits.request_body and length > limits.request_body:
                raise body_too_large()
            self.left = length
            body = self._take_length(rest)
        last = self.left == 0 and self.chunks is None
        self.state = ANSWER if last else BODY
        if last:
            self.deadline = NO_DEADLINE
        trailers = self._take_trailers()
        if trailers is not None:
            exchange.trailers = trailers
        exchange.begin(body, last)

    def _read_body(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        self.deadline = self.services.now + self.services.world().limits.body_ns
        try:
            body = self._take_chunks(data) if self.chunks is not None else self._take_length(data)
        except ProxyError as error:
            exchange.request_failed(error)
            return
        last = self.left == 0 and self.chunks is None
        if last:
            self.state = ANSWER
            self.deadline = NO_DEADLINE
        trailers = self._take_trailers()
        if trailers is None:
            exchange.request_body(body, last)
            return
        if body:
            exchange.request_body(body, False)
        exchange.request_trailers(trailers)

    def _take_length(self, data: bytes) -> bytes:
        """The part of `data` that is body; the rest is the next request's."""
        size: i64 = len(data)
        if size <= self.left:
            self.left -= size
            return data
        body = data[: self.left]
        self.buffer = data[self.left :]
        self.left = 0
        return body

    def _take_chunks(self, data: bytes) -> bytes:
        """Chunks that may pass on; what is behind the last one is the next request's."""
        chunks = self.chunks
        assert chunks is not None
        body = chunks.feed(data)
        limit = self.services.world().limits.request_body
        if limit and chunks.size > limit:
            raise body_too_large()
        if chunks.done:
            self.buffer = chunks.rest
            self.trailers = chunks.trailers
            self.chunks = None
            self.left = 0
        return body

    def _take_trailers(self) -> list[Header] | None:
        if not self.trailers:
            return None
        fields = fields_of(self.trailers)
        self.trailers = []
        return fields

    def _next(self) -> None:
        """Goes on with what the client sent ahead."""
        if self.state == READY and self.buffer and self.exchange is None and not self.full:
            self.let()
            data = self.buffer
            self.buffer = b""
            self._read_head(data)

    def _keep_ahead(self, data: bytes) -> None:
        """Keeps what the client sent before its turn; when that is too much, it is not read until then."""
        self.buffer = data
        if len(data) > self.services.world().limits.buffer:
            self.hold()

    def _refuse(self, error: ProxyError) -> None:
        """Answers a request that never became an exchange, and closes: where the next one begins is not known."""
        services = self.services
        services.refused(self, error)
        self.keep_alive = False
        self.begun = False
        self.minor = 1
        self.send_own(error, retry_after(error))
        self._linger()

    # -- the exchange's side

    def protocol(self) -> str:
        """See `Downstream.protocol`."""
        return "HTTP/1.1" if self.minor == 1 else "HTTP/1.0"

    def send_interim(self, head: Response) -> None:
        """See `Downstream.send_interim`; a client of HTTP/1.0 gets none (RFC 9110 15.2)."""
        if self.minor == 1:
            lines = head.keep if isinstance(head, ResponseHead) else response_lines(head)
            self.write(b"".join([*lines, b"\r\n"]))

    def send_head(self, head: Response, body: bytes, last: bool) -> None:
        """See `Downstream.send_head`."""
        self.begun = True
        exchange = self.exchange
        assert exchange is not None
        chunked = isinstance(head, ResponseHead) and head.chunked
        framed = chunked and not exchange.decodes
        parts = self._lines(head, last)
        if framed and (body or not last or exchange.head.method == b"HEAD"):
            assert isinstance(head, ResponseHead)
            parts.append(head.chunked_lines())
        elif not last and head.content_length < 0 and not self._bodiless(head):
            if self.minor == 1 and not framed:
                self.encodes = True
                parts.append(b"Transfer-Encoding: chunked\r\n")
            else:
                self.keep_alive = False
        elif chunked and exchange.decodes and not self._bodiless(head):
            # All of it is here, and its framing is gone.
            parts.append(b"Content-Length: %d\r\n" % len(body))
        if self.state == BODY or self.services.draining:
            self.keep_alive = False
        if not self.keep_alive:
            parts.append(b"Connection: close\r\n")
        elif self.minor == 0:
            parts.append(b"Connection: keep-alive\r\n")
        if exchange.lookup is not None and exchange.lookup.mark:
            parts.append(b"Cache-Status: " + exchange.lookup.mark + b"\r\n")
        parts.append(b"X-Request-Id: ")
        parts.append(exchange.request_id)
        parts.append(b"\r\n\r\n")
        if self.encodes and body:
            body = chunk(body)
        if len(body) < JOIN_LIMIT:
            parts.append(body)
            self.write(b"".join(parts))
        else:
            self.write(b"".join(parts))
            self.write(body)

    def _lines(self, head: Response, last: bool) -> list[bytes]:
        if isinstance(head, ResponseHead):
            return head.keep
        lines = response_lines(head)
        if last and head.content_length < 0 and not self._bodiless(head):
            # In HTTP/2 the stream's end says so (RFC 9112 6.3).
            lines.append(b"Content-Length: 0\r\n")
        return lines

    def _bodiless(self, head: Response) -> bool:
        """Whether the answer ends with its head (RFC 9112 6.3); from HTTP/2 its end may come in a frame of its own."""
        exchange = self.exchange
        return head.status == 204 or head.status == 304 or exchange is None or exchange.head.method == b"HEAD"

    def send_trailers(self, fields: list[Header]) -> None:
        """See `Downstream.send_trailers`."""
        if self.encodes:
            self.write(last_chunk(lines_of(fields)))

    def send_body(self, data: bytes, last: bool) -> None:
        """See `Downstream.send_body`."""
        if self.encodes:
            if data:
                self.write(chunk(data))
            if last:
                self.write(LAST_CHUNK)
        elif data:
            self.write(data)

    def send_own(self, error: ProxyError, retry_after: int) -> i64:
        """See `Downstream.send_own`: problem details by RFC 9457."""
        exchange = self.exchange
        body = problem(error, None if exchange is None else exchange.request_id)
        parts = [
            b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n"
            % (error.status, REASONS.get(error.status, b"Error"), TYPE, len(body))
        ]
        if retry_after:
            parts.append(b"Retry-After: %d\r\n" % retry_after)
        if self.state != ANSWER or self.services.draining:
            self.keep_alive = False
        if not self.keep_alive:
            parts.append(b"Connection: close\r\n")
        elif self.minor == 0:
            parts.append(b"Connection: keep-alive\r\n")
        if exchange is not None:
            parts.append(b"X-Request-Id: " + exchange.request_id + b"\r\n")
        parts.append(b"\r\n")
        if exchange is None or exchange.head.method != b"HEAD":
            parts.append(body)
        self.write(b"".join(parts))
        return len(body)

    def hold(self) -> None:
        """See `Downstream.hold`."""
        if not self.held_back and self.state != CLOSED:
            self.held_back = True
            self.transport.pause_reading()

    def let(self) -> None:
        """See `Downstream.let`."""
        if self.held_back and self.state != CLOSED:
            self.held_back = False
            self.transport.resume_reading()

    def abort(self) -> None:
        """See `Downstream.abort`."""
        self._close_now()

    def exchange_over(self) -> None:
        """See `Downstream.exchange_over`."""
        self.exchange = None
        state = self.state
        if state == TUNNEL or state == CLOSED:
            return
        self.chunks = None
        if self.held_back:
            self.let()
        if state == BODY:
            # The answer came before the request was whole; what is left of the request is not the next one.
            self._linger()
        elif not self.keep_alive or self.services.draining:
            self._close()
        else:
            self.state = READY
            self.deadline = self.services.now + self.services.world().limits.idle_ns
            if self.buffer:
                # Not from here: a long row of pipelined requests would nest as deep as it is long.
                self.services.soon(self._next)

    def switch(self, head: ResponseHead, protocol: Any) -> bytes:
        """See `Downstream.switch`."""
        self.state = TUNNEL
        self.deadline = NO_DEADLINE
        upgrade = head.upgrade or b""
        self.write(b"".join([*head.keep, b"Connection: Upgrade\r\nUpgrade: ", upgrade, b"\r\n\r\n"]))
        self.services.switched(self)
        self.transport.set_protocol(protocol)
        self.let()
        early = self.buffer
        self.buffer = b""
        return early

    # -- endings

    def _linger(self) -> None:
        """Closes the sending side and reads on for a while."""
        self.state = LINGERING
        self.buffer = b""
        self.head = None
        self.deadline = self.services.now + LINGER_NS
        self.let()
        if not self.transport.can_write_eof():
            # TLS has no half-close; the client closes when it has read its answer.
            return
        try:
            self.transport.write_eof()
        except (OSError, RuntimeError):  # closing already
            self._close_now()

    def _close(self) -> None:
        """Closes when all that was written has gone out, or when the client has read nothing of it for too long."""
        self.state = CLOSED
        self.unsent = self.transport.get_write_buffer_size()
        self.deadline = self.services.now + self.services.world().limits.body_ns
        self.transport.close()

    def _close_now(self) -> None:
        self.state = CLOSED
        self.transport.abort()

    def cut(self) -> None:
        """The client is gone, or has to go: ends the connection and what runs on it."""
        exchange = self.exchange
        self._close_now()
        if exchange is not None:
            exchange.downstream_lost()

    def close_idle(self) -> None:
        """The worker drains: closes when nothing is under way; otherwise the answer says that it is the last one."""
        if (self.state == READY or self.state == FRESH) and self.head is None and not self.buffer:
            self._close()

    def cut_target(self, slot: int) -> None:
        """See `Connection.cut_target`."""
        if self.exchange is not None:
            self.exchange.cut_at(slot)
