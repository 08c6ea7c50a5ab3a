"""Reading HTTP/2 frames: what is handed out and what is refused. Each case whole, byte by byte, with a tail."""

import pytest

from equipoise.wire.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HAS_PRIORITY,
    HEADERS,
    HTTP_1,
    HTTP_2,
    MAX_PIECES,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    UNDECIDED,
    WINDOW_UPDATE,
    FrameReader,
    protocol_of,
)
from equipoise.wire.http2_errors import ENHANCE_YOUR_CALM, FRAME_SIZE_ERROR, PROTOCOL_ERROR, Http2Error
from tests.support.frames import (
    FIRST,
    Read,
    accepted,
    frame,
    from_client,
    new_reader,
    raised,
    read,
    refused,
    refused_at_start,
)

CONNECTION = 0


def word(value: int) -> bytes:
    return value.to_bytes(4, "big")


def small_blocks() -> FrameReader:
    return FrameReader(from_client=False, max_block=10, max_continuations=3)


# -- the preface -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(len(PREFACE)))
def test_a_part_of_the_preface_decides_nothing(size: int) -> None:
    assert protocol_of(PREFACE[:size]) == UNDECIDED


@pytest.mark.parametrize("tail", [b"", FIRST])
def test_the_whole_preface_is_http_2(tail: bytes) -> None:
    assert protocol_of(PREFACE + tail) == HTTP_2


@pytest.mark.parametrize("data", [b"G", b"POST / HTTP/1.1\r\n", b"PRI * HTTP/1.1\r\n\r\n", PREFACE[:23] + b"x", b"pri"])
def test_anything_else_is_http_1(data: bytes) -> None:
    assert protocol_of(data) == HTTP_1


def test_frames_follow_the_preface() -> None:
    data = PREFACE + FIRST + frame(DATA, 1, b"abc")
    whole = read([data], from_client)
    assert [each.kind for each in whole.frames] == [SETTINGS, DATA]
    assert read([data[i : i + 1] for i in range(len(data))], from_client) == whole


@pytest.mark.parametrize("size", range(len(PREFACE)))
def test_a_wrong_preface_is_refused_at_its_first_wrong_byte(size: int) -> None:
    reader = from_client()
    reader.feed(PREFACE[:size])
    assert not reader.next()
    reader.feed(b"\x00")
    assert raised(reader.next) == (PROTOCOL_ERROR, CONNECTION)


def test_a_client_without_a_preface_is_refused() -> None:
    assert refused_at_start(FIRST, from_client) == (PROTOCOL_ERROR, CONNECTION)


@pytest.mark.parametrize(
    "first", [frame(PING, payload=b"8 bytes."), frame(SETTINGS, flags=ACK), frame(HEADERS, 1, flags=END_HEADERS)]
)
def test_the_first_frame_has_to_be_settings(first: bytes) -> None:
    assert refused_at_start(first, new_reader) == (PROTOCOL_ERROR, CONNECTION)


# -- what is handed out ----------------------------------------------------------------------------------------------


def test_data_comes_without_its_padding_and_with_its_whole_size() -> None:
    padded = frame(DATA, 1, b"\x03abc\0\0\0", PADDED | END_STREAM)
    assert accepted(padded) == [Read(DATA, PADDED | END_STREAM, 1, b"abc", True, 7)]


def test_data_may_be_all_padding() -> None:
    assert accepted(frame(DATA, 1, b"\x02\0\0", PADDED)) == [Read(DATA, PADDED, 1, b"", False, 3)]


def test_data_may_be_empty() -> None:
    assert accepted(frame(DATA, 3)) == [Read(DATA, 0, 3, b"", False, 0)]


def test_headers_come_without_padding_and_priority() -> None:
    flags = PADDED | HAS_PRIORITY | END_HEADERS | END_STREAM
    payload = b"\x02" + word(3) + b"\x10" + b"block" + b"\0\0"
    assert accepted(frame(HEADERS, 1, payload, flags)) == [Read(HEADERS, flags, 1, b"block", True, 13)]


