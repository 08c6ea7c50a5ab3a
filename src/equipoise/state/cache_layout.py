"""How the shared memory of one pool's cache is divided.

Owns: the places of counters, shards, index cells, claims and rings, and what the 64 bits of an index cell mean.
Refuses to know: what is stored, who may write when.

A section is `size` octets, all of the memory that the cache of a pool has: `max_bytes` bounds the bookkeeping too.

    header · a record of counters for each worker · shards

A shard is a small cache of its own with its own lock: its header, an index of buckets, how often each indexed entry was
asked for, the hashes of entries that left lately, claims, and two rings that hold the entries themselves.
"""

from typing import Final

from mypy_extensions import i64

PAGE: Final = 4096
MIN_BYTES: Final = 64 * 1024
# Records begin and end at multiples of this.
GRAIN: Final = 16

# Cells of the section's header.
PURGED_NS: Final = 0  # entries begun at or before this are gone
FLOOR_NS: Final = 1  # what was begun at or before this is stored no more; a purge by path sets it before it searches
HEADER_CELLS: Final = 16

# Cells of a worker's record of counters.
HITS: Final = 0
MISSES: Final = 1
STORES: Final = 2
EVICTIONS: Final = 3
REFUSED: Final = 4  # not stored: too large, or a purge came in between
BUSY: Final = 5  # not stored, or not claimed: somebody else held the shard
DAMAGED: Final = 6  # what an index cell pointed at was not a whole record
FOLLOWED: Final = 7  # requests that waited for the answer of another
COUNTERS: Final = 8
COUNTER_NAMES: Final = ("hits", "misses", "stores", "evictions", "refused", "busy", "damaged", "followed")

# Cells of a shard's header.
DIRTY: Final = 0  # not 0 while somebody changes the shard: whoever finds it so under the lock repairs it
ENTRIES: Final = 1
BYTES: Final = 2
HEADS: Final = 3  # 2 cells, one a ring: where the next record goes
TAILS: Final = 5  # 2 cells: the oldest record
SHARD_CELLS: Final = 16

# The rings: new entries go to SMALL, those that were asked for again to MAIN.
SMALL: Final = 0
MAIN: Final = 1

# An index cell: LIVE, the ring, 19 bits of the key, and where in the ring the record began, counted in grains from the
# ring's first use on. That position never comes again (2^42 grains are 64 TiB), so a cell that still reads the same
# says that the record behind it is still the same.
LIVE: Final = 1 << 62
RING_SHIFT: Final = 61
TAG_SHIFT: Final = 42
TAG_MASK: Final = (1 << 19) - 1
POSITION_MASK: Final = (1 << 42) - 1
WAYS: Final = 8  # cells in a bucket: a cache line

CLAIM_CELLS: Final = 4
CLAIM_WAYS: Final = 4

# Octets of a ring for each index cell: smaller records than this on average fill the index first.
_OCTETS_A_CELL: Final = 256
_OCTETS_A_CLAIM: Final = 16 * 1024
# Sections from this size on have four shards: a writer rarely meets another, and an entry may still be large.
_SHARDED: Final = 4 << 20


def ring_of(cell: i64) -> i64:
    """SMALL or MAIN."""
    return (cell >> RING_SHIFT) & 1


def make_cell(ring: i64, tag: i64, position: i64) -> i64:
    """The index cell of a record that begins at a position, octets since the ring's first use."""
    return LIVE | (ring << RING_SHIFT) | (tag << TAG_SHIFT) | (position // GRAIN)


def position_of(cell: i64) -> i64:
    """Octets since the ring's first use."""
    return (cell & POSITION_MASK) * GRAIN


class ShardPlace:
    """Where the parts of one shard lie; octets from the section's beginning, all multiples of 16."""

    def __init__(self, start: int, size: int) -> None:
        """Divides `size` octets from `start` on."""
        cells = max(size // (_OCTETS_A_CELL + 13) // WAYS, 1) * WAYS
        claims = min(max(size // _OCTETS_A_CLAIM // CLAIM_WAYS, 8), 256) * CLAIM_WAYS
        self.header: i64 = start
        self.index: i64 = start + SHARD_CELLS * 8
        self.buckets: i64 = cells // WAYS
        self.uses: i64 = self.index + cells * 8
        self.ghosts: i64 = self.uses + cells
        self.ghost_count: i64 = cells // 2
        self.claims: i64 = _up(int(self.ghosts) + cells // 2 * 8)
        self.claim_buckets: i64 = claims // CLAIM_WAYS
        small = _up(int(self.claims) + claims * CLAIM_CELLS * 8)
        # Fields may be read behind a ring's last grain when a cell is damaged: there has to be something.
        rings = (start + size - small - 128) // GRAIN * GRAIN
        self.small: i64 = small
        self.small_size: i64 = rings // 10 // GRAIN * GRAIN
        self.main: i64 = self.small + self.small_size
        self.main_size: i64 = rings - self.small_size

    def cells(self) -> i64:
        """How many index cells."""
        return self.buckets * WAYS


class Layout:
    """The division of one section; the same in every process that maps it.

    Attributes:
        size: octets of the section, a multiple of the page.
        max_entry: octets of the largest record that is taken: key, path, head, body and 72 of its own. It is more than
            a twentieth of `size`.
    """

    def __init__(self, max_bytes: int, rows: int) -> None:
        """Divides at most `max_bytes` octets.

        Args:
            max_bytes: the bound of the cache, bookkeeping included; at least MIN_BYTES.
            rows: how many workers there are.

        Raises:
            ValueError: so little memory leaves no room for entries.
        """
        if max_bytes < MIN_BYTES:
            raise ValueError(f"a cache needs at least {MIN_BYTES} bytes, not {max_bytes}")
        self.size = max_bytes // PAGE * PAGE
        self.rows = rows
        self.counters: i64 = HEADER_CELLS
        first = _up(8 * (HEADER_CELLS + rows * COUNTERS))
        count = 4 if self.size >= _SHARDED else 1
        each = (self.size - first) // count // GRAIN * GRAIN
        if each < MIN_BYTES // 2:
            raise ValueError(f"{max_bytes} bytes leave no room for entries beside the counters of {rows} workers")
        self.shards = [ShardPlace(first + number * each, each) for number in range(count)]
        self.max_entry: i64 = self.shards[0].main_size // 4


def _up(octets: int) -> int:
    """The next multiple of a cache line."""
    return -(-octets // 64) * 64
