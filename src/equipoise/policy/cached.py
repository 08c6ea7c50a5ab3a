"""An answer as the cache holds it: its head, and the numbers that say how long it is good.

Owns: these numbers, and their form as bytes for the storage.
Refuses to know: the storage, the body, the rules by which the numbers were found.

Times are nanoseconds of the unix clock, which is an argument; durations are nanoseconds.
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
MAGIC: Final = int.from_bytes(b"EqCache1", "little")
MARKER_MAGIC: Final = b"EqVary1\n"
LAYOUT: Final = struct.Struct("<8q")
PREFIX: Final = 64
# A marker with more names is no answer's that should be kept: each name multiplies the variants.
MAX_VARY_NAMES: Final = 16


class Cached:
    """A stored answer without its body.

    Attributes:
        status: of the answer.
        flags: `NO_CACHE` and the like, added together.
        answered: when the answer arrived.
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
        self.initial_age: i64 = 0
        self.lifetime: i64 = 0
        self.while_revalidate: i64 = NEVER
        self.if_error: i64 = NEVER
        self._fields: FieldPairs | None = None

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

    def age(self, now: i64) -> i64:
        """How old it is (RFC 9111 4.2.3); a clock that was set back makes it no younger than it came."""
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
            )
            + self.block
        )


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
