"""gRPC's header values and the prefixes of its messages."""

import pytest

from equipoise.wire.grpc import (
    CANCELLED,
    DEADLINE_EXCEEDED,
    INTERNAL,
    LONGEST_TIMEOUT,
    RESOURCE_EXHAUSTED,
    UNAUTHENTICATED,
    UNAVAILABLE,
    UNIMPLEMENTED,
    UNKNOWN,
    GrpcError,
    Messages,
    decode_message,
    encode_message,
    frame_message,
    is_grpc,
    read_status,
    status_for,
    status_name,
    timeout_ns,
    timeout_value,
    unframe_message,
)

SECOND = 1_000_000_000


# -- which request is a call -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        b"application/grpc",
        b"application/grpc+proto",
        b"application/grpc+json",
        b"application/grpc;charset=utf-8",
        b"application/grpc ; x=y",
        b"Application/GRPC",
        b"APPLICATION/GRPC+proto",
    ],
)
def test_a_content_type_of_grpc_is_a_call(value: bytes) -> None:
    assert is_grpc(value)


@pytest.mark.parametrize(
    "value",
    [b"", b"application/grp", b"application/grpc-web", b"application/grpc-web+proto", b"application/grpcx", b"grpc"],
)
def test_another_content_type_is_no_call(value: bytes) -> None:
    assert not is_grpc(value)


# -- deadlines -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        (b"1n", 1),
        (b"250u", 250_000),
        (b"1500m", 1500 * 1_000_000),
        (b"2S", 2 * SECOND),
        (b"3M", 180 * SECOND),
        (b"1H", 3600 * SECOND),
        (b"99999999n", 99_999_999),
        (b"00000001S", SECOND),
        (b"0n", 0),
    ],
)
def test_a_timeout_is_read_in_each_unit(value: bytes, ns: int) -> None:
    assert timeout_ns(value) == ns


def test_a_timeout_beyond_any_clock_is_the_longest_one() -> None:
    assert timeout_ns(b"99999999H") == LONGEST_TIMEOUT


@pytest.mark.parametrize(
    "value", [b"", b"S", b"1", b"123456789S", b"-1S", b"+1S", b"1.5S", b"1s", b"1h", b" 1S", b"1S ", b"1_0S", b"\xb2S"]
)
def test_anything_else_is_no_timeout(value: bytes) -> None:
    assert timeout_ns(value) == -1


@pytest.mark.parametrize(
    ("ns", "value"),
    [
        (1, b"1n"),
        (99_999_999, b"99999999n"),
        (100_000_000, b"100000u"),
        (100_000_001, b"100001u"),
        (99_999_999_000, b"99999999u"),
        (100 * SECOND, b"100000m"),
        (100_000 * SECOND, b"100000S"),
        (100_000_000 * SECOND, b"1666667M"),
        (LONGEST_TIMEOUT, b"76861434M"),
    ],
)
def test_a_timeout_is_written_in_the_smallest_unit_that_holds_it(ns: int, value: bytes) -> None:
    assert timeout_value(ns) == value


@pytest.mark.parametrize("ns", [0, -1, -SECOND])
def test_a_deadline_that_has_passed_is_the_shortest_timeout(ns: int) -> None:
    assert timeout_value(ns) == b"1n"


# -- status ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("http_status", "kind", "status"),
    [
        (502, "connect_failed", UNAVAILABLE),
        (503, "no_target", UNAVAILABLE),
        (503, "queue_full", RESOURCE_EXHAUSTED),
        (504, "response_timeout", DEADLINE_EXCEEDED),
        (408, "body_timeout", DEADLINE_EXCEEDED),
        (413, "body_too_large", RESOURCE_EXHAUSTED),
        (414, "malformed", RESOURCE_EXHAUSTED),
        (431, "malformed", RESOURCE_EXHAUSTED),
        (400, "malformed", INTERNAL),
        (404, "no_route", UNIMPLEMENTED),
        (499, "client_gone", CANCELLED),
        (500, "algorithm_failed", INTERNAL),
        (501, "malformed", UNIMPLEMENTED),
        (401, "", UNAUTHENTICATED),
        (418, "", UNKNOWN),
    ],
)
def test_an_error_of_our_own_has_a_status(http_status: int, kind: str, status: int) -> None:
    assert status_for(http_status, kind) == status


