"""Counters in shared memory, case by case; tests/property/test_ledger.py has what holds for every case."""

import mmap
import os
import struct

import pytest

from equipoise.state.ledger import (
    BUCKETS_MS,
    BYTES_IN,
    BYTES_OUT,
    EXACT_TARGETS,
    FAILURES,
    REREAD_NS,
    REREAD_PICKS,
    RETRIES,
    WORKER_CONNECTIONS,
    WORKER_FIELDS,
    WORKER_OWN_ANSWERS,
    WORKER_PID,
    WORKER_TUNNELS,
    Ledger,
    PoolLoads,
    bucket,
)
from tests.support.ledgers import SLOTS, ledgers, memory, pool_loads

MS = 1_000_000


def test_what_one_row_takes_every_other_sees() -> None:
    supervisor, (one, other) = ledgers(2)
    one.take(5)
    other.take(5)
    other.take(5)
    assert (supervisor.in_flight(5), one.in_flight(5), other.row_in_flight()[5]) == (3, 3, 2)
    other.give(5)
    assert supervisor.in_flight(5) == 2


def test_cells_are_the_processes_common_memory() -> None:
    """Another process sees them, not only another mapping."""
    size = Ledger.size(1, 4)
    descriptor = os.memfd_create("ledger")
    try:
        os.ftruncate(descriptor, size)
        child = os.fork()
        if child == 0:
            Ledger(mmap.mmap(descriptor, size), 1, 4, 0).take(3)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert Ledger(mmap.mmap(descriptor, size), 1, 4, -1).in_flight(3) == 1
    finally:
        os.close(descriptor)


def test_a_block_is_as_large_as_its_cells() -> None:
    block = memory(3, 16)
    for row in range(3):
        ledger = Ledger(block, 3, 16, row)
        ledger.add(15, 24, 7)
        ledger.flush()
        ledger.set_worker(WORKER_FIELDS - 1, 7)
    Ledger(block, 3, 16, -1).publish_mean(15, 7)
    assert sum(struct.unpack(f"{len(block) // 8}q", block)) == 7 * 7


def test_rows_and_slots_do_not_touch_each_other() -> None:
    supervisor, rows = ledgers(3)
    for row, ledger in enumerate(rows):
        for slot in range(SLOTS):
            ledger.add(slot, BYTES_IN, 1_000 * slot + row)
            if (slot + row) % 5 == 0:
                ledger.take(slot)
        ledger.flush()
    assert [supervisor.totals(slot)["bytes_in"] for slot in range(SLOTS)] == [3_000 * s + 3 for s in range(SLOTS)]
    assert [supervisor.in_flight(slot) for slot in range(SLOTS)] == [
        sum((slot + row) % 5 == 0 for row in range(3)) for slot in range(SLOTS)
    ]


def test_totals_of_nothing_are_zero() -> None:
    assert set(ledgers(2)[0].totals(0).values()) == {0}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(101, "1xx"), (200, "2xx"), (304, "3xx"), (499, "4xx"), (599, "5xx"), (600, "5xx"), (999, "5xx")],
)
def test_answers_are_counted_by_class(status: int, kind: str) -> None:
    supervisor, (row,) = ledgers(1)
    row.count_answer(3, status, 7 * MS)
    row.flush()
    totals = supervisor.totals(3)
    assert {name: count for name, count in totals.items() if count} == {
        "requests": 1,
        "ok": 1,
        "responses": 1,
        "response_ns": 7 * MS,
        f"status_{kind}": 1,
        "le_10ms": 1,
    }


def test_totals_are_over_all_rows() -> None:
    supervisor, (one, other) = ledgers(2)
    one.count_answer(3, 200, MS)
    other.count_answer(3, 500, MS)
    other.add(3, FAILURES, 1)
    other.add(3, RETRIES, 4)
    other.add(3, BYTES_OUT, 5)
    one.flush()
    other.flush()
    totals = supervisor.totals(3)
    assert (totals["requests"], totals["responses"], totals["failures"]) == (3, 2, 1)
    assert (totals["retries"], totals["bytes_out"]) == (4, 5)


@pytest.mark.parametrize(
    ("elapsed", "place"),
    [
        (0, 0),
        (1 * MS, 0),
        (1 * MS + 1, 1),
        (2 * MS, 1),
        (2 * MS + 1, 2),
        (5 * MS, 2),
        (10_000 * MS, len(BUCKETS_MS) - 1),
        (10_000 * MS + 1, len(BUCKETS_MS)),
        (1 << 60, len(BUCKETS_MS)),
    ],
)
def test_a_time_falls_into_the_first_bucket_that_is_not_below_it(elapsed: int, place: int) -> None:
    assert bucket(elapsed) == place


def test_the_last_bucket_is_for_all_longer_times() -> None:
    supervisor, (row,) = ledgers(1)
    row.count_answer(3, 200, 3_600_000 * MS)
    row.flush()
    assert supervisor.totals(3)["le_inf"] == 1


