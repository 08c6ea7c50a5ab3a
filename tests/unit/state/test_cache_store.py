"""Looking up, storing, claiming and purging, over several views of one memory."""

import mmap
import os
import random
import signal
from collections.abc import Iterator
from functools import partial

import pytest

from equipoise.state.cache_layout import PURGED_NS
from equipoise.state.cache_lock import Locks
from equipoise.state.cache_record import CELL_AT
from equipoise.state.cache_store import ALONE, FAILED, FOLLOW, LEAD, READY, STORED, UNSHARED
from tests.support.stores import Balancer, entry, fork, key, kill, parts

KEY = key("k")


@pytest.fixture
def balancer() -> Balancer:
    return Balancer()


# Entries


def test_what_one_worker_stores_another_finds(balancer: Balancer) -> None:
    stored = entry(b"body", b"/p?q", b"head", stored_ns=5, expires_ns=50)
    assert balancer.worker(0).put(KEY, stored, 1)
    assert parts(balancer.worker(1).get(KEY, 10)) == parts(stored)


def test_what_nobody_stored_is_a_miss(balancer: Balancer) -> None:
    assert balancer.worker().get(KEY, 1) is None


def test_an_entry_may_be_empty(balancer: Balancer) -> None:
    assert balancer.worker().put(KEY, entry(b"", b"", b""), 1)
    found = balancer.worker().get(KEY, 1)
    assert found is not None
    assert (found.path, found.head, found.body) == (b"", b"", b"")


def test_keys_that_differ_in_their_last_octet_are_two(balancer: Balancer) -> None:
    store = balancer.worker()
    store.put(KEY, entry(b"one"), 1)
    other = KEY[:-1] + bytes([KEY[-1] ^ 1])
    assert store.get(other, 1) is None
    store.put(other, entry(b"two"), 1)
    assert [parts(store.get(each, 1)) for each in (KEY, other)] == [parts(entry(b"one")), parts(entry(b"two"))]


def test_a_key_that_another_one_continues_is_not_it(balancer: Balancer) -> None:
    balancer.worker().put(KEY, entry(), 1)
    assert balancer.worker().get(KEY + b"x", 1) is None
    assert balancer.worker().get(KEY[:-1], 1) is None


@pytest.mark.parametrize("short", [b"", b"x" * 15])
def test_a_key_that_is_no_digest_is_refused(balancer: Balancer, short: bytes) -> None:
    with pytest.raises(ValueError, match="16 octets"):
        balancer.worker().get(short, 1)
    with pytest.raises(ValueError, match="16 octets"):
        balancer.worker().put(short, entry(), 1)


def test_an_entry_is_a_miss_from_its_expiry_on(balancer: Balancer) -> None:
    store = balancer.worker()
    store.put(KEY, entry(expires_ns=10), 1)
    assert [store.get(KEY, now) is None for now in (9, 10, 11)] == [False, True, True]


def test_the_newest_of_a_key_is_found(balancer: Balancer) -> None:
    store = balancer.worker()
    for body in (b"old", b"much longer than the old one", b"new"):
        store.put(KEY, entry(body), 1)
    assert parts(balancer.worker(1).get(KEY, 1)) == parts(entry(b"new"))


def test_an_entry_of_the_largest_size_is_taken_and_one_more_octet_is_not() -> None:
    balancer = Balancer(max_bytes=1 << 20)
    store = balancer.worker()
    largest = int(store.layout.max_entry) // 16 * 16 - 72 - len(KEY) - 5
    assert store.put(KEY, entry(b"y" * largest), 1)
    assert not store.put(key("other"), entry(b"y" * (largest + 16)), 1)
    assert len(getattr(store.get(KEY, 1), "body", b"")) == largest


def test_what_is_deleted_is_a_miss_everywhere(balancer: Balancer) -> None:
    balancer.worker(0).put(KEY, entry(), 1)
    assert balancer.worker(1).delete(KEY)
    assert balancer.worker(0).get(KEY, 1) is None


def test_nothing_is_there_to_delete(balancer: Balancer) -> None:
    assert balancer.worker().delete(KEY)


# Damage


def test_a_damaged_record_is_a_miss_and_counted(balancer: Balancer) -> None:
    store = balancer.worker()
    store.put(KEY, entry(b"precious"), 1)
    memory = mmap.mmap(balancer.memory.files[0], balancer.section.size)
    memory[memory.find(b"precious")] ^= 1
    assert store.get(KEY, 1) is None
    assert balancer.stats(store)["damaged"] == 1


def test_a_damaged_record_is_replaced_by_the_next_store(balancer: Balancer) -> None:
    store = balancer.worker()
    store.put(KEY, entry(b"precious"), 1)
    memory = mmap.mmap(balancer.memory.files[0], balancer.section.size)
    at = memory.find(b"precious")
    memory[at - 200 : at] = b"\xff" * 200
    assert store.put(KEY, entry(b"again"), 1) or store.put(KEY, entry(b"again"), 1)
    assert parts(store.get(KEY, 1)) == parts(entry(b"again"))


