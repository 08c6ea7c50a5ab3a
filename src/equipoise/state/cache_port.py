"""The cache of one pool, as an exchange of a worker sees it.

Owns: that the rules, the store and the flights of a pool belong together, what a change keeps of them, and their end.
Refuses to know: in which order an exchange asks them, where the shared memory comes from.
"""

from collections.abc import Callable

from mypy_extensions import i64

from equipoise.model import CacheSpec, PoolSpec
from equipoise.policy.caching import Rules
from equipoise.state.cache_flights import Flights
from equipoise.state.cache_store import Store

Section = tuple[int, int]
"""Where in the shared memory a cache lies: its first octet, and `max_bytes` of its configuration."""

# Opens the store of a section as this worker sees it.
StoreMaker = Callable[[Section], Store]


def no_store(section: Section) -> Store:
    """The maker of somebody who has no caches.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"nobody here opens the store of a cache, as at {section[0]}")


class CachePort:
    """The cache of one pool.

    Attributes:
        rules: what may be answered from it and what may be stored.
        store: the answers, which all workers share.
        flights: who fetches what, and who waits for it.
        section: where the store lies.
        watched: whether somebody has undertaken to call `flights.poll`; the data path's.
    """

    def __init__(self, rules: Rules, spec: CacheSpec, section: Section, store: Store, flights: Flights) -> None:
        """Puts together what belongs together.

        Args:
            rules: made of `spec`.
            spec: of the pool's cache.
            section: where the store lies.
            store: there.
            flights: of this store.
        """
        self.rules = rules
        self.spec = spec
        self.section = section
        self.store = store
        self.flights = flights
        self.watched = False

    def tick(self, now: i64) -> None:
        """What is due: gives up leaders that take too long, and shows others the counts.

        Args:
            now: monotonic clock, nanoseconds.
        """
        self.flights.tick(now)
        self.store.flush()

    def is_succeeded_by(self, other: "CachePort | None") -> bool:
        """Whether the answers stored here are those of `other` too, so that nothing has to end."""
        return other is not None and other.store is self.store

    def close(self, now: i64) -> None:
        """Its memory may become another pool's: who waits goes on alone, and exchanges that still run store nothing.

        Args:
            now: monotonic clock, nanoseconds.
        """
        self.flights.close(now)
        self.store.flush()
        self.store.close()


def port_of(spec: PoolSpec, before: CachePort | None, make_store: StoreMaker) -> CachePort | None:
    """The cache of a pool; the one from before, or what of it still holds, as long as its memory is the same.

    Args:
        spec: the pool as it is to be.
        before: its cache until now.
        make_store: opens the store of a section.

    Returns:
        None when the cache is switched off.

    Raises:
        ValueError, OSError: as `make_store`.
    """
    section = spec.cache_section
    if section is None or not spec.cache.enabled:
        return None
    if before is None or before.section != section:
        store = make_store(section)
        return CachePort(Rules(spec.cache, spec.name), spec.cache, section, store, Flights(store))
    if before.spec == spec.cache:
        return before
    return CachePort(Rules(spec.cache, spec.name), spec.cache, section, before.store, before.flights)
