"""Dropping the entries of a path, shard by shard, while everything goes on.

Owns: which paths are meant, and how far the search has come.
Refuses to know: why, and how what is being fetched meanwhile is kept out (the store's floor).

The index is walked under the lock: an entry that goes over to the main ring is in no cell for a moment. The lock is
held for some cells at a time, so that workers hardly wait.
"""

from mypy_extensions import i64

from equipoise.state.cache_lock import Locks
from equipoise.state.cache_shard import Shard


class Purge:
    """A purge by path; the supervisor calls `step` until it is done, and lets its loop run in between.

    Attributes:
        dropped: entries so far.
        looked: index cells so far.
    """

    def __init__(self, shards: list[Shard], locks: Locks, path: bytes, is_prefix: bool) -> None:
        """Nothing is dropped yet; `Store.purge` makes it."""
        self._shards = shards
        self._locks = locks
        self._path = path
        self._with_query = path if b"?" in path else path + b"?"
        self._is_prefix = is_prefix
        self._shard = 0
        self._cell: i64 = 0
        self.dropped = 0
        self.looked = 0

    def step(self, cells: i64) -> bool:
        """Looks at some more index cells.

        Args:
            cells: how many at most; a hundred take some 50 us, for which the shard's writers wait.

        Returns:
            Whether the purge is done. When a shard is busy the next step tries again.
        """
        if self._shard >= len(self._shards):
            return True
        shard = self._shards[self._shard]
        count = shard.place.cells()
        end = min(self._cell + cells, count)
        if not self._locks.take(self._shard):
            return False
        try:
            shard.begin()
            self.looked += int(end - self._cell)
            self._drop(shard, end)
            shard.end()
        finally:
            self._locks.give(self._shard)
        if end == count:
            self._shard += 1
            self._cell = 0
        return self._shard >= len(self._shards)

    def matches(self, path: bytes) -> bool:
        """Whether an entry of this path is to go."""
        if self._is_prefix or path == self._path:
            return path.startswith(self._path)
        return self._with_query != self._path and path.startswith(self._with_query)

    def _drop(self, shard: Shard, end: i64) -> None:
        while self._cell < end:
            cell = shard.cell_at(self._cell)
            if cell and self.matches(shard.path_at(cell)):
                shard.drop(self._cell)
                self.dropped += 1
            self._cell += 1
