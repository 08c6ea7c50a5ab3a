"""Field lines of HTTP/1: the grammar and the walk over them.

Owns: which bytes a field name and a field value may have (RFC 9110 section 5), and keeping what passes on unchanged as whole
runs of the original bytes.
Refuses to know: what a field means; `http1` decides that in `Fields.take`.
"""

from typing import Final

from librt.strings import read_i64_le
from mypy_extensions import i64

from equipoise.errors import malformed

# RFC 9110 5.6.2, tchar; indexed by the byte's value. 1 where the byte may stand in a token.
TOKEN: Final = bytes(
    1 if chr(c) in "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" else 0
    for c in range(256)
)
# RFC 9110 5.5: field-vchar, obs-text, SP and HTAB; every other control byte is refused, NUL, CR and LF first of all.
VALUE: Final = bytes(1 if (c >= 0x20 and c != 0x7F) or c == 0x09 else 0 for c in range(256))
# Bytes that bytes.strip() may take off a value. Without the argument it would take VT and FF too.
BLANKS: Final = b" \t"

# Seven bytes at a time, in a word that stays positive, so that it means the same compiled (64 bits) and interpreted (any size).
SEVEN: Final = 0x00FF_FFFF_FFFF_FFFF
SPACES: Final = 0x0020_2020_2020_2020
DELETES: Final = 0x007F_7F7F_7F7F_7F7F
ONES: Final = 0x0001_0101_0101_0101
TOPS: Final = 0x0080_8080_8080_8080


def skip_plain(data: bytes, at: i64) -> i64:
    """Goes over bytes that are plain text: no control byte, no DEL.

    Reads by words (Hacker's Delight 6-1, "find first 0-byte"): a byte below 0x20 borrows into its top bit, one equal to 0x7F
    turns to zero and then borrows. The byte loop of the caller goes on from where a word has one.

    Args:
        data: the bytes.
        at: where to begin.

    Returns:
        Where it stopped; every byte before is plain. At most 7 plain bytes may follow.
    """
    end: i64 = len(data) - 8
    seven: i64 = SEVEN
    spaces: i64 = SPACES
    deletes: i64 = DELETES
    ones: i64 = ONES
    tops: i64 = TOPS
    while at <= end:
        word = read_i64_le(data, at) & seven
        other = word ^ deletes
        if (((word - spaces) & ~word) | ((other - ones) & ~other)) & tops:
            return at
        at += 7
    return at


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


class Fields:
    """The field lines of one message (or its trailers), read while they arrive.

    After `read` returned true, `keep` holds the fields that pass on, as runs of the original bytes, each a sequence of whole
    lines with their CRLF.
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
        token = TOKEN
        vchar = VALUE
        watched = self.watched
        i = self.at
        while True:
            line = i
            if i >= n:
                return self._incomplete(n)
            if data[i] == 0x0D:
                if i + 1 >= n:
                    return self._incomplete(n)
                if data[i + 1] != 0x0A:
                    raise malformed("bare CR in the head")
                break
            while i < n and token[data[i]]:
                i += 1
            if i >= n:
                return self._incomplete(n)
            colon = i
            if data[i] != 0x3A or colon == line:
                raise malformed("invalid field name")
            i += 1
            while i < n and (data[i] == 0x20 or data[i] == 0x09):
                i += 1
            value = i
            i = skip_plain(data, i)
            while i < n and vchar[data[i]]:
                i += 1
            if i >= n:
                return self._incomplete(n)
            if data[i] != 0x0D:
                raise malformed("control byte in a field value")
            if i + 1 >= n:
                return self._incomplete(n)
            if data[i + 1] != 0x0A:
                raise malformed("bare CR in a field value")
            length = colon - line
            if length < 32 and watched[length << 5 | data[line] & 31]:
                if self.take(data[line:colon].lower(), data[value:i].rstrip(BLANKS)):
                    if line > self.run:
                        self.keep.append(data[self.run : line])
                    self.run = i + 2
            i += 2
            self.count += 1
            if self.count > self.max_count:
                raise malformed("too many fields", 431)
            self.at = i
        if i > self.run:
            self.keep.append(data[self.run : i])
        self.at = i + 2
        if self.at - self.start > self.max_bytes:
            raise malformed("head too large", 431)
        return True

    def drop(self, names: set[bytes]) -> None:
        """Takes fields out of `keep` after the fact (those that the Connection field names, RFC 9110 7.6.1).

        Args:
            names: field names in lower case.
        """
        kept: list[bytes] = []
        for line in b"".join(self.keep).split(b"\r\n"):
            if line and line[: line.find(b":")].lower() not in names:
                kept.append(line + b"\r\n")
        self.keep = kept

    def find(self, name: bytes) -> bytes | None:
        """The first value of a kept field, for the rare reader that needs one (routing, logging)."""
        for line in b"".join(self.keep).split(b"\r\n"):
            colon = line.find(b":")
            if colon == len(name) and line[:colon].lower() == name:
                return line[colon + 1 :].strip(BLANKS)
        return None

    def _incomplete(self, size: i64) -> bool:
        if size - self.start > self.max_bytes:
            raise malformed("head too large", 431)
        return False
