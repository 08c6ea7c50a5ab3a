"""Structured field values (RFC 9651): dictionaries read, items written.

Owns: the strict grammar. A value that breaks it anywhere is no value at all, as section 4.2 demands.
Refuses to know: which keys there are, and what they mean.
"""

import base64
import binascii
from typing import Final

from mypy_extensions import i64

from equipoise.wire.headers import TOKEN

BOOLEAN: Final = 1
INTEGER: Final = 2
DECIMAL: Final = 3
STRING: Final = 4
TOKENS: Final = 5
BYTES: Final = 6
DATE: Final = 7
DISPLAY: Final = 8
INNER_LIST: Final = 9

ALPHA: Final = bytes(1 if 0x41 <= c <= 0x5A or 0x61 <= c <= 0x7A else 0 for c in range(256))
# A key begins with a small letter or "*" and goes on with these (3.1.2).
KEY: Final = bytes(1 if chr(c) in "abcdefghijklmnopqrstuvwxyz0123456789_-.*" else 0 for c in range(256))
BASE64: Final = bytes(
    1 if chr(c) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=" else 0 for c in range(256)
)
MAX_INTEGER_DIGITS: Final = 15
MAX_WHOLE_DIGITS: Final = 12
MAX_FRACTION_DIGITS: Final = 3


class Member:
    """A member of a dictionary; its parameters have been checked and are gone.

    Attributes:
        key: its name.
        kind: `BOOLEAN`, `INTEGER`, `DECIMAL`, `STRING`, `TOKENS`, `BYTES`, `DATE`, `DISPLAY` or `INNER_LIST`.
        number: the value of a boolean (0, 1), an integer or a date.
        text: the value of a string, a token, or a byte sequence (decoded).
    """

    def __init__(self, key: bytes, kind: i64, number: i64, text: bytes) -> None:
        self.key = key
        self.kind = kind
        self.number = number
        self.text = text


def parse_dictionary(value: bytes) -> list[Member] | None:
    """Reads a dictionary (4.2.2); of a key that comes twice, the last member counts.

    Args:
        value: of the field; several lines joined by a comma.

    Returns:
        The members; an empty list for an empty field, none when the value is not valid.
    """
    reader = _Reader(value.strip(b" "))
    members: dict[bytes, Member] = {}
    try:
        while reader.at < reader.size:
            member = reader.member()
            members[member.key] = member
            reader.skip_blanks()
            if reader.at == reader.size:
                break
            reader.expect(0x2C)
            reader.skip_blanks()
            if reader.at == reader.size:
                return None
    except _Invalid:
        return None
    return list(members.values())


def write_string(text: bytes) -> bytes:
    """A string (4.1.6); bytes that no string may have become "?"."""
    kept = bytes(c if 0x20 <= c <= 0x7E else 0x3F for c in text)
    return b'"%b"' % kept.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


