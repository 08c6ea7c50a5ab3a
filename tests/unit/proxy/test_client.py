"""What targets and the access log are told of a client."""

import pytest

from equipoise.proxy.client import Client, version_of
from equipoise.wire.hpack_header import header
from equipoise.wire.http1 import RequestHead
from equipoise.wire.http2_rules import Http2Request
from tests.support.ledgers import request

PLAIN = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Connection:
    """What a client asks its transport for."""

    def __init__(
        self, peer: tuple[str, int] | None = ("192.0.2.1", 5), own: str = "192.0.2.80", **info: object
    ) -> None:
        self.info = {"peername": peer, "sockname": (own, 8080), **info}

    def get_extra_info(self, name: str) -> object:
        return self.info.get(name)


def request2(*more: tuple[bytes, bytes]) -> Http2Request:
    head = Http2Request(1)
    fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"x"), (b":path", b"/"), *more]
    head.read([header(name, value) for name, value in fields], True, False)
    return head


def fields(client: Client, head: RequestHead | Http2Request) -> dict[bytes, bytes]:
    return {field.name: field.value for field in client.fields(head)}


def test_a_client_has_its_address_as_its_name() -> None:
    client = Client(Connection())
    assert (client.name, client.address) == ("192.0.2.1", b"192.0.2.1")
    assert client.log_piece == b'","client":"192.0.2.1","method":"'


def test_a_client_on_a_socket_without_addresses_has_no_name() -> None:
    assert Client(Connection(peer=None)).name == ""


@pytest.mark.parametrize(("secure", "scheme"), [(None, b"http"), (object(), b"https")])
def test_the_scheme_is_that_of_the_connection(secure: object, scheme: bytes) -> None:
    client = Client(Connection(ssl_object=secure))
    assert client.scheme == scheme
    assert b"X-Forwarded-Proto: " + scheme + b"\r\n" in client.lines(request(PLAIN))
    assert fields(client, request(PLAIN))[b"x-forwarded-proto"] == scheme


def test_a_target_is_told_where_a_request_came_from_in_lines() -> None:
    assert Client(Connection()).lines(request(PLAIN)) == (
        b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nVia: 1.1 equipoise\r\nX-Forwarded-Host: x\r\n"
        b"X-Request-Id: "
    )


def test_a_target_is_told_where_a_request_came_from_in_fields() -> None:
    assert fields(Client(Connection()), request2()) == {
        b"x-forwarded-for": b"192.0.2.1",
        b"x-forwarded-proto": b"http",
        b"via": b"2 equipoise",
        b"x-forwarded-host": b"x",
    }


def test_those_that_a_request_came_through_are_named_before() -> None:
    came = b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 10.0.0.1\r\nVia: 1.0 a\r\n\r\n"
    told = fields(Client(Connection()), request(came))
    assert (told[b"x-forwarded-for"], told[b"via"]) == (b"10.0.0.1, 192.0.2.1", b"1.0 a, 1.1 equipoise")
    lines = Client(Connection()).lines(request2((b"x-forwarded-for", b"10.0.0.1"), (b"via", b"1.0 a")))
    assert lines.startswith(b"X-Forwarded-For: 10.0.0.1, 192.0.2.1\r\n")
    assert b"\r\nVia: 1.0 a, 2 equipoise\r\n" in lines


@pytest.mark.parametrize(("own", "host"), [("192.0.2.80", b"192.0.2.80:8080"), ("::1", b"[::1]:8080")])
def test_a_request_without_a_host_is_for_the_address_that_it_came_to(own: str, host: bytes) -> None:
    client = Client(Connection(own=own))
    head = request(b"GET / HTTP/1.0\r\n\r\n")
    assert client.lines(head).startswith(b"Host: " + host + b"\r\n")
    assert b"\r\nVia: 1.0 equipoise\r\n" in client.lines(head)
    assert fields(client, head)[b"x-forwarded-host"] == host


def test_what_is_remembered_for_one_request_is_not_said_of_another() -> None:
    """The fields of the host asked for last are kept: each kind of request is told apart from it."""
    client = Client(Connection())
    heads = [
        request(PLAIN),
        request(b"GET / HTTP/1.1\r\nHost: y\r\n\r\n"),
        request(PLAIN),
        request(b"GET / HTTP/1.1\r\nHost: x\r\nVia: 1.1 a\r\n\r\n"),
        request(PLAIN),
        request(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n"),
        request(PLAIN),
    ]
    for head in heads:
        fresh = Client(Connection())
        assert client.lines(head) == fresh.lines(head)
        assert fields(client, head) == fields(fresh, head)


def test_what_is_remembered_is_made_once() -> None:
    client = Client(Connection())
    first, second = request(PLAIN), request(PLAIN)
    assert client.lines(first) is client.lines(second)
    assert client.fields(first) is client.fields(second)


@pytest.mark.parametrize(("head", "version"), [(request(PLAIN), 1), (request(b"GET / HTTP/1.0\r\n\r\n"), 0)])
def test_the_version_of_a_request_of_http_1_is_its_minor_one(head: RequestHead, version: int) -> None:
    assert version_of(head) == version


def test_the_version_of_any_other_is_2() -> None:
    assert version_of(request2()) == 2