def test_a_header_block_in_several_frames_comes_as_one() -> None:
    data = (
        frame(HEADERS, 1, b"\x01ab\0", END_STREAM | PADDED)
        + frame(CONTINUATION, 1)
        + frame(CONTINUATION, 1, b"cd", END_HEADERS)
        + frame(DATA, 3, b"next")
    )
    headers, follower = accepted(data)
    assert headers == Read(HEADERS, END_STREAM | PADDED | END_HEADERS, 1, b"abcd", True, 4)
    assert follower == Read(DATA, 0, 3, b"next", False, 4)


def test_an_unfinished_header_block_says_whose_it_is() -> None:
    reader = new_reader()
    reader.feed(FIRST + frame(HEADERS, 5, b"ab"))
    assert reader.next()
    assert not reader.next()
    assert reader.open_block == 5
    reader.feed(frame(CONTINUATION, 5, b"", END_HEADERS))
    assert reader.next()
    assert reader.open_block == 0


def test_the_numbers_of_small_frames_are_read() -> None:
    frames = accepted(
        frame(RST_STREAM, 1, word(0xFFFF_FFFF))
        + frame(WINDOW_UPDATE, 0, word(0x8000_0001))
        + frame(WINDOW_UPDATE, 3, word(0x7FFF_FFFF))
        + frame(GOAWAY, 0, word(0x8000_0007) + word(0xB) + b"debug")
    )
    assert [(each.value, each.last_stream) for each in frames] == [
        (0xFFFF_FFFF, 0),
        (1, 0),
        (0x7FFF_FFFF, 0),
        (0xB, 7),
    ]
    assert frames[-1].payload == b"debug"


def test_ping_and_settings_come_with_their_payload() -> None:
    frames = accepted(
        frame(PING, 0, b"12345678", ACK) + frame(SETTINGS, 0, b"\0\1\0\0\0\0") + frame(SETTINGS, flags=ACK)
    )
    assert [(each.flags, each.payload) for each in frames] == [(ACK, b"12345678"), (0, b"\0\1\0\0\0\0"), (ACK, b"")]


@pytest.mark.parametrize("stream", [1, 2])
def test_priority_may_come_on_any_stream(stream: int) -> None:
    (priority,) = accepted(frame(PRIORITY, stream, word(7) + b"\x10"))
    assert (priority.kind, priority.stream) == (PRIORITY, stream)


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_an_unknown_type_is_handed_out_to_be_counted_and_ignored(stream: int) -> None:
    assert [each.kind for each in accepted(frame(0xA, stream, b"x") + frame(0xFF, stream))] == [0xA, 0xFF]


def test_the_reserved_bit_of_a_stream_means_nothing() -> None:
    (data,) = accepted(frame(DATA, 0x8000_0001, b"x"))
    assert data.stream == 1


def test_unknown_flags_mean_nothing() -> None:
    assert [each.payload for each in accepted(frame(DATA, 1, b"ab", 0xF6) + frame(PING, 0, b"12345678", 0xFE))] == [
        b"ab",
        b"12345678",
    ]


def test_a_frame_of_the_largest_size_is_read() -> None:
    reader = FrameReader(from_client=False, max_frame=1 << 20)
    data = b"x" * (1 << 20)
    reader.feed(FIRST + frame(DATA, 0x7FFF_FFFF, data))
    assert reader.next()
    assert reader.next()
    assert (reader.stream, reader.payload()) == (0x7FFF_FFFF, data)


def test_a_frame_in_many_small_pieces_is_kept_in_few() -> None:
    reader = new_reader()
    reader.feed(FIRST + frame(DATA, 1, b"xy" * 8000)[:11])
    assert reader.next()
    assert not reader.next()
    for _ in range(7998):
        reader.feed(b"xy")
        assert not reader.next()
        assert len(reader._held or []) <= MAX_PIECES + 1
    reader.feed(b"xy" + b"\0")
    assert reader.next()
    assert reader.payload() == b"xy" * 8000
    assert not reader.next()


