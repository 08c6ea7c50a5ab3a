"""A stream as a tunnel sees a connection: the transport of a WebSocket over HTTP/2 (RFC 8441 5).

Owns: the stream's bytes and its two ends, in the words of an asyncio transport.
Refuses to know: who is at the other end of the tunnel, and what the bytes mean.
"""

from typing import Any

from equipoise.proxy.http2_connection import Http2Connection
from equipoise.proxy.http2_stream import Http2Stream
from equipoise.wire.http2_errors import CANCEL, NO_ERROR


class StreamTransport:
    """The bytes of one stream; keeps what comes until there is a tunnel."""

    def __init__(self, connection: Http2Connection, stream: Http2Stream) -> None:
        self.protocol: Any = None
        self._connection = connection
        self._stream = stream
        self._early: list[bytes] = []
        # Whether the target has agreed, and nothing but the tunnel knows when the exchange is over.
        self.opened = False

    def open(self, protocol: Any) -> bytes:
        """The target has agreed: hands over to a tunnel.

        Args:
            protocol: what hears of the bytes from now on.

        Returns:
            What the client sent before.
        """
        self.protocol = protocol
        self.opened = True
        early = b"".join(self._early)
        self._early = []
        self._connection.let(self._stream)
        if self._stream.received_end:
            self._connection.services.soon(self._ended_early)
        return early

    def _ended_early(self) -> None:
        """The client's end came before there was a tunnel."""
        if self.protocol is not None:
            self.received(b"", True)

    # -- the stream's side

    def received(self, data: bytes, end: bool) -> None:
        """Bytes from the client."""
        protocol = self.protocol
        if protocol is None:
            self._early.append(data)
            # A window's worth at most.
            self._connection.keep_back(self._stream)
            return
        if data:
            protocol.data_received(data)
        if end and self.protocol is not None and not protocol.eof_received():
            self.close()

    def lost(self) -> None:
        """The stream is gone."""
        protocol = self.protocol
        if protocol is not None:
            # As a real transport does, so that no cycle outlives the connection.
            self.protocol = None
            protocol.connection_lost(None)

    def full(self) -> None:
        """The client takes less than the target sends."""
        if self.protocol is not None:
            self.protocol.pause_writing()

    def drained(self) -> None:
        """The client takes more again."""
        if self.protocol is not None:
            self.protocol.resume_writing()

    # -- the tunnel's side, as asyncio.Transport has it

    def write(self, data: bytes) -> None:
        """Sends bytes."""
        self._connection.send_data(self._stream, data, False)

    def pause_reading(self) -> None:
        """Grants the client nothing more."""
        self._connection.keep_back(self._stream)

    def resume_reading(self) -> None:
        """Grants the client more again."""
        self._connection.let(self._stream)

    def write_eof(self) -> None:
        """The target has said its last, and what the client still says reaches nobody: a WebSocket has no halves.

        Whoever ends the TCP connection has said Close and been answered before (RFC 6455 7.1.1), or is gone; and there
        are browsers that leave their half of the stream open for ever.
        """
        self.close()

    def close(self) -> None:
        """Ends the stream behind all that was written."""
        if not self._stream.sent_end and not self._stream.pending_end:
            self._connection.send_data(self._stream, b"", True)
        if self._stream.sent_end:
            # Does nothing when both halves have ended.
            self._connection.reset(self._stream, NO_ERROR)
        self._connection.services.soon(self.lost)

    def abort(self) -> None:
        """Ends the stream at once."""
        self._connection.reset(self._stream, CANCEL)
        self._connection.services.soon(self.lost)
