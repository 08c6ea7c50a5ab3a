"""HTTP/1 as two other implementations read it: llhttp (through `httptools`) and `h11`.

What we accept, both accept, as the same message. What either refuses, we refuse. What both accept and we refuse is on
purpose: `STRICTER` says what and why. Nothing else may differ but what `translated` and `without_framing` tell.
"""

import re

import pytest
from hypothesis import HealthCheck, example, given, settings

from tests.support.corpus import mutated, requests, responses, valid_chunked
from tests.support.http1_oracles import CHUNKED, HOST, ORACLES, STRICTER, Stricter, compare, ours
from tests.support.wire import new_request, new_response, read_chunks

SETTINGS = settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])


@SETTINGS
@given(mutated(requests()))
@example(b"POST / HTTP/1.1" + CHUNKED + b"5\r\r\nabcde\r\n0\r\n\r\n")
@example(b"POST / HTTP/1.1" + CHUNKED + b"5;a\r\r\nabcde\r\n0\r\n\r\n")
def test_requests_are_read_as_both_oracles_read_them(data: bytes) -> None:
    compare(new_request, data)


@SETTINGS
@given(mutated(responses()))
def test_responses_are_read_as_both_oracles_read_them(data: bytes) -> None:
    compare(new_response, data)


@given(valid_chunked())
def test_what_passes_on_of_a_chunked_body_decodes_alike_everywhere(body: bytes) -> None:
    framed = b"POST / HTTP/1.1" + CHUNKED + read_chunks([body], decode=False).out
    decoded = read_chunks([body], decode=True).out
    for name, oracle in ORACLES.items():
        reading = oracle(new_request, framed)
        assert (reading.is_one_message, reading.body) == (True, decoded), name


# -- the exceptions are real -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", STRICTER, ids=lambda row: f"{row.new.__name__}: {row.detail}")
def test_both_oracles_accept_what_we_are_stricter_in(row: Stricter) -> None:
    assert ours(row.new, row.example).refused == row.detail
    assert re.match(row.pattern, row.example)
    assert [oracle(row.new, row.example).refused for oracle in ORACLES.values()] == ["", ""]


@pytest.mark.parametrize(
    ("oracle", "data"),
    [("llhttp", b"FOO / HTTP/1.1" + HOST + b"\r\n"), ("h11", b"\r\nGET / HTTP/1.1" + HOST + b"\r\n")],
)
def test_an_oracle_refuses_what_is_translated_for_it(oracle: str, data: bytes) -> None:
    assert ORACLES[oracle](new_request, data).refused
    assert ours(new_request, data).is_one_message
