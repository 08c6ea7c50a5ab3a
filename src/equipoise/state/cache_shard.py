"""One shard of a cache, changed under its lock: where an entry goes, and which ones leave for it.

Owns: the order of every change, the rings, eviction, the repair after a writer that died.
Refuses to know: the lock, clocks, what an entry means; how somebody reads without the lock (cache_store).

Eviction is S3-FIFO (Yang et al., SOSP 2023): a new entry waits in a small ring. When it comes to that ring's end it
goes over to the main ring if it was asked for meanwhile or there is room, else it leaves, and its hash stays behind as
a ghost. What comes back while its ghost is there goes to the main ring at once. In the main ring an entry that was
asked for goes round again. A scan of keys that nobody asks for twice thus passes through a tenth of a full cache.

Any moment may be the writer's last, and readers take no lock. So: an index cell is cleared before the octets behind it
are given up, a record is written into free octets and pointed at only when it is whole, and each of these is one store
of 8 octets. Only the counts of entries and octets can be wrong after a death; DIRTY tells of it.
"""

import mmap
from typing import Final

from librt.strings import read_i64_le
from mypy_extensions import i64

from equipoise.state.cache_layout import (
    BYTES,
    DIRTY,
    ENTRIES,
    GRAIN,
    HEADS,
    MAIN,
    SHARD_CELLS,
    SMALL,
    TAG_MASK,
    TAG_SHIFT,
    TAILS,
    WAYS,
    ShardPlace,
    make_cell,
    position_of,
    ring_of,
)
from equipoise.state.cache_record import CELL_AT, FIELDS, HASH_AT, NAMES_AT

# How often an entry in the small ring has to be asked for to stay; uses are counted up to MOST_USES.
STAYS_FROM: Final = 1
MOST_USES: Final = 3
# How many entries of the main ring one change may send round again, so that no change lasts long.
ROUNDS: Final = 32
# Beyond this the positions would not fit a cell: the shard starts anew.
_LAST_POSITION: Final = (1 << 46) - (1 << 40)
_POSITIVE: Final = (1 << 62) - 1