def test_counts_are_seen_after_the_flush_and_in_flight_at_once() -> None:
    supervisor, (row,) = ledgers(1)
    row.take(3)
    row.count_answer(3, 200, MS)
    assert (supervisor.in_flight(3), supervisor.totals(3)["responses"]) == (1, 0)
    row.flush()
    assert (supervisor.in_flight(3), supervisor.totals(3)["responses"]) == (1, 1)


def test_a_flush_writes_what_moved_and_nothing_else() -> None:
    supervisor, (row,) = ledgers(1)
    row.count_answer(3, 200, MS)
    row.flush()
    supervisor.clear_slot(3)
    row.count_answer(4, 200, MS)
    row.flush()
    assert [supervisor.totals(slot)["responses"] for slot in (3, 4)] == [0, 1]


# Workers


def test_a_workers_record_is_its_own() -> None:
    supervisor, (one, other) = ledgers(2)
    one.set_worker(WORKER_PID, 4242)
    one.set_worker(WORKER_CONNECTIONS, 3)
    other.set_worker(WORKER_CONNECTIONS, 4)
    other.set_worker(WORKER_TUNNELS, 2)
    other.add_worker(WORKER_OWN_ANSWERS + 4, 2)
    assert (supervisor.worker(0)["pid"], supervisor.worker(0)["own_5xx"]) == (4242, 0)
    assert (supervisor.worker(1)["pid"], supervisor.worker(1)["own_5xx"]) == (0, 2)
    assert (supervisor.connections(), one.connections()) == (7, 7)
    assert (supervisor.tunnels(), one.tunnels()) == (2, 2)


def test_a_dead_workers_requests_are_gone_and_its_counts_stay() -> None:
    supervisor, (dead, alive) = ledgers(2)
    for ledger in (dead, alive):
        ledger.take(3)
        ledger.count_answer(3, 200, MS)
        ledger.set_worker(WORKER_CONNECTIONS, 2)
        ledger.set_worker(WORKER_TUNNELS, 1)
        ledger.flush()
    supervisor.clear_row(0)
    assert (supervisor.in_flight(3), supervisor.connections(), supervisor.tunnels()) == (1, 2, 1)
    assert supervisor.totals(3)["responses"] == 2


def test_a_successor_counts_on_from_where_the_dead_one_was() -> None:
    block = memory(1)
    supervisor = Ledger(block, 1, SLOTS, -1)
    dead = Ledger(block, 1, SLOTS, 0)
    dead.take(3)
    dead.count_answer(3, 200, MS)
    dead.flush()
    supervisor.clear_row(0)
    successor = Ledger(block, 1, SLOTS, 0)
    successor.take(3)
    successor.count_answer(3, 200, MS)
    successor.flush()
    assert (supervisor.in_flight(3), supervisor.totals(3)["responses"]) == (1, 2)


# Slots that change hands


def test_a_cleared_slot_is_empty_and_its_neighbours_are_not() -> None:
    supervisor, rows = ledgers(2)
    for ledger in rows:
        for slot in (2, 3, 4):
            ledger.take(slot)
            ledger.count_answer(slot, 200, MS)
        ledger.flush()
    supervisor.publish_mean(3, MS)
    supervisor.clear_slot(3)
    assert (supervisor.in_flight(3), set(supervisor.totals(3).values()), supervisor.mean_ns(3)) == (0, {0}, 0)
    assert [supervisor.totals(slot)["responses"] for slot in (2, 4)] == [2, 2]


def test_a_row_that_reads_a_slot_again_forgets_the_old_target() -> None:
    supervisor, (row,) = ledgers(1)
    row.count_answer(3, 200, MS)
    row.count_answer(4, 200, MS)
    row.flush()
    supervisor.clear_slot(3)
    row.reread_slot(3)
    row.count_answer(3, 200, MS)
    row.count_answer(4, 200, MS)
    row.flush()
    assert [supervisor.totals(slot)["responses"] for slot in (3, 4)] == [1, 2]


def test_a_row_that_reads_a_slot_again_keeps_what_was_not_cleared() -> None:
    supervisor, (row,) = ledgers(1)
    row.take(3)
    row.count_answer(3, 200, MS)
    row.flush()
    row.reread_slot(3)
    row.count_answer(3, 200, MS)
    row.give(3)
    row.flush()
    assert (supervisor.totals(3)["responses"], supervisor.in_flight(3)) == (2, 0)


# Leases


def test_a_lease_counts_at_its_target_until_it_is_released() -> None:
    supervisor, (row,) = ledgers(1)
    loads = pool_loads(row, [1, 1])
    lease = loads.take(1)
    assert (supervisor.in_flight(2), loads.in_flight(1)) == (1, 1)
    lease.release()
    assert (supervisor.in_flight(2), loads.in_flight(1)) == (0, 0)


