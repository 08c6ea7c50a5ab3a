"""HTTP/2 frames as `hyperframe` and `h2` read them, and where we differ on purpose.

Owns: two readings of the same bytes, and what may differ between them.
Refuses to know: where the bytes come from: property tests and the fuzzer ask the same question.
"""

import h2.exceptions
import hyperframe.exceptions
from h2.frame_buffer import FrameBuffer
from hyperframe import frame as hyper

from equipoise.wire.frames import (
    CONTINUATION,
    END_HEADERS,
    HEADERS,
    PADDED,
    PRIORITY,
    SETTINGS,
    WINDOW_UPDATE,
    FrameReader,
)
from equipoise.wire.http2_errors import Http2Error
from tests.support.frames import FIRST

# Detail of the error -> why we refuse what the libraries let through, at this layer.
STRICTER = {
    "CONTINUATION without a header block to continue": "h2 finds out later, by its table of streams",
    "PUSH_PROMISE was not allowed": "h2 finds out later, by its settings",
    "frame on a stream that no client can open": "h2 finds out later, by its table of streams",
    "more padding than payload": "hyperframe lets the padding of HEADERS cover their priority",
    "HEADERS too short for what their flags say": "hyperframe takes the padding's length before it looks for the rest",
    "stream that depends on itself": "h2 finds out later, when it reads the priority",
    "header block too large": "a limit of ours",
    "header block in too many frames": "a limit of ours; h2 allows 64",
}

ALTSVC = 0xA
# Type -> why we let through what hyperframe refuses.
LAXER = {
    WINDOW_UPDATE: "hyperframe takes the reserved bit for a part of the number; RFC 9113 6.9 has it ignored",
    ALTSVC: "hyperframe knows the extension of RFC 7838; we do not, and ignore it",
}

Frame = tuple[int, int, bytes, bool]  # kind, stream, content, whether it ends the stream


def ours(data: bytes) -> tuple[list[Frame], str]:
    """The frames until the first error, and what that was."""
    reader, found = FrameReader(from_client=False), []
    reader.feed(FIRST + data)
    try:
        while reader.next():
            found.append((reader.kind, reader.stream, reader.payload(), reader.end_stream))
    except Http2Error as error:
        return found[1:], error.detail
    return found[1:], ""


def theirs(data: bytes) -> tuple[list[Frame], str]:
    buffer = FrameBuffer()
    found: list[Frame] = []
    buffer.max_frame_size = 16_384
    buffer.add_data(data)
    try:
        found.extend((each_type(each), each.stream_id, content(each), "END_STREAM" in each.flags) for each in buffer)
    except (h2.exceptions.ProtocolError, hyperframe.exceptions.HyperframeError) as error:
        # h2's connection catches the second kind a floor higher.
        return found, repr(error)
    return found, ""


def each_type(each: hyper.Frame) -> int:
    return int(each.type) if each.type is not None else -1


def content(each: hyper.Frame) -> bytes:
    """What we give as the payload."""
    match each:
        case hyper.DataFrame() | hyper.HeadersFrame() | hyper.ContinuationFrame():
            return each.data
        case hyper.GoAwayFrame():
            return each.additional_data
        case hyper.ExtensionFrame():
            return each.body
        case hyper.PingFrame():
            return each.opaque_data
        case _:
            return each.serialize_body()


def same(one: Frame, other: Frame) -> bool:
    # hyperframe gives settings as a dictionary and drops their reserved bits: the numbers are compared in unit tests.
    by_number = {SETTINGS, PRIORITY, WINDOW_UPDATE}
    return one[:2] == other[:2] and one[3] == other[3] and (one[0] in by_number or one[2] == other[2])


def is_all_padding(data: bytes, number: int) -> bool:
    """Whether frame `number` is HEADERS whose padding takes the rest: RFC 9113 6.2 allows it, hyperframe does not.

    A header block in several frames counts as one; only its first frame has padding.
    """
    at = 0
    while len(data) - at > 9:
        length, kind, flags = int.from_bytes(data[at : at + 3]), data[at + 3], data[at + 4]
        if number == 0:
            return kind == HEADERS and bool(flags & PADDED) and data[at + 9] == length - 1
        if kind not in {HEADERS, CONTINUATION} or flags & END_HEADERS:
            number -= 1
        at += 9 + length
    return False


def agree(data: bytes) -> None:
    mine, refusal = ours(data)
    other, other_refusal = theirs(data)
    if other_refusal:
        at = len(other)
        # Of a header block that is not whole nothing has been handed out yet.
        laxer = is_all_padding(data, at) or (len(mine) > at and mine[at][0] in LAXER)
        assert refusal or laxer
    elif refusal:
        # A head is refused before its payload is there, where they wait for it.
        waiting = len(other) == len(mine)
        assert refusal in STRICTER or waiting
    else:
        assert len(mine) == len(other)
    assert all(same(one, two) for one, two in zip(mine, other, strict=False))
