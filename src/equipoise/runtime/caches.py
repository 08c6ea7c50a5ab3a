"""The caches of all pools, as the supervisor has them: it gives them memory, empties them, and reads their counts.

Owns: which section of the shared memory is whose, when one may be given to another pool, and purges.
Refuses to know: HTTP, what may be stored, how a change reaches the workers (`publisher`).

A section is a pool's for as long as its cache is switched on and `max_bytes` stays: answers outlive every other change.
It is given back when all workers act on a world without it, and is empty for whoever gets it next.
"""

import asyncio
import time
from contextlib import suppress
from typing import Final

from msgspec import structs

from equipoise.config.schema import CacheConfig, Config
from equipoise.model import PoolSpec, World
from equipoise.runtime.cache_memory import CacheMemory, Section
from equipoise.state.cache_layout import COUNTER_NAMES
from equipoise.state.cache_store import Store

# A purge by path looks at so many cells of the index before the loop goes on with something else.
CELLS: Final = 256
# Whoever holds a part of the cache for so long was stopped; nobody waits for it.
PATIENCE: Final = 2.0


class CacheMemoryError(Exception):
    """There is no memory for a cache; the text says which."""


class Caches:
    """The sections of the shared memory and whose they are. Belongs to the event loop's thread.

    Attributes:
        files: descriptors of the memory and of its locks, which workers inherit.
    """

    def __init__(self, rows: int) -> None:
        """No pool has a cache yet.

        Args:
            rows: how many workers there are.
        """
        self._memory = CacheMemory(rows)
        self.files = self._memory.files
        self._sections: dict[str, Section] = {}
        self._stores: dict[str, Store] = {}
        # Workers may act on them still.
        self._left: list[tuple[str, Section, Store]] = []

    def install(self, config: Config) -> None:
        """Gives each cache of a configuration its section; those that are not in it are left until `settle`.

        One that was left a moment ago is given back as it is.

        Raises:
            CacheMemoryError: the memory cannot grow, or so little of it is no cache; nothing was changed.
        """
        wanted = {name: pool.cache.max_bytes for name, pool in config.pools.items() if pool.cache.enabled}
        taken: dict[str, tuple[Section, Store]] = {}
        for name, max_bytes in wanted.items():
            if self._has(name, max_bytes) or self._left_of(name, max_bytes) is not None:
                continue
            try:
                taken[name] = self._take(max_bytes)
            except (OSError, ValueError) as error:
                for section, _ in taken.values():
                    self._memory.free(section)
                raise CacheMemoryError(f"pool {name} gets no memory for its cache: {error}") from error
        for name in list(self._sections):
            if not self._has(name, wanted.get(name, 0)):
                self._left.append((name, self._sections.pop(name), self._stores.pop(name)))
        for name, (section, store) in taken.items():
            self._sections[name], self._stores[name] = section, store
        for name in wanted.keys() - self._sections.keys():
            self._take_back(name, wanted[name])

    def placed(self, world: World) -> World:
        """The world with the place of each cache in it."""
        if not self._sections:
            return world
        return structs.replace(world, pools=tuple(self._placed(pool) for pool in world.pools))

    def settle(self) -> None:
        """All workers act on what was installed last: what was left by then is given back."""
        for _, section, store in self._left:
            store.close()
            self._memory.free(section)
        self._left.clear()

    def release(self, row: int) -> bool:
        """A worker is dead: others may fetch what it was fetching.

        Returns:
            False when a shard was busy, which keeps the claims of the dead: to be called again.
        """
        done = [store.release(row) for store in self._stores.values()]
        return all(done)

    def counts(self) -> dict[str, dict[str, int]]:
        """As `Store.stats`, for each pool whose cache is switched on."""
        return {pool: store.stats() for pool, store in self._stores.items()}

    def stats(self, pool: str, config: CacheConfig) -> dict[str, object]:
        """What is in the cache of a pool and how it is used; zeros while it is switched off.

        Args:
            pool: its name.
            config: how it is set.

        Returns:
            `ttl` in seconds, sizes in bytes, counts over all workers since the cache was switched on, and `hit_ratio`,
            which is None before the first request.
        """
        store = self._stores.get(pool)
        counts = dict.fromkeys(("entries", "bytes", *COUNTER_NAMES), 0) if store is None else store.stats()
        looked = counts["hits"] + counts["misses"]
        return {
            "enabled": config.enabled,
            "mode": config.mode,
            "ttl": config.ttl,
            **counts,
            "max_bytes": config.max_bytes,
            "hit_ratio": round(counts["hits"] / looked, 6) if looked else None,
        }

    async def purge(self, pool: str, path: str = "", *, is_prefix: bool = False) -> int:
        """Drops what is stored; when it returns no worker gives any of it again, and what is on its way is not stored.

        Args:
            pool: its name.
            path: drops the answers of this path, with any query unless it has one itself; empty drops all.
            is_prefix: drops those of every path that begins so.

        Returns:
            How many were dropped; 0 while the cache is switched off.
        """
        store = self._stores.get(pool)
        if store is None:
            return 0
        now = time.monotonic_ns()
        if not path:
            return store.purge_all(now)
        purge = store.purge(path.encode(), is_prefix, now)
        looked, deadline = 0, time.monotonic() + PATIENCE
        # Without its section the cache is gone, and what was asked for with it.
        while self._is_whole(store) and not purge.step(CELLS):
            if purge.looked != looked:
                looked, deadline = purge.looked, time.monotonic() + PATIENCE
            elif time.monotonic() > deadline:
                # Somebody who does not run holds a part. To drop all needs no lock, and covers what was asked for.
                return purge.dropped + store.purge_all(time.monotonic_ns())
            await asyncio.sleep(0)
        return purge.dropped

    def close(self) -> None:
        """Hand the memory down to nobody any more."""
        self._memory.close()

    def _take(self, max_bytes: int) -> tuple[Section, Store]:
        section = self._memory.take(max_bytes)
        try:
            return section, self._memory.store(section)
        except OSError:
            with suppress(OSError):  # what cannot be mapped was never written to
                self._memory.free(section)
            raise

    def _is_whole(self, store: Store) -> bool:
        """Whether its section is a cache's still."""
        return any(each is store for each in (*self._stores.values(), *(left[2] for left in self._left)))

    def _has(self, pool: str, max_bytes: int) -> bool:
        section = self._sections.get(pool)
        return section is not None and section.max_bytes == max_bytes

    def _left_of(self, pool: str, max_bytes: int) -> tuple[str, Section, Store] | None:
        for left in self._left:
            if left[0] == pool and left[1].max_bytes == max_bytes:
                return left
        return None

    def _take_back(self, pool: str, max_bytes: int) -> None:
        left = self._left_of(pool, max_bytes)
        assert left is not None
        self._left.remove(left)
        _, self._sections[pool], self._stores[pool] = left

    def _placed(self, pool: PoolSpec) -> PoolSpec:
        section = self._sections.get(pool.name)
        if section is None or not pool.cache.enabled:
            return pool
        return structs.replace(pool, cache_section=(section.start, section.max_bytes))
