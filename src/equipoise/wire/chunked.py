"""The chunked coding of HTTP/1.1 and its trailers (RFC 9112 7.1).

Owns: where a chunk begins and ends, which size lines are valid, which trailer fields pass on.
Refuses to know: the message that the body belongs to, connections, time.
"""

from typing import Final

from mypy_extensions import i64

from equipoise.errors import malformed
from equipoise.wire.headers import TOKEN, VALUE, Fields, interest

TRAILER_FIELDS: Final = interest(
    (
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
    )
)
HEX: Final = b"0123456789abcdefABCDEF"
# 17 hex digits would overflow; 15 are 2^60 bytes and enough for any chunk. A longer one is an attack, not a file.
MAX_CHUNK_DIGITS: Final = 15
# The end of a body without trailers.
LAST_CHUNK: Final = b"0\r\n\r\n"
# A chunk-size line with extensions; nginx and Go stop at 4 KiB too.
MAX_CHUNK_LINE: Final = 4096
# Where in the extensions of a chunk-size line a byte stands; the line may end in COMPLETE, IN_NAME and IN_VALUE.
INVALID: Final = -1
COMPLETE: Final = 0  # behind the size or a quoted value
AT_NAME: Final = 1
IN_NAME: Final = 2
AT_VALUE: Final = 3
IN_VALUE: Final = 4
QUOTED: Final = 5
ESCAPED: Final = 6


class Trailers(Fields):
    """Trailer fields (RFC 9112 7.1.2). Framing and routing fields are an attack there (RFC 9110 6.5.1) and refused."""

    def __init__(self, max_bytes: i64, max_count: i64) -> None:
        super().__init__(TRAILER_FIELDS, max_bytes, max_count)

    def take(self, name: bytes, value: bytes) -> bool:
        """See `Fields.take`."""
        if name in {b"content-length", b"transfer-encoding", b"host", b"expect"}:
            raise malformed("framing field in the trailers")
        return name in {
            b"connection",
            b"keep-alive",
            b"proxy-connection",
            b"te",
            b"trailer",
            b"upgrade",
            b"x-forwarded-for",
            b"x-forwarded-host",
            b"x-forwarded-proto",
        }


class ChunkedReader:
    """The chunked coding (RFC 9112 7.1), validated before a byte of it passes on.

    Chunk extensions are dropped (7.1.1: unknown ones are to be ignored), everything else passes on as it came.
    """

    def __init__(self, max_trailer: i64, max_count: i64, decode: bool) -> None:
        """Expects the first chunk-size line.

        Args:
            max_trailer: most bytes of the trailer section.
            max_count: most trailer fields.
            decode: give the chunks' data alone; the trailers are in `trailers`.
        """
        self.max_trailer = max_trailer
        self.max_count = max_count
        self.decode = decode
        self.done = False
        self.rest: bytes = b""
        # The trailer section, in runs of whole lines, of a decoded body.
        self.trailers: list[bytes] = []
        # Bytes of data in the chunks begun so far.
        self.size: i64 = 0
        # Bytes of the chunk at hand still to come; its CRLF is counted with them. 0: a size line is next.
        self._left: i64 = 0
        self._held: bytes = b""
        self._trailers: Trailers | None = None

    def feed(self, data: bytes) -> bytes:
        """Takes the next bytes of the connection.

        Args:
            data: at least one byte.

        Returns:
            What passes on; empty while a line is incomplete. When `done` turned true, `rest` has the bytes behind the
            message.

        Raises:
            ProxyError: the framing is invalid; nothing of these bytes may pass on.
        """
        if self._held:
            data = self._held + data
            self._held = b""
        n: i64 = len(data)
        pieces: list[bytes] = []
        i: i64 = 0
        run: i64 = 0
        while i < n:
            if self._trailers is not None:
                self._pass(pieces, data, run, i)
                return self._read_trailers(pieces, data[i:])
            if self._left > 0:
                i = self._take_data(pieces, data, i, n)
                continue
            line: i64 = data.find(b"\r\n", i, i + MAX_CHUNK_LINE)
            if line < 0:
                check_size_line(data[i:], False)
                break
            digits: i64 = line - i
            if data[i:line].translate(None, HEX):
                digits = check_size_line(data[i:line], True)
            last = self._begin_chunk(data[i : i + digits])
            if last or digits != line - i:
                # Extensions stay here, and the last size is a single zero.
                self._pass(pieces, data, run, i)
                if not self.decode:
                    pieces.append(b"0" if last else data[i : i + digits])
                run = line
            i = line + 2
        if i < n:
            self._held = data[i:]
        elif run == 0 and not pieces and not self.decode:
            return data
        self._pass(pieces, data, run, i)
        return b"".join(pieces)

    def _pass(self, pieces: list[bytes], data: bytes, run: i64, end: i64) -> None:
        if end > run and not self.decode:
            pieces.append(data[run:end])

    def _take_data(self, pieces: list[bytes], data: bytes, i: i64, n: i64) -> i64:
        """Goes over the bytes of the chunk at hand; checks its CRLF as soon as it is there."""
        left = self._left
        take = min(n - i, left)
        if take > left - 2:
            crlf = i + left - 2
            if left >= 2 and crlf < n and data[crlf] != 0x0D:
                raise malformed("chunk data longer than its size")
            if i + left - 1 < n and data[i + left - 1] != 0x0A:
                raise malformed("chunk data not closed by CRLF")
        left -= take
        self._left = left
        end = i + take
        if self.decode:
            # The last two bytes of a chunk are its CRLF.
            payload = end - (2 - left if left < 2 else 0)
            if payload > i:
                pieces.append(data[i:payload])
        return end

    def _begin_chunk(self, digits: bytes) -> bool:
        """Takes the size of the next chunk; returns whether it is the last one, which has no data."""
        if not digits or len(digits) > MAX_CHUNK_DIGITS:
            raise malformed("invalid chunk size")
        size: i64 = int(digits, 16)
        if size == 0:
            self._trailers = Trailers(self.max_trailer, self.max_count)
            return True
        self.size += size
        self._left = size + 2
        return False

    def _read_trailers(self, pieces: list[bytes], data: bytes) -> bytes:
        trailers = self._trailers
        assert trailers is not None
        if trailers.read_fields(data):
            if not self.decode:
                pieces.extend(trailers.keep)
                pieces.append(b"\r\n")
            else:
                self.trailers = trailers.keep
            self.done = True
            self.rest = data[trailers.at :]
        else:
            self._held = data
        return b"".join(pieces)