def test_a_record_replaced_while_it_is_read_is_read_again(balancer: Balancer) -> None:
    """The cell of a record moves on before what it says is believed."""
    store = balancer.worker()
    store.put(KEY, entry(b"first"), 1)
    memory = mmap.mmap(balancer.memory.files[0], balancer.section.size)
    at = memory.find(KEY) - 72
    memory[at + CELL_AT] ^= 1  # as if another record began here
    assert store.get(KEY, 1) is None
    store.put(KEY, entry(b"second"), 1)
    assert parts(store.get(KEY, 1)) == parts(entry(b"second"))


@pytest.mark.parametrize("seed", range(8))
def test_no_damage_is_an_error_or_another_answer(seed: int) -> None:
    balancer = Balancer()
    store = balancer.worker()
    draw = random.Random(seed)
    memory = mmap.mmap(balancer.memory.files[0], balancer.section.size)
    for turn in range(400):
        name = draw.randrange(60)
        if draw.random() < 0.5:
            store.put(key(name), entry(b"%d " % name * draw.randrange(300)), turn + 1)
        found = store.get(key(name), 1)
        assert found is None or not found.body.strip(b"%d " % name)
        if draw.random() < 0.3:
            at = draw.randrange(len(memory) - 64)
            memory[at : at + 64] = draw.choice([draw.randbytes(64), b"\xff" * 64, bytes(64)])
        store.begin(key(name), 1, 100, 0)
        store.end(key(name), 1, draw.choice([STORED, FAILED, UNSHARED]), 50)
    store.purge_all(1_000)
    assert store.get(key(1), 1) is None


# One fetch for many


def test_the_first_leads_and_all_others_follow(balancer: Balancer) -> None:
    verdicts = [balancer.worker(row).begin(KEY, 1, 100, 0) for row in (0, 0, 1, 1)]
    assert verdicts == [LEAD, FOLLOW, FOLLOW, FOLLOW]


def test_what_was_stored_meanwhile_is_ready(balancer: Balancer) -> None:
    one, other = balancer.worker(0), balancer.worker(1)
    assert other.get(KEY, 1) is None
    one.begin(KEY, 1, 100, 0)
    one.put(KEY, entry(), 1)
    one.end(KEY, 1, STORED, 0)
    assert other.begin(KEY, 2, 100, 0) == READY


def test_an_old_entry_does_not_hinder_its_renewal(balancer: Balancer) -> None:
    store = balancer.worker()
    store.put(KEY, entry(stored_ns=5), 1)
    assert store.begin(KEY, 10, 100, 5) == LEAD
    assert store.look_on(KEY, 10, 5) == FOLLOW
    store.put(KEY, entry(stored_ns=11), 10)
    assert store.look_on(KEY, 12, 5) == READY


def test_after_a_failure_the_next_one_leads(balancer: Balancer) -> None:
    one, other = balancer.worker(0), balancer.worker(1)
    one.begin(KEY, 1, 100, 0)
    assert other.look_on(KEY, 2, 0) == FOLLOW
    one.end(KEY, 1, FAILED, 0)
    assert other.look_on(KEY, 3, 0) == LEAD
    assert [other.begin(KEY, 3, 100, 0), one.begin(KEY, 3, 100, 0)] == [LEAD, FOLLOW]


def test_a_leader_that_hangs_is_given_up_at_its_deadline(balancer: Balancer) -> None:
    one, other = balancer.worker(0), balancer.worker(1)
    one.begin(KEY, 1, 100, 0)
    assert [other.begin(KEY, now, 200, 0) for now in (99, 100)] == [FOLLOW, LEAD]
    one.end(KEY, 1, FAILED, 0)
    assert one.begin(KEY, 101, 200, 0) == FOLLOW


def test_nobody_waits_for_what_is_not_shared(balancer: Balancer) -> None:
    one, other = balancer.worker(0), balancer.worker(1)
    one.begin(KEY, 1, 100, 0)
    one.end(KEY, 1, UNSHARED, 50)
    assert other.look_on(KEY, 2, 0) == ALONE
    assert [other.begin(KEY, now, 200, 0) for now in (2, 49, 50)] == [ALONE, ALONE, LEAD]


def test_the_supervisor_ends_the_claims_of_a_dead_worker(balancer: Balancer) -> None:
    balancer.worker(0).begin(KEY, 1, 100, 0)
    balancer.worker(1).begin(key("other"), 1, 100, 0)
    assert balancer.supervisor.release(0)
    other = balancer.worker(1)
    assert [other.begin(KEY, 2, 100, 0), other.begin(key("other"), 2, 100, 0)] == [LEAD, FOLLOW]


