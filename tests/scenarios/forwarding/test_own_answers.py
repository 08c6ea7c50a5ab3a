"""The answers of the balancer itself: their status, and that they are problem documents."""

import json
from typing import Any

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import GET, Client, fetch, get
from tests.scenarios.support.messages import Message
from tests.scenarios.support.stage import Stage, Target, answer, hangs, resets, says


def problem(message: Message) -> dict[str, Any]:
    """The problem document that an answer must be (RFC 9457)."""
    assert message.get("content-type") == "application/problem+json"
    document: dict[str, Any] = json.loads(message.body)
    assert document["status"] == message.status
    assert document["title"]
    assert document["detail"]
    return document


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="no host"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, id="a TLS hello"),
        pytest.param(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400, id="another version"),
        pytest.param(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405, id="connect"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, id="gzip, chunked"
        ),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: magic\r\n\r\n", 417, id="expect"),
        pytest.param(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, id="long target"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431, id="large head"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 101 + b"\r\n", 431, id="many fields"),
    ],
)
def test_a_request_that_is_refused_gets_a_problem_and_a_close(
    shared: Balancer, shared_target: Target, request_: bytes, status: int
) -> None:
    shared_target.forget(says(answer()))
    with Client(shared.port) as client:
        message = client.send(request_).answer()
        assert message.status == status
        problem(message)
        assert message.get("connection") == "close"
        assert client.rest() == b""
    assert shared_target.received == b""


def test_no_route_is_404_and_the_connection_is_kept(stage: Stage, balance: Balance) -> None:
    setting = Setting(more='[[routes]]\nhost = "known.example"\npath = "/api"\npool = "default"')
    balancer = balance([stage.target()], setting)
    with Client(balancer.port) as client:
        message = client.ask(GET)
        assert message.status == 404
        assert problem(message)["kind"] == "no_route"
        assert client.ask(b"GET /api/x HTTP/1.1\r\nHost: Known.Example:80\r\n\r\n").body == b"ok"
        assert client.ask(b"GET /other HTTP/1.1\r\nHost: known.example\r\n\r\n").status == 404


def test_routes_lead_to_their_pools_and_the_first_wins(stage: Stage, balance: Balance) -> None:
    first, second = stage.target(says(answer("200 OK", b"first"))), stage.target(says(answer("200 OK", b"second")))
    more = (
        f'[pools.other]\ntargets = ["{second.url}"]\n'
        '[[routes]]\npath = "/b"\npool = "other"\n[[routes]]\nhost = "*.b.example"\npool = "other"\n'
        '[[routes]]\npool = "default"'
    )
    balancer = balance([first], Setting(more=more))
    assert fetch(balancer.port, get("/a")).body == b"first"
    assert fetch(balancer.port, get("/b?x")).body == b"second"
    assert fetch(balancer.port, b"GET / HTTP/1.1\r\nHost: www.b.example\r\n\r\n").body == b"second"
    assert fetch(balancer.port, b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n").body == b"first"


def test_a_target_that_resets_is_502(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target(resets)])
    message = fetch(balancer.port, GET.replace(b"GET", b"POST"))
    assert message.status == 502
    assert problem(message)["kind"] in {"reset", "closed_early"}


def test_the_answer_of_the_balancer_to_head_has_no_body(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target(resets)])
    with Client(balancer.port) as client:
        message = client.ask(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert message.status == 502
        assert int(message.get("content-length") or 0) > 0
        client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.answer("HEAD").status == 502


def test_no_target_is_503_with_retry_after(stage: Stage, balance: Balance) -> None:
    balancer = balance([])
    message = fetch(balancer.port)
    assert message.status == 503
    assert int(message.get("retry-after") or 0) >= 1
    assert problem(message)["kind"] == "no_target"
    assert stage.targets == []


def test_a_target_that_does_not_answer_is_504(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target(hangs)], Setting(more='[limits]\nresponse_timeout = "200ms"'))
    message = fetch(balancer.port, GET.replace(b"GET", b"POST"))
    assert message.status == 504
    assert problem(message)["kind"] == "response_timeout"


def test_an_own_answer_carries_the_request_s_id(stage: Stage, balance: Balance) -> None:
    balancer = balance([])
    message = fetch(balancer.port, get("/", "X-Request-Id: mine"))
    assert message.get("x-request-id") == "mine"
    assert problem(message)["request_id"] == "mine"
    assert stage.targets == []
