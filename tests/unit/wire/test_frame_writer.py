"""Writing HTTP/2 frames: byte for byte, and cut to what the peer takes."""

import pytest

from equipoise.wire.frame_writer import MOST_FRAME, FrameWriter
from equipoise.wire.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    FrameReader,
)
from tests.support.frames import Read, frame, read

LIMIT = 16_384


def frames(writer: FrameWriter) -> list[Read]:
    """What a reader makes of it."""
    reading = read([frame(SETTINGS) + writer.take()], lambda: FrameReader(False, max_frame=1 << 24, max_block=1 << 24))
    assert reading.errors == []
    return reading.frames[1:]


def heads(data: bytes) -> list[tuple[int, int, int, int]]:
    """Length, type, flags and stream of each frame."""
    found = []
    while data:
        size = int.from_bytes(data[:3], "big")
        found.append((size, data[3], data[4], int.from_bytes(data[5:9], "big")))
        data = data[9 + size :]
    return found


@pytest.mark.parametrize("stream", [1, 255, 256, 0x7FFF_FFFF])
@pytest.mark.parametrize("end_stream", [False, True])
def test_data_is_one_frame(stream: int, end_stream: bool) -> None:
    writer = FrameWriter()
    writer.data(stream, b"abc", end_stream)
    assert writer.take() == frame(DATA, stream, b"abc", END_STREAM if end_stream else 0)


def test_data_of_no_byte_is_an_empty_frame() -> None:
    writer = FrameWriter()
    writer.data(1, b"", True)
    assert writer.take() == frame(DATA, 1, b"", END_STREAM)


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1, 2 * LIMIT, 2 * LIMIT + 1])
def test_long_data_is_cut_and_ends_with_its_last_frame(size: int) -> None:
    writer = FrameWriter()
    data = bytes(range(256)) * (size // 256 + 1)
    writer.data(3, data[:size], True)
    found = frames(writer)
    assert b"".join(each.payload for each in found) == data[:size]
    assert [each.end_stream for each in found] == [False] * (len(found) - 1) + [True]
    assert max(each.size for each in found) == LIMIT
    assert min(each.size for each in found) > 0


def test_data_goes_on_from_a_byte() -> None:
    writer = FrameWriter()
    writer.data_part(3, b"abcdef", 4, True)
    writer.data_part(5, b"abcdef", 6, True)
    assert writer.take() == frame(DATA, 3, b"ef", END_STREAM) + frame(DATA, 5, b"", END_STREAM)


@pytest.mark.parametrize("end_stream", [False, True])
def test_a_header_block_is_one_frame(end_stream: bool) -> None:
    flags = END_HEADERS | (END_STREAM if end_stream else 0)
    whole, patched = FrameWriter(), FrameWriter()
    for writer in (whole, patched):
        writer.ping(b"12345678", ack=False)
    whole.headers(5, b"block", end_stream)
    start = patched.begin_headers(5)
    patched.out.write(b"block")
    patched.end_headers(start, 5, end_stream)
    expected = frame(PING, 0, b"12345678") + frame(HEADERS, 5, b"block", flags)
    assert (whole.take(), patched.take()) == (expected, expected)


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1, 2 * LIMIT, 2 * LIMIT + 1])
def test_a_long_header_block_is_cut_the_same_either_way(size: int) -> None:
    block = bytes(range(256)) * (size // 256 + 1)
    whole, patched = FrameWriter(), FrameWriter()
    for writer in (whole, patched):
        writer.settings_ack()
    whole.headers(5, block[:size], True)
    start = patched.begin_headers(5)
    patched.out.write(block[:size])
    patched.end_headers(start, 5, True)
    data = patched.take()
    assert whole.take() == data
    _, first, *rest = heads(data)
    assert first[1:] == (HEADERS, END_STREAM | (0 if rest else END_HEADERS), 5)
    assert [each[1:] for each in rest] == [
        (CONTINUATION, END_HEADERS if number == len(rest) - 1 else 0, 5) for number in range(len(rest))
    ]
    assert b"".join(each.payload for each in read_back(data)) == block[:size]


def read_back(data: bytes) -> list[Read]:
    reading = read([frame(SETTINGS) + data], lambda: FrameReader(False, max_block=1 << 24))
    return [each for each in reading.frames if each.kind == HEADERS]


def test_a_larger_frame_of_the_peer_is_used_up_to_a_limit() -> None:
    writer = FrameWriter()
    writer.allow(20_000)
    writer.data(1, bytes(20_000), False)
    assert [each.size for each in frames(writer)] == [20_000]
    writer.allow(0xFF_FFFF)
    writer.data(1, bytes(MOST_FRAME + 1), False)
    assert [each.size for each in frames(writer)] == [MOST_FRAME, 1]


@pytest.mark.parametrize("code", [0, 8, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF])
def test_an_error_code_has_32_bits(code: int) -> None:
    writer = FrameWriter()
    writer.rst_stream(3, code)
    writer.goaway(7, code, b"why")
    word = code.to_bytes(4, "big")
    assert writer.take() == frame(RST_STREAM, 3, word) + frame(GOAWAY, 0, b"\0\0\0\7" + word + b"why")


def test_debug_data_is_cut_to_one_frame() -> None:
    writer = FrameWriter()
    writer.goaway(0, 0, bytes(20_000))
    assert [each[0] for each in heads(writer.take())] == [LIMIT]


@pytest.mark.parametrize("increment", [1, 0x7FFF_FFFF])
def test_a_window_update_grants_bytes(increment: int) -> None:
    writer = FrameWriter()
    writer.window_update(0, increment)
    assert writer.take() == frame(WINDOW_UPDATE, 0, increment.to_bytes(4, "big"))


@pytest.mark.parametrize("increment", [0, 0x8000_0000])
def test_no_window_update_grants_nothing_or_too_much(increment: int) -> None:
    with pytest.raises(AssertionError):
        FrameWriter().window_update(0, increment)


def test_settings_keep_their_order() -> None:
    writer = FrameWriter()
    writer.preface()
    writer.settings([(4, 0x7FFF_FFFF), (1, 0xFFFF_FFFF), (8, 1)])
    writer.settings([])
    writer.settings_ack()
    payload = bytes.fromhex("0004 7fffffff 0001 ffffffff 0008 00000001")
    assert writer.take() == PREFACE + frame(SETTINGS, 0, payload) + frame(SETTINGS) + frame(SETTINGS, flags=ACK)


def test_a_ping_is_answered_with_its_payload() -> None:
    writer = FrameWriter()
    writer.ping(b"12345678", ack=True)
    assert writer.take() == frame(PING, 0, b"12345678", ACK)


@pytest.mark.parametrize("size", [7, 9])
def test_a_ping_has_eight_bytes(size: int) -> None:
    with pytest.raises(AssertionError):
        FrameWriter().ping(bytes(size), ack=False)


def test_what_was_taken_is_gone() -> None:
    writer = FrameWriter()
    writer.settings_ack()
    writer.take()
    assert writer.take() == b""


def test_a_writer_that_was_large_gives_its_memory_back() -> None:
    writer = FrameWriter()
    before = writer.out
    writer.data(1, b"x", False)
    writer.take()
    assert writer.out is before
    writer.data(1, bytes(1 << 20), False)
    writer.take()
    assert writer.out is not before
    writer.settings_ack()
    assert writer.take() == frame(SETTINGS, flags=ACK)
