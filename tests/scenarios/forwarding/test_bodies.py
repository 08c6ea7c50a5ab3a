"""Bodies arrive as they were sent, in every framing and in both directions."""

import threading
from random import Random

import pytest

from tests.scenarios.support.balancer import Balancer
from tests.scenarios.support.client import GET, Client, chunked, fetch, get, post
from tests.scenarios.support.messages import ClosedEarlyError
from tests.scenarios.support.stage import Call, Target, answer, echoes, says, says_and_closes

BODY = Random(1).randbytes(300_000)


def test_a_request_s_body_by_length_arrives(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(echoes)
    assert fetch(shared.port, post(BODY)).body == BODY
    assert shared_target.requests[0].get("content-length") == str(len(BODY))


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "GET", "OPTIONS", "PURGE"])
def test_any_method_may_have_a_body(shared: Balancer, shared_target: Target, method: str) -> None:
    shared_target.forget(echoes)
    assert fetch(shared.port, post(b"something", method=method)).body == b"something"
    assert shared_target.requests[0].method == method


def test_a_request_s_body_in_chunks_arrives_in_chunks(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(echoes)
    body = chunked(b"a" * 10, b"b" * 100_000, b"c", trailers=b"X-Sum: 7\r\n")
    message = fetch(shared.port, get("/", "Transfer-Encoding: chunked", "Trailer: X-Sum") + body)
    request = shared_target.requests[0]
    assert message.body == request.body == b"a" * 10 + b"b" * 100_000 + b"c"
    assert request.get("transfer-encoding") == "chunked"
    assert request.get("trailer") == "X-Sum"
    assert request.trailers == [("x-sum", "7")]


def test_chunk_extensions_are_dropped(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(echoes)
    body = b'3;name=value\r\nabc\r\n2;x="y"\r\nde\r\n0;end\r\n\r\n'
    assert fetch(shared.port, get("/", "Transfer-Encoding: chunked") + body).body == b"abcde"
    assert b"name" not in shared_target.received
    assert b"end" not in shared_target.received


def test_a_body_that_arrives_byte_by_byte_arrives(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(echoes)
    request = get("/", "Transfer-Encoding: chunked") + chunked(b"hello", b"world", trailers=b"X-T: 1\r\n")
    with Client(shared.port) as client:
        for i in range(len(request)):
            client.send(request[i : i + 1])
        assert client.answer().body == b"helloworld"


def test_an_answer_s_body_by_length_arrives(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(says(answer("200 OK", BODY)))
    message = fetch(shared.port)
    assert message.body == BODY
    assert message.get("content-length") == str(len(BODY))


def test_an_answer_s_body_in_chunks_arrives_in_chunks_with_its_trailers(
    shared: Balancer, shared_target: Target
) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    shared_target.forget(says(head, chunked(b"one", BODY, trailers=b"X-Sum: 9\r\n")))
    message = fetch(shared.port)
    assert message.body == b"one" + BODY
    assert message.get("trailer") == "X-Sum"
    assert message.trailers == [("x-sum", "9")]


def test_an_answer_until_close_arrives_in_chunks_and_the_connection_is_kept(
    shared: Balancer, shared_target: Target
) -> None:
    shared_target.forget(says_and_closes(b"HTTP/1.1 200 OK\r\n\r\n" + BODY, b"the end"))
    with Client(shared.port) as client:
        message = client.ask(GET)
        assert message.chunked
        assert message.body == BODY + b"the end"
        shared_target.forget(says(answer()))
        assert client.ask(GET).body == b"ok"


def test_an_empty_answer_until_close_arrives(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(says_and_closes(b"HTTP/1.1 200 OK\r\n\r\n"))
    with Client(shared.port) as client:
        assert client.ask(GET).body == b""
        shared_target.forget(says(answer()))
        assert client.ask(GET).body == b"ok"


def test_an_answer_until_close_of_a_target_of_http_1_0_arrives(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(says_and_closes(b"HTTP/1.0 200 OK\r\n\r\nold style"))
    with Client(shared.port) as client:
        assert client.ask(GET).body == b"old style"


def test_a_client_of_http_1_0_gets_chunks_decoded(shared: Balancer, shared_target: Target) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    shared_target.forget(says(head, chunked(b"one", b"two", trailers=b"X-Sum: 9\r\n")))
    with Client(shared.port) as client:
        message = client.ask(get("/", "Connection: keep-alive", version="1.0"))
        assert message.all("transfer-encoding") == []
        assert message.all("trailer") == []
        assert message.body == b"onetwo"
        assert message.get("connection") == "close"


def test_a_client_of_http_1_0_gets_an_answer_until_close_until_close(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(says_and_closes(b"HTTP/1.1 200 OK\r\n\r\nplain"))
    message = fetch(shared.port, get("/", "Connection: keep-alive", version="1.0"))
    assert message.all("transfer-encoding") == []
    assert message.body == b"plain"


@pytest.mark.parametrize("framing", ["Content-Length: 5", "Transfer-Encoding: chunked", "X-No-Framing: 1"])
def test_the_answer_to_head_has_the_fields_and_no_body(shared: Balancer, shared_target: Target, framing: str) -> None:
    shared_target.forget(says(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode()))
    with Client(shared.port) as client:
        message = client.ask(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        name, _, value = framing.partition(": ")
        assert message.get(name) == value
        shared_target.forget(says(answer()))
        assert client.ask(GET).body == b"ok"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("field", ["X-None: 1", "Content-Length: 7"])
def test_an_answer_that_has_no_body_ends_with_its_head(
    shared: Balancer, shared_target: Target, status: str, field: str
) -> None:
    shared_target.forget(says(f"HTTP/1.1 {status}\r\n{field}\r\n\r\n".encode()))
    with Client(shared.port) as client:
        assert client.ask(GET).line.endswith(status.encode())
        shared_target.forget(says(answer()))
        assert client.ask(GET).body == b"ok"


def test_an_answer_shorter_than_it_says_is_broken_off_visibly(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(says_and_closes(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"))
    with Client(shared.port) as client, pytest.raises((ClosedEarlyError, ConnectionResetError)):
        client.ask(GET)


def test_a_chunked_answer_that_stops_is_broken_off_visibly(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(says_and_closes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"))
    with Client(shared.port) as client, pytest.raises((ClosedEarlyError, ConnectionResetError)):
        client.ask(GET)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_large_body_streams_both_ways_at_once_byte_for_byte(
    shared: Balancer, shared_target: Target, framing: str, scale: int
) -> None:
    size = 4_000_000 * scale
    body = Random(2).randbytes(size)

    async def echo_while_it_arrives(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        if framing == "length":
            left = size
            while left:
                if not call.buffer.data:
                    call.buffer.feed(await call.reader.read(64 * 1024))
                piece = call.buffer.take(len(call.buffer.data))
                left -= len(piece)
                await call.send(piece)
        else:
            await call.send(await call.body())
        call.body_read = True

    shared_target.forget(echo_while_it_arrives)
    if framing == "length":
        request = post(body)
    else:
        pieces = [body[i : i + 50_000] for i in range(0, size, 50_000)]
        request = get("/", "Transfer-Encoding: chunked") + chunked(*pieces)
    with Client(shared.port) as client:
        sender = threading.Thread(target=client.send, args=(request,))
        sender.start()
        got = client.answer()
        sender.join()
    assert got.body == body


def test_many_bodies_of_all_sizes_arrive_on_one_connection(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(echoes)
    random = Random(3)
    with Client(shared.port) as client:
        for _ in range(40):
            body = random.randbytes(random.choice([0, 1, 2, 100, 16_383, 16_384, 65_535, 65_536, 65_537, 200_000]))
            if random.random() < 0.5:
                assert client.ask(post(body)).body == body
            else:
                request = get("/", "Transfer-Encoding: chunked")
                at = random.randrange(len(body)) if body else 0
                pieces = [piece for piece in (body[:at], body[at:]) if piece]
                assert client.ask(request + chunked(*pieces)).body == body
