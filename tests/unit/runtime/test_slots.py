"""Who owns which slot of the ledger."""

import pytest

from equipoise.runtime.slots import KEEP, Key, NoSlotError, Slots

POOL = Key("p")
A, B = Key("p", "a"), Key("p", "b")


class Counts:
    """What stands for the ledger: which slots hold something, and which were cleared."""

    def __init__(self) -> None:
        self.busy: set[int] = set()
        self.cleared: list[int] = []

    def is_idle(self, slot: int) -> bool:
        return slot not in self.busy

    def slots(self, capacity: int) -> Slots:
        return Slots(capacity, self.is_idle, self.cleared.append)


def test_a_slot_is_kept_as_long_as_its_owner_stays() -> None:
    slots = Counts().slots(8)
    first = slots.take(A, 3)
    assert slots.take(A, 5) == first


def test_a_target_gets_the_nearest_free_slot_above() -> None:
    slots = Counts().slots(8)
    assert [slots.take(Key("p", name), 2) for name in "abc"] == [2, 3, 4]


def test_a_full_upper_end_falls_back_below() -> None:
    slots = Counts().slots(4)
    assert [slots.take(Key("p", name), 3) for name in "abcd"] == [3, 2, 1, 0]


def test_a_target_that_comes_back_soon_finds_its_slot_and_counters() -> None:
    counts = Counts()
    slots = counts.slots(8)
    first = slots.take(A, 0)
    slots.retain(set(), now=0.0)
    slots.reap(KEEP - 1)
    assert slots.take(A, 5) == first
    assert counts.cleared == []


def test_a_slot_is_cleared_before_it_is_given_to_another() -> None:
    counts = Counts()
    slots = counts.slots(1)
    first = slots.take(A, 0)
    slots.retain(set(), now=0.0)
    slots.reap(KEEP)
    assert counts.cleared == [first]
    assert slots.take(B, 0) == first


def test_a_slot_with_requests_in_flight_is_not_freed() -> None:
    counts = Counts()
    slots = counts.slots(1)
    counts.busy.add(slots.take(A, 0))
    slots.retain(set(), now=0.0)
    slots.reap(10 * KEEP)
    assert counts.cleared == []
    with pytest.raises(NoSlotError):
        slots.take(B, 0)


def test_when_no_slot_is_left_the_oldest_removed_idle_target_gives_its_own() -> None:
    counts = Counts()
    slots = counts.slots(2)
    oldest = slots.take(A, 0)
    slots.take(B, 0)
    slots.retain({B}, now=0.0)
    slots.retain(set(), now=1.0)
    assert slots.take(Key("p", "c"), 0) == oldest


def test_a_pools_slot_never_goes_to_a_target() -> None:
    slots = Counts().slots(1)
    slots.take(POOL, 0)
    slots.retain(set(), now=0.0)
    slots.reap(KEEP)
    with pytest.raises(NoSlotError):
        slots.take(A, 0)
    assert slots.take(Key("q"), 0) == 0


def test_a_pools_slot_is_freed_whatever_it_counts() -> None:
    counts = Counts()
    slots = counts.slots(4)
    counts.busy.add(slots.take(POOL, 0))
    slots.retain(set(), now=0.0)
    slots.reap(KEEP)
    assert counts.cleared == [0]


def test_a_new_pool_leaves_the_one_before_it_room_to_grow() -> None:
    slots = Counts().slots(64)
    slots.take(POOL, slots.next_pool())
    last = slots.take(A, 1)
    second = slots.take(Key("q"), slots.next_pool())
    assert second > last + 1
    assert slots.take(B, last + 1) == last + 1
