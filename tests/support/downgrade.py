"""Requests of HTTP/2 written as HTTP/1: one request there, and the same.

Owns: the question, and a writer as plain as one can be, so that only the rules stand between a list and a smuggler.
Refuses to know: where the list comes from: property tests and the fuzzer ask the same question.
"""

import h11

from equipoise.wire.hpack_header import header
from equipoise.wire.http2_errors import Http2Error
from equipoise.wire.http2_passing import join_cookies, without_lookalikes
from equipoise.wire.http2_rules import Http2Request
from tests.support.wire import new_request

Pair = tuple[bytes, bytes]


def passed(pairs: list[Pair], end_stream: bool) -> tuple[Http2Request, list[Pair]] | None:
    """The request and its regular fields, as they would pass on; none when it is malformed."""
    fields = [header(name, value) for name, value in pairs]
    message = Http2Request(1)
    try:
        message.read(fields, end_stream, extended=False)
    except Http2Error as error:
        if (error.code, error.stream) != (1, 1):
            raise AssertionError(f"not a stream error: {error!r}") from error
        return None
    if message.cookies > 1:
        fields = join_cookies(fields)
    if message.lookalikes:
        fields = without_lookalikes(fields)
    return message, [(each.name, each.value) for each in fields if each.name[:1] != b":" and each.name != b"host"]


def written(message: Http2Request, pairs: list[Pair], end_stream: bool) -> bytes:
    lines = [message.method + b" " + message.target + b" HTTP/1.1", b"host: " + message.host]
    lines += [name + b": " + value for name, value in pairs]
    if not end_stream and message.content_length < 0:
        lines.append(b"transfer-encoding: chunked")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def is_unknown(expect: bytes | None) -> bool:
    return expect is not None and expect.lower() != b"100-continue"


def check_downgrade(pairs: list[Pair], end_stream: bool) -> None:
    """What passes is one request of HTTP/1, and the same; what does not is refused in the one way it may."""
    result = passed(pairs, end_stream)
    # CONNECT and an unknown expectation go nowhere: `http1` answers 405 and 417, and the data path does so here.
    if result is None or result[0].method == b"CONNECT" or is_unknown(result[0].expect):
        return
    message, regular = result
    data = written(message, regular, end_stream)
    head = new_request()
    assert head.read(data)
    assert head.at == len(data)
    assert (head.method, head.target, head.host) == (message.method, message.target, message.host)
    assert head.content_length == message.content_length
    assert head.chunked == (not end_stream and message.content_length < 0)
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    framing = [(b"transfer-encoding", b"chunked")] if head.chunked else []
    assert sorted(event.headers) == sorted([(b"host", message.host), *regular, *framing])
    assert connection.trailing_data == (b"", False)
