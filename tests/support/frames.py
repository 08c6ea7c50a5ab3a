"""HTTP/2 frames as bytes, and reading them as a connection does, in whatever pieces they come.

Owns: a frame by its numbers, right or wrong; the three ways of each case (whole, byte by byte, with a tail).
Refuses to know: what is valid.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest

from equipoise.wire.frames import SETTINGS, FrameReader
from equipoise.wire.http2_errors import Http2Error

# What may follow a frame: the head of another one, whatever it is.
TAIL = b"\xff\xff\xff\xff\xff\xff\xff\xff"


def frame(kind: int, stream: int = 0, payload: bytes = b"", flags: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


FIRST = frame(SETTINGS)


@dataclass(frozen=True)
class Read:
    """A frame as the reader gave it."""

    kind: int
    flags: int
    stream: int
    payload: bytes
    end_stream: bool
    size: int
    value: int = 0
    last_stream: int = 0


@dataclass
class Reading:
    """All that came of some bytes."""

    frames: list[Read] = field(default_factory=list)
    errors: list[tuple[int, int]] = field(default_factory=list)  # code and stream


def new_reader() -> FrameReader:
    return FrameReader(from_client=False)


def facts(reader: FrameReader) -> Read:
    return Read(
        reader.kind,
        reader.flags,
        reader.stream,
        reader.payload(),
        reader.end_stream,
        reader.size,
        reader.value,
        reader.last_stream,
    )


def read(pieces: Iterable[bytes], new: Callable[[], FrameReader] = new_reader) -> Reading:
    """Reads on behind a stream error, and stops at a connection error."""
    reader, reading = new(), Reading()
    for piece in pieces:
        reader.feed(piece)
        while True:
            try:
                if not reader.next():
                    break
            except Http2Error as error:
                reading.errors.append((error.code, error.stream))
                if error.stream == 0:
                    return reading
                continue
            reading.frames.append(facts(reader))
    return reading


def read_all_ways(data: bytes, new: Callable[[], FrameReader] = new_reader) -> Reading:
    whole = read([data], new)
    assert read([data[i : i + 1] for i in range(len(data))], new) == whole
    assert read([data, TAIL], new) == whole
    return whole


def accepted(data: bytes, new: Callable[[], FrameReader] = new_reader) -> list[Read]:
    """The frames behind a first SETTINGS, read all ways; none is refused."""
    reading = read_all_ways(FIRST + data, new)
    assert reading.errors == []
    return reading.frames[1:]


def refused(data: bytes, new: Callable[[], FrameReader] = new_reader) -> tuple[int, int]:
    """Code and stream of the one error among the frames behind a first SETTINGS, read all ways."""
    reading = read_all_ways(FIRST + data, new)
    (error,) = reading.errors
    return error


def refused_at_start(data: bytes, new: Callable[[], FrameReader]) -> tuple[int, int]:
    """Code and stream of the error that a connection's first bytes lead to."""
    reading = read_all_ways(data, new)
    assert reading.frames == []
    (error,) = reading.errors
    return error


def from_client() -> FrameReader:
    return FrameReader(from_client=True)


def raised(call: Callable[[], object]) -> tuple[int, int]:
    with pytest.raises(Http2Error) as error:
        call()
    return error.value.code, error.value.stream