class _Invalid(Exception):
    """The value breaks the grammar."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size: i64 = len(data)
        self.at: i64 = 0

    def peek(self) -> i64:
        """The next byte; -1 at the end."""
        return self.data[self.at] if self.at < self.size else -1

    def expect(self, octet: i64) -> None:
        if self.peek() != octet:
            raise _Invalid
        self.at += 1

    def skip_blanks(self) -> None:
        while self.at < self.size and (self.data[self.at] == 0x20 or self.data[self.at] == 0x09):
            self.at += 1

    def member(self) -> Member:
        key = self.key()
        if self.peek() != 0x3D:
            self.parameters()
            return Member(key, BOOLEAN, 1, b"")
        self.at += 1
        member = self.inner_list(key) if self.peek() == 0x28 else self.item(key)
        self.parameters()
        return member

    def key(self) -> bytes:
        start = self.at
        first = self.peek()
        if first != 0x2A and (first < 0x61 or first > 0x7A):
            raise _Invalid
        while self.at < self.size and KEY[self.data[self.at]]:
            self.at += 1
        return self.data[start : self.at]

    def parameters(self) -> None:
        while self.peek() == 0x3B:
            self.at += 1
            while self.peek() == 0x20:
                self.at += 1
            self.key()
            if self.peek() == 0x3D:
                self.at += 1
                self.item(b"")

    def inner_list(self, key: bytes) -> Member:
        self.expect(0x28)
        while True:
            while self.peek() == 0x20:
                self.at += 1
            if self.peek() == 0x29:
                self.at += 1
                return Member(key, INNER_LIST, 0, b"")
            self.item(b"")
            self.parameters()
            if self.peek() != 0x20 and self.peek() != 0x29:
                raise _Invalid

    def item(self, key: bytes) -> Member:
        first = self.peek()
        if first == 0x2D or 0x30 <= first <= 0x39:
            return self.number(key)
        if first == 0x22:
            return Member(key, STRING, 0, self.string())
        if first == 0x2A or (first >= 0 and ALPHA[first]):
            return Member(key, TOKENS, 0, self.token())
        if first == 0x3A:
            return Member(key, BYTES, 0, self.octets())
        if first == 0x3F:
            return self.boolean(key)
        if first == 0x40:
            self.at += 1
            date = self.number(key)
            if date.kind != INTEGER:
                raise _Invalid
            return Member(key, DATE, date.number, b"")
        if first == 0x25:
            return self.display(key)
        raise _Invalid

    def boolean(self, key: bytes) -> Member:
        self.at += 1
        value = self.peek()
        if value != 0x30 and value != 0x31:
            raise _Invalid
        self.at += 1
        return Member(key, BOOLEAN, value - 0x30, b"")

    def number(self, key: bytes) -> Member:
        negative = self.peek() == 0x2D
        if negative:
            self.at += 1
        whole: i64 = 0
        digits = self.digits()
        if digits == 0 or digits > MAX_INTEGER_DIGITS:
            raise _Invalid
        for i in range(self.at - digits, self.at):
            whole = whole * 10 + self.data[i] - 0x30
        if negative:
            whole = -whole
        if self.peek() != 0x2E:
            return Member(key, INTEGER, whole, b"")
        self.at += 1
        fraction = self.digits()
        if digits > MAX_WHOLE_DIGITS or fraction == 0 or fraction > MAX_FRACTION_DIGITS:
            raise _Invalid
        return Member(key, DECIMAL, 0, b"")

    def digits(self) -> i64:
        """Goes over digits; how many there were."""
        start = self.at
        while self.at < self.size and 0x30 <= self.data[self.at] <= 0x39:
            self.at += 1
        return self.at - start

    def string(self) -> bytes:
        self.at += 1
        found = bytearray()
        while self.at < self.size:
            octet: i64 = self.data[self.at]
            self.at += 1
            if octet == 0x22:
                return bytes(found)
            if octet == 0x5C:
                octet = self.peek()
                self.at += 1
                if octet != 0x22 and octet != 0x5C:
                    raise _Invalid
            elif octet < 0x20 or octet > 0x7E:
                raise _Invalid
            found.append(octet)
        raise _Invalid

    def token(self) -> bytes:
        start = self.at
        self.at += 1
        while self.at < self.size:
            octet = self.data[self.at]
            if not TOKEN[octet] and octet != 0x3A and octet != 0x2F:
                break
            self.at += 1
        return self.data[start : self.at]

    def octets(self) -> bytes:
        self.at += 1
        end: i64 = self.data.find(b":", self.at)
        if end < 0:
            raise _Invalid
        coded = self.data[self.at : end]
        for octet in coded:
            if not BASE64[octet]:
                raise _Invalid
        self.at = end + 1
        # Padding may be missing (4.2.7).
        padded = coded if b"=" in coded else coded + b"=" * (-len(coded) % 4)
        try:
            return base64.b64decode(padded, validate=True)
        except binascii.Error:
            raise _Invalid from None

    def display(self, key: bytes) -> Member:
        self.at += 1
        self.expect(0x22)
        found = bytearray()
        while self.at < self.size:
            octet: i64 = self.data[self.at]
            self.at += 1
            if octet == 0x22:
                try:
                    found.decode("utf-8")
                except UnicodeDecodeError:
                    raise _Invalid from None
                return Member(key, DISPLAY, 0, bytes(found))
            if octet < 0x20 or octet > 0x7E:
                raise _Invalid
            if octet == 0x25:
                octet = self.hexadecimal() * 16 + self.hexadecimal()
            found.append(octet)
        raise _Invalid

    def hexadecimal(self) -> i64:
        octet = self.peek()
        self.at += 1
        if 0x30 <= octet <= 0x39:
            return octet - 0x30
        if 0x61 <= octet <= 0x66:
            return octet - 0x57
        raise _Invalid
