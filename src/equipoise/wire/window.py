"""Flow control of HTTP/2 (RFC 9113 5.2, 6.9).

Owns: how much may be sent and received on a stream or a connection, and when the peer is granted more.
Refuses to know: frames, what waits to be sent, which stream is served first.
"""

from typing import Final

from mypy_extensions import i64

from equipoise.wire.http2_errors import FLOW_CONTROL_ERROR, connection_error, stream_error

MAX_WINDOW: Final = 0x7FFF_FFFF
DEFAULT_WINDOW: Final = 65_535


class Window:
    """Both directions of one stream, or with the number 0 of the connection. A stream's class may inherit it.

    DATA counts against the connection's window first and then against its stream's, with its padding, and against the
    connection's even when the stream is gone. What a stream that ends still `held` is released to the connection.

    Attributes:
        stream: its number; 0 for the connection.
        sendable: bytes that may be sent; below zero after the peer made its windows smaller (6.9.2).
        receivable: bytes that the peer may send.
        size: bytes that the peer may have sent and not been granted anew: what the window was made for.
        held: bytes received and not yet released.
    """

    def __init__(self, stream: i64, sendable: i64, size: i64) -> None:
        """Opens the window.

        Args:
            stream: its number; 0 for the connection.
            sendable: bytes the peer takes at first; on the connection always `DEFAULT_WINDOW`.
            size: bytes that we take at first.
        """
        self.stream = stream
        self.sendable = sendable
        self.receivable = size
        self.size = size
        self.held: i64 = 0
        self._owed: i64 = 0

    def send(self, size: i64) -> None:
        """Counts DATA that is sent; the caller has looked at `sendable`. An empty frame may always be sent (6.9.1)."""
        assert size == 0 or size <= self.sendable
        self.sendable -= size

    def grow(self, increment: i64) -> None:
        """Takes a WINDOW_UPDATE.

        Args:
            increment: bytes; `FrameReader` has refused zero.

        Raises:
            Http2Error: the window would exceed 2^31 - 1; of a stream a stream error (6.9.1).
        """
        if self.sendable + increment > MAX_WINDOW:
            raise stream_error(FLOW_CONTROL_ERROR, self.stream, "WINDOW_UPDATE beyond the largest window")
        self.sendable += increment

    def shift(self, change: i64) -> None:
        """Takes a new SETTINGS_INITIAL_WINDOW_SIZE of the peer (6.9.2), which leaves the connection's window alone.

        Args:
            change: the new value less the old one, `PeerSettings.window_change`.

        Raises:
            Http2Error: the window would exceed 2^31 - 1; a connection error.
        """
        assert self.stream != 0
        if self.sendable + change > MAX_WINDOW:
            raise connection_error(FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE beyond the largest window")
        self.sendable += change

    def receive(self, size: i64) -> None:
        """Counts DATA that came, with its padding.

        Raises:
            Http2Error: the peer had not been granted so much.
        """
        if size > self.receivable:
            raise stream_error(FLOW_CONTROL_ERROR, self.stream, "more DATA than the window allows")
        self.receivable -= size
        self.held += size

    def release(self, size: i64) -> i64:
        """Counts bytes that have gone on, so that the peer may send as many again.

        They are granted when they come to half of the window: fewer frames than for each DATA, and the peer never runs
        dry while it keeps half a window on its way.

        Args:
            size: bytes, at most those that are `held`.

        Returns:
            The increment of the WINDOW_UPDATE to send now; 0 for none.
        """
        assert size <= self.held
        self.held -= size
        owed = self._owed + size
        if owed == 0 or owed * 2 < self.size:
            self._owed = owed
            return 0
        self._owed = 0
        self.receivable += owed
        return owed

    def enlarge(self, size: i64) -> i64:
        """Makes room for more on the way, on a connection at its start or for a fast peer.

        Args:
            size: the new size of the window in bytes, at least the old one, at most 2^31 - 1.

        Returns:
            The increment of the WINDOW_UPDATE to send now; 0 for none.
        """
        assert self.size <= size <= MAX_WINDOW
        increment = size - self.size + self._owed
        self._owed = 0
        self.size = size
        self.receivable += increment
        return increment