class Shard:
    """One shard, as one process sees it."""

    def __init__(self, memory: mmap.mmap, cells: memoryview, place: ShardPlace) -> None:
        """Looks at nothing yet.

        Args:
            memory: the section.
            cells: the same, cast to "q".
            place: where in it this shard lies.
        """
        self._memory = memory
        self._cells = cells
        self.place = place
        self._header: i64 = place.header // 8
        self._first: i64 = place.index // 8
        # Of this process, since its beginning.
        self.evictions: i64 = 0
        self._rounds: i64 = 0

    # Between taking the lock and giving it back

    def begin(self) -> None:
        """A change begins; first of all, what the death of another left behind is mended."""
        entries: i64 = self._cells[self._header + ENTRIES]
        octets: i64 = self._cells[self._header + BYTES]
        if self._cells[self._header + DIRTY] or not 0 <= entries <= octets <= 1 << 46:
            self.repair()
        self._cells[self._header + DIRTY] = 1
        if not self._is_sane():
            self.reset()

    def end(self) -> None:
        """The change is complete."""
        self._cells[self._header + DIRTY] = 0

    def find(self, key: bytes) -> i64:
        """The index cell, by number, of a key's record; -1 when there is none."""
        raw = self._bucket(self._hash(key))
        tag = read_i64_le(key, 8) & TAG_MASK
        first = self.bucket_of(self._hash(key)) * WAYS
        way: i64 = 0
        while way < WAYS:
            cell = read_i64_le(raw, way * 8)
            if cell and (cell >> TAG_SHIFT) & TAG_MASK == tag and self._is_of(cell, key):
                return first + way
            way += 1
        return -1

    def put(self, key: bytes, meta: bytes, body: bytes, length: i64) -> bool:
        """Stores a record in place of the key's old one.

        Args:
            key: at least 16 octets.
            meta: the record before its body, as `seal` makes it.
            body: the rest of it.
            length: of the record, a multiple of GRAIN, at most the layout's `max_entry`.

        Returns:
            False when the rings turned out damaged: everything in this shard is gone then.
        """
        name = self._hash(key)
        tag = read_i64_le(key, 8) & TAG_MASK
        ring = self._ring_for(key, name, length)
        self._rounds = 0
        if not self._make_room(ring, length):
            self.reset()
            return False
        number = self.find(key)
        uses: i64 = 0
        if number < 0:
            number = self._free_cell(name)
        else:
            uses = self._memory[self.place.uses + number]
            self.drop(number)
        at = self._append(ring, length)
        memory = self._memory
        memory[at : at + len(meta)] = meta
        memory[at + len(meta) : at + len(meta) + len(body)] = body
        memory[self.place.uses + number] = int(uses)
        self._point(number, tag, ring, length)
        return True

    def drop(self, number: i64) -> None:
        """An entry leaves the index; its octets are free when the ring's end comes by."""
        cell: i64 = self._cells[self._first + number]
        self._cells[self._first + number] = 0
        length = self._length_at(self.octet_of(cell))
        self._count(-1, -length if FIELDS <= length <= self._size(ring_of(cell)) else 0)

    def reset(self) -> None:
        """Everything leaves; the rings start anew."""
        place = self.place
        octets = int(place.cells() * 8)
        self._memory[place.index : place.index + octets] = bytes(octets)
        fields = int(SHARD_CELLS - ENTRIES)
        start = place.header + ENTRIES * 8
        self._memory[start : start + fields * 8] = bytes(fields * 8)

    def clear(self) -> None:
        """Everything leaves the index; octets are used on where the rings stand."""
        place = self.place
        octets = int(place.cells() * 8)
        self._memory[place.index : place.index + octets] = bytes(octets)
        for ring in (SMALL, MAIN):
            self._cells[self._header + TAILS + ring] = self._cells[self._header + HEADS + ring]
        self._cells[self._header + ENTRIES] = 0
        self._cells[self._header + BYTES] = 0

    def repair(self) -> None:
        """Counts anew, and drops what no whole record stands behind."""
        entries: i64 = 0
        octets: i64 = 0
        if not self._is_sane():
            self.reset()
            return
        number: i64 = 0
        count = self.place.cells()
        while number < count:
            cell: i64 = self._cells[self._first + number]
            if cell:
                if self._is_whole(cell):
                    entries += 1
                    octets += self._length_at(self.octet_of(cell))
                else:
                    self._cells[self._first + number] = 0
            number += 1
        self._cells[self._header + ENTRIES] = entries
        self._cells[self._header + BYTES] = octets

    # Places

    def bucket_of(self, name: i64) -> i64:
        """The bucket of a hash."""
        return (name >> 8) % self.place.buckets

    def octet_of(self, cell: i64) -> i64:
        """Where the record of an index cell begins."""
        place = self.place
        if ring_of(cell) == SMALL:
            return place.small + position_of(cell) % place.small_size
        return place.main + position_of(cell) % place.main_size

    def end_of(self, ring: i64) -> i64:
        """The octet behind a ring."""
        place = self.place
        return place.main if ring == SMALL else place.main + place.main_size

    def cell_at(self, number: i64) -> i64:
        """An index cell; 0 when it is free."""
        cell: i64 = self._cells[self._first + number]
        return cell

    def path_at(self, cell: i64) -> bytes:
        """The path in the record of an index cell."""
        at = self.octet_of(cell)
        names: i64 = self._cells[(at + NAMES_AT) // 8]
        start = at + FIELDS + (names >> 32)
        return self._memory[start : min(start + (names & 0xFFFF_FFFF), self.end_of(ring_of(cell)))]

    # Rings

    def _ring_for(self, key: bytes, name: i64, length: i64) -> i64:
        if length > self.place.small_size // 2:
            return MAIN
        number = self.find(key)
        if number >= 0:
            return ring_of(self.cell_at(number))
        ghost = self.place.ghosts // 8 + (name >> 24) % self.place.ghost_count
        if self._cells[ghost] == name:
            self._cells[ghost] = 0
            return MAIN
        return SMALL

    def _make_room(self, ring: i64, length: i64) -> bool:
        """Lets the oldest leave until a record fits; false when the ring is damaged."""
        while not self._fits(ring, length):
            if not self._take_oldest(ring):
                return False
        return True

    def _fits(self, ring: i64, length: i64) -> bool:
        head: i64 = self._cells[self._header + HEADS + ring]
        tail: i64 = self._cells[self._header + TAILS + ring]
        size = self._size(ring)
        left = size - head % size
        need = length if length <= left else left + length
        return need <= size - (head - tail)

    def _take_oldest(self, ring: i64) -> bool:
        head: i64 = self._cells[self._header + HEADS + ring]
        tail: i64 = self._cells[self._header + TAILS + ring]
        size = self._size(ring)
        at = self.end_of(ring) - size + tail % size
        length = self._length_at(at)
        if length < 0:  # filling
            self._cells[self._header + TAILS + ring] = tail - length
            return tail - length <= head and length % GRAIN == 0
        if length < FIELDS or length % GRAIN or tail + length > head or at + length > self.end_of(ring):
            return False
        name: i64 = self._cells[(at + HASH_AT) // 8] & _POSITIVE
        number = self._number_of(name, self._cells[(at + CELL_AT) // 8])
        if number < 0:  # replaced or purged long ago
            self._cells[self._header + TAILS + ring] = tail + length
            return True
        uses: i64 = self._memory[self.place.uses + number]
        self.drop(number)
        self._cells[self._header + TAILS + ring] = tail + length
        if ring == SMALL and (uses >= STAYS_FROM or self._fits(MAIN, length)):
            return self._move(number, at, length, 0)
        if ring == MAIN and uses and self._rounds < ROUNDS and self._fits(MAIN, length):
            self._rounds += 1
            return self._move(number, at, length, uses - 1)
        if ring == SMALL:
            self._cells[self.place.ghosts // 8 + (name >> 24) % self.place.ghost_count] = name
        self.evictions += 1
        return True

    def _move(self, number: i64, at: i64, length: i64, uses: i64) -> bool:
        """A record goes to the front of the main ring; its octets were given up, but nobody wrote there yet."""
        raw = self._memory[at : at + length]
        if not self._make_room(MAIN, length):
            return False
        tag = (read_i64_le(raw, CELL_AT) >> TAG_SHIFT) & TAG_MASK
        to = self._append(MAIN, length)
        self._memory[to : to + length] = raw
        self._memory[self.place.uses + number] = int(uses)
        self._point(number, tag, MAIN, length)
        return True

    def _append(self, ring: i64, length: i64) -> i64:
        """Where the next record goes, filling up the ring's end when it does not fit there; its length is written."""
        size = self._size(ring)
        start = self.end_of(ring) - size
        head: i64 = self._cells[self._header + HEADS + ring]
        left = size - head % size
        if left < length:
            self._cells[(start + head % size) // 8] = -left
            head += left
            self._cells[self._header + HEADS + ring] = head
        return start + head % size

    def _point(self, number: i64, tag: i64, ring: i64, length: i64) -> None:
        """The record at the ring's front is whole: it is counted in, and the index points there."""
        head: i64 = self._cells[self._header + HEADS + ring]
        cell = make_cell(ring, tag, head)
        self._cells[(self.octet_of(cell) + CELL_AT) // 8] = cell
        self._cells[self._header + HEADS + ring] = head + length
        self._cells[self._first + number] = cell
        self._count(1, length)

    def _size(self, ring: i64) -> i64:
        return self.place.small_size if ring == SMALL else self.place.main_size

    def _length_at(self, at: i64) -> i64:
        length: i64 = self._cells[at // 8]
        return length

    # Index

    def _hash(self, key: bytes) -> i64:
        return read_i64_le(key, 0) & _POSITIVE

    def _bucket(self, name: i64) -> bytes:
        start = self.place.index + self.bucket_of(name) * WAYS * 8
        return self._memory[start : start + WAYS * 8]

    def _number_of(self, name: i64, cell: i64) -> i64:
        raw = self._bucket(name)
        way: i64 = 0
        while way < WAYS:
            if cell and read_i64_le(raw, way * 8) == cell:
                return self.bucket_of(name) * WAYS + way
            way += 1
        return -1

    def _free_cell(self, name: i64) -> i64:
        """A free cell of the bucket; if there is none, the least used entry leaves."""
        raw = self._bucket(name)
        first = self.bucket_of(name) * WAYS
        uses = self._memory[self.place.uses + first : self.place.uses + first + WAYS]
        least: i64 = 0
        fewest: i64 = 2 * MOST_USES + 2
        way: i64 = 0
        while way < WAYS:
            cell = read_i64_le(raw, way * 8)
            if not cell:
                return first + way
            # Of equals, one that did not have to prove itself yet.
            here: i64 = 2 * i64(uses[way]) + ring_of(cell)
            if here < fewest:
                least = way
                fewest = here
            way += 1
        self.drop(first + least)
        self.evictions += 1
        return first + least

    def _is_of(self, cell: i64, key: bytes) -> bool:
        at = self.octet_of(cell)
        names: i64 = self._cells[(at + NAMES_AT) // 8]
        return names >> 32 == len(key) and self._memory[at + FIELDS : at + FIELDS + len(key)] == key

    def _is_whole(self, cell: i64) -> bool:
        """Whether a record of the ring stands behind an index cell."""
        ring = ring_of(cell)
        position = position_of(cell)
        head: i64 = self._cells[self._header + HEADS + ring]
        tail: i64 = self._cells[self._header + TAILS + ring]
        if position < tail or position >= head:
            return False
        at = self.octet_of(cell)
        length = self._length_at(at)
        inside = FIELDS < length <= head - position and length % GRAIN == 0
        return inside and bool(self._cells[(at + CELL_AT) // 8] == cell)

    def _is_sane(self) -> bool:
        """Whether the rings' marks can be true."""
        for ring in (SMALL, MAIN):
            head: i64 = self._cells[self._header + HEADS + ring]
            tail: i64 = self._cells[self._header + TAILS + ring]
            if tail < 0 or head < tail or head - tail > self._size(ring) or head > _LAST_POSITION:
                return False
            if head % GRAIN or tail % GRAIN:
                return False
        return True

    def _count(self, entries: i64, octets: i64) -> None:
        cells = self._cells
        cells[self._header + ENTRIES] = cells[self._header + ENTRIES] + entries
        cells[self._header + BYTES] = cells[self._header + BYTES] + octets
