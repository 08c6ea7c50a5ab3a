"""Counters in shared memory under any interleaving of workers, deaths and slots that change hands."""

import mmap
from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from equipoise.state.ledger import Lease, Ledger, PoolLoads

SLOTS = 12
POOL = 0
TARGETS = [1, 2, 3, 4]
FRESH = range(5, SLOTS)


class Worker:
    """One row: its ledger, its view of the pool, and the leases it holds."""

    def __init__(self, block: mmap.mmap, rows: int, row: int, slots: list[int]) -> None:
        self.ledger = Ledger(block, rows, SLOTS, row)
        self.leases: list[tuple[int, Lease]] = []
        self.see(slots)

    def see(self, slots: list[int]) -> None:
        """A new snapshot: the pool has these targets."""
        self.slots = list(slots)
        specs = ([str(slot) for slot in slots], [1] * len(slots), [0] * len(slots))
        self.loads = PoolLoads(self.ledger, POOL, list(slots), specs)


class Ledgers(RuleBasedStateMachine):
    """Several rows over one block, beside plain counters that say what must be there."""

    @initialize(rows=st.integers(1, 4))
    def start(self, rows: int) -> None:
        self.rows = rows
        self.block = mmap.mmap(-1, Ledger.size(rows, SLOTS))
        self.supervisor = Ledger(self.block, rows, SLOTS, -1)
        self.slots = list(TARGETS)
        self.workers = [Worker(self.block, rows, row, self.slots) for row in range(rows)]
        self.answers: Counter[int] = Counter()
        self.picks = [0] * rows

    def worker(self, number: int) -> Worker:
        return self.workers[number % self.rows]

    @rule(number=st.integers(0, 3), index=st.integers(0, 3))
    def take(self, number: int, index: int) -> None:
        worker = self.worker(number)
        lease = worker.loads.take(index)
        worker.leases.append((worker.slots[index], lease))
        self.picks[number % self.rows] += 1

    @rule(
        number=st.integers(0, 3), which=st.integers(0, 20), times=st.integers(1, 3), status=st.sampled_from([200, 503])
    )
    def release(self, number: int, which: int, times: int, status: int) -> None:
        worker = self.worker(number)
        if worker.leases:
            slot, lease = worker.leases.pop(which % len(worker.leases))
            worker.ledger.count_answer(slot, status, 5)
            self.answers[slot] += 1
            for _ in range(times):
                lease.release()

    @rule(number=st.integers(0, 3))
    def die(self, number: int) -> None:
        """And a successor takes the row over. What was not flushed dies with it, so here all of it was."""
        row = number % self.rows
        self.workers[row].ledger.flush()
        self.supervisor.clear_row(row)
        self.workers[row] = Worker(self.block, self.rows, row, self.slots)
        self.picks[row] = 0

    @rule(number=st.integers(0, 3))
    def rebuild(self, number: int) -> None:
        """A new snapshot with the same targets, while leases of the old one are held."""
        self.worker(number).see(self.slots)

    @rule(index=st.integers(0, 3), fresh=st.sampled_from(list(FRESH)))
    def replace_target(self, index: int, fresh: int) -> None:
        """A target goes for good once nothing is in flight there, and its place goes to a new one in another slot."""
        old = self.slots[index]
        if self.supervisor.in_flight(old) or fresh in self.slots:
            return
        self.supervisor.clear_slot(fresh)
        self.answers[fresh] = 0
        self.slots[index] = fresh
        for worker in self.workers:
            worker.ledger.reread_slot(fresh)
            worker.see(self.slots)

    @invariant()
    def in_flight_is_the_sum_of_the_leases(self) -> None:
        held = Counter(slot for worker in self.workers for slot, _ in worker.leases)
        for slot in range(1, SLOTS):
            assert self.supervisor.in_flight(slot) == held[slot]

    @invariant()
    def every_worker_sees_the_same(self) -> None:
        held = Counter(slot for worker in self.workers for slot, _ in worker.leases)
        for worker in self.workers:
            worker.loads.refresh(0)
            seen = [worker.loads.in_flight(index) for index in range(4)]
            assert seen == [held[slot] for slot in worker.slots]
            assert worker.loads.floor == min(seen)
            assert worker.loads.picks == sum(self.picks)

    @invariant()
    def answers_outlive_everything_but_a_new_owner(self) -> None:
        for worker in self.workers:
            worker.ledger.flush()
        for slot in range(1, SLOTS):
            assert self.supervisor.totals(slot)["responses"] == self.answers[slot]

    def teardown(self) -> None:
        for worker in getattr(self, "workers", []):
            while worker.leases:
                worker.leases.pop()[1].release()
        if hasattr(self, "supervisor"):
            assert [self.supervisor.in_flight(slot) for slot in range(1, SLOTS)] == [0] * (SLOTS - 1)


TestLedgers = Ledgers.TestCase
