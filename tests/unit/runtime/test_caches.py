"""Which section of the shared memory is whose, and when it may be another's."""

import asyncio
import os
import signal
import time

import pytest
import uvloop

from equipoise.config.schema import CacheConfig, Config, PoolConfig
from equipoise.config.world import cache_spec
from equipoise.model import PoolSpec, World
from equipoise.runtime import caches as module
from equipoise.runtime.cache_memory import Section, open_store
from equipoise.runtime.caches import CacheMemoryError, Caches
from equipoise.state.cache_store import FOLLOW, LEAD, Store
from tests.support.stores import entry, fork, key, kill

KIB = 1024


def config(**sizes: int) -> Config:
    """Pools whose caches are of these sizes in KiB; 0 is switched off."""
    return Config(
        pools={
            name: PoolConfig((), cache=CacheConfig(enabled=size > 0, max_bytes=(size or 64) * KIB))
            for name, size in sizes.items()
        }
    )


class Fixture:
    """The caches of a balancer of two workers."""

    def __init__(self, **sizes: int) -> None:
        self.caches = Caches(2)
        self.install(**sizes)

    def install(self, **sizes: int) -> None:
        self.config = config(**sizes)
        self.caches.install(self.config)

    def section(self, pool: str) -> tuple[int, int] | None:
        """As the workers are told."""
        specs = tuple(PoolSpec(name, 0, cache=cache_spec(settings)) for name, settings in self.config.pools.items())
        return {spec.name: spec.cache_section for spec in self.caches.placed(World(pools=specs)).pools}[pool]

    def worker(self, pool: str, row: int = 0) -> Store:
        section = self.section(pool)
        assert section is not None
        return open_store(self.caches.files, Section(*section), 2, row)

    def purge(self, pool: str, path: str = "", *, is_prefix: bool = False) -> int:
        return uvloop.run(self.caches.purge(pool, path, is_prefix=is_prefix))

    def entries(self, pool: str) -> object:
        return self.caches.stats(pool, self.config.pools[pool].cache)["entries"]


def test_each_cache_that_is_switched_on_has_a_section_of_its_own() -> None:
    fixture = Fixture(a=64, b=0, c=128)
    assert [fixture.section(name) for name in "abc"] == [(0, 64 * KIB), None, (64 * KIB, 128 * KIB)]


def test_a_world_without_caches_stays_as_it_is() -> None:
    world = World(pools=(PoolSpec("a", 0),))
    assert Fixture(a=0).caches.placed(world) is world


def test_a_section_outlives_a_change_of_everything_but_its_size() -> None:
    fixture = Fixture(a=64)
    fixture.worker("a").put(key(1), entry(), 1)
    fixture.install(a=64, b=64)
    fixture.caches.settle()
    assert (fixture.section("a"), fixture.entries("a")) == ((0, 64 * KIB), 1)


def test_another_size_is_another_section_and_the_old_one_is_kept_until_nobody_uses_it() -> None:
    fixture = Fixture(a=64)
    fixture.install(a=128)
    fixture.install(a=128, b=64)
    assert (fixture.section("a"), fixture.section("b")) == ((64 * KIB, 128 * KIB), (192 * KIB, 64 * KIB))
    fixture.caches.settle()
    fixture.install(a=128, b=64, c=64)
    assert fixture.section("c") == (0, 64 * KIB)


def test_what_was_switched_off_is_empty_for_whoever_gets_its_memory() -> None:
    fixture = Fixture(a=64)
    fixture.worker("a").put(key(1), entry(), 1)
    fixture.install(a=0)
    fixture.caches.settle()
    fixture.install(b=64)
    assert fixture.section("b") == (0, 64 * KIB)
    assert fixture.worker("b").get(key(1), 2) is None
    assert fixture.entries("b") == 0


def test_a_change_that_is_taken_back_gives_the_section_back_as_it_was() -> None:
    fixture = Fixture(a=64)
    fixture.worker("a").put(key(1), entry(), 1)
    fixture.install(a=0)
    fixture.install(a=64)
    fixture.caches.settle()
    assert (fixture.section("a"), fixture.entries("a")) == ((0, 64 * KIB), 1)


def test_memory_that_cannot_be_had_is_told_and_nothing_is_changed() -> None:
    fixture = Fixture(a=64)
    with pytest.raises(CacheMemoryError, match="pool c gets no memory for its cache"):
        fixture.caches.install(config(a=0, b=64, c=1 << 51))
    assert (fixture.section("a"), list(fixture.caches.counts())) == ((0, 64 * KIB), ["a"])
    fixture.install(a=64, b=64)
    assert fixture.section("b") == (64 * KIB, 64 * KIB)


def test_the_claims_of_a_dead_worker_are_ended_in_every_cache() -> None:
    fixture = Fixture(a=64, b=64)
    until = 1 << 60
    for pool in "ab":
        assert fixture.worker(pool, 0).begin(key(1), 5, until, 0) == LEAD
        assert fixture.worker(pool, 1).begin(key(1), 6, until, 0) == FOLLOW
    fixture.caches.release(0)
    assert [fixture.worker(pool, 1).begin(key(1), 7, until, 0) for pool in "ab"] == [LEAD, LEAD]


