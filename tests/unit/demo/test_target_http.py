"""The demo target over real sockets, each case as bytes that a client sends and the answer it gets."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
import pytest
import uvloop

from equipoise.demo.target_http import Answer, Counts, TargetConnection

DEADLINE = 20.0


class Peer:
    """A client that writes bytes and reads answers."""

    def __init__(self, counts: Counts, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts = counts
        self.reader = reader
        self.writer = writer

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = (line.partition(": ") for line in lines[1:-2])
        return int(lines[0].split()[1]), {name.lower(): value for name, _, value in fields}

    async def answer(self) -> Answer:
        status, fields = await self.head()
        assert status == 200
        return msgspec.json.decode(await self.reader.readexactly(int(fields["content-length"])), type=Answer)

    async def ask(self, target: str, *, method: str = "GET") -> None:
        self.writer.write(f"{method} {target} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        await self.writer.drain()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 (the scene looks from outside, with a deadline)
            await asyncio.sleep(0.002)


def converse(scene: Callable[[Peer], Awaitable[None]], delay_ms: float = 0.0) -> Counts:
    """Runs a scene against a fresh target; afterwards nothing is in flight and nobody connected."""

    async def run() -> Counts:
        counts = Counts("t", lambda: delay_ms)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(cast("Any", lambda: TargetConnection(counts)), "127.0.0.1", 0)
        peer = Peer(counts, *await asyncio.open_connection(*server.sockets[0].getsockname()[:2]))
        try:
            async with asyncio.timeout(DEADLINE):
                await scene(peer)
                peer.writer.close()
                await peer.until(lambda: not counts.connections)
        finally:
            # Whatever a failed scene leaves open would keep uvloop from closing.
            peer.writer.transport.abort()
            server.close()
            await asyncio.sleep(0)
        assert counts.in_flight == 0
        return counts

    return uvloop.run(run())


def test_the_answer_describes_the_request() -> None:
    async def scene(peer: Peer) -> None:
        await peer.ask("/path?q=1")
        assert await peer.answer() == Answer("t", 1, "GET", "/path?q=1", 0)

    assert converse(scene).requests == 1


def test_a_connection_is_kept_for_the_next_request() -> None:
    async def scene(peer: Peer) -> None:
        for number in range(3):
            await peer.ask(f"/{number}")
            assert (await peer.answer()).path == f"/{number}"

    assert converse(scene).requests == 3


def test_pipelined_requests_are_answered_in_order() -> None:
    async def scene(peer: Peer) -> None:
        peer.writer.write(b"".join(b"GET /%d?delay=%d HTTP/1.1\r\nHost: t\r\n\r\n" % (n, 20 - n) for n in range(10)))
        assert [(await peer.answer()).path.partition("?")[0] for _ in range(10)] == [f"/{n}" for n in range(10)]

    converse(scene)


BODIES = [
    pytest.param(b"POST /b HTTP/1.1\r\nHost: t\r\nContent-Length: 11\r\n\r\nhello world", id="length"),
    pytest.param(
        b"POST /b HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nA: b\r\n\r\n",
        id="chunked",
    ),
]


@pytest.mark.parametrize("request_bytes", BODIES)
def test_a_body_is_counted_and_the_next_request_found(request_bytes: bytes) -> None:
    async def scene(peer: Peer) -> None:
        peer.writer.write(request_bytes + b"GET /next HTTP/1.1\r\nHost: t\r\n\r\n")
        assert (await peer.answer()).body_length == 11
        assert (await peer.answer()).path == "/next"

    converse(scene)


@pytest.mark.parametrize("request_bytes", BODIES)
def test_a_request_may_come_byte_by_byte(request_bytes: bytes) -> None:
    async def scene(peer: Peer) -> None:
        for at in range(len(request_bytes)):
            peer.writer.write(request_bytes[at : at + 1])
            await asyncio.sleep(0)
        assert (await peer.answer()).body_length == 11

    assert converse(scene).requests == 1


def test_head_gets_the_length_and_no_body() -> None:
    async def scene(peer: Peer) -> None:
        await peer.ask("/h", method="HEAD")
        status, fields = await peer.head()
        assert (status, int(fields["content-length"]) > 0) == (200, True)
        await peer.ask("/after")
        assert (await peer.answer()).path == "/after"

    converse(scene)


@pytest.mark.parametrize("status", [404, 503, 204, 304])
def test_the_query_chooses_the_status(status: int) -> None:
    async def scene(peer: Peer) -> None:
        await peer.ask(f"/?status={status}")
        found, fields = await peer.head()
        assert found == status
        assert ("content-length" in fields) is (status >= 400)

    converse(scene)


def test_the_query_chooses_the_size() -> None:
    size = 20_000_000  # more than all the sockets' buffers hold

    async def scene(peer: Peer) -> None:
        await peer.ask(f"/?size={size}")
        _, fields = await peer.head()
        assert int(fields["content-length"]) == size
        assert peer.counts.in_flight == 1  # the writer waits for the reader
        assert await peer.reader.readexactly(size) == b"x" * size
        await peer.ask("/after")
        assert (await peer.answer()).path == "/after"

    converse(scene)


def test_the_query_chooses_the_delay() -> None:
    async def scene(peer: Peer) -> None:
        start = asyncio.get_running_loop().time()
        await peer.ask("/?delay=60")
        await peer.answer()
        assert asyncio.get_running_loop().time() - start > 0.05

    converse(scene)


def test_a_request_is_in_flight_from_its_head_to_its_answer() -> None:
    async def scene(peer: Peer) -> None:
        peer.writer.write(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n")
        await peer.until(lambda: peer.counts.in_flight == 1)
        peer.writer.write(b"hello")
        await peer.answer()
        assert peer.counts.in_flight == 0

    converse(scene, delay_ms=30)


def test_a_client_that_leaves_is_not_in_flight() -> None:
    async def scene(peer: Peer) -> None:
        await peer.ask("/?delay=60000")
        await peer.until(lambda: peer.counts.in_flight == 1)
        peer.writer.close()
        await peer.until(lambda: peer.counts.in_flight == 0)

    converse(scene)


def test_a_health_probe_is_answered_at_once_and_not_counted() -> None:
    async def scene(peer: Peer) -> None:
        await peer.ask("/healthz")
        assert (await peer.answer()).in_flight == 0

    assert converse(scene, delay_ms=60_000).requests == 0


def test_a_client_that_expects_it_is_told_to_continue() -> None:
    async def scene(peer: Peer) -> None:
        peer.writer.write(b"PUT / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert (await peer.head())[0] == 100
        peer.writer.write(b"ok")
        assert (await peer.answer()).body_length == 2

    converse(scene)


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
def test_the_connection_ends_when_the_client_wants_it(head: bytes, kept: bool) -> None:
    async def scene(peer: Peer) -> None:
        peer.writer.write(head)
        _, fields = await peer.head()
        await peer.reader.readexactly(int(fields["content-length"]))
        assert fields["connection"] == ("keep-alive" if kept else "close")
        if not kept:
            assert await peer.reader.read() == b""

    converse(scene)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ],
)
def test_a_malformed_request_gets_400_and_the_connection_ends(request_bytes: bytes) -> None:
    async def scene(peer: Peer) -> None:
        peer.writer.write(request_bytes)
        status, fields = await peer.head()
        assert (status, fields["connection"]) == (400, "close")
        await peer.reader.read()

    converse(scene)


def test_draining_closes_an_idle_connection() -> None:
    async def scene(peer: Peer) -> None:
        await peer.ask("/")
        await peer.answer()
        for connection in list(peer.counts.connections):
            connection.drain()
        assert await peer.reader.read() == b""

    converse(scene)


def test_draining_lets_an_answer_finish() -> None:
    async def scene(peer: Peer) -> None:
        await peer.ask("/?delay=50")
        await peer.until(lambda: peer.counts.in_flight == 1)
        peer.counts.draining = True
        for connection in list(peer.counts.connections):
            connection.drain()
        status, fields = await peer.head()
        assert (status, fields["connection"]) == (200, "close")

    converse(scene)
