"""Field lines of HTTP/1: the grammar and the walk over them.

Owns: which bytes a field name and a field value may have (RFC 9110 section 5), and keeping what passes on unchanged as
whole runs of the original bytes.
Refuses to know: what a field means; `http1` decides that in `Fields.take`.
"""

from typing import Final

from librt.strings import read_i64_le
from mypy_extensions import i64, mypyc_attr

from equipoise.errors import malformed, oversized

# RFC 9110 5.6.2, tchar; indexed by the byte's value. 1 where the byte may stand in a token.
TOKEN: Final = bytes(
    1 if chr(c) in "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" else 0
    for c in range(256)
)
# RFC 9110 5.5: field-vchar, obs-text, SP and HTAB; every other control byte is refused, NUL, CR and LF first of all.
VALUE: Final = bytes(1 if (c >= 0x20 and c != 0x7F) or c == 0x09 else 0 for c in range(256))
# Bytes that bytes.strip() may take off a value. Without the argument it would take VT and FF too.
BLANKS: Final = b" \t"

# Seven bytes at a time, in a word that stays positive, so that it means the same compiled (64 bits) and interpreted
# (any size). In each byte of a word: the top bit alone, the other bits, and the values that the tests below add or
# compare.
TOPS: Final = 0x0080_8080_8080_8080
SEVENS: Final = 0x007F_7F7F_7F7F_7F7F
ONES: Final = 0x0001_0101_0101_0101


def skip_token(data: bytes, at: i64) -> i64:
    """Goes over the bytes of a token (RFC 9110 5.6.2).

    A word's letters and hyphens are found at once: with the top bit masked away, adding 0x1F or 0x05 to a byte in
    lower case sets the top bit from 'a' on and behind 'z', and no byte carries into the next. Other token bytes are
    looked up one by one.

    Args:
        data: the bytes.
        at: where to begin.

    Returns:
        The index of the first byte that is not of a token; the length of `data` when all are.
    """
    size: i64 = len(data)
    tops: i64 = TOPS
    sevens: i64 = SEVENS
    spaces: i64 = ONES * 0x20
    from_a: i64 = ONES * 0x1F
    behind_z: i64 = ONES * 0x05
    hyphens: i64 = ONES * 0x2D
    token = TOKEN
    while at + 8 <= size:
        word = read_i64_le(data, at)
        low = word & sevens
        folded = low | spaces
        no_letter = ~(folded + from_a) | (folded + behind_z)
        other = (no_letter & ((low ^ hyphens) + sevens) | word) & tops
        if other == 0:
            at += 7
            continue
        at += first_top(other)
        if not token[data[at]]:
            return at
        at += 1
    while at < size and token[data[at]]:
        at += 1
    return at


def skip_value(data: bytes, at: i64) -> i64:
    """Goes over the bytes of a field value (RFC 9110 5.5).

    A word's control bytes are found at once (Hacker's Delight 6-1): a byte below 0x20 borrows into its top bit, and so
    does one that is 0x7F and became zero. The lowest of the bits found is exact.

    Args:
        data: the bytes.
        at: where to begin.

    Returns:
        The index of the first byte that is not of a value; the length of `data` when all are.
    """
    size: i64 = len(data)
    tops: i64 = TOPS
    sevens: i64 = SEVENS
    spaces: i64 = ONES * 0x20
    ones: i64 = ONES
    whole: i64 = TOPS | SEVENS
    vchar = VALUE
    while at + 8 <= size:
        word = read_i64_le(data, at) & whole
        deletes = word ^ sevens
        control = (((word - spaces) & ~word) | ((deletes - ones) & ~deletes)) & tops
        if control == 0:
            at += 7
            continue
        at += first_top(control)
        if not vchar[data[at]]:
            return at
        at += 1
    while at < size and vchar[data[at]]:
        at += 1
    return at


def first_top(tops: i64) -> i64:
    """Which byte of a word is the lowest that has its top bit set; one has."""
    at: i64 = 0
    if tops & 0x8080_8080 == 0:
        tops >>= 32
        at = 4
    if tops & 0x8080 == 0:
        tops >>= 16
        at += 2
    if tops & 0x80 == 0:
        at += 1
    return at


def in_lower_case(name: bytes) -> bytes:
    """A field name in lower case; the names that nearly every message has cost no call as they are usually written."""
    if name == b"Host":
        return b"host"
    if name == b"Content-Length":
        return b"content-length"
    if name == b"Connection":
        return b"connection"
    return name.lower()


def interest(names: tuple[bytes, ...]) -> bytes:
    """A table that says by length and first letter whether a field name can be one of `names`.

    Most field names of a request are none of ours; one look here spares slicing and lowering them.

    Args:
        names: field names in lower case, shorter than 32 bytes, beginning with a letter.

    Returns:
        1024 bytes, indexed by `length << 5 | first & 31`.
    """
    table = bytearray(1024)
    for name in names:
        table[len(name) << 5 | name[0] & 31] = 1
    return bytes(table)


