"""What leaves for what, and what is left when a writer dies."""

import mmap
import os
import random
import signal
import sys
from functools import partial
from types import FrameType
from typing import Any

import pytest

from equipoise.state import cache_shard
from equipoise.state.cache_layout import BYTES, DIRTY, ENTRIES, HEADS, MAIN, TAILS, WAYS, Layout
from equipoise.state.cache_record import record_length, seal
from equipoise.state.cache_shard import Shard
from tests.support.stores import FAR, Balancer, entry, fork, key, wait

SIZE = 128 * 1024
IS_COMPILED = not str(cache_shard.__file__).endswith(".py")


class One:
    """A shard in memory of its own."""

    def __init__(self, size: int = SIZE) -> None:
        self.layout = Layout(size, 1)
        self.memory = mmap.mmap(-1, self.layout.size)
        self.cells = memoryview(self.memory).cast("q")
        self.place = self.layout.shards[0]
        self.shard = Shard(self.memory, self.cells, self.place)

    def put(self, name: object, size: int = 500) -> bool:
        stored = entry(b"y" * size)
        self.shard.begin()
        is_stored = self.shard.put(key(name), seal(key(name), stored, 1), stored.body, record_length(key(name), stored))
        self.shard.end()
        return is_stored

    def has(self, name: object) -> bool:
        return self.shard.find(key(name)) >= 0

    def use(self, name: object) -> None:
        """What a reader does."""
        self.memory[int(self.place.uses + self.shard.find(key(name)))] += 1

    def count(self, field: int) -> int:
        count: int = self.cells[int(self.place.header) // 8 + field]
        return count


def test_what_is_put_is_found_and_counted() -> None:
    one = One()
    one.put("a")
    one.put("b")
    assert (one.has("a"), one.has("b"), one.has("c")) == (True, True, False)
    assert one.count(ENTRIES) == 2
    assert one.count(BYTES) == 2 * record_length(key("a"), entry(b"y" * 500))


def test_a_key_is_there_once() -> None:
    one = One()
    one.put("a", 500)
    one.put("a", 100)
    assert one.count(ENTRIES) == 1
    assert one.count(BYTES) == record_length(key("a"), entry(b"y" * 100))


def test_what_is_dropped_is_counted_out() -> None:
    one = One()
    one.put("a")
    one.shard.drop(one.shard.find(key("a")))
    assert (one.has("a"), one.count(ENTRIES), one.count(BYTES)) == (False, 0, 0)


def fill(one: One) -> None:
    """Entries that nobody asks for, until none more fits into the main ring."""
    number = 0
    while one.shard._fits(MAIN, record_length(key(0), entry(b"y" * 500))):
        one.put(("fill", number))
        number += 1


def test_while_there_is_room_everything_stays() -> None:
    one = One()
    for number in range(150):
        one.put(number)
    assert 150 * int(record_length(key(0), entry(b"y" * 500))) > 0.7 * one.layout.size
    assert all(one.has(number) for number in range(150))


def test_a_scan_of_a_full_cache_passes_through_the_small_ring_only() -> None:
    one = One()
    fill(one)
    for number in range(10):
        one.put(("kept", number))
        one.use(("kept", number))
    for number in range(2_000):
        one.put(number)
    assert all(one.has(("kept", number)) for number in range(10))
    scanned = sum(one.has(number) for number in range(2_000))
    assert 0 < scanned * 600 <= one.place.small_size


def test_what_comes_back_soon_after_it_left_goes_to_the_main_ring() -> None:
    one = One()
    fill(one)
    one.put("back")
    for number in range(40):
        one.put(number)
    assert not one.has("back")
    one.put("back")
    for number in range(100, 140):
        one.put(number)
    assert one.has("back")


def test_in_the_main_ring_what_is_asked_for_goes_round_and_what_is_not_leaves() -> None:
    one = One()
    large = int(one.place.small_size) // 2 + 1_000  # goes to the main ring at once
    for number in range(6):
        one.put(number, large)
    one.use(3)
    for number in range(6, 60):
        one.put(number, large)
        if one.has(3):
            one.use(3)
    assert one.has(3)
    assert not one.has(2)


def test_full_rings_hold_nearly_as_much_as_they_are_large() -> None:
    one = One()
    draw = random.Random(3)
    for number in range(600):
        one.put(number, draw.randrange(2_000))
        one.use(number)
    rings = int(one.place.small_size + one.place.main_size)
    assert rings * 0.85 < one.count(BYTES) <= rings


def test_a_full_bucket_lets_its_least_used_entry_go() -> None:
    one = One(1 << 20)
    bucket = one.shard.bucket_of(1 << 8)
    names: list[int] = []
    number = 0
    while len(names) < WAYS + 1:
        number += 1
        if one.shard.bucket_of(int.from_bytes(key(number)[:8], "little") & ((1 << 62) - 1)) == bucket:
            names.append(number)
    for name in names[:WAYS]:
        one.put(name, 0)
        if name != names[3]:
            one.use(name)
    one.put(names[WAYS], 0)
    assert [one.has(name) for name in names] == [name != names[3] for name in names]
    assert one.shard.evictions == 1


def test_clearing_leaves_nothing_and_what_follows_is_kept() -> None:
    one = One()
    for number in range(50):
        one.put(number)
    one.shard.clear()
    assert (one.count(ENTRIES), one.count(BYTES)) == (0, 0)
    assert not any(one.has(number) for number in range(50))
    one.put("after")
    assert one.has("after")


@pytest.mark.parametrize("field", [HEADS, HEADS + 1, TAILS, TAILS + 1])
@pytest.mark.parametrize("value", [-16, 7, 1 << 40, 1 << 62])
def test_marks_that_cannot_be_true_empty_the_shard(field: int, value: int) -> None:
    one = One()
    one.put("a")
    one.cells[int(one.place.header) // 8 + field] = value
    one.put("b")
    assert one.has("b")


def test_damaged_records_in_a_ring_never_stop_a_put() -> None:
    one = One()
    draw = random.Random(5)
    for number in range(300):
        at = int(one.place.small) + draw.randrange(int(one.place.small_size + one.place.main_size))
        one.memory[at : at + 24] = draw.randbytes(24)[: len(one.memory) - at]
        one.put(number)
    stored = [one.put("last"), one.put("last")]
    assert True in stored
    assert one.has("last")


def test_a_change_that_was_cut_short_is_mended_by_the_next() -> None:
    one = One()
    for number in range(5):
        one.put(number)
    header = int(one.place.header) // 8
    one.cells[header + DIRTY] = 1
    one.cells[header + ENTRIES] = 99
    one.cells[header + BYTES] = -5
    one.put(5)
    assert one.count(ENTRIES) == 6
    assert one.count(BYTES) == 6 * record_length(key(0), entry(b"y" * 500))
    assert one.count(DIRTY) == 0


def test_mending_drops_cells_that_point_at_no_record() -> None:
    one = One()
    one.put("a")
    cell = one.cells[int(one.place.index) // 8 + int(one.shard.find(key("a")))]
    free = next(at for at in range(int(one.place.cells())) if not one.shard.cell_at(at))
    one.cells[int(one.place.index) // 8 + free] = cell + 1
    one.shard.repair()
    assert (one.count(ENTRIES), one.shard.cell_at(free)) == (1, 0)


def die_at(line: int) -> None:
    """This process is killed when it comes to its n-th line of the shard's code."""
    passed = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal passed
        if frame.f_code.co_filename != cache_shard.__file__:
            return None
        if event == "line":
            passed += 1
            if passed == line:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def put_and_die(balancer: Balancer, body: bytes, line: int) -> None:
    store = balancer.worker()
    die_at(line)
    store.put(key(1_000), entry(body), 1)


@pytest.mark.skipif(IS_COMPILED, reason="compiled code has no lines to die at; test_cache_processes kills it blindly")
@pytest.mark.parametrize("step", range(2))
def test_a_writer_killed_in_the_middle_leaves_whole_entries_only(step: int) -> None:
    """At some hundred lines of a put that makes several entries move and leave."""
    balancer = Balancer(rows=1)
    store = balancer.worker()
    bodies = {}
    for number in range(90):
        bodies[number] = bytes([number]) * (700 + number)
        store.put(key(number), entry(bodies[number]), 1)
        if number % 3 == 0:
            store.get(key(number), 2)
    bodies[1_000] = b"z" * 2_000
    line, deaths = step + 1, 0
    while True:
        code = wait(fork(partial(put_and_die, balancer, bodies[1_000], line)))
        reader = balancer.worker()
        for name, body in bodies.items():
            found = reader.get(key(name), 2)
            assert found is None or found.body == body
        if code == 0:
            break
        assert code == -signal.SIGKILL
        deaths += 1
        line += 11
    assert deaths > 10
    assert store.put(key("after"), entry(), 1)
    there = [store.get(key(name), 2) is not None for name in (*bodies, "after")]
    stats = balancer.stats(store)
    assert stats["entries"] == sum(there)
    assert FAR > stats["bytes"] > 0
