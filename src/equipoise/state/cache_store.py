"""The answers that all workers of the balancer share, for one pool.

Owns: looking up, storing, dropping, claiming, purging and counting, each safe against every other process.
Refuses to know: HTTP, what may be stored and used (policy decides), who waits for whom inside a worker (cache_flights).

Reading takes no lock: an index cell is read, then the record behind it, then the cell again. If it is the same, so was
the record all the while; the checksum stands behind that where a processor reorders. Changing takes the lock of one
shard, for some microseconds; a lock that cannot be had costs the change, never time.

No call fails because of what the memory holds: a damaged record is a miss, a damaged shard begins anew.
"""

import mmap
from typing import Final

from librt.strings import read_i64_le
from mypy_extensions import i64

from equipoise.state.cache_claims import FREE, HELD, PASSING, Claims
from equipoise.state.cache_layout import (
    BUSY,
    BYTES,
    COUNTER_NAMES,
    COUNTERS,
    DAMAGED,
    ENTRIES,
    EVICTIONS,
    FLOOR_NS,
    FOLLOWED,
    HITS,
    MISSES,
    PURGED_NS,
    REFUSED,
    STORES,
    TAG_MASK,
    TAG_SHIFT,
    WAYS,
    Layout,
    ring_of,
)
from equipoise.state.cache_lock import Locks
from equipoise.state.cache_purge import Purge
from equipoise.state.cache_record import Entry, Reader, record_length, seal
from equipoise.state.cache_shard import MOST_USES, Shard

KEY_BYTES: Final = 16
# What a worker remembers of the entries that it read, as a share of the section.
REMEMBERED_SHARE: Final = 256
# What `begin` says.
READY: Final = 0  # somebody stored it just now: look again
LEAD: Final = 1  # fetch it; others wait. `end` has to follow
FOLLOW: Final = 2  # another one fetches it: wait
ALONE: Final = 3  # fetch it; nobody is to wait for it, and no `end` follows
# What `end` is told.
STORED: Final = 0  # it is in the store
FAILED: Final = 1  # there is no answer: the next one may try
UNSHARED: Final = 2  # there is an answer, for this request only: nobody is to wait for this key

_POSITIVE: Final = (1 << 62) - 1
# How often a reader begins again when what it read was moved meanwhile.
_LOOKS: Final = 3