# What is seen of them


def test_a_cache_that_is_off_shows_its_settings_and_zeros() -> None:
    fixture = Fixture(a=0)
    shown = fixture.caches.stats("a", CacheConfig(mode="rfc9111", ttl=5.0))
    assert (shown["enabled"], shown["mode"], shown["ttl"], shown["entries"], shown["hit_ratio"]) == (
        False, "rfc9111", 5.0, 0, None,
    )  # fmt: skip
    assert fixture.caches.counts() == {}


def test_hits_are_told_as_a_part_of_all_look_ups() -> None:
    fixture = Fixture(a=64)
    store = fixture.worker("a")
    store.put(key(1), entry(), 1)
    for is_hit in (True, True, True, False):
        store.count(is_hit)
    store.flush()
    shown = fixture.caches.stats("a", fixture.config.pools["a"].cache)
    assert (shown["hits"], shown["misses"], shown["hit_ratio"]) == (3, 1, 0.75)
    assert (shown["entries"], shown["max_bytes"]) == (1, 64 * KIB)


# Purges


def stored(store: Store, *paths: bytes) -> None:
    for path in paths:
        assert store.put(key(path), entry(path=path, stored_ns=1), time.monotonic_ns())


def left(store: Store, *paths: bytes) -> list[bytes]:
    return [path for path in paths if store.get(key(path), time.monotonic_ns())]


PATHS = (b"/", b"/a", b"/a?b", b"/ab", b"/b")


@pytest.mark.parametrize(
    ("path", "is_prefix", "gone"),
    [
        ("", False, PATHS),
        ("/a", False, (b"/a", b"/a?b")),
        ("/a?b", False, (b"/a?b",)),
        ("/a", True, (b"/a", b"/a?b", b"/ab")),
        ("/nothing", False, ()),
    ],
)
def test_a_purge_drops_what_is_meant_for_every_worker(path: str, is_prefix: bool, gone: tuple[bytes, ...]) -> None:
    fixture = Fixture(a=64, b=64)
    for pool in "ab":
        stored(fixture.worker(pool), *PATHS)
    assert fixture.purge("a", path, is_prefix=is_prefix) == len(gone)
    assert left(fixture.worker("a", 1), *PATHS) == [each for each in PATHS if each not in gone]
    assert left(fixture.worker("b", 1), *PATHS) == list(PATHS)


@pytest.mark.parametrize("path", ["", "/a"])
def test_what_was_begun_before_a_purge_is_not_stored_after_it(path: str) -> None:
    fixture = Fixture(a=64)
    begun = time.monotonic_ns()
    fixture.purge("a", path)
    assert not fixture.worker("a").put(key(1), entry(path=b"/a"), begun)
    assert fixture.worker("a").put(key(1), entry(path=b"/a"), time.monotonic_ns())


def test_a_purge_of_a_cache_that_is_off_or_nobodys_drops_nothing() -> None:
    fixture = Fixture(a=0)
    assert (fixture.purge("a"), fixture.purge("b", "/a")) == (0, 0)


def test_a_purge_lets_the_loop_go_on() -> None:
    fixture = Fixture(a=1024)
    turns = 0

    async def run() -> None:
        nonlocal turns
        async with asyncio.TaskGroup() as tasks:
            purge = tasks.create_task(fixture.caches.purge("a", "/a"))
            while not purge.done():
                turns += 1
                await asyncio.sleep(0)

    uvloop.run(run())
    assert turns > 5


def test_a_purge_by_path_that_meets_a_stopped_process_drops_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    fixture = Fixture(a=64)
    stored(fixture.worker("a"), *PATHS)
    ready, says = os.pipe()

    def hold() -> None:
        store = fixture.worker("a", 1)
        for shard in range(int(store._shard_count)):
            assert store._locks.take(shard)
        os.write(says, b"x")
        signal.pause()

    child = fork(hold)
    try:
        os.read(ready, 1)
        fixture.purge("a", "/a")
        assert left(fixture.worker("a"), *PATHS) == []
    finally:
        kill(child)


def test_a_purge_ends_when_the_cache_does() -> None:
    fixture = Fixture(a=1024)
    stored(fixture.worker("a"), *PATHS)

    async def run() -> int:
        async with asyncio.TaskGroup() as tasks:
            purge = tasks.create_task(fixture.caches.purge("a", "/nothing"))
            await asyncio.sleep(0)
            fixture.install(a=0)
            fixture.caches.settle()
            fixture.install(b=1024)
            stored(fixture.worker("b"), b"/nothing")
        return purge.result()

    assert uvloop.run(run()) == 0
    assert left(fixture.worker("b"), b"/nothing") == [b"/nothing"]
