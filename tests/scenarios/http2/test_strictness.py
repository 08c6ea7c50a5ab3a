"""What two implementations could read differently is refused on its stream, and nothing of it reaches a target."""

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import Client
from tests.scenarios.support.http2_client import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    Field,
    Http2Client,
    frame,
    head,
    number,
    settings,
)
from tests.scenarios.support.http2_target import Http2Target, hangs, http2_target
from tests.scenarios.support.http2_target import answers as http2_answers
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Stage, Target, answer, says


@dataclass
class Place:
    """A balancer before one target."""

    balancer: Balancer
    target: Target

    def reached(self) -> bytes:
        """Whatever reached the target, in one piece."""
        requests = self.target.requests
        parts = [each.line + each.body + repr((each.fields, each.trailers)).encode() for each in requests]
        return b"".join([bytes(self.target.received), *parts])

    def still_serves(self) -> None:
        """Another client is answered, and nothing is left in flight."""
        with Http2Client(self.balancer.port) as client:
            assert client.ask(head("GET", "/after")).status == 200
        self.balancer.wait_idle()


@pytest.fixture(scope="module", params=["h1", "h2"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One balancer for all tests of a kind of target."""
    with Stage() as stage:
        target = stage.target() if request.param == "h1" else http2_target(stage, http2_answers)
        folder = tmp_path_factory.mktemp("strict")
        with Balancer(folder, Setting().text([target.url])) as balancer:
            yield Place(balancer, target)


@pytest.fixture
def place(running: Place) -> Place:
    """The balancer, its target's records empty."""
    running.target.forget(says(answer()))
    if isinstance(running.target, Http2Target):
        running.target.start_again(http2_answers)
    return running


def without(name: bytes, *more: Field) -> list[Field]:
    """A request's fields less one, and more."""
    return [field for field in head() if field[0] != name] + list(more)


def with_(*more: Field) -> list[Field]:
    """A request's fields and more."""
    return head() + list(more)


def instead(name: bytes, value: bytes) -> list[Field]:
    """A request's fields with another value of one."""
    return [(key, value if key == name else old) for key, old in head()]


# Each would be another message, or the end of one, where it is written down as HTTP/1.
BAD_HEADS: dict[str, list[Field]] = {
    "transfer-encoding": with_((b"transfer-encoding", b"chunked")),
    "transfer-encoding identity": with_((b"transfer-encoding", b"identity")),
    "connection": with_((b"connection", b"close")),
    "connection that names a field": with_((b"connection", b"x-a"), (b"x-a", b"1")),
    "keep-alive": with_((b"keep-alive", b"timeout=5")),
    "proxy-connection": with_((b"proxy-connection", b"keep-alive")),
    "upgrade": with_((b"upgrade", b"h2c")),
    "te other than trailers": with_((b"te", b"gzip")),
    "te with more than trailers": with_((b"te", b"trailers, deflate")),
    "CRLF in a value": with_((b"x-a", b"1\r\nx-smuggled: 1")),
    "CRLF and a request in a value": with_((b"x-a", b"1\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")),
    "line feed in a value": with_((b"x-a", b"1\nx-smuggled: 1")),
    "carriage return in a value": with_((b"x-a", b"1\rx-smuggled: 1")),
    "NUL in a value": with_((b"x-a", b"1\x002")),
    "blank before a value": with_((b"x-a", b" 1")),
    "blank behind a value": with_((b"x-a", b"1 ")),
    "tab before a value": with_((b"x-a", b"\t1")),
    "tab behind a value": with_((b"x-a", b"1\t")),
    "CRLF in a name": with_((b"x-a: 1\r\nx-smuggled", b"1")),
    "colon in a name": with_((b"x-a:b", b"1")),
    "blank in a name": with_((b"x a", b"1")),
    "blank behind a name": with_((b"transfer-encoding ", b"chunked")),
    "NUL in a name": with_((b"x\x00a", b"1")),
    "capitals in a name": with_((b"X-A", b"1")),
    "one capital in a name": with_((b"content-Length", b"0")),
    "empty name": with_((b"", b"1")),
    "name above ASCII": with_((b"x-\xe4", b"1")),
    "no :method": without(b":method"),
    "no :scheme": without(b":scheme"),
    "no :path": without(b":path"),
    "neither :authority nor host": without(b":authority"),
    "two :method": [(b":method", b"GET"), *head()],
    "two :path": [(b":path", b"/smuggled"), *head()],
    "two :path that agree": [(b":path", b"/"), *head()],
    "two :scheme": [(b":scheme", b"http"), *head()],
    "two :authority": [(b":authority", b"example.org"), *head()],
    ":status": [(b":status", b"200"), *head()],
    "unknown pseudo-field": [(b":smuggled", b"1"), *head()],
    "pseudo-field behind a field": [*without(b":path"), (b"x-a", b"1"), (b":path", b"/")],
    "empty :path": instead(b":path", b""),
    ":path without a slash": instead(b":path", b"smuggled"),
    ":path with a blank": instead(b":path", b"/a b"),
    ":path with a version": instead(b":path", b"/smuggled HTTP/1.1"),
    ":path with CRLF": instead(b":path", b"/ HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled"),
    ":path with a line feed": instead(b":path", b"/\nsmuggled"),
    ":path with NUL": instead(b":path", b"/\x00"),
    ":path with a tab": instead(b":path", b"/a\tb"),
    ":path with a fragment": instead(b":path", b"/a#b"),
    ":path above ASCII": instead(b":path", b"/\xff"),
    ":path in absolute form": instead(b":path", b"http://smuggled/"),
    ":path of an asterisk for GET": instead(b":path", b"*"),
    "empty :method": instead(b":method", b""),
    ":method with a blank": instead(b":method", b"GET /smuggled"),
    ":method with CRLF": instead(b":method", b"GET / HTTP/1.1\r\nx: 1\r\n\r\nGET"),
    ":method that is no token": instead(b":method", b"GE(T"),
    ":scheme that is none of ours": instead(b":scheme", b"ftp"),
    ":scheme with a request": instead(b":scheme", b"http://smuggled/?"),
    "empty :scheme": instead(b":scheme", b""),
    ":authority with CRLF": instead(b":authority", b"a\r\nx-smuggled: 1"),
    ":authority with a blank": instead(b":authority", b"a b"),
    ":authority with a user": instead(b":authority", b"user@example.org"),
    ":authority with a path": instead(b":authority", b"example.org/smuggled"),
    ":authority of two": instead(b":authority", b"a, b"),
    "host that is not the :authority": with_((b"host", b"smuggled")),
    "two hosts": without(b":authority", (b"host", b"a"), (b"host", b"b")),
    "host with a path": without(b":authority", (b"host", b"a/b")),
    "length with a plus": with_((b"content-length", b"+0")),
    "length with a minus": with_((b"content-length", b"-1")),
    "length in hexadecimal": with_((b"content-length", b"0x0")),
    "length with an underscore": with_((b"content-length", b"1_0")),
    "length in other digits": with_((b"content-length", "٠".encode())),
    "empty length": with_((b"content-length", b"")),
    "list of lengths": with_((b"content-length", b"0, 0")),
    "two lengths": with_((b"content-length", b"0"), (b"content-length", b"5")),
    "length of 5000 digits": with_((b"content-length", b"9" * 5000)),
    "length without a body": with_((b"content-length", b"5")),
    ":protocol without CONNECT": [(b":protocol", b"websocket"), *head()],
    "CONNECT with a path": head("CONNECT"),
}
TUNNELS: dict[str, list[Field]] = {
    "CONNECT": [(b":method", b"CONNECT"), (b":authority", b"example.org:443")],
    "CONNECT without a port": [(b":method", b"CONNECT"), (b":authority", b"example.org")],
}


def refusal(client: Http2Client, stream: int) -> int:
    """What a stream was refused with: a status, or the error of its reset or of the connection's end."""
    mine = client.streams[stream]
    with suppress(ConnectionError):
        while not mine.done and not client.closed:
            client.read()
    if mine.answer is not None:
        return mine.answer.status
    return client.wait_goaway().code if mine.reset is None else mine.reset


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_malformed_head_is_refused_and_nothing_of_it_reaches_a_target(place: Place, name: str) -> None:
    client = Http2Client(place.balancer.port)
    stream = client.request(BAD_HEADS[name])
    assert refusal(client, stream) in {PROTOCOL_ERROR, 400}
    client.ping()
    assert place.reached() == b""
    # It was that stream's mistake.
    assert client.ask(head("GET", "/good")).status == 200
    assert place.target.paths == ["/good"]
    place.still_serves()


@pytest.mark.parametrize("name", TUNNELS)
def test_nobody_gets_a_tunnel_to_anywhere(place: Place, name: str) -> None:
    client = Http2Client(place.balancer.port)
    stream = client.request(TUNNELS[name], end=False)
    assert refusal(client, stream) in {PROTOCOL_ERROR, 400, 405, 501}
    assert place.reached() == b""
    place.still_serves()


# What is wrong with what follows a good head, which may have gone up already; the bad part may not.
BAD_BODIES: dict[str, tuple[list[Field], list[tuple[int, bytes | list[Field], int]]]] = {
    "more than its length": (with_((b"content-length", b"5")), [(DATA, b"hellosmuggled", END_STREAM)]),
    "more than its length, in two pieces": (
        with_((b"content-length", b"5")),
        [(DATA, b"hello", 0), (DATA, b"smuggled", END_STREAM)],
    ),
    "a body where none was said": (with_((b"content-length", b"0")), [(DATA, b"GET /smuggled HTTP/1.1", END_STREAM)]),
    "less than its length": (with_((b"content-length", b"50")), [(DATA, b"hello", END_STREAM)]),
    "less than its length, ended by trailers": (
        with_((b"content-length", b"50")),
        [(DATA, b"hello", 0), (HEADERS, [(b"x-smuggled", b"1")], END_STREAM)],
    ),
    "a pseudo-field among the trailers": (head("POST"), [(HEADERS, [(b":path", b"/smuggled")], END_STREAM)]),
    "a length among the trailers": (head("POST"), [(HEADERS, [(b"content-length", b"5")], END_STREAM)]),
    "an encoding among the trailers": (head("POST"), [(HEADERS, [(b"transfer-encoding", b"chunked")], END_STREAM)]),
    "a host among the trailers": (head("POST"), [(HEADERS, [(b"host", b"smuggled")], END_STREAM)]),
    "capitals among the trailers": (head("POST"), [(HEADERS, [(b"X-Smuggled", b"1")], END_STREAM)]),
    "CRLF among the trailers": (head("POST"), [(HEADERS, [(b"x-a", b"1\r\n\r\nsmuggled")], END_STREAM)]),
    "an empty name among the trailers": (head("POST"), [(HEADERS, [(b"", b"smuggled")], END_STREAM)]),
    "trailers that end nothing": (head("POST"), [(HEADERS, [(b"x-smuggled", b"1")], 0)]),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_malformed_body_is_refused_and_the_bad_part_does_not_reach_a_target(place: Place, name: str) -> None:
    fields, frames = BAD_BODIES[name]
    client = Http2Client(place.balancer.port)
    stream = client.request(fields, end=False)
    for kind, payload, flags in frames:
        if isinstance(payload, list):
            client.send_frame(kind, stream, client.block(payload), flags | END_HEADERS)
        else:
            client.send_frame(kind, stream, payload, flags)
    # A request that has as many bytes as it said is whole to an HTTP/1 target: it may have been answered by then.
    whole = (b"content-length", b"0") in fields or name == "more than its length, in two pieces"
    assert refusal(client, stream) in {PROTOCOL_ERROR, 400, 200 if whole else 400}
    assert b"smuggled" not in place.reached()
    assert b"\r\n0\r\n\r\n" not in place.reached()
    assert client.ask(head("GET", "/good")).status == 200
    place.still_serves()


@pytest.mark.parametrize("name", ["more than its length", "less than its length", "CRLF among the trailers"])
def test_a_body_that_turns_bad_late_ends_the_request_at_the_target(place: Place, name: str) -> None:
    fields, frames = BAD_BODIES[name]
    length = [field for field in fields if field[0] == b"content-length"]
    client = Http2Client(place.balancer.port)
    stream = client.request(head("POST") + length, end=False)
    client.write(stream, b"abc")
    eventually(lambda: place.target.in_flight, lambda count: count == 1)
    for kind, payload, flags in frames:
        block = client.block(payload) if isinstance(payload, list) else payload
        client.send_frame(kind, stream, block, flags | (END_HEADERS if kind == HEADERS else 0))
    assert refusal(client, stream) in {PROTOCOL_ERROR, 400}
    eventually(lambda: place.target.in_flight, lambda count: count == 0)
    assert b"smuggled" not in place.reached()
    place.still_serves()


BLOCK = bytes.fromhex("828684") + b"\x41\x0bexample.org"
OPENED = frame(HEADERS, 1, BLOCK, END_HEADERS)
# What breaks the rules of frames, and with what error the connection ends.
BAD_FRAMES: dict[str, tuple[bytes, set[int]]] = {
    "DATA on the connection": (frame(DATA, 0, b"x"), {PROTOCOL_ERROR}),
    "HEADERS on the connection": (frame(HEADERS, 0, BLOCK, END_HEADERS), {PROTOCOL_ERROR}),
    "RST_STREAM on the connection": (frame(RST_STREAM, 0, number(8)), {PROTOCOL_ERROR}),
    "SETTINGS on a stream": (frame(SETTINGS, 1), {PROTOCOL_ERROR}),
    "PING on a stream": (frame(PING, 1, bytes(8)), {PROTOCOL_ERROR}),
    "GOAWAY on a stream": (frame(GOAWAY, 1, bytes(8)), {PROTOCOL_ERROR}),
    "a stream with an even number": (frame(HEADERS, 2, BLOCK, END_HEADERS | END_STREAM), {PROTOCOL_ERROR}),
    "a stream with a lower number": (
        frame(HEADERS, 5, BLOCK, END_HEADERS) + frame(HEADERS, 3, BLOCK, END_HEADERS),
        {PROTOCOL_ERROR, STREAM_CLOSED},
    ),
    "DATA on an idle stream": (frame(DATA, 1, b"x"), {PROTOCOL_ERROR}),
    "RST_STREAM on an idle stream": (frame(RST_STREAM, 1, number(8)), {PROTOCOL_ERROR}),
    "WINDOW_UPDATE on an idle stream": (frame(WINDOW_UPDATE, 1, number(8)), {PROTOCOL_ERROR}),
    "CONTINUATION of nothing": (frame(CONTINUATION, 1, BLOCK, END_HEADERS), {PROTOCOL_ERROR}),
    "DATA within a header block": (frame(HEADERS, 1, BLOCK) + frame(DATA, 1, b"x"), {PROTOCOL_ERROR}),
    "PING within a header block": (frame(HEADERS, 1, BLOCK) + frame(PING, 0, bytes(8)), {PROTOCOL_ERROR}),
    "CONTINUATION of another stream": (
        frame(HEADERS, 1, BLOCK) + frame(CONTINUATION, 3, b"", END_HEADERS),
        {PROTOCOL_ERROR},
    ),
    "PUSH_PROMISE": (OPENED + frame(PUSH_PROMISE, 1, number(2) + BLOCK, END_HEADERS), {PROTOCOL_ERROR}),
    "a frame that is too long": (OPENED + frame(DATA, 1, bytes(16_385)), {FRAME_SIZE_ERROR}),
    "SETTINGS of a length that cannot be": (frame(SETTINGS, 0, bytes(5)), {FRAME_SIZE_ERROR}),
    "SETTINGS that acknowledge with a payload": (frame(SETTINGS, 0, bytes(6), ACK), {FRAME_SIZE_ERROR}),
    "PING of a length that cannot be": (frame(PING, 0, bytes(7)), {FRAME_SIZE_ERROR}),
    "WINDOW_UPDATE of a length that cannot be": (frame(WINDOW_UPDATE, 0, bytes(5)), {FRAME_SIZE_ERROR}),
    "RST_STREAM of a length that cannot be": (OPENED + frame(RST_STREAM, 1, bytes(3)), {FRAME_SIZE_ERROR}),
    "GOAWAY that is too short": (frame(GOAWAY, 0, bytes(7)), {FRAME_SIZE_ERROR}),
    "a window that is too large": (settings({4: 0x8000_0000}), {FLOW_CONTROL_ERROR}),
    "a frame size that is too small": (settings({5: 16_383}), {PROTOCOL_ERROR}),
    "a frame size that is too large": (settings({5: 16_777_216}), {PROTOCOL_ERROR}),
    "a push that is neither on nor off": (settings({2: 2}), {PROTOCOL_ERROR}),
    "WINDOW_UPDATE by nothing": (frame(WINDOW_UPDATE, 0, number(0)), {PROTOCOL_ERROR}),
    "a connection's window that overflows": (frame(WINDOW_UPDATE, 0, number(0x7FFF_FFFF)), {FLOW_CONTROL_ERROR}),
    "more padding than payload": (OPENED + frame(DATA, 1, b"\x05abc", PADDED), {PROTOCOL_ERROR}),
    "an index beyond the table": (frame(HEADERS, 1, b"\xff\x80\x01", END_HEADERS), {COMPRESSION_ERROR}),
    "an index of nothing": (frame(HEADERS, 1, b"\x80", END_HEADERS), {COMPRESSION_ERROR}),
    "a literal that is cut": (frame(HEADERS, 1, b"\x40\x0aabc", END_HEADERS), {COMPRESSION_ERROR}),
    "a number without end": (frame(HEADERS, 1, b"\xff" + b"\xff" * 20, END_HEADERS), {COMPRESSION_ERROR}),
    "a Huffman code of the end": (
        frame(HEADERS, 1, b"\x00\x84\xff\xff\xff\xff\x01a", END_HEADERS),
        {COMPRESSION_ERROR},
    ),
    "a table larger than allowed": (frame(HEADERS, 1, b"\x3f\xe1\xff\x03" + BLOCK, END_HEADERS), {COMPRESSION_ERROR}),
    "a table that changes within a block": (frame(HEADERS, 1, BLOCK + b"\x20", END_HEADERS), {COMPRESSION_ERROR}),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_connection_that_breaks_the_rules_of_frames_ends_with_a_goaway(place: Place, name: str) -> None:
    data, codes = BAD_FRAMES[name]
    other = Http2Client(place.balancer.port)
    assert other.ask(head("GET", "/other")).status == 200
    client = Http2Client(place.balancer.port)
    client.open()
    client.wait(lambda: client.found(SETTINGS), "the settings")
    with suppress(ConnectionError):
        client.send(data)
    assert client.wait_goaway().code in codes
    assert other.ask(head("GET", "/other")).status == 200
    place.still_serves()


# What is an error of one stream: the others go on.
BAD_STREAMS: dict[str, tuple[bytes, set[int]]] = {
    "WINDOW_UPDATE by nothing": (frame(WINDOW_UPDATE, 1, number(0)), {PROTOCOL_ERROR}),
    "a window that overflows": (frame(WINDOW_UPDATE, 1, number(0x7FFF_FFFF)), {FLOW_CONTROL_ERROR}),
    "a second head": (frame(HEADERS, 1, BLOCK, END_HEADERS), {PROTOCOL_ERROR}),
    "PRIORITY of a length that cannot be": (frame(PRIORITY, 1, bytes(4)), {FRAME_SIZE_ERROR}),
}


@pytest.mark.parametrize("name", BAD_STREAMS)
def test_a_stream_that_breaks_the_rules_of_frames_is_reset_alone(place: Place, name: str) -> None:
    data, codes = BAD_STREAMS[name]
    client = Http2Client(place.balancer.port)
    stream = client.request(head("POST"), end=False)
    client.send(data)
    assert refusal(client, stream) in codes | {400}
    assert client.ask(head("GET", "/good")).status == 200
    place.still_serves()


def test_more_than_the_window_of_a_stream_is_an_error(balance: Balance, h2_target: Callable[..., Http2Target]) -> None:
    balancer = balance([h2_target(hangs)])
    client = Http2Client(balancer.port)
    stream = client.request(head("POST"), end=False)
    with suppress(ConnectionError):
        client.send(frame(DATA, stream, bytes(16_384)) * 400)
    assert refusal(client, stream) == FLOW_CONTROL_ERROR
    balancer.wait_idle()


@pytest.mark.parametrize("kind", ["DATA", "HEADERS"])
def test_nothing_follows_the_end_of_a_stream(place: Place, kind: str) -> None:
    client = Http2Client(place.balancer.port)
    stream = client.request(head("POST", "/closed"))
    data = frame(DATA, stream, b"smuggled", END_STREAM) if kind == "DATA" else frame(HEADERS, stream, BLOCK, 5)
    client.send(data)
    with suppress(ConnectionError):
        while not client.closed and client.streams[stream].reset is None:
            client.send_frame(PING, 0, bytes(8))
            client.read()
    reset = client.streams[stream].reset
    # Once it was answered, HEADERS on it are those of a stream that is opened out of order.
    allowed = {STREAM_CLOSED} if kind == "DATA" else {STREAM_CLOSED, PROTOCOL_ERROR}
    assert (client.wait_goaway().code if reset is None else reset) in allowed
    assert b"smuggled" not in place.reached()
    place.still_serves()


def test_unknown_frames_settings_and_flags_are_ignored(place: Place) -> None:
    """RFC 9113 4.1, 5.5, 6.5.2: what nobody knows yet must not break what is there."""
    client = Http2Client(place.balancer.port, {0x99: 7})
    client.send_frame(0xFA, 0, b"whatever", 0xFF)
    stream = client.request(head("POST"), end=False)
    client.send_frame(0xFB, stream, b"whatever", 0xFF)
    client.send_frame(PRIORITY, stream, struct.pack(">IB", 0, 16))
    client.send_frame(DATA, stream, b"hello", END_STREAM | 0xE6 & ~PADDED)
    assert client.answer(stream).status == 200


def test_padding_and_blocks_in_pieces_are_taken(place: Place) -> None:
    client = Http2Client(place.balancer.port)
    stream = client.open()
    block = client.block(head("POST", "/pieces", "x-long: " + "y" * 3000))
    client.send_frame(HEADERS, stream, b"\x03" + block[:10] + bytes(3), PADDED)
    client.send_frame(CONTINUATION, stream, block[10:2000])
    client.send_frame(CONTINUATION, stream, block[2000:], END_HEADERS)
    client.send_frame(DATA, stream, b"\x04hello" + bytes(4), PADDED | END_STREAM)
    assert client.answer(stream).status == 200
    assert place.target.requests[0].body == b"hello"
    assert len(place.target.requests[0].get("x-long") or "") == 3000


def test_frames_may_come_byte_by_byte(place: Place) -> None:
    client = Http2Client(place.balancer.port)
    stream = client.open()
    data = frame(HEADERS, stream, client.block(head("POST", "/drips")), END_HEADERS)
    for byte in data + frame(DATA, stream, b"hello", END_STREAM):
        client.send(bytes([byte]))
    assert client.answer(stream).status == 200
    assert place.target.requests[0].body == b"hello"


# The first bytes


def test_the_preface_may_come_byte_by_byte(place: Place) -> None:
    sock = Client(place.balancer.port).sock
    for byte in PREFACE[:-1]:
        sock.sendall(bytes([byte]))
    sock.sendall(PREFACE[-1:] + settings({}))
    with suppress(BrokenPipeError):
        sock.sendall(frame(HEADERS, 1, BLOCK, END_HEADERS | END_STREAM))
    data = b""
    while b"\x01" not in [data[at + 3 : at + 4] for at in _frames(data)]:
        data += sock.recv(65_536)
    assert place.target.paths == ["/"]


def _frames(data: bytes) -> Iterator[int]:
    at = 0
    while at + 9 <= len(data):
        yield at
        at += 9 + int.from_bytes(data[at : at + 3], "big")


@pytest.mark.parametrize(
    "data",
    [
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\n\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\nHost: a\r\n\r\nSM\r\n\r\n",
        b"PRI / HTTP/1.1\r\nHost: a\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0),
        b"\r\n" + PREFACE + settings({}),
        PREFACE + frame(HEADERS, 1, BLOCK, END_HEADERS | END_STREAM),
        PREFACE + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["wrong end", "no end", "a field", "HTTP/1.1", "an empty line first", "no SETTINGS", "HTTP/1 behind it"],
)
def test_what_is_not_the_preface_reaches_nobody(place: Place, data: bytes) -> None:
    with Client(place.balancer.port) as client:
        client.send(data)
        client.rest()
    assert b"smuggled" not in place.reached()
    assert not [request for request in place.target.requests if request.method != "PRI"]
    place.still_serves()


def test_an_upgrade_to_h2c_is_passed_over(place: Place) -> None:
    """RFC 9113 3.1 took it out; a target that would switch must not be asked to."""
    with Client(place.balancer.port) as client:
        lines = [
            "GET / HTTP/1.1",
            "Host: a",
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: AAA",
        ]
        message = client.ask("\r\n".join([*lines, "", ""]).encode())
        assert message.status == 200
    assert place.target.requests[0].get("http2-settings") is None
    assert place.target.requests[0].get("upgrade") in {None, ""}


# Limits of a request


@pytest.fixture
def limited(balance: Balance, stage: Stage) -> Callable[[str], Place]:
    """A balancer with limits of its own."""

    def start(limits: str) -> Place:
        target = http2_target(stage, http2_answers)
        return Place(balance([target], Setting(more=f"[limits]\n{limits}")), target)

    return start


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (head("GET", "/", "x-large: " + "y" * 17_000), 431),
        (head("GET", "/", *[f"x-{n}: 1" for n in range(30)]), 431),
        (head("GET", "/" + "y" * 9000), 414),
    ],
    ids=["size", "count", "path"],
)
def test_a_head_over_a_limit_is_answered_on_its_stream(
    limited: Callable[[str], Place], fields: list[Field], status: int
) -> None:
    place = limited('request_head = "16KiB"\nheader_count = 20')
    client = Http2Client(place.balancer.port)
    message = client.ask(fields)
    assert message.status == status
    assert message.get("content-type") == "application/problem+json"
    assert place.target.requests == []
    assert client.ask(head("GET", "/good")).status == 200
    place.still_serves()


@pytest.mark.parametrize("said", [True, False], ids=["by length", "as it comes"])
def test_a_body_over_the_limit_is_413_on_its_stream(limited: Callable[[str], Place], said: bool) -> None:
    place = limited('request_body = "10KiB"')
    client = Http2Client(place.balancer.port)
    fields = head("POST", "/large", *(["content-length: 20000"] if said else []))
    stream = client.request(fields, end=False)
    if not said:
        client.write(stream, bytes(11_000))
    client.wait(lambda: client.streams[stream].answer or client.streams[stream].done, "an answer")
    message = client.streams[stream].answer
    assert message is not None
    assert message.status == 413
    assert client.ask(head("POST"), bytes(10_000)).status == 200
    place.still_serves()


def test_a_block_that_is_never_whole_ends_the_connection_in_time(limited: Callable[[str], Place]) -> None:
    place = limited('head_timeout = "300ms"')
    client = Http2Client(place.balancer.port)
    client.send_frame(HEADERS, client.open(), BLOCK)
    client.wait_goaway()
    place.still_serves()


def test_a_body_that_stops_is_408_on_its_stream(limited: Callable[[str], Place]) -> None:
    place = limited('body_timeout = "300ms"')
    client = Http2Client(place.balancer.port)
    stream = client.request(head("POST", "/slow", "content-length: 10"), end=False)
    client.write(stream, b"some")
    assert client.answer(stream).status == 408
    assert client.ask(head("GET", "/good")).status == 200
    place.still_serves()
