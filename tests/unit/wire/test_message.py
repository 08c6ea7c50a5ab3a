"""Messages in the form of the other protocol."""

import pytest

from equipoise.wire.hpack_header import Header, header
from equipoise.wire.http2_rules import Http2Request, Http2Response
from equipoise.wire.message import (
    fields_of,
    lines_of,
    passing,
    request_fields,
    request_lines,
    response_fields,
    response_lines,
)
from tests.support.wire import request, response

Pair = tuple[bytes, bytes]

HEAD: list[Pair] = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"x"), (b":path", b"/")]
CONNECT: list[Pair] = [
    *((b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"http")),
    *((b":authority", b"x"), (b":path", b"/chat")),
]


def request2(*pairs: Pair, end: bool = True) -> Http2Request:
    head = Http2Request(1)
    head.read([header(name, value) for name, value in pairs], end, True)
    return head


def response2(*pairs: Pair, status: bytes = b"200", end: bool = False) -> Http2Response:
    head = Http2Response(1)
    head.read([header(name, value) for name, value in [(b":status", status), *pairs]], end, False)
    return head


def pairs_of(fields: list[Header]) -> list[Pair]:
    return [(field.name, field.value) for field in fields]


# Requests to HTTP/1


def test_a_request_is_its_line_and_its_fields() -> None:
    head = request2(*HEAD[:3], (b":path", b"/a?b"), (b"accept", b"*/*"), (b"x-empty", b""))
    assert b"".join(request_lines(head, True)) == (b"GET /a?b HTTP/1.1\r\nHost: x\r\naccept: */*\r\nx-empty: \r\n")


def test_the_host_is_the_authority_and_is_said_once() -> None:
    assert b"".join(request_lines(request2(*HEAD, (b"host", b"X")), True)) == b"GET / HTTP/1.1\r\nHost: x\r\n"


def test_a_request_with_a_host_alone_keeps_it() -> None:
    head = request2(HEAD[0], HEAD[1], HEAD[3], (b"host", b"y"))
    assert b"".join(request_lines(head, True)) == b"GET / HTTP/1.1\r\nHost: y\r\n"


LEFT_OUT: list[Pair] = [
    (b"te", b"trailers"),
    (b"trailer", b"x-sum"),
    (b"via", b"2 a"),
    (b"x-forwarded-for", b"10.0.0.1"),
    (b"x-forwarded-host", b"evil"),
    (b"x-forwarded-proto", b"https"),
    (b"x-request-id", b"mine"),
    (b"proxy-authorization", b"Basic x"),
    (b"proxy-authenticate", b"Basic"),
    (b"x_forwarded_for", b"10.0.0.1"),
    (b"transfer_encoding", b"chunked"),
]


@pytest.mark.parametrize("pair", LEFT_OUT, ids=lambda pair: pair[0].decode())
def test_what_is_for_one_connection_or_ours_to_say_is_left_out_of_lines(pair: Pair) -> None:
    assert b"".join(request_lines(request2(*HEAD, pair), True)) == b"GET / HTTP/1.1\r\nHost: x\r\n"


def test_a_body_of_unknown_length_is_chunked_and_its_trailers_are_announced() -> None:
    head = request2(*HEAD, (b"trailer", b"x-sum"), end=False)
    assert request_lines(head, False)[1:] == [b"Transfer-Encoding: chunked\r\n", b"Trailer: x-sum\r\n"]


def test_a_body_of_known_length_is_not_chunked() -> None:
    head = request2(*HEAD, (b"content-length", b"5"), end=False)
    assert request_lines(head, False)[1:] == [b"content-length: 5\r\n"]


def test_an_extended_connect_is_the_get_that_it_stands_for() -> None:
    assert b"".join(request_lines(request2(*CONNECT, end=False), True)) == b"GET /chat HTTP/1.1\r\nHost: x\r\n"


def test_crumbs_of_a_cookie_become_one_field() -> None:
    head = request2(*HEAD, (b"cookie", b"a=b"), (b"x", b"y"), (b"cookie", b"c=d"))
    assert request_lines(head, True)[1:] == [b"cookie: a=b; c=d\r\n", b"x: y\r\n"]


# Requests to HTTP/2


def test_a_request_of_http_2_goes_on_as_it_came() -> None:
    head = request2(*HEAD, (b"accept", b"*/*"), (b"te", b"trailers"), (b"trailer", b"x-sum"))
    assert pairs_of(request_fields(head, b"http", b"x")) == [*HEAD, *pairs_of(head.fields[4:])]


def test_a_request_without_an_authority_gets_one() -> None:
    head = request2(HEAD[0], HEAD[1], HEAD[3], (b"host", b"y"))
    assert pairs_of(request_fields(head, b"http", b"x")) == [(b":authority", b"y"), HEAD[0], HEAD[1], HEAD[3]]


