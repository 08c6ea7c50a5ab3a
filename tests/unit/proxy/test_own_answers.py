"""What the balancer says for itself."""

import json

import pytest

from equipoise.errors import ProxyError, client_failed, malformed, refused, upstream_failed
from equipoise.proxy.own_answers import grpc_code, grpc_status, grpc_trailers, own_fields, problem
from equipoise.wire.hpack_header import Header

ERROR = refused("no_target", 503, "No target of pool web can take the request.")


def pairs(fields: list[Header]) -> list[tuple[bytes, bytes]]:
    return [(field.name, field.value) for field in fields]


def test_a_problem_says_what_rfc_9457_names_and_what_the_log_calls_it() -> None:
    assert json.loads(problem(ERROR, b"1")) == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "No target of pool web can take the request.",
        "kind": "no_target",
        "request_id": "1",
    }


def test_a_problem_of_no_request_has_no_id() -> None:
    assert "request_id" not in json.loads(problem(ERROR, None))


def test_a_request_id_that_is_no_text_is_passed_byte_for_byte() -> None:
    assert json.loads(problem(ERROR, b"\xff"))["request_id"] == "\xff"


def test_the_head_of_a_problem_says_its_length_and_when_to_come_again() -> None:
    assert pairs(own_fields(ERROR, 12, 1, b"id")) == [
        (b":status", b"503"),
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"12"),
        (b"retry-after", b"1"),
        (b"x-request-id", b"id"),
    ]


def test_the_head_of_a_problem_says_nothing_that_is_not_so() -> None:
    assert pairs(own_fields(malformed("x"), 0, 0, None)) == [
        (b":status", b"400"),
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"0"),
    ]


def test_a_grpc_call_ends_with_200_and_its_status() -> None:
    assert pairs(grpc_status(ERROR, b"id")) == [
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"14"),
        (b"grpc-message", b"No target of pool web can take the request."),
        (b"x-request-id", b"id"),
    ]


def test_a_grpc_message_is_encoded() -> None:
    assert pairs(grpc_trailers(refused("k", 503, "100 %\n")))[1] == (b"grpc-message", b"100 %25%0A")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (upstream_failed("reset", 1, ""), b"14"),
        (upstream_failed("response_timeout", 1, "", 504), b"4"),
        (client_failed("deadline", 504, ""), b"4"),
        (client_failed("body_too_large", 413, ""), b"8"),
        (refused("no_route", 404, ""), b"12"),
        (malformed(""), b"13"),
    ],
)
def test_a_failure_has_its_grpc_status(error: ProxyError, code: bytes) -> None:
    assert grpc_code(error) == code
