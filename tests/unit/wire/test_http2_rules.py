"""What makes a header list a message: every refusal, and what a good one says."""

import pytest

from equipoise.wire.hpack_header import Header, header
from equipoise.wire.http2_errors import PROTOCOL_ERROR
from equipoise.wire.http2_rules import Http2Request, Http2Response, check_trailers
from tests.support.frames import raised

STREAM = 7
MALFORMED = (PROTOCOL_ERROR, STREAM)

GET = ((b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.test"), (b":path", b"/x?y"))
POST = ((b":method", b"POST"), *GET[1:])
OPTIONS = ((b":method", b"OPTIONS"), *GET[1:3], (b":path", b"*"))
CONNECT = ((b":method", b"CONNECT"), (b":authority", b"a.test:443"))
SOCKET = ((b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:])
OK = ((b":status", b"200"),)

Pairs = tuple[tuple[bytes, bytes], ...]


def fields(*pairs: tuple[bytes, bytes]) -> list[Header]:
    return [header(name, value) for name, value in pairs]


def request(*pairs: tuple[bytes, bytes], end_stream: bool = False, extended: bool = False) -> Http2Request:
    message = Http2Request(STREAM)
    message.read(fields(*pairs), end_stream, extended)
    return message


def response(*pairs: tuple[bytes, bytes], end_stream: bool = False, to_head: bool = False) -> Http2Response:
    message = Http2Response(STREAM)
    message.read(fields(*pairs), end_stream, to_head)
    return message


def without(pairs: Pairs, name: bytes) -> Pairs:
    return tuple(pair for pair in pairs if pair[0] != name)


def replaced(pairs: Pairs, name: bytes, value: bytes) -> Pairs:
    return tuple((each, value if each == name else old) for each, old in pairs)


# -- requests that pass ----------------------------------------------------------------------------------------------


def test_a_request_says_where_it_goes() -> None:
    message = request(*GET, (b"accept", b"*/*"), end_stream=True)
    assert (message.method, message.scheme, message.host, message.target) == (
        b"GET",
        b"https",
        b"a.test",
        b"/x?y",
    )
    assert (message.content_length, message.upgrade, message.stream) == (-1, None, STREAM)


def test_pseudo_header_fields_may_come_in_any_order() -> None:
    assert request(*reversed(GET)).method == b"GET"


def test_the_fields_that_mean_something_are_kept() -> None:
    message = request(
        *POST,
        (b"content-length", b"5"),
        (b"expect", b"100-continue"),
        (b"te", b"trailers"),
        (b"trailer", b"x-sum"),
        (b"via", b"2 a"),
        (b"via", b"2 b"),
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"x-forwarded-for", b"10.0.0.2"),
        (b"x-request-id", b""),
        (b"x-request-id", b"one"),
        (b"x-request-id", b"two"),
        (b"cookie", b"a=b"),
    )
    assert (message.content_length, message.expect, message.te_trailers) == (5, b"100-continue", True)
    assert (message.trailer, message.via, message.forwarded_for) == (b"x-sum", b"2 a, 2 b", b"10.0.0.1, 10.0.0.2")
    assert (message.request_id, message.cookies) == (b"one", 1)


@pytest.mark.parametrize("scheme", [b"http", b"https", b"HTTPS"])
def test_the_schemes_are_http_and_https(scheme: bytes) -> None:
    assert request(*replaced(GET, b":scheme", scheme)).scheme == scheme.lower()


def test_a_host_stands_in_for_a_missing_authority() -> None:
    assert request(*without(GET, b":authority"), (b"host", b"b.test:80")).host == b"b.test:80"


@pytest.mark.parametrize("host", [b"a.test", b"A.Test"])
def test_a_host_may_repeat_the_authority(host: bytes) -> None:
    assert request(*GET, (b"host", host)).host == b"a.test"


def test_options_may_ask_about_everything() -> None:
    assert request(*OPTIONS).target == b"*"


def test_a_tunnel_has_an_authority_alone() -> None:
    message = request(*CONNECT)
    assert (message.target, message.scheme, message.upgrade) == (b"a.test:443", b"", None)


@pytest.mark.parametrize("authority", [b"[::1]:443", b"10.0.0.1:1"])
def test_a_tunnel_may_lead_to_an_address(authority: bytes) -> None:
    assert request(*replaced(CONNECT, b":authority", authority)).target == authority


def test_an_extended_connect_names_its_protocol() -> None:
    message = request(*SOCKET, extended=True)
    assert (message.upgrade, message.target, message.host) == (b"websocket", b"/x?y", b"a.test")


@pytest.mark.parametrize("value", [b"", b"a", b"a b\tc", b"\xff\x80", b"a=b; c"])
def test_a_value_may_be_any_text(value: bytes) -> None:
    request(*GET, (b"x", value))


# -- requests that are refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [b":method", b":scheme", b":authority", b":path"])
def test_a_pseudo_header_field_may_not_be_missing(name: bytes) -> None:
    assert raised(lambda: request(*without(GET, name))) == MALFORMED


@pytest.mark.parametrize("pair", GET)
def test_a_pseudo_header_field_may_not_come_twice(pair: tuple[bytes, bytes]) -> None:
    assert raised(lambda: request(*GET, pair)) == MALFORMED


@pytest.mark.parametrize("pair", GET)
def test_a_pseudo_header_field_may_not_follow_another(pair: tuple[bytes, bytes]) -> None:
    assert raised(lambda: request(*without(GET, pair[0]), (b"x", b"y"), pair)) == MALFORMED


@pytest.mark.parametrize("name", [b":status", b":host", b":", b":Method", b":protocol"])
def test_another_pseudo_header_field_may_not_come(name: bytes) -> None:
    assert raised(lambda: request(*GET, (name, b"200"))) == MALFORMED


def test_an_empty_list_is_no_request() -> None:
    assert raised(request) == MALFORMED


@pytest.mark.parametrize(
    "name",
    [b"", b"Accept", b"a b", b"a:b", b"a\r\nb", b"a\x00", b" a", b"a\xe4", b"a(", b"a\x7f", b"x\n", b"\tx", b"a\r"],
)
def test_a_name_is_a_token_in_lower_case(name: bytes) -> None:
    assert raised(lambda: request(*GET, (name, b"v"))) == MALFORMED


@pytest.mark.parametrize(
    "value",
    [b"a\r\nb: c", b"a\rb", b"a\nb", b"a\x00b", b" a", b"a ", b"\ta", b"a\t", b" ", b"a\x0bb", b"a\x7f", b"\r", b"a\n"],
)
@pytest.mark.parametrize("name", [b"x", b"cookie", b"x-forwarded-for", b"via", b"x-request-id", b"expect", b"trailer"])
def test_a_value_has_no_control_bytes_and_no_blanks_around_it(name: bytes, value: bytes) -> None:
    assert raised(lambda: request(*GET, (name, value))) == MALFORMED


@pytest.mark.parametrize("name", [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"])
@pytest.mark.parametrize("value", [b"", b"close", b"chunked"])
def test_a_field_of_one_connection_is_refused(name: bytes, value: bytes) -> None:
    assert raised(lambda: request(*GET, (name, value))) == MALFORMED


@pytest.mark.parametrize("value", [b"", b"gzip", b"trailers, gzip", b"trailers;q=1", b"chunked"])
def test_te_is_trailers_or_nothing(value: bytes) -> None:
    assert raised(lambda: request(*GET, (b"te", value))) == MALFORMED


@pytest.mark.parametrize("method", [b"", b"GET /", b"GE\r\nT", b"G\x00", b"G:", b"GET ", b"\xff"])
def test_a_method_is_a_token(method: bytes) -> None:
    assert raised(lambda: request(*replaced(GET, b":method", method))) == MALFORMED


@pytest.mark.parametrize("scheme", [b"", b"ftp", b"http:", b"https://a", b"http ", b"http\r\n"])
def test_another_scheme_is_refused(scheme: bytes) -> None:
    assert raised(lambda: request(*replaced(GET, b":scheme", scheme))) == MALFORMED


@pytest.mark.parametrize(
    "path",
    [
        *(b"", b"x", b"*", b"/ HTTP/1.1\r\nX: y", b"/a b", b"/\r", b"/\n", b"/\x00", b"/#f", b"/\xe4", b"/\t", b" /"),
        *(b"http://a.test/", b"?x", b"**", b"/\x7f", b"/ "),
    ],
)
def test_a_path_is_in_origin_form(path: bytes) -> None:
    assert raised(lambda: request(*replaced(GET, b":path", path))) == MALFORMED


@pytest.mark.parametrize(
    "authority",
    [b"", b"u@a.test", b"a.test/", b"a b", b"a\r\nX: y", b"a:80:80", b"a:x", b"a:123456", b"[::1", b"a#", b"a?", b"\\"],
)
@pytest.mark.parametrize("name", [b":authority", b"host"])
def test_an_authority_is_a_host_and_a_port(name: bytes, authority: bytes) -> None:
    assert raised(lambda: request(*without(GET, b":authority")[:3], (name, authority))) == MALFORMED


@pytest.mark.parametrize("host", [b"b.test", b"a.test:443", b""])
def test_a_host_may_not_differ_from_the_authority(host: bytes) -> None:
    assert raised(lambda: request(*GET, (b"host", host))) == MALFORMED


def test_a_host_may_not_come_twice() -> None:
    assert raised(lambda: request(*GET, (b"host", b"a.test"), (b"host", b"a.test"))) == MALFORMED


def test_an_expectation_may_not_come_twice() -> None:
    assert raised(lambda: request(*GET, (b"expect", b"x"), (b"expect", b"x"))) == MALFORMED


@pytest.mark.parametrize("value", [b"", b"+5", b"-1", b"5_0", b"0x5", b"5, 5", b" 5", b"5 ", b"\xb2", b"1" * 19])
def test_a_content_length_is_digits(value: bytes) -> None:
    assert raised(lambda: request(*POST, (b"content-length", value))) == MALFORMED


def test_a_content_length_may_not_come_twice() -> None:
    assert raised(lambda: request(*POST, (b"content-length", b"5"), (b"content-length", b"5"))) == MALFORMED


def test_a_content_length_needs_a_body() -> None:
    assert raised(lambda: request(*POST, (b"content-length", b"5"), end_stream=True)) == MALFORMED
    assert request(*POST, (b"content-length", b"0"), end_stream=True).content_length == 0


@pytest.mark.parametrize("extra", [GET[1], GET[3], (b"content-length", b"0"), (b"host", b"b.test")])
def test_a_tunnel_takes_nothing_else(extra: tuple[bytes, bytes]) -> None:
    assert raised(lambda: request(CONNECT[0], *((extra,) if extra[0][:1] == b":" else ()), CONNECT[1], extra)) == (
        MALFORMED
    )
    pairs = (*CONNECT, extra)
    assert raised(lambda: request(*pairs)) == MALFORMED


@pytest.mark.parametrize("authority", [b"a.test", b"[::1]", b"a.test:"])
def test_a_tunnel_needs_a_port(authority: bytes) -> None:
    assert raised(lambda: request(*replaced(CONNECT, b":authority", authority))) == MALFORMED


def test_a_tunnel_needs_an_authority() -> None:
    assert raised(lambda: request(CONNECT[0], (b"host", b"a.test:443"))) == MALFORMED


def test_an_extended_connect_needs_our_word() -> None:
    assert raised(lambda: request(*SOCKET)) == MALFORMED


@pytest.mark.parametrize("name", [b":scheme", b":authority", b":path"])
def test_an_extended_connect_needs_all_of_them(name: bytes) -> None:
    pairs = (*without(SOCKET, name), (b"host", b"a.test"))
    assert raised(lambda: request(*pairs, extended=True)) == MALFORMED


def test_a_protocol_comes_with_connect_alone() -> None:
    assert raised(lambda: request(*replaced(SOCKET, b":method", b"GET"), extended=True)) == MALFORMED


@pytest.mark.parametrize("protocol", [b"", b"web socket", b"a/b", b"a\r\n"])
def test_a_protocol_is_a_token(protocol: bytes) -> None:
    assert raised(lambda: request(*replaced(SOCKET, b":protocol", protocol), extended=True)) == MALFORMED


def test_an_extended_connect_has_no_body() -> None:
    assert raised(lambda: request(*SOCKET, (b"content-length", b"0"), extended=True)) == MALFORMED


# -- responses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [100, 103, 200, 204, 304, 404, 599, 999])
def test_a_response_has_a_status(status: int) -> None:
    assert response((b":status", b"%d" % status), (b"server", b"x")).status == status


@pytest.mark.parametrize("status", [b"", b"20", b"2000", b"+20", b"2 0", b"099", b"000", b"abc", b"20\r", b"101"])
def test_a_status_is_three_digits_and_not_101(status: bytes) -> None:
    assert raised(lambda: response((b":status", status))) == MALFORMED


@pytest.mark.parametrize(
    "pairs",
    [
        (),
        ((b"server", b"x"),),
        ((b"server", b"x"), *OK),
        (*OK, *OK),
        (*OK, (b":path", b"/")),
        (*OK, (b":other", b"/")),
        (*OK, (b"connection", b"close")),
        (*OK, (b"transfer-encoding", b"chunked")),
        (*OK, (b"Server", b"x")),
        (*OK, (b"x", b"a\r\nb: c")),
        (*OK, (b"content-length", b"x")),
        (*OK, (b"content-length", b"1"), (b"content-length", b"1")),
    ],
)
def test_a_malformed_response_is_refused(pairs: Pairs) -> None:
    assert raised(lambda: response(*pairs)) == MALFORMED


def test_an_interim_response_does_not_end_the_stream() -> None:
    assert raised(lambda: response((b":status", b"103"), end_stream=True)) == MALFORMED


@pytest.mark.parametrize("status", [b"100", b"204"])
def test_a_length_where_there_is_no_body_is_refused(status: bytes) -> None:
    assert raised(lambda: response((b":status", status), (b"content-length", b"1"))) == MALFORMED
    response((b":status", status), (b"content-length", b"0"))


def test_a_response_to_head_tells_a_length_and_has_no_body() -> None:
    message = response(*OK, (b"content-length", b"5"), end_stream=True, to_head=True)
    assert message.content_length == 5
    assert raised(lambda: message.take_data(1, False)) == MALFORMED


@pytest.mark.parametrize("status", [b"204", b"304"])
def test_a_response_without_a_body_may_end_with_empty_data(status: bytes) -> None:
    message = response((b":status", status))
    message.take_data(0, True)
    assert raised(lambda: message.take_data(1, True)) == MALFORMED


def test_a_length_needs_a_body() -> None:
    assert raised(lambda: response(*OK, (b"content-length", b"5"), end_stream=True)) == MALFORMED


# -- the body --------------------------------------------------------------------------------------------------------


def test_a_body_of_unknown_length_may_have_any() -> None:
    message = request(*POST)
    message.take_data(10**12, False)
    message.take_data(0, True)


def test_a_body_has_the_length_that_was_said() -> None:
    message = request(*POST, (b"content-length", b"5"))
    message.take_data(3, False)
    message.take_data(2, False)
    message.take_data(0, True)


def test_a_longer_body_is_refused_again_and_again() -> None:
    message = request(*POST, (b"content-length", b"5"))
    for _ in range(2):
        assert raised(lambda: message.take_data(6, False)) == MALFORMED


def test_a_shorter_body_is_refused_at_its_end() -> None:
    message = response(*OK, (b"content-length", b"5"))
    message.take_data(4, False)
    assert raised(lambda: message.take_data(0, True)) == MALFORMED


# -- trailers --------------------------------------------------------------------------------------------------------


def test_good_trailers_pass_as_they_are() -> None:
    given = fields((b"grpc-status", b"0"), (b"x-sum", b"1"))
    assert check_trailers(given, STREAM, end_stream=True) is given


def test_trailers_may_be_empty() -> None:
    assert check_trailers([], STREAM, end_stream=True) == []


@pytest.mark.parametrize("name", [b"te", b"trailer", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"])
def test_trailers_without_a_meaning_stay_here(name: bytes) -> None:
    given = fields((b"a", b"b"), (name, b"trailers"), (b"c", b"d"))
    assert check_trailers(given, STREAM, end_stream=True) == [given[0], given[2]]


@pytest.mark.parametrize(
    "pair",
    [
        (b":status", b"200"),
        (b":path", b"/"),
        (b":x", b"y"),
        (b"content-length", b"0"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"close"),
        (b"host", b"a"),
        (b"expect", b"100-continue"),
        (b"X", b"y"),
        (b"x", b"a\r\n\r\n"),
    ],
)
def test_trailers_of_framing_and_routing_are_refused(pair: tuple[bytes, bytes]) -> None:
    assert raised(lambda: check_trailers(fields(pair), STREAM, end_stream=True)) == MALFORMED


def test_trailers_end_the_stream() -> None:
    assert raised(lambda: check_trailers(fields((b"a", b"b")), STREAM, end_stream=False)) == MALFORMED


# -- what the caller has to look after -------------------------------------------------------------------------------


def test_the_crumbs_of_cookies_are_counted() -> None:
    assert request(*GET, (b"cookie", b"x"), (b"cookie", b"y")).cookies == 2


@pytest.mark.parametrize(("name", "found"), [(b"content_length", True), (b"x_forwarded-for", True), (b"x_y", False)])
def test_a_lookalike_is_reported(name: bytes, found: bool) -> None:
    assert request(*GET, (name, b"5")).lookalikes == found
