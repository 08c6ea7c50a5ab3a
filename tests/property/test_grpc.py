"""gRPC's codec against grpcio's and the protocol buffers' own, on values that nobody thought of."""

from typing import Any

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from hypothesis import given
from hypothesis import strategies as st

from equipoise.wire.grpc import (
    LONGEST_TIMEOUT,
    GrpcError,
    Messages,
    decode_message,
    encode_message,
    frame_message,
    timeout_ns,
    timeout_value,
)
from equipoise.wire.grpc_health import health_request, health_response, read_health_request, read_health_response

REQUEST: Any = health_pb2.HealthCheckRequest
RESPONSE: Any = health_pb2.HealthCheckResponse

texts = st.text(st.characters(exclude_categories=["Cs"]))
groups = frozenset({3, 4})


@given(texts)
def test_a_health_request_is_what_protobuf_writes(service: str) -> None:
    message = REQUEST(service=service).SerializeToString()
    assert health_request(service) == message
    assert read_health_request(message) == service


@given(st.integers(0, 2**31 - 1))
def test_a_health_response_is_what_protobuf_writes(status: int) -> None:
    message = RESPONSE(status=status).SerializeToString()
    assert health_response(status) == message
    assert read_health_response(message) == status


def encodings(message: bytes) -> set[int]:
    """A superset of the encodings that fields of the message have."""
    return {octet & 7 for octet in message}


@given(st.binary(max_size=40) | st.lists(st.sampled_from([b"\x08", b"\x0a", b"\x01", b"\x80", b"\xff"])).map(b"".join))
def test_any_bytes_are_read_as_protobuf_reads_them_or_refused(message: bytes) -> None:
    try:
        status = read_health_response(message)
    except GrpcError:
        # Stricter than protobuf in two things that no writer of a health message does: groups, and numbers that are
        # longer than 64 bits.
        assert refused_by_protobuf(RESPONSE, message) or encodings(message) & groups or b"\xff" in message
        return
    assert RESPONSE.FromString(message).status == status


@given(st.binary(max_size=40))
def test_any_bytes_are_a_request_as_for_protobuf_or_refused(message: bytes) -> None:
    try:
        service = read_health_request(message)
    except GrpcError:
        assert (
            refused_by_protobuf(REQUEST, message)
            or encodings(message) & groups
            or any(octet >= 0x80 for octet in message)
        )
        return
    assert REQUEST.FromString(message).service == service


def refused_by_protobuf(kind: Any, message: bytes) -> bool:
    try:
        kind.FromString(message)
    except DecodeError:
        return True
    return False


@given(st.integers(1, LONGEST_TIMEOUT))
def test_a_timeout_survives_its_text_but_for_rounding_up(ns: int) -> None:
    value = timeout_value(ns)
    assert len(value) <= 9
    back = timeout_ns(value)
    # Eight digits; a unit is at most 1,000 of the next smaller one, so at least five of them are significant.
    assert ns <= back <= ns + ns // 10_000 + 1


@given(st.binary(max_size=10))
def test_no_value_is_a_negative_timeout(value: bytes) -> None:
    assert -1 <= timeout_ns(value) <= LONGEST_TIMEOUT


@given(texts)
def test_a_message_survives_its_encoding(text: str) -> None:
    value = encode_message(text)
    assert all(0x20 <= octet <= 0x7E for octet in value)
    assert decode_message(value) == text


@given(st.lists(st.binary(max_size=50), max_size=8), st.data())
def test_messages_are_counted_however_their_bytes_are_cut(parts: list[bytes], data: st.DataObject) -> None:
    body = b"".join(frame_message(part) for part in parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=10)))
    messages = Messages()
    for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        messages.feed(body[begin:end])
    assert (messages.count, messages.octets) == (len(parts), sum(map(len, parts)))
    assert messages.whole()