@pytest.mark.parametrize(("value", "status"), [(b"0", 0), (b"14", 14), (b"999999999", 999_999_999)])
def test_a_status_is_read(value: bytes, status: int) -> None:
    assert read_status(value) == status


@pytest.mark.parametrize("value", [b"", b"-1", b"+1", b"1 ", b"1_0", b"OK", b"\xb2", b"1234567890"])
def test_a_status_that_is_no_number_is_none(value: bytes) -> None:
    assert read_status(value) == -1


@pytest.mark.parametrize(("status", "name"), [(0, "OK"), (16, "UNAUTHENTICATED"), (17, "17"), (-1, "-1")])
def test_a_status_has_a_name_for_people(status: int, name: str) -> None:
    assert status_name(status) == name


# -- the message of a status ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", b""),
        ("No target can take the call.", b"No target can take the call."),
        ("100%", b"100%25"),
        ("a\r\nb", b"a%0D%0Ab"),
        ("~\x7f", b"~%7F"),
        ("für", b"f%C3%BCr"),
        ("\ud800", b"?"),
    ],
)
def test_a_message_is_percent_encoded(text: str, value: bytes) -> None:
    assert encode_message(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        (b"f%c3%BCr", "für"),
        (b"100%", "100%"),
        (b"100%2", "100%2"),
        (b"%zz%41", "%zzA"),
        (b"%ff", "\ufffd"),
        (b"\xff", "\ufffd"),
    ],
)
def test_a_message_is_read_whatever_it_is(value: bytes, text: str) -> None:
    assert decode_message(value) == text


# -- messages ----------------------------------------------------------------------------------------------------------


def test_messages_are_counted() -> None:
    messages = Messages()
    messages.feed(frame_message(b"abc") + frame_message(b"") + frame_message(b"x" * 70_000))
    assert (messages.count, messages.octets, messages.compressed, messages.whole()) == (3, 70_003, 0, True)


def test_messages_are_counted_octet_by_octet() -> None:
    body = frame_message(b"abc") + frame_message(b"") + frame_message(b"defg")
    messages = Messages()
    for at in range(len(body)):
        messages.feed(body[at : at + 1])
    assert (messages.count, messages.octets, messages.whole()) == (3, 7, True)


@pytest.mark.parametrize("cut", [1, 4, 5, 6, 7])
def test_a_body_that_ends_within_a_message_is_not_whole(cut: int) -> None:
    messages = Messages()
    messages.feed(frame_message(b"abc")[:cut])
    assert (messages.count, messages.whole()) == (0, False)


def test_compressed_messages_are_told_apart() -> None:
    messages = Messages()
    messages.feed(frame_message(b"a") + b"\1" + frame_message(b"zzz")[1:])
    assert (messages.count, messages.compressed) == (2, 1)


def test_nothing_is_counted_behind_an_invalid_flag() -> None:
    messages = Messages()
    messages.feed(frame_message(b"a") + b"\2\0\0\0\0")
    messages.feed(frame_message(b"a"))
    assert (messages.count, messages.valid, messages.whole()) == (1, False, False)


def test_the_longest_length_is_no_negative_one() -> None:
    messages = Messages()
    messages.feed(b"\0\xff\xff\xff\xff" + b"x" * 10)
    assert (messages.count, messages.octets, messages.whole()) == (0, 10, False)


def test_the_one_message_of_a_body_is_taken_out() -> None:
    assert unframe_message(frame_message(b"abc")) == b"abc"
    assert unframe_message(frame_message(b"")) == b""


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "no message"),
        (b"\0\0\0", "body ends within a message"),
        (b"\0\0\0\0\2a", "body ends within a message"),
        (b"\0\xff\xff\xff\xffa", "body ends within a message"),
        (b"\0\0\0\0\1ab", "more than one message"),
        (b"\1\0\0\0\1a", "compressed message"),
        (b"\2\0\0\0\1a", "invalid flag before a message"),
    ],
)
def test_a_body_of_anything_but_one_message_is_refused(body: bytes, detail: str) -> None:
    with pytest.raises(GrpcError, match=f"^{detail}$"):
        unframe_message(body)
