"""HTTP/1 heads and chunked bodies: read as llhttp and h11 read them, in whatever pieces they come.

Owns: what must hold of any bytes that a client or a target says in HTTP/1.
Refuses to know: where the bytes come from.
"""

import re
from typing import Final

from equipoise.errors import ProxyError
from equipoise.wire.http1 import is_authority
from tests.support.http1_oracles import compare
from tests.support.wire import FIELDS, HEAD_BYTES, dialogue, new_request, new_response, read_chunks, same, single_bytes

# RFC 9112 7.1 and 7.1.1, without the blanks that the grammar allows and we refuse; sizes of at most 15 digits.
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED: Final = rb"\"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*\""
_EXTENSION: Final = rb"(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*"
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})" + _EXTENSION + rb"\r\n")
_TRAILER: Final = re.compile(rb"(" + _TOKEN + rb"):([\t \x21-\x7e\x80-\xff]*)\r\n")
_NO_TRAILER: Final = frozenset({b"content-length", b"transfer-encoding", b"host", b"expect"})
_AUTHORITY: Final = re.compile(rb"(?:\[[0-9A-Za-z._~!$&'()*+,;=%:-]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]+)(?::[0-9]{0,5})?")
LONGEST_LINE: Final = 1024


def check_request(data: bytes) -> None:
    """One direction of a connection: requests, one after the other."""
    compare(new_request, data)
    same(dialogue(new_request, [data]), dialogue(new_request, single_bytes(data)))


def check_response(data: bytes) -> None:
    """The other direction."""
    compare(new_response, data)
    same(dialogue(new_response, [data]), dialogue(new_response, single_bytes(data)))


def check_chunked(data: bytes) -> None:
    """A chunked body, against a reader made of regular expressions."""
    wanted = _read_by_expressions(data)
    for decode in (True, False):
        for pieces in ([data], single_bytes(data)):
            try:
                chunks = read_chunks(pieces, decode)
            except ProxyError as error:
                if wanted is not None:
                    raise AssertionError(f"refused: {error.detail}") from error
                continue
            if wanted is None:
                assert not chunks.done, "a body that breaks the grammar"
                continue
            assert chunks.done, "a whole body that has no end"
            assert chunks.rest == wanted[1]
            assert not decode or chunks.out == wanted[0]


def check_authority(data: bytes) -> None:
    """A value of Host."""
    assert is_authority(data) is (_AUTHORITY.fullmatch(data) is not None)


def _read_by_expressions(data: bytes) -> tuple[bytes, bytes] | None:
    """The decoded body and what is behind it; none when it is not valid, not whole, or over a limit."""
    at, body = 0, b""
    while match := _SIZE_LINE.match(data, at):
        if match.end() - match.start() > LONGEST_LINE:
            return None
        size, at = int(match[1], 16), match.end()
        if size == 0:
            return _read_trailers(data, at, body)
        if data[at + size : at + size + 2] != b"\r\n":
            return None
        body += data[at : at + size]
        at += size + 2
    return None


def _read_trailers(data: bytes, at: int, body: bytes) -> tuple[bytes, bytes] | None:
    start, count = at, 0
    while match := _TRAILER.match(data, at):
        count += 1
        if match[1].lower() in _NO_TRAILER:
            return None
        at = match.end()
    if data[at : at + 2] != b"\r\n" or count > FIELDS or at - start > HEAD_BYTES:
        return None
    return body, data[at + 2 :]
