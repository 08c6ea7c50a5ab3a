"""Mutated requests: a strict origin sees what a strict reader sees in the client's bytes, or less, and nothing else."""

import asyncio

import pytest
from fuzz.differential import HTTP1, HTTP2, OURS, Request, expected_http1, expected_http2, is_more, run
from fuzz.http2 import fields_of

from tests.support.frames import frame


@pytest.mark.parametrize(("protocol", "count"), [(HTTP1, 150), (HTTP2, 100)])
def test_mutated_requests_arrive_as_they_are_or_not_at_all(protocol: str, count: int) -> None:
    """`python -m fuzz.differential` asks more, and nginx and HAProxy beside it."""
    tally = asyncio.run(run(protocol, count, 1, [OURS]))
    assert tally.findings == []
    assert tally.requests == count
    # Enough of them are valid to tell that anything arrives at all.
    assert tally.passed[OURS] >= 5


def test_the_strict_readers_see_requests() -> None:
    data = b"POST http://a/b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /c HTTP/1.1\r\nHost: a\r\n\r\nGET"
    assert expected_http1(data) == [Request(b"POST", b"/b", b"hi"), Request(b"GET", b"/c", b"")]
    assert fields_of(b"a\xfdb\xfec\xfd") == [(b"a", b"b"), (b"c", b"")]
    assert expected_http2(frame(4)) == []


def test_one_request_more_another_one_or_none_at_all() -> None:
    one, other = Request(b"GET", b"/", b""), Request(b"GET", b"/smuggled", b"")
    assert [is_more(seen, [], [one]) for seen in ([], [one], [other], [one, other])] == [False, False, True, True]
    assert is_more([], [b"bytes that are no request"], [one])