def count_digits(line: bytes) -> i64:
    """How many bytes of a whole chunk-size line are the size: all of them, unless there are extensions."""
    return check_size_line(line, True) if line.translate(None, HEX) else len(line)


def check_size_line(line: bytes, whole: bool) -> i64:
    """Checks a chunk-size line, or what there is of it (RFC 9112 7.1, 7.1.1).

        chunk-size *( ";" token [ "=" ( token / quoted-string ) ] )

    The blanks that the grammar allows around ";" and "=" are refused: nothing sane sends them, and parsers disagree.

    Args:
        line: the line, without CRLF; a part may end in the CR.
        whole: whether the CRLF was there.

    Returns:
        How many bytes are the size's digits.

    Raises:
        ProxyError: it is not valid, or no continuation makes it so.
    """
    n: i64 = len(line)
    if n > 0 and not whole and line[n - 1] == 0x0D:
        n -= 1
        whole = True
    digits: i64 = n - len(line[:n].lstrip(HEX))
    if digits > MAX_CHUNK_DIGITS or n > MAX_CHUNK_LINE or (digits == 0 and (whole or n > 0)):
        raise malformed("invalid chunk size")
    state: i64 = COMPLETE
    i = digits
    while i < n:
        state = follow(state, line[i])
        if state == INVALID:
            raise malformed("invalid chunk size" if i == digits else "invalid chunk extension")
        i += 1
    if whole and not may_end(state):
        raise malformed("invalid chunk extension")
    return digits


def may_end(state: i64) -> bool:
    """Whether the line, or the extension at hand, may end here."""
    return state in (COMPLETE, IN_NAME, IN_VALUE)


def follow(state: i64, byte: i64) -> i64:
    """One byte of the chunk extensions."""
    if state in (QUOTED, ESCAPED):
        if not VALUE[byte]:
            return INVALID
        if state == ESCAPED:
            return QUOTED
        return COMPLETE if byte == 0x22 else ESCAPED if byte == 0x5C else QUOTED
    if byte == 0x3B:
        return AT_NAME if may_end(state) else INVALID
    if byte == 0x3D:
        return AT_VALUE if state == IN_NAME else INVALID
    if byte == 0x22:
        return QUOTED if state == AT_VALUE else INVALID
    if state == COMPLETE or not TOKEN[byte]:
        return INVALID
    return IN_NAME if state in (AT_NAME, IN_NAME) else IN_VALUE


def chunk(data: bytes) -> bytes:
    """One chunk, of at least one byte: an empty one would be the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: bytes) -> bytes:
    """The end of a body.

    Args:
        trailers: whole field lines, each with its CRLF.
    """
    return b"0\r\n%b\r\n" % trailers
