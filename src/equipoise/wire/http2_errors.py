"""What can go wrong on an HTTP/2 connection (RFC 9113 5.4, 7).

Owns: the error codes, and the one exception that says what ends: a stream or the connection.
Refuses to know: what raises it, and how it is told to the peer.
"""

from typing import Final

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
SETTINGS_TIMEOUT: Final = 0x4
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
CONNECT_ERROR: Final = 0xA
ENHANCE_YOUR_CALM: Final = 0xB
INADEQUATE_SECURITY: Final = 0xC
HTTP_1_1_REQUIRED: Final = 0xD


class Http2Error(Exception):
    """The peer broke a rule of HTTP/2.

    Attributes:
        code: the error code for RST_STREAM or GOAWAY.
        stream: the stream that ends, by RST_STREAM; 0 when the whole connection does, by GOAWAY.
        detail: what it was, for the log; never carries bytes of the peer's.
    """

    def __init__(self, code: int, stream: int, detail: str) -> None:
        super().__init__(code, stream, detail)
        self.code = code
        self.stream = stream
        self.detail = detail


def connection_error(code: int, detail: str) -> Http2Error:
    """An error after which nothing on the connection can be trusted (5.4.1)."""
    return Http2Error(code, 0, detail)


def stream_error(code: int, stream: int, detail: str) -> Http2Error:
    """An error that ends one stream and leaves the others alone (5.4.2); for stream 0, the connection."""
    return Http2Error(code, stream, detail)
