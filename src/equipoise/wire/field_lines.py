"""Field lines as pairs, and back.

Owns: the neutral form of a message's fields, a list of (name in lower case, value), and its spelling as HTTP/1 lines.
Refuses to know: which fields there may be, and what they mean; the readers of heads have checked every byte.
"""

from http import HTTPStatus
from typing import Final

from mypy_extensions import i64

from equipoise.wire.headers import in_lower_case, skip_token, skip_value

FieldPairs = list[tuple[bytes, bytes]]
"""Names in lower case, values without blanks around them; in the order of the message."""

STATUS_LINES: Final[dict[int, bytes]] = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}


def read_pairs(lines: bytes, headed: bool) -> FieldPairs:
    """The fields of a head that has been read and checked (`Fields.keep`, joined), up to a line that is none.

    Args:
        lines: whole lines with their CRLF.
        headed: whether the first is a request line or a status line, which is passed over.
    """
    pairs: FieldPairs = []
    start: i64 = lines.find(b"\r\n") + 2 if headed else 0
    size: i64 = len(lines)
    while start < size:
        colon = skip_token(lines, start)
        value = colon + 1
        while value < size and (lines[value] == 0x20 or lines[value] == 0x09):
            value += 1
        end = skip_value(lines, value)
        if end + 1 >= size or colon == start or lines[colon] != 0x3A or lines[end] != 0x0D:
            # No head is like this; what storage gave back may be.
            return pairs
        last = end
        while last > value and (lines[last - 1] == 0x20 or lines[last - 1] == 0x09):
            last -= 1
        pairs.append((in_lower_case(lines[start:colon]), lines[value:last]))
        start = end + 2
    return pairs


def write_lines(fields: FieldPairs) -> bytes:
    """HTTP/1 lines with their CRLF, in order; nothing for no fields."""
    return b"".join([b"%b: %b\r\n" % pair for pair in fields])


def status_line(status: i64) -> bytes:
    """A status line of HTTP/1.1 (RFC 9112 4); a status that nobody has registered has an empty phrase."""
    known = STATUS_LINES.get(int(status))
    return b"HTTP/1.1 %d \r\n" % int(status) if known is None else known


def find_values(fields: FieldPairs, name: bytes) -> list[bytes]:
    """All values of a field, in order.

    Args:
        fields: of a message.
        name: in lower case.
    """
    return [value for known, value in fields if known == name]


def find_value(fields: FieldPairs, name: bytes) -> bytes | None:
    """The value of a field that may stand once; none when it is missing, or stands there more than once.

    Two values of such a field contradict each other (RFC 9110 5.2, 5.3); whoever asks treats it as it were not there.
    """
    found: bytes | None = None
    for known, value in fields:
        if known == name:
            if found is not None:
                return None
            found = value
    return found
