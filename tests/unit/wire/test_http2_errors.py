"""The exception of HTTP/2: what it carries."""

from equipoise.wire.http2_errors import CANCEL, PROTOCOL_ERROR, connection_error, stream_error


def test_a_connection_error_is_on_no_stream() -> None:
    error = connection_error(PROTOCOL_ERROR, "why")
    assert (error.code, error.stream, error.detail) == (1, 0, "why")


def test_a_stream_error_says_which() -> None:
    error = stream_error(CANCEL, 7, "why")
    assert (error.code, error.stream, error.detail) == (8, 7, "why")