@mypyc_attr(acyclic=True)
class Fields:
    """The field lines of one message (or its trailers), read while they arrive.

    After `read` returned true, `keep` holds the fields that pass on, as runs of the original bytes, each a sequence of
    whole lines with their CRLF.
    """

    def __init__(self, watched: bytes, max_bytes: i64, max_count: i64) -> None:
        """Starts with nothing read.

        Args:
            watched: table made by `interest`; only these names are given to `take`.
            max_bytes: most bytes from the start of the message to the end of its head.
            max_count: most field lines.
        """
        self.watched = watched
        self.max_bytes = max_bytes
        self.max_count = max_count
        self.keep: list[bytes] = []
        self.count: i64 = 0
        # Where the message begins, where the next unread line begins, where the run not yet kept begins.
        self.start: i64 = 0
        self.at: i64 = 0
        self.run: i64 = 0

    def take(self, name: bytes, value: bytes) -> bool:
        """Looks at a watched field.

        Args:
            name: in lower case.
            value: without the blanks around it.

        Returns:
            Whether the field is left out of `keep`.

        Raises:
            ProxyError: the value is not allowed.
        """
        raise AssertionError((name, value))

    def read_fields(self, data: bytes) -> bool:
        """Goes on reading at `self.at`.

        Args:
            data: all bytes since the message began; the earlier ones as in the call before.

        Returns:
            True when the empty line was read (`self.at` is behind it), false when more bytes are needed.

        Raises:
            ProxyError: a line is malformed (400), or there are too many or too long ones (431).
        """
        n: i64 = len(data)
        watched = self.watched
        i = self.at
        while i < n and data[i] != 0x0D:
            line = i
            i = skip_token(data, i)
            if i >= n:
                return self._incomplete(n)
            colon = i
            if data[i] != 0x3A or colon == line:
                raise malformed("invalid field name")
            i += 1
            while i < n and (data[i] == 0x20 or data[i] == 0x09):
                i += 1
            value = i
            i = skip_value(data, i)
            if i + 1 >= n:
                check_line_end(data, i, n)
                return self._incomplete(n)
            if data[i] != 0x0D or data[i + 1] != 0x0A:
                check_line_end(data, i, n)
            length = colon - line
            if length < 32 and watched[length << 5 | data[line] & 31]:
                self._take_line(data, line, colon, value, i)
            i += 2
            self.count += 1
            if self.count > self.max_count:
                raise oversized("header_count", 431, "too many fields")
            self.at = i
        if i + 1 >= n:
            return self._incomplete(n)
        if data[i + 1] != 0x0A:
            raise malformed("bare CR in the head")
        if i > self.run:
            self.keep.append(data[self.run : i])
        self.at = i + 2
        if self.at - self.start > self.max_bytes:
            raise oversized("request_head", 431, "head too large")
        return True

    def _take_line(self, data: bytes, line: i64, colon: i64, value: i64, end: i64) -> None:
        """Shows a watched field to `take`, and ends the run before it when it is left out."""
        content = data[value:end]
        if end > value and (data[end - 1] == 0x20 or data[end - 1] == 0x09):
            content = content.rstrip(BLANKS)
        if self.take(in_lower_case(data[line:colon]), content):
            if line > self.run:
                self.keep.append(data[self.run : line])
            self.run = end + 2

    def drop(self, names: set[bytes]) -> None:
        """Takes fields out of `keep` after the fact (those that the Connection field names, RFC 9110 7.6.1).

        Args:
            names: field names in lower case.
        """
        lines = b"".join(self.keep).split(b"\r\n")
        self.keep = [line + b"\r\n" for line in lines if line and line[: line.find(b":")].lower() not in names]

    def find(self, name: bytes) -> bytes | None:
        """The first value of a kept field, for the rare reader that needs one (routing, logging)."""
        for line in b"".join(self.keep).split(b"\r\n"):
            colon = line.find(b":")
            if colon == len(name) and line[:colon].lower() == name:
                return line[colon + 1 :].strip(BLANKS)
        return None

    def _incomplete(self, size: i64) -> bool:
        if size - self.start > self.max_bytes:
            raise oversized("request_head", 431, "head too large")
        return False


def check_line_end(data: bytes, at: i64, size: i64) -> None:
    """Checks what there is of the CRLF behind a field value.

    Raises:
        ProxyError: no continuation makes it one.
    """
    if at < size and data[at] != 0x0D:
        raise malformed("control byte in a field value")
    if at + 1 < size and data[at + 1] != 0x0A:
        raise malformed("bare CR in a field value")
