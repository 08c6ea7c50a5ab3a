"""The traffic's connection against a peer that answers with scripted bytes."""

import asyncio
from collections.abc import Sequence

import pytest
import uvloop

from equipoise.demo.record import Failure
from equipoise.demo.traffic_http import Client, Job

GOOD = b'{"name":"t","in_flight":1,"method":"GET","path":"/p","body_length":0}'
OTHER = b'{"name":"t","in_flight":1,"method":"GET","path":"/other","body_length":0}'


def with_length(body: bytes, fields: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (fields, len(body), body)


class Outcome:
    """What a client told of a request."""

    def __init__(self, target: str, latency_ms: float, failure: Failure | None) -> None:
        self.target = target
        self.latency_ms = latency_ms
        self.kind = failure.kind if failure is not None else None
        self.failure = failure


class Script:
    """A listener: each connection answers its requests with the next bytes; None ends the connection."""

    def __init__(self, connections: Sequence[Sequence[bytes | None]]) -> None:
        self.requests: list[bytes] = []
        self._connections = list(connections)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for answer in self._connections.pop(0):
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                if answer is None:
                    return
                for at in range(0, len(answer), 7):  # in pieces, so that every state is entered
                    writer.write(answer[at : at + 7])
                    await writer.drain()
                    await asyncio.sleep(0)
        finally:
            writer.close()


def play(script: Script, count: int = 1, job: Job | None = None) -> tuple[list[Outcome], Client]:
    """Sends so many requests one after the other."""

    async def run() -> tuple[list[Outcome], Client]:
        server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        outcomes: asyncio.Queue[Outcome] = asyncio.Queue()
        client = Client(host, port, lambda _, *told: outcomes.put_nowait(Outcome(*told)))
        told = []
        async with asyncio.timeout(20):
            for number in range(count):
                client.send(job or Job(f"id-{number}", "GET", "/p"))
                told.append(await outcomes.get())
        client.close()
        server.close()
        await server.wait_closed()
        return told, client

    return uvloop.run(run())


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(with_length(GOOD), id="length"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + with_length(GOOD), id="interim"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD),
            id="chunked",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + GOOD, id="until close"),
    ],
)
def test_a_right_answer_names_its_target(answer: bytes) -> None:
    (outcome,), _ = play(Script([[answer]]))
    assert (outcome.target, outcome.kind) == ("t", None)
    assert outcome.latency_ms > 0


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(with_length(OTHER), "wrong answer", id="another request's answer"),
        pytest.param(with_length(b"{}"), "wrong answer", id="no answer of a target"),
        pytest.param(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "502", id="status"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", "204", id="no content"),
        pytest.param(None, "closed", id="closed before a byte"),
        pytest.param(with_length(GOOD)[:-3], "cut off", id="half a body"),
        pytest.param(b"HTTP/1.1 200 O", "cut off", id="half a head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", "cut off", id="half a chunk"),
        pytest.param(with_length(GOOD) + b"more", "malformed", id="more than its length"),
        pytest.param(b"SSH-2.0-OpenSSH_9.9\r\n", "malformed", id="another protocol"),
    ],
)
def test_anything_else_is_a_failure_of_its_kind(answer: bytes | None, kind: str) -> None:
    # A peer may hold back the surplus until the answer was taken: then the next request finds the connection spoilt.
    outcomes, _ = play(Script([[answer], [None], [None]]), count=1)
    if kind == "malformed" and outcomes[0].kind is None:
        pytest.skip("the surplus came apart from the answer")
    assert outcomes[0].kind == kind


def test_a_failure_keeps_what_the_request_was() -> None:
    (outcome,), _ = play(Script([[None]]))
    assert outcome.failure is not None
    assert (outcome.failure.request_id, outcome.failure.method) == ("id-0", "GET")
    assert outcome.failure.end_ms >= outcome.failure.start_ms > 0


def test_a_connection_is_kept() -> None:
    outcomes, client = play(Script([[with_length(GOOD)] * 3]), count=3)
    assert [outcome.kind for outcome in outcomes] == [None] * 3
    assert client.connects == 1


def test_an_announced_end_of_the_connection_is_no_failure() -> None:
    closing = with_length(GOOD, b"Connection: close\r\n")
    outcomes, client = play(Script([[closing], [closing]]), count=2)
    assert [outcome.kind for outcome in outcomes] == [None, None]
    assert client.connects == 2


def test_after_a_failure_comes_a_new_connection() -> None:
    outcomes, client = play(Script([[None], [with_length(GOOD)]]), count=2)
    assert [outcome.kind for outcome in outcomes] == ["closed", None]
    assert client.connects == 2


def test_nobody_there_is_a_failed_connect() -> None:
    async def run() -> str:
        told: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()
        client = Client("127.0.0.1", 1, lambda *outcome: told.set_result(outcome[3]))
        client.send(Job("id", "GET", "/p"))
        async with asyncio.timeout(20):
            failure = await told
        assert failure is not None
        return failure.kind

    assert uvloop.run(run()) == "connect"


def test_giving_up_fails_the_request_once() -> None:
    async def run() -> list[str]:
        told: list[str] = []
        heard = asyncio.Event()

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            heard.set()
            await reader.read()
            writer.close()

        server = await asyncio.start_server(listen, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()

        def tell(_client: Client, _target: str, _latency_ms: float, failure: Failure | None) -> None:
            assert failure is not None
            told.append(failure.kind)

        client = Client(host, port, tell)
        client.send(Job("id", "GET", "/p"))
        async with asyncio.timeout(20):
            await heard.wait()
            client.give_up("timeout")
            client.close()
            server.close()
            await server.wait_closed()
        return told

    assert uvloop.run(run()) == ["timeout"]


def test_a_post_carries_its_body_and_its_id() -> None:
    script = Script([[b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]])
    play(script, job=Job("id-7", "POST", "/p", b'{"order":7}'))
    head = script.requests[0]
    assert head.startswith(b"POST /p HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"X-Request-Id: id-7\r\n" in head
    assert b"Content-Length: 11\r\n" in head
