"""Heads of requests and responses. Each case whole, byte by byte and with a tail (tests.support.wire sees to that)."""

from collections.abc import Callable

import pytest

from equipoise.errors import ProxyError
from equipoise.wire.http1 import RequestHead, ResponseHead, is_authority, is_token, parse_length
from tests.support.wire import (
    FIELDS,
    HEAD_BYTES,
    TARGET_BYTES,
    Head,
    new_request,
    new_response,
    passes,
    refused,
    refused_request,
    refused_response,
    request,
    response,
)

LINE = b"GET / HTTP/1.1\r\n"
HOST = b"Host: a\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def asked(*lines: bytes) -> RequestHead:
    """A request with these field lines after its Host."""
    return request(LINE + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


def not_asked(*lines: bytes) -> ProxyError:
    return refused_request(LINE + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


def answered(*lines: bytes) -> ResponseHead:
    return response(OK + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


def not_answered(*lines: bytes) -> ProxyError:
    return refused_response(OK + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


def out(head: Head) -> bytes:
    return b"".join(head.keep)


# -- the request line ------------------------------------------------------------------------------------------------


def test_a_plain_request_is_read_and_kept_whole() -> None:
    head = request(b"PATCH /a?b=%20 HTTP/1.1\r\nhost: a:80\r\nX: y\r\n\r\n")
    assert (head.method, head.target, head.host, head.minor) == (b"PATCH", b"/a?b=%20", b"a:80", 1)
    assert (head.content_length, head.chunked, head.close) == (-1, False, False)
    assert head.keep == [b"PATCH /a?b=%20 HTTP/1.1\r\nhost: a:80\r\nX: y\r\n"]


def test_one_empty_line_before_the_request_is_left_out() -> None:
    assert request(b"\r\n" + LINE + HOST + b"\r\n").keep == [LINE + HOST]


@pytest.mark.parametrize("before", [b"\r\n\r\n", b"\n", b"\r", b"\r\r\n", b" ", b"\t", b"\x00"])
def test_anything_else_before_the_request_is_refused(before: bytes) -> None:
    assert refused_request(before + LINE + HOST + b"\r\n").status == 400


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.2",
        b"GET / HTTP/2.0",
        b"PRI * HTTP/2.0",
        b"GET / HTTP/0.9",
        b"GET / HTTP/1",
        b"GET / HTTP/1.",
        b"GET / HTTP/1.10",
        b"GET / HTTP/1.01",
        b"GET / HTTP/01.1",
        b"GET / HTTP/+1.1",
        b"GET / http/1.1",
        b"GET / HTTP/1,1",
        b"GET / HTTPS/1.1",
        b"GET / HTTP/1.\xb9",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/1.1\t",
        b"GET / HTTP/1.1\r",
        b"GET /  HTTP/1.1",
        b"GET /\tHTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET / X HTTP/1.1",
        b"GET /\x0bHTTP/1.1",
        b"GET\x0c/ HTTP/1.1",
        b" GET / HTTP/1.1",
        b"GET /",
        b"GET",
        b"GET ",
        b"GET HTTP/1.1",
        b"/ HTTP/1.1",
        b"",
        b"GE\x00T / HTTP/1.1",
        b"G(T / HTTP/1.1",
        b"G\xc3\x89T / HTTP/1.1",
        b"GET: / HTTP/1.1",
    ],
)
def test_a_request_line_outside_the_grammar_is_refused(line: bytes) -> None:
    assert refused_request(line + b"\r\n" + HOST + b"\r\n").status == 400


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\r\n", b"\n\r\n"])
def test_a_request_line_that_does_not_end_in_crlf_is_refused(end: bytes) -> None:
    assert refused_request(b"GET / HTTP/1.1" + end + HOST + b"\r\n").status == 400


def test_a_target_is_visible_ascii_without_fragment() -> None:
    passing = {
        b for b in range(256) if passes(new_request, b"GET /a" + bytes([b]) + b"b HTTP/1.1\r\n" + HOST + b"\r\n")
    }
    assert passing == set(range(0x21, 0x7F)) - {0x23}


def test_a_method_is_a_token_in_its_own_case() -> None:
    assert request(b"purge-all! / HTTP/1.1\r\n" + HOST + b"\r\n").method == b"purge-all!"


@pytest.mark.parametrize("line", [b"CONNECT a:443 HTTP/1.1", b"CONNECT / HTTP/1.1", b"CONNECT http://a/ HTTP/1.0"])
def test_connect_is_405_in_any_form(line: bytes) -> None:
    assert refused_request(line + b"\r\n" + HOST + b"\r\n").status == 405


def test_a_target_as_long_as_allowed_passes() -> None:
    target = b"/" + b"a" * (TARGET_BYTES - 1)
    assert request(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n").target == target


def test_a_longer_target_is_414_before_it_ends() -> None:
    assert refused_request(b"GET /" + b"a" * TARGET_BYTES + b" HTTP/1.1\r\n" + HOST + b"\r\n").status == 414
    with pytest.raises(ProxyError) as error:
        new_request().read(b"GET /" + b"a" * TARGET_BYTES)
    assert error.value.status == 414


def test_an_endless_method_is_431() -> None:
    with pytest.raises(ProxyError) as error:
        new_request().read(b"G" * (HEAD_BYTES + 1))
    assert error.value.status == 431


def test_a_head_as_large_as_allowed_passes_and_one_byte_more_is_431() -> None:
    empty = LINE + HOST + b"X: \r\n\r\n"
    fit = empty.replace(b"X: ", b"X: " + b"a" * (HEAD_BYTES - len(empty)))
    assert RequestHead(HEAD_BYTES, FIELDS, TARGET_BYTES).read(fit)
    assert len(fit) == HEAD_BYTES
    with pytest.raises(ProxyError) as error:
        new_request().read(fit.replace(b"X: ", b"X: a"))
    assert error.value.status == 431


def test_too_many_fields_are_431() -> None:
    assert not_asked(*[b"X: y"] * FIELDS).status == 431
    assert out(asked(*[b"X: y"] * (FIELDS - 1))).count(b"X: y\r\n") == FIELDS - 1


# -- HTTP/1.0 --------------------------------------------------------------------------------------------------------


def test_http_1_0_goes_on_as_http_1_1() -> None:
    head = request(b"GET /a HTTP/1.0\r\nX: y\r\n\r\n")
    assert out(head) == b"GET /a HTTP/1.1\r\nX: y\r\n"
    assert (head.minor, head.host, head.close) == (0, None, True)


def test_http_1_0_stays_open_only_when_asked_to() -> None:
    assert not request(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").close
    assert request(b"GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n").close


def test_http_1_0_has_no_upgrade_and_no_expectation() -> None:
    head = request(b"GET / HTTP/1.0\r\nUpgrade: x\r\nConnection: upgrade\r\nExpect: 100-continue\r\n\r\n")
    assert (head.upgrade, head.expect_continue) == (None, False)


def test_transfer_encoding_in_http_1_0_is_refused() -> None:
    error = refused_request(b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert (error.status, error.detail) == (400, "Transfer-Encoding in HTTP/1.0")


# -- Host and target -------------------------------------------------------------------------------------------------


def test_a_missing_host_is_refused() -> None:
    assert refused_request(LINE + b"X: y\r\n\r\n").detail == "missing Host"


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("second", [b"Host: a", b"Host: b", b"hOST:", b"HOST:a"])
def test_a_second_host_is_refused(second: bytes, version: bytes) -> None:
    assert refused_request(b"GET / HTTP/" + version + b"\r\n" + HOST + second + b"\r\n\r\n").status == 400


HOSTS = [
    b"a",
    b"a.example",
    b"A-1_x",
    b"a:80",
    b"a:",
    b"10.0.0.1:65535",
    b"[::1]",
    b"[::1]:80",
    b"[v1.x]",
    b"%61",
    b"a,b",
]
NOT_HOSTS = [
    b"",
    b" ",
    b":80",
    b"a b",
    b"a\tb",
    b"a/b",
    b"u@a",
    b"a?b",
    b"a#b",
    b"a\\b",
    b"a\x00",
    b"a\x7f",
    b"a\xff",
    b'a"',
    b"<a>",
    b"a:80:90",
    b"a:b",
    b"a:8_0",
    b"a:+80",
    b"a:\xb2",
    b"a:123456",
    b"::1",
    b"[]",
    b"[::1",
    b"::1]",
    b"[::1]x",
    b"[::1]]",
    b"[[::1]]",
    b"[::1]:x",
    b"[a/b]",
    b"a[::1]",
    b"http://a",
]


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_is_a_name_or_literal_with_a_port(host: bytes) -> None:
    assert is_authority(host)
    assert request(LINE + b"Host: " + host + b" \r\n\r\n").host == host


@pytest.mark.parametrize("host", NOT_HOSTS)
def test_any_other_host_is_refused(host: bytes) -> None:
    assert not is_authority(host)
    assert refused_request(LINE + b"Host:" + host + b"\r\n\r\n").status == 400


@pytest.mark.parametrize(
    ("target", "origin"),
    [
        (b"http://a/b?c", b"/b?c"),
        (b"HTTP://A/b", b"/b"),
        (b"https://a/", b"/"),
        (b"http://a", b"/"),
        (b"http://a?x=/y", b"/?x=/y"),
        (b"http://a//b", b"//b"),
        (b"http://a/http://b/", b"/http://b/"),
    ],
)
def test_absolute_form_goes_on_in_origin_form(target: bytes, origin: bytes) -> None:
    head = request(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"X: y\r\n\r\n")
    assert head.target == origin
    assert out(head) == b"GET " + origin + b" HTTP/1.1\r\n" + HOST + b"X: y\r\n"


def test_absolute_form_gives_http_1_0_its_host() -> None:
    head = request(b"GET http://b:8/c HTTP/1.0\r\nX: y\r\n\r\n")
    assert (head.host, out(head)) == (b"b:8", b"GET /c HTTP/1.1\r\nX: y\r\nHost: b:8\r\n")


def test_absolute_form_does_not_stand_for_the_host_of_http_1_1() -> None:
    assert refused_request(b"GET http://a/ HTTP/1.1\r\n\r\n").detail == "missing Host"


def test_two_slashes_are_a_path_like_any_other() -> None:
    assert request(b"GET //a/ HTTP/1.1\r\n" + HOST + b"\r\n").target == b"//a/"


@pytest.mark.parametrize(
    "target",
    [
        b"http://b/",
        b"http://a:80/",
        b"http://a.b/",
        b"http://u@a/",
        b"http://a:b@c/",
        b"http:///x",
        b"http://",
        b"http:/a/",
        b"http:a",
        b"://a/",
        b"ftp://a/",
        b"file:///a",
        b"httpx://a/",
        b"a",
        b"a/b",
        b"a:80",
        b"*",
        b"?x",
        b"\\\\a\\",
        b"http://a\\b/",
        b"http://[a/",
    ],
)
def test_a_target_that_is_not_ours_is_refused(target: bytes) -> None:
    assert refused_request(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n").status == 400


@pytest.mark.parametrize("target", [b"*", b"http://a"])
def test_options_may_ask_about_the_whole(target: bytes) -> None:
    head = request(b"OPTIONS " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert out(head) == b"OPTIONS * HTTP/1.1\r\n" + HOST


# -- framing, both directions ----------------------------------------------------------------------------------------

TWO_WAYS = pytest.mark.parametrize("ask", [asked, answered], ids=["request", "response"])
TWO_REFUSALS = pytest.mark.parametrize("ask", [not_asked, not_answered], ids=["request", "response"])


@TWO_WAYS
@pytest.mark.parametrize(
    ("value", "length"),
    [(b"0", 0), (b"5", 5), (b" \t5 \t", 5), (b"0005", 5), (b"9" * 18, 10**18 - 1), (b"0" * 17 + b"1", 1)],
)
def test_a_length_is_read_and_passes_on(ask: Callable[..., Head], value: bytes, length: int) -> None:
    head = ask(b"Content-Length:" + value)
    assert (head.content_length, head.chunked) == (length, False)
    assert b"Content-Length:" + value + b"\r\n" in out(head)


LENGTHS = [
    b"",
    b" ",
    b"+5",
    b"-5",
    b"-0",
    b"5_0",
    b"_5",
    b"0x5",
    b"5.0",
    b"5e1",
    b"5 0",
    b"5\t0",
    b"5,5",
    b"5, 5",
    b"5;5",
    b"5\x0b",
    b"\x0c5",
    b"5\x85",
    b"\xa05",
    b"5\x00",
    b'"5"',
    b"five",
    b"\xd9\xa5",  # ARABIC-INDIC DIGIT FIVE
    b"\xef\xbc\x95",  # FULLWIDTH DIGIT FIVE
    b"\xb2",
    b"0" * 19,
    b"18446744073709551621",  # 5, modulo 2^64
    b"9" * 5000,
]


@TWO_REFUSALS
@pytest.mark.parametrize("value", LENGTHS)
def test_a_length_that_is_not_1_to_18_digits_is_refused(ask: Callable[..., ProxyError], value: bytes) -> None:
    assert ask(b"Content-Length: " + value).status == 400


@pytest.mark.parametrize("value", LENGTHS)
def test_parse_length_takes_digits_alone(value: bytes) -> None:
    with pytest.raises(ProxyError):
        parse_length(value)


@TWO_REFUSALS
@pytest.mark.parametrize("second", [b"Content-Length: 5", b"content-length: 6", b"CONTENT-LENGTH:0"])
def test_a_second_length_is_refused(ask: Callable[..., ProxyError], second: bytes) -> None:
    assert ask(b"Content-Length: 5", second).status == 400


@TWO_REFUSALS
@pytest.mark.parametrize("length", [b"0", b"5"])
def test_both_framings_are_refused_in_either_order(ask: Callable[..., ProxyError], length: bytes) -> None:
    lines = [b"Content-Length: " + length, b"Transfer-Encoding: chunked"]
    assert ask(*lines).detail == ask(*reversed(lines)).detail == "both Content-Length and Transfer-Encoding"


@TWO_WAYS
@pytest.mark.parametrize("value", [b"chunked", b" \tChUnKeD \t"])
def test_chunked_is_framed_anew_by_whoever_sends_it(ask: Callable[..., Head], value: bytes) -> None:
    head = ask(b"Trailer: X", b"Transfer-Encoding:" + value)
    assert (head.chunked, head.content_length) == (True, -1)
    assert b"ransfer-" not in out(head)
    assert head.chunked_lines() == b"Transfer-Encoding: chunked\r\nTrailer: X\r\n"


@TWO_REFUSALS
@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"identity",
        b"xchunked",
        b"chunkedx",
        b"x chunked",
        b"chunked, gzip",
        b"chunked,",
        b",chunked",
        b"chunked, chunked",
        b"chunked;q=1",
        b'"chunked"',
        b"chunked\x0b",
        b"\x0cchunked",
        b"chunked\x00",
        b"\x85chunked",
        b"\xa0chunked",
        b"chun\xc4\xb8ed",
        b"chun\xe2\x84\xaaed",  # KELVIN SIGN, whose lower case in Unicode is k
        b"gzip",
        b"gzip, chunked, chunked",
        b"chunked gzip",
    ],
)
def test_anything_but_chunked_is_refused(ask: Callable[..., ProxyError], value: bytes) -> None:
    assert ask(b"Transfer-Encoding: " + value).status in {400, 501}


def test_a_coding_that_we_do_not_know_is_501() -> None:
    assert not_asked(b"Transfer-Encoding: gzip, chunked").status == 501
    assert not_asked(b"Transfer-Encoding: chunked, gzip").status == 400


@TWO_REFUSALS
@pytest.mark.parametrize("lines", [(b"chunked", b"chunked"), (b"chunked", b"identity"), (b"identity", b"chunked")])
def test_a_second_transfer_encoding_is_refused(ask: Callable[..., ProxyError], lines: tuple[bytes, bytes]) -> None:
    assert ask(*[b"Transfer-Encoding: " + value for value in lines]).status == 400


@TWO_REFUSALS
@pytest.mark.parametrize(
    "line", [b"Transfer-Encoding : chunked", b"Content-Length : 5", b"\tTransfer-Encoding: chunked"]
)
def test_a_framing_field_with_blanks_in_its_name_is_refused(ask: Callable[..., ProxyError], line: bytes) -> None:
    assert ask(line).status == 400


# -- fields of one connection ----------------------------------------------------------------------------------------


@TWO_WAYS
@pytest.mark.parametrize(
    "line",
    [b"Keep-Alive: 5", b"TE: trailers", b"Proxy-Connection: x", b"Proxy-Authenticate: x", b"Trailer: x", b"Upgrade: x"],
)
def test_a_field_of_one_connection_is_left_out(ask: Callable[..., Head], line: bytes) -> None:
    assert out(ask(b"A: 1", line, b"B: 2")).endswith(b"A: 1\r\nB: 2\r\n")


@TWO_WAYS
@pytest.mark.parametrize("value", [b"x-a, X-B", b"close,x-a ,\tx-b", b",, x-a,,X-b,"])
def test_nominated_fields_are_left_out(ask: Callable[..., Head], value: bytes) -> None:
    head = ask(b"X-A: 1", b"Keep: 2", b"Connection: " + value, b"x-b: 3", b"X-C: 4")
    assert out(head).endswith(b"Keep: 2\r\nX-C: 4\r\n")
    assert b"x-a" not in out(head).lower()


def test_framing_and_routing_fields_cannot_be_nominated_away() -> None:
    head = asked(b"Content-Length: 5", b"Connection: host, content-length, transfer-encoding")
    assert (head.content_length, out(head)) == (5, LINE + HOST + b"Content-Length: 5\r\n")
    assert asked(b"Connection: transfer-encoding", b"Transfer-Encoding: chunked").chunked


@pytest.mark.parametrize("path", [b"/", b"/a:b"])
def test_the_request_line_cannot_be_nominated_away(path: bytes) -> None:
    line = b"GET " + path + b" HTTP/1.1\r\n"
    for option in (b"GET /", b"GET /a", b"GET / HTTP/1.", b"GET / HTTP/1.1", b"get"):
        head = request(line + HOST + b"Connection: " + option + b"\r\nX: y\r\n\r\n")
        assert out(head) == line + HOST + b"X: y\r\n"


def test_what_is_ours_is_forgotten_when_nominated() -> None:
    head = asked(
        b"Via: 1.1 x", b"X-Forwarded-For: 1", b"X-Request-Id: 1", b"Connection: via, x-forwarded-for, x-request-id"
    )
    assert (head.via, head.forwarded_for, head.request_id) == (None, None, None)


def test_thousands_of_nominations_cost_one_look_each() -> None:
    options = b",".join(b"%x" % i for i in range(6000))
    head = asked(b"Connection: " + options, *[b"X: y"] * 90)
    assert out(head).count(b"X: y") == 90


@TWO_WAYS
@pytest.mark.parametrize(
    ("value", "close", "keep_alive"),
    [(b"close", True, False), (b"Keep-Alive", False, True), (b"CLOSE, x", True, False), (b"xclose", False, False)],
)
def test_the_connection_options_are_heard(
    ask: Callable[..., Head], value: bytes, close: bool, keep_alive: bool
) -> None:
    head = ask(b"Connection: " + value)
    assert (head.close, head.keep_alive) == (close, keep_alive)
    assert b"onnection" not in out(head)


@TWO_WAYS
def test_an_upgrade_counts_when_it_is_named(ask: Callable[..., Head]) -> None:
    assert ask(b"Upgrade: websocket", b"Connection: keep-alive, Upgrade").upgrade == b"websocket"
    assert ask(b"Upgrade: websocket").upgrade is None


@pytest.mark.parametrize(
    ("framing", "upgrade"),
    [(b"Content-Length: 5", None), (b"Transfer-Encoding: chunked", None), (b"Content-Length: 0", b"websocket")],
)
def test_a_request_with_a_body_asks_for_no_upgrade(framing: bytes, upgrade: bytes | None) -> None:
    head = asked(b"Upgrade: websocket", framing, b"Connection: Upgrade")
    assert head.upgrade == upgrade
    assert b"websocket" not in out(head)


@pytest.mark.parametrize("value", [b"h2c", b"H2C", b"websocket, h2c"])
def test_http_2_is_no_upgrade(value: bytes) -> None:
    head = asked(b"Upgrade: " + value, b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABk")
    assert head.upgrade is None
    assert out(head) == LINE + HOST


# -- fields that are ours --------------------------------------------------------------------------------------------


def test_the_forwarding_fields_are_taken_out_and_joined() -> None:
    head = asked(
        b"X-Forwarded-For: 1, 2",
        b"x-forwarded-for: 3",
        b"X-Forwarded-Host: evil",
        b"X-Forwarded-Proto: https",
        b"Via: 1.0 x",
        b"via: 1.1 y",
    )
    assert (head.forwarded_for, head.via) == (b"1, 2, 3", b"1.0 x, 1.1 y")
    assert out(head) == LINE + HOST


@pytest.mark.parametrize(
    "name",
    [
        b"X_Forwarded_For",
        b"x-forwarded_host",
        b"X_FORWARDED-PROTO",
        b"Content_Length",
        b"Transfer_Encoding",
        b"x_request_id",
    ],
)
def test_another_spelling_of_what_is_ours_is_left_out(name: bytes) -> None:
    head = asked(name + b": 1")
    assert out(head) == LINE + HOST
    assert (head.content_length, head.chunked, head.forwarded_for, head.request_id) == (-1, False, None, None)


def test_other_underscores_pass_on() -> None:
    assert out(asked(b"X_Custom: 1")) == LINE + HOST + b"X_Custom: 1\r\n"


@pytest.mark.parametrize(
    ("lines", "expected"), [([b"x"], b"x"), ([b"x", b"y"], b"x"), ([b""], None), ([b"", b"y"], b"y")]
)
def test_the_first_request_id_that_says_anything_counts(lines: list[bytes], expected: bytes | None) -> None:
    head = asked(*[b"X-Request-Id: " + line for line in lines])
    assert (head.request_id, out(head)) == (expected, LINE + HOST)


def test_an_expectation_is_seen_and_passes_on() -> None:
    head = asked(b"Expect: 100-Continue", b"Content-Length: 5")
    assert head.expect_continue
    assert b"Expect: 100-Continue\r\n" in out(head)


@pytest.mark.parametrize("value", [b"", b"200-ok", b"100-continue, x", b"100 continue"])
def test_another_expectation_is_417(value: bytes) -> None:
    assert not_asked(b"Expect: " + value).status == 417


# -- the status line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "status", "expected"),
    [
        (b"HTTP/1.1 200 OK", 200, b"HTTP/1.1 200 OK"),
        (b"HTTP/1.1 404 Not  Found\t\xff", 404, b"HTTP/1.1 404 Not  Found\t\xff"),
        (b"HTTP/1.1 200 ", 200, b"HTTP/1.1 200 "),
        (b"HTTP/1.1 200", 200, b"HTTP/1.1 200"),
        (b"HTTP/1.0 999 x", 999, b"HTTP/1.1 999 x"),
        (b"HTTP/1.1 100 Continue", 100, b"HTTP/1.1 100 Continue"),
    ],
)
def test_a_status_line_is_read_and_goes_on_as_http_1_1(line: bytes, status: int, expected: bytes) -> None:
    head = response(line + b"\r\nX: y\r\n\r\n")
    assert (head.status, out(head)) == (status, expected + b"\r\nX: y\r\n")
    assert head.minor == (line[7] == ord("1"))


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.2 200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/2 200 OK....",
        b"HTTP/0.9 200 OK",
        b"http/1.1 200 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1\t200 OK",
        b"HTTP/1.1 20 OK...",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1 000 OK",
        b"HTTP/1.1 +20 OK",
        b"HTTP/1.1 2_0 OK",
        b"HTTP/1.1 0x2 OK",
        b"HTTP/1.1 \xb2\xb2\xb2 OK",
        b"HTTP/1.1 200\tOK",
        b"HTTP/1.1 200-OK",
        b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 200 O\x0bK",
        b"HTTP/1.1 200 O\nK",
        b"HTTP/1.1 200 O\rK",
        b"HTTP/1.1 200 OK\r",
        b"\r\nHTTP/1.1 200 OK",
        b" HTTP/1.1 200 OK",
        b"GET / HTTP/1.1..",
        b"<html>not HTTP</html>",
    ],
)
def test_a_status_line_outside_the_grammar_is_refused(line: bytes) -> None:
    assert refused_response(line + b"\r\nX: y\r\n\r\n").status == 400


def test_what_cannot_become_a_status_line_is_refused_at_once() -> None:
    with pytest.raises(ProxyError):
        new_response().read(b"<")


def test_transfer_encoding_in_an_answer_of_http_1_0_is_refused() -> None:
    assert refused_response(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").status == 400


def test_an_answer_of_http_1_0_closes_unless_it_says_otherwise() -> None:
    assert response(b"HTTP/1.0 200 OK\r\n\r\n").close
    assert not response(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n").close


@pytest.mark.parametrize("status", [b"100", b"103", b"204"])
@pytest.mark.parametrize("line", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_an_answer_without_body_says_nothing_of_one(status: bytes, line: bytes) -> None:
    head = response(b"HTTP/1.1 " + status + b" X\r\nA: 1\r\n" + line + b"\r\nB: 2\r\n\r\n")
    assert (head.content_length, head.chunked, out(head)) == (
        -1,
        False,
        b"HTTP/1.1 " + status + b" X\r\nA: 1\r\nB: 2\r\n",
    )


def test_not_modified_keeps_the_length_of_what_it_stands_for() -> None:
    head = response(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n")
    assert (head.content_length, out(head)) == (5, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n")


def test_an_endless_status_line_is_431() -> None:
    assert refused(new_response, b"HTTP/1.1 200 " + b"x" * HEAD_BYTES + b"\r\n\r\n").status == 431


def test_an_answer_with_too_many_fields_is_431() -> None:
    assert not_answered(*[b"X: y"] * (FIELDS + 1)).status == 431


def test_an_answer_keeps_fields_that_only_requests_may_not_have() -> None:
    lines = [b"Host: x", b"Expect: y", b"Via: 1.1 z", b"X-Forwarded-For: 1"]
    assert out(answered(*lines)) == b"HTTP/1.1 200 OK\r\n" + b"".join(line + b"\r\n" for line in lines)


@pytest.mark.parametrize(
    ("value", "expected"), [(b"a", True), (b"x-1_~", True), (b"", False), (b"a b", False), (b"\xe9", False)]
)
def test_a_token_is_made_of_its_characters(value: bytes, expected: bool) -> None:
    assert is_token(value) is expected
