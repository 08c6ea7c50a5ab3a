"""One request over HTTP/2, against a target that says exactly what a test tells it to."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from equipoise.runtime.http2_probe import MAX_BYTES, Answer, ask
from equipoise.runtime.probe_error import ProbeError
from equipoise.wire.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
)
from equipoise.wire.hpack import Encoder
from tests.support.frames import FIRST, Read, frame, read

HEAD = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a:1"), (b":path", b"/well")]


def fields(*pairs: tuple[bytes, bytes], end: bool = False) -> bytes:
    return frame(HEADERS, 1, Encoder(0).encode(pairs), END_HEADERS | (END_STREAM if end else 0))


def data(content: bytes, *, end: bool = False) -> bytes:
    return frame(DATA, 1, content, END_STREAM if end else 0)


OK = fields((b":status", b"200"))


class Told:
    """A scripted target, and what it was sent."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.received = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.received += await reader.readexactly(len(PREFACE))
        for piece in self.pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        while more := await reader.read(65_536):
            self.received += more
        writer.close()

    @property
    def frames(self) -> list[Read]:
        return read([self.received.removeprefix(PREFACE)]).frames


def ask_of(target: Told, body: bytes | None = None, *, whole: bool = True) -> Answer:
    async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
        return await ask(reader, writer, HEAD, body, whole=whole)

    return uvloop.run(talk(target.serve, asked))


async def talk(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    asked: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Answer]],
) -> Answer:
    ended = asyncio.Event()

    async def serve_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()
            ended.set()

    server = await asyncio.start_server(serve_once, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    try:
        async with asyncio.timeout(20):
            return await asked(reader, writer)
    finally:
        writer.close()
        await ended.wait()
        server.close()
        await server.wait_closed()


def test_the_request_is_a_preface_settings_and_one_stream() -> None:
    target = Told(FIRST + fields((b":status", b"204"), end=True))
    assert ask_of(target, b"body").status == 204
    assert target.received.startswith(PREFACE)
    first, head, body, *_ = target.frames
    assert (first.kind, first.flags) == (SETTINGS, 0)
    assert (head.kind, head.stream, head.end_stream) == (HEADERS, 1, False)
    assert (body.kind, body.stream, body.payload, body.end_stream) == (DATA, 1, b"body", True)


def test_a_request_without_a_body_ends_with_its_head() -> None:
    target = Told(FIRST + fields((b":status", b"204"), end=True))
    ask_of(target)
    assert [seen.end_stream for seen in target.frames if seen.kind == HEADERS] == [True]


def test_the_settings_are_acknowledged_and_pings_answered() -> None:
    target = Told(FIRST + frame(PING, 0, b"12345678") + OK + data(b"", end=True))
    ask_of(target)
    control = [(seen.kind, seen.flags, seen.payload) for seen in target.frames if seen.kind in {SETTINGS, PING}]
    assert control[1:] == [(SETTINGS, ACK, b""), (PING, ACK, b"12345678")]


def test_an_answer_has_head_body_and_trailers() -> None:
    answer = ask_of(Told(FIRST + OK + data(b"one ") + data(b"two") + fields((b"grpc-status", b"0"), end=True)))
    assert (answer.status, answer.body, answer.value(b"grpc-status")) == (200, b"one two", b"0")
    assert answer.value(b"grpc-message") is None


def test_an_answer_may_come_octet_by_octet() -> None:
    whole = FIRST + OK + data(b"body", end=True)
    assert ask_of(Told(*(whole[at : at + 1] for at in range(len(whole))))).body == b"body"


def test_interim_answers_are_passed_over() -> None:
    assert ask_of(Told(FIRST + fields((b":status", b"103")) + OK + data(b"", end=True))).status == 200


def test_the_head_alone_is_enough_where_that_was_asked_for() -> None:
    assert ask_of(Told(FIRST + OK), whole=False).status == 200


def test_a_connection_that_is_to_end_later_still_answers() -> None:
    goaway = frame(GOAWAY, 0, (1).to_bytes(4, "big") + bytes(4))
    assert ask_of(Told(FIRST + goaway + OK + data(b"", end=True))).status == 200


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "speaks HTTP/1, not HTTP/2"),
        (b"SSH-2.0-OpenSSH\r\n", "not valid HTTP/2: frame longer"),
        (OK, "not valid HTTP/2: the first frame is not SETTINGS"),
        (FIRST + data(b"body", end=True), "DATA before the response's head"),
        (FIRST + OK + OK, "trailers that do not end the stream"),
        (FIRST + fields((b"x", b"y"), end=True), "no :status"),
        (FIRST + frame(HEADERS, 1, b"\xff\xff\xff", END_HEADERS), "not valid HTTP/2: block ends inside"),
        (FIRST + frame(HEADERS, 3, Encoder(0).encode([(b":status", b"200")]), END_HEADERS), "never opened"),
        (FIRST + frame(RST_STREAM, 1, (7).to_bytes(4, "big")), r"refused the request \(RST_STREAM, code 7\)"),
        (FIRST + frame(GOAWAY, 0, bytes(8)), r"refused the connection \(GOAWAY, code 0\)"),
        (FIRST + frame(GOAWAY, 0, b"\x00\x00\x00\x01\x00\x00\x00\x0b"), r"refused the connection \(GOAWAY, code 11\)"),
        (FIRST + OK + 4 * data(b"x" * 16_384), "larger than a probe takes"),
        (FIRST + fields((b":status", b"200"), (b"content-length", b"9")) + data(b"x", end=True), "shorter than"),
    ],
)
def test_what_is_no_answer_ends_the_probe(said: bytes, reason: str) -> None:
    assert MAX_BYTES < 4 * 16_384
    with pytest.raises(ProbeError, match=reason):
        ask_of(Told(said))


def test_a_target_that_leaves_ends_the_probe() -> None:
    async def leaves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(PREFACE))
        writer.write(FIRST)

    async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
        return await ask(reader, writer, HEAD)

    with pytest.raises((ProbeError, ConnectionError), match=r"closed without an answer|reset"):
        uvloop.run(talk(leaves, asked))