def test_a_header_block_at_its_limits_is_accepted() -> None:
    data = (
        frame(HEADERS, 1, b"1234")
        + frame(CONTINUATION, 1, b"56") * 2
        + frame(CONTINUATION, 1, b"78", END_HEADERS)
        + frame(HEADERS, 3, b"1234567890", END_HEADERS)
    )
    assert [each.payload for each in accepted(data, small_blocks)] == [b"1234565678", b"1234567890"]


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*range(10), 0x20])
def test_a_frame_longer_than_allowed_is_refused_by_its_head(kind: int) -> None:
    reader = new_reader()
    reader.feed(FIRST + frame(kind, 1, bytes(16_385))[:9])
    assert reader.next()
    assert raised(reader.next) == (FRAME_SIZE_ERROR, CONNECTION)


@pytest.mark.parametrize("kind", [DATA, HEADERS, PRIORITY, RST_STREAM])
def test_a_frame_of_a_stream_needs_one(kind: int) -> None:
    assert refused(frame(kind, 0, b"12345")) == (PROTOCOL_ERROR, CONNECTION)


@pytest.mark.parametrize("kind", [SETTINGS, PING, GOAWAY])
def test_a_frame_of_the_connection_is_on_no_stream(kind: int) -> None:
    assert refused(frame(kind, 1, b"12345678")) == (PROTOCOL_ERROR, CONNECTION)


@pytest.mark.parametrize("kind", [DATA, HEADERS, RST_STREAM, WINDOW_UPDATE])
def test_nothing_comes_on_a_stream_that_only_a_push_could_open(kind: int) -> None:
    assert refused(frame(kind, 2, b"1234", END_HEADERS)) == (PROTOCOL_ERROR, CONNECTION)


@pytest.mark.parametrize("new", [new_reader, from_client])
def test_a_push_is_refused(new: type[FrameReader]) -> None:
    start = PREFACE if new is from_client else b""
    reading = read([start + FIRST + frame(PUSH_PROMISE, 1, b"1234", END_HEADERS)], new)
    assert reading.errors == [(PROTOCOL_ERROR, CONNECTION)]


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        *((RST_STREAM, size) for size in (0, 3, 5, 8)),
        *((WINDOW_UPDATE, size) for size in (0, 3, 5, 8)),
    ],
)
def test_a_stream_frame_of_the_wrong_length_is_refused(kind: int, size: int) -> None:
    assert refused(frame(kind, 1, bytes(size))) == (FRAME_SIZE_ERROR, CONNECTION)


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        *((PING, size) for size in (0, 7, 9)),
        *((GOAWAY, size) for size in (0, 7)),
        *((SETTINGS, size) for size in (1, 5, 7, 13)),
        (WINDOW_UPDATE, 6),
    ],
)
def test_a_connection_frame_of_the_wrong_length_is_refused(kind: int, size: int) -> None:
    assert refused(frame(kind, 0, bytes(size))) == (FRAME_SIZE_ERROR, CONNECTION)


def test_an_acknowledgement_of_settings_has_no_payload() -> None:
    assert refused(frame(SETTINGS, 0, bytes(6), ACK)) == (FRAME_SIZE_ERROR, CONNECTION)


@pytest.mark.parametrize("size", [0, 4, 6, 5000])
def test_a_priority_of_the_wrong_length_ends_its_stream_alone(size: int) -> None:
    data = frame(PRIORITY, 3, bytes(size)) + frame(DATA, 5, b"next")
    reading = read([FIRST + data])
    assert read([bytes((each,)) for each in FIRST + data]) == reading
    assert reading.errors == [(FRAME_SIZE_ERROR, 3)]
    assert reading.frames[-1].payload == b"next"


def test_a_window_update_by_nothing_ends_its_stream_alone() -> None:
    data = frame(WINDOW_UPDATE, 3, word(0x8000_0000)) + frame(DATA, 5, b"next")
    reading = read([FIRST + data])
    assert reading.errors == [(PROTOCOL_ERROR, 3)]
    assert reading.frames[-1].payload == b"next"


