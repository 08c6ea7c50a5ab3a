"""In which pieces bytes come changes nothing: the same messages, the same bytes out, the same verdict.

And whatever the bytes are, a parser gives a verdict in the one way it may.
"""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from equipoise.errors import ProxyError
from equipoise.wire.chunked import ChunkedReader
from equipoise.wire.http1 import RequestHead, ResponseHead
from tests.support.corpus import chunked_bodies, conversations, mutated, requests, responses, valid_chunked
from tests.support.wire import (
    Head,
    cut,
    dialogue,
    new_request,
    new_response,
    read_chunks,
    same,
    single_bytes,
)

PLACES = st.lists(st.integers(0, 2000), max_size=8)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@given(conversations(requests()), PLACES, st.booleans())
@example(GET + GET, [len(GET)], False)
@example(POST + b"5\r\r\nabcde\r\n0\r\n\r\n", [], False)
@example(POST + b"5;a\r\r\nabcde\r\n0\r\n\r\n" + GET, [], True)
@example(POST + b"1\r\na\r\n0\r\nT: u\r\n\r\n" + GET, [70], False)
def test_requests_are_the_same_however_they_are_split(data: bytes, places: list[int], decode: bool) -> None:
    whole = dialogue(new_request, [data], decode=decode)
    same(whole, dialogue(new_request, single_bytes(data), decode=decode))
    same(whole, dialogue(new_request, cut(data, places), decode=decode))


@given(conversations(responses()), PLACES, st.booleans())
def test_responses_are_the_same_however_they_are_split(data: bytes, places: list[int], decode: bool) -> None:
    whole = dialogue(new_response, [data], decode=decode)
    same(whole, dialogue(new_response, single_bytes(data), decode=decode))
    same(whole, dialogue(new_response, cut(data, places), decode=decode))


@given(valid_chunked(), PLACES, st.binary(max_size=30), st.booleans())
def test_a_valid_body_ends_at_the_same_byte_however_it_is_split(
    body: bytes, places: list[int], tail: bytes, decode: bool
) -> None:
    whole = read_chunks([body], decode)
    assert (whole.done, whole.rest) == (True, b"")
    for pieces in (cut(body + tail, places), [body + tail], single_bytes(body + tail)):
        chunks = read_chunks(pieces, decode)
        assert (chunks.out, chunks.done, chunks.rest) == (whole.out, True, tail)


@given(valid_chunked())
def test_what_passes_on_is_a_valid_body_that_passes_unchanged(body: bytes) -> None:
    framed = read_chunks([body], decode=False).out
    assert read_chunks([framed], decode=False).out == framed
    assert read_chunks([framed], decode=True).out == read_chunks([body], decode=True).out


@given(mutated(chunked_bodies()), PLACES)
def test_both_outputs_give_the_same_verdict(body: bytes, places: list[int]) -> None:
    verdicts = []
    for decode in (False, True):
        try:
            chunks = read_chunks(cut(body, places), decode)
            verdicts.append((chunks.done, chunks.rest))
        except ProxyError as error:
            verdicts.append((False, str(error.status).encode()))
    assert verdicts[0] == verdicts[1]


@given(conversations(requests()))
def test_what_passes_on_of_a_request_is_a_request_that_says_the_same(data: bytes) -> None:
    head = new_request()
    try:
        if not head.read(data):
            return
    except ProxyError:
        return
    again = new_request()
    host = b"" if head.host is not None else b"Host: added\r\n"
    framing = head.chunked_lines() if head.chunked else b""
    assert again.read(b"".join([*head.keep, host, framing, b"\r\n"]))
    assert (again.method, again.target, again.minor) == (head.method, head.target, 1)
    assert (again.content_length, again.chunked) == (head.content_length, head.chunked)
    assert again.host == (head.host or b"added")
    assert (again.nominated, again.upgrade, again.via, again.forwarded_for, again.request_id) == (None,) * 5


@pytest.mark.parametrize("new", [new_request, new_response])
@given(data=st.one_of(st.binary(max_size=300), mutated(requests()), mutated(responses())))
def test_a_head_is_read_refused_or_unfinished_and_nothing_else(new: Callable[[], Head], data: bytes) -> None:
    head = new()
    whole, status = False, 0
    try:
        whole = head.read(data)
    except ProxyError as error:
        status = error.status
    assert status in {0, 400, 405, 414, 417, 431, 501}
    if whole:
        assert 0 < head.at <= len(data)
        assert data[: head.at].endswith(b"\r\n\r\n")


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=50), chunked_bodies()), min_size=1, max_size=6), st.booleans())
def test_a_body_is_read_refused_or_unfinished_and_nothing_else(pieces: list[bytes], decode: bool) -> None:
    reader = ChunkedReader(1000, 10, decode)
    fed, out, status = b"", b"", 0
    try:
        for piece in pieces:
            fed += piece
            out += reader.feed(piece)
            if reader.done:
                break
    except ProxyError as error:
        status = error.status
    assert status in {0, 400, 431}
    assert len(out) <= len(fed)
    assert fed.endswith(reader.rest)


@given(
    st.lists(st.sampled_from([b"GET ", b"/", b"a", b" HTTP/1.1\r\n", b"X: ", b"\r\n", b"HTTP/1.1 200"]), max_size=30)
)
def test_no_head_grows_beyond_its_limit(pieces: list[bytes]) -> None:
    for head in (RequestHead(40, 3, 20), ResponseHead(40, 3)):
        data = b""
        try:
            for piece in pieces:
                data += piece
                if head.read(data):
                    break
                assert len(data) <= 40
        except ProxyError:
            pass
        else:
            assert head.at <= 40