class Store:
    """The cache of one pool, as one process sees it."""

    def __init__(self, memory: mmap.mmap, layout: Layout, locks: Locks, row: int) -> None:
        """Takes up the counters of the predecessor.

        Args:
            memory: shared mapping of the section, zeroed when it was made.
            layout: its division, the same in every process.
            locks: the section's.
            row: the worker's; -1 for the supervisor, which counts nothing.
        """
        self.layout = layout
        self._memory = memory
        self._cells = memoryview(memory).cast("q")
        self._locks = locks
        self._row = row
        self._shards = [Shard(memory, self._cells, place) for place in layout.shards]
        self._claims = [Claims(memory, self._cells, place) for place in layout.shards]
        self._shard_count: i64 = len(layout.shards)
        self._reader = Reader(memory, layout.size // REMEMBERED_SHARE)
        self._counts: list[int] = self._counters_of(row) if row >= 0 else [0] * COUNTERS
        self._evicted_before = self._counts[EVICTIONS]
        self._is_open = True

    # Entries

    def get(self, key: bytes, now: i64) -> Entry | None:
        """The entry of a key that may still be used.

        Args:
            key: a digest of at least 16 octets; it is compared whole.
            now: monotonic clock, nanoseconds.

        Raises:
            ValueError: the key is too short.
        """
        if not self._is_open:
            return None
        return self._look(key, now, True)

    def count(self, is_hit: bool) -> None:
        """One more request was answered from here, or was not: for one of them several keys may be looked up."""
        self._counts[HITS if is_hit else MISSES] += 1

    def put(self, key: bytes, entry: Entry, begun_ns: i64) -> bool:
        """Stores an entry in place of the key's old one.

        Args:
            key: as for `get`.
            entry: what is stored.
            begun_ns: when the request to the target began, monotonic clock: a purge since then forbids the storing.

        Returns:
            False when it is not stored: it is too large, was purged meanwhile, or the shard is busy. The old entry
            may be there still.

        Raises:
            ValueError: the key is too short.
        """
        name = name_of(key)
        length = record_length(key, entry)
        if length > self.layout.max_entry:
            self._counts[REFUSED] += 1
            return False
        if not self._is_open:
            return False
        meta = seal(key, entry, begun_ns)
        number = int(name % self._shard_count)
        if not self._locks.take(number):
            self._counts[BUSY] += 1
            return False
        try:
            # Under the lock: a purge that set its mark after this look will find the entry.
            is_stored = begun_ns > self._cells[PURGED_NS] and begun_ns > self._cells[FLOOR_NS]
            if is_stored:
                shard = self._shards[number]
                shard.begin()
                is_stored = shard.put(key, meta, entry.body, length)
                shard.end()
        finally:
            self._locks.give(number)
        self._counts[STORES if is_stored else REFUSED] += 1
        return is_stored

    def delete(self, key: bytes) -> bool:
        """Drops the entry of a key; false when the shard is busy, and the entry may be there still.

        Raises:
            ValueError: the key is too short.
        """
        number = int(name_of(key) % self._shard_count)
        if not self._is_open:
            return True
        if not self._locks.take(number):
            self._counts[BUSY] += 1
            return False
        try:
            shard = self._shards[number]
            shard.begin()
            cell = shard.find(key)
            if cell >= 0:
                shard.drop(cell)
            shard.end()
        finally:
            self._locks.give(number)
        return True

    # One fetch for many

    def begin(self, key: bytes, now: i64, until: i64, seen_ns: i64) -> i64:
        """A miss: is this the one that fetches? `Flights` asks, on behalf of the worker's exchanges.

        Args:
            key: as for `get`.
            now: monotonic clock, nanoseconds; `end` is to name the same.
            until: deadline of the claim: from then on another one may fetch.
            seen_ns: `stored_ns` of the entry that was found and is too old to be used; 0 without one.

        Returns:
            READY, LEAD, FOLLOW or ALONE.
        """
        name = name_of(key)
        number = int(name % self._shard_count)
        if not self._is_open:
            return ALONE
        if not self._locks.take(number):
            self._counts[BUSY] += 1
            return LEAD
        claims = self._claims[number]
        state = claims.state(name, now)
        verdict: i64 = FOLLOW
        if self._is_newer(key, now, seen_ns):
            verdict = READY
        elif state == PASSING:
            verdict = ALONE
        elif state == FREE:
            # Without a place for the claim other workers may fetch it too: one request a worker, no stampede.
            claims.take(name, self._row, now, until)
            verdict = LEAD
        self._locks.give(number)
        if verdict == FOLLOW:
            self._counts[FOLLOWED] += 1
        return verdict

    def count_follower(self) -> None:
        """One more waits, for a leader in its own worker."""
        self._counts[FOLLOWED] += 1

    def look_on(self, key: bytes, now: i64, seen_ns: i64) -> i64:
        """What one that was told FOLLOW sees: READY, FOLLOW (still), ALONE, or LEAD (nobody fetches: `begin` anew)."""
        if not self._is_open:
            return ALONE
        if self._is_newer(key, now, seen_ns):
            return READY
        name = name_of(key)
        state = self._claims[int(name % self._shard_count)].state(name, now)
        if state == HELD:
            return FOLLOW
        return ALONE if state == PASSING else LEAD

    def end(self, key: bytes, begun_ns: i64, outcome: i64, pass_until: i64) -> bool:
        """The one that was told LEAD is done.

        Args:
            key: as for `get`.
            begun_ns: the `now` of its `begin`.
            outcome: STORED, FAILED or UNSHARED.
            pass_until: with UNSHARED, until when nobody is to wait for this key; monotonic clock.

        Returns:
            False when the shard is busy: the claim stands, and others wait for nobody until it is ended after all.
        """
        name = name_of(key)
        number = int(name % self._shard_count)
        if not self._is_open:
            return True
        if not self._locks.take(number):
            self._counts[BUSY] += 1
            return False
        claims = self._claims[number]
        if claims.end(name, self._row, begun_ns) and outcome == UNSHARED:
            claims.let_pass(name, begun_ns, pass_until)
        self._locks.give(number)
        return True

    def release(self, row: int) -> bool:
        """Supervisor, when a worker is dead: others may fetch what it was fetching. False when a shard is busy."""
        is_done = True
        for number in range(int(self._shard_count)):
            if self._locks.take(number):
                self._claims[number].release(row)
                self._locks.give(number)
            else:
                is_done = False
        return is_done

    # Purges, by the supervisor

    def purge_all(self, now: i64) -> int:
        """Drops everything, and whatever is being fetched will not be stored.

        It is in force in every process when this returns, even where a shard is busy: entries begun before are misses.

        Returns:
            How many entries there were.
        """
        self._cells[PURGED_NS] = now
        count = 0
        for number, shard in enumerate(self._shards):
            count += self._entries(number)
            if self._locks.take(number):
                shard.begin()
                shard.clear()
                shard.end()
                self._locks.give(number)
        return count

    def purge(self, path: bytes, is_prefix: bool, now: i64) -> Purge:
        """Begins to drop the entries of a path; it is in force in every process when the purge's steps are done.

        Args:
            path: drops entries of this path, with any query unless the path has one itself.
            is_prefix: drops the entries of every path that begins so.
            now: monotonic clock; what was begun by then is stored no more, whatever its path.
        """
        if not self._is_open:
            return Purge([], self._locks, path, is_prefix)
        self._cells[FLOOR_NS] = max(now, i64(self._cells[FLOOR_NS]))
        return Purge(self._shards, self._locks, path, is_prefix)

    # Counts

    def flush(self) -> None:
        """Worker only: writes its counters where others read them; called at each tick."""
        if not self._is_open:
            return
        evictions: i64 = 0
        for shard in self._shards:
            evictions += shard.evictions
        self._counts[EVICTIONS] = self._evicted_before + int(evictions)
        at = int(self.layout.counters) + self._row * COUNTERS
        for field, count in enumerate(self._counts):
            self._cells[at + field] = count

    def stats(self) -> dict[str, int]:
        """Entries and bytes as they are; hits, misses, stores, evictions and so on over all workers, up to a tick ago.

        Returns:
            entries, bytes (their records), max_bytes, hits, misses, stores, evictions, refused, busy, damaged,
            followed.
        """
        rows = [self._counters_of(row) for row in range(self.layout.rows)]
        octets = [self._cells[int(place.header) // 8 + BYTES] for place in self.layout.shards]
        stats = {
            "entries": sum(self._entries(number) for number in range(int(self._shard_count))),
            "bytes": sum(octets),
            "max_bytes": self.layout.size,
        }
        for field, name in enumerate(COUNTER_NAMES):
            stats[name] = sum(row[field] for row in rows)
        return stats

    def close(self) -> None:
        """The memory may be given to another cache: from now on everything is a miss, and nothing is written.

        Exchanges may hold this view for as long as they last.
        """
        self._is_open = False
        self._reader.forget()

    def _counters_of(self, row: int) -> list[int]:
        at = int(self.layout.counters) + row * COUNTERS
        counts: list[int] = self._cells[at : at + COUNTERS].tolist()
        return counts

    def _entries(self, number: int) -> int:
        count: int = self._cells[int(self.layout.shards[number].header) // 8 + ENTRIES]
        return count

    # Reading without the lock

    def _is_newer(self, key: bytes, now: i64, seen_ns: i64) -> bool:
        entry = self._look(key, now, False)
        return entry is not None and entry.stored_ns > seen_ns

    def _look(self, key: bytes, now: i64, is_use: bool) -> Entry | None:
        name = name_of(key)
        number = int(name % self._shard_count)
        shard = self._shards[number]
        tag = read_i64_le(key, 8) & TAG_MASK
        first = shard.bucket_of(name) * WAYS
        start = shard.place.index + first * 8
        looks: i64 = 0
        while looks < _LOOKS:
            raw = self._memory[start : start + WAYS * 8]
            is_moved = False
            way: i64 = 0
            while way < WAYS:
                cell = read_i64_le(raw, way * 8)
                if cell and (cell >> TAG_SHIFT) & TAG_MASK == tag:
                    entry = self._reader.read(shard.octet_of(cell), shard.end_of(ring_of(cell)), cell, key)
                    if self._cells[start // 8 + way] != cell:
                        is_moved = True
                    elif entry is not None:
                        return self._usable(entry, shard.place.uses + first + way if is_use else -1, now)
                    elif self._reader.is_damaged:
                        self._counts[DAMAGED] += 1
                way += 1
            if not is_moved:
                return None
            looks += 1
        return None

    def _usable(self, entry: Entry, uses_at: i64, now: i64) -> Entry | None:
        if entry.expires_ns <= now or self._reader.begun_ns <= self._cells[PURGED_NS]:
            return None
        if uses_at >= 0:
            uses: i64 = self._memory[uses_at]
            if uses < MOST_USES:
                # Two at once may count one use, or count it for the cell's next owner: no harm.
                self._memory[uses_at] = int(uses + 1)
        return entry


def name_of(key: bytes) -> i64:
    """The hash of a key: its first octets, not negative.

    Raises:
        ValueError: the key is too short to be a digest.
    """
    if len(key) < KEY_BYTES:
        raise ValueError(f"a cache key has at least {KEY_BYTES} octets, not {len(key)}")
    return read_i64_le(key, 0) & _POSITIVE
