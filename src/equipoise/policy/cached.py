"""An answer as the cache holds it: its head, and the numbers that say how long it is good.

Owns: these numbers, and their form as bytes for the storage.
Refuses to know: the storage, the body, the rules by which the numbers were found.

Times are nanoseconds of the unix clock, which is an argument; durations are nanoseconds. What has passed since an
answer came is measured by the monotonic clock, since the other one may be set back: see `Cached.at`.
"""

import struct
from typing import Final

from librt.strings import read_i64_le
from mypy_extensions import i64

from equipoise.wire.field_lines import FieldPairs, find_value, read_pairs, status_line, write_lines

NS: Final = 1_000_000_000
NEVER: Final = -1
"""Of a span after the end of freshness: there is none."""

# What a stored answer forbids or has; added together.
NO_CACHE: Final = 1  # never used without validation
MUST_REVALIDATE: Final = 2  # never used stale
SHARED_AGE: Final = 4  # its lifetime is s-maxage: a client alone cannot allow that it be used stale
VALIDATED: Final = 8  # it has a validator, so a conditional request can renew it

# The first eight bytes of a packed head, and of a marker; another version of this layout has others.
MAGIC: Final = int.from_bytes(b"EqCache2", "little")
MARKER_MAGIC: Final = b"EqVary1\n"
LAYOUT: Final = struct.Struct("<9q")
PREFIX: Final = 72
# A marker with more names is no answer's that should be kept: each name multiplies the variants.
MAX_VARY_NAMES: Final = 16


class Cached:
    """A stored answer without its body.

    Attributes:
        status: of the answer.
        flags: `NO_CACHE` and the like, added together.
        answered: when the answer arrived.
        answered_steady: the same, by the monotonic clock.
        initial_age: how old it was then (RFC 9111 4.2.3).
        lifetime: age at which it becomes stale (4.2.1).
        while_revalidate: how long after that it may be used while it is validated; `NEVER` (RFC 5861 3).
        if_error: how long after that it may be used when its target fails; `NEVER` (RFC 5861 4).
        block: status line and field lines of HTTP/1.1, each with CRLF, without the empty line.
    """

    def __init__(self, status: i64, block: bytes) -> None:
        self.status = status
        self.block = block
        self.flags: i64 = 0
        self.answered: i64 = 0
        self.answered_steady: i64 = 0
        self.initial_age: i64 = 0
        self.lifetime: i64 = 0
        self.while_revalidate: i64 = NEVER
        self.if_error: i64 = NEVER
        self._fields: FieldPairs | None = None
        # The head as it was given last: it changes once a second.
        self._given: bytes = b""
        self._given_age: i64 = -1
        self._given_left: i64 = 0

    def fields(self) -> FieldPairs:
        """The fields of its head, read once."""
        fields = self._fields
        if fields is None:
            fields = read_pairs(self.block, True)
            self._fields = fields
        return fields

    def find(self, name: bytes) -> bytes | None:
        """Value of a field that stands in its head exactly once; `name` in lower case."""
        return find_value(self.fields(), name)

    def at(self, steady: i64) -> i64:
        """The unix clock as it is if nobody has set it since the answer came.

        Args:
            steady: monotonic clock, nanoseconds.
        """
        return self.answered + steady - self.answered_steady

    def marks(self, now: i64) -> bytes:
        """Age (RFC 9111 5.1) and Cache-Status (RFC 9211) of an answer from the cache; `now` is from `at`."""
        age = self.age(now)
        return _marks(age // NS, (self.lifetime - age) // NS)

    def given(self, now: i64) -> bytes:
        """The head with its `marks`."""
        age = self.age(now)
        left = (self.lifetime - age) // NS
        if age // NS != self._given_age or left != self._given_left:
            self._given_age = age // NS
            self._given_left = left
            self._given = self.block + _marks(self._given_age, left)
        return self._given

    def age(self, now: i64) -> i64:
        """How old it is (RFC 9111 4.2.3), and no younger than it came; `now` is from `at`."""
        resident = now - self.answered
        return self.initial_age + (max(0, resident))

    def fresh_for(self, now: i64) -> i64:
        """How long it stays fresh; how long it has been stale, when negative."""
        return self.lifetime - self.age(now)

    def pack(self) -> bytes:
        """As bytes for the storage."""
        return (
            LAYOUT.pack(
                MAGIC,
                int(self.status),
                int(self.flags),
                int(self.answered),
                int(self.initial_age),
                int(self.lifetime),
                int(self.while_revalidate),
                int(self.if_error),
                int(self.answered_steady),
            )
            + self.block
        )


def _marks(age: i64, left: i64) -> bytes:
    # Rounded down, as a person counts: what has 0.5 s left has 0, what is 0.5 s over has -1.
    return b"age: %d\r\ncache-status: equipoise; hit; ttl=%d\r\n" % (int(age), int(left))


def head_block(status: i64, fields: FieldPairs) -> bytes:
    """A head as `Cached.block` holds it."""
    return status_line(status) + write_lines(fields)


def unpack(data: bytes) -> Cached | None:
    """What `Cached.pack` wrote; none for anything else, which is then as if it were not stored."""
    if len(data) <= PREFIX or read_i64_le(data, 0) != MAGIC:
        return None
    status = read_i64_le(data, 8)
    if status < 200 or status > 599:
        return None
    cached = Cached(status, data[PREFIX:])
    cached.flags = read_i64_le(data, 16)
    cached.answered = read_i64_le(data, 24)
    cached.initial_age = read_i64_le(data, 32)
    cached.lifetime = read_i64_le(data, 40)
    cached.while_revalidate = read_i64_le(data, 48)
    cached.if_error = read_i64_le(data, 56)
    cached.answered_steady = read_i64_le(data, 64)
    return cached


def pack_marker(names: list[bytes]) -> bytes:
    """What stands under the key of a request whose answers vary: the names of the fields that tell them apart.

    Args:
        names: in lower case, sorted, each once.
    """
    return MARKER_MAGIC + b",".join(names)


def unpack_marker(data: bytes) -> list[bytes] | None:
    """The names that `pack_marker` wrote; none when this is no marker."""
    if not data.startswith(MARKER_MAGIC):
        return None
    names = data[len(MARKER_MAGIC) :].split(b",")
    return names if len(names) <= MAX_VARY_NAMES and all(names) else None
