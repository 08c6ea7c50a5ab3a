"""Which fields a target and a client get to see."""

import re

import pytest

from tests.scenarios.support.balancer import Balancer
from tests.scenarios.support.client import Client, fetch, get
from tests.scenarios.support.messages import Message
from tests.scenarios.support.stage import Target, answer, says


def seen_by_target(balancer: Balancer, target: Target, *fields: str, version: str = "1.1") -> Message:
    """The request as it arrives at the target."""
    target.forget(says(answer()))
    assert fetch(balancer.port, get("/a?b=c", *fields, version=version)).status == 200
    assert len(target.requests) == 1
    return target.requests[0]


def seen_by_client(balancer: Balancer, target: Target, *fields: str) -> Message:
    """The answer as it arrives at the client."""
    target.forget(says(answer("200 OK", b"ok", *fields)))
    return fetch(balancer.port)


def test_the_request_line_the_host_and_unknown_fields_pass_unchanged(shared: Balancer, shared_target: Target) -> None:
    request = seen_by_target(shared, shared_target, "X-Odd:  two  spaces ", "Cookie: a=b", "accept: */*")
    assert request.line == b"GET /a?b=c HTTP/1.1"
    assert request.get("host") == "example.org"
    assert b"\r\nX-Odd:  two  spaces \r\n" in request.head
    assert b"\r\nCookie: a=b\r\n" in request.head
    assert b"\r\naccept: */*\r\n" in request.head


@pytest.mark.parametrize(
    "path", ["/%2e%2e/a", "/a/../b", "//a", "/a%2fb", "/%00", "/%c0%af", "/a;b/./c", "/a?/../%0d%0a", "/%"]
)
def test_a_path_reaches_the_target_byte_for_byte(shared: Balancer, shared_target: Target, path: str) -> None:
    """What it means is the target's to say, so nothing here may read it otherwise."""
    shared_target.forget(says(answer()))
    assert fetch(shared.port, get(path)).status == 200
    assert shared_target.requests[0].line == f"GET {path} HTTP/1.1".encode()


def test_the_client_the_scheme_and_the_host_are_told(shared: Balancer, shared_target: Target) -> None:
    request = seen_by_target(shared, shared_target)
    assert request.get("x-forwarded-for") == "127.0.0.1"
    assert request.get("x-forwarded-proto") == "http"
    assert request.get("x-forwarded-host") == "example.org"
    assert request.get("via") == "1.1 equipoise"


def test_forwarded_for_and_via_are_appended_to(shared: Balancer, shared_target: Target) -> None:
    request = seen_by_target(
        shared, shared_target, "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2", "Via: 1.0 edge"
    )
    assert request.get("x-forwarded-for") == "192.0.2.1, 192.0.2.2, 127.0.0.1"
    assert request.get("via") == "1.0 edge, 1.1 equipoise"


def test_a_client_cannot_choose_the_forwarded_scheme_and_host(shared: Balancer, shared_target: Target) -> None:
    request = seen_by_target(shared, shared_target, "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example")
    assert request.get("x-forwarded-proto") == "http"
    assert request.get("x-forwarded-host") == "example.org"


def test_one_client_s_forwarded_fields_do_not_stick_to_its_next_request(
    shared: Balancer, shared_target: Target
) -> None:
    shared_target.forget(says(answer()))
    with Client(shared.port) as client:
        client.ask(get("/1", "X-Forwarded-For: 192.0.2.1", "Via: 1.0 edge"))
        client.ask(get("/2"))
        client.ask(get("/3").replace(b"example.org", b"other.example"))
    assert [request.get("x-forwarded-for") for request in shared_target.requests] == [
        "192.0.2.1, 127.0.0.1",
        "127.0.0.1",
        "127.0.0.1",
    ]
    assert [request.get("x-forwarded-host") for request in shared_target.requests] == [
        "example.org",
        "example.org",
        "other.example",
    ]


