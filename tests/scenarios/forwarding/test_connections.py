"""What requests on one connection have to do with each other: keep-alive, pipelining, 100-continue, early answers."""

import threading

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Balancer
from tests.scenarios.support.client import GET, Client, chunked, get, post
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Stage, Target, answer, echoes, says


async def names_itself(call: Call) -> None:
    """Answers with the path of the request."""
    await call.body()
    await call.send(answer("200 OK", call.request.target.encode()))


def test_a_connection_of_http_1_1_is_kept(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(says(answer()))
    with Client(shared.port) as client:
        for _ in range(3):
            assert client.ask(GET).get("connection") is None
        assert not client.is_closed()


def test_a_connection_of_http_1_1_closes_when_the_client_asks(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(says(answer()))
    with Client(shared.port) as client:
        assert client.ask(get("/", "Connection: close")).get("connection") == "close"
        assert client.rest() == b""


def test_a_connection_of_http_1_0_closes_unless_the_client_asks(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(says(answer()))
    with Client(shared.port) as client:
        message = client.ask(get("/", version="1.0"))
        assert message.body == b"ok"
        assert message.get("connection") == "close"
        assert client.rest() == b""


def test_a_connection_of_http_1_0_is_kept_when_the_client_asks(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(says(answer()))
    with Client(shared.port) as client:
        for _ in range(3):
            assert client.ask(get("/", "Connection: keep-alive", version="1.0")).get("connection") == "keep-alive"
        assert not client.is_closed()


def test_a_target_s_close_does_not_close_the_client_s_connection(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(says(answer("200 OK", b"ok", "Connection: close")))
    with Client(shared.port) as client:
        for _ in range(3):
            message = client.ask(GET)
            assert message.body == b"ok"
            assert message.get("connection") is None


def test_requests_one_after_the_other_use_one_connection_to_the_target(stage: Stage, balance: Balance) -> None:
    target = stage.target()
    balancer = balance([target])
    for _ in range(5):
        with Client(balancer.port) as client:
            client.ask(GET)
            client.ask(GET)
    assert target.connections == 1


@pytest.mark.parametrize("count", [2, 50, 1000])
def test_pipelined_requests_are_answered_in_order(shared: Balancer, shared_target: Target, count: int) -> None:
    shared_target.forget(names_itself)
    requests = b"".join(get(f"/{i}") if i % 3 else post(b"body %d" % i, path=f"/{i}") for i in range(count))
    with Client(shared.port) as client:
        sender = threading.Thread(target=client.send, args=(requests,))
        sender.start()
        got = [client.answer().body for _ in range(count)]
        sender.join()
    assert got == [b"/%d" % i for i in range(count)]
    assert shared_target.paths == [f"/{i}" for i in range(count)]


def test_a_pipelined_request_behind_a_chunked_body_is_found(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(names_itself)
    first = get("/1", "Transfer-Encoding: chunked") + chunked(b"abc", trailers=b"X-T: 1\r\n")
    with Client(shared.port) as client:
        client.send(first + get("/2") + get("/3", "Connection: close"))
        assert [client.answer().body for _ in range(3)] == [b"/1", b"/2", b"/3"]
        assert client.rest() == b""


def test_nothing_behind_a_request_that_closes_is_taken(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(names_itself)
    with Client(shared.port) as client:
        client.send(get("/1", "Connection: close") + get("/2"))
        assert client.answer().body == b"/1"
        assert client.rest() == b""
    assert shared_target.paths == ["/1"]


def test_an_empty_line_before_a_request_is_passed_over(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(names_itself)
    with Client(shared.port) as client:
        assert client.ask(GET).body == b"/"
        client.send(b"\r\n" + get("/2"))
        assert client.answer().body == b"/2"


def test_continue_is_asked_of_the_target_and_relayed(shared: Balancer, shared_target: Target) -> None:
    async def permits(call: Call) -> None:
        await call.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await echoes(call)

    shared_target.forget(permits)
    with Client(shared.port) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert client.answer().status == 100
        client.send(b"hello")
        assert client.answer().body == b"hello"
    assert shared_target.requests[0].get("expect") == "100-continue"


def test_a_final_answer_instead_of_continue_closes_the_connection(shared: Balancer, shared_target: Target) -> None:
    async def refuses(call: Call) -> None:
        await call.send(answer("417 Expectation Failed", b"no"))

    shared_target.forget(refuses)
    with Client(shared.port) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        message = client.answer()
        assert (message.status, message.body) == (417, b"no")
        # Whether the five bytes still come is unknown, so the next request's place is.
        assert message.get("connection") == "close"
        assert client.rest() == b""


def test_a_client_of_http_1_0_gets_no_interim_answer(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(says(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", answer()))
    with Client(shared.port) as client:
        assert client.ask(get("/", version="1.0")).status == 200


def test_early_hints_are_relayed_before_the_answer_is_there(shared: Balancer, shared_target: Target) -> None:
    async def hints(call: Call) -> None:
        await call.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
        await call.send(b"HTTP/1.1 103 Early Hints\r\nLink: </two.css>\r\n\r\n")
        await call.body()
        await call.send(answer())

    shared_target.forget(hints)
    with Client(shared.port) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
        first = client.answer()
        assert (first.status, first.get("link")) == (103, "</style.css>; rel=preload")
        assert client.answer().get("link") == "</two.css>"
        client.send(b"x")
        assert client.answer().body == b"ok"


def test_an_answer_before_the_request_s_body_is_whole_reaches_the_client(
    shared: Balancer, shared_target: Target
) -> None:
    async def refuses(call: Call) -> None:
        await call.send(answer("413 Content Too Large", b"too much"))

    shared_target.forget(refuses)
    with Client(shared.port) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
        message = client.answer()
        assert (message.status, message.body) == (413, b"too much")
        assert message.get("connection") == "close"
        # What is left of the body must not be read as a request, nor reset the answer away.
        client.send(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.rest() == b""
    assert "/smuggled" not in shared_target.paths
    eventually(shared.in_flight, lambda count: count == 0)


def test_a_target_that_answers_early_and_closes_still_has_its_answer_relayed(
    shared: Balancer, shared_target: Target
) -> None:
    async def refuses(call: Call) -> None:
        await call.send(answer("403 Forbidden", b"no", "Connection: close"))
        call.close()

    shared_target.forget(refuses)
    with Client(shared.port) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n12345")
        message = client.answer()
        assert (message.status, message.body) == (403, b"no")


def test_the_connection_to_a_target_that_answered_early_is_not_used_again(
    shared: Balancer, shared_target: Target
) -> None:
    async def answers_early(call: Call) -> None:
        await call.send(answer("200 OK", b"early"))
        await call.gone()

    shared_target.forget(answers_early)
    with Client(shared.port) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n12345")
        assert client.answer().body == b"early"
    shared_target.forget(names_itself)
    with Client(shared.port) as client:
        assert client.ask(get("/next")).body == b"/next"
    assert shared_target.paths == ["/next"]


def test_a_target_that_says_more_than_it_announced_is_not_believed_a_second_time(
    stage: Stage, balance: Balance
) -> None:
    target = stage.target(says(answer("200 OK", b"ok") + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"))
    balancer = balance([target])
    with Client(balancer.port) as client:
        for _ in range(3):
            assert client.ask(GET).body == b"ok"
    assert target.connections == 3


def test_an_answer_that_nobody_asked_for_does_not_reach_the_next_client(stage: Stage, balance: Balance) -> None:
    given_up = stage.gate()

    async def speaks_up(call: Call) -> None:
        await call.send(answer("200 OK", b"ok"))
        if call.request.target == "/first":
            await call.send(answer("200 OK", b"poison"))
            await call.gone()
            given_up.reached += 1

    target = stage.target(speaks_up)
    balancer = balance([target])
    with Client(balancer.port) as client:
        assert client.ask(get("/first")).body == b"ok"
        eventually(lambda: given_up.reached)
        for _ in range(5):
            assert client.ask(get("/next")).body == b"ok"
