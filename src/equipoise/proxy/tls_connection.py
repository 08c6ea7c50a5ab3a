"""TLS between a TCP connection and a protocol: to the one a protocol, to the other a transport.

Owns: the handshake and its deadline, records in and out, the two ways in which TLS ends, back-pressure across it.
Refuses to know: what a context is made of (`tls`), what the bytes mean, what becomes of a failure.

OpenSSL works in memory here, as it does in asyncio and uvloop. What theirs do beside is spared: a second read for each
record, only to be told by an exception that there is none; a timer for each handshake; 256 KiB for each connection; and
the wait for the other side's goodbye, which nobody needs who has said all (RFC 8446 6.1).
"""

import asyncio
import ssl
from contextlib import suppress
from typing import Any, Final

from mypy_extensions import i64

from equipoise.proxy.services import Services
from equipoise.state.connections import Timed

# The plaintext of a record at most (RFC 8446 5.1): who asks for so much leaves nothing of it behind.
RECORD: Final = 16 * 1024
# Handed on in one piece, to either side.
PIECE: Final = 64 * 1024
# The other side has so long for its part of the handshake.
HANDSHAKE_NS: Final = 10 * 1_000_000_000

# What the connection is doing.
SHAKING: Final = 0
OPEN: Final = 1
CLOSED: Final = 2  # this side has said its last


