"""What two HTTP implementations could read differently never reaches a target."""

from contextlib import suppress

import pytest

from tests.scenarios.support.balancer import Balancer
from tests.scenarios.support.client import Client, get
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Target, answer, says

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def head(*fields: bytes, line: bytes = b"POST / HTTP/1.1") -> bytes:
    """A head of exactly these lines."""
    return b"\r\n".join([line, b"Host: a", *fields, b"", b""])


CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: 5"
# What is wrong with the head: nothing of it may reach a target.
BAD_HEADS = {
    "length and chunked": head(LENGTH, CHUNKED) + b"0\r\n\r\n",
    "chunked and length": head(CHUNKED, LENGTH) + b"0\r\n\r\n",
    "two lengths": head(LENGTH, b"Content-Length: 6") + b"hello",
    "the same length twice": head(LENGTH, LENGTH) + b"hello",
    "a list of lengths": head(b"Content-Length: 5, 5") + b"hello",
    "length with a plus": head(b"Content-Length: +5") + b"hello",
    "length with a minus": head(b"Content-Length: -5"),
    "length with an underscore": head(b"Content-Length: 1_0") + b"0123456789",
    "length in hexadecimal": head(b"Content-Length: 0x5") + b"hello",
    "length with a blank inside": head(b"Content-Length: 5 5") + b"hello",
    "length in other digits": head("Content-Length: ٥".encode()) + b"hello",
    "length empty": head(b"Content-Length:"),
    "length too large": head(b"Content-Length: 99999999999999999999"),
    "length of 5000 digits": head(b"Content-Length: " + b"9" * 5000),
    "length with a vertical tab": head(b"Content-Length:\x0b5") + b"hello",
    "chunked twice": head(CHUNKED, CHUNKED) + b"0\r\n\r\n",
    "chunked, chunked": head(b"Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",
    "chunked is not last": head(b"Transfer-Encoding: chunked, gzip") + b"0\r\n\r\n",
    "identity": head(b"Transfer-Encoding: identity") + b"hello",
    "xchunked": head(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "chunked with a comma": head(b"Transfer-Encoding: chunked,") + b"0\r\n\r\n",
    "chunked in quotes": head(b'Transfer-Encoding: "chunked"') + b"0\r\n\r\n",
    "chunked after a vertical tab": head(b"Transfer-Encoding:\x0bchunked") + b"0\r\n\r\n",
    "chunked after a form feed": head(b"Transfer-Encoding: \x0cchunked") + b"0\r\n\r\n",
    "chunked and NUL": head(b"Transfer-Encoding: chunked\x00") + b"0\r\n\r\n",
    "a blank before the colon": head(b"Transfer-Encoding : chunked") + b"0\r\n\r\n",
    "a tab before the colon": head(b"Content-Length\t: 5") + b"hello",
    "a blank before a name": head(b" Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "a folded line": head(b"X-A: 1\r\n Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "a folded length": head(b"Content-Length:\r\n 5") + b"hello",
    "chunked in HTTP/1.0": head(CHUNKED, line=b"POST / HTTP/1.0") + b"0\r\n\r\n",
    "a bare line feed": b"GET / HTTP/1.1\nHost: a\n\n",
    "a bare line feed between fields": b"GET / HTTP/1.1\r\nHost: a\nX-B: 1\r\n\r\n",
    "a bare line feed at the end": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\rX-B: 2\r\n\r\n",
    "a bare carriage return in the line": b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n",
    "NUL in a value": head(b"X-A: 1\x002"),
    "DEL in a value": head(b"X-A: 1\x7f2"),
    "a control byte in a name": head(b"X\x01A: 1"),
    "an empty name": head(b": 1"),
    "no colon": head(b"X-A"),
    "a name in quotes": head(b'"X-A": 1'),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "an empty host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "the same host twice": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "a user in the host": b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "a path in the host": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "two hosts in one": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "absolute form and host disagree": b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "another scheme": b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority form": b"GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
    "asterisk for GET": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a fragment": b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a blank in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "two blanks": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tab for a blank": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a byte above ASCII in the target": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": b"GET /\r\nHost: a\r\n\r\n",
    "HTTP/0.9 with a body": b"POST /\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/01.1": b"GET / HTTP/01.1\r\nHost: a\r\n\r\n",
    "http/1.1": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "a blank behind the version": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "a preface of HTTP/2 that ends otherwise": b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    "a method that is no token": b"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "two empty lines in front": b"\r\n\r\n\r\n" + get(),
    "random bytes": bytes(range(128, 256)),
}
# What is wrong with a chunked body behind a good head, which may have gone up already; the bad part may not.
BAD_CHUNKS = {
    "0x5": b"0x5\r\nhello\r\n0\r\n\r\n",
    "+5": b"+5\r\nhello\r\n0\r\n\r\n",
    "-5": b"-5\r\nhello\r\n0\r\n\r\n",
    "1_0": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "blank before": b" 5\r\nhello\r\n0\r\n\r\n",
    "blank behind": b"5 \r\nhello\r\n0\r\n\r\n",
    "empty": b"\r\nhello\r\n0\r\n\r\n",
    "no digits": b"xyz\r\nhello\r\n0\r\n\r\n",
    "17 digits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "leading zeros without end": b"0" * 5000 + b"5\r\nhello\r\n0\r\n\r\n",
    "bare line feed behind the size": b"5\nhello\r\n0\r\n\r\n",
    "bare line feed behind the data": b"5\r\nhello\n0\r\n\r\n",
    "bare carriage return": b"5\rhello\r\n0\r\n\r\n",
    "longer than it says": b"5\r\nhelloX\r\n0\r\n\r\n",
    "shorter than it says": b"5\r\nhell\r\n0\r\n\r\n",
    "control byte in an extension": b"5;a=\x00\r\nhello\r\n0\r\n\r\n",
    "bare line feed in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "an extension without end": b"5;" + b"a" * 10_000 + b"\r\nhello\r\n0\r\n\r\n",
    "bare line feed at the end": b"5\r\nhello\r\n0\r\n\n",
    "a length among the trailers": b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
    "an encoding among the trailers": b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a host among the trailers": b"5\r\nhello\r\n0\r\nHost: b\r\n\r\n",
    "a blank before a trailer's colon": b"5\r\nhello\r\n0\r\nX-A : 1\r\n\r\n",
    "a folded trailer": b"5\r\nhello\r\n0\r\nX-A: 1\r\n 2\r\n\r\n",
}


def send_byte_by_byte(client: Client, data: bytes) -> None:
    """One write for each byte; the balancer may have refused and closed before the last."""
    with suppress(BrokenPipeError, ConnectionResetError):
        if len(data) > 1000:
            client.send(data[:-1000])
            data = data[-1000:]
        for i in range(len(data)):
            client.send(data[i : i + 1])


@pytest.mark.parametrize("pieces", ["whole", "byte by byte"])
@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_malformed_head_is_refused_and_nothing_of_it_reaches_a_target(
    shared: Balancer, shared_target: Target, name: str, pieces: str
) -> None:
    shared_target.forget(says(answer()))
    with Client(shared.port) as client:
        if pieces == "whole":
            client.send(BAD_HEADS[name] + SMUGGLED)
        else:
            send_byte_by_byte(client, BAD_HEADS[name] + SMUGGLED)
        message = client.answer()
        assert message.status == 400
        assert message.get("connection") == "close"
        assert client.rest() == b""
    assert bytes(shared_target.received) == b""


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_malformed_head_behind_a_good_request_is_refused(shared: Balancer, shared_target: Target, name: str) -> None:
    shared_target.forget(says(answer()))
    with Client(shared.port) as client:
        client.send(get("/good") + BAD_HEADS[name] + SMUGGLED)
        assert client.answer().body == b"ok"
        assert client.answer().status == 400
        assert client.rest() == b""
    assert shared_target.paths == ["/good"]


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_a_malformed_chunk_is_refused_and_nothing_of_it_reaches_a_target(
    shared: Balancer, shared_target: Target, name: str
) -> None:
    shared_target.forget(says(answer()))
    with Client(shared.port) as client:
        client.send(head(CHUNKED) + BAD_CHUNKS[name] + SMUGGLED)
        assert client.answer().status == 400
        assert client.rest() == b""
    assert b"smuggled" not in shared_target.received
    assert b"hello" not in shared_target.received
    assert b"0\r\n\r\n" not in shared_target.received
    shared.wait_idle()


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_a_malformed_chunk_that_comes_late_ends_the_exchange(
    shared: Balancer, shared_target: Target, name: str
) -> None:
    shared_target.forget(says(answer()))
    with Client(shared.port) as client:
        client.send(head(CHUNKED) + b"3\r\nabc\r\n")
        eventually(lambda: b"abc" in shared_target.received)
        send_byte_by_byte(client, BAD_CHUNKS[name])
        assert client.answer().status == 400
        assert client.rest() == b""
    assert b"smuggled" not in shared_target.received
    shared.wait_idle()


def test_bytes_behind_a_body_by_length_are_the_next_request_and_nothing_else(
    shared: Balancer, shared_target: Target
) -> None:
    shared_target.forget(says(answer()))
    with Client(shared.port) as client:
        client.send(head(LENGTH) + b"hello" + get("/second") + b"garbage\r\n\r\n")
        assert client.answer().body == b"ok"
        assert client.answer().body == b"ok"
        assert client.answer().status == 400
        assert client.rest() == b""
    assert shared_target.paths == ["/", "/second"]
    assert shared_target.requests[0].body == b"hello"