# A shard that somebody else holds


def hold_for_ever(balancer: Balancer, write: int) -> None:
    locks = Locks(balancer.memory.files[1], balancer.section.start)
    for shard in range(len(balancer.supervisor.layout.shards)):
        assert locks.take(shard)
    os.write(write, b"x")
    signal.pause()


@pytest.fixture
def held(balancer: Balancer) -> Iterator[Balancer]:
    """One entry, and another process in the middle of a change."""
    balancer.worker().put(KEY, entry(), 1)
    read, write = os.pipe()
    pid = fork(partial(hold_for_ever, balancer, write))
    os.read(read, 1)
    yield balancer
    kill(pid)
    os.close(read)
    os.close(write)


def test_a_held_shard_is_read(held: Balancer) -> None:
    assert held.worker().get(KEY, 1) is not None


def test_nothing_is_stored_in_a_held_shard_and_nobody_waits(held: Balancer) -> None:
    store = held.worker()
    assert not store.put(key("other"), entry(), 1)
    assert not store.delete(KEY)
    assert held.stats(store)["busy"] == 2


def test_a_miss_in_a_held_shard_is_fetched(held: Balancer) -> None:
    assert held.worker().begin(key("other"), 1, 100, 0) == LEAD


def test_a_held_shard_is_purged_of_all_at_once_but_not_of_a_path(held: Balancer) -> None:
    assert not held.supervisor.purge(b"/", True, 2).step(1 << 20)
    held.supervisor.purge_all(2)
    assert held.worker().get(KEY, 3) is None


# Purges


def test_a_purge_of_all_is_in_force_at_once(balancer: Balancer) -> None:
    one, other = balancer.worker(0), balancer.worker(1)
    for number in range(20):
        one.put(key(number), entry(), 1)
    assert balancer.supervisor.purge_all(5) == 20
    assert [other.get(key(number), 6) for number in range(20)] == [None] * 20
    assert [balancer.stats()[name] for name in ("entries", "bytes")] == [0, 0]


def test_a_purge_of_all_needs_no_lock(balancer: Balancer) -> None:
    """Its mark alone makes what was begun before a miss."""
    store = balancer.worker()
    store.put(KEY, entry(), 4)
    memoryview(mmap.mmap(balancer.memory.files[0], balancer.section.size)).cast("q")[PURGED_NS] = 4
    assert store.get(KEY, 5) is None


def test_what_was_begun_before_a_purge_of_all_is_not_stored(balancer: Balancer) -> None:
    store = balancer.worker()
    balancer.supervisor.purge_all(5)
    assert not store.put(KEY, entry(), 5)
    assert store.put(KEY, entry(), 6)
    assert balancer.stats(store)["refused"] == 1


def test_what_was_begun_before_a_purge_by_path_is_not_stored(balancer: Balancer) -> None:
    store = balancer.worker()
    balancer.supervisor.purge(b"/x", False, 5)
    assert not store.put(KEY, entry(path=b"/y"), 5)
    assert store.put(KEY, entry(path=b"/y"), 6)


# Counts


def test_counts_are_those_of_all_workers(balancer: Balancer) -> None:
    one, other = balancer.worker(0), balancer.worker(1)
    one.put(KEY, entry(), 1)
    one.count(True)
    other.count(True)
    other.count(False)
    stats = balancer.stats(one, other)
    expected = {"entries": 1, "hits": 2, "misses": 1, "stores": 1, "evictions": 0, "max_bytes": 64 * 1024}
    assert {name: stats[name] for name in expected} == expected


def test_a_successor_counts_on(balancer: Balancer) -> None:
    first = balancer.worker(0)
    first.count(False)
    first.flush()
    second = balancer.worker(0)
    second.count(False)
    assert balancer.stats(second)["misses"] == 2


def test_evictions_are_counted_and_entries_are_those_that_are_found(balancer: Balancer) -> None:
    store = balancer.worker()
    for number in range(400):
        store.put(key(number), entry(b"y" * 500), 1)
    found = [store.get(key(number), 1) for number in range(400)]
    stats = balancer.stats(store)
    assert stats["entries"] == sum(each is not None for each in found)
    assert stats["entries"] + stats["evictions"] == 400
    assert 0 < stats["bytes"] <= stats["max_bytes"]


def test_looking_something_up_is_no_hit_yet(balancer: Balancer) -> None:
    """One request may look up several keys, or find what it must not use."""
    store = balancer.worker()
    store.put(KEY, entry(), 1)
    store.get(KEY, 1)
    store.look_on(KEY, 1, 0)
    store.begin(KEY, 1, 10, 0)
    assert (balancer.stats(store)["hits"], balancer.stats(store)["misses"]) == (0, 0)