def test_a_lease_is_released_once_however_often() -> None:
    supervisor, (row,) = ledgers(1)
    loads = pool_loads(row, [1])
    first, second = loads.take(0), loads.take(0)
    for _ in range(3):
        first.release()
    assert supervisor.in_flight(1) == 1
    second.release()
    assert supervisor.in_flight(1) == 0


def test_every_pick_moves_the_rotation_of_all_workers() -> None:
    _, (one, other) = ledgers(2)
    mine, theirs = pool_loads(one, [1]), pool_loads(other, [1])
    mine.take(0).release()
    theirs.take(0)
    mine.refresh(0)
    assert mine.picks == 2


# How fresh the loads are


@pytest.mark.parametrize("targets", [1, EXACT_TARGETS])
def test_loads_of_a_pool_of_usual_size_are_exact_at_every_refresh(targets: int) -> None:
    _, (one, other) = ledgers(2)
    mine, theirs = pool_loads(one, [1] * targets), pool_loads(other, [1] * targets)
    for count in range(1, 6):
        theirs.take(targets - 1)
        mine.refresh(0)
        assert mine.in_flight(targets - 1) == count


def large_pools() -> tuple[PoolLoads, PoolLoads]:
    _, (one, other) = ledgers(2)
    targets = EXACT_TARGETS + 1
    mine, theirs = pool_loads(one, [1] * targets), pool_loads(other, [1] * targets)
    mine.refresh(10 * REREAD_NS)
    return mine, theirs


def test_loads_of_a_large_pool_are_read_again_after_some_picks() -> None:
    mine, theirs = large_pools()
    theirs.take(0)
    stale = 0
    while mine.in_flight(0) == 0:
        mine.refresh(10 * REREAD_NS)
        stale += 1
    assert stale <= REREAD_PICKS + 1


def test_loads_of_a_large_pool_are_read_again_after_some_time() -> None:
    mine, theirs = large_pools()
    theirs.take(0)
    mine.refresh(11 * REREAD_NS)
    assert mine.in_flight(0) == 1


def test_loads_of_a_large_pool_know_their_own_at_once() -> None:
    mine, _ = large_pools()
    mine.take(0)
    mine.refresh(10 * REREAD_NS)
    assert mine.in_flight(0) == 1


def test_the_floor_is_the_least_in_flight() -> None:
    _, (one, other) = ledgers(2)
    mine, theirs = pool_loads(one, [1, 1]), pool_loads(other, [1, 1])
    for loads, index in ((mine, 0), (mine, 1), (theirs, 0), (theirs, 1), (theirs, 1)):
        loads.take(index)
    mine.refresh(0)
    assert mine.floor == 2


def test_targets_of_a_pool_may_lie_anywhere() -> None:
    supervisor, (row,) = ledgers(1)
    loads = PoolLoads(row, 40, [200, 3, 41], (["a", "b", "c"], [1, 1, 1], [0, 0, 0]))
    for index in (0, 1, 1, 2, 2, 2):
        loads.take(index)
    loads.refresh(0)
    assert [loads.in_flight(index) for index in range(3)] == [1, 2, 3]
    assert [supervisor.in_flight(slot) for slot in (200, 3, 41, 40)] == [1, 2, 3, 6]


def test_published_means_are_taken_up() -> None:
    supervisor, (row,) = ledgers(1)
    loads = pool_loads(row, [1, 1])
    supervisor.publish_mean(2, 5 * MS)
    loads.refresh_means()
    assert [loads.mean_ns(0), loads.mean_ns(1)] == [0, 5 * MS]


def test_a_place_that_two_workers_took_at_once_is_seen_by_both() -> None:
    _, rows = ledgers(2)
    one, other = (pool_loads(row, [1, 1], limits=[1, 0]) for row in rows)
    for loads in (one, other):
        loads.refresh(0)
        assert loads.free(0, None)
    lease = one.take(0)
    assert not one.is_overfull(0, 0)
    other.take(0)
    assert one.is_overfull(0, 0)
    assert other.is_overfull(0, 0)
    lease.release()
    assert not other.is_overfull(0, 0)


def test_a_row_without_company_reads_its_own_numbers_and_with_it_everybodys() -> None:
    _, (one, other) = ledgers(2)
    loads = pool_loads(one, [1, 1])
    loads.take(0)
    one.alone = True
    other.take(2)  # which cannot be while it is alone, so the difference shows
    loads.refresh(0)
    assert [loads.in_flight(i) for i in range(2)] == [1, 0]
    one.alone = False
    loads.refresh(0)
    assert [loads.in_flight(i) for i in range(2)] == [1, 1]


@pytest.mark.parametrize(("rows", "alone"), [(1, True), (2, False)])
def test_a_ledger_of_one_row_has_no_company(rows: int, alone: bool) -> None:
    assert ledgers(rows)[1][0].alone is alone
