"""Which slot of the ledger belongs to whom.

Owns: giving slots to pools and targets, and taking them back when nobody counts there any more.
Refuses to know: the ledger itself (two callables stand for it), clocks, what a target is beyond its name.

A pool's targets get slots close to each other, since a worker reads the whole stretch between them. The slot of a
removed target is kept for a while: one that is added again finds its counters, and requests still in flight have
somewhere to count. A slot once used for a pool never goes to a target, nor the other way: they are counted differently.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple

# How long a removed target keeps its slot and thereby its counters.
KEEP: Final = 600.0
# Free slots left before a new pool, so that the one before it can grow in place.
HEADROOM: Final = 16


class Key(NamedTuple):
    """A target of a pool; the pool itself with an empty target."""

    pool: str
    target: str = ""


class NoSlotError(Exception):
    """The ledger is full."""


@dataclass(frozen=True)
class _Retired:
    slot: int
    since: float


class Slots:
    """The owners of all slots."""

    def __init__(self, capacity: int, is_idle: Callable[[int], bool], clear: Callable[[int], None]) -> None:
        """All free.

        Args:
            capacity: number of slots.
            is_idle: whether nothing is in flight at a slot.
            clear: sets all counters of a slot to zero.
        """
        self._capacity = capacity
        self._is_idle = is_idle
        self._clear = clear
        self._used: dict[Key, int] = {}
        self._retired: dict[Key, _Retired] = {}
        # Never used, or used for a target (for a pool) before.
        self._fresh = set(range(capacity))
        self._target_slots: set[int] = set()
        self._pool_slots: set[int] = set()

    def take(self, key: Key, near: int) -> int:
        """The slot of `key`: the one it has, the one it had, or a free one as close above `near` as there is.

        Raises:
            NoSlotError: all are in use.
        """
        if key in self._used:
            return self._used[key]
        retired = self._retired.pop(key, None)
        slot = self._used[key] = self._free_slot(key, near) if retired is None else retired.slot
        return slot

    def retain(self, keys: set[Key], now: float) -> None:
        """Retire the slots of all others."""
        for key in [key for key in self._used if key not in keys]:
            self._retired[key] = _Retired(self._used.pop(key), now)

    def reap(self, now: float) -> None:
        """Clear and free what was retired long ago and counts nothing in flight."""
        for key, retired in list(self._retired.items()):
            if now - retired.since >= KEEP:
                self._release(key)

    def next_pool(self) -> int:
        """Where a new pool may begin without hemming in the ones before it."""
        highest = max(self._used.values(), default=-1)
        return highest + HEADROOM if highest >= 0 else 0

    def _free_slot(self, key: Key, near: int) -> int:
        again = self._target_slots if key.target else self._pool_slots
        if not again and not self._fresh:
            for old in sorted(self._retired, key=lambda old: self._retired[old].since):
                if bool(old.target) == bool(key.target) and self._release(old):
                    break
            else:
                raise NoSlotError(f"all {self._capacity} slots of the ledger are in use")
        start = min(near, self._capacity)
        for slot in chain(range(start, self._capacity), range(start - 1, -1, -1)):
            if slot in again or slot in self._fresh:
                again.discard(slot)
                self._fresh.discard(slot)
                return slot
        raise AssertionError(key)

    def _release(self, key: Key) -> bool:
        slot = self._retired[key].slot
        # A pool's column counts its picks and is never zero; it has nothing in flight of its own.
        if key.target and not self._is_idle(slot):
            return False
        self._clear(slot)
        del self._retired[key]
        (self._target_slots if key.target else self._pool_slots).add(slot)
        return True
