"""HTTP/2 frames as `hyperframe` and `h2` read and write them.

What we accept, they accept, as the same frames. What they refuse, we refuse, but for `LAXER`. What they accept and we
refuse is on purpose: `STRICTER` says what and why. What we write, they read back.
"""

from itertools import pairwise

from h2.frame_buffer import FrameBuffer
from hyperframe import frame as hyper
from hypothesis import example, given
from hypothesis import strategies as st

from equipoise.wire.frame_writer import FrameWriter
from equipoise.wire.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HAS_PRIORITY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from tests.support.frame_oracles import ALTSVC, agree, theirs
from tests.support.frames import FIRST, frame, read


def sized(kind: int) -> st.SearchStrategy[bytes]:
    """Payloads of a type, mostly of its length."""
    right = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4, GOAWAY: 12, SETTINGS: 6}
    size = right.get(kind)
    if size is None:
        return st.binary(max_size=24)
    return st.one_of(st.binary(min_size=size, max_size=size), st.binary(max_size=24))


@st.composite
def any_frame(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from([*range(10), DATA, HEADERS, CONTINUATION, 0xB, 0xFF]))
    stream = draw(st.sampled_from([0] if kind in {SETTINGS, PING, GOAWAY} else [1, 1, 1, 3]))
    if draw(st.integers(0, 19)) == 0:
        stream = draw(st.sampled_from([0, 1, 2, 0x7FFF_FFFF, 0x8000_0000]))
    flags = draw(st.sampled_from([0, 0, 1, END_HEADERS, END_HEADERS, PADDED, HAS_PRIORITY, 0x2D, 0xFF]))
    return frame(kind, stream, draw(sized(kind)), flags)


@st.composite
def blocks(draw: st.DrawFn) -> bytes:
    """A header block in good order."""
    rest = draw(st.lists(st.binary(max_size=20), max_size=4))
    flags = draw(st.sampled_from([0, 1]))
    out = frame(HEADERS, 1, draw(st.binary(max_size=20)), flags if rest else flags | END_HEADERS)
    for number, each in enumerate(rest):
        out += frame(CONTINUATION, 1, each, END_HEADERS if number == len(rest) - 1 else 0)
    return out


def conversations() -> st.SearchStrategy[bytes]:
    return st.lists(st.one_of(any_frame(), blocks()), max_size=5).map(b"".join)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A conversation with one byte changed, taken out or put in."""
    data = draw(conversations())
    at = draw(st.integers(0, len(data)))
    middle = draw(st.sampled_from([b"", b"\0", b"\1", b"\x08", b"\xff"]))
    return data[:at] + middle + data[at + draw(st.integers(0, 1)) :]


# -- reading -----------------------------------------------------------------------------------------------------------


@given(conversations())
@example(frame(HEADERS, 1, b"\x05" + bytes(5), PADDED | HAS_PRIORITY | END_HEADERS))
@example(frame(WINDOW_UPDATE, 1, bytes(4)) + frame(DATA, 1, b"x"))
@example(frame(WINDOW_UPDATE, 1, b"\x80\0\0\1"))
@example(frame(ALTSVC))
def test_conversations_are_read_alike(data: bytes) -> None:
    agree(data)


@given(mutated())
def test_mutated_conversations_are_read_alike(data: bytes) -> None:
    agree(data)


@given(st.binary(max_size=60))
def test_noise_is_read_alike(data: bytes) -> None:
    agree(data)


@given(st.one_of(conversations(), mutated()), st.lists(st.integers(0, 200), max_size=6))
def test_the_pieces_do_not_matter(data: bytes, places: list[int]) -> None:
    whole = FIRST + data
    edges = sorted({0, len(whole), *(place % (len(whole) + 1) for place in places)})
    pieces = [whole[a:b] for a, b in pairwise(edges)]
    assert read(pieces) == read([whole])


# -- writing -----------------------------------------------------------------------------------------------------------

streams = st.integers(1, 0x7FFF_FFFF).map(lambda stream: stream | 1)
words = st.integers(0, 0xFFFF_FFFF)
settings_lists = st.lists(st.tuples(st.sampled_from([1, 3, 6]), words), max_size=4, unique_by=lambda pair: pair[0])


@given(streams, st.binary(max_size=100), st.booleans())
def test_data_is_read_back(stream: int, data: bytes, end_stream: bool) -> None:
    writer = FrameWriter()
    writer.data(stream, data, end_stream)
    assert theirs(writer.take()) == ([(DATA, stream, data, end_stream)], "")


@given(streams, st.integers(0, 70_000), st.booleans())
def test_header_blocks_are_read_back(stream: int, size: int, end_stream: bool) -> None:
    writer = FrameWriter()
    block = (b"0123456789abcde" * (size // 15 + 1))[:size]
    start = writer.begin_headers(stream)
    writer.out.write(block)
    writer.end_headers(start, stream, end_stream)
    assert theirs(writer.take()) == ([(HEADERS, stream, block, end_stream)], "")


@given(streams, words, st.integers(1, 0x7FFF_FFFF), st.binary(min_size=8, max_size=8), settings_lists)
def test_small_frames_are_read_back(
    stream: int, code: int, increment: int, ping: bytes, settings: list[tuple[int, int]]
) -> None:
    writer = FrameWriter()
    writer.rst_stream(stream, code)
    writer.window_update(stream, increment)
    writer.ping(ping, ack=True)
    writer.settings(settings)
    writer.settings_ack()
    writer.goaway(stream, code, ping)
    buffer = FrameBuffer()
    buffer.max_frame_size = 16_384
    buffer.add_data(writer.take())
    reset, update, pong, ours_set, ack, goaway = list(buffer)
    assert isinstance(reset, hyper.RstStreamFrame)
    assert (reset.stream_id, reset.error_code) == (stream, code)
    assert isinstance(update, hyper.WindowUpdateFrame)
    assert (update.stream_id, update.window_increment) == (stream, increment)
    assert isinstance(pong, hyper.PingFrame)
    assert (pong.opaque_data, set(pong.flags)) == (ping, {"ACK"})
    assert isinstance(ours_set, hyper.SettingsFrame)
    assert list(ours_set.settings.items()) == settings
    assert isinstance(ack, hyper.SettingsFrame)
    assert set(ack.flags) == {"ACK"}
    assert isinstance(goaway, hyper.GoAwayFrame)
    assert (goaway.last_stream_id, goaway.error_code, goaway.additional_data) == (stream, code, ping)
