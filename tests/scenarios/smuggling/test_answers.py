"""What a target says against the rules reaches no client, and its connection is not used again."""

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Balancer
from tests.scenarios.support.client import GET, Client, fetch
from tests.scenarios.support.messages import ClosedEarlyError
from tests.scenarios.support.stage import Call, Stage, Target, answer, says

OK = b"HTTP/1.1 200 OK\r\n"
BAD_ANSWERS = {
    "nonsense": b"nonsense\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>\r\n\r\n\r\n",
    "a version of its own": b"HTTP/3.7 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
    "status with letters": b"HTTP/1.1 2xx Odd\r\nContent-Length: 0\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 Odd\r\nContent-Length: 0\r\n\r\n",
    "both framings": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "a length that is no number": OK + b"Content-Length: five\r\n\r\nhello",
    "a negative length": OK + b"Content-Length: -1\r\n\r\n",
    "gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bare line feed": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "a bare carriage return": OK + b"X-A: 1\rX-B: 2\r\nContent-Length: 0\r\n\r\n",
    "a folded line": OK + b"X-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n",
    "a blank before the colon": OK + b"X-A : 1\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": OK + b"X-A: 1\x00\r\nContent-Length: 0\r\n\r\n",
    "a head of 1 MB": OK + b"X-A: " + b"a" * 1_000_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "101 that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    "interim answers without end": b"HTTP/1.1 102 Processing\r\n\r\n" * 1000,
    "a chunk of no size, at once": OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_malformed_answer_is_502_and_its_connection_is_not_used_again(
    shared: Balancer, shared_target: Target, name: str
) -> None:
    # Which request of its connection each of them was.
    places: list[int] = []

    async def lies_once(call: Call) -> None:
        places.append(call.number)
        await call.send(BAD_ANSWERS[name] if len(places) == 1 else answer())

    shared_target.forget(lies_once)
    with Client(shared.port) as client:
        message = client.ask(GET)
        while message.status < 200:
            message = client.answer()
        assert message.status == 502
        assert message.get("content-type") == "application/problem+json"
        assert b"hello" not in message.body
        client.send(GET)
        assert client.answer().body == b"ok"
    assert len(places) == 2
    assert places[1] == 1
    shared.wait_idle()


@pytest.mark.parametrize(
    "chunk",
    [b"zz\r\n", b"0x5\r\nhello\r\n", b"5\nhello\r\n", b"5\r\nhelloworld\r\n", b"0\r\nContent-Length: 5\r\n\r\n"],
)
def test_a_malformed_chunk_in_the_middle_of_an_answer_breaks_it_off(
    stage: Stage, balance: Balance, chunk: bytes
) -> None:
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"

    async def lies(call: Call) -> None:
        await call.send(head)
        await call.body()
        await call.send(chunk)
        await call.gone()

    target = stage.target(lies)
    balancer = balance([target])
    with Client(balancer.port) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
        client.receive_until(b"first\r\n")
        client.send(b"x")
        with pytest.raises((ClosedEarlyError, ConnectionResetError)):
            client.receive_until(b"0\r\n\r\n")
    balancer.wait_idle()
    target.script = says(answer())
    assert fetch(balancer.port).body == b"ok"
    assert target.connections == 2
