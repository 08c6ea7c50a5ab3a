"""The two messages of grpc.health.v1."""

import pytest

from equipoise.wire.grpc import GrpcError
from equipoise.wire.grpc_health import (
    NOT_SERVING,
    SERVICE_UNKNOWN,
    SERVING,
    SERVING_UNKNOWN,
    health_request,
    health_response,
    read_health_request,
    read_health_response,
)


def test_asking_for_the_whole_is_the_empty_message() -> None:
    assert health_request("") == b""
    assert read_health_request(b"") == ""


def test_a_request_carries_the_name_of_the_service() -> None:
    assert health_request("a.B") == b"\x0a\x03a.B"
    assert read_health_request(b"\x0a\x03a.B") == "a.B"


def test_a_name_longer_than_one_octet_of_length_can_say() -> None:
    name = "ü" * 100
    assert health_request(name)[:3] == b"\x0a\xc8\x01"
    assert read_health_request(health_request(name)) == name


@pytest.mark.parametrize(
    ("status", "message"),
    [(SERVING_UNKNOWN, b""), (SERVING, b"\x08\x01"), (NOT_SERVING, b"\x08\x02"), (SERVICE_UNKNOWN, b"\x08\x03")],
)
def test_a_response_carries_the_status(status: int, message: bytes) -> None:
    assert health_response(status) == message
    assert read_health_response(message) == status


def test_the_last_status_holds() -> None:
    assert read_health_response(b"\x08\x01\x08\x02") == NOT_SERVING


def test_unknown_fields_are_passed_over() -> None:
    others = b"\x10\x07" + b"\x19" + b"8" * 8 + b"\x22\x02hi" + b"\x2d" + b"4" * 4
    assert read_health_response(others + b"\x08\x01" + others) == SERVING
    assert read_health_request(others + b"\x0a\x01a" + others) == "a"


def test_the_field_in_another_encoding_is_another_field() -> None:
    assert read_health_response(b"\x0a\x01\x01") == SERVING_UNKNOWN
    assert read_health_request(b"\x08\x01") == ""


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (b"\x81\x00", 1),
        (b"\xff\xff\xff\xff\x07", 0x7FFF_FFFF),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", -1),
        (b"\x81\x80\x80\x80\x10", 1),
    ],
)
def test_a_status_has_32_bits(number: bytes, status: int) -> None:
    assert read_health_response(b"\x08" + number) == status


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        (b"\x08", "message ends within a field"),
        (b"\x08\x80", "message ends within a field"),
        (b"\x0a\x02a", "message ends within a field"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "message ends within a field"),
        (b"\x19" + b"8" * 7, "message ends within a field"),
        (b"\x2d" + b"4" * 3, "message ends within a field"),
        (b"\x08" + b"\xff" * 10, "number too long"),
        (b"\x08" + b"\xff" * 9 + b"\x02", "number too long"),
        (b"\x00\x01", "invalid number of a field"),
        (b"\xff\xff\xff\xff\x10\x01", "invalid number of a field"),
        (b"\x0b\x0c", "unknown encoding of a field"),
        (b"\x0f", "unknown encoding of a field"),
    ],
)
def test_what_is_no_protocol_buffer_is_refused(message: bytes, detail: str) -> None:
    with pytest.raises(GrpcError, match=f"^{detail}$"):
        read_health_response(message)
    with pytest.raises(GrpcError, match=f"^{detail}$"):
        read_health_request(message)


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(GrpcError, match=r"^text that is not UTF-8$"):
        read_health_request(b"\x0a\x01\xff")
