"""One stored answer: as a value, and as octets in a ring.

Owns: the layout of a record, its checksum, and what makes octets a whole record.
Refuses to know: rings, locks, whether the answer may still be used.

    length · cell · checksum · hash · begun · stored · expires · key and path lengths · head and body lengths
    · key · path · head · body · up to 15 octets of nothing

Nine fields of 8 octets, little-endian. `length` is that of the whole record; a negative one marks filling at a ring's
end. `cell` is the index cell that points here. The checksum covers what follows it up to the head's end, and of the
body all of it, or of a large one the first and the last 2 KiB: all of 1 MiB would cost 0.3 ms at every hit.
"""

import mmap
from typing import Final
from zlib import crc32

from librt.strings import BytesWriter, read_i64_le, write_i64_le
from mypy_extensions import i64, mypyc_attr

from equipoise.state.cache_layout import GRAIN

FIELDS: Final = 72  # octets before the key
LENGTH_AT: Final = 0
CELL_AT: Final = 8
CHECKSUM_AT: Final = 16
HASH_AT: Final = 24
BEGUN_AT: Final = 32
STORED_AT: Final = 40
EXPIRES_AT: Final = 48
NAMES_AT: Final = 56  # key length << 32 | path length
SIZES_AT: Final = 64  # head length << 32 | body length
# A body up to this is checked whole.
CHECKED_BODY: Final = 4096
_EDGE: Final = 2048
_LOW: Final = 0xFFFF_FFFF
# Objects around what is remembered, in octets.
_OVERHEAD: Final = 512
# What is read at once: most answers are smaller, and one read is cheaper than two.
_GLANCE: Final = 1024


@mypyc_attr(acyclic=True)
class Entry:
    """A stored answer.

    Attributes:
        path: the request's path with its query, for purges; the store compares it, nothing more.
        head: whatever the policy needs to give the answer again.
        body: the whole body.
        stored_ns: when it was stored, monotonic clock.
        expires_ns: from when on it may not be used at all.
        decoded: what the policy made of `head`, if it cares to keep that with an entry that is remembered.
    """

    def __init__(self, path: bytes, head: bytes, body: bytes, stored_ns: i64, expires_ns: i64) -> None:
        self.path = path
        self.head = head
        self.body = body
        self.stored_ns = stored_ns
        self.expires_ns = expires_ns
        self.decoded: object | None = None


@mypyc_attr(acyclic=True)
class Remembered:
    """A record that was read and checked before."""

    def __init__(self, start: bytes, key: bytes, begun_ns: i64, entry: Entry) -> None:
        self.start = start
        self.key = key
        self.begun_ns = begun_ns
        self.entry = entry


def record_length(key: bytes, entry: Entry) -> i64:
    """Octets of the record that holds an entry."""
    octets: i64 = FIELDS + len(key) + len(entry.path) + len(entry.head) + len(entry.body)
    return (octets + GRAIN - 1) // GRAIN * GRAIN


def seal(key: bytes, entry: Entry, begun_ns: i64) -> bytes:
    """All of a record before its body; the cell is 0 and is to be written before anybody is pointed here."""
    out = BytesWriter()
    write_i64_le(out, read_i64_le(key, 0))
    write_i64_le(out, begun_ns)
    write_i64_le(out, entry.stored_ns)
    write_i64_le(out, entry.expires_ns)
    write_i64_le(out, (i64(len(key)) << 32) | i64(len(entry.path)))
    write_i64_le(out, (i64(len(entry.head)) << 32) | i64(len(entry.body)))
    out.write(key)
    out.write(entry.path)
    out.write(entry.head)
    covered = out.getvalue()
    start = BytesWriter()
    write_i64_le(start, record_length(key, entry))
    write_i64_le(start, 0)
    write_i64_le(start, checksum(covered, entry.body))
    start.write(covered)
    return start.getvalue()


def checksum(covered: bytes, body: bytes) -> i64:
    """Of what stands between the checksum and the body, and of the body."""
    whole = crc32(covered)
    if len(body) <= CHECKED_BODY:
        return crc32(body, whole)
    return crc32(body[-_EDGE:], crc32(body[:_EDGE], whole))


class Reader:
    """Reads records out of a section that others write to meanwhile.

    What it reads may change under its hands: every length is checked before it is used, and whoever asked looks at the
    index cell again afterwards.

    Small records that it has read it remembers, by cell: one whose fixed fields, the checksum and the times among them,
    stand there as they did is the same one, and is neither copied nor checked again.
    """

    def __init__(self, memory: mmap.mmap, room: i64) -> None:
        """Belongs to one section.

        Args:
            memory: the section.
            room: bytes that may be remembered.
        """
        self._memory = memory
        self._room = room
        self._taken: i64 = 0
        self._recent: dict[int, Remembered] = {}
        # Of the record that was read last.
        self.begun_ns: i64 = 0
        self.is_damaged = False

    def read(self, at: i64, end: i64, cell: i64, key: bytes) -> Entry | None:
        """The record of a key.

        Args:
            at: octet of the section where the record begins.
            end: octet where its ring ends.
            cell: the index cell that points there.
            key: whose record it has to be.

        Returns:
            None when another key's record stands there, or none at all; `is_damaged` tells these apart.
        """
        memory = self._memory
        known = self._recent.get(int(cell))
        if known is not None and known.key == key and memory[at : at + FIELDS] == known.start:
            self.is_damaged = False
            self.begun_ns = known.begun_ns
            return known.entry
        self.is_damaged = True
        raw = memory[at : min(at + _GLANCE, end)]
        if len(raw) < FIELDS or read_i64_le(raw, CELL_AT) != cell:
            return None
        names = read_i64_le(raw, NAMES_AT)
        sizes = read_i64_le(raw, SIZES_AT)
        key_end = FIELDS + (names >> 32)
        path_end = key_end + (names & _LOW)
        head_end = path_end + (sizes >> 32)
        body_end = head_end + (sizes & _LOW)
        if names < 0 or sizes < 0 or body_end > read_i64_le(raw, LENGTH_AT) or at + body_end > end:
            return None
        if i64(len(raw)) < head_end:
            raw = memory[at : at + head_end]
        if raw[FIELDS:key_end] != key:
            self.is_damaged = False
            return None
        body = raw[head_end:body_end] if body_end <= i64(len(raw)) else memory[at + head_end : at + body_end]
        if checksum(raw[HASH_AT:head_end], body) != read_i64_le(raw, CHECKSUM_AT):
            return None
        self.is_damaged = False
        self.begun_ns = read_i64_le(raw, BEGUN_AT)
        entry = Entry(
            raw[key_end:path_end],
            raw[path_end:head_end],
            body,
            read_i64_le(raw, STORED_AT),
            read_i64_le(raw, EXPIRES_AT),
        )
        if body_end - head_end <= CHECKED_BODY:
            # The head is there a second time when it is decoded.
            self._remember(cell, Remembered(raw[:FIELDS], key, self.begun_ns, entry), body_end + head_end)
        return entry

    def forget(self) -> None:
        """Gives back what is remembered."""
        self._recent = {}
        self._taken = 0

    def _remember(self, cell: i64, record: Remembered, size: i64) -> None:
        if self._taken + size > self._room:
            # All at once: what is asked for often is back at the next look.
            self.forget()
        if size <= self._room:
            self._recent[int(cell)] = record
            self._taken += size + _OVERHEAD
