"""Requests of HTTP/2 written as HTTP/1: what the rules pass is one request there, and the same.

The lists are made to smuggle; the writer here is as plain as one can be, so that only the rules stand in between.
"""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.downgrade import Pair, check_downgrade, passed, written
from tests.support.wire import new_request

POISON = (
    *(b"\r\n", b"\r", b"\n", b"\x00", b" ", b"\t", b":", b"#", b"/", b"@", b"\x0b", b"\x7f", b"\xff", b"_", b","),
    *(b" HTTP/1.1\r\nX: y", b"\r\nTransfer-Encoding: chunked", b"\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
)
GOOD: dict[bytes, tuple[bytes, ...]] = {
    b":method": (b"GET", b"POST", b"OPTIONS", b"CONNECT", b"M-SEARCH"),
    b":scheme": (b"http", b"https"),
    b":authority": (b"a.test", b"a.test:80", b"[::1]:80"),
    b":path": (b"/", b"/a?b=c", b"*", b"//b.test/"),
}
FIELDS = (
    *((b"host", b"a.test"), (b"host", b"b.test"), (b"content-length", b"5"), (b"content-length", b"0")),
    *((b"transfer-encoding", b"chunked"), (b"transfer_encoding", b"chunked"), (b"content_length", b"7")),
    *((b"connection", b"close"), (b"te", b"trailers"), (b"te", b"chunked"), (b"upgrade", b"h2c"), (b"x", b"y")),
    *((b"cookie", b"a=b"), (b"cookie", b"c=d"), (b"expect", b"100-continue"), (b"x", b""), (b"via", b"2 a")),
    *((b"content-length", b"+5"), (b"content-length", b"5, 5"), (b"X", b"y"), (b"", b"y"), (b":status", b"200")),
)


@st.composite
def poisoned(draw: st.DrawFn, text: bytes) -> bytes:
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(st.sampled_from(POISON)) + text[at:]


@st.composite
def lists(draw: st.DrawFn) -> list[Pair]:
    pairs = [(name, draw(st.sampled_from(values))) for name, values in GOOD.items()]
    pairs += draw(st.lists(st.sampled_from(FIELDS), max_size=4))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(pairs) - 1))
        name, value = pairs[at]
        pairs[at] = (draw(poisoned(name)), value) if draw(st.booleans()) else (name, draw(poisoned(value)))
    if draw(st.integers(0, 3)) == 0:
        del pairs[draw(st.integers(0, len(pairs) - 1))]
    return pairs


@given(lists(), st.booleans())
@example([(name, values[0]) for name, values in GOOD.items()], True)
@settings(suppress_health_check=[HealthCheck.filter_too_much])
def test_what_passes_is_one_request_of_http_1_and_the_same(pairs: list[Pair], end_stream: bool) -> None:
    check_downgrade(pairs, end_stream)


@given(lists(), st.booleans())
def test_a_list_that_passes_holds_no_line_end(pairs: list[Pair], end_stream: bool) -> None:
    result = passed(pairs, end_stream)
    if result is not None:
        message, regular = result
        parts = [message.method, message.target, message.host, *(part for pair in regular for part in pair)]
        assert not any(byte in part for part in parts for byte in b"\r\n\0")


@pytest.mark.parametrize("name", list(GOOD))
@pytest.mark.parametrize("poison", POISON)
def test_a_poisoned_pseudo_header_field_smuggles_nothing(name: bytes, poison: bytes) -> None:
    good = {each: values[0] for each, values in GOOD.items()}
    for value in (poison + good[name], good[name] + poison):
        result = passed([*{**good, name: value}.items()], end_stream=True)
        if result is not None:
            head = new_request()
            data = written(*result, end_stream=True)
            assert head.read(data)
            assert head.at == len(data)
            assert (head.method, head.target) == (result[0].method, result[0].target)
