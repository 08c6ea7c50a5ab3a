"""Reading messages as a connection does, in whatever pieces the bytes come.

Owns: the three ways of each parse case (whole, byte by byte, with a tail), and `Dialogue`, the wire layer over a row of
messages.
Refuses to know: what is valid.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import pytest

from equipoise.errors import ProxyError
from equipoise.wire.chunked import ChunkedReader
from equipoise.wire.http1 import RequestHead, ResponseHead

HEAD_BYTES = 32 * 1024
FIELDS = 100
TARGET_BYTES = 8 * 1024

# What may follow a message: half of another one, whatever a smuggler puts there.
TAIL = b"GET /next HTTP/1.1\r\nHo\x00\r\n\r\n"

Head = RequestHead | ResponseHead
H = TypeVar("H", RequestHead, ResponseHead)


def new_request() -> RequestHead:
    return RequestHead(HEAD_BYTES, FIELDS, TARGET_BYTES)


def new_response() -> ResponseHead:
    return ResponseHead(HEAD_BYTES, FIELDS)


def single_bytes(data: bytes) -> list[bytes]:
    """Byte by byte; of long ones only the beginning and the end, since an unfinished line is read anew each time."""
    size = len(data)
    middle = data[300:-300] if size > 1000 else b""
    edges = (data[:300], data[-300:]) if middle else (data, b"")
    first, last = ([edge[i : i + 1] for i in range(len(edge))] for edge in edges)
    return [*first, *(middle[i : i + 1009] for i in range(0, len(middle), 1009)), *last]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` in pieces, none of them empty."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


def read_head(head: Head, pieces: Sequence[bytes]) -> bytes | None:
    """The bytes behind the head; none when it is not whole."""
    data = b""
    for number, piece in enumerate(pieces):
        data += piece
        if head.read(data):
            return data[head.at :] + b"".join(pieces[number + 1 :])
    return None


def accepted(new: Callable[[], H], data: bytes) -> H:
    """Reads a whole head the three ways, which must agree."""
    whole, single, tailed = new(), new(), new()
    assert read_head(whole, [data]) == b""
    assert read_head(single, single_bytes(data)) == b""
    assert read_head(tailed, [data + TAIL]) == TAIL
    assert facts(single) == facts(whole)
    assert facts(tailed) == facts(whole)
    return whole


def refused(new: Callable[[], Head], data: bytes) -> ProxyError:
    """Has a head refused the three ways, with one status."""
    caught = []
    for pieces in ([data], single_bytes(data), [data + TAIL]):
        with pytest.raises(ProxyError) as error:
            read_head(new(), pieces)
        caught.append(error.value)
    assert {error.status for error in caught} == {caught[0].status}
    assert {error.kind for error in caught} == {"malformed"}
    return caught[0]


def passes(new: Callable[[], H], data: bytes) -> bool:
    """Whether a whole head is accepted; either verdict holds the three ways."""
    try:
        read_head(new(), [data])
    except ProxyError:
        refused(new, data)
        return False
    accepted(new, data)
    return True


def request(data: bytes) -> RequestHead:
    return accepted(new_request, data)


def response(data: bytes) -> ResponseHead:
    return accepted(new_response, data)


def refused_request(data: bytes) -> ProxyError:
    return refused(new_request, data)


def refused_response(data: bytes) -> ProxyError:
    return refused(new_response, data)


def facts(head: Head) -> dict[str, object]:
    """All that a head says, by name."""
    names = [
        "minor",
        "content_length",
        "chunked",
        "trailer",
        "close",
        "keep_alive",
        "upgrade",
        "request_id",
        "nominated",
    ]
    if isinstance(head, RequestHead):
        names += ["method", "target", "host", "expect_continue", "forwarded_for", "via"]
    else:
        names += ["status"]
    return {"keep": b"".join(head.keep), **{name: getattr(head, name) for name in names}}


@dataclass
class Chunks:
    """What became of a chunked body."""

    out: bytes
    done: bool
    rest: bytes


def read_chunks(pieces: Sequence[bytes], decode: bool) -> Chunks:
    reader = ChunkedReader(HEAD_BYTES, FIELDS, decode)
    out = b""
    for number, piece in enumerate(pieces):
        out += reader.feed(piece)
        if reader.done:
            return Chunks(out, True, reader.rest + b"".join(pieces[number + 1 :]))
    return Chunks(out, False, b"")


def chunked(data: bytes, *, decode: bool = False) -> bytes:
    """What passes on of a whole chunked body, read the three ways."""
    whole = read_chunks([data], decode)
    assert (whole.done, whole.rest) == (True, b"")
    assert read_chunks(single_bytes(data), decode) == whole
    assert read_chunks([data + TAIL], decode) == Chunks(whole.out, True, TAIL)
    return whole.out


def refused_chunks(data: bytes) -> ProxyError:
    """Has a chunked body refused the three ways, in both outputs."""
    caught = []
    for decode in (False, True):
        for pieces in ([data], single_bytes(data), [data + TAIL]):
            with pytest.raises(ProxyError) as error:
                read_chunks(pieces, decode)
            caught.append(error.value)
    assert {error.status for error in caught} == {caught[0].status}
    return caught[0]


@dataclass
class Passed:
    """A message as far as it came, in the bytes that pass on."""

    head: dict[str, object]
    body: bytes = b""
    whole: bool = False


@dataclass
class Dialogue:
    """One direction of a connection: message after message, until one is refused."""

    new: Callable[[], Head]
    decode: bool = False
    messages: list[Passed] = field(default_factory=list)
    refusal: int = 0
    head: Head | None = None
    unread: bytes = b""
    left: int = 0
    chunks: ChunkedReader | None = None

    def feed(self, data: bytes) -> None:
        """Takes what came from the connection; after a refusal there is nothing more to take."""
        try:
            while data and not self.refusal:
                data = self._body(data) if self.left or self.chunks else self._head(data)
        except ProxyError as error:
            self.refusal = error.status
            self.unread = b""

    def _head(self, data: bytes) -> bytes:
        data = self.unread + data
        self.unread = b""
        if self.head is None:
            self.head = self.new()
        head = self.head
        if not head.read(data):
            self.unread = data
            return b""
        self.head = None
        self.messages.append(Passed(facts(head)))
        if head.chunked:
            self.chunks = ChunkedReader(HEAD_BYTES, FIELDS, self.decode)
        elif head.content_length > 0:
            self.left = head.content_length
        else:
            self.messages[-1].whole = True
        return data[head.at :]

    def _body(self, data: bytes) -> bytes:
        message = self.messages[-1]
        chunks = self.chunks
        if chunks is None:
            body, rest = data[: self.left], data[self.left :]
            self.left -= len(body)
            message.body += body
            message.whole = self.left == 0
            return rest
        message.body += chunks.feed(data)
        message.whole = chunks.done
        if not chunks.done:
            return b""
        self.chunks = None
        return chunks.rest


def dialogue(new: Callable[[], Head], pieces: Iterable[bytes], *, decode: bool = False) -> Dialogue:
    result = Dialogue(new, decode)
    for piece in pieces:
        result.feed(piece)
    return result


def same(whole: Dialogue, pieces: Dialogue) -> None:
    """Compares two readings; of the message that was refused, the pieces may have passed on more than the whole."""
    assert pieces.refusal == whole.refusal
    if not whole.refusal:
        assert pieces.messages == whole.messages
        assert (pieces.unread, pieces.left) == (whole.unread, whole.left)
        return
    finished = [[each for each in result.messages if each.whole] for result in (whole, pieces)]
    assert finished[0] == finished[1]
    assert [each.head for each in whole.messages] == [each.head for each in pieces.messages]
    for before, after in zip(whole.messages, pieces.messages, strict=True):
        assert after.body.startswith(before.body)
