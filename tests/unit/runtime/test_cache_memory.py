"""Sections of the caches' memory."""

import os

import pytest

from equipoise.runtime.cache_memory import CacheMemory, open_store
from tests.support.stores import entry, key

KIB = 1024


def blocks(memory: CacheMemory) -> int:
    """Octets of memory that the system has given."""
    return os.fstat(memory.files[0]).st_blocks * 512


def test_sections_do_not_touch_each_other() -> None:
    memory = CacheMemory(1)
    sections = [memory.take(size * KIB) for size in (64, 100, 71)]
    stores = [open_store(memory.files, section, 1, 0) for section in sections]
    for number, store in enumerate(stores):
        for each in range(200):
            store.put(key(each), entry(b"%d" % number * 500), 1)
    for number, store in enumerate(stores):
        bodies = [found.body for each in range(200) if (found := store.get(key(each), 1))]
        assert {body[:1] for body in bodies} == {b"%d" % number}


def test_memory_is_taken_as_it_is_used() -> None:
    memory = CacheMemory(1)
    section = memory.take(64 << 20)
    store = open_store(memory.files, section, 1, 0)
    store.put(key(1), entry(), 1)
    assert blocks(memory) < 256 * KIB


def test_a_full_cache_takes_no_more_memory_than_it_may() -> None:
    memory = CacheMemory(1)
    store = open_store(memory.files, memory.take(256 * KIB), 1, 0)
    for number in range(2_000):
        store.put(key(number), entry(b"y" * 900), 1)
        store.get(key(number), 1)
    assert 200 * KIB < blocks(memory) <= 256 * KIB


def test_a_freed_section_gives_its_memory_back_and_serves_another_pool_empty() -> None:
    memory = CacheMemory(1)
    first, second = memory.take(128 * KIB), memory.take(64 * KIB)
    store = open_store(memory.files, first, 1, 0)
    for number in range(100):
        store.put(key(number), entry(b"y" * 900), 1)
    before = blocks(memory)
    memory.free(first)
    assert blocks(memory) < before
    again = memory.take(100 * KIB)
    assert (again.start, second.start) == (0, 128 * KIB)
    assert memory.store(again).get(key(1), 1) is None


def test_a_section_that_fits_no_gap_goes_behind_the_last() -> None:
    memory = CacheMemory(1)
    sections = [memory.take(64 * KIB) for _ in range(3)]
    memory.free(sections[1])
    assert memory.take(80 * KIB).start == 192 * KIB
    assert memory.take(64 * KIB).start == 64 * KIB


def test_too_small_a_section_is_an_error_and_takes_nothing() -> None:
    memory = CacheMemory(1)
    with pytest.raises(ValueError, match="65536"):
        memory.take(100)
    assert memory.take(64 * KIB).start == 0


def test_the_supervisor_counts_what_workers_do() -> None:
    memory = CacheMemory(2)
    section = memory.take(64 * KIB)
    worker = open_store(memory.files, section, 2, 1)
    worker.put(key(1), entry(), 1)
    worker.flush()
    assert memory.store(section).stats()["stores"] == 1