def test_the_request_id_of_the_client_is_kept_and_given_back(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(says(answer()))
    message = fetch(shared.port, get("/", "X-Request-Id: abc-123"))
    assert shared_target.requests[0].get("x-request-id") == "abc-123"
    assert message.get("x-request-id") == "abc-123"


def test_a_request_without_an_id_gets_one_of_its_own(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(says(answer()))
    answers = [fetch(shared.port) for _ in range(3)]
    ids = [message.get("x-request-id") for message in answers]
    assert ids == [request.get("x-request-id") for request in shared_target.requests]
    assert len(set(ids)) == 3
    assert all(re.fullmatch("[0-9a-f]{16}", each or "") for each in ids)


@pytest.mark.parametrize(
    "field",
    [
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic eDp5",
        "Proxy-Authenticate: Basic",
        "TE: trailers",
        "Trailer: X-Sum",
        "Upgrade: h2c",
        "Connection: close",
    ],
)
def test_fields_for_one_connection_do_not_reach_the_target(shared: Balancer, shared_target: Target, field: str) -> None:
    request = seen_by_target(shared, shared_target, "X-Before: 1", field, "X-After: 2")
    name = field.partition(":")[0]
    assert request.all(name) == []
    assert (request.get("x-before"), request.get("x-after")) == ("1", "2")


def test_fields_that_the_connection_field_names_do_not_reach_the_target(
    shared: Balancer, shared_target: Target
) -> None:
    request = seen_by_target(
        shared, shared_target, "X-Secret: 1", "Connection: X-Secret, keep-alive, x-more", "X-More: 2", "X-Kept: 3"
    )
    assert request.all("x-secret") == []
    assert request.all("x-more") == []
    assert request.all("connection") == []
    assert request.get("x-kept") == "3"


def test_the_connection_field_cannot_take_away_what_the_balancer_adds(shared: Balancer, shared_target: Target) -> None:
    request = seen_by_target(
        shared,
        shared_target,
        "X-Forwarded-For: 192.0.2.9",
        "Connection: X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, Via, X-Request-Id, Host",
    )
    assert request.get("x-forwarded-for") == "127.0.0.1"
    assert request.get("x-forwarded-proto") == "http"
    assert request.get("x-forwarded-host") == "example.org"
    assert request.get("via") is not None
    assert request.get("x-request-id")
    assert request.get("host") == "example.org"


def test_the_absolute_form_reaches_the_target_in_origin_form(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(says(answer()))
    request = b"GET http://example.org/a?b HTTP/1.1\r\nHost: example.org\r\n\r\n"
    assert fetch(shared.port, request).status == 200
    assert shared_target.requests[0].line == b"GET /a?b HTTP/1.1"
    assert shared_target.requests[0].get("host") == "example.org"


def test_a_request_of_http_1_0_without_a_host_gets_one(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(says(answer()))
    assert fetch(shared.port, b"GET / HTTP/1.0\r\n\r\n").status == 200
    request = shared_target.requests[0]
    assert request.line == b"GET / HTTP/1.1"
    assert request.get("host") == f"127.0.0.1:{shared.port}"
    assert request.get("via") == "1.0 equipoise"


def test_the_status_line_and_unknown_fields_of_the_answer_pass_unchanged(
    shared: Balancer, shared_target: Target
) -> None:
    shared_target.forget(
        says(
            b"HTTP/1.1 299 Odd But Fine\r\nX-Odd:  a  b \r\n"
            b"set-cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
        )
    )
    message = fetch(shared.port)
    assert message.line == b"HTTP/1.1 299 Odd But Fine"
    assert b"\r\nX-Odd:  a  b \r\n" in message.head
    assert message.all("set-cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize(
    "field",
    [
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Connection: keep-alive",
        "Upgrade: h2c",
        "Proxy-Authenticate: Basic",
    ],
)
def test_fields_for_one_connection_do_not_reach_the_client(shared: Balancer, shared_target: Target, field: str) -> None:
    message = seen_by_client(shared, shared_target, "X-Before: 1", field, "X-After: 2")
    assert message.all(field.partition(":")[0]) == []
    assert (message.get("x-before"), message.get("x-after")) == ("1", "2")


def test_fields_that_the_answer_s_connection_field_names_do_not_reach_the_client(
    shared: Balancer, shared_target: Target
) -> None:
    message = seen_by_client(shared, shared_target, "X-Hop: 1", "Connection: x-hop", "X-Kept: 2")
    assert message.all("x-hop") == []
    assert message.get("x-kept") == "2"


def test_an_answer_in_http_1_0_becomes_one_in_http_1_1(shared: Balancer, shared_target: Target) -> None:
    shared_target.forget(says(b"HTTP/1.0 200 Fine\r\nContent-Length: 2\r\n\r\nok"))
    message = fetch(shared.port)
    assert message.line == b"HTTP/1.1 200 Fine"
    assert message.body == b"ok"