class TlsConnection(Timed):
    """One connection. Its protocol hears of it when the handshake is done, and then takes it for a transport."""

    def __init__(self, services: Services, protocol: Any, context: Any, server_name: str | None = None) -> None:
        """Is made before there is a connection.

        Args:
            services: of the worker; has the time and the deadlines.
            protocol: gets its bytes by `data_received`.
            context: an `ssl.SSLContext`.
            server_name: of the target that is connected to; None where a client is accepted.

        Raises:
            ValueError: nobody can have such a name.
        """
        super().__init__()
        incoming: Any = ssl.MemoryBIO()
        outgoing: Any = ssl.MemoryBIO()
        secure: Any = context.wrap_bio(incoming, outgoing, server_name is None, server_name)
        self.services = services
        self.protocol: Any = protocol
        self.transport: Any = None
        # Of who connects: done when the handshake is, or with why it failed.
        self.shaken: asyncio.Future[None] | None = None
        self.incoming: Any = incoming
        self.outgoing: Any = outgoing
        self.secure: Any = secure
        # Bound once: each record needs all four.
        self.put: Any = incoming.write
        self.decrypt: Any = secure.read
        self.encrypt: Any = secure.write
        self.take: Any = outgoing.read
        self.speaks_first = server_name is not None
        self.state: i64 = SHAKING
        self.held = False
        # The other side has said in TLS that it has said all.
        self.goodbye = False
        # The protocol has heard of the end, and goes on writing.
        self.ended = False
        self.kept = False

    # -- the connection's side

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        services = self.services
        self.transport = transport
        self.deadline = services.now + HANDSHAKE_NS
        services.deadlines.add(self)
        if self.speaks_first:
            self._shake()
            return
        services.handshakes += 1
        if services.is_crowded():
            # Nothing can be said in TLS yet.
            services.reached("open_files")
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Records, or parts of them."""
        self.put(data)
        if self.state == OPEN:
            self._read()
        elif self.state == SHAKING:
            self._shake()

    def eof_received(self) -> bool:
        """The other side closes, and in TLS it has not said so unless it has before."""
        if self.state != OPEN:
            return False
        self._end()
        return self.kept

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol. Who closed without a goodbye may not have said all (RFC 9112 9.8): that is an error."""
        protocol = self.protocol
        self.protocol = None
        state = self.state
        self.state = CLOSED
        self._end_handshake()
        if state == SHAKING:
            self._tell(error or ConnectionResetError("closed in the TLS handshake"))
        elif protocol is not None:
            if error is None and state == OPEN and not self.goodbye:
                error = ConnectionAbortedError("closed without TLS's goodbye")
            protocol.connection_lost(error)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        if self.state != SHAKING and self.protocol is not None:
            self.protocol.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self.state != SHAKING and self.protocol is not None:
            self.protocol.resume_writing()

    def expire(self, now: i64) -> None:
        """The handshake takes too long, or why it failed is not read."""
        self.transport.abort()

    # -- the protocol's side

    def write(self, data: bytes) -> None:
        """See asyncio.WriteTransport."""
        if self.state != OPEN or not data:
            return
        try:
            sent: i64 = self.encrypt(data)
            if sent < len(data):
                self._write_on(data, sent)
        except ssl.SSLError:
            self.abort()
            return
        self.transport.write(self.take())

    def close(self) -> None:
        """See asyncio.Transport; says goodbye, and waits for none."""
        if self.state == OPEN:
            self.state = CLOSED
            # The other side has not said goodbye, which this one need not hear.
            with suppress(ssl.SSLError):
                self.secure.unwrap()
            self._flush()
        self.transport.close()

    def abort(self) -> None:
        """See asyncio.WriteTransport."""
        if self.state == OPEN:
            self.state = CLOSED
        self.transport.abort()

    def is_closing(self) -> bool:
        """See asyncio.BaseTransport."""
        closing: bool = self.state == CLOSED or self.transport.is_closing()
        return closing

    def can_write_eof(self) -> bool:
        """See asyncio.WriteTransport: to most who speak TLS, the end of one direction is the end of both."""
        return False

    def write_eof(self) -> None:
        """See asyncio.WriteTransport."""
        raise RuntimeError("a direction of TLS does not end alone")

    def pause_reading(self) -> None:
        """See asyncio.ReadTransport."""
        self.held = True
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        """See asyncio.ReadTransport."""
        self.held = False
        self.transport.resume_reading()
        if self.incoming.pending:
            self.services.soon(self._read_on)

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        """See asyncio.WriteTransport; the connection keeps what waits."""
        self.transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """See asyncio.WriteTransport."""
        size: int = self.transport.get_write_buffer_size()
        return size

    def get_extra_info(self, name: str) -> Any:
        """See asyncio.BaseTransport."""
        return self.secure if name == "ssl_object" else self.transport.get_extra_info(name)

    def set_protocol(self, protocol: Any) -> None:
        """See asyncio.BaseTransport."""
        self.protocol = protocol

    # -- OpenSSL's side

    def _shake(self) -> None:
        try:
            self.secure.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            # The connection stays until the other side was told why; it never became the protocol's.
            self._flush()
            self.state = CLOSED
            self.protocol = None
            self._tell(error)
            self.transport.close()
            return
        self._flush()
        self._end_handshake()
        self.state = OPEN
        self.protocol.connection_made(self)
        self._tell(None)
        self._read_on()

    def _end_handshake(self) -> None:
        """The handshake is over, one way or the other."""
        if self.place >= 0:
            self.services.deadlines.remove(self)
            if not self.speaks_first:
                self.services.handshakes -= 1

    def _tell(self, error: Exception | None) -> None:
        """Tells who connects how the handshake went."""
        shaken = self.shaken
        self.shaken = None
        if shaken is None or shaken.done():
            return
        if error is None:
            shaken.set_result(None)
        else:
            shaken.set_exception(error)
            # Who has given up in this very moment will not ask, and that is no defect.
            shaken.exception()

    def _read_on(self) -> None:
        """Reads what came before anybody wanted it."""
        if self.state == OPEN and self.incoming.pending:
            self._read()

    def _read(self) -> None:
        """Hands on what is whole, for as long as somebody takes it."""
        incoming = self.incoming
        try:
            while not self.held and not self.goodbye:
                data: bytes = self.decrypt(RECORD)
                if not data:
                    self.goodbye = True
                elif incoming.pending:
                    data = self._gather(data)
                if data:
                    self.protocol.data_received(data)
                if self.state != OPEN or not incoming.pending:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self.abort()
        if self.state != OPEN:
            return
        if self.outgoing.pending:
            # The other side has new keys and wants some too (RFC 8446 4.6.3).
            self._flush()
        if self.goodbye and not self.ended:
            self._end()
            if not self.kept:
                self.close()

    def _gather(self, first: bytes) -> bytes:
        """Some more records in one piece."""
        parts = [first]
        size = len(first)
        while size < PIECE and self.incoming.pending:
            try:
                data: bytes = self.decrypt(RECORD)
            except ssl.SSLWantReadError:
                break
            if not data:
                self.goodbye = True
                break
            parts.append(data)
            size += len(data)
        return b"".join(parts)

    def _write_on(self, data: bytes, sent: i64) -> None:
        """Encrypts what does not fit into one record."""
        view = memoryview(data)
        flushed: i64 = 0
        while sent < len(data):
            if sent - flushed >= PIECE:
                self._flush()
                flushed = sent
            step: i64 = self.encrypt(view[sent : sent + RECORD])
            sent += step

    def _flush(self) -> None:
        data: bytes = self.take()
        if data:
            self.transport.write(data)

    def _end(self) -> None:
        """Tells the protocol, once, that nothing more comes."""
        if not self.ended:
            self.ended = True
            self.kept = bool(self.protocol.eof_received())
