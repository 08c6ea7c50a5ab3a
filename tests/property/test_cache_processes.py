"""The store between processes that write at once, read meanwhile, and are killed."""

import os
import random
import time
from functools import partial
from pathlib import Path

import pytest

from equipoise.state.cache_flights import Flights, Follower
from equipoise.state.cache_store import FOLLOW, LEAD, READY, STORED, Store
from tests.support.stores import Balancer, entry, fork, key, kill, wait

PROCESSES = 4
DEADLINE_S = 20.0


def body_of(name: int, turn: int) -> bytes:
    """Octets in which any mixture of two answers shows."""
    return b"%08d %08d " % (name, turn) * (1 + (name * 7 + turn) % 120)


def is_whole(name: int, body: bytes) -> bool:
    fields = body[:18].split()
    return len(fields) == 2 and int(fields[0]) == name and body == body_of(name, int(fields[1]))


def write_for_ever(store: Store, seed: int) -> None:
    draw = random.Random(seed)
    turn = 0
    while True:
        turn += 1
        name = draw.randrange(80)
        store.put(key(name), entry(body_of(name, turn)), 1)
        found = store.get(key(draw.randrange(80)), 2)
        del found


def test_readers_never_see_half_of_what_writers_write() -> None:
    balancer = Balancer(PROCESSES, 128 * 1024)
    writers = [fork(partial(write_for_ever, balancer.worker(row), row)) for row in (1, 2)]
    reader = balancer.worker(0)
    try:
        last: dict[int, bytes] = {}
        looks = changes = 0
        end = time.monotonic() + DEADLINE_S
        while changes < 500:
            assert time.monotonic() < end
            looks += 1
            name = looks % 80
            found = reader.get(key(name), 2)
            if found is not None:
                assert is_whole(name, found.body)
                changes += last.get(name) != found.body
                last[name] = found.body
    finally:
        for pid in writers:
            kill(pid)
    assert balancer.stats(reader)["damaged"] == 0


def test_writers_killed_at_any_moment_leave_whole_entries_and_true_counts() -> None:
    balancer = Balancer(PROCESSES, 128 * 1024)
    draw = random.Random(11)
    reader = balancer.worker(0)
    for turn in range(60):
        pid = fork(partial(write_for_ever, balancer.worker(1), turn))
        end = time.monotonic() + draw.random() * 0.02
        while time.monotonic() < end:
            os.sched_yield()
        kill(pid)
        for name in range(80):
            found = reader.get(key(name), 2)
            assert found is None or is_whole(name, found.body)
    assert reader.put(key("after"), entry(), 1)
    there = [reader.get(key(name), 2) is not None for name in (*range(80), "after")]
    assert balancer.stats(reader)["entries"] == sum(there)


def test_a_purge_of_a_path_leaves_nothing_of_it_while_others_write() -> None:
    balancer = Balancer(PROCESSES, 128 * 1024)
    writers = [fork(partial(write_for_ever, balancer.worker(row), row)) for row in range(1, PROCESSES)]
    reader = balancer.worker(0)
    try:
        end = time.monotonic() + DEADLINE_S
        while balancer.supervisor.stats()["entries"] < 20:
            assert time.monotonic() < end
        # Writers say they began at 1, before the purge: from here on nothing of theirs is stored.
        work = balancer.supervisor.purge(b"/", True, 2)
        while not work.step(32):
            assert time.monotonic() < end
        assert [name for name in range(80) if reader.get(key(name), 3) is not None] == []
    finally:
        for pid in writers:
            kill(pid)


class Exchange(Follower):
    """One of the many: asks the target when it must, and is done when it has an answer."""

    def __init__(self, store: Store, flights: Flights, asked: Path) -> None:
        self.store = store
        self.flights = flights
        self.asked = asked
        self.leads_since = 0
        self.is_done = False

    def start(self, now: int) -> None:
        if self.store.get(key("popular"), now) is not None:
            self.is_done = True
            return
        verdict = self.flights.enter(key("popular"), self, now, now + 60_000_000_000, 0)
        if verdict != FOLLOW:
            self.flight_over(verdict, now)

    def flight_over(self, verdict: int, now: int) -> None:
        if verdict == READY and self.store.get(key("popular"), now) is not None:
            self.is_done = True
            return
        with self.asked.open("a", encoding="ascii") as log:
            log.write("x")
        assert verdict == LEAD
        self.leads_since = now

    def answer(self) -> None:
        self.store.put(key("popular"), entry(b"answer"), self.leads_since)
        self.flights.end(key("popular"), self.leads_since, STORED, time.monotonic_ns(), 0)
        self.is_done = True


def be_worker(store: Store, asked: Path) -> None:
    """250 exchanges at once; an answer takes 50 ms."""
    flights = Flights(store)
    exchanges = [Exchange(store, flights, asked) for _ in range(250)]
    for exchange in exchanges:
        exchange.start(time.monotonic_ns())
    end = time.monotonic() + DEADLINE_S
    while not all(exchange.is_done for exchange in exchanges):
        assert time.monotonic() < end
        now = time.monotonic_ns()
        flights.poll(now)
        for exchange in exchanges:
            if exchange.leads_since and not exchange.is_done and now - exchange.leads_since > 50_000_000:
                exchange.answer()
        os.sched_yield()


def test_a_thousand_identical_misses_over_all_workers_make_one_request(tmp_path: Path) -> None:
    balancer = Balancer(PROCESSES)
    asked = tmp_path / "asked"
    pids = [fork(partial(be_worker, balancer.worker(row), asked)) for row in range(PROCESSES)]
    assert [wait(pid) for pid in pids] == [0] * PROCESSES
    assert asked.read_text(encoding="ascii") == "x"


@pytest.mark.slow
def test_a_scan_of_very_many_keys_stays_within_the_bound() -> None:
    """Resident memory of the one that stores, all of it shared memory and what the store needs beside it."""
    max_bytes = 16 << 20
    balancer = Balancer(1, max_bytes)
    store = balancer.worker()
    before = resident()
    stored = entry(b"y" * 300)
    for number in range(200_000):
        store.put(key(number), stored, 1)
    assert resident() - before < max_bytes * 1.1
    assert balancer.stats(store)["bytes"] > max_bytes * 0.08


def resident() -> int:
    """Octets of physical memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