def test_what_is_ours_to_say_is_left_out_of_fields() -> None:
    ours = [pair for pair in LEFT_OUT if pair[0] not in {b"te", b"trailer"}]
    assert pairs_of(request_fields(request2(*HEAD, *ours), b"http", b"x")) == HEAD


def test_a_request_of_http_1_becomes_fields_in_lower_case() -> None:
    head = request(b"PATCH /a?b HTTP/1.1\r\nHost: x\r\nAccept:  */* \r\nX-Empty:\r\nX: a:b\r\n\r\n")
    assert pairs_of(request_fields(head, b"https", b"x")) == [
        *((b":method", b"PATCH"), (b":scheme", b"https"), (b":authority", b"x"), (b":path", b"/a?b")),
        *((b"accept", b"*/*"), (b"x-empty", b""), (b"x", b"a:b")),
    ]


def test_a_request_that_names_no_host_is_for_the_one_that_is_given() -> None:
    head = request(b"GET / HTTP/1.0\r\n\r\n")
    assert pairs_of(request_fields(head, b"http", b"192.0.2.80:8080"))[2] == (b":authority", b"192.0.2.80:8080")


def test_a_method_that_is_not_common_goes_on_too() -> None:
    head = request(b"PURGE / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert pairs_of(request_fields(head, b"http", b"x"))[0] == (b":method", b"PURGE")


@pytest.mark.parametrize(
    "line",
    [b"Connection: close", b"Connection: x\r\nX: y", b"Keep-Alive: 1", b"TE: trailers", b"Upgrade: h2c", b"Via: 1.1 a"],
)
def test_fields_of_one_connection_do_not_become_fields_of_http_2(line: bytes) -> None:
    head = request(b"GET / HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n")
    assert len(request_fields(head, b"http", b"x")) == 4


def test_a_chunked_body_says_its_trailers_and_no_coding() -> None:
    head = request(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
    assert pairs_of(request_fields(head, b"http", b"x"))[4:] == [(b"trailer", b"X-Sum")]


def test_a_known_length_is_said() -> None:
    head = request(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
    assert pairs_of(request_fields(head, b"http", b"x"))[4:] == [(b"content-length", b"5")]


# Responses


def test_an_answer_is_its_line_and_its_fields() -> None:
    head = response2((b"x", b"a:b"), (b"set-cookie", b"c"), (b"set-cookie", b"d"), status=b"404")
    assert b"".join(response_lines(head)) == (b"HTTP/1.1 404 Not Found\r\nx: a:b\r\nset-cookie: c\r\nset-cookie: d\r\n")


def test_a_status_without_a_name_has_an_empty_reason() -> None:
    assert response_lines(response2(status=b"599")) == [b"HTTP/1.1 599 \r\n"]


@pytest.mark.parametrize("pair", [(b"x-request-id", b"a"), (b"proxy-authenticate", b"Basic")])
def test_what_is_ours_to_say_is_left_out_of_an_answer(pair: Pair) -> None:
    head = response2(pair)
    assert response_lines(head) == [b"HTTP/1.1 200 OK\r\n"]
    assert pairs_of(response_fields(head)) == [(b":status", b"200")]


def test_an_answer_of_http_2_goes_on_as_it_came() -> None:
    head = response2((b"x", b"y"), (b"trailer", b"x-sum"))
    assert pairs_of(response_fields(head)) == [(b":status", b"200"), (b"x", b"y"), (b"trailer", b"x-sum")]


def test_an_answer_of_http_1_becomes_fields_in_lower_case() -> None:
    head = response(b"HTTP/1.1 404 Nowhere: not here\r\nX-Name:  a:b \r\nContent-Length: 2\r\n\r\n")
    assert pairs_of(response_fields(head)) == [(b":status", b"404"), (b"x-name", b"a:b"), (b"content-length", b"2")]


def test_a_chunked_answer_says_its_trailers_and_no_coding() -> None:
    head = response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
    assert pairs_of(response_fields(head)) == [(b":status", b"200"), (b"trailer", b"X-Sum")]


def test_an_answer_with_an_empty_reason_keeps_its_status() -> None:
    assert pairs_of(response_fields(response(b"HTTP/1.1 299 \r\n\r\n"))) == [(b":status", b"299")]


# Fields


def test_lines_become_fields_over_the_borders_of_runs() -> None:
    assert pairs_of(fields_of([b"A: b\r\n", b"C:\td \r\nE: f\r\n"])) == [(b"a", b"b"), (b"c", b"d"), (b"e", b"f")]


def test_no_lines_are_no_fields() -> None:
    assert fields_of([]) == []


def test_fields_become_lines() -> None:
    assert lines_of([header(b"a", b"b"), header(b"c", b"")]) == b"a: b\r\nc: \r\n"


def test_a_list_in_which_nothing_changes_is_passed_on_itself() -> None:
    head = request2(*HEAD, (b"cookie", b"a=b"))
    assert passing(head) is head.fields