def test_a_window_update_by_nothing_on_the_connection_ends_it() -> None:
    assert refused(frame(WINDOW_UPDATE, 0, word(0))) == (PROTOCOL_ERROR, CONNECTION)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (DATA, b"\x01"),
        (DATA, b"\x03ab"),
        (DATA, b"\xff" + bytes(254)),
        (HEADERS, b"\x01"),
        (HEADERS, b"\x03ab"),
    ],
)
def test_padding_longer_than_the_payload_is_refused(kind: int, payload: bytes) -> None:
    assert refused(frame(kind, 1, payload, PADDED | END_HEADERS)) == (PROTOCOL_ERROR, CONNECTION)


def test_padding_that_covers_the_priority_is_refused() -> None:
    data = frame(HEADERS, 1, b"\x01" + bytes(5), PADDED | HAS_PRIORITY | END_HEADERS)
    assert refused(data) == (PROTOCOL_ERROR, CONNECTION)


@pytest.mark.parametrize(
    ("kind", "flags", "size"),
    [
        (DATA, PADDED, 0),
        (HEADERS, PADDED, 0),
        (HEADERS, HAS_PRIORITY, 4),
        (HEADERS, PADDED | HAS_PRIORITY, 5),
    ],
)
def test_a_frame_too_short_for_its_flags_is_refused(kind: int, flags: int, size: int) -> None:
    assert refused(frame(kind, 1, bytes(size), flags | END_HEADERS)) == (FRAME_SIZE_ERROR, CONNECTION)


def test_headers_that_depend_on_themselves_are_refused() -> None:
    data = frame(HEADERS, 3, word(0x8000_0003) + b"\x10", HAS_PRIORITY | END_HEADERS)
    assert refused(data) == (PROTOCOL_ERROR, CONNECTION)


def test_a_priority_that_depends_on_itself_ends_its_stream() -> None:
    assert refused(frame(PRIORITY, 3, word(3) + b"\x10")) == (PROTOCOL_ERROR, 3)


def test_a_continuation_continues_something() -> None:
    assert refused(frame(CONTINUATION, 1, b"x", END_HEADERS)) == (PROTOCOL_ERROR, CONNECTION)


def test_a_continuation_does_not_follow_a_whole_block() -> None:
    data = frame(HEADERS, 1, b"x", END_HEADERS) + frame(CONTINUATION, 1, b"x", END_HEADERS)
    assert refused(data) == (PROTOCOL_ERROR, CONNECTION)


@pytest.mark.parametrize(
    "other",
    [
        frame(DATA, 1, b"x"),
        frame(HEADERS, 1, b"x", END_HEADERS),
        frame(CONTINUATION, 3, b"x", END_HEADERS),
        frame(CONTINUATION, 0, b"x", END_HEADERS),
        frame(PING, 0, bytes(8)),
        frame(0xA, 1, b"x"),
    ],
    ids=["data", "headers", "another-stream", "no-stream", "ping", "unknown"],
)
def test_nothing_comes_within_a_header_block(other: bytes) -> None:
    assert refused(frame(HEADERS, 1, b"x") + other) == (PROTOCOL_ERROR, CONNECTION)


@pytest.mark.parametrize(
    "data",
    [
        frame(HEADERS, 1, b"12345678901", END_HEADERS),
        frame(HEADERS, 1, b"12345678901"),
        frame(HEADERS, 1, b"123456") + frame(CONTINUATION, 1, b"78901", END_HEADERS),
        frame(HEADERS, 1, b"123456") + frame(CONTINUATION, 1, b"789") + frame(CONTINUATION, 1, b"01"),
    ],
)
def test_a_header_block_of_too_many_bytes_is_refused(data: bytes) -> None:
    assert refused(data, small_blocks) == (ENHANCE_YOUR_CALM, CONNECTION)


@pytest.mark.parametrize("flags", [0, END_HEADERS])
def test_a_header_block_in_too_many_frames_is_refused(flags: int) -> None:
    data = frame(HEADERS, 1) + frame(CONTINUATION, 1) * 3 + frame(CONTINUATION, 1, b"", flags)
    assert refused(data, small_blocks) == (ENHANCE_YOUR_CALM, CONNECTION)


def test_a_connection_error_comes_again_when_asked_again() -> None:
    reader = new_reader()
    reader.feed(FIRST + frame(DATA, 0, b"x"))
    assert reader.next()
    for _ in range(2):
        with pytest.raises(Http2Error):
            reader.next()
