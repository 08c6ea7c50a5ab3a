"""What is read over TLS, without a large object for each read.

Owns: the buffer into which all TLS connections of a worker are decrypted, one after the other.
Refuses to know: TLS (tls), and what the bytes mean.

uvloop asks OpenSSL for 256 KiB at a time and shrinks the object that it gets: above the mmap threshold that is three
system calls for each read. A protocol that brings its own buffer spares them.
"""

from typing import Any, Final, cast

# Four records of TLS.
SIZE: Final = 64 * 1024


class TlsReader:
    """Stands before a protocol as asyncio.BufferedProtocol, in all but inheritance."""

    def __init__(self, protocol: Any) -> None:
        """Passes everything on.

        Args:
            protocol: an asyncio protocol that gets its bytes by `data_received`.
        """
        self._protocol: Any = protocol

    def connection_made(self, transport: Any) -> None:
        """See asyncio.BufferedProtocol."""
        self._protocol.connection_made(transport)

    def get_buffer(self, hint: int) -> memoryview:
        """See asyncio.BufferedProtocol."""
        return VIEW

    def buffer_updated(self, size: int) -> None:
        """See asyncio.BufferedProtocol; the bytes are copied before anything else can be decrypted."""
        self._protocol.data_received(bytes(VIEW[:size]))

    def eof_received(self) -> Any:
        """See asyncio.BufferedProtocol."""
        return self._protocol.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.BufferedProtocol."""
        protocol = self._protocol
        self._protocol = None
        protocol.connection_lost(error)

    def pause_writing(self) -> None:
        """See asyncio.BufferedProtocol."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio.BufferedProtocol."""
        self._protocol.resume_writing()


VIEW: Final = memoryview(bytearray(SIZE))


def hand_over(transport: Any, protocol: Any) -> None:
    """Makes a protocol the one of a connection, whatever it was before.

    Args:
        transport: the connection's.
        protocol: gets its bytes by `data_received`.
    """
    if transport.get_extra_info("ssl_object") is None:
        transport.set_protocol(protocol)
    else:
        transport.set_protocol(cast("Any", TlsReader(protocol)))
